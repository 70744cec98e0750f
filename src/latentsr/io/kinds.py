"""Which format a file has, and what the files made from it are called."""

from pathlib import Path
from typing import Literal

from latentsr.errors import InputError, NotAnImageError
from latentsr.io import dicom, nifti
from latentsr.io.raster import JPEG_SUFFIXES, PNG_SUFFIXES, TIFF_SUFFIXES

SUFFIXES = (*dicom.SUFFIXES, *nifti.SUFFIXES, *PNG_SUFFIXES, *TIFF_SUFFIXES, *JPEG_SUFFIXES)
FileKind = Literal["dicom", "nifti", "png", "tiff", "jpeg"]

_MAGIC: tuple[tuple[bytes, FileKind], ...] = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
)
_DICOM_OFFSET, _DICOM_MAGIC = 128, b"DICM"


def kind_of(path: Path) -> FileKind:
    """The format that a file's first bytes show, or its name for NIfTI.

    Raises:
        NotAnImageError: neither the content nor the name is that of an image: a text, a table, Thumbs.db
        InputError: the file is named like an image but does not begin like one, or cannot be opened
    """
    start = _start(path)
    if start[_DICOM_OFFSET:] == _DICOM_MAGIC:
        return "dicom"
    for magic, kind in _MAGIC:
        if start.startswith(magic):
            return kind
    if path.name.lower().endswith(nifti.SUFFIXES):
        return "nifti"
    if not path.name.lower().endswith(SUFFIXES):
        raise NotAnImageError(f"{path} holds no image: expected DICOM, NIfTI, PNG, TIFF or JPEG")
    if not start:
        raise InputError(f"{path} is empty: copy or export it again")
    if path.name.lower().endswith(dicom.SUFFIXES):
        raise InputError(f"{path} has no DICOM preamble: export it again as a DICOM Part 10 file")
    raise InputError(
        f"{path} is no image that can be read: it does not begin as its name says, copy or export it again"
    )


def output_name(relative: Path, kind: str, scale: int, *, series: bool = False) -> Path:
    """Where an item's output goes below the output folder: the item's own place, with the extension of its kind.

    `series` says that the item is a folder of DICOM files, which keeps its name. NIfTI with a BIDS name gets the
    name of a BIDS derivative. What comes from a JPEG is a PNG, which loses nothing.
    """
    if series:
        return relative
    if kind == "dicom":
        return relative.with_name(dicom.with_suffix(relative.name))
    if kind == "nifti":
        return relative.with_name(nifti.output_name(relative.name, scale))
    suffixes = TIFF_SUFFIXES if kind == "tiff" else PNG_SUFFIXES
    named = relative.name.lower().endswith(suffixes)
    return relative if named else relative.with_name(relative.name + suffixes[0])


def uncertainty_name(output: Path, kind: str) -> Path:
    """Where the uncertainty map of an output goes: beside it, named _uncertainty; for a DICOM series a folder."""
    name = output.name
    if kind == "dicom":
        known = next((suffix for suffix in dicom.SUFFIXES if name.lower().endswith(suffix)), "")
        return output.with_name(f"{name[: len(name) - len(known)]}_uncertainty{'.dcm' if known else ''}")
    if kind == "nifti":
        stem = nifti.stem(name)
        marked = stem.replace("_desc-latentsr_", "_desc-latentsrUncertainty_")
        return output.with_name((marked if marked != stem else f"{stem}_uncertainty") + name[len(stem) :])
    return output.with_name(f"{output.stem}_uncertainty.tif")


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_DICOM_OFFSET + len(_DICOM_MAGIC))
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> InputError:
    """The one line for a file or folder that the system does not hand out."""
    reason = error.strerror or type(error).__name__
    return InputError(f"{path} cannot be read ({reason}): check its name and permissions")

"""Images in and out: DICOM, NIfTI, MGH, NRRD, MHA, PNG and TIFF."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from latentsr.atomic import refuse_existing
from latentsr.errors import InputError, LatentSRError, printable
from latentsr.io import dicom, formats, nifti, raster
from latentsr.io.dicom import parametric
from latentsr.io.dicom.geometry import affine, irregularities
from latentsr.io.dicom.header import is_dicom
from latentsr.io.items import (
    SUFFIXES,
    Item,
    check_places,
    find,
    kind_of,
    output_name,
    refuse_source,
    uncertainty_name,
    unreadable,
)
from latentsr.provenance import UNCERTAINTY, WITHOUT_MODEL, Provenance
from latentsr.volume import MAX_PIXELS, Volume, all_finite

_LABEL_INTENT = 1002  # NIFTI_INTENT_LABEL of nifti1.h
_LABEL_NAME = re.compile(
    r"(_dseg|_mask|\.seg)\.(nii(\.gz)?|mg[hz]|nrrd|nhdr|mha|mhd)$", re.IGNORECASE
)  # BIDS; 3D Slicer

__all__ = [
    "SUFFIXES",
    "Item",
    "check_places",
    "find",
    "kind_of",
    "output_name",
    "read",
    "uncertainty_name",
    "write",
    "write_uncertainty",
]


def read(
    path: Path | str | Sequence[Path] | Item, *, grey: bool = False, force: bool = False, constant: bool = False,
    axis: int | None = None, max_pixels: int = MAX_PIXELS, legacy: bool = False,
) -> Volume:  # fmt: skip
    """The volume of an image file, of a folder that is one DICOM stack, or of the files of one stack.

    Args:
        path: a file, a folder, several DICOM files, or an item of `find`, which knows of the rest of its series
        grey: turn colour PNG and TIFF into grey
        force: let DICOM images with burned-in annotation through
        constant: let images of one value through, such as an empty mask; such a volume is 0 of its window
        axis: the slice axis of NIfTI, MGH, NRRD or MHA, 0, 1 or 2; None: what its header says
        max_pixels: of the volume; a file that claims more is refused before memory is taken for it
        legacy: take the frames of an enhanced MR or CT object for single-frame images, as which they are written

    Raises:
        NotAnImageError: the file holds no image, such as a text or a structured report
        InputError: the image cannot be used; one line with what came, what was expected and how to mend it
    """
    if isinstance(path, Item):
        volume = read(
            path.paths, grey=grey, force=force, constant=constant, axis=axis, max_pixels=max_pixels, legacy=legacy
        )
        source = replace(volume.source, warnings=(*volume.source.warnings, *label_warnings(volume)))
        return replace(volume, source=replace(source, series_digest=path.series_digest))
    if isinstance(path, Path | str):
        paths = _slices(Path(path)) if Path(path).is_dir() else [Path(path)]
    else:
        paths = [Path(one) for one in path]
    if not paths:
        raise InputError("no files given: expected an image, or the files of one DICOM series")
    kinds = {kind_of(one) for one in paths}
    if len(paths) > 1 and kinds != {"dicom"}:
        raise InputError(f"{paths[0]} and {len(paths) - 1} more are not all DICOM: give other images one by one")
    try:
        with raster.muted():
            kind = kinds.pop()
            if kind == "dicom":
                return dicom.read(paths, force=force, constant=constant, max_pixels=max_pixels, legacy=legacy)
            if kind in ("nifti", "mgh", "itk"):
                of_kind = nifti if kind == "nifti" else formats
                return of_kind.read(paths[0], constant=constant, axis=axis, max_pixels=max_pixels)
            return raster.read(paths[0], kind, grey=grey, constant=constant, max_pixels=max_pixels)
    except InputError as error:
        if any(printable(one) in str(error) for one in paths):
            raise
        # It comes from pixels, which do not know their file.
        raise type(error)(f"{paths[0] if len(paths) == 1 else paths[0].parent}: {error}") from error
    except LatentSRError:
        raise
    except OSError as error:
        raise unreadable(paths[0], error) from error
    except MemoryError as error:
        raise InputError(f"{paths[0]} does not fit into memory: enlarge a part of it, or free memory") from error
    except Exception as error:  # the readers of others end here, and raise anything on a broken file
        cause = type(error).__name__  # not its text, which may hold what the header holds
        raise InputError(
            f"{paths[0]} breaks its format in a way that its reader does not tell ({cause}): export it again"
        ) from error


def label_warnings(volume: Volume) -> list[str]:
    """A warning where a volume is a mask or a map of labels, whose numbers are no intensities."""
    path, header, low, high = volume.source.paths[0], volume.source.header, volume.window.low, volume.window.high
    if volume.source.kind == "nifti" and header.fields["intent_code"] == _LABEL_INTENT:
        reason = "its intent code"
    elif _LABEL_NAME.search(path.name):
        reason = "its name"
    elif all(((one == low) | (one == high)).all() for one in volume.pixels):
        reason = "its two values"
    else:
        return []
    return [f"a mask or label map by {reason}: enlarged like intensities, what lies between labels means nothing"]


def _slices(folder: Path) -> list[Path]:
    """The DICOM files of a folder."""
    try:
        visible = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        found = [path for path in visible if path.name != "DICOMDIR" and is_dicom(path)]
    except OSError as error:
        raise unreadable(folder, error) from error
    if not found:
        raise InputError(f"{folder} holds no DICOM files: give one image file, or a folder that is one series")
    return found


def write(
    volume: Volume, path: Path | str, *, provenance: Provenance | None, overwrite: bool = False
) -> tuple[Path, ...]:
    """Writes a volume in the format of the path's extension and returns the written files.

    .png and .tif: one slice at the source's depth. .nii, .nii.gz, .mgh, .mgz, .nrrd and .mha: float32 and a JSON
    sidecar. Any other: DICOM, a folder for a series. `provenance` is None only where no model touched the pixels.

    Raises:
        StaleError: the path exists and may not be overwritten
        InputError: the format cannot hold the volume, or the path is its source
        LatentSRError: the disk refuses
    """
    path = Path(path)
    refuse_source(path, volume.source.paths)
    refuse_existing(path, overwrite)
    if path.name.lower().endswith((*raster.PNG_SUFFIXES, *raster.TIFF_SUFFIXES)):
        # Whole numbers at the source's depth; an image from elsewhere is a 16-bit picture of its window.
        text, header = (provenance or WITHOUT_MODEL).text(volume.scale), volume.source.header
        pixels = _one_slice(volume)
        limits = np.iinfo(header.dtype if isinstance(header, raster.RasterHeader) else np.uint16)
        if not isinstance(header, raster.RasterHeader):
            pixels = volume.window.apply(pixels) * limits.max
            text["latentsr:window"] = f"{volume.window.low:g} {volume.window.high:g}"
        raster.write_pixels(path, np.clip(np.rint(pixels), limits.min, limits.max).astype(limits.dtype), text)
        return (path,)
    if path.name.lower().endswith((*nifti.SUFFIXES, *formats.SUFFIXES)):
        placed = volume.source.kind == "dicom"
        form = nifti if path.name.lower().endswith(nifti.SUFFIXES) else formats
        name = "NIfTI" if form is nifti else path.suffix[1:].upper()
        if volume.source.windows and placed:
            raise InputError(f"{name} holds one kind of image, and here are frames of several kinds: write DICOM")
        if placed and (texts := irregularities(volume.source.header)):
            raise InputError(f"{name} holds evenly spaced slices, and here are {texts[0].split(':')[0]}: write DICOM")
        header = volume.source.header
        own = affine(header) if placed else None
        if form is nifti and isinstance(header, nifti.NiftiHeader) and volume.source.kind != "nifti":
            own = header.affine
            if header.volumes > 1:
                raise InputError(f"{header.volumes} volumes over time: write the format that they come from")
        return form.write(volume, path, provenance=provenance, affine=own)
    return dicom.write(volume, path, provenance=provenance)


def write_uncertainty(
    spread: Volume,
    path: Path | str,
    *,
    provenance: Provenance | None,
    kind: str = UNCERTAINTY,
    overwrite: bool = False,
    parametric_map: bool = False,
) -> tuple[Path, ...]:
    """Writes a map, of spread unless `kind` says another of MAPS, in physical units, and returns the written files.

    From DICOM: images that viewers show, as 16-bit integers with a rescale slope, in a folder for a series; and with
    `parametric_map` beside them a DICOM Parametric Map in float32, named _parametric. From NIfTI, MGH, NRRD and MHA:
    the same format, from others: TIFF, both float32.

    Raises:
        StaleError: the path exists and may not be overwritten
        InputError: the map is not finite, or no parametric map can be made as the source does not say where it lies
        LatentSRError: the disk refuses
    """
    path = Path(path)
    refuse_source(path, spread.source.paths)
    refuse_existing(path, overwrite)
    if not all_finite(spread.pixels):
        raise InputError("the uncertainty map holds NaN or infinite pixels: it is not written; report the model")
    made_by = replace(provenance or WITHOUT_MODEL, image=kind)
    if spread.source.kind in ("nifti", "mgh", "itk"):
        return (nifti if spread.source.kind == "nifti" else formats).write(spread, path, provenance=made_by)
    if spread.source.kind != "dicom":
        raster.write_pixels(path, _one_slice(spread), made_by.text(spread.scale))
        return (path,)
    numbers = path.with_name(f"{path.name.removesuffix('.dcm')}_parametric.dcm")
    if parametric_map:
        refuse_existing(numbers, overwrite)
        parametric.write_map(spread, numbers, provenance=made_by)
    return *dicom.write(spread, path, provenance=made_by), *([numbers] if parametric_map else [])


def _one_slice(volume: Volume) -> np.ndarray:
    if len(volume.pixels) != 1:
        raise InputError(f"{len(volume.pixels)} slices do not fit into one PNG or TIFF: write .nii.gz or DICOM")
    return volume.pixels[0]

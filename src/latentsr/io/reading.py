"""Reading of any image or series as a Volume."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from latentsr.errors import InputError, LatentSRError, printable
from latentsr.io import dicom, nifti, raster
from latentsr.io.dicom.header import is_dicom
from latentsr.io.items import Item, kind_of, unreadable
from latentsr.volume import MAX_PIXELS, Volume


def read(
    path: Path | str | Sequence[Path] | Item,
    *,
    grey: bool = False,
    force: bool = False,
    constant: bool = False,
    axis: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Volume:
    """The volume of an image file, of a folder that is one DICOM stack, or of the files of one stack.

    Args:
        path: a file, a folder, several DICOM files, or an item of `find`, which knows of the rest of its series
        grey: turn colour PNG and TIFF into grey
        force: let DICOM images with burned-in annotation through
        constant: let images of one value through, such as an empty mask; such a volume is 0 of its window
        axis: the slice axis of a NIfTI image, 0, 1 or 2; None: what its header says
        max_pixels: of the volume; a file that claims more is refused before memory is taken for it

    Raises:
        NotAnImageError: the file holds no image, such as a text or a structured report
        InputError: the image cannot be used; one line with what came, what was expected and how to mend it
    """
    if isinstance(path, Item):
        volume = read(path.paths, grey=grey, force=force, constant=constant, axis=axis, max_pixels=max_pixels)
        return replace(volume, source=replace(volume.source, series_digest=path.series_digest))
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
                return dicom.read(paths, force=force, constant=constant, max_pixels=max_pixels)
            if kind == "nifti":
                return nifti.read(paths[0], constant=constant, axis=axis, max_pixels=max_pixels)
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

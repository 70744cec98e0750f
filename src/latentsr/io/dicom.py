"""DICOM: one file or one series in, derived images of the same kind out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.filewriter import correct_ambiguous_vr

from latentsr.errors import InputError
from latentsr.intensity import Window
from latentsr.io.atomic import replacing, replacing_folder
from latentsr.io.dicom_capture import capture
from latentsr.io.dicom_derive import derive
from latentsr.io.dicom_grid import spacing
from latentsr.io.dicom_header import MALFORMED, load, quiet
from latentsr.io.dicom_series import Slice, in_order
from latentsr.io.dicom_stored import to_physical, to_stored
from latentsr.provenance import Provenance
from latentsr.volume import MAX_PIXELS, Source, Volume

SUFFIXES = (".dcm", ".dicom", ".ima")


def read(paths: Sequence[Path], *, force: bool = False, constant: bool = False, max_pixels: int = MAX_PIXELS) -> Volume:
    """The volume of one file, or of the files of one series in the order of their positions.

    `source.header` is a tuple of data sets without pixels, one a slice. `force` lets burned-in annotation
    through, `constant` images of one value.
    """
    slices: list[Slice] = []
    for path in paths:
        slices.append(Slice(path, *load(path, force=force, max_pixels=max_pixels)))
        if (total := len(paths) * slices[0].stored.size) > max_pixels:
            came = f"{len(paths)} files of {slices[0].stored.size} pixels"
            raise InputError(f"{came}: expected at most {max_pixels} in all, raise the option max_pixels to {total}")
    slices = in_order(slices)
    headers = tuple(one.header for one in slices)
    pixels = np.stack([to_physical(one.stored, one.header) for one in slices])
    source = Source("dicom", tuple(one.path for one in slices), headers, str(headers[0].get("Modality", "")))
    return Volume(pixels, spacing(headers[0]), Window.of(pixels, constant=constant), source)


def write(volume: Volume, path: Path, *, provenance: Provenance | None) -> tuple[Path, ...]:
    """Writes a derived image, or a folder of them for a series, all or none; gives the files' paths.

    A volume that does not come from DICOM becomes Secondary Captures.
    """
    images = _images(volume, provenance)
    if len(images) == 1:
        with replacing(path) as part:
            _save(images[0], part)
        return (path,)
    names = slice_names(volume)
    with replacing_folder(path) as part:
        for name, image in zip(names, images, strict=True):
            _save(image, part / name)
    return tuple(path / name for name in names)


def slice_names(volume: Volume) -> list[str]:
    """A file name a slice: the source's own with .dcm, or slice numbers where there are none or they would clash."""
    names = [with_suffix(path.name) for path in volume.source.paths] if volume.source.kind == "dicom" else []
    if len({name.lower() for name in names}) == len(volume.pixels):
        return names
    return [f"slice-{number:04d}.dcm" for number in range(1, len(volume.pixels) + 1)]


def with_suffix(name: str) -> str:
    """The name, with .dcm added where it does not end as DICOM files do (the dots of a UID are no suffix)."""
    return name if name.lower().endswith(SUFFIXES) else f"{name}.dcm"


def _images(volume: Volume, provenance: Provenance | None) -> list[Dataset]:
    if volume.source.kind != "dicom":
        return capture(volume, provenance)
    headers: tuple[Dataset, ...] = volume.source.header
    if len(headers) != len(volume.pixels):
        raise InputError(f"{len(volume.pixels)} slices for {len(headers)} source files: expected one each")
    with quiet():
        return [
            _derived(one, header, volume.scale, provenance) for one, header in zip(volume.pixels, headers, strict=True)
        ]


def _derived(pixels: NDArray[Any], header: Dataset, scale: int, provenance: Provenance | None) -> Dataset:
    try:
        return derive(header, to_stored(pixels, header), scale, provenance)
    except MALFORMED as error:
        raise InputError(
            f"the source's header cannot be carried over ({type(error).__name__}): mend the file"
        ) from error


def _save(image: Dataset, path: Path) -> None:
    try:
        with quiet():
            correct_ambiguous_vr(image, is_little_endian=True)
            image.save_as(path, enforce_file_format=True)
    except OSError:
        raise  # of the disk, told apart by the writer
    except MALFORMED as error:
        raise InputError(f"the source's header cannot be written ({type(error).__name__}): mend the file") from error

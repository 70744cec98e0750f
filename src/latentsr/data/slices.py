"""The slices of an image, a series or a volume as a dataset stores them: grey, cropped, with spacing and mask."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsr.data.masks import read_mask
from latentsr.errors import InputError
from latentsr.io import Item, read
from latentsr.io.raster import RasterHeader
from latentsr.volume import Volume

INSIDE = 255  # of a stored mask; 0 is outside


@dataclass(frozen=True)
class Slice:
    """One slice: what its id ends with, and what goes into the dataset.

    Attributes:
        suffix: of the id, empty for an image that has no other slices.
        pixels: uint8 or uint16, (rows, columns).
        spacing: (row, column) in mm, None where the file does not say.
        patient: by the file's header, as a short hash; None where it says nothing.
        mask: uint8, 0 or 255, (rows, columns); None without masks.
    """

    suffix: str
    pixels: NDArray[Any]
    spacing: tuple[float, float] | None
    patient: str | None
    mask: NDArray[np.uint8] | None


def read_slices(
    item: Item, mask: Item | None, *, size: int | None, slices: int, grey: bool, multiple: int | None = None
) -> tuple[list[Slice], int]:
    """The slices of an item that are not constant, and how many are constant and left out.

    Args:
        item: an image, a volume or a series.
        mask: that of its region of interest, or None.
        size: crops the centre to a square of so many pixels; the spacing stays.
        slices: takes so many, evenly spaced; 0: all.
        grey: turns colour into grey.
        multiple: crops the centre to the largest rows and columns that it divides.

    Raises:
        MisfitError: the mask cannot be laid over the item.
        InputError: the item cannot be read, or is smaller than `size`.
    """
    volume = read(item.paths, grey=grey, constant=True)
    inside = None if mask is None else read_mask(mask, volume)
    stored = _stored(volume)
    filled = [index for index, pixels in enumerate(stored) if pixels.min() < pixels.max()]
    spacing, patient = _known(volume.spacing), _header_patient(volume.source.header)
    found = []
    for index in _evenly(filled, slices):
        suffix = f"-s{index:03d}" if len(stored) > 1 else ""
        pixels = _centre(stored[index], size, multiple, item.relative)
        region = None if inside is None else _centre(inside[index], size, multiple, item.relative) * np.uint8(INSIDE)
        found.append(Slice(suffix, pixels, spacing, patient, region))
    return found, len(stored) - len(filled)


def _stored(volume: Volume) -> NDArray[Any]:
    """The pixels as they are of a picture, else 16 bit over the volume's window, which is in a scanner's units."""
    if volume.source.kind in ("png", "jpeg") and isinstance(volume.source.header, RasterHeader):
        return volume.pixels.astype(volume.source.header.dtype)
    top = np.iinfo(np.uint16).max
    return np.round(volume.window.apply(volume.pixels).clip(0, 1) * top).astype(np.uint16)


def _known(spacing: tuple[float, float] | None) -> tuple[float, float] | None:
    """The spacing, or None where a header holds no size of a pixel in it."""
    return spacing if spacing and all(np.isfinite(spacing)) and min(spacing) > 0 else None


def _evenly(indices: Sequence[int], n: int) -> list[int]:
    if not n or n >= len(indices):
        return list(indices)
    return [indices[int((i + 0.5) * len(indices) / n)] for i in range(n)]


def _header_patient(header: object) -> str | None:
    """A short hash of DICOM's PatientID, or of the study without one: the id itself must not travel into datasets."""
    first = header[0] if isinstance(header, (tuple, list)) and header else header
    identity = str(getattr(first, "PatientID", "") or getattr(first, "StudyInstanceUID", "") or "")
    return hashlib.sha256(identity.encode()).hexdigest()[:12] if identity else None


def _centre(pixels: NDArray[Any], size: int | None, multiple: int | None, relative: Path) -> NDArray[Any]:
    """The middle: a square of `size` pixels, or the most of both sides that `multiple` divides, or all for None."""
    rows, columns = pixels.shape
    step = multiple or 1
    height, width = (size, size) if size is not None else (rows // step * step, columns // step * step)
    if min(rows, columns) < (size or step):
        option = "--size" if size is not None else "--multiple"
        raise InputError(
            f"{relative}: {rows}x{columns} px is smaller than {option} {size or step}; give a smaller {option}"
        )
    top, left = (rows - height) // 2, (columns - width) // 2
    return pixels[top : top + height, left : left + width]

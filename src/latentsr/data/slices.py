"""The slices of an image, a series or a volume as a dataset stores them: grey, of its size, with spacing and mask."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsr.data.masks import read_mask
from latentsr.degrade import resampling_matrix
from latentsr.errors import InputError
from latentsr.io import Item, read
from latentsr.io.raster import RasterHeader
from latentsr.volume import MAX_PIXELS, Volume

INSIDE = 255  # of a stored mask; 0 is outside
TOP = np.iinfo(np.uint16).max
LARGE = 1.25  # times the asked size: an image whose short side is as long is resized, one below only cropped


@dataclass(frozen=True)
class Slice:
    """One slice: what its id ends with, and what goes into the dataset.

    Attributes:
        suffix: of the id, empty for an image that has no other slices.
        pixels: uint8 or uint16, (rows, columns).
        resized_from: (rows, columns) of the source where the pixels were resized, else None.
        spacing: (row, column) in mm, None where the file does not say.
        patient: by the file's header, as a short hash; None where it says nothing.
        mask: uint8, 0 or 255, (rows, columns); None without masks.
    """

    suffix: str
    pixels: NDArray[Any]
    resized_from: tuple[int, int] | None
    spacing: tuple[float, float] | None
    patient: str | None
    mask: NDArray[np.uint8] | None


class Slices(NamedTuple):
    """The slices of an item, how many constant ones were left out, and what the reader has to say of the file."""

    found: list[Slice]
    constant: int
    warnings: tuple[str, ...]


def read_slices(
    item: Item,
    mask: Item | None,
    *,
    size: int | None,
    slices: int,
    grey: bool,
    multiple: int | None = None,
    resize: bool = True,
    axis: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Slices:
    """The slices of an item that are not constant.

    Args:
        item: an image, a volume or a series.
        mask: that of its region of interest, or None.
        size: of the square of pixels that is kept, from the centre.
        slices: takes so many, evenly spaced; 0: all.
        grey: turns colour into grey.
        multiple: crops the centre to the largest rows and columns that it divides.
        resize: before an image is cropped to `size`, it is reduced until its short side has that length, if that is at
            least `LARGE` times as long: bicubic with antialiasing, to 16 bit. Spacing and mask follow.
        axis: the slice axis of a NIfTI image, see `latentsr.io.read`.
        max_pixels: of a volume, see `latentsr.io.read`.

    Raises:
        MisfitError: the mask cannot be laid over the item.
        InputError: the item cannot be read, or is smaller than `size`.
    """
    volume = read(item.paths, grey=grey, constant=True, axis=axis, max_pixels=max_pixels)
    inside = None if mask is None else read_mask(mask, volume, axis=axis, max_pixels=max_pixels)
    stored = _stored(volume)
    filled = [index for index, pixels in enumerate(stored) if pixels.min() < pixels.max()]
    rows, columns = stored.shape[1:]
    grid: tuple[int, int] = _grid(rows, columns, size) if resize and size is not None else (rows, columns)
    kept = _centre(*grid, size, multiple, item.relative)
    resized_from = (rows, columns) if grid != (rows, columns) else None
    # The spacing, or None where a header holds no size of a pixel in it.
    known = volume.spacing if volume.spacing and all(np.isfinite(volume.spacing)) and min(volume.spacing) > 0 else None
    spacing, patient = known, _header_patient(volume.source.header)
    if spacing:
        spacing = spacing[0] * (rows / grid[0]), spacing[1] * (columns / grid[1])
    found, chosen = [], filled
    if 0 < slices < len(filled):
        chosen = [filled[int((i + 0.5) * len(filled) / slices)] for i in range(slices)]
    for index in chosen:
        suffix = f"-s{index:03d}" if len(stored) > 1 else ""
        pixels, region = stored[index], None if inside is None else inside[index]
        if resized_from:
            share = _resampled(pixels, grid) / np.iinfo(pixels.dtype).max
            pixels = np.round(share.clip(0, 1) * TOP).astype(np.uint16)
            region = None if region is None else _resampled(region, grid) >= 0.5
        region = None if region is None else region[kept] * np.uint8(INSIDE)
        found.append(Slice(suffix, pixels[kept], resized_from, spacing, patient, region))
    return Slices(found, len(stored) - len(filled), volume.source.warnings)


def centred(pixels: NDArray[Any], size: int, path: Path) -> tuple[NDArray[Any], tuple[int, int] | None]:
    """The centre square of `size` pixels, of an image that is reduced first if it is large; its size before, or None.

    Reduced ones are uint16, others as they came. InputError for an image that is smaller than the square.
    """
    rows, columns = pixels.shape
    grid = _grid(rows, columns, size)
    kept = _centre(*grid, size, None, path)
    if grid == (rows, columns):
        return pixels[kept], None
    share = _resampled(pixels, grid) / np.iinfo(pixels.dtype).max
    return np.round(share.clip(0, 1) * TOP).astype(np.uint16)[kept], (rows, columns)


def _grid(rows: int, columns: int, size: int) -> tuple[int, int]:
    """The rows and columns of an image before it is cropped to `size`: reduced to a short side of `size` if large."""
    short = min(rows, columns)
    return (rows, columns) if short < LARGE * size else (round(rows * size / short), round(columns * size / short))


def _resampled(pixels: NDArray[Any], grid: tuple[int, int]) -> NDArray[np.float64]:
    """The pixels on a coarser grid over the same field of view, as Pillow's bicubic `resize` of float images."""
    down, across = (resampling_matrix("bicubic", *sides) for sides in zip(pixels.shape, grid, strict=True))
    return np.asarray(down @ pixels.astype(np.float64) @ across.T)


def _stored(volume: Volume) -> NDArray[Any]:
    """The pixels as they are of a picture, else 16 bit over the volume's window, which is in a scanner's units."""
    if volume.source.kind in ("png", "jpeg") and isinstance(volume.source.header, RasterHeader):
        return volume.pixels.astype(volume.source.header.dtype)
    return np.round(volume.window.apply(volume.pixels).clip(0, 1) * TOP).astype(np.uint16)


def _header_patient(header: object) -> str | None:
    """A short hash of DICOM's PatientID, or of the study without one: the id itself must not travel into datasets."""
    first = header[0] if isinstance(header, (tuple, list)) and header else header
    identity = str(getattr(first, "PatientID", "") or getattr(first, "StudyInstanceUID", "") or "")
    return hashlib.sha256(identity.encode()).hexdigest()[:12] if identity else None


def _centre(rows: int, columns: int, size: int | None, multiple: int | None, relative: Path) -> tuple[slice, slice]:
    """The middle: a square of `size` pixels, or the most of both sides that `multiple` divides, or all for None."""
    step = multiple or 1
    height, width = (size, size) if size is not None else (rows // step * step, columns // step * step)
    if min(rows, columns) < (size or step):
        option = "size" if size is not None else "multiple"
        raise InputError(
            f"{relative}: {rows}x{columns} px is smaller than the option {option}, {size or step}; choose a smaller one"
        )
    top, left = (rows - height) // 2, (columns - width) // 2
    return slice(top, top + height), slice(left, left + width)

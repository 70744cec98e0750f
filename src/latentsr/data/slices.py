"""The slices of an image, a series or a volume as a dataset stores them: grey, of its size, with spacing and mask."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsr.data.masks import read_mask
from latentsr.data.recipes.recipe import evenly, levels
from latentsr.degrade import resampling_matrix
from latentsr.errors import InputError
from latentsr.io import Item, read
from latentsr.io.raster import RasterHeader
from latentsr.volume import MAX_PIXELS, Volume

INSIDE = 255  # of a stored mask; 0 is outside
PAD, CROP, NONE = "pad", "crop", "none"  # how large images become squares, see `read_slices`
LARGE = 1.25  # times the asked size: with CROP an image whose short side is as long is resized, one below only cropped


@dataclass(frozen=True)
class Slice:
    """One slice: what its id ends with, and what goes into the dataset.

    Attributes:
        suffix: of the id, empty for an image that has no other slices.
        pixels: uint8 or uint16, (rows, columns).
        resized_from: (rows, columns) of the source where the pixels were resized or padded, else None.
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
    resize: str = PAD,
    axis: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Slices:
    """The slices of an item that are not constant.

    Args:
        item: an image, a volume or a series.
        mask: that of its region of interest, or None.
        size: of the square of pixels that is stored.
        slices: takes so many, evenly spaced; 0: all.
        grey: turns colour into grey.
        multiple: crops the centre to the largest rows and columns that it divides.
        resize: how an image that is larger than `size` fits in. PAD keeps the whole field: the long side is reduced to
            `size`, and black fills the square beside the short one. CROP fills the square: the short side is reduced to
            `size` if it is `LARGE` times as long, then the centre is kept. NONE keeps the centre of the image's own
            pixels. Reduced images are bicubic with antialiasing, of 16 bit. Spacing and mask follow.
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
    frame = _frame(rows, columns, size, multiple, resize, item.relative)
    # The spacing, or None where a header holds no size of a pixel in it.
    known = volume.spacing if volume.spacing and all(np.isfinite(volume.spacing)) and min(volume.spacing) > 0 else None
    spacing, patient = known, _header_patient(volume.source.header)
    if spacing:
        spacing = spacing[0] * (rows / frame.grid[0]), spacing[1] * (columns / frame.grid[1])
    found = []
    for index in evenly(filled, slices or len(filled)):
        suffix = f"-s{index:03d}" if len(stored) > 1 else ""
        region = None
        if inside is not None:
            region = _middle(_resampled(inside[index], frame.grid) >= 0.5, frame.shape) * np.uint8(INSIDE)
        before = (rows, columns) if frame.whole else None
        found.append(Slice(suffix, _framed(stored[index], frame), before, spacing, patient, region))
    return Slices(found, len(stored) - len(filled), volume.source.warnings)


def square(pixels: NDArray[Any], size: int, resize: str, path: Path) -> tuple[NDArray[Any], tuple[int, int] | None]:
    """The square of an image of uint8 or uint16 that `read_slices` stores; and its size before, None of own pixels."""
    rows, columns = pixels.shape
    frame = _frame(rows, columns, size, None, resize, path)
    return _framed(pixels, frame), (rows, columns) if frame.whole else None


class _Frame(NamedTuple):
    """The (rows, columns) of an image when it is resampled, and of what is stored: the middle, padded with black.

    `whole`: resampled or padded, so that what is stored is not a part of the image's own pixels.
    """

    grid: tuple[int, int]
    shape: tuple[int, int]
    whole: bool


def _frame(rows: int, columns: int, size: int | None, multiple: int | None, resize: str, relative: Path) -> _Frame:
    """Where an image is stored, see `read_slices`; InputError for one that is smaller than the size or multiple."""
    grid, step = (rows, columns), multiple or 1
    fitted = max(grid) if size is not None and resize == PAD else min(grid)  # the side that is to be of the size
    if fitted < (size or step):
        option = "size" if size is not None else "multiple"
        raise InputError(
            f"{relative}: {rows}x{columns} px is smaller than the option {option}, {size or step}; choose a smaller one"
        )
    if size is None:
        return _Frame(grid, (rows // step * step, columns // step * step), whole=False)
    if resize == PAD or (resize == CROP and fitted >= LARGE * size):
        grid = max(1, round(rows * size / fitted)), max(1, round(columns * size / fitted))
    return _Frame(grid, (size, size), whole=grid != (rows, columns) or min(grid) < size)


def _framed(pixels: NDArray[Any], frame: _Frame) -> NDArray[Any]:
    """The image in its frame: resampled to 16 bit, or in its own depth."""
    if pixels.shape != frame.grid:
        pixels = levels(_resampled(pixels, frame.grid) / np.iinfo(pixels.dtype).max)
    return _middle(pixels, frame.shape)


def _middle(pixels: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """The middle of an image on a grid of `shape`, with 0 where that is larger."""
    found = np.zeros(shape, pixels.dtype)
    inner, outer = [], []
    for have, wanted in zip(pixels.shape, shape, strict=True):
        common = min(have, wanted)
        inner.append(slice((have - common) // 2, (have + common) // 2))
        outer.append(slice((wanted - common) // 2, (wanted + common) // 2))
    found[tuple(outer)] = pixels[tuple(inner)]
    return found


def _resampled(pixels: NDArray[Any], grid: tuple[int, int]) -> NDArray[Any]:
    """The pixels on a coarser grid over the same field of view, as Pillow's bicubic `resize` of float images."""
    if pixels.shape == grid:
        return pixels
    down, across = (resampling_matrix("bicubic", *sides) for sides in zip(pixels.shape, grid, strict=True))
    return np.asarray(down @ pixels.astype(np.float64) @ across.T)


def _stored(volume: Volume) -> NDArray[Any]:
    """The pixels as they are of a picture, else 16 bit over the volume's window, which is in a scanner's units."""
    if volume.source.kind in ("png", "jpeg") and isinstance(volume.source.header, RasterHeader):
        return volume.pixels.astype(volume.source.header.dtype)
    return levels(volume.window.apply(volume.pixels))


def _header_patient(header: object) -> str | None:
    """A short hash of DICOM's PatientID, or of the study without one: the id itself must not travel into datasets."""
    first = header[0] if isinstance(header, (tuple, list)) and header else header
    identity = str(getattr(first, "PatientID", "") or getattr(first, "StudyInstanceUID", "") or "")
    return hashlib.sha256(identity.encode()).hexdigest()[:12] if identity else None

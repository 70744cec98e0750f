"""Slices of an image or a volume as a dataset stores them, grey and of its size, and the masks that fit their grid."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsr.data.patients import without_extension
from latentsr.data.recipes.recipe import evenly, levels
from latentsr.degrade import resampling_matrix
from latentsr.errors import InputError
from latentsr.io import Item, find, read
from latentsr.io.dicom.geometry import affine, is_placed
from latentsr.io.nifti import NiftiHeader
from latentsr.io.raster import JPEG_SUFFIXES, RasterHeader, UnfitError
from latentsr.io.reslice import slice_places
from latentsr.names import first_few
from latentsr.volume import MAX_PIXELS, Volume

NEAR = 0.5  # pixels that a mask's corners may lie off its image's: rounding of headers, and no more


class MisfitError(InputError):
    """A mask that cannot be laid over its image; its text names the mask and what is wrong with it."""


@dataclass(frozen=True)
class Masks:
    """The mask of each image or series below `source`, by the place of that in the tree."""

    items: Mapping[Path, Item]

    def of(self, image: Item) -> Item | None:
        """The image's mask; None for a file that is no image."""
        return self.items.get(image.relative)


def pair_masks(folder: Path, source: Path, images: Sequence[Item], *, max_pixels: int = MAX_PIXELS) -> Masks:
    """A mask below `folder` for each image below `source`: under the same name there, whatever its format.

    Where both are one file or one series, these belong together. Files that cannot be read as images need no mask.

    Raises:
        InputError: no such folder, one within the other, or masks that are missing, surplus or duplicated: all listed.
    """
    if not folder.exists():
        raise InputError(f"masks in {folder}: no such folder; expected one with a mask for each image of {source}")
    inner, outer = folder.resolve(), source.resolve()
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise InputError(f"masks in {folder}: expected a folder beside {source}, not one within the other; move it")
    masks = [(_name(item, folder), item) for item in find([folder])]
    wanted = {_name(image, source): image.relative for image in images}
    counts = Counter(name for name, _ in masks)
    without, missing = [image for image in images if _name(image, source) not in counts], []
    for image in without:
        try:
            read(image.paths, grey=True, constant=True, max_pixels=max_pixels)
        except InputError:
            continue
        missing = [other.relative.as_posix() for other in without]  # some are images: files that are none need no mask
        break
    faults = {
        "missing": missing,
        "surplus": [item.relative.as_posix() for name, item in masks if name not in wanted],
        "duplicated": [item.relative.as_posix() for name, item in masks if counts[name] > 1],
    }
    if any(faults.values()):
        reasons = "; ".join(f"{kind}: {first_few(sorted(names))}" for kind, names in faults.items() if names)
        raise InputError(
            f"masks in {folder}: expected one for each of {len(images)} images or series, in the same folders and "
            f"under the same names as these ({reasons})"
        )
    return Masks({wanted[name]: item for name, item in masks})


def _name(item: Item, root: Path) -> str:
    """The item's place below the root without its extension, empty for the root itself."""
    alone = root.is_file() or (
        item.series and item.paths[0].parent == root and item.relative.name == root.resolve().name
    )
    return "" if alone else without_extension(item.relative)


def read_mask(mask: Item, image: Volume, *, axis: int | None = None, max_pixels: int = MAX_PIXELS) -> NDArray[np.bool_]:
    """Where the region is, (slices, rows, columns), as its image; it may be empty.

    `axis` and `max_pixels` are those with which the image was read, see `latentsr.io.read`.

    Raises:
        MisfitError: a mask of another shape, elsewhere in the patient, in colour, a JPEG, or one that cannot be read.
    """
    name = mask.relative.as_posix()
    if mask.paths[0].suffix.lower() in JPEG_SUFFIXES:
        raise MisfitError(f"{name} (a JPEG, which smears its edges)")
    try:
        axis = getattr(image.source.header, "axis", axis)  # a mask is cut into slices as its NIfTI image was
        volume = read(mask.paths, constant=True, axis=axis, max_pixels=max_pixels)
    except UnfitError as error:
        raise MisfitError(f"{name} ({error.fault})") from error
    except InputError as error:
        raise MisfitError(f"{name} ({error})") from error
    if volume.pixels.shape != image.pixels.shape:
        found, expected = (
            f"{rows}x{columns}" + (f", {slices} slices" if slices > 1 else "")
            for slices, rows, columns in (volume.pixels.shape, image.pixels.shape)
        )
        raise MisfitError(f"{name} ({found}, its image {expected})")
    if _is_elsewhere(volume, image):
        raise MisfitError(f"{name} (by its header elsewhere in the patient, or turned)")
    return np.asarray(volume.pixels != 0)


def _is_elsewhere(mask: Volume, image: Volume) -> bool:
    """Whether the two grids, of one shape, lie apart in the patient; False where a file does not say where it lies."""
    matrices = []  # from (column, row, slice, 1) to mm in the patient (right, anterior, superior)
    for volume in (mask, image):
        header = volume.source.header
        if isinstance(header, NiftiHeader) and header.placed:
            matrices.append(np.asarray(header.affine))
        elif volume.source.kind == "dicom" and all(map(is_placed, header)):
            matrices.append(affine(header))
        else:
            return False
    slices, rows, columns = image.pixels.shape
    corners = np.array([*product((0, columns - 1), (0, rows - 1), (0, slices - 1), (1,))])
    apart = np.linalg.norm((corners @ (matrices[0] - matrices[1]).T)[:, :3], axis=1)
    pixel = np.linalg.norm(matrices[1][:3, :2], axis=0).min()
    return bool(apart.max() > NEAR * pixel)


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
        slice_mm: where it lies along the normal of its volume, from the first; None where the file does not say.
    """

    suffix: str
    pixels: NDArray[Any]
    resized_from: tuple[int, int] | None
    spacing: tuple[float, float] | None
    patient: str | None
    mask: NDArray[np.uint8] | None
    slice_mm: float | None = None


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
    header = volume.source.header
    if volume.source.kind in ("png", "jpeg") and isinstance(header, RasterHeader):
        stored: NDArray[Any] = volume.pixels.astype(header.dtype)
    else:  # 16 bit over the volume's window, which is in a scanner's units
        stored = levels(volume.unit())
    filled = [index for index, pixels in enumerate(stored) if pixels.min() < pixels.max()]
    rows, columns = stored.shape[1:]
    frame = _frame(rows, columns, size, multiple, resize, item.relative)
    # The spacing, or None where a header holds no size of a pixel in it.
    known = volume.spacing if volume.spacing and all(np.isfinite(volume.spacing)) and min(volume.spacing) > 0 else None
    # A short hash of DICOM's PatientID, or of the study without one: the id itself must not travel into datasets.
    first = header[0] if isinstance(header, (tuple, list)) and header else header
    identity = str(getattr(first, "PatientID", "") or getattr(first, "StudyInstanceUID", "") or "")
    spacing, patient = known, hashlib.sha256(identity.encode()).hexdigest()[:12] if identity else None
    if spacing:
        spacing = spacing[0] * (rows / frame.grid[0]), spacing[1] * (columns / frame.grid[1])
    found, places = [], slice_places(volume)
    for index in evenly(filled, slices or len(filled)):
        suffix = f"-s{index:03d}" if len(stored) > 1 else ""
        region = None
        if inside is not None:
            region = _middle(_resampled(inside[index], frame.grid) >= 0.5, frame.shape) * np.uint8(INSIDE)
        before, place = (rows, columns) if frame.whole else None, places[index] if places else None
        found.append(Slice(suffix, _framed(stored[index], frame), before, spacing, patient, region, place))
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

"""Masks of regions of interest: which belongs to which image, and whether it fits the image's grid."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latentsr.data.patients import without_extension
from latentsr.errors import InputError
from latentsr.io import Item, find, read
from latentsr.io.dicom.grid import affine, is_placed
from latentsr.io.raster import JPEG_SUFFIXES, UnfitError
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
    without = [image for image in images if _name(image, source) not in counts]
    faults = {
        "missing": [image.relative.as_posix() for image in without]
        if any(_is_image(image, max_pixels) for image in without)
        else [],
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


def _is_image(item: Item, max_pixels: int) -> bool:
    try:
        read(item.paths, grey=True, constant=True, max_pixels=max_pixels)
    except InputError:
        return False
    return True


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
    matrices = [_to_patient(one) for one in (mask, image)]
    if matrices[0] is None or matrices[1] is None:
        return False
    slices, rows, columns = image.pixels.shape
    corners = np.array([*product((0, columns - 1), (0, rows - 1), (0, slices - 1), (1,))])
    apart = np.linalg.norm((corners @ (matrices[0] - matrices[1]).T)[:, :3], axis=1)
    pixel = np.linalg.norm(matrices[1][:3, :2], axis=0).min()
    return bool(apart.max() > NEAR * pixel)


def _to_patient(volume: Volume) -> NDArray[np.float64] | None:
    """Maps (column, row, slice, 1) to mm in the patient (right, anterior, superior), None where the file has none."""
    header = volume.source.header
    if volume.source.kind == "nifti" and max(int(header.fields[f"{form}_code"]) for form in ("sform", "qform")) > 0:
        return np.asarray(header.affine)
    if volume.source.kind == "dicom" and all(map(is_placed, header)):
        return affine(header)
    return None

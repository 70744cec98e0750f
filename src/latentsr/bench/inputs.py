"""Files of an evaluation paired with the records of a dataset by id: SR images, masks, and their names in messages.

An id comes from a file's name, and a file's name may hold a patient's. Whoever needs the id sets the option show_ids.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from latentsr.config import sha256
from latentsr.data.records import Dataset, Record
from latentsr.errors import InputError
from latentsr.io.raster import PNG_SUFFIXES, TIFF_SUFFIXES, UnfitError, read_pixels
from latentsr.names import first_few
from latentsr.stats.table import short_hash

LISTED = 10  # images that a message names, the rest is counted


@dataclass(frozen=True)
class Naming:
    """How the images of one dataset are called."""

    dataset: str
    show_ids: bool = False

    def __call__(self, id: str) -> str:
        """The short hash of the image, or its id where that was asked for."""
        return id if self.show_ids else short_hash(self.dataset, id)

    def listed(self, ids: Iterable[str]) -> str:
        """The images' names in the order of their ids, at most ten, and how many more there are."""
        return first_few(list(map(self, sorted(ids))), LISTED)

    @property
    def hint(self) -> str:
        """How to find the file behind a name."""
        return "" if self.show_ids else "; images are named by a hash, the option show_ids names them by id"


@dataclass(frozen=True)
class PairedFiles:
    """One file for each record, by id, and the SHA-256 that each had when it was paired."""

    paths: Mapping[str, Path]
    digests: Mapping[str, str]
    naming: Naming

    @property
    def hash(self) -> str:
        """A digest of the ids and contents of all files."""
        told = "\n".join(f"{id} {self.digests[id]}" for id in sorted(self.digests))
        return hashlib.sha256(told.encode()).hexdigest()

    @property
    def bits(self) -> int:
        """The least number of bits a pixel among all files: 8 or 16; 8 too of 16-bit files that hold 8-bit levels."""
        images = (self.pixels(id) for id in self.paths)
        return min(8 if image.dtype.itemsize == 1 or not (image % 257).any() else 16 for image in images)

    def pixels(self, id: str) -> NDArray[Any]:
        """The image's pixels, uint8 or uint16 (rows, columns); InputError if it is not the one that was paired."""
        try:
            if sha256(self.paths[id]) == self.digests[id]:
                return read_pixels(self.paths[id])
        except (InputError, OSError):
            pass  # told below without the cause, whose words are the file's path
        raise InputError(
            f"the file of image {self.naming(id)} of dataset '{self.naming.dataset}' was removed or altered while "
            f"the evaluation ran; restore it and run again{self.naming.hint}"
        )

    def unit(self, id: str) -> NDArray[np.float32]:
        """The image, float32 in [0, 1]: 8 and 16 bit are scaled by their type's largest value, as HR is."""
        pixels = self.pixels(id)
        return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


@dataclass(frozen=True)
class Target:
    """What files are paired with: all records of a dataset's split, how they are called in errors, and whether the
    dataset is one of `several`, whose images may bear the same ids.
    """

    records: Sequence[Record]
    naming: Naming
    several: bool = False


def pair_files(folder: Path, target: Target, *, what: str) -> PairedFiles:
    """The PNG and TIFF files below `folder`, each paired with the record whose id is its name without suffix.

    Where `folder` holds a folder named as the dataset, that one counts; of several datasets each must have its own.

    Args:
        folder: searched with its folders; hidden files do not count.
        target: the images that need a file.
        what: what opens the error, such as "method 'mine'".

    Raises:
        InputError: lists files that are missing, surplus, duplicated or of another size than HR, and those that are
            no image, in colour, of another depth or of several pages.
    """
    records, naming = target.records, target.naming
    inner = folder / naming.dataset
    files = _image_files(inner if inner.is_dir() or target.several else folder)
    stems, wanted = Counter(path.stem for path in files), {record.id for record in records}
    faults = {
        "missing": wanted - stems.keys(),
        "surplus": stems.keys() - wanted,
        "duplicated": {stem for stem, count in stems.items() if count > 1},
    } | unfit([(path.stem, path) for path in files], records)
    if any(faults.values()):
        expected = f"one PNG or TIFF file of HR's size, named by id, for each of {len(records)} images"
        where = f" in a folder '{naming.dataset}'" if target.several else ""
        told = f"expected {expected} of dataset '{naming.dataset}'{where} ({listed(faults, naming)})"
        raise InputError(f"{what}: {told}{naming.hint}")
    paths = {path.stem: path for path in files}
    return PairedFiles(paths, {id: sha256(path) for id, path in paths.items()}, naming)


def unfit(files: Iterable[tuple[str, Path]], records: Sequence[Record]) -> dict[str, set[str]]:
    """The ids of records whose file cannot be measured with them, by kind of fault; files of no record do not count.

    Args:
        files: pairs of id and file.
        records: what the files belong to; one and its file have the same size.
    """
    sizes = {record.id: (record.rows, record.columns) for record in records}
    found: dict[str, set[str]] = {}
    for id, path in files:
        if id in sizes and (fault := _fault(path, sizes[id])):
            found.setdefault(fault, set()).add(id)
    return found


def _fault(path: Path, size: tuple[int, int]) -> str:
    """What is wrong with a file, in words that do not name it; empty if nothing is."""
    try:
        return "" if read_pixels(path).shape == size else "wrongly sized"
    except UnfitError as error:
        return error.fault


def listed(faults: Mapping[str, Collection[str]], naming: Naming) -> str:
    """The images of each kind of fault, as errors call them."""
    return "; ".join(f"{kind}: {naming.listed(ids)}" for kind, ids in faults.items() if ids)


def _image_files(folder: Path) -> list[Path]:
    """The PNG and TIFF files below `folder`, hidden ones left out."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in (*PNG_SUFFIXES, *TIFF_SUFFIXES))
    visible = (p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))
    return sorted(path for path in visible if path.is_file())


Origin = Literal["folder", "dataset"]


def find_masks(folder: Path | None, dataset: Dataset, target: Target) -> PairedFiles | None:
    """A mask for each image of the target: those of the folder where one is named, else the dataset's, if it has any.

    Args:
        folder: of PNG and TIFF files, named by id; None: those that the dataset was prepared with.
        dataset: whose images are measured.
        target: the images, all of the split.

    Raises:
        InputError: no such folder; masks that are missing or do not fit, or that only some images have: it lists them.
    """
    if folder is None:
        # The dataset's own masks, or None where no image of the split has one.
        naming, there = target.naming, [record for record in target.records if record.mask]
        if not there:
            return None
        paths = {record.id: dataset.root / record.mask for record in there}
        without = {record.id for record in target.records} - paths.keys()
        faults = {"without one": without} | unfit(paths.items(), there)
        if any(faults.values()):
            raise InputError(
                f"masks of dataset '{dataset.name}': expected one in grey and of HR's size for each of "
                f"{len(target.records)} images ({listed(faults, naming)}); prepare it again with masks for "
                f"all, or name a folder with all of them in the option masks{naming.hint}"
            )
        return PairedFiles(paths, {record.id: record.mask_sha256 for record in there}, naming)
    if not folder.is_dir():
        raise InputError(
            f"the option masks is {folder}: no such folder; expected one with a PNG or TIFF mask for each image"
        )
    return pair_files(folder, target, what="masks")


def origin(folder: Path | None) -> Origin:
    """Where masks come from, if there are any."""
    return "dataset" if folder is None else "folder"

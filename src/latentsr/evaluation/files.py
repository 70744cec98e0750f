"""Image files of a folder paired with the records of a dataset by id: never by position, nothing left out."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsr.config import sha256
from latentsr.data.records import Record
from latentsr.errors import InputError
from latentsr.evaluation.naming import Naming
from latentsr.io.raster import PNG_SUFFIXES, TIFF_SUFFIXES, read_pixels


@dataclass(frozen=True)
class PairedFiles:
    """One file for each record, by id, and a digest of the ids and contents of all of them."""

    paths: Mapping[str, Path]
    hash: str
    naming: Naming

    def pixels(self, id: str) -> NDArray[Any]:
        """The image's pixels, uint8 or uint16 (rows, columns); InputError if it can be read no more."""
        try:
            return read_pixels(self.paths[id])
        except (InputError, OSError):
            raise InputError(  # without its cause, whose words are the file's path
                f"the file of image {self.naming(id)} of dataset '{self.naming.dataset}' was removed or altered while "
                f"the evaluation ran; restore it and run again{self.naming.hint}"
            ) from None

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
        InputError: lists files that are missing, surplus, duplicated, unreadable or of another size than HR.
    """
    records, naming = target.records, target.naming
    inner = folder / naming.dataset
    files = _image_files(inner if inner.is_dir() or target.several else folder)
    faults = _faults(files, records)
    if any(faults.values()):
        told = "; ".join(f"{kind}: {naming.listed(names)}" for kind, names in faults.items() if names)
        expected = f"one PNG or TIFF file of HR's size, named by id, for each of {len(records)} images"
        where = f" in a folder '{naming.dataset}'" if target.several else ""
        raise InputError(f"{what}: expected {expected} of dataset '{naming.dataset}'{where} ({told}){naming.hint}")
    paths = {path.stem: path for path in files}
    digests = "\n".join(f"{id} {sha256(paths[id])}" for id in sorted(paths))
    return PairedFiles(paths, hashlib.sha256(digests.encode()).hexdigest(), naming)


def _faults(files: Sequence[Path], records: Sequence[Record]) -> dict[str, list[str]]:
    """The ids of what does not pair, by kind of fault."""
    stems, wanted = Counter(path.stem for path in files), {record.id: record for record in records}
    shapes = {path: _shape(path) for path in files if path.stem in wanted}
    return {
        "missing": sorted(wanted.keys() - stems.keys()),
        "surplus": sorted(stems.keys() - wanted.keys()),
        "duplicated": sorted(stem for stem, count in stems.items() if count > 1),
        "unreadable as grey of 8 or 16 bit": sorted({path.stem for path, shape in shapes.items() if shape is None}),
        "wrongly sized": sorted(
            {path.stem for path, shape in shapes.items() if shape and shape != _size(wanted[path.stem])}
        ),
    }


def _image_files(folder: Path) -> list[Path]:
    """The PNG and TIFF files below `folder`, hidden ones left out."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in (*PNG_SUFFIXES, *TIFF_SUFFIXES))
    visible = (p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))
    return sorted(path for path in visible if path.is_file())


def _shape(path: Path) -> tuple[int, ...] | None:
    """Rows and columns, or None for a file that cannot be read."""
    try:
        return read_pixels(path).shape
    except InputError:  # told with all others of the folder, by hash: its own message names the path
        return None


def _size(record: Record) -> tuple[int, int]:
    return record.rows, record.columns

"""Files of an evaluation paired with the records of a dataset by id, and images that are not what their name says.

An id comes from a file's name, and a file's name may hold a patient's. Whoever needs the id sets the option show_ids.

Names that agree prove nothing: files numbered anew after a sort carry other images' names. But an SR image must reduce
to its own LR. `suspicions` compares thumbnails of A(SR) with thumbnails of all LR images of the split, also of those
that a limit left out, and how well each image fits its LR with how well bicubic's does.
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
from latentsr.upscalers import BICUBIC

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
    searched = inner if inner.is_dir() or target.several else folder
    found = [path for path in searched.rglob("*") if path.suffix.lower() in (*PNG_SUFFIXES, *TIFF_SUFFIXES)]
    hidden = {path for path in found if any(part.startswith(".") for part in path.relative_to(searched).parts)}
    files = sorted(path for path in found if path not in hidden and path.is_file())
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
        if id in sizes:
            try:
                fault = "" if read_pixels(path).shape == sizes[id] else "wrongly sized"
            except UnfitError as error:
                fault = error.fault  # in words that do not name the file
            if fault:
                found.setdefault(fault, set()).add(id)
    return found


def listed(faults: Mapping[str, Collection[str]], naming: Naming) -> str:
    """The images of each kind of fault, as errors call them."""
    return "; ".join(f"{kind}: {naming.listed(ids)}" for kind, ids in faults.items() if ids)


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


BETTER = 4.0  # another image's LR must fit so many times better (6 dB) than its own
FLOOR = 1e-5  # MSE of thumbnails below which an image fits its own LR, whoever fits better (duplicates in a set)
CHUNK = 512  # images a block of the comparison of all with all
FENCE, FAR, LOW = 3.0, 6.0, 40.0  # an outlier: interquartile ranges below the first quartile; dB below the median; dB
UNEXPLAINED = 10.0  # dB below bicubic's LR PSNR of the same image: another image, or hardly the same
MOST = 0.5  # a larger share of unexplained images is said of the method as a whole

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Suspicion:
    """Images of one method that do not agree with their input.

    `kind`: `other`, they look like other images of the set (`resembles` says which, in the order of `images`);
    `outlier`, they fit their LR far worse than the method's others, or than bicubic's, and no other LR explains them;
    `all`, the same of most of the method's images. Images are rows of the set; above these, of those not measured.
    """

    kind: Literal["other", "outlier", "all"]
    images: tuple[int, ...]
    resembles: tuple[int, ...] = ()


def suspicions(
    own: Floats, restored: Mapping[str, Floats], lr_psnr: Mapping[str, Floats], others: Floats | None = None
) -> dict[str, list[Suspicion]]:
    """What is suspicious, by method; nothing for most.

    Args:
        own: thumbnails of the LR images, (images, pixels).
        restored: thumbnails of A(SR) by method, rows as in `own`.
        lr_psnr: PSNR of A(SR) against LR in dB by method, (images,); bicubic's, if there, is what is to be expected.
        others: thumbnails of LR images that were not measured, (others, pixels).
    """
    all_lr = own if others is None else np.concatenate([own, others])
    expected, found = lr_psnr.get(BICUBIC), dict[str, list[Suspicion]]()
    for method, thumbs in restored.items():
        nearest, swapped = nearest_other(all_lr, thumbs)
        told = found[method] = []
        if swapped.any():
            rows = np.flatnonzero(swapped)
            told.append(Suspicion("other", tuple(rows.tolist()), tuple(nearest[rows].tolist())))
        odd = outliers(lr_psnr[method])
        if expected is not None:
            odd |= lr_psnr[method] < np.minimum(expected - UNEXPLAINED, LOW)
        if (odd := odd & ~swapped).any():
            kind: Literal["all", "outlier"] = "all" if odd.mean() > MOST else "outlier"
            told.append(Suspicion(kind, tuple(np.flatnonzero(odd).tolist())))
    return found


def nearest_other(own: Floats, thumbs: Floats) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The other image whose LR each image fits best, and whether it fits that far better than its own; (images,) each.

    With one LR there is no other: it is its own nearest.

    Args:
        own: thumbnails of LR images, those of `thumbs` first and in its order, then any others.
        thumbs: thumbnails of A(SR), (images, pixels).
    """
    nearest, swapped = np.arange(len(thumbs)), np.zeros(len(thumbs), bool)
    targets = np.asarray(own, np.float64)
    for start in range(0, len(thumbs) if len(own) > 1 else 0, CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(thumbs)))
        # Mean squared error of every row of one with every row of the other.
        first = np.asarray(thumbs[rows], np.float64)
        squares = np.square(first).mean(axis=1)[:, None] + np.square(targets).mean(axis=1)[None]
        errors = np.asarray((squares - 2 * first @ targets.T / first.shape[1]).clip(min=0))
        mine = np.square(thumbs[rows] - targets[rows]).mean(axis=1)
        errors[np.arange(len(rows)), rows] = np.inf
        nearest[rows] = errors.argmin(axis=1)
        swapped[rows] = (mine > FLOOR) & (BETTER * errors.min(axis=1) < mine)
    return nearest, swapped


def outliers(lr_psnr: Floats) -> NDArray[np.bool_]:
    """Which images fit their LR far worse than the others of the method, (images,)."""
    values = np.where(np.isinf(lr_psnr), 200.0, lr_psnr)  # dB: exact is far above whatever is in doubt
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    fence = min(low - FENCE * (high - low), middle - FAR, LOW)
    return np.asarray(values < fence)

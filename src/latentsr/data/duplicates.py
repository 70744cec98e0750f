"""Images that occur twice: copies by a digest of their pixels, near-copies by the correlation of thumbnails."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsr.data.records import SPLITS, Dataset, Record
from latentsr.degrade import resampling_matrix
from latentsr.errors import InputError
from latentsr.names import first_few

REFUSE, DROP = "refuse", "drop"  # what is done with copies over splits and datasets
SIDE = 16  # pixels of a thumbnail
ALIKE = 0.995  # correlation of two thumbnails above which images are near-copies; docs/training.md says why
BLOCK = 2048  # images per side of a block of pairs: 16 MB of correlations
KEPT = 1000  # near-copies that dataset.json lists, the strongest; the rest is counted
HEX_DIGITS = 16  # of a digest: among a million images two others agree once in 37 million sets


class Look(NamedTuple):
    """The file of an image, and what identifies it: the digest of its pixels, and its thumbnail, float32 (SIDE**2,)."""

    file: str
    digest: str
    thumbnail: NDArray[np.float32]


Pair = tuple[Look, Look]
_area_means = lru_cache(maxsize=64)(lambda side: resampling_matrix("area", side, SIDE))


def look(file: str, pixels: NDArray[Any]) -> Look:
    """The Look of an image of uint8 or uint16, (rows, columns)."""
    return Look(file, pixel_digest(pixels), thumbnail(pixels))


def pixel_digest(pixels: NDArray[Any]) -> str:
    """Hex digits that two images of uint8 or uint16, (rows, columns), share if they are equal but for their grey scale.

    Of the shape and of each pixel's rank among the levels of its image: the same for 8 and 16 bit, and for any window,
    contrast or gamma that merges no two levels. The image cannot be recovered from it.
    """
    occurs = np.bincount(pixels.ravel(), minlength=np.iinfo(pixels.dtype).max + 1) > 0
    ranks = (np.cumsum(occurs) - 1).astype("<u2")[pixels]
    return hashlib.sha256(f"{pixels.shape}".encode() + ranks.tobytes()).hexdigest()[:HEX_DIGITS]


def thumbnail(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Area means over SIDE x SIDE parts, less their mean, of unit norm: the dot product of two is their correlation.

    Float32, (SIDE**2,); zeros for an image all of whose parts have one mean.
    """
    down, across = (_area_means(side) for side in pixels.shape)
    means = (down @ pixels.astype(np.float64) @ across.T).ravel()
    means -= means.mean()
    norm = np.linalg.norm(means)
    return np.asarray(means / norm if norm > 1e-6 else 0 * means, np.float32)


def copies(groups: Iterable[Sequence[Look]]) -> list[Pair]:
    """Each image whose pixels also occur in an earlier group, with the first such image."""
    first: dict[str, Look] = {}
    found = []
    for group in groups:
        found += [(one, first[one.digest]) for one in group if one.digest in first]
        for one in group:
            first.setdefault(one.digest, one)
    return found


def near_copies(
    groups: Sequence[Sequence[Look]], *, above: float = ALIKE
) -> tuple[int, list[tuple[float, Look, Look]]]:
    """How many pairs of images of two groups correlate above a threshold, and the strongest of them, at most KEPT.

    Every image of a group is compared with every one of the others, a block of pairs at a time.
    """
    count, found = 0, list[tuple[float, Look, Look]]()
    for first, second in combinations(groups, 2):
        starts = product(range(0, len(first), BLOCK), range(0, len(second), BLOCK))
        for left, right in ((first[i : i + BLOCK], second[j : j + BLOCK]) for i, j in starts):
            correlations = np.stack([one.thumbnail for one in left]) @ np.stack([one.thumbnail for one in right]).T
            rows, columns = np.nonzero(correlations > above)
            values = correlations[rows, columns]
            strongest = np.argsort(-values, kind="stable")[:KEPT]
            found += [(float(values[k]), left[rows[k]], right[columns[k]]) for k in strongest]
            found = sorted(found, key=lambda pair: -pair[0])[:KEPT]
            count += len(values)
    return count, found


def dataset_looks(dataset: Dataset) -> list[Look]:
    """The Looks of a prepared dataset's images; InputError if files are missing or changed."""
    dataset.check(dataset.records)
    return [look(f"{one.file} of dataset '{dataset.name}'", dataset.pixels(one)) for one in dataset.records]


def leave_out_copies(
    records: Sequence[Record], looks: Mapping[str, Look], others: Sequence[Dataset], action: str
) -> tuple[list[Record], dict[str, Any]]:
    """The records without those whose image stands elsewhere, and what dataset.json says of images that are the same.

    Elsewhere is another dataset or a higher split (test, valid, train): what is measured on stays as it is, and
    training loses the image. Copies within a split stay.

    Args:
        records: with their splits.
        looks: of each record, by id.
        others: datasets to keep apart from.
        action: "refuse" or "drop".

    Raises:
        InputError: lists the copies, if they are refused; or nothing would be left of a split.
    """
    elsewhere = [one for other in others for one in dataset_looks(other)]
    found = copies([elsewhere, *_by_split(records, looks)])
    if found and action == REFUSE:
        raise InputError(
            f"{len(found)} image(s) stand in another split or dataset too ({_listed(found)}): a model is not to be "
            "measured on what it was trained on; remove one of each two, or set the option duplicates to drop, which "
            "leaves out that of the lower split (train, then valid), and here what another dataset has"
        )
    left_out = {copy.file for copy, _ in found}
    kept = [record for record in records if looks[record.id].file not in left_out]
    if emptied := {one.split for one in records} - {one.split for one in kept}:
        raise InputError(
            f"every image of split {', '.join(sorted(emptied))} stands in another split or dataset too "
            f"({_listed(found)}); give other images"
        )
    groups = _by_split(kept, looks)
    count, near = near_copies([elsewhere, *groups])
    people = {record.patient for record in kept}
    return kept, {
        "apart_from": [other.name for other in others],
        "shared_patients": len(people & {record.patient for other in others for record in other.records}),
        "dropped": [{"file": one.file, "same_as": other.file} for one, other in found],
        "repeated": [
            {"file": one.file, "same_as": other.file} for group in groups for one, other in copies([x] for x in group)
        ],
        "near": count,
        "near_pairs": [{"file": b.file, "like": a.file, "correlation": round(r, 5)} for r, a, b in near],
    }


def _by_split(records: Sequence[Record], looks: Mapping[str, Look]) -> list[list[Look]]:
    """The Looks of each split, the highest first."""
    return [[looks[one.id] for one in records if one.split == split] for split in reversed(SPLITS)]


def _listed(pairs: Sequence[Pair]) -> str:
    return first_few([f"{one.file} = {other.file}" for one, other in pairs])

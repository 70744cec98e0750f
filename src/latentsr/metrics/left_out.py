"""Distances between two sets of images with groups of images left out of both: how sure the distances are.

SR and HR of an image leave together. What is left is taken from sums and sorted lists, not computed anew. The standard
error that follows from the values is `latentsr.stats.jackknife`.
"""

from collections.abc import Sequence
from itertools import pairwise, repeat

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsr.metrics.distribution import CHUNK, check_features, check_patches, directions, kernel

SPREAD = 256  # directions of PROJECTIONS along which the spread over groups is seen: twice as fast
ROWS = 512  # images a block of the kernels of all with all

Floats = NDArray[np.float64]
Groups = NDArray[np.intp]


def paired_kid(features: Tensor, reference: Tensor, patients: Groups | None = None) -> float:
    """The KID of an evaluation's tables: that of `kid_left_out`, of all images.

    Args:
        features: of the SR images, (images, features).
        reference: of the HR images, in the same order.
        patients: number of the patient of each image; None: each image is a patient of its own.
    """
    members = np.arange(len(features)) if patients is None else patients
    return kid_left_out(features, reference, members, np.zeros(len(features), dtype=np.intp))[0]


def kid_left_out(features: Tensor, reference: Tensor, patients: Groups, groups: Groups) -> tuple[float, Floats]:
    """KID of all images, and with each group left out, (groups,), from pairs of images of different patients alone.

    The mean over pairs (i, j) of k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i): unbiased where x_i, the SR
    image's features, and y_i, HR's, belong together, and where images of a patient are alike. KID as published takes
    the two sets for independent; of SR and HR of the same images it is too low, by the more the nearer each SR image is
    to its own HR and the fewer images there are, and below 0 if they are the same. Here it is 0 then. Where all images
    are of one patient, the pairs are those of different images: that none is of one image alone is the least.

    Args:
        features: of the SR images, (images, features).
        reference: of the HR images, in the same order.
        patients: number of the patient of each image.
        groups: number of the group of each image, from 0; a patient's images are in one group.

    Source: Gretton et al. 2012, lemma 6 with equation 4 (one sample of pairs); the kernel of Binkowski et al. 2018.
    """
    first, second = check_features(features, reference)
    apart_by = patients if len(np.unique(patients)) > 1 else np.arange(len(patients))
    of_patient, of_group = torch.from_numpy(apart_by), torch.nn.functional.one_hot(torch.from_numpy(groups)).double()
    blocks, pairs = torch.zeros(2, of_group.shape[1], of_group.shape[1], dtype=torch.float64)
    for rows in torch.arange(len(first)).split(ROWS):
        cross = kernel(first[rows], second)
        sums = kernel(first[rows], first) + kernel(second[rows], second) - 2 * cross
        apart = (of_patient[rows, None] != of_patient[None]).double()
        blocks += of_group[rows].T @ (sums * apart) @ of_group
        pairs += of_group[rows].T @ apart @ of_group
    distance, count = (_without_each(table) for table in (blocks, pairs))
    return float(blocks.sum() / pairs.sum()), (distance / count).numpy()


def _without_each(blocks: Tensor) -> Tensor:
    """(groups,): the sum of (groups, groups) without the row and column of each group."""
    return blocks.sum() - blocks.sum(dim=0) - blocks.sum(dim=1) + blocks.diagonal()


def swd_left_out(
    descriptors: Sequence[Tensor],
    reference: Tensor,
    groups: Groups,
    *,
    generator: torch.Generator | None = None,
    projections: int = SPREAD,
) -> tuple[Floats, Floats]:
    """Sliced Wasserstein distances x 1000 of all patches, (sets,), and with each group left out, (groups, sets).

    As `sliced_wasserstein` along as many directions, to rounding; what is left of each set is shifted and scaled anew.

    Args:
        descriptors: of each set that is compared with the reference, (patches, pixels), on the CPU.
        reference: as many patches.
        groups: number of the group of each patch of any set, from 0.
        generator: of the random directions, a CPU one.
        projections: number of directions.
    """
    for one in descriptors:
        check_patches(one, reference)
    order = torch.from_numpy(np.argsort(groups, kind="stable"))
    ends = np.concatenate([[0], np.cumsum(np.bincount(groups))]).tolist()
    cuts = [(0, 0), *pairwise(ends)]  # first nothing is left out, then group by group: their patches lie side by side
    sets = [values[order] for values in (reference, *descriptors)]
    scales = list(zip(*(_scales(values, cuts) for values in sets), strict=True))
    totals = np.zeros((len(cuts), len(descriptors)))
    for some in directions(reference, projections, generator).split(CHUNK, dim=1):
        offsets = some.sum(dim=0).numpy()[:, None]
        projected = [(some.T @ values.T).numpy() for values in sets]
        for number, cut in enumerate(cuts):
            scaled = map(_standardised, projected, repeat(cut), repeat(offsets), scales[number])
            target = next(scaled)
            totals[number] += [_distance(one, target) for one in scaled]
    found = 1000 * totals / projections
    return found[0], found[1:]


def _scales(values: Tensor, cuts: Sequence[tuple[int, int]]) -> list[tuple[float, float]]:
    """Mean and standard deviation of all numbers but those of the rows of each cut, from sums of rows."""
    wide = values.double()
    middle = wide.mean()
    sums = [(wide - middle).sum(dim=1).numpy(), (wide - middle).square().sum(dim=1).numpy()]
    first, second = (one.sum() - [one[slice(*cut)].sum() for cut in cuts] for one in sums)
    left = values.shape[1] * (len(values) - np.array([end - start for start, end in cuts]))
    means = first / left
    return list(zip((means + float(middle)).tolist(), np.sqrt(second / left - means**2).tolist(), strict=True))


def _standardised(
    values: NDArray[np.float32], cut: tuple[int, int], offsets: NDArray[np.float32], scale: tuple[float, float]
) -> NDArray[np.float32]:
    """Each row without the columns from cut[0] to cut[1], in rising order, as if its patches had been standardised."""
    left = np.concatenate([values[:, : cut[0]], values[:, cut[1] :]], axis=1)
    left.sort(axis=1)
    left -= np.float32(scale[0]) * offsets
    left /= np.float32(scale[1])
    return left


def _distance(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """The sum over rows of the mean absolute difference; `first` is used up."""
    first -= second
    return float(np.abs(first, out=first).mean(axis=1, dtype=np.float64).sum())

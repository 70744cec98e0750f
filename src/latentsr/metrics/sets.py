"""Distances between two sets of images: FID, KID, sliced Wasserstein, and the same with groups left out.

FID and KID take features (images, features) of a network (`learned`); sliced Wasserstein distance takes
`patch_descriptors` (Karras et al. 2018, section 5 and its published code) and needs no learned weights. Patches are
drawn by one generator per image, so that order and batches change nothing. SR and HR of an image are left out together;
`latentsr.stats.intervals` has the standard error that follows from the values.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsr.errors import InputError
from latentsr.metrics.images import check_image, correlate_separable, mirrored

SMALLEST_LEVEL = 16
PATCH = 7
PATCHES_PER_IMAGE = 128
BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)

Floats = NDArray[np.float64]
Groups = NDArray[np.intp]
Labelled = tuple[NDArray[np.float32], NDArray[np.unsignedinteger]]


def patch_descriptors(
    images: Tensor,
    generators: Sequence[torch.Generator],
    *,
    levels: int | None = None,
    patches: int = PATCHES_PER_IMAGE,
) -> dict[str, Tensor]:
    """7x7 patches at random places of each level of each image's Laplacian pyramid, by level: (batch, patches, 49).

    Levels are named by the size of their pixels in those of the image, fine to coarse: "x1", "x2", "x4" ...; so levels
    of one name have the same frequencies, whatever the images' sizes.

    Args:
        images: (batch, 1, rows, columns) in [0, 1], sides of 16 px or more.
        generators: one per image, on the CPU, seeded from the image's id.
        levels: as of `laplacian_pyramid`; images of several sizes are comparable in as many as the smallest has.
        patches: of each image and level.
    """
    if len(generators) != len(check_image(images)):
        raise InputError(f"{len(generators)} generators for {len(images)} images: expected one per image")
    pyramid = laplacian_pyramid(images, levels)
    inside, found = torch.arange(PATCH), {}
    for octave, level in enumerate(pyramid):
        rows, columns = (side - PATCH + 1 for side in level.shape[-2:])
        places = torch.stack([torch.randint(rows * columns, (patches,), generator=source) for source in generators])
        first = places // columns * level.shape[-1] + places % columns
        steps = (inside[:, None] * level.shape[-1] + inside[None, :]).flatten()
        pixels = (first[..., None] + steps).flatten(1).to(level.device)
        found[f"x{2**octave}"] = level.flatten(1).gather(1, pixels).unflatten(1, (patches, PATCH * PATCH))
    return found


def pyramid_levels(side: int) -> int:
    """The number of levels of 16 px or more of the pyramid of an image whose smaller side is `side` px."""
    levels = int(side >= SMALLEST_LEVEL)
    while side >= 2 * SMALLEST_LEVEL:
        levels, side = levels + 1, (side + 1) // 2
    return levels


def laplacian_pyramid(images: Tensor, levels: int | None = None) -> list[Tensor]:
    """The band-pass levels of `images` from fine to coarse, the coarsest one a low-pass; their sides halve.

    Each level is the image less its blurred, halved and again enlarged self; their (enlarged) sum is the image.
    As many levels as `pyramid_levels` says, or fewer if `levels` is given: then the last one is larger than 16 px.
    """
    most = pyramid_levels(min(images.shape[-2:]))
    if not most:
        raise InputError(f"images of {images.shape[-2]}x{images.shape[-1]} px: sides of {SMALLEST_LEVEL} px or more")
    if levels is not None and not 1 <= levels <= most:
        raise InputError(f"{levels} levels of images of {images.shape[-2]}x{images.shape[-1]} px: expected 1 to {most}")
    found = []
    for _ in range((levels or most) - 1):
        smaller = _blurred(images)[..., ::2, ::2]
        found.append(images - enlarged(smaller, (images.shape[-2], images.shape[-1])))
        images = smaller
    return [*found, images]


def enlarged(image: Tensor, size: tuple[int, int]) -> Tensor:
    """`image` enlarged to `size` (rows, columns), twice its own: zeros between the pixels, then blurred."""
    spread = torch.zeros(*image.shape[:-2], *size, dtype=image.dtype, device=image.device)
    spread[..., ::2, ::2] = image
    return 4 * _blurred(spread)


def _blurred(image: Tensor) -> Tensor:
    taps = torch.tensor(BINOMIAL, dtype=torch.float64)
    return correlate_separable(mirrored(image, len(BINOMIAL) // 2), taps)


PROJECTIONS = 512
CHUNK = 32


def fid(features: Tensor, reference: Tensor) -> float:
    """Frechet distance of two sets of features (images, features) as Gaussians, 0 or more.

    With Inception-v3's 2048 features it is FID; biased upwards, and unreliable below 2048 images (RELIABLE_FID).
    Source: Heusel et al. 2017, eq. 6.
    """
    first, second = _checked_features(features, reference)
    means = (first.mean(dim=0) - second.mean(dim=0)).square().sum()
    # The trace of (S1 S2)^(1/2) is the sum of the singular values of R1 R2^T, where S = R^T R is a covariance (ddof 1).
    roots = [(values - values.mean(dim=0)) / (len(values) - 1) ** 0.5 for values in (first, second)]
    roots = [torch.linalg.qr(root, mode="r").R if len(root) > root.shape[1] else root for root in roots]
    shared = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    return float((means + sum(root.square().sum() for root in roots) - 2 * shared).clamp_min(0))


def sliced_wasserstein(
    descriptors: Sequence[Tensor],
    reference: Tensor,
    *,
    generator: torch.Generator,
    projections: int = PROJECTIONS,
) -> Floats:
    """Sliced Wasserstein distances x 1000, 0 or more, of each set of patches from the reference, (sets,).

    Each set, (patches, pixels), is shifted and scaled to mean 0 and standard deviation 1 as a whole, then compared
    along random directions drawn from `generator` (a CPU one): the mean distance of the sorted projections. All sets
    need the same number of patches. Source: Karras et al. 2018, section 5.
    """

    def in_order(values: Tensor) -> Tensor:
        if values.device.type == "cpu":  # numpy sorts more than ten times faster than torch there
            return torch.from_numpy(np.sort(values.numpy(), axis=1))
        return values.sort(dim=1).values

    for one in descriptors:
        _check_patches(one, reference)
    sets = [((one - one.mean()) / one.std(correction=0)).T.contiguous() for one in (reference, *descriptors)]
    totals = np.zeros(len(descriptors))
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # a sort takes most of the time, and one thread
        # A chunk at a time: all projections at once would take gigabytes.
        for chosen in _directions(reference, projections, generator).split(CHUNK, dim=1):
            target, *others = pool.map(in_order, [chosen.T @ values for values in sets])
            totals += [float((one - target).abs().mean(dim=1).double().sum()) for one in others]
    return 1000 * totals / projections


def _check_patches(descriptors: Tensor, reference: Tensor) -> None:
    if descriptors.shape != reference.shape or descriptors.ndim != 2:
        raise InputError(
            f"patches of shapes {tuple(descriptors.shape)} and {tuple(reference.shape)}: expected two alike, "
            "(patches, pixels); take as many of each set"
        )


def _directions(reference: Tensor, projections: int, generator: torch.Generator) -> Tensor:
    """(pixels, projections): random directions of length 1, of the type and device of the patches."""
    drawn = torch.randn(reference.shape[1], projections, generator=generator)
    return (drawn / drawn.norm(dim=0)).to(reference)


def _checked_features(features: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64, if they are (images, features) of one network, of 2 images or more; InputError otherwise."""
    if features.ndim != 2 or reference.ndim != 2 or features.shape[1] != reference.shape[1]:
        raise InputError(
            f"features of shapes {tuple(features.shape)} and {tuple(reference.shape)}: expected (images, features) "
            "of one network"
        )
    if min(len(features), len(reference)) < 2:
        raise InputError(f"features of {len(features)} and {len(reference)} images: expected 2 or more of each")
    return features.double(), reference.double()


SPREAD = 256  # directions of PROJECTIONS for the spread over groups: twice as fast
ROWS = 512  # images per block of the kernels of all with all


def kid_left_out(features: Tensor, reference: Tensor, patients: Groups, groups: Groups) -> tuple[float, Floats]:
    """KID of all images, and with each group left out, (groups,), from pairs of images of different patients alone.

    The mean over pairs (i, j) of k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i), with the kernel k(x, y) =
    (x . y / features + 1)^3: unbiased where x_i, the SR image's features, and y_i, HR's, belong together, and where
    images of a patient are alike. KID as published takes the two sets for independent; of SR and HR of the same images
    it is too low, and below 0 if they are the same. Here it is 0 then. Where all images are of one patient, the pairs
    are those of different images.

    Args:
        features: of the SR images, (images, features).
        reference: of the HR images, in the same order.
        patients: number of the patient of each image.
        groups: number of the group of each image, from 0; a patient's images are in one group.

    Source: Gretton et al. 2012, lemma 6 with equation 4 (one sample of pairs); the kernel of Binkowski et al. 2018.
    """

    def kernel(first: Tensor, second: Tensor) -> Tensor:
        return (first @ second.T / first.shape[1] + 1) ** 3

    first, second = _checked_features(features, reference)
    apart_by = patients if len(np.unique(patients)) > 1 else np.arange(len(patients))
    of_patient, of_group = torch.from_numpy(apart_by), torch.nn.functional.one_hot(torch.from_numpy(groups)).double()
    blocks, pairs = torch.zeros(2, of_group.shape[1], of_group.shape[1], dtype=torch.float64)
    for rows in torch.arange(len(first)).split(ROWS):
        cross = kernel(first[rows], second)
        sums = kernel(first[rows], first) + kernel(second[rows], second) - 2 * cross
        apart = (of_patient[rows, None] != of_patient[None]).double()
        blocks += of_group[rows].T @ (sums * apart) @ of_group
        pairs += of_group[rows].T @ apart @ of_group
    distance, count = (
        (table.sum() - table.sum(dim=0) - table.sum(dim=1) + table.diagonal()) for table in (blocks, pairs)
    )
    return float(blocks.sum() / pairs.sum()), (distance / count).numpy()


def swd_left_out(
    descriptors: Sequence[Tensor],
    reference: Tensor,
    groups: Groups,
    *,
    generator: torch.Generator,
    projections: int = SPREAD,
) -> tuple[Floats, Floats]:
    """Sliced Wasserstein distances x 1000 of all patches, (sets,), and with each group left out, (groups, sets).

    As `sliced_wasserstein` along as many directions, to rounding; the remaining patches of each set are standardised.
    `descriptors` are the (patches, pixels), on the CPU, of each set that is compared with the reference, which has as
    many; `groups` is the number, from 0, of the group of each patch of any set.
    """
    for one in descriptors:
        _check_patches(one, reference)
    order = torch.from_numpy(np.argsort(groups, kind="stable"))
    ends = np.concatenate([[0], np.cumsum(np.bincount(groups))]).tolist()
    cuts = [(0, 0), *pairwise(ends)]  # first nothing is left out, then group by group: their patches lie side by side
    labels = np.repeat(np.arange(1, len(cuts)), np.diff(ends))  # the number of the cut that leaves a patch out
    sets = [values[order].float() for values in (reference, *descriptors)]

    def scale(values: Tensor) -> tuple[Floats, Floats]:
        # Mean and standard deviation of all numbers but those of the rows of each cut, from sums of rows.
        wide = values.double()
        middle = wide.mean()
        sums = [(wide - middle).sum(dim=1).numpy(), (wide - middle).square().sum(dim=1).numpy()]
        first, second = (one.sum() - [one[slice(*cut)].sum() for cut in cuts] for one in sums)
        left = values.shape[1] * (len(values) - np.array([end - start for start, end in cuts]))
        means = first / left
        return means + float(middle), np.sqrt(second / left - means**2)

    def labelled(values: Tensor) -> Labelled:
        # Each row sorted, and the label of each value there: one sort serves all cuts, as what is left of sorted values
        # is sorted. The label, below 2^28, lies in the bits that float64 has beyond a float32, where it changes neither
        # the order of values nor, rounded back, the values.
        wide = values.numpy().astype(np.float64)
        bits = wide.view(np.int64)
        bits |= labels
        wide.sort(axis=1)
        return wide.astype(np.float32), (bits & (2**28 - 1)).astype(np.min_scalar_type(labels[-1]))

    scales, totals = [scale(values) for values in sets], np.zeros((len(cuts), len(descriptors)))
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for some in _directions(sets[0], projections, generator).split(CHUNK, dim=1):
            ordered = list(pool.map(labelled, [some.T @ values.T for values in sets]))
            cut = partial(_distances, ordered, scales, some.sum(dim=0).numpy()[:, None])
            totals += list(pool.map(cut, range(len(cuts))))
    found = 1000 * totals / projections
    return found[0], found[1:]


def _distances(
    ordered: Sequence[Labelled], scales: Sequence[tuple[Floats, Floats]], offsets: NDArray[np.float32], number: int
) -> list[np.float64]:
    """Of each set from the first one, without the patches of label `number`, summed over rows: directions."""
    left = []  # the sorted projections of what is left of each set, as if it had been standardised
    for (values, labels), (means, sds) in zip(ordered, scales, strict=True):
        kept = values[labels != number].reshape(len(values), -1)
        kept -= np.float32(means[number]) * offsets
        kept /= np.float32(sds[number])
        left.append(kept)
    return [np.abs(one - left[0]).mean(axis=1, dtype=np.float64).sum() for one in left[1:]]

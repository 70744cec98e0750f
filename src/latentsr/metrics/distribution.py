"""Distances between two sets of images: how realistic the SR images are as a whole, whatever each should show.

FID and KID take features (images, features) of a network (`learned`), computed batch by batch; sliced Wasserstein
distance takes the patch descriptors of `pyramid` and needs no learned weights. None pairs images.
"""

import numpy as np
import torch
from torch import Tensor

from latentsr.errors import InputError

RELIABLE_FID = 2048  # images below which FID is biased: say so next to the number
PROJECTIONS = 512
CHUNK = 32


def fid(features: Tensor, reference: Tensor) -> float:
    """Frechet distance of two sets of features (images, features) as Gaussians, 0 or more.

    With Inception-v3's 2048 features it is FID; biased upwards, and unreliable below 2048 images (RELIABLE_FID).
    Source: Heusel et al. 2017, eq. 6.
    """
    first, second = check_features(features, reference)
    means = (first.mean(dim=0) - second.mean(dim=0)).square().sum()
    roots = [_covariance_root(values) for values in (first, second)]
    # The trace of (S1 S2)^(1/2) is the sum of the singular values of R1 R2^T, where S = R^T R.
    shared = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    return float((means + sum(root.square().sum() for root in roots) - 2 * shared).clamp_min(0))


def kid(
    features: Tensor,
    reference: Tensor,
    *,
    subset: int | None = None,
    subsets: int = 100,
    generator: torch.Generator | None = None,
) -> float:
    """Kernel distance of two sets of features (images, features): the unbiased squared MMD, about 0 for like sets.

    The kernel is (x . y / features + 1)^3. Over all images at once, or if `subset` is given the mean over `subsets`
    draws of that many images of each set, by `generator` (a CPU one). It may fall below 0, and holds for few images
    too. As published, it takes the two sets for independent: of SR and HR of the same images it is too low, and
    evaluations show `left_out.paired_kid` instead. Source: Binkowski et al. 2018, eq. 4.
    """
    first, second = check_features(features, reference)
    if subset is None:
        return float(_squared_mmd(first, second))
    if not 2 <= subset <= min(len(first), len(second)):
        raise InputError(
            f"KID subset of {subset} images: expected 2 to {min(len(first), len(second))}, the smaller set"
        )
    draws = [
        _squared_mmd(*(values[torch.randperm(len(values), generator=generator)[:subset]] for values in (first, second)))
        for _ in range(subsets)
    ]
    return float(torch.stack(draws).mean())


def sliced_wasserstein(
    descriptors: Tensor,
    reference: Tensor,
    *,
    generator: torch.Generator | None = None,
    projections: int = PROJECTIONS,
) -> float:
    """Sliced Wasserstein distance x 1000 of two sets of patches (patches, pixels), 0 or more.

    Each set is shifted and scaled to mean 0 and standard deviation 1 as a whole, then compared along random directions
    drawn from `generator` (a CPU one): the mean distance of the sorted projections. Both sets need the same number of
    patches. Source: Karras et al. 2018, section 5.
    """
    check_patches(descriptors, reference)
    sets = [((values - values.mean()) / values.std(correction=0)).T.contiguous() for values in (descriptors, reference)]
    total = 0.0
    for chosen in directions(reference, projections, generator).split(
        CHUNK, dim=1
    ):  # a chunk at a time: all projections at once would take gigabytes
        first, second = (_sorted(chosen.T @ values) for values in sets)
        total += float((first - second).abs().mean(dim=1).double().sum())
    return 1000 * total / projections


def check_patches(descriptors: Tensor, reference: Tensor) -> None:
    """InputError unless both are (patches, pixels) of as many patches."""
    if descriptors.shape != reference.shape or descriptors.ndim != 2:
        raise InputError(
            f"patches of shapes {tuple(descriptors.shape)} and {tuple(reference.shape)}: expected two alike, "
            "(patches, pixels); take as many of each set"
        )


def directions(reference: Tensor, projections: int, generator: torch.Generator | None) -> Tensor:
    """(pixels, projections): random directions of length 1, of the type and device of the patches."""
    drawn = torch.randn(reference.shape[1], projections, generator=generator)
    return (drawn / drawn.norm(dim=0)).to(reference)


def check_features(features: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64; InputError unless they are (images, features) of one network, of 2 images or more."""
    if features.ndim != 2 or reference.ndim != 2 or features.shape[1] != reference.shape[1]:
        raise InputError(
            f"features of shapes {tuple(features.shape)} and {tuple(reference.shape)}: expected (images, features) "
            "of one network"
        )
    if min(len(features), len(reference)) < 2:
        raise InputError(f"features of {len(features)} and {len(reference)} images: expected 2 or more of each")
    return features.double(), reference.double()


def _covariance_root(features: Tensor) -> Tensor:
    """R with R^T R = the covariance (ddof 1) of `features`, with no more rows than features."""
    centred = (features - features.mean(dim=0)) / (len(features) - 1) ** 0.5
    return torch.linalg.qr(centred, mode="r").R if len(features) > features.shape[1] else centred


def _squared_mmd(first: Tensor, second: Tensor) -> Tensor:
    own = [(kernel(values, values).sum() - _kernel_of_self(values).sum(), len(values)) for values in (first, second)]
    return sum(total / (n * (n - 1)) for total, n in own) - 2 * kernel(first, second).mean()


def kernel(first: Tensor, second: Tensor) -> Tensor:
    """KID's kernel of each row of one with each row of the other: (x . y / features + 1)^3."""
    return (first @ second.T / first.shape[1] + 1) ** 3


def _kernel_of_self(values: Tensor) -> Tensor:
    return (values.square().sum(dim=1) / values.shape[1] + 1) ** 3


def _sorted(values: Tensor) -> Tensor:
    """Each row in rising order; on a CPU by numpy, which sorts more than ten times faster than torch."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy(), axis=1))
    return values.sort(dim=1).values

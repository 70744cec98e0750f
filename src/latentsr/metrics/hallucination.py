"""Hallucinated and lost pixels, beyond the noise floor of a reference autoencoder; the null-space part of a sample.

The noise floor comes from one reference autoencoder for all methods of a comparison (`noise_thresholds`); a lossless
latent has none of its own. Images are (batch, 1, rows, columns) in [0, 1].
"""

from typing import Protocol

import torch
from torch import Tensor

from latentsr.errors import InputError
from latentsr.metrics.images import check_image, check_pair, once, precise

SIGMAS = (1.0, 2.0, 3.0)


class LinearOperator(Protocol):
    """`latentsr.degrade.Degradation`, or any linear operator with a pseudo-inverse."""

    def apply(self, hr: Tensor) -> Tensor:
        """A(hr): the LR image."""
        ...

    def pinv(self, lr: Tensor) -> Tensor:
        """A^+(lr), of HR size."""
        ...


def noise_thresholds(ae: Tensor, hr: Tensor, sigmas: tuple[float, ...] = SIGMAS) -> Tensor:
    """Mean + k standard deviations (population) of abs(AE - HR) of each image, for each k of `sigmas`: (batch, sigmas).

    `ae` is HR encoded and decoded by the reference autoencoder; the context `threshold` of the METRICS table. Source:
    arXiv 2604.12152.
    """
    ae, hr = check_pair(ae, hr)
    error = precise(ae - hr).abs()
    mean, sd = error.mean(dim=(1, 2, 3)), error.std(dim=(1, 2, 3), correction=0)
    return (mean[:, None] + sd[:, None] * sd.new_tensor(sigmas)).to(hr.dtype)


def hallucination_maps(sr: Tensor, hr: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """(hallucinated, lost): where SR - HR lies above `threshold` and where below its negative, bool, of HR's shape.

    `threshold` is one value per image, (batch,), of those that `noise_thresholds` gives.
    """
    sr, hr = check_pair(sr, hr)
    difference, bound = sr - hr, threshold[:, None, None, None]
    return difference > bound, difference < -bound


def hallucinated(sr: Tensor, hr: Tensor, threshold: Tensor) -> Tensor:
    """Share of pixels brighter than HR by more than each threshold, (batch, thresholds), in [0, 1]."""
    return once(_share_and_magnitude, sr, hr, threshold)[0]


def hallucinated_magnitude(sr: Tensor, hr: Tensor, threshold: Tensor) -> Tensor:
    """Mean SR - HR over the hallucinated pixels, (batch, thresholds), in [0, 1]; NaN where there is none."""
    return once(_share_and_magnitude, sr, hr, threshold)[1]


def lost(sr: Tensor, hr: Tensor, threshold: Tensor) -> Tensor:
    """Share of pixels darker than HR by more than each threshold, (batch, thresholds), in [0, 1]."""
    return hallucinated(hr, sr, threshold)


def lost_magnitude(sr: Tensor, hr: Tensor, threshold: Tensor) -> Tensor:
    """Mean HR - SR over the lost pixels, (batch, thresholds), in [0, 1]; NaN where there is none."""
    return hallucinated_magnitude(hr, sr, threshold)


def _share_and_magnitude(sr: Tensor, hr: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    sr, hr = check_pair(sr, hr)
    if threshold.ndim != 2 or threshold.shape[0] != hr.shape[0]:
        raise InputError(
            f"thresholds of shape {tuple(threshold.shape)} for {hr.shape[0]} images: expected (batch, sigmas), "
            "as noise_thresholds gives them"
        )
    difference = (sr - hr).flatten(1)
    counts, sums = [], []
    for bound in threshold.to(difference).unbind(dim=1):
        beyond = difference > bound[:, None]
        counts.append(beyond.sum(dim=1))
        sums.append((difference * beyond).sum(dim=1))
    count, total = torch.stack(counts, dim=1), torch.stack(sums, dim=1)
    return count / difference.shape[1], total / count  # 0 / 0 is NaN: no pixel, no magnitude


def null_space(sr: Tensor, mean: Tensor, degradation: LinearOperator) -> Tensor:
    """Root mean square of the part of SR - mean that LR does not determine, (batch,): (1 - A^+ A)(SR - mean).

    `mean` is the posterior-mean SR image. Neither more nor less is better: a draw from the posterior adds as much as HR
    does, the mean nothing. Computed in float64, since A^+ magnifies rounding.
    Source: range-null space decomposition (Wang 2023, DDNM, eq. 7).
    """
    part, _ = once(_null_part, sr, mean, degradation=degradation)
    return part.square().mean(dim=(1, 2, 3)).sqrt().to(sr.dtype)


def null_space_share(sr: Tensor, mean: Tensor, degradation: LinearOperator) -> Tensor:
    """Energy of the null-space part in that of SR - mean, (batch,), in [0, 1]; NaN where SR is the mean itself.

    1 for a sample and a mean that both agree with LR.
    """
    part, difference = once(_null_part, sr, mean, degradation=degradation)
    share = part.square().sum(dim=(1, 2, 3)) / difference.square().sum(dim=(1, 2, 3))
    return share.clamp_max(1).to(sr.dtype)


def _null_part(sr: Tensor, mean: Tensor, degradation: LinearOperator) -> tuple[Tensor, Tensor]:
    if mean.shape != check_image(sr).shape:
        raise InputError(f"SR images of shape {tuple(sr.shape)} against means of {tuple(mean.shape)}: must be alike")
    difference = precise(sr) - precise(mean)
    return difference - degradation.pinv(degradation.apply(difference)), difference

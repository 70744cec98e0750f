"""Perceptual measures without learned weights: they follow how radiologists rate images (Kastryulin 2023).

All take (batch, 1, rows, columns) in [0, 1] on any device and give one value an image, (batch,), NaN for "no value".
Both measures here see the 0..255 image halved by 2x2 averages, as their papers do.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from latentsr.metrics.filters import halved
from latentsr.metrics.images import GREY_LEVELS, check_pair, likeness, no_value, smaller_than

HAARPSI_SIDE = 16
HAARPSI_LEVELS = 3
GMSD_SIDE = 6
GMSD_CONSTANT = 170.0


def haarpsi(sr: Tensor, hr: Tensor) -> Tensor:
    """Haar wavelet perceptual similarity index, in [0, 1]; NaN for sides under 16 px and where both images are black.

    C = 30 and alpha = 4.2, found on natural images. Source: Reisenhofer et al. 2018.
    """
    return _haarpsi(sr, hr, c=30.0, alpha=4.2)


def haarpsi_med(sr: Tensor, hr: Tensor) -> Tensor:
    """HaarPSI with its medical constants, in [0, 1]; NaN as `haarpsi`.

    C = 5 and alpha = 4.9, found on experts' ratings of chest X-ray and photoacoustic images.
    Source: Karner et al. 2024, "Parameter choices in HaarPSI for IQA with medical images" (arXiv 2410.24098).
    """
    return _haarpsi(sr, hr, c=5.0, alpha=4.9)


def _haarpsi(sr: Tensor, hr: Tensor, *, c: float, alpha: float) -> Tensor:
    sr, hr = check_pair(sr, hr)
    if smaller_than(hr, HAARPSI_SIDE):
        return no_value(hr)
    total = weights = torch.zeros_like(hr[:, 0, 0, 0])
    for mine, true in zip(*(_haar_responses(halved(image * GREY_LEVELS)) for image in (sr, hr)), strict=True):
        weight = torch.maximum(mine.pop(), true.pop())  # the coarsest response only weighs
        fine = torch.stack([likeness(a, b, c) for a, b in zip(mine, true, strict=True)]).mean(dim=0)
        total = total + (torch.sigmoid(alpha * fine) * weight).sum(dim=(1, 2, 3))
        weights = weights + weight.sum(dim=(1, 2, 3))
    share = total / weights  # 0 / 0 is NaN: black against black has no coefficient to weigh by
    return (torch.log(share / (1 - share)) / alpha).square()


def _haar_responses(image: Tensor) -> Iterator[list[Tensor]]:
    """Magnitudes of the Haar responses of `image` from fine to coarse, for edges along each axis."""
    for along, across in ((-2, -1), (-1, -2)):
        yield [_haar_response(image, 2**level, along, across) for level in range(1, HAARPSI_LEVELS + 1)]


def _haar_response(image: Tensor, size: int, along: int, across: int) -> Tensor:
    """Magnitude of the difference of two half windows, `size` px wide: MATLAB's conv2(..., 'same'), zero border."""
    before = size // 2 - 1
    padded = F.pad(image, (before, size // 2, before, size // 2))
    sums = _running_sum(_running_sum(padded, size, across), size // 2, along)
    side = sums.shape[along] - size // 2
    return (sums.narrow(along, 0, side) - sums.narrow(along, size // 2, side)).abs() / size


def _running_sum(image: Tensor, width: int, axis: int) -> Tensor:
    """Sums of `width` (a power of two) neighbours along `axis`, by doubling."""
    step = 1
    while step < width:
        side = image.shape[axis] - step
        image = image.narrow(axis, 0, side) + image.narrow(axis, step, side)
        step *= 2
    return image


def gmsd(sr: Tensor, hr: Tensor) -> Tensor:
    """Gradient magnitude similarity deviation, 0 (identical) to about 0.5; NaN for sides under 6 px.

    Prewitt gradients, c = 170 on the 0..255 scale. Source: Xue et al. 2014.
    """
    sr, hr = check_pair(sr, hr)
    if smaller_than(hr, GMSD_SIDE):
        return no_value(hr)
    mine, true = (_prewitt(halved(image * GREY_LEVELS)) for image in (sr, hr))
    return likeness(mine, true, GMSD_CONSTANT).std(dim=(1, 2, 3), correction=0)


def _prewitt(image: Tensor) -> Tensor:
    """Gradient magnitude, of the same size, zero border."""
    padded = F.pad(image, (1, 1, 1, 1))
    three_rows = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    three_columns = padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]
    across = three_rows[..., :-2] - three_rows[..., 2:]
    down = three_columns[..., :-2, :] - three_columns[..., 2:, :]
    return torch.hypot(across, down) / 3

"""Perceptual measures without learned weights: they follow how radiologists rate images (Kastryulin 2023).

All take (batch, 1, rows, columns) in [0, 1] on any device and give one value an image, (batch,), NaN for "no value".

Both measures here see the 0..255 image averaged over blocks of 2x2 pixels, as their papers have it. One grid of blocks
is blind to whatever sums to zero in each of its blocks: a model that draws detail in the finest Haar bands of the same
grid is praised for the rest, and the praise ends when both images are cropped by a pixel. So `haarpsi`, `haarpsi_med`
and `gmsd` are the mean of the published definition over the four phases of the grid, of SR and HR without their first
0 or 1 rows and columns. The published definition alone, on the grid from the first pixel on, is `..._published`.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from latentsr.metrics.filters import halvings
from latentsr.metrics.images import GREY_LEVELS, check_pair, likeness, no_value, smaller_than

PUBLISHED_HAARPSI_SIDE, PUBLISHED_GMSD_SIDE = 16, 6
HAARPSI_SIDE, GMSD_SIDE = PUBLISHED_HAARPSI_SIDE + 1, PUBLISHED_GMSD_SIDE + 1  # a phase has a row or column less
HAARPSI_LEVELS = 3
GMSD_CONSTANT = 170.0


def haarpsi(sr: Tensor, hr: Tensor) -> Tensor:
    """Haar wavelet perceptual similarity index, mean over the four phases of its 2x2 grid, in [0, 1].

    NaN for sides under 17 px and where both images are black in a phase. C = 30 and alpha = 4.2, found on natural
    images. Source: Reisenhofer et al. 2018, averaged.
    """
    return _mean(_NATURAL, sr, hr, HAARPSI_SIDE)


def haarpsi_med(sr: Tensor, hr: Tensor) -> Tensor:
    """HaarPSI with its medical constants, mean over the four phases of its 2x2 grid, in [0, 1]; NaN as `haarpsi`.

    C = 5 and alpha = 4.9, found on experts' ratings of chest X-ray and photoacoustic images.
    Source: Karner et al. 2024, "Parameter choices in HaarPSI for IQA with medical images" (arXiv 2410.24098), averaged.
    """
    return _mean(_MEDICAL, sr, hr, HAARPSI_SIDE)


def gmsd(sr: Tensor, hr: Tensor) -> Tensor:
    """Gradient magnitude similarity deviation, mean over the four phases of its 2x2 grid, 0 (identical) to about 0.5.

    NaN for sides under 7 px. Prewitt gradients, c = 170 on the 0..255 scale. Source: Xue et al. 2014, averaged.
    """
    return _mean(_gmsd, sr, hr, GMSD_SIDE)


def haarpsi_published(sr: Tensor, hr: Tensor) -> Tensor:
    """HaarPSI as published, on one grid, in [0, 1]; NaN for sides under 16 px and where both images are black.

    Source: Reisenhofer et al. 2018.
    """
    return _mean(_NATURAL, sr, hr, PUBLISHED_HAARPSI_SIDE, phases=1)


def haarpsi_med_published(sr: Tensor, hr: Tensor) -> Tensor:
    """HaarPSI with its medical constants as published, on one grid, in [0, 1]; NaN as `haarpsi_published`.

    Source: Karner et al. 2024 (arXiv 2410.24098).
    """
    return _mean(_MEDICAL, sr, hr, PUBLISHED_HAARPSI_SIDE, phases=1)


def gmsd_published(sr: Tensor, hr: Tensor) -> Tensor:
    """GMSD as published, on one grid, 0 (identical) to about 0.5; NaN for sides under 6 px.

    Source: Xue et al. 2014.
    """
    return _mean(_gmsd, sr, hr, PUBLISHED_GMSD_SIDE, phases=1)


def _mean(
    definition: Callable[[Tensor, Tensor], Tensor], sr: Tensor, hr: Tensor, side: int, *, phases: int = 4
) -> Tensor:
    """Mean of `definition`, of halved images, over so many phases of the 2x2 grid; NaN for sides under `side` px."""
    sr, hr = check_pair(sr, hr)
    if smaller_than(hr, side):
        return no_value(hr)
    pairs = islice(zip(halvings(sr), halvings(hr), strict=True), phases)
    return torch.stack([definition(GREY_LEVELS * mine, GREY_LEVELS * true) for mine, true in pairs]).mean(dim=0)


def _haarpsi(sr: Tensor, hr: Tensor, *, c: float, alpha: float) -> Tensor:
    mine, true = (list(_haar_responses(image)) for image in (sr, hr))
    weight = torch.maximum(mine.pop(), true.pop())  # the coarsest response only weighs
    fine = likeness(mine[0], true[0], c).add_(likeness(mine[1], true[1], c)).mul_(alpha / 2).sigmoid_()
    # 0 / 0 is NaN: black against black has no coefficient to weigh by
    share = fine.mul_(weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3))
    return (torch.logit(share) / alpha).square()


_NATURAL, _MEDICAL = partial(_haarpsi, c=30.0, alpha=4.2), partial(_haarpsi, c=5.0, alpha=4.9)


def _haar_responses(image: Tensor) -> Iterator[Tensor]:
    """Magnitudes of the Haar responses of `image` to edges along both axes, (batch, 2, rows, columns), fine to coarse.

    MATLAB's conv2(..., 'same'), zero border. Windows twice as wide are made of the sums of the last ones.
    """
    rows, columns = image.shape[-2:]
    border = 2 ** (HAARPSI_LEVELS - 1)
    sums = F.pad(image, (border - 1, border, border - 1, border))
    for level in range(HAARPSI_LEVELS):
        half = 2**level  # of the window
        both, apart = sums[..., :-half] + sums[..., half:], sums[..., :-half] - sums[..., half:]
        sums = both[..., :-half, :] + both[..., half:, :]
        down, across = both[..., :-half, :] - both[..., half:, :], apart[..., :-half, :] + apart[..., half:, :]
        margin = border - half
        inside = (..., slice(margin, margin + rows), slice(margin, margin + columns))
        yield torch.cat([down[inside], across[inside]], dim=1).abs_().div_(2 * half)


def _gmsd(sr: Tensor, hr: Tensor) -> Tensor:
    return likeness(_prewitt(sr), _prewitt(hr), GMSD_CONSTANT).std(dim=(1, 2, 3), correction=0)


def _prewitt(image: Tensor) -> Tensor:
    """Gradient magnitude, of the same size, zero border."""
    padded = F.pad(image, (1, 1, 1, 1))
    three_rows = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    three_columns = padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]
    across = three_rows[..., :-2] - three_rows[..., 2:]
    down = three_columns[..., :-2, :] - three_columns[..., 2:, :]
    return across.square_().addcmul_(down, down).sqrt_().div_(3)

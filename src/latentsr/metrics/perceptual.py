"""Perceptual measures without learned weights: they follow how radiologists rate images (Kastryulin 2023).

All take (batch, 1, rows, columns) in [0, 1] on any device and give one value an image, (batch,), NaN for "no value".
piq does the work; it is imported at the first call, since that takes seconds.
"""

import torch
from torch import Tensor

from latentsr.metrics.images import check_pair, no_value, smaller_than

HAARPSI_SIDE = 16
GMSD_SIDE = 6


def haarpsi(sr: Tensor, hr: Tensor) -> Tensor:
    """Haar wavelet perceptual similarity index, in [0, 1]; NaN for sides under 16 px and where both images are black.

    C = 30, alpha = 4.2, 3 scales on the 0..255 image halved by 2x2 averages. Source: Reisenhofer et al. 2018.
    """
    import piq

    sr, hr = check_pair(sr, hr)
    if smaller_than(hr, HAARPSI_SIDE):
        return no_value(hr)
    score = piq.haarpsi(sr, hr, data_range=1.0, reduction="none", scales=3, subsample=True, c=30.0, alpha=4.2)
    # Black against black has no coefficient to weigh by: piq divides its own epsilons and answers infinity.
    return torch.where(score.isfinite(), score, torch.nan)


def gmsd(sr: Tensor, hr: Tensor) -> Tensor:
    """Gradient magnitude similarity deviation, 0 (identical) to about 0.5; NaN for sides under 6 px.

    Prewitt gradients of the image halved by 2x2 averages, c = 170 on the 0..255 scale.
    Source: Xue et al. 2014.
    """
    import piq

    sr, hr = check_pair(sr, hr)
    if smaller_than(hr, GMSD_SIDE):
        return no_value(hr)
    return piq.gmsd(sr, hr, data_range=1.0, reduction="none")

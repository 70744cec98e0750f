"""Visual information fidelity: how much of HR's information an SR image carries."""

import torch
from torch import Tensor

from latentsr.metrics.filters import correlate_separable, gaussian_taps
from latentsr.metrics.images import GREY_LEVELS, check_pair, no_value, smaller_than

VIF_SIDE = 41
SCALES = 4
VISUAL_NOISE = 2.0
EPSILON = 1e-8


def vif(sr: Tensor, hr: Tensor) -> Tensor:
    """Visual information fidelity in the pixel domain, 0 or more; 1 for identical images, above it for more contrast.

    The pixel-domain form (VIFp) of the authors' published code, over four scales of the 0..255 image, with visual noise
    of variance 2; not the wavelet form of the paper. (batch, 1, rows, columns) in [0, 1] give (batch,), NaN for sides
    under 41 px and where HR is constant, with no information to carry. Source: Sheikh and Bovik 2006.
    """
    sr, hr = check_pair(sr, hr)
    if smaller_than(hr, VIF_SIDE):
        return no_value(hr)
    # Only variances count, so that a constant may go: it would cost digits.
    centre = hr.mean(dim=(1, 2, 3), keepdim=True)
    pair = torch.cat([(sr - centre) * GREY_LEVELS, (hr - centre) * GREY_LEVELS])
    carried = whole = torch.zeros_like(hr[:, 0, 0, 0])
    for scale in range(SCALES):
        size = 2 ** (SCALES - scale) + 1
        taps = gaussian_taps(size, size / 5)
        if scale:
            pair = correlate_separable(pair, taps)[..., ::2, ::2]
        mine, true = _information(pair, taps)
        carried, whole = carried + mine, whole + true
    return torch.where(whole > 0, (carried + EPSILON) / (whole + EPSILON), torch.nan)


def _information(pair: Tensor, taps: Tensor) -> tuple[Tensor, Tensor]:
    """Information of one scale that SR carries, and that HR holds, each (batch,), in decimal digits."""
    sr, hr = pair.chunk(2)
    maps = torch.cat([sr, hr, sr.square(), hr.square(), sr * hr])
    mean_sr, mean_hr, square_sr, square_hr, product = correlate_separable(maps, taps).chunk(5)
    variance_sr = (square_sr - mean_sr.square()).clamp_min(0)
    variance_hr = (square_hr - mean_hr.square()).clamp_min(0)
    covariance = product - mean_sr * mean_hr
    # SR = gain x HR + noise; where HR or SR is flat, or the gain negative, all of SR is noise.
    informed = (variance_hr >= EPSILON) & (variance_sr >= EPSILON) & (covariance > 0)
    gain = torch.where(informed, covariance / (variance_hr + EPSILON), 0)
    noise = (variance_sr - gain * covariance).clamp_min(EPSILON)
    mine = torch.log10(1 + gain.square() * variance_hr / (noise + VISUAL_NOISE))
    true = torch.log10(1 + torch.where(variance_hr >= EPSILON, variance_hr, 0) / VISUAL_NOISE)
    return mine.sum(dim=(1, 2, 3)), true.sum(dim=(1, 2, 3))

"""Measures of fidelity: how far each SR image lies from its HR image, pixel by pixel or window by window.

All take (batch, 1, rows, columns) in [0, 1] on any device and give one value an image, (batch,), NaN for "no value".
The windows of SSIM are Gaussian, sigma 1.5 (11x11 px), with population covariance, K1 = 0.01 and K2 = 0.03
(Wang et al. 2004, eq. 13).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from latentsr.metrics.filters import correlate_separable, doubled_edge, gaussian_taps, mirrored
from latentsr.metrics.images import check_pair, no_value, smaller_than, span

SSIM_SIDE = 11
MS_SSIM_SIDE = 161
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SIGMA = 1.5
BORDER = SSIM_SIDE // 2
C1, C2 = 0.01**2, 0.03**2


def psnr(sr: Tensor, hr: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, 10 log10(1 / MSE); +inf where SR and HR are identical."""
    sr, hr = check_pair(sr, hr)
    return -10 * (sr - hr).square().mean(dim=(1, 2, 3)).log10()


def mae(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean absolute error, in [0, 1]."""
    sr, hr = check_pair(sr, hr)
    return (sr - hr).abs().mean(dim=(1, 2, 3))


def nrmse(sr: Tensor, hr: Tensor) -> Tensor:
    """Root mean squared error over HR's span (largest minus smallest value); NaN where HR is constant."""
    sr, hr = check_pair(sr, hr)
    rmse = (sr - hr).square().mean(dim=(1, 2, 3)).sqrt()
    width = span(hr)
    return torch.where(width > 0, rmse / width, torch.nan)


def ssim(sr: Tensor, hr: Tensor) -> Tensor:
    """Structural similarity, in [-1, 1]; NaN for sides under 11 px.

    Mean over the pixels whose window lies inside the image: scikit-image's `gaussian_weights=True,
    use_sample_covariance=False`.
    """
    sr, hr = check_pair(sr, hr)
    if smaller_than(hr, SSIM_SIDE):
        return no_value(hr)
    luminance, contrast = _terms(sr, hr)
    return (luminance * contrast).mean(dim=(1, 2, 3))


def ssim_map(sr: Tensor, hr: Tensor) -> Tensor:
    """Structural similarity of each pixel's window, of HR's shape, borders mirrored with the edge doubled.

    scikit-image's `full=True`. Sides must be 11 px or more.
    """
    sr, hr = check_pair(sr, hr)
    luminance, contrast = _terms(doubled_edge(sr, BORDER), doubled_edge(hr, BORDER))
    return luminance * contrast


def ms_ssim(sr: Tensor, hr: Tensor) -> Tensor:
    """Multi-scale structural similarity, in [0, 1]: 5 scales with the paper's weights; NaN for sides under 161 px.

    Negative terms count as 0. The coarsest similarity is averaged over the mirrored border too, as torchmetrics does
    and as the published values have it. Source: Wang, Simoncelli and Bovik 2003, eq. 7.
    """
    sr, hr = check_pair(sr, hr)
    if smaller_than(hr, MS_SSIM_SIDE):
        return no_value(hr)
    value = torch.ones_like(hr[:, 0, 0, 0])
    for weight in MS_SSIM_WEIGHTS[:-1]:
        _, contrast = _terms(sr, hr)
        value = value * contrast.mean(dim=(1, 2, 3)).clamp_min(0) ** weight
        sr, hr = (F.avg_pool2d(image, 2) for image in (sr, hr))
    luminance, contrast = _terms(mirrored(sr, BORDER), mirrored(hr, BORDER))
    return value * (luminance * contrast).mean(dim=(1, 2, 3)).clamp_min(0) ** MS_SSIM_WEIGHTS[-1]


def _terms(sr: Tensor, hr: Tensor) -> tuple[Tensor, Tensor]:
    """(luminance, contrast and structure) of the windows that lie inside the images."""
    # The variances enter only by their sum, so that one filtering serves both.
    maps = torch.cat([sr, hr, sr * hr, sr.square() + hr.square()])
    mean_sr, mean_hr, product, squares = correlate_separable(maps, gaussian_taps(SSIM_SIDE, SIGMA)).chunk(4)
    means = mean_sr * mean_hr
    mean_squares = mean_sr.square() + mean_hr.square()
    luminance = (2 * means + C1) / (mean_squares + C1)
    variances = (squares - mean_squares).clamp_min(0)
    return luminance, (2 * (product - means) + C2) / (variances + C2)

"""Measures of fidelity: how far each SR image lies from its HR image, pixel by pixel or window by window.

All take (batch, 1, rows, columns) in [0, 1] on any device and give one value an image, (batch,), NaN for "no value".
torchmetrics does the work where it has the measure; it is imported at the first call, since that takes seconds.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from latentsr.metrics.images import check_pair, no_value, smaller_than, span

SSIM_SIDE = 11
MS_SSIM_SIDE = 161
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SSIM_SIGMA = 1.5
SSIM_BORDER = SSIM_SIDE // 2


def psnr(sr: Tensor, hr: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, 10 log10(1 / MSE); +inf where SR and HR are identical."""
    from torchmetrics.functional.image import peak_signal_noise_ratio

    sr, hr = check_pair(sr, hr)
    return peak_signal_noise_ratio(sr, hr, data_range=1.0, dim=(1, 2, 3), reduction="none")


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

    Gaussian window of sigma 1.5 (11x11), population covariance, K1 = 0.01, K2 = 0.03, mean over the pixels whose
    window lies inside the image: scikit-image's `gaussian_weights=True, use_sample_covariance=False`.
    Source: Wang et al. 2004, eq. 13.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    sr, hr = check_pair(sr, hr)
    if smaller_than(hr, SSIM_SIDE):
        return no_value(hr)
    _, similarity = structural_similarity_index_measure(
        sr, hr, sigma=SSIM_SIGMA, data_range=1.0, reduction="none", return_full_image=True
    )
    # torchmetrics mirrors the border and averages over it too; the definition knows only whole windows.
    return similarity[..., SSIM_BORDER:-SSIM_BORDER, SSIM_BORDER:-SSIM_BORDER].mean(dim=(1, 2, 3))


def ms_ssim(sr: Tensor, hr: Tensor) -> Tensor:
    """Multi-scale structural similarity, in [0, 1]: 5 scales with the paper's weights; NaN for sides under 161 px.

    Negative terms count as 0. The coarsest similarity is averaged over the mirrored border too, as torchmetrics does
    and as the published values have it. Source: Wang, Simoncelli and Bovik 2003, eq. 7.
    """
    sr, hr = check_pair(sr, hr)
    if smaller_than(hr, MS_SSIM_SIDE):
        return no_value(hr)
    terms = _scale_terms(sr, hr).clamp_min(0)
    weights = torch.tensor(MS_SSIM_WEIGHTS, dtype=terms.dtype, device=terms.device)
    return (terms ** weights[:, None]).prod(dim=0)


def _scale_terms(sr: Tensor, hr: Tensor) -> Tensor:
    """Contrast-structure terms from fine to coarse, the last one times luminance, (scales, batch).

    torchmetrics' own loop over scales turns away sides of 161 to 175 px, which suffice; so the loop is here.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    terms: list[tuple[Tensor, Tensor]] = []
    for scale in range(len(MS_SSIM_WEIGHTS)):
        if scale:
            sr, hr = F.avg_pool2d(sr, 2), F.avg_pool2d(hr, 2)
        similarity, contrast = structural_similarity_index_measure(
            sr, hr, sigma=SSIM_SIGMA, data_range=1.0, reduction="none", return_contrast_sensitivity=True
        )
        terms.append((similarity, contrast))
    coarsest, _ = terms[-1]
    return torch.stack([*(contrast for _, contrast in terms[:-1]), coarsest])

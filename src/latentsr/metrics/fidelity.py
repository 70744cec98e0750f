"""Measures of fidelity: pixel differences, structural similarity, regions, intensity, agreement with LR, latents.

All take (batch, 1, rows, columns) in [0, 1] on any device and return one value per image, (batch,), NaN for "no value".
The windows of SSIM are Gaussian, sigma 1.5 (11x11 px), with population covariance, K1 = 0.01 and K2 = 0.03
(Wang et al. 2004, eq. 13).

`mask` is (batch, 1, rows, columns), bool or numbers that are not 0 inside the region; NaN where it leaves no pixel.
Latents are (batch, channels, rows, columns), the SR image's (or those that a sampler drew, not decoded) and the HR
image's of one autoencoder. Both are average-pooled to squares of each of SCALES; NaN at scales above their size.
Source: arXiv 2604.12152.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from latentsr.errors import InputError
from latentsr.metrics.hallucination import LinearOperator
from latentsr.metrics.images import (
    GREY_LEVELS,
    check_image,
    check_pair,
    correlate_separable,
    doubled_edge,
    gaussian_taps,
    mirrored,
    no_value,
    once,
    precise,
    smaller_than,
    span,
)

SSIM_SIDE = 11
UNIFORM_SIDE = 7  # of scikit-image's default window
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
    luminance, contrast = once(_terms, sr, hr)
    return (luminance * contrast).mean(dim=(1, 2, 3))


def ssim_map(sr: Tensor, hr: Tensor, *, uniform: bool = False) -> Tensor:
    """Structural similarity of each pixel's window, of HR's shape, borders mirrored with the edge doubled.

    scikit-image's `full=True`. Sides must be 11 px or more. `uniform` is that function's default window, of which the
    published values are: 7x7 px of one weight, with sample covariance; for sides of 7 px or more.
    """
    sr, hr = check_pair(sr, hr)
    border = (UNIFORM_SIDE if uniform else SSIM_SIDE) // 2
    luminance, contrast = _terms(doubled_edge(sr, border), doubled_edge(hr, border), uniform=uniform)
    return luminance * contrast


def ms_ssim(sr: Tensor, hr: Tensor) -> Tensor:
    """Multi-scale structural similarity, in [0, 1]: 5 scales with the paper's weights; NaN for sides under 161 px.

    Negative terms count as 0. The coarsest similarity is averaged over the mirrored border too, as in torchmetrics and
    the published values. Source: Wang, Simoncelli and Bovik 2003, eq. 7.
    """
    return _ms_ssim(*check_pair(sr, hr), channels=1)


def _ms_ssim(sr: Tensor, hr: Tensor, channels: int) -> Tensor:
    """MS-SSIM of images whose `channels` follow each other in the batch: similarities are means over all of them."""

    def mean(similarity: Tensor) -> Tensor:
        return similarity.mean(dim=(1, 2, 3)).unflatten(0, (-1, channels)).mean(dim=1).clamp_min(0)

    if smaller_than(hr, MS_SSIM_SIDE):
        return no_value(hr[::channels])
    value = torch.ones_like(hr[::channels, 0, 0, 0])
    for weight in MS_SSIM_WEIGHTS[:-1]:
        _, contrast = once(_terms, sr, hr)
        value = value * mean(contrast) ** weight
        sr, hr = (F.avg_pool2d(image, 2) for image in (sr, hr))
    luminance, contrast = _terms(mirrored(sr, BORDER), mirrored(hr, BORDER))
    return value * mean(luminance * contrast) ** MS_SSIM_WEIGHTS[-1]


def self_psnr(sr_decoded: Tensor, hr_decoded: Tensor) -> Tensor:
    """PSNR in dB of decoded SR against decode(encode(HR)), over all channels (batch, channels, rows, columns).

    The study's score, which hides the autoencoder's own loss. Source: arXiv 2604.12152, its public code.
    """
    sr, hr = _decoded_pair(sr_decoded, hr_decoded)
    return -10 * (sr - hr).square().unflatten(0, (-1, sr_decoded.shape[1])).mean(dim=(1, 2, 3, 4)).log10()


def self_ms_ssim(sr_decoded: Tensor, hr_decoded: Tensor) -> Tensor:
    """MS-SSIM of decoded SR against decode(encode(HR)) over all channels; NaN for sides under 161 px."""
    return _ms_ssim(*_decoded_pair(sr_decoded, hr_decoded), channels=sr_decoded.shape[1])


def _decoded_pair(sr: Tensor, hr: Tensor) -> tuple[Tensor, Tensor]:
    """Decoded images with their channels in the batch, checked as any pair."""
    return check_pair(sr.flatten(0, 1)[:, None], hr.flatten(0, 1)[:, None])


def truncated(image: Tensor) -> Tensor:
    """The image as the study saves it: 8 bit by truncation, floor(255 x) / 255."""
    return (image * GREY_LEVELS).floor() / GREY_LEVELS


def truncated_psnr(sr: Tensor, hr: Tensor) -> Tensor:
    """PSNR in dB of SR saved in 8 bit by truncation."""
    return psnr(truncated(sr), hr)


def truncated_bias(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean of SR saved in 8 bit by truncation minus mean of HR, about 0.002 less than `intensity_bias`."""
    return intensity_bias(truncated(sr), hr)


def _terms(sr: Tensor, hr: Tensor, *, uniform: bool = False) -> tuple[Tensor, Tensor]:
    """(luminance, contrast and structure) of the windows that lie inside the images."""
    taps, factor = gaussian_taps(SSIM_SIDE, SIGMA), 1.0
    if uniform:
        taps = torch.full((UNIFORM_SIDE,), 1 / UNIFORM_SIDE, dtype=taps.dtype)
        factor = UNIFORM_SIDE**2 / (UNIFORM_SIDE**2 - 1)  # of the sample covariance
    # The variances enter only by their sum, so that one filtering serves both.
    maps = torch.cat([sr, hr, sr * hr, sr.square() + hr.square()])
    mean_sr, mean_hr, product, squares = correlate_separable(maps, taps).chunk(4)
    means = mean_sr * mean_hr
    mean_squares = mean_sr.square() + mean_hr.square()
    luminance = (2 * means + C1) / (mean_squares + C1)
    variances = factor * (squares - mean_squares).clamp_min(0)
    return luminance, (2 * factor * (product - means) + C2) / (variances + C2)


def roi_psnr(sr: Tensor, hr: Tensor, mask: Tensor) -> Tensor:
    """PSNR in dB over the mask's pixels, (batch,), peak 1; +inf where SR and HR are identical there."""
    sr, hr = check_pair(sr, hr)
    return -10 * _mean((sr - hr).square(), mask).log10()


def background_psnr(sr: Tensor, hr: Tensor, mask: Tensor) -> Tensor:
    """PSNR in dB over the pixels outside the mask, (batch,)."""
    return roi_psnr(sr, hr, mask == 0)


def roi_ssim(sr: Tensor, hr: Tensor, mask: Tensor) -> Tensor:
    """Mean of the SSIM map over the mask's pixels, (batch,), in [-1, 1]; NaN for sides under 11 px."""
    sr, hr = check_pair(sr, hr)
    return no_value(hr) if smaller_than(hr, SSIM_SIDE) else _mean(once(ssim_map, sr, hr), mask)


def background_ssim(sr: Tensor, hr: Tensor, mask: Tensor) -> Tensor:
    """Mean of the SSIM map over the pixels outside the mask, (batch,)."""
    return roi_ssim(sr, hr, mask == 0)


def roi_ssim_published(sr: Tensor, hr: Tensor, mask: Tensor) -> Tensor:
    """Mean over the mask's pixels of the SSIM map of the uniform window, (batch,); NaN for sides under 7 px.

    The published code crops to the mask's bounding box and 7 px around it, which changes nothing: no window of the mask
    reaches further than 3 px. Source: arXiv 2604.12152, its public code.
    """
    sr, hr = check_pair(sr, hr)
    return no_value(hr) if smaller_than(hr, UNIFORM_SIDE) else _mean(once(ssim_map, sr, hr, uniform=True), mask)


def background_ssim_published(sr: Tensor, hr: Tensor, mask: Tensor) -> Tensor:
    """Mean over the pixels outside the mask of the SSIM map of the uniform window, (batch,)."""
    return roi_ssim_published(sr, hr, mask == 0)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    if mask.shape != values.shape:
        raise InputError(f"masks of shape {tuple(mask.shape)} for images of {tuple(values.shape)}: both must be alike")
    chosen = mask != 0
    return torch.where(chosen, values, 0).sum(dim=(1, 2, 3)) / chosen.sum(dim=(1, 2, 3))  # 0 / 0 is NaN: no pixel


def mean_intensity(image: Tensor) -> Tensor:
    """Mean of each image, (batch,), in [0, 1]."""
    return check_image(image).mean(dim=(1, 2, 3))


def intensity_bias(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean SR minus mean HR, (batch,), in [-1, 1]: 0 is best. Source: Bland and Altman 1986."""
    sr, hr = check_pair(sr, hr)
    return (sr - hr).mean(dim=(1, 2, 3))


def lr_psnr(sr: Tensor, lr: Tensor, degradation: LinearOperator) -> Tensor:
    """PSNR in dB of A(SR) against LR, (batch,), peak 1; +inf where they are identical.

    `sr` may lie outside [0, 1] here: clamping breaks the agreement of a projected image. Rounded 8-bit images reach 54
    to 56 dB. Computed in float64.
    """
    again = degradation.apply(precise(sr))
    if again.shape != lr.shape:
        raise InputError(
            f"LR images of shape {tuple(lr.shape)}, but SR's degrade to {tuple(again.shape)}: "
            "check the degradation and its scale"
        )
    return -10 * (again - precise(lr)).square().mean(dim=(1, 2, 3)).log10().to(sr.dtype)


SCALES = (64, 32, 16, 8, 4, 2, 1)


def latent_cosine(sr_latent: Tensor, hr_latent: Tensor) -> Tensor:
    """Cosine of the flattened pooled latents, (batch, 7), in [-1, 1]; NaN where one of them is zero."""
    return _at_all_scales(lambda sr, hr: (sr * hr).sum(dim=1) / (sr.norm(dim=1) * hr.norm(dim=1)), sr_latent, hr_latent)


def latent_mse(sr_latent: Tensor, hr_latent: Tensor) -> Tensor:
    """Mean squared error of the pooled latents, (batch, 7), in latent units squared."""
    return _at_all_scales(lambda sr, hr: (sr - hr).square().mean(dim=1), sr_latent, hr_latent)


def latent_psnr(sr_latent: Tensor, hr_latent: Tensor) -> Tensor:
    """PSNR in dB of the pooled latents, (batch, 7), peak = largest magnitude of the pooled HR latent.

    +inf where they are identical, NaN where HR's is zero.
    """

    def psnr(sr: Tensor, hr: Tensor) -> Tensor:
        peak = hr.abs().amax(dim=1)
        value = 20 * peak.log10() - 10 * (sr - hr).square().mean(dim=1).log10()
        return torch.where(peak > 0, value, torch.nan)

    return _at_all_scales(psnr, sr_latent, hr_latent)


def _at_all_scales(function: Callable[[Tensor, Tensor], Tensor], sr: Tensor, hr: Tensor) -> Tensor:
    """(batch, 7): `function` of the flattened latents at each of SCALES, each the average of the last."""
    if sr.shape != hr.shape or hr.ndim != 4:
        raise InputError(
            f"latents of shapes {tuple(sr.shape)} and {tuple(hr.shape)}: expected two alike, "
            "(batch, channels, rows, columns)"
        )
    pooled = zip(once(_pooled, sr), once(_pooled, hr), strict=True)
    values = [function(*both) for both in pooled]
    none = [no_value(hr)] * (len(SCALES) - len(values))  # of the scales above their size, which come first
    return torch.stack([*none, *values], dim=1)


def _pooled(latents: Tensor) -> list[Tensor]:
    """The flattened latents (batch, values) at each of SCALES that is no larger than they, each pooled of the last."""
    found = []
    for scale in SCALES:
        if not smaller_than(latents, scale):
            latents = F.adaptive_avg_pool2d(latents, scale)
            found.append(latents.flatten(1))
    return found

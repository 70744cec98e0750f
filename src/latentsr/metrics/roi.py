"""Fidelity inside a region of interest and in the background around it.

`mask` is (batch, 1, rows, columns), bool or numbers that are not 0 inside the region. An image whose mask leaves no
pixel has no value (NaN). Source: arXiv 2604.12152.
"""

import torch
from torch import Tensor

from latentsr.errors import InputError
from latentsr.metrics.fidelity import SSIM_SIDE, ssim_map
from latentsr.metrics.images import check_pair, no_value, smaller_than


def roi_psnr(sr: Tensor, hr: Tensor, mask: Tensor) -> Tensor:
    """PSNR in dB over the mask's pixels, (batch,), peak 1; +inf where SR and HR are identical there."""
    return _psnr(sr, hr, mask, True)


def background_psnr(sr: Tensor, hr: Tensor, mask: Tensor) -> Tensor:
    """PSNR in dB over the pixels outside the mask, (batch,)."""
    return _psnr(sr, hr, mask, False)


def roi_ssim(sr: Tensor, hr: Tensor, mask: Tensor) -> Tensor:
    """Mean of the SSIM map over the mask's pixels, (batch,), in [-1, 1]; NaN for sides under 11 px."""
    return _ssim(sr, hr, mask, True)


def background_ssim(sr: Tensor, hr: Tensor, mask: Tensor) -> Tensor:
    """Mean of the SSIM map over the pixels outside the mask, (batch,)."""
    return _ssim(sr, hr, mask, False)


def _psnr(sr: Tensor, hr: Tensor, mask: Tensor, inside: bool) -> Tensor:
    sr, hr = check_pair(sr, hr)
    return -10 * _mean((sr - hr).square(), mask, inside).log10()


def _ssim(sr: Tensor, hr: Tensor, mask: Tensor, inside: bool) -> Tensor:
    sr, hr = check_pair(sr, hr)
    return no_value(hr) if smaller_than(hr, SSIM_SIDE) else _mean(ssim_map(sr, hr), mask, inside)


def _mean(values: Tensor, mask: Tensor, inside: bool) -> Tensor:
    """Mean of `values` over the pixels where the mask is set, or where it is not."""
    if mask.shape != values.shape:
        raise InputError(f"masks of shape {tuple(mask.shape)} for images of {tuple(values.shape)}: both must be alike")
    chosen = (mask != 0) == inside
    return torch.where(chosen, values, 0).sum(dim=(1, 2, 3)) / chosen.sum(dim=(1, 2, 3))  # 0 / 0 is NaN: no pixel

"""Fidelity of latents: how far the latent of an SR image lies from that of HR, from fine to coarse.

Latents are (batch, channels, rows, columns) of any scale of values, the SR image's and the HR image's of one
autoencoder. Both are average-pooled to squares of each of SCALES; a latent smaller than a scale has no value there.
Source: arXiv 2604.12152.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from latentsr.errors import InputError

SCALES = (64, 32, 16, 8, 4, 2, 1)


def latent_cosine(sr_latent: Tensor, hr_latent: Tensor) -> Tensor:
    """Cosine of the flattened pooled latents, (batch, 7), in [-1, 1]; NaN where one of them is zero."""

    def cosine(sr: Tensor, hr: Tensor) -> Tensor:
        return (sr * hr).sum(dim=1) / (sr.norm(dim=1) * hr.norm(dim=1))

    return _at_all_scales(cosine, sr_latent, hr_latent)


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
    if sr.shape != hr.shape or hr.ndim != 4:
        raise InputError(
            f"latents of shapes {tuple(sr.shape)} and {tuple(hr.shape)}: expected two alike, "
            "(batch, channels, rows, columns)"
        )
    missing = torch.full_like(hr[:, 0, 0, 0], torch.nan)
    values = []
    for scale in SCALES:
        if min(hr.shape[-2:]) < scale:
            values.append(missing)
            continue
        sr, hr = _pooled(sr, scale), _pooled(hr, scale)
        values.append(function(sr.flatten(1), hr.flatten(1)))
    return torch.stack(values, dim=1)


def _pooled(latent: Tensor, scale: int) -> Tensor:
    """`latent` averaged to scale x scale: averages of averages where the sides divide, as powers of two do."""
    rows, columns = latent.shape[-2:]
    if rows % scale or columns % scale:
        return F.adaptive_avg_pool2d(latent, scale)
    window = rows // scale, columns // scale
    return latent if window == (1, 1) else F.avg_pool2d(latent, window)

"""Visual-saliency-induced index: similarity of gradients, weighed by where an eye would look."""

import torch
import torch.nn.functional as F
from torch import Tensor

from latentsr.metrics.images import GREY_LEVELS, check_pair, likeness, no_value, smaller_than

VSI_SIDE = 3
SALIENCY_CONSTANT = 1.27
GRADIENT_CONSTANT = 386.0
CHROMA_CONSTANT = 130.0
GRADIENT_POWER = 0.4
CHROMA_POWER = 0.02
# Rows of the RGB-to-LMN matrix, summed: what grey, as R = G = B, becomes.
L_OF_GREY, M_OF_GREY, N_OF_GREY = 0.96, -0.01, -0.09
SALIENCY_SIDE = 256
LOG_GABOR_CENTRE = 0.021
LOG_GABOR_WIDTH = 1.34
CENTRE_WIDTH = 145.0


def vsi(sr: Tensor, hr: Tensor) -> Tensor:
    """Visual-saliency-induced index, in [0, 1]; 1 for identical images. NaN for sides under 3 px and where
    both images are constant.

    (batch, 1, rows, columns) in [0, 1] give (batch,). A grey image has no colour: its chroma is that of R = G = B, and
    the saliency's prior for warm colours is left out (implementations that keep it feed it the rounding of a colour
    conversion; the index differs by about 1e-4). Source: Zhang, Shen and Li 2014, eqs. 1 to 9 and SDSP (2013).
    """
    sr, hr = check_pair(sr, hr)
    if smaller_than(hr, VSI_SIDE):
        return no_value(hr)
    saliency_sr, saliency_hr = (_shrunk(saliency(image)) for image in (sr, hr))
    grey_sr, grey_hr = (_shrunk(image * GREY_LEVELS) for image in (sr, hr))
    alike = likeness(saliency_sr, saliency_hr, SALIENCY_CONSTANT)
    alike = alike * likeness(_gradient(grey_sr), _gradient(grey_hr), GRADIENT_CONSTANT) ** GRADIENT_POWER
    chroma = (likeness(part * grey_sr, part * grey_hr, CHROMA_CONSTANT) for part in (M_OF_GREY, N_OF_GREY))
    alike = alike * (next(chroma) * next(chroma)) ** CHROMA_POWER
    weight = torch.maximum(saliency_sr, saliency_hr)
    return (alike * weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3))  # 0 / 0 is NaN: nothing to look at


def saliency(image: Tensor) -> Tensor:
    """Where an eye would look, in [0, 1], of the image's shape: SDSP's band-pass and centre priors at 256x256 px."""
    size = image.shape[-2:]
    side = SALIENCY_SIDE
    small = image if size == (side, side) else F.interpolate(image, (side, side), mode="bilinear", align_corners=False)
    spectrum = torch.fft.rfft2(_lightness(small)) * _log_gabor(small)
    prominent = torch.fft.irfft2(spectrum, s=(side, side)).abs() * _centre_prior(small)
    if size != (side, side):
        prominent = F.interpolate(prominent, size, mode="bilinear", align_corners=True)
    low, high = (bound(prominent, dim=(2, 3), keepdim=True) for bound in (torch.amin, torch.amax))
    return (prominent - low) / (high - low + torch.finfo(image.dtype).eps)


def _lightness(image: Tensor) -> Tensor:
    """CIE L* of an sRGB grey image, 0 to 100."""
    linear = torch.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)
    return 116 * torch.where(linear > 0.008856, linear ** (1 / 3), 7.787 * linear + 16 / 116) - 16


def _log_gabor(image: Tensor) -> Tensor:
    """Band-pass filter over the half plane of frequencies, (256, 129): nothing at 0 and beyond half a cycle a pixel."""
    frequencies = torch.fft.fftfreq(SALIENCY_SIDE, device=image.device, dtype=image.dtype)
    radius = torch.hypot(frequencies[:, None], frequencies[None, : SALIENCY_SIDE // 2 + 1])
    inside = (radius > 0) & (radius <= 0.5)
    octaves = torch.where(inside, radius, 1).div(LOG_GABOR_CENTRE).log()
    return torch.where(inside, torch.exp(-octaves.square() / (2 * LOG_GABOR_WIDTH**2)), 0)


def _centre_prior(image: Tensor) -> Tensor:
    offsets = torch.arange(SALIENCY_SIDE, device=image.device, dtype=image.dtype) - SALIENCY_SIDE / 2 + 1
    return torch.exp(-(offsets[:, None].square() + offsets[None, :].square()) / CENTRE_WIDTH**2)


def _shrunk(image: Tensor) -> Tensor:
    """`image` averaged down to a smaller side of about 256 px, as the index views it."""
    factor = max(1, round(min(image.shape[-2:]) / 256))
    before, after = factor // 2, (factor - 1) // 2
    padded = F.pad(image, (before, after, before, after), mode="replicate") if factor > 1 else image
    return F.avg_pool2d(padded, factor) if factor > 1 else image


def _gradient(grey: Tensor) -> Tensor:
    """Scharr gradient magnitude of the L channel of `grey`, of the same size, zero border."""
    padded = F.pad(L_OF_GREY * grey, (1, 1, 1, 1))
    rows = 3 * padded[..., :-2, :] + 10 * padded[..., 1:-1, :] + 3 * padded[..., 2:, :]
    columns = 3 * padded[..., :-2] + 10 * padded[..., 1:-1] + 3 * padded[..., 2:]
    return torch.hypot(rows[..., 2:] - rows[..., :-2], columns[..., 2:, :] - columns[..., :-2, :]) / 16

"""Perceptual measures without learned weights: HaarPSI, GMSD, VSI and VIF.

All take (batch, 1, rows, columns) in [0, 1] on any device and return one value per image, (batch,), NaN for "no value".

HaarPSI and GMSD use the 0..255 image averaged over blocks of 2x2 pixels. One grid of blocks is blind to whatever sums
to zero in each of its blocks: a model that draws detail in the finest Haar bands of the same grid scores higher, until
both images are cropped by a pixel. So both are the mean of the published definition over the four phases of the grid,
of SR and HR without their first 0 or 1 rows and columns. `phases=1` is the published definition.
"""

from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from latentsr.metrics.images import (
    GREY_LEVELS,
    check_pair,
    correlate_separable,
    gaussian_taps,
    halvings,
    likeness,
    no_value,
    once,
    smaller_than,
)

PUBLISHED_HAARPSI_SIDE, PUBLISHED_GMSD_SIDE = 16, 6
HAARPSI_SIDE, GMSD_SIDE = PUBLISHED_HAARPSI_SIDE + 1, PUBLISHED_GMSD_SIDE + 1  # a phase has a row or column less
HAARPSI_LEVELS = 3
# Found on natural images, and on experts' ratings of chest X-ray and photoacoustic images (Karner et al. 2024,
# "Parameter choices in HaarPSI for IQA with medical images", arXiv 2410.24098).
NATURAL, MEDICAL = (30.0, 4.2), (5.0, 4.9)
GMSD_CONSTANT = 170.0


def haarpsi(sr: Tensor, hr: Tensor, *, constants: tuple[float, float] = NATURAL, phases: int = 4) -> Tensor:
    """Haar wavelet perceptual similarity index, mean over the phases of its 2x2 grid, in [0, 1].

    NaN for sides under 17 px (16 px for one phase, as published) and where both images are black in a phase.
    `constants` are C and alpha, NATURAL or MEDICAL. Source: Reisenhofer et al. 2018.
    """
    c, alpha = constants
    sr, hr = check_pair(sr, hr)
    if smaller_than(hr, PUBLISHED_HAARPSI_SIDE + (phases > 1)):
        return no_value(hr)
    values = []
    for mine, true in zip(*(once(_haar_responses, image, phases=phases) for image in (sr, hr)), strict=True):
        weight = torch.maximum(mine[2], true[2])  # the coarsest response only weighs
        fine = likeness(mine[0], true[0], c).add_(likeness(mine[1], true[1], c)).mul_(alpha / 2).sigmoid_()
        # 0 / 0 is NaN: black against black has no coefficient to weigh by
        share = fine.mul_(weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3))
        values.append((torch.logit(share) / alpha).square())
    return torch.stack(values).mean(dim=0)


def gmsd(sr: Tensor, hr: Tensor, *, phases: int = 4) -> Tensor:
    """Gradient magnitude similarity deviation, mean over the phases of its 2x2 grid, 0 (identical) to about 0.5.

    NaN for sides under 7 px (6 px for one phase, as published). Prewitt gradients, c = 170 on the 0..255 scale.
    Source: Xue et al. 2014.
    """
    sr, hr = check_pair(sr, hr)
    if smaller_than(hr, PUBLISHED_GMSD_SIDE + (phases > 1)):
        return no_value(hr)
    gradients = zip(_prewitt(sr, phases=phases), once(_prewitt, hr, phases=phases), strict=True)
    values = [likeness(*both, GMSD_CONSTANT).std(dim=(1, 2, 3), correction=0) for both in gradients]
    return torch.stack(values).mean(dim=0)


def _haar_responses(image: Tensor, *, phases: int) -> list[list[Tensor]]:
    """Of each phase of the 0..255 image the magnitudes of its Haar responses to edges along both axes, fine to coarse.

    Each is (batch, 2, rows, columns). MATLAB's conv2(..., 'same'), zero border. Windows twice as wide are made of the
    sums of the last ones.
    """
    border = 2 ** (HAARPSI_LEVELS - 1)
    found: list[list[Tensor]] = []
    for phase in islice(halvings(image), phases):
        rows, columns = phase.shape[-2:]
        sums = F.pad(GREY_LEVELS * phase, (border - 1, border, border - 1, border))
        found.append([])
        for level in range(HAARPSI_LEVELS):
            half = 2**level  # of the window
            both, apart = sums[..., :-half] + sums[..., half:], sums[..., :-half] - sums[..., half:]
            sums = both[..., :-half, :] + both[..., half:, :]
            down, across = both[..., :-half, :] - both[..., half:, :], apart[..., :-half, :] + apart[..., half:, :]
            margin = border - half
            inside = (..., slice(margin, margin + rows), slice(margin, margin + columns))
            found[-1].append(torch.cat([down[inside], across[inside]], dim=1).abs_().div_(2 * half))
    return found


def _prewitt(image: Tensor, *, phases: int) -> list[Tensor]:
    """Gradient magnitude of each phase of the 0..255 image, of the phase's size, zero border."""
    found = []
    for phase in islice(halvings(image), phases):
        padded = F.pad(GREY_LEVELS * phase, (1, 1, 1, 1))
        three_rows = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
        three_columns = padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]
        across = three_rows[..., :-2] - three_rows[..., 2:]
        down = three_columns[..., :-2, :] - three_columns[..., 2:, :]
        found.append(across.square_().addcmul_(down, down).sqrt_().div_(3))
    return found


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

    The chroma of a grey image is that of R = G = B, and the saliency's prior for warm colours is left out
    (implementations that keep it feed it rounding errors; the index differs by about 1e-4).
    Source: Zhang, Shen and Li 2014, eqs. 1 to 9 and SDSP (2013).
    """
    sr, hr = check_pair(sr, hr)
    if smaller_than(hr, VSI_SIDE):
        return no_value(hr)
    (saliency_sr, grey_sr, gradient_sr), (saliency_hr, grey_hr, gradient_hr) = _visual(sr), once(_visual, hr)
    alike = likeness(saliency_sr, saliency_hr, SALIENCY_CONSTANT)
    alike = alike * likeness(gradient_sr, gradient_hr, GRADIENT_CONSTANT) ** GRADIENT_POWER
    chroma = (likeness(part * grey_sr, part * grey_hr, CHROMA_CONSTANT) for part in (M_OF_GREY, N_OF_GREY))
    alike = alike * (next(chroma) * next(chroma)) ** CHROMA_POWER
    weight = torch.maximum(saliency_sr, saliency_hr)
    return (alike * weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3))  # 0 / 0 is NaN: nothing to look at


def saliency(image: Tensor) -> Tensor:
    """Where an eye would look, in [0, 1], of the image's shape: SDSP's band-pass and centre priors at 256x256 px."""
    size = image.shape[-2:]
    side = SALIENCY_SIDE
    small = image if size == (side, side) else F.interpolate(image, (side, side), mode="bilinear", align_corners=False)
    # Band-pass filter over the half plane of frequencies, (256, 129): nothing at 0 and beyond half a cycle per pixel.
    frequencies = torch.fft.fftfreq(SALIENCY_SIDE, device=small.device, dtype=small.dtype)
    radius = torch.hypot(frequencies[:, None], frequencies[None, : SALIENCY_SIDE // 2 + 1])
    inside = (radius > 0) & (radius <= 0.5)
    octaves = torch.where(inside, radius, 1).div(LOG_GABOR_CENTRE).log()
    log_gabor = torch.where(inside, torch.exp(-octaves.square() / (2 * LOG_GABOR_WIDTH**2)), 0)
    # CIE L* of an sRGB grey image, 0 to 100.
    linear = torch.where(small <= 0.04045, small / 12.92, ((small + 0.055) / 1.055) ** 2.4)
    lightness = 116 * torch.where(linear > 0.008856, linear ** (1 / 3), 7.787 * linear + 16 / 116) - 16
    spectrum = torch.fft.rfft2(lightness) * log_gabor
    offsets = torch.arange(SALIENCY_SIDE, device=small.device, dtype=small.dtype) - SALIENCY_SIDE / 2 + 1
    centre_prior = torch.exp(-(offsets[:, None].square() + offsets[None, :].square()) / CENTRE_WIDTH**2)
    prominent = torch.fft.irfft2(spectrum, s=(side, side)).abs() * centre_prior
    if size != (side, side):
        prominent = F.interpolate(prominent, size, mode="bilinear", align_corners=True)
    low, high = (bound(prominent, dim=(2, 3), keepdim=True) for bound in (torch.amin, torch.amax))
    return (prominent - low) / (high - low + torch.finfo(image.dtype).eps)


def _visual(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Saliency, 0..255 image, and the Scharr gradient magnitude of its L channel (zero border), shrunk."""
    grey = _shrunk(image * GREY_LEVELS)
    padded = F.pad(L_OF_GREY * grey, (1, 1, 1, 1))
    rows = 3 * padded[..., :-2, :] + 10 * padded[..., 1:-1, :] + 3 * padded[..., 2:, :]
    columns = 3 * padded[..., :-2] + 10 * padded[..., 1:-1] + 3 * padded[..., 2:]
    gradient = torch.hypot(rows[..., 2:] - rows[..., :-2], columns[..., 2:, :] - columns[..., :-2, :]) / 16
    return _shrunk(saliency(image)), grey, gradient


def _shrunk(image: Tensor) -> Tensor:
    """`image` averaged down to a smaller side of about 256 px, as the paper does."""
    factor = round(min(image.shape[-2:]) / 256)
    if factor <= 1:
        return image
    before, after = factor // 2, (factor - 1) // 2
    return F.avg_pool2d(F.pad(image, (before, after, before, after), mode="replicate"), factor)


VIF_SIDE = 41
SCALES = 4
VISUAL_NOISE = 2.0
EPSILON = 1e-8


def vif(sr: Tensor, hr: Tensor) -> Tensor:
    """Visual information fidelity in the pixel domain, 0 or more; 1 for identical images, above it for more contrast.

    The pixel-domain form (VIFp) of the authors' published code, over four scales of the 0..255 image, with visual noise
    of variance 2; not the wavelet form of the paper. NaN for sides under 41 px and where HR is constant.
    Source: Sheikh and Bovik 2006.
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
        carried, whole = carried + mine.sum(dim=(1, 2, 3)), whole + true.sum(dim=(1, 2, 3))
    return torch.where(whole > 0, (carried + EPSILON) / (whole + EPSILON), torch.nan)

"""Measures of frequencies: edges, sharpness, blockiness, radial spectra, wavelet bands, scanning ring correlation.

All take (batch, 1, rows, columns) in [0, 1] on any device and return one value per image, (batch,), NaN for "no value".
Borders are mirrored about the edge pixel's centre (OpenCV's default, scipy's "mirror"), so that a bright border is no
edge. The measures of one image run in float64 where the device has it: its high-pass part is a small difference of
large numbers.

Scanning ring correlation: a patch counts as hallucinated where its Fourier ring correlation first falls below a
threshold at a frequency under FREQUENCY. Patches are 64x64 px every 32 px (and flush with the far border), under a Hann
window; rings are one bin wide about whole radii up to half a cycle per pixel, with linear interpolation between them.
Patches in which neither image has contrast (standard deviation under 0.01), such as air, are left out. Thresholds 0.5
(CT) and 0.75 (MRI) and 0.16 cycles per pixel are those of the paper's examples. The paper tunes them on images with
known hallucinations: the rate compares methods and is no absolute value. The paper's code takes patches without overlap
and the magnitude of the cross spectrum's sum. Source: Kc, Zeng, Soni and Badano 2026, arXiv 2603.04673.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from latentsr.metrics.images import (
    GREY_LEVELS,
    check_image,
    check_pair,
    gaussian_taps,
    mirrored,
    no_value,
    once,
    precise,
    smaller_than,
    span,
)

LOG_SIZE = 15
LOG_SIGMA = 1.5
HFEN_SIDE = LOG_SIZE // 2 + 1
LAPLACIAN_SIDE = 3
BLOCKINESS_SIDE = 3
HIGHPASS_SIDE = 16
HIGHPASS_SHARE = 60 / 512
MAGNITUDE_FLOOR = 1e-12
POWER_FLOOR = 1e-12
RADIAL_SIDE = 16
RADIAL_BINS = tuple(f"{number:02}" for number in range(1, 11))


def hfen(sr: Tensor, hr: Tensor) -> Tensor:
    """High-frequency error norm, 0 or more: the L2 norm of LoG(SR - HR) over that of LoG(HR).

    LoG is the Laplacian of a Gaussian, 15x15 px, sigma 1.5. NaN for sides under 8 px and where HR is constant.
    Source: Ravishankar and Bresler 2011.
    """
    sr, hr = check_pair(sr, hr)
    if smaller_than(hr, HFEN_SIDE):
        return no_value(hr)
    error, edges = _log_norms(sr - hr), once(_log_norms, hr)
    return torch.where(span(hr) > 0, error / edges, torch.nan)


def _log_norms(image: Tensor) -> Tensor:
    """The L2 norm of LoG of each image, (batch,)."""
    images = len(image)
    if images == 1:  # torch filters one channel in another way than several, and the last digits differ
        image = image.expand(2, -1, -1, -1)
    # Three separable passes, since the kernel has rank three.
    rows, columns = (factors.to(image) for factors in laplacian_of_gaussian(LOG_SIZE, LOG_SIGMA))
    batch = image.shape[0]
    channels = mirrored(image, LOG_SIZE // 2).transpose(0, 1)
    passed = F.conv2d(channels, columns[:, None, None, :].repeat(batch, 1, 1, 1), groups=batch)
    weights = rows[None, :, :, None].expand(batch, -1, -1, -1)
    filtered = F.conv2d(passed, weights, groups=batch).transpose(0, 1)
    return filtered.flatten(1).norm(dim=1)[:images]


def laplacian_variance(image: Tensor) -> Tensor:
    """Variance (population) of the 3x3 Laplacian of the 0..255 image, 0 or more: sharpness and noise alike.

    NaN for sides under 3 px. Source: Pech-Pacheco et al. 2000 (LAPV of Pertuz 2013).
    """
    if smaller_than(check_image(image), LAPLACIAN_SIDE):
        return no_value(image)
    padded = mirrored(precise(image) * GREY_LEVELS, 1)
    centre, rows, columns = padded[..., 1:-1, 1:-1], padded[..., 1:-1], padded[..., 1:-1, :]
    edges = rows[..., :-2, :] + rows[..., 2:, :] + columns[..., :-2] + columns[..., 2:] - 4 * centre
    return edges.var(dim=(1, 2, 3), correction=0).to(image.dtype)


def blockiness(image: Tensor) -> Tensor:
    """Mean squared difference of neighbouring pixels inside 2x2 blocks over that across blocks, 0 or more.

    Over neighbours along both axes; the blocks begin at the first pixel, as the finest Haar bands do. About 1 where
    detail is independent of the grid, as in HR; more where it is drawn inside the blocks, less where they are flat.
    Contrast and brightness do not change it. NaN for sides under 3 px and where no neighbours across blocks differ.
    """
    if smaller_than(check_image(image), BLOCKINESS_SIDE):
        return no_value(image)
    down, right = (precise(image).diff(dim=axis).square() for axis in (-2, -1))
    inside, across = (
        torch.cat([down[..., first::2, :].flatten(1), right[..., first::2].flatten(1)], dim=1).mean(dim=1)
        for first in (0, 1)
    )
    return torch.where(across > 0, inside / across, torch.nan).to(image.dtype)


def highpass_spectrum(image: Tensor) -> Tensor:
    """Mean of 20 ln abs(high-passed 0..255 image): higher with more fine detail.

    The high pass zeroes a centred square of the 2-D spectrum, from -s to s - 1 along each axis, where s is 60 px of a
    512 px side in proportion. NaN for sides under 16 px and for constant images (nothing is left to take the
    logarithm of). Source: the FFT blur measure of the published poster of 2024.
    """
    if smaller_than(check_image(image), HIGHPASS_SIDE):
        return no_value(image)
    spectrum = torch.fft.fft2(precise(image) * GREY_LEVELS)
    low = []  # along each axis, True at the bins that the high pass removes
    for side in image.shape[-2:]:
        half, bins = round(HIGHPASS_SHARE * side), torch.arange(side, device=image.device) - side // 2
        low.append(torch.fft.ifftshift((bins >= -half) & (bins < half)))
    high = torch.fft.ifft2(spectrum.masked_fill(low[0][:, None] & low[1][None, :], 0)).abs()
    # Below the floor lies only rounding; without it one exact zero would make the mean minus infinity.
    level = 20 * high.clamp_min(MAGNITUDE_FLOOR).log().mean(dim=(1, 2, 3))
    return torch.where(span(image) > 0, level, torch.nan).to(image.dtype)


def laplacian_of_gaussian(size: int, sigma: float) -> tuple[Tensor, Tensor]:
    """Rows and columns, each (3, size), float64, whose three products sum to the kernel of MATLAB's fspecial('log').

    (x^2 + y^2 - 2 s^2) g(x) g(y) / s^4 = c(x) g(y) + g(x) c(y) with c(x) = (x^2 - s^2) g(x) / s^4; the third product
    takes off the mean.
    """
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    gaussian = gaussian_taps(size, sigma)
    curved = (offsets.square() - sigma**2) / sigma**4 * gaussian
    level = torch.ones_like(gaussian)
    mean = 2 * curved.sum() * gaussian.sum() / size**2
    return torch.stack([curved, gaussian, -mean * level]), torch.stack([gaussian, curved, level])


def radial_spectrum(image: Tensor) -> Tensor:
    """Mean of log10(abs(FFT)^2 + 1e-12) of the [0, 1] image in each of ten rings of frequency, (batch, 10).

    The rings are equally wide, from 0 to the corner frequency (half a cycle per pixel on both axes), upper edge
    excluded, from coarse to fine. NaN for sides under 16 px, where rings are empty.
    Source: arXiv 2604.12152.
    """
    if smaller_than(check_image(image), RADIAL_SIDE):
        return no_value(image)[:, None].expand(-1, len(RADIAL_BINS))
    power = torch.fft.rfft2(precise(image)[:, 0]).abs().square().add(POWER_FLOOR).log10()
    # Share of each half-plane FFT bin in the mean of its ring, (bins, rings): of mirrored bins there are two.
    rows, columns = image.shape[-2:]
    across = torch.arange(columns // 2 + 1, dtype=torch.float64) / columns
    down = torch.fft.fftfreq(rows, dtype=torch.float64)
    radius = torch.hypot(down[:, None], across[None, :]) / math.sqrt(0.5)
    ring = (radius * len(RADIAL_BINS)).floor().long()
    mirrored = (across > 0) & (2 * across < 1)
    inside = F.one_hot(ring.flatten(), len(RADIAL_BINS) + 1)[:, :-1]  # the corner itself is the upper edge
    counts = (1.0 + mirrored.double()).repeat(rows)[:, None] * inside
    ring_weights = counts / counts.sum(dim=0)
    return (power.flatten(1) @ ring_weights.to(power)).to(image.dtype)


LEVELS = 3
BANDS = ("LL3", "LH3", "HL3", "HH3", "LH2", "HL2", "HH2", "LH1", "HL1", "HH1")
LOSSLESS_MSE = 1e-12


def subband_psnr(sr: Tensor, hr: Tensor) -> Tensor:
    """PSNR in dB of each Haar band, (batch, 10) in the order of BANDS, peak = largest magnitude of the HR band.

    +inf where the band's MSE is under 1e-12, NaN where the HR band is empty (all zero) and the SR band is not: means
    leave both out and count them, as of PSNR. The published protocol has 100 and 0 there.
    Images are (batch, 1, rows, columns) in [0, 1], of any size. Source: arXiv 2604.12152.
    """
    sr, hr = check_pair(sr, hr)
    values = []
    for mine, true in zip(haar_bands(sr), once(haar_bands, hr), strict=True):
        mse, peak = (mine - true).square().mean(dim=(1, 2, 3)), true.abs().amax(dim=(1, 2, 3))
        value = 20 * peak.log10() - 10 * mse.clamp_min(LOSSLESS_MSE).log10()
        value = torch.where(peak > 0, value, torch.nan)
        values.append(torch.where(mse < LOSSLESS_MSE, torch.inf, value))
    return torch.stack(values, dim=1)


def haar_bands(image: Tensor) -> tuple[Tensor, ...]:
    """The ten orthonormal Haar bands of `image` (..., rows, columns), in the order of BANDS.

    Equal to `pywt.wavedec2(image, "haar", level=3)` but for the signs of details: LH, HL and HH are its cH, cV and cD
    arrays, and an odd last row or column is repeated (its default symmetric mode).
    """
    bands: list[Tensor] = []  # from fine to coarse
    for _ in range(LEVELS):
        rows, columns = image.shape[-2:]
        if rows % 2 or columns % 2:
            image = F.pad(image, (0, columns % 2, 0, rows % 2), mode="replicate")
        upper, lower = image[..., ::2, :], image[..., 1::2, :]
        smooth, edges = (upper + lower) / 2, (upper - lower) / 2
        bands.append(edges[..., ::2] - edges[..., 1::2])
        bands.append(smooth[..., ::2] - smooth[..., 1::2])
        bands.append(edges[..., ::2] + edges[..., 1::2])
        image = smooth[..., ::2] + smooth[..., 1::2]
    return (image, *reversed(bands))


PATCH = 64
STEP = 32
THRESHOLDS = (0.5, 0.75)
FREQUENCY = 0.16
CONTRAST = 0.01


def sfrc_rate(sr: Tensor, hr: Tensor) -> Tensor:
    """Share of hallucinated patches at each of THRESHOLDS, (batch, 2), in [0, 1].

    Images are (batch, 1, rows, columns) in [0, 1]; NaN for sides under 64 px and where no patch has contrast.
    """
    sr, hr = check_pair(sr, hr)
    if smaller_than(hr, PATCH):
        return no_value(hr)[:, None].expand(-1, len(THRESHOLDS))
    (contrast, mine), (true_contrast, true) = _patch_spectra(sr), once(_patch_spectra, hr)
    shown = torch.maximum(contrast, true_contrast) >= CONTRAST
    curves = ring_correlation(mine, true)  # (batch, rows, columns, rings)
    rates = []
    for threshold in THRESHOLDS:
        # First frequency in cycles per pixel at which each curve falls below `threshold`, +inf if nowhere.
        below = curves[..., 1:] < threshold
        ring = below.int().argmax(dim=-1, keepdim=True)  # of the last ring that is not below, if there is any
        before, after = curves.gather(-1, ring), curves.gather(-1, ring + 1)
        place = (ring + (before - threshold) / (before - after))[..., 0] / (2 * curves.shape[-1])
        crossings = torch.where(below.any(dim=-1), place, torch.inf)
        early = (crossings < FREQUENCY) & shown
        rates.append(early.sum(dim=(1, 2)) / shown.sum(dim=(1, 2)))  # 0 / 0 is NaN: no patch
    return torch.stack(rates, dim=1).to(hr.dtype)


def ring_correlation(sr: tuple[Tensor, Tensor], hr: tuple[Tensor, Tensor]) -> Tensor:
    """Fourier ring correlation of square patches, (..., n / 2): ring k lies at k / n cycles per pixel.

    The real part of the cross spectrum summed over a ring, over the root of the product of both powers there; 1 where
    neither has any power, 0 where only one has. Of both images what `ring_powers` returns.
    """
    (first, power), (second, other_power) = sr, hr
    cross = (first.real * second.real + first.imag * second.imag).flatten(-2) @ _ring_weights(first)
    scale = (power * other_power).sqrt()
    alone = torch.where(power == other_power, 1.0, 0.0).to(cross)
    return torch.where(scale > 0, cross / scale, alone)


def ring_powers(image: Tensor) -> tuple[Tensor, Tensor]:
    """The half plane of the spectrum of square images (..., n, n), and its power in each ring, (..., n / 2)."""
    spectrum = torch.fft.rfft2(image)
    return spectrum, (spectrum.real.square() + spectrum.imag.square()).flatten(-2) @ _ring_weights(spectrum)


def _ring_weights(spectrum: Tensor) -> Tensor:
    """Weight of each bin of the half plane (..., n, n / 2 + 1) in each ring, (bins, n / 2).

    Bins with a mirror image count twice.
    """
    size = spectrum.shape[-2]
    down = torch.fft.fftfreq(size, 1 / size, dtype=torch.float64)
    across = torch.arange(size // 2 + 1, dtype=torch.float64)
    ring = torch.hypot(down[:, None], across[None, :]).round()
    counts = torch.where((across > 0) & (across < size / 2), 2.0, 1.0).expand(size, -1)
    inside = ring[..., None] == torch.arange(size // 2)
    return inside.double().mul(counts[..., None]).flatten(0, 1).to(spectrum.real)


def _patch_spectra(image: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Of overlapping patches, (batch, patch rows, patch columns, ...), the last flush with the border: each one's
    standard deviation, and under a Hann window its spectrum and its power in each ring.
    """
    inside = torch.arange(PATCH, device=image.device)
    first = [[*range(0, side - PATCH, STEP), side - PATCH] for side in image.shape[-2:]]
    rows, columns = (torch.tensor(starts, device=image.device)[:, None] + inside for starts in first)
    patches = image[:, 0, rows[:, None, :, None], columns[None, :, None, :]]
    hann = torch.hann_window(PATCH, periodic=False, dtype=image.dtype, device=image.device)
    return patches.std(dim=(-2, -1), correction=0), ring_powers(patches * (hann[:, None] * hann[None, :]))


def slice_gradient(images: Tensor, following: Tensor) -> Tensor:
    """Root mean square difference of each slice from the next one of its volume, (batch,), NaN where there is none.

    Slices that flicker, as those of samples whose noise is independent do, have more than the truth, interpolated
    ones less; one made of a volume's slices shows it in a reformat across them.

    Args:
        images: (batch, 1, rows, columns) in [0, 1].
        following: the next slices, of the same shape.
    """
    return (check_image(images) - following).square().mean(dim=(-3, -2, -1)).sqrt()

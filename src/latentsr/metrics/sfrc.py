"""Scanning Fourier ring correlation (sFRC): the share of patches in which SR and HR part company too early.

The Fourier ring correlation of two patches is the real part of their cross spectrum summed over a ring of frequencies,
over the root of the product of their powers there: 1 at frequencies that agree, about 0 where SR shows something else.
A patch counts as hallucinated where its curve first falls below a threshold at a frequency under FREQUENCY.

The definition here: patches of 64x64 px every 32 px (and flush with the far border), a Hann window, rings one bin wide
about whole radii up to half a cycle a pixel, straight lines between rings. Patches in which neither image has contrast
(standard deviation under 0.01), such as air, are left out. Thresholds 0.5 (CT) and 0.75 (MRI) and the frequency of
0.16 cycles a pixel are those of the paper's examples (0.33 a millimetre at 0.48 mm a pixel, and 0.16 a pixel). The
paper tunes them on images with known hallucinations: compare methods by the rate, and do not read it as a truth.
The paper's code differs in that it takes patches without overlap and the magnitude of the cross spectrum's sum.
Source: Kc, Zeng, Soni and Badano 2026, arXiv 2603.04673.
"""

import torch
from torch import Tensor

from latentsr.metrics.images import check_pair, no_value, smaller_than

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
    curves, shown = _curves_and_contrast(sr, hr)
    rates = []
    for threshold in THRESHOLDS:
        early = (_crossings(curves, threshold) < FREQUENCY) & shown
        rates.append(early.sum(dim=(1, 2)) / shown.sum(dim=(1, 2)))  # 0 / 0 is NaN: no patch
    return torch.stack(rates, dim=1).to(hr.dtype)


def ring_correlation(sr: Tensor, hr: Tensor) -> Tensor:
    """Fourier ring correlation of square patches (..., n, n), (..., n / 2): ring k lies at k / n cycles a pixel.

    1 where neither has any power, 0 where only one has.
    """
    size = hr.shape[-1]
    rings = _rings(size).to(hr)
    first, second = (torch.fft.rfft2(image) for image in (sr, hr))
    cross = (first.real * second.real + first.imag * second.imag).flatten(-2) @ rings
    powers = [(part.real.square() + part.imag.square()).flatten(-2) @ rings for part in (first, second)]
    scale = (powers[0] * powers[1]).sqrt()
    alone = torch.where(powers[0] == powers[1], 1.0, 0.0).to(cross)
    return torch.where(scale > 0, cross / scale, alone)


def patch_starts(side: int) -> list[int]:
    """First pixel of each patch along a side of `side` px; the last is flush with the border."""
    return [*range(0, side - PATCH, STEP), side - PATCH]


def _curves_and_contrast(sr: Tensor, hr: Tensor) -> tuple[Tensor, Tensor]:
    """Correlation curves (batch, rows, columns, rings) of the patches, and which of them have contrast."""
    mine, true = _patches(sr), _patches(hr)
    shown = torch.maximum(mine.std(dim=(-2, -1), correction=0), true.std(dim=(-2, -1), correction=0)) >= CONTRAST
    hann = torch.hann_window(PATCH, periodic=False, dtype=hr.dtype, device=hr.device)
    window = hann[:, None] * hann[None, :]
    return ring_correlation(mine * window, true * window), shown


def _patches(image: Tensor) -> Tensor:
    """Overlapping patches, (batch, patch rows, patch columns, 64, 64)."""
    rows, columns = (torch.tensor(patch_starts(side), device=image.device) for side in image.shape[-2:])
    inside = torch.arange(PATCH, device=image.device)
    return image[:, 0, (rows[:, None] + inside)[:, None, :, None], (columns[:, None] + inside)[None, :, None, :]]


def _rings(size: int) -> Tensor:
    """Weight of each half-plane FFT bin in each ring, (bins, size / 2): bins with a mirror image count twice."""
    down = torch.fft.fftfreq(size, 1 / size, dtype=torch.float64)
    across = torch.arange(size // 2 + 1, dtype=torch.float64)
    ring = torch.hypot(down[:, None], across[None, :]).round()
    counts = torch.where((across > 0) & (across < size / 2), 2.0, 1.0).expand(size, -1)
    return (ring[..., None] == torch.arange(size // 2)).double().mul(counts[..., None]).flatten(0, 1)


def _crossings(curves: Tensor, threshold: float) -> Tensor:
    """First frequency in cycles a pixel at which each curve falls below `threshold`, +inf if nowhere."""
    below = curves[..., 1:] < threshold
    ring = below.int().argmax(dim=-1, keepdim=True)  # of the last ring that is not below, if there is any
    before, after = curves.gather(-1, ring), curves.gather(-1, ring + 1)
    place = (ring + (before - threshold) / (before - after))[..., 0] / (2 * curves.shape[-1])
    return torch.where(below.any(dim=-1), place, torch.inf)

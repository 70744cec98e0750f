"""Shift, blur, contrast and noise of an SR image against HR, and whether its detail is HR's own.

The model is SR = c (HR shifted and blurred by a Gaussian) + b + noise; b is `fidelity.intensity_bias`, the others are
taken from the spectra S and H of both images under a Hann window, less their means. LR determines SR up to LR's Nyquist
frequency, 1 / (2 scale) cycles per pixel: shift, contrast and noise are found below it.

All take (batch, 1, rows, columns) in [0, 1] on any device; `lr` (batch, 1, rows / scale, columns / scale) defines the
scale. NaN for sides under 16 px and where an image is constant. Computed in float64 where the device has it.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from latentsr.errors import InputError
from latentsr.metrics.images import check_pair, no_value, once, precise, smaller_than

SIDE = 16  # px, of HR; of LR where a shift is found
SHIFT = ("length", "right", "down")
STEPS = 4  # of Newton's method, which doubles the digits with each
COARSE = 4  # times below LR's Nyquist frequency contrast is taken, where no restoration blurs
# Mean cosine of the phase differences: restorations have 0.97 and more, other images 0.1 to 0.8. From the first on a
# shift is found to 0.1 px; below the second SR is another image, or mostly noise.
MATCH, OTHER = 0.9, 0.75
# Power of HR from 1.2 times LR's Nyquist frequency on, over that of the octave below it. Brain MRI and chest X-rays
# have 0.06 to 0.7; zero-filled to 0.55 of their width, or enlarged by two, 0.01 to 0.05 at scale 2.
BEYOND = 0.05


class _Bins(NamedTuple):
    """The bins of the half plane of a spectrum.

    `frequency` (2, bins), cycles per pixel down and across, `radius` (bins,) its length, `ring` (bins,) in which each
    lies of those one bin wide, `weight` (bins,) 2 for bins that have a mirror image.
    """

    frequency: Tensor
    radius: Tensor
    ring: Tensor
    weight: Tensor


def shift(sr: Tensor, hr: Tensor, lr: Tensor) -> Tensor:
    """Shift of SR against HR in pixels, (batch, 3): length, and its parts to the right and down.

    The maximum of the half-whitened correlation below LR's Nyquist frequency: of the cross spectrum over the root of
    its magnitude. Found on whole pixels, then by Newton's method between them. NaN also where SR does not match HR
    anywhere (MATCH), as another image, and for sides of LR under 16 px.
    Source: Kuglin and Hines 1975; Knapp and Carter 1976 (generalised correlation); Guizar-Sicairos et al. 2008.
    """
    sr, hr = check_pair(sr, hr)
    scale = _scale(hr, lr)
    if smaller_than(lr, SIDE):
        return no_value(hr)[:, None].expand(-1, len(SHIFT))
    place, _, match = once(_registered, sr, hr, scale=scale)
    down, right = place.where(match[:, None] >= MATCH, torch.nan).unbind(dim=1)
    return torch.stack([torch.hypot(down, right), right, down], dim=1).to(hr.dtype)


def contrast(sr: Tensor, hr: Tensor, lr: Tensor) -> Tensor:
    """Slope of SR on HR up to a quarter of LR's Nyquist frequency, (batch,): 1 where contrast is that of HR.

    A shift is removed first; blur and detail, right or wrong, hardly change it. NaN as `shift`.
    """
    sr, hr = check_pair(sr, hr)
    scale = _scale(hr, lr)
    if smaller_than(lr, SIDE):
        return no_value(hr)
    (_, cross, match), bins = once(_registered, sr, hr, scale=scale), once(_bins, hr)
    coarse = bins.weight * (bins.radius <= 0.5 / scale / COARSE)
    slope = (cross.real @ coarse) / (_power(once(_spectrum, hr)) @ coarse)
    return slope.where(match >= MATCH, torch.nan).to(hr.dtype)


def blur(sr: Tensor, hr: Tensor) -> Tensor:
    """Sigma in pixels of the Gaussian that turns HR's spectrum into SR's, (batch,): negative where SR is sharper.

    Under such a blur ln(abs(S) / abs(H)), of root mean squares over rings of frequency one bin wide, is
    ln(c) - 2 pi^2 sigma^2 f^2: a straight line in f^2, fitted by least squares, weighted by the lower power of both.
    """
    sr, hr = check_pair(sr, hr)
    if smaller_than(hr, SIDE):
        return no_value(hr)
    side = max(hr.shape[-2:])
    mine, true = (once(_ring_power, image, hr)[:, 1 : side // 2 + 1] for image in (sr, hr))
    weight = torch.minimum(mine, true)
    weight = weight / weight.sum(dim=1, keepdim=True)
    x = torch.arange(1, side // 2 + 1, device=hr.device).to(weight).div(side).square()
    x = x - (weight * x).sum(dim=1, keepdim=True)
    y = (mine / true).log().nan_to_num(0, 0, 0) / 2  # where either is 0 there is no weight
    variance = -(weight * x * y).sum(dim=1) / (weight * x.square()).sum(dim=1) / (2 * math.pi**2)
    return (variance.sign() * variance.abs().sqrt()).to(hr.dtype)


def noise(sr: Tensor, hr: Tensor, lr: Tensor) -> Tensor:
    """Standard deviation of the noise in SR, (batch,), as a share of the range.

    That of white noise which has, up to half of LR's Nyquist frequency, the power of SR that is not coherent with HR in
    its ring of frequency. Blur and contrast hardly change it. NaN where SR is another image (OTHER), and for sides of
    LR under 16 px.
    """
    sr, hr = check_pair(sr, hr)
    scale = _scale(hr, lr)
    if smaller_than(lr, SIDE):
        return no_value(hr)
    *_, match = once(_registered, sr, hr, scale=scale)
    real, imaginary = once(_ring_cross, sr, hr, scale=scale)
    mine, true = (once(_ring_power, image, hr) for image in (sr, hr))
    half, side = once(_bins, hr), max(hr.shape[-2:])
    bins = _over_rings(half, torch.ones_like(half.weight)[None])
    ring = torch.arange(bins.shape[1], device=hr.device) / side
    certain = (ring > 1.5 / side) & (ring <= 0.25 / scale)  # the window spreads the mean over the first rings
    alone = (mine - (real.square() + imaginary.square()) / true) * certain
    energy = torch.stack([_hann(length).square().sum() for length in hr.shape[-2:]]).prod().to(alone)
    variance = alone.sum(dim=1) / (bins * certain).sum(dim=1) / energy
    return variance.clamp_min(0).sqrt().where(match >= OTHER, torch.nan).to(hr.dtype)


def detail_frc(sr: Tensor, hr: Tensor, lr: Tensor) -> Tensor:
    """Fourier ring correlation of SR with HR above LR's Nyquist frequency, up to twice it, (batch,), in [-1, 1].

    Mean over the rings, HR's power as the weight; a shift is removed first. Blur, contrast and shift do not change it;
    its square is about the share of that detail that SR has right. NaN also where LR is as large as HR, and where HR
    has next to no detail beyond LR (BEYOND), as a zero-filled or enlarged image.
    Source: Harauz and van Heel 1986.
    """
    sr, hr = check_pair(sr, hr)
    scale = _scale(hr, lr)
    if smaller_than(hr, SIDE) or scale == 1:
        return no_value(hr)
    both, _ = once(_ring_cross, sr, hr, scale=scale)
    (mine, true), side = (once(_ring_power, image, hr) for image in (sr, hr)), max(hr.shape[-2:])
    ring = torch.arange(both.shape[1], device=hr.device) / side
    weight = true * ((ring > 0.5 / scale) & (ring <= min(0.5, 1 / scale)))
    correlation = both / (mine * true).sqrt()  # 0 / 0: of a ring that is empty in SR
    value = (weight * correlation.nan_to_num()).sum(dim=1) / weight.sum(dim=1)
    within = (true * ((ring > 0.25 / scale) & (ring <= 0.5 / scale))).sum(dim=1)
    beyond = (weight * (ring > 0.6 / scale)).sum(dim=1)  # the rings just above also hold what a window spreads
    return value.where(beyond >= BEYOND * within, torch.nan).to(hr.dtype)


def _scale(hr: Tensor, lr: Tensor) -> int:
    """HR sides over LR sides; InputError if that is no whole number."""
    scale = hr.shape[-1] // lr.shape[-1]
    if hr.shape[-2:] != (lr.shape[-2] * scale, lr.shape[-1] * scale):
        raise InputError(
            f"LR images of shape {tuple(lr.shape)} for HR of {tuple(hr.shape)}: expected sides that are a whole number "
            "of times smaller; check the degradation"
        )
    return scale


def _bins(image: Tensor) -> _Bins:
    """Those of images of this size, in the type and on the device that their spectra have."""
    like, (rows, columns) = precise(image[:0]), image.shape[-2:]
    down, across = torch.fft.fftfreq(rows, dtype=torch.float64), torch.fft.rfftfreq(columns, dtype=torch.float64)
    frequency = torch.stack(torch.meshgrid(down, across, indexing="ij")).flatten(1).to(like)
    radius = torch.hypot(*frequency)
    weight = 1 + ((frequency[1] > 0) & (2 * frequency[1] < 1)).to(like)
    return _Bins(frequency, radius, (radius * max(rows, columns)).round().long(), weight)


def _spectrum(image: Tensor) -> Tensor:
    """The half plane of each image's spectrum under a Hann window, less its mean, (batch, bins) complex."""
    rows, columns = image.shape[-2:]
    values = precise(image)[:, 0]
    window = (_hann(rows)[:, None] * _hann(columns)).to(values)
    return torch.fft.rfft2((values - values.mean(dim=(1, 2), keepdim=True)) * window).flatten(1)


def _hann(side: int) -> Tensor:
    return torch.hann_window(side + 2, periodic=False, dtype=torch.float64)[1:-1]


def _power(spectrum: Tensor) -> Tensor:
    return spectrum.real.square() + spectrum.imag.square()


def _over_rings(bins: _Bins, values: Tensor) -> Tensor:
    """Sums of `values` (batch, bins) over rings of frequency, (batch, rings): ring k is k / side cycles per pixel."""
    sums = torch.zeros(len(values), int(bins.ring.max()) + 1, dtype=values.dtype, device=values.device)
    return sums.index_add(1, bins.ring, values * bins.weight)


def _ring_power(image: Tensor, hr: Tensor) -> Tensor:
    """The power of images of HR's size over the rings."""
    return _over_rings(once(_bins, hr), _power(once(_spectrum, image)))


def _ring_cross(sr: Tensor, hr: Tensor, *, scale: int) -> tuple[Tensor, Tensor]:
    """Real and imaginary part of the cross spectrum of SR moved back onto HR, over the rings."""
    (_, cross, _), bins = once(_registered, sr, hr, scale=scale), once(_bins, hr)
    return _over_rings(bins, cross.real), _over_rings(bins, cross.imag)


def _registered(sr: Tensor, hr: Tensor, *, scale: int) -> tuple[Tensor, Tensor, Tensor]:
    """(place, cross, match) of SR registered with HR by a shift, found below LR's Nyquist frequency.

    `place` (batch, 2), pixels down and to the right of HR; `cross` spectrum (batch, bins) of SR moved back; `match`
    (batch,) in [-1, 1], the mean cosine of the remaining phase differences, NaN where an image is constant.
    """
    size, bins = hr.shape[-2:], once(_bins, hr)
    rows, columns = size
    known = (bins.radius <= 0.5 / scale).nonzero()[:, 0]
    frequency, weight = bins.frequency[:, known], bins.weight[known]
    cross = once(_spectrum, sr) * once(_spectrum, hr).conj()
    below = cross[:, known]
    root = below.abs().sqrt()
    whitened = torch.where(root > 0, below / root, 0)
    half = torch.zeros_like(cross).index_copy(1, known, whitened).unflatten(1, (rows, columns // 2 + 1))
    peak = torch.fft.irfft2(half, s=(rows, columns)).flatten(1).argmax(dim=1)
    places = zip((peak // columns, peak % columns), size, strict=True)
    whole = torch.stack([(place + side // 2) % side - side // 2 for place, side in places], dim=1).to(root)
    place, whitened = whole, whitened * weight
    for _ in range(STEPS):
        turned = whitened * _phase(place, frequency)
        curve = torch.einsum("bn,in,jn->bij", turned.real, frequency, frequency)
        step = torch.linalg.solve_ex(curve, turned.imag @ frequency.mT)[0] / (2 * math.pi)
        place = whole + (place - step - whole).clamp(-1, 1)  # the summit is within a pixel of the highest one
    match = (whitened * _phase(place, frequency)).real.sum(dim=1) / (root @ weight)
    return place, cross * _phase(place, bins.frequency), match


def _phase(place: Tensor, frequency: Tensor) -> Tensor:
    """The factor of an image's spectrum that moves it back from `place` (batch, 2), (batch, bins)."""
    angle = 2 * math.pi * (place @ frequency)
    return torch.complex(angle.cos(), angle.sin())

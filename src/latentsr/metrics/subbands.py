"""PSNR of wavelet bands: where in frequency and direction a result differs from HR."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from latentsr.metrics.images import check_pair

LEVELS = 3
BANDS = ("LL3", "LH3", "HL3", "HH3", "LH2", "HL2", "HH2", "LH1", "HL1", "HH1")
LOSSLESS = 100.0
LOSSLESS_MSE = 1e-12
EMPTY = 0.0


def subband_psnr(sr: Tensor, hr: Tensor) -> Tensor:
    """PSNR in dB of each Haar band, (batch, 10) in the order of BANDS, peak = largest magnitude of the HR band.

    100 where the band's MSE is under 1e-12, as the protocol has it, 0 where the HR band is empty (all zero) and the SR
    band is not. So the values of nearly equal bands may lie above those of equal ones: an MSE just over 1e-12 gives 120
    for a peak of 1, and up to 138 in LL3, whose peak is up to 8.
    Images are (batch, 1, rows, columns) in [0, 1], of any size. Source: arXiv 2604.12152.
    """
    sr, hr = check_pair(sr, hr)
    values = [_band_psnr(a, b) for a, b in zip(haar_bands(sr), haar_bands(hr), strict=True)]
    return torch.stack(values, dim=1)


def haar_bands(image: Tensor) -> tuple[Tensor, ...]:
    """The ten orthonormal Haar bands of `image` (..., rows, columns), in the order of BANDS.

    Equal to `pywt.wavedec2(image, "haar", level=3)` but for the signs of details: LH, HL and HH are its cH, cV and cD
    arrays, and an odd last row or column is repeated (its default symmetric mode).
    """
    return tuple(reversed(tuple(_from_fine_to_coarse(image))))


def _from_fine_to_coarse(image: Tensor) -> Iterator[Tensor]:
    for _ in range(LEVELS):
        rows, columns = image.shape[-2:]
        if rows % 2 or columns % 2:
            image = F.pad(image, (0, columns % 2, 0, rows % 2), mode="replicate")
        upper, lower = image[..., ::2, :], image[..., 1::2, :]
        smooth, edges = (upper + lower) / 2, (upper - lower) / 2
        yield edges[..., ::2] - edges[..., 1::2]
        yield smooth[..., ::2] - smooth[..., 1::2]
        yield edges[..., ::2] + edges[..., 1::2]
        image = smooth[..., ::2] + smooth[..., 1::2]
    yield image


def _band_psnr(sr: Tensor, hr: Tensor) -> Tensor:
    mse = (sr - hr).square().mean(dim=(1, 2, 3))
    peak = hr.abs().amax(dim=(1, 2, 3))
    value = 20 * peak.log10() - 10 * mse.clamp_min(LOSSLESS_MSE).log10()
    value = torch.where(peak > 0, value, EMPTY)
    return torch.where(mse < LOSSLESS_MSE, LOSSLESS, value)

import numpy as np
import pytest
import pywt
import torch
from torch import Tensor

from latentsr.metrics.frequency import BANDS, haar_bands, subband_psnr

Pairs = dict[str, tuple[Tensor, Tensor]]


def bands_of_pywt(image: np.ndarray) -> list[np.ndarray]:
    """Ten arrays, cA3, cH3, cV3, cD3, ... cD1."""
    coarsest, *details = pywt.wavedec2(image, "haar", level=3)
    return [coarsest, *(band for level in details for band in level)]


def psnr_of_pywt(sr: np.ndarray, hr: np.ndarray) -> list[float]:
    pairs = zip(bands_of_pywt(sr), bands_of_pywt(hr), strict=True)
    return [10 * np.log10(np.abs(h).max() ** 2 / np.mean((s - h) ** 2)) for s, h in pairs]


@pytest.mark.parametrize("shape", [(64, 64), (61, 37), (40, 29), (9, 17)])
@pytest.mark.filterwarnings("ignore:Level value of 3 is too high")
def test_bands_are_those_of_pywt(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).random(shape)
    for found, expected in zip(haar_bands(torch.from_numpy(image)[None, None]), bands_of_pywt(image), strict=True):
        np.testing.assert_allclose(found[0, 0].abs(), np.abs(expected), atol=1e-12)


def test_psnr_equals_that_of_pywt(pairs: Pairs) -> None:
    for sr, hr in pairs.values():
        arrays = zip(sr[:, 0].double().numpy(), hr[:, 0].double().numpy(), strict=True)
        np.testing.assert_allclose(subband_psnr(sr, hr), [psnr_of_pywt(s, h) for s, h in arrays], rtol=1e-5)


def test_energy_is_kept(hr: Tensor) -> None:
    energy = sum(band.double().square().sum() for band in haar_bands(hr.double()))
    torch.testing.assert_close(energy, hr.double().square().sum())


def test_identical_bands_have_a_hundred_decibels(hr: Tensor) -> None:
    assert subband_psnr(hr, hr).isposinf().all()
    brighter = subband_psnr((hr + 0.1).clamp(0, 1) * 0 + 0.4, torch.full_like(hr, 0.3))
    assert BANDS[0] == "LL3"
    assert brighter[:, 1:].isposinf().all()
    assert (brighter[:, 0] < 20).all()


def test_empty_bands_have_none(hr: Tensor) -> None:
    assert (subband_psnr(hr, torch.full_like(hr, 0.3))[:, 1:].isnan()).all()

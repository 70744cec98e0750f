import numpy as np
import piq
import torch
from scipy.ndimage import correlate
from scipy.signal import convolve2d
from torch import Tensor

from latentsr.metrics.perceptual import gmsd, haarpsi, haarpsi_med

Pairs = dict[str, tuple[Tensor, Tensor]]


def same(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """MATLAB's conv2(image, kernel, 'same'), which the papers' code uses: zero border, later centre for even sizes."""
    rows, columns = (n // 2 for n in kernel.shape)
    return convolve2d(image, kernel)[rows:, columns:][: image.shape[0], : image.shape[1]]


def halved(image: np.ndarray) -> np.ndarray:
    return same(image, np.full((2, 2), 0.25))[::2, ::2]


def haarpsi_of_the_paper(sr: np.ndarray, hr: np.ndarray) -> float:
    """Reisenhofer et al. 2018, written from the paper: the second source beside piq."""
    numerator = denominator = 0.0
    for transposed in (False, True):
        responses = []
        for image in (halved(sr * 255), halved(hr * 255)):
            bands = []
            for level in (1, 2, 3):
                kernel = np.full((2**level, 2**level), 2.0**-level)
                kernel[: 2**level // 2] *= -1
                bands.append(np.abs(same(image, kernel.T if transposed else kernel)))
            responses.append(bands)
        similarity = np.mean([(2 * a * b + 30) / (a * a + b * b + 30) for a, b in zip(*responses, strict=True)][:2], 0)
        weight = np.maximum(responses[0][2], responses[1][2])
        numerator += (weight / (1 + np.exp(-4.2 * similarity))).sum()
        denominator += weight.sum()
    share = numerator / denominator
    return float((np.log(share / (1 - share)) / 4.2) ** 2)


def gmsd_of_the_paper(sr: np.ndarray, hr: np.ndarray) -> float:
    """Xue et al. 2014, written from the paper: the second source beside piq."""
    prewitt = np.array([[1, 0, -1]] * 3) / 3
    gradients = []
    for image in (halved(sr * 255), halved(hr * 255)):
        parts = [correlate(image, kernel, mode="constant") for kernel in (prewitt, prewitt.T)]
        gradients.append(np.hypot(*parts))
    a, b = gradients
    return float(np.std((2 * a * b + 170) / (a * a + b * b + 170)))


def values_of(function, sr: Tensor, hr: Tensor) -> list[float]:
    return [function(s, h) for s, h in zip(sr[:, 0].double().numpy(), hr[:, 0].double().numpy(), strict=True)]


def test_haarpsi_equals_piq_and_the_paper(pairs: Pairs) -> None:
    for sr, hr in pairs.values():
        np.testing.assert_allclose(haarpsi(sr, hr), piq.haarpsi(sr, hr, data_range=1.0, reduction="none"), rtol=1e-5)
        np.testing.assert_allclose(haarpsi(sr, hr), values_of(haarpsi_of_the_paper, sr, hr), rtol=1e-4)


def test_haarpsi_with_medical_constants_equals_piq(pairs: Pairs) -> None:
    for sr, hr in pairs.values():
        second = piq.haarpsi(sr, hr, data_range=1.0, reduction="none", c=5.0, alpha=4.9)
        np.testing.assert_allclose(haarpsi_med(sr, hr), second, rtol=1e-5)


def test_gmsd_equals_piq_and_the_paper(pairs: Pairs) -> None:
    for sr, hr in pairs.values():
        np.testing.assert_allclose(gmsd(sr, hr), piq.gmsd(sr, hr, data_range=1.0, reduction="none"), rtol=1e-5)
        np.testing.assert_allclose(gmsd(sr, hr), values_of(gmsd_of_the_paper, sr, hr), rtol=1e-4)


def test_identical_images(hr: Tensor) -> None:
    torch.testing.assert_close(haarpsi(hr, hr), torch.ones(3), rtol=0, atol=1e-4)
    assert gmsd(hr, hr).tolist() == [0.0] * 3


def test_black_images_have_no_haarpsi(hr: Tensor) -> None:
    black = torch.zeros_like(hr)
    assert haarpsi(black, black).isnan().all()
    assert haarpsi(black, hr).isfinite().all()


def test_images_too_small_have_no_value(hr: Tensor) -> None:
    assert haarpsi(hr[..., :15, :], hr[..., :15, :]).isnan().all()
    assert haarpsi(hr[..., :16, :16], hr[..., :16, :16]).isfinite().all()
    assert gmsd(hr[..., :5], hr[..., :5]).isnan().all()

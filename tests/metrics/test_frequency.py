import numpy as np
import pytest
import torch
from scipy.ndimage import correlate, gaussian_laplace, laplace
from torch import Tensor

from latentsr.metrics.frequency import (
    blockiness,
    hfen,
    highpass_spectrum,
    laplacian_of_gaussian,
    laplacian_variance,
    radial_spectrum,
)

Pairs = dict[str, tuple[Tensor, Tensor]]


def arrays(images: Tensor) -> list[np.ndarray]:
    return list(images[:, 0].double().numpy())


def highpass_of_the_poster(image: np.ndarray) -> float:
    """The measure as its published form writes it, with shifted spectra."""
    spectrum = np.fft.fftshift(np.fft.fft2(image * 255))
    rows, columns = (n // 2 for n in image.shape)
    high, wide = (round(60 / 512 * n) for n in image.shape)
    spectrum[rows - high : rows + high, columns - wide : columns + wide] = 0
    return float(np.mean(20 * np.log(np.abs(np.fft.ifft2(np.fft.ifftshift(spectrum))))))


def test_hfen_equals_scipy(pairs: Pairs) -> None:
    kernel = torch.einsum("ki,kj->ij", *laplacian_of_gaussian(15, 1.5)).numpy()
    for sr, hr in pairs.values():
        expected = [
            np.linalg.norm(correlate(s - h, kernel, mode="mirror"))
            / np.linalg.norm(correlate(h, kernel, mode="mirror"))
            for s, h in zip(arrays(sr), arrays(hr), strict=True)
        ]
        np.testing.assert_allclose(hfen(sr, hr), expected, rtol=1e-5)


def test_hfen_is_near_scipys_own_laplacian_of_gaussian(sr: Tensor, hr: Tensor) -> None:
    expected = [
        np.linalg.norm(gaussian_laplace(s - h, 1.5, mode="mirror"))
        / np.linalg.norm(gaussian_laplace(h, 1.5, mode="mirror"))
        for s, h in zip(arrays(sr), arrays(hr), strict=True)
    ]
    np.testing.assert_allclose(hfen(sr, hr), expected, rtol=0.02)


def test_the_kernel_is_that_of_matlab() -> None:
    kernel = torch.einsum("ki,kj->ij", *laplacian_of_gaussian(15, 1.5))
    assert kernel.shape == (15, 15)
    assert float(kernel.sum()) == pytest.approx(0, abs=1e-15)
    # fspecial('log', 15, 1.5) has -2 / (2 pi sigma^4) at its centre, but for the discrete sums.
    assert float(kernel[7, 7]) == pytest.approx(-1 / (np.pi * 1.5**4), rel=1e-3)


def test_laplacian_variance_equals_scipy(pairs: Pairs) -> None:
    for _, hr in pairs.values():
        expected = [laplace(image * 255, mode="mirror").var() for image in arrays(hr)]
        np.testing.assert_allclose(laplacian_variance(hr), expected, rtol=1e-5)


def blockiness_of_numpy(image: np.ndarray) -> float:
    """The definition pair by pair: pixels 2k and 2k + 1 lie in one block, 2k + 1 and 2k + 2 in two."""
    inside, across = [], []
    for lines in (image, image.T):
        for first in range(lines.shape[1] - 1):
            (across if first % 2 else inside).extend((lines[:, first + 1] - lines[:, first]) ** 2)
    return float(np.mean(inside) / np.mean(across))


def test_blockiness_equals_numpy(pairs: Pairs) -> None:
    for sr, hr in pairs.values():
        for images in (sr, hr):
            np.testing.assert_allclose(blockiness(images), [blockiness_of_numpy(i) for i in arrays(images)], rtol=1e-5)


def test_blockiness_tells_detail_locked_to_the_grid(grid_locked: tuple[Tensor, ...]) -> None:
    planted, bicubic, hr = (blockiness(images) for images in grid_locked)
    assert ((hr > 0.95) & (hr < 1.1)).all()
    assert ((bicubic > 0.95) & (bicubic < 1.1)).all()
    assert ((planted > 1.3) & (planted < 1.4)).all()  # 4/3 is that of white noise without its blocks' means
    off = blockiness(grid_locked[0][..., 1:, 1:])
    torch.testing.assert_close(off, 1 / planted, rtol=0.01, atol=0)  # inside and across change places


def test_blockiness_is_one_for_noise_and_none_for_repeated_pixels(hr: Tensor) -> None:
    noise = torch.rand(3, 1, 256, 256, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(blockiness(noise), torch.ones(3), rtol=0, atol=0.02)
    torch.testing.assert_close(blockiness(0.2 + 0.5 * hr), blockiness(hr), rtol=1e-4, atol=0)
    assert blockiness(hr.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)).tolist() == [0.0] * 3


def test_highpass_spectrum_equals_the_published_form(pairs: Pairs) -> None:
    for sr, hr in pairs.values():
        for images in (sr, hr):
            expected = [highpass_of_the_poster(image) for image in arrays(images)]
            np.testing.assert_allclose(highpass_spectrum(images), expected, rtol=1e-4)


def test_a_blurred_image_has_less_detail(sr: Tensor, hr: Tensor) -> None:
    assert (laplacian_variance(sr) < laplacian_variance(hr)).all()
    assert (highpass_spectrum(sr) < highpass_spectrum(hr)).all()
    assert (hfen(sr, hr) > 0).all()
    assert hfen(hr, hr).tolist() == [0.0] * 3


def test_constant_and_small_images_have_no_value(hr: Tensor) -> None:
    constant = torch.full_like(hr, 0.3)
    assert hfen(hr, constant).isnan().all()
    assert highpass_spectrum(constant).isnan().all()
    assert laplacian_variance(constant).tolist() == [0.0] * 3
    assert blockiness(constant).isnan().all()
    assert hfen(hr[..., :7], hr[..., :7]).isnan().all()
    assert highpass_spectrum(hr[..., :15]).isnan().all()
    assert laplacian_variance(hr[..., :2]).isnan().all()
    assert blockiness(hr[..., :2]).isnan().all()


def radial_spectrum_of_numpy(image: np.ndarray) -> list[float]:
    """The published definition written with numpy on the whole, centred plane."""
    power = np.log10(np.abs(np.fft.fftshift(np.fft.fft2(image))) ** 2 + 1e-12)
    rows, columns = (np.fft.fftshift(np.fft.fftfreq(n)) for n in image.shape)
    radius = np.hypot(rows[:, None], columns[None, :]) / np.sqrt(0.5) * 10
    return [power[(radius >= low) & (radius < low + 1)].mean() for low in range(10)]


def test_radial_spectrum_equals_numpy(pairs: Pairs) -> None:
    for _, hr in pairs.values():
        np.testing.assert_allclose(radial_spectrum(hr), [radial_spectrum_of_numpy(i) for i in arrays(hr)], rtol=1e-4)


def test_a_blurred_image_loses_its_high_rings(sr: Tensor, hr: Tensor) -> None:
    lost = radial_spectrum(hr) - radial_spectrum(sr)
    assert (lost[:, 0] < 0.1).all()
    assert (lost[:, 4:8] > 0.8).all()
    assert radial_spectrum(hr[..., :15]).isnan().all()

import numpy as np
import pytest
import pywt
import torch
from scipy.ndimage import correlate, gaussian_laplace, laplace
from torch import Tensor

from latentsr.metrics.frequency import (
    BANDS,
    blockiness,
    haar_bands,
    hfen,
    highpass_spectrum,
    laplacian_of_gaussian,
    laplacian_variance,
    radial_spectrum,
    ring_correlation,
    ring_powers,
    sfrc_rate,
    slice_gradient,
    subband_psnr,
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


def correlation_by_hand(a: np.ndarray, b: np.ndarray) -> list[float]:
    """Ring by ring on the whole, centred plane."""
    half = len(a) // 2
    first, second = (np.fft.fftshift(np.fft.fft2(image)) for image in (a, b))
    offsets = np.arange(len(a)) - half
    radius = np.round(np.hypot(offsets[:, None], offsets[None, :]))
    rings = [radius == number for number in range(half)]
    power = [[(np.abs(part[ring]) ** 2).sum() for ring in rings] for part in (first, second)]
    cross = [(first[ring] * second[ring].conj()).sum().real for ring in rings]
    return list(np.array(cross) / np.sqrt(np.array(power[0]) * np.array(power[1])))


def test_hfen_of_an_image_alone_is_that_among_others(sr: Tensor, hr: Tensor) -> None:
    """To the last digit: torch filters one channel of a small image in another way than several."""
    mine, true = sr[..., :64, :64], hr[..., :64, :64]
    alone = torch.cat([hfen(mine[[row]], true[[row]]) for row in range(len(true))])
    torch.testing.assert_close(alone, hfen(mine, true), rtol=0, atol=0)


def test_ring_correlation_equals_the_sum_over_rings(sr: Tensor, hr: Tensor) -> None:
    a, b = sr[0, 0, 64:128, 64:128].double(), hr[0, 0, 64:128, 64:128].double()
    np.testing.assert_allclose(
        ring_correlation(ring_powers(a), ring_powers(b)), correlation_by_hand(a.numpy(), b.numpy()), rtol=1e-9
    )


def test_empty_spectra_agree_with_each_other_alone() -> None:
    wave = torch.cos(torch.arange(64) * torch.pi / 4).expand(64, 64).double()
    assert ring_correlation(ring_powers(0 * wave), ring_powers(0 * wave)).tolist() == [1.0] * 32
    assert ring_correlation(ring_powers(wave), ring_powers(0 * wave))[8] == 0
    assert ring_correlation(ring_powers(wave), ring_powers(-wave))[8] == pytest.approx(-1)


def waves(*frequencies: float) -> Tensor:
    """(1, 1, 128, 128) of waves of these cycles a pixel, about 0.5."""
    places = torch.arange(128.0, dtype=torch.float64) * 2 * torch.pi
    rows = sum(torch.cos(frequency * places) for frequency in frequencies)
    return (0.5 + 0.1 * rows)[:, None].expand(1, 1, 128, 128)


def test_a_wave_turned_round_is_found_at_its_frequency(monkeypatch: pytest.MonkeyPatch) -> None:
    """SR has the second wave with the other sign: the correlation falls through 0.5 just below 0.125 cycles a pixel."""
    sr, hr = waves(1 / 16) - waves(1 / 8) + 0.5, waves(1 / 16) + waves(1 / 8) - 0.5
    for bound, rate in ((0.125, 1.0), (0.08, 0.0)):
        monkeypatch.setattr("latentsr.metrics.frequency.FREQUENCY", bound)
        assert sfrc_rate(sr, hr)[:, 0].tolist() == [rate]


def test_identical_images_never_part(hr: Tensor) -> None:
    assert sfrc_rate(hr, hr).tolist() == [[0.0, 0.0]] * 3


def test_contrast_and_brightness_change_nothing(sr: Tensor, hr: Tensor) -> None:
    torch.testing.assert_close(sfrc_rate(0.5 * sr, hr), sfrc_rate(sr, hr), atol=0.05, rtol=0)


def test_air_is_left_out_but_structure_invented_in_it_is_not(hr: Tensor) -> None:
    air = torch.zeros_like(hr[:1, :, :192, :192])
    assert sfrc_rate(air, air).isnan().all()
    invented = air.clone()
    invented[..., 100:110:3, 100:110] = 0.8
    assert sfrc_rate(invented, air).tolist() == [[1.0, 1.0]]  # of the patches that hold it


@pytest.mark.parametrize("side", [64, 128, 150])
def test_patches_reach_every_border(side: int) -> None:
    for axis in (-2, -1):
        hr = torch.full((1, 1, side, side), 0.5)
        sr = hr.index_fill(axis, torch.tensor([side - 3]), 1.0)  # contrast in the last patches alone
        assert sfrc_rate(sr, hr)[0, 0] == 1


def test_small_images_have_no_value(hr: Tensor) -> None:
    assert sfrc_rate(hr[..., :63], hr[..., :63]).isnan().all()


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


def test_the_gradient_between_slices_is_the_root_mean_square_difference(hr: Tensor) -> None:
    following = hr.roll(1, dims=0)
    expected = [np.sqrt(np.mean((a - b) ** 2)) for a, b in zip(arrays(hr), arrays(following), strict=True)]
    np.testing.assert_allclose(slice_gradient(hr, following), expected, rtol=1e-5)
    assert slice_gradient(hr, torch.full_like(hr, torch.nan)).isnan().all()

"""Planted shifts, blurs, contrasts and noise are found as they were planted, and none of them in a restoration."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import fourier_shift, gaussian_filter
from skimage.registration import phase_cross_correlation
from torch import Tensor

from latentsr.degrade import enlarge, parse_degradation
from latentsr.errors import InputError
from latentsr.metrics.frequency import ring_correlation, ring_powers
from latentsr.metrics.registration import blur, contrast, detail_frc, noise, shift

X4 = parse_degradation("bicubic:4")


@pytest.fixture(scope="module")
def lr(hr: Tensor) -> Tensor:
    return X4.apply(hr)


def blurred(image: Tensor, sigma: float) -> Tensor:
    return torch.from_numpy(gaussian_filter(image.numpy(), (0, 0, sigma, sigma))).clamp(0, 1)


def moved(image: Tensor, down: float, right: float) -> Tensor:
    """Shifted by a fraction of a pixel, wrapped round beyond a mirrored border that is cut off."""
    wide = F.pad(image, (16,) * 4, mode="reflect").double().numpy()
    spectrum = fourier_shift(np.fft.fft2(wide), (0, 0, down, right))
    return torch.from_numpy(np.fft.ifft2(spectrum).real[..., 16:-16, 16:-16]).float().clamp(0, 1)


def grain(image: Tensor, sd: float) -> Tensor:
    return image + sd * torch.randn(image.shape, generator=torch.Generator().manual_seed(4))


class TestShift:
    @pytest.mark.parametrize(("down", "right"), [(0, 1), (2, 0), (-3, 2), (7, -10)])
    def test_of_whole_pixels(self, hr: Tensor, down: int, right: int) -> None:
        inside, away = hr[..., 16:-16, 16:-16], hr[..., 16 - down : 240 - down, 16 - right : 240 - right]
        found = shift(away, inside, X4.apply(inside))
        expected = torch.tensor([np.hypot(down, right), right, down], dtype=torch.float32)
        torch.testing.assert_close(found, expected.expand(3, 3), atol=0.1, rtol=0)

    @pytest.mark.parametrize(("down", "right"), [(0.3, -0.2), (-0.5, 0.5), (1.25, 0.0)])
    def test_of_parts_of_a_pixel(self, hr: Tensor, lr: Tensor, down: float, right: float) -> None:
        found = shift(moved(hr, down, right), hr, lr)[:, 1:]
        torch.testing.assert_close(found, torch.tensor([right, down]).expand(3, 2), atol=0.02, rtol=0)

    def test_as_scikit_image_finds_it(self, hr: Tensor, lr: Tensor) -> None:
        away = moved(hr, 0.6, -1.7)
        window = np.outer(np.hanning(258)[1:-1], np.hanning(258)[1:-1])
        for number, found in enumerate(shift(away, hr, lr)):
            pair = [(image - image.mean()) * window for image in (hr[number, 0].numpy(), away[number, 0].numpy())]
            back, *_ = phase_cross_correlation(*pair, upsample_factor=50, normalization=None)
            np.testing.assert_allclose(found[1:], [-back[1], -back[0]], atol=0.05)

    @pytest.mark.parametrize("scale", [2, 4])
    def test_of_an_enlarged_image_is_none(self, hr: Tensor, scale: int) -> None:
        small = parse_degradation(f"bicubic:{scale}").apply(hr)
        assert (shift(enlarge(small, scale).clamp(0, 1), hr, small)[:, 0] < 0.15).all()

    def test_of_another_image_there_is_none(self, hr: Tensor, lr: Tensor) -> None:
        other = hr.flip(-1)
        assert shift(other, hr, lr).isnan().all()
        assert contrast(other, hr, lr).isnan().all()
        assert noise(other, hr, lr).isnan().all()
        assert (detail_frc(other, hr, lr).abs() < 0.2).all()


class TestBlur:
    @pytest.mark.parametrize("sigma", [1.0, 1.5, 2.5])
    def test_is_that_of_the_gaussian(self, hr: Tensor, sigma: float) -> None:
        soft = blurred(hr, sigma)
        torch.testing.assert_close(blur(soft, hr), torch.full((3,), sigma), atol=0.03, rtol=0)
        torch.testing.assert_close(blur(0.5 * soft + 0.2, hr), torch.full((3,), sigma), atol=0.03, rtol=0)

    def test_of_a_sharper_image_is_negative(self, hr: Tensor) -> None:
        assert (blur(hr, blurred(hr, 1.0)) < -0.8).all()
        assert (blur(grain(hr, 0.05).clamp(0, 1), hr) < -0.2).all()

    def test_of_hr_itself_is_none(self, hr: Tensor) -> None:
        assert (blur(hr, hr) == 0).all()

    def test_of_frequencies_that_are_empty_makes_no_difference(self, hr: Tensor) -> None:
        lines = torch.fft.fft2(hr)
        lines[..., 40:-40, :] = 0
        assert blur(torch.fft.ifft2(lines).real.clamp(0, 1), hr).isfinite().all()


def test_contrast_is_the_slope_whatever_the_shift_and_blur(hr: Tensor, lr: Tensor, sr: Tensor) -> None:
    torch.testing.assert_close(contrast(0.9 * hr + 0.05, hr, lr), torch.full((3,), 0.9), atol=1e-4, rtol=0)
    distorted = moved(blurred(0.8 * hr, 1.0), 1.0, -2.0)
    torch.testing.assert_close(contrast(distorted, hr, lr), torch.full((3,), 0.8), atol=0.02, rtol=0)
    torch.testing.assert_close(contrast(sr, hr, lr), torch.ones(3), atol=0.02, rtol=0)


@pytest.mark.parametrize("sd", [0.01, 0.03])
def test_noise_is_that_which_was_added(hr: Tensor, lr: Tensor, sd: float) -> None:
    clean = 0.6 * hr + 0.2  # away from where clamping would cut it
    for image in (clean, blurred(clean, 1.0)):
        torch.testing.assert_close(noise(grain(image, sd), hr, lr), torch.full((3,), sd), atol=0, rtol=0.15)


def test_a_restoration_has_little_noise(hr: Tensor, lr: Tensor, sr: Tensor) -> None:
    assert (noise(sr, hr, lr) < 0.01).all()
    assert (noise(hr, hr, lr) < 1e-6).all()


class TestDetail:
    def test_is_the_correlation_over_the_rings_beyond_lr(self, hr: Tensor, lr: Tensor) -> None:
        """With `ring_correlation`, HR's power as the weight; noise moves the image by less than 0.01 px."""
        image = grain(0.6 * hr + 0.2, 0.01)
        window = torch.hann_window(258, periodic=False, dtype=torch.float64)[1:-1]
        centred = [one.double() - one.double().mean(dim=(2, 3), keepdim=True) for one in (image, hr)]
        mine, true = (one[:, 0] * window[:, None] * window for one in centred)
        curves = ring_correlation(ring_powers(mine), ring_powers(true))[:, 33:65]
        radius = torch.hypot(torch.fft.fftfreq(256, 1 / 256)[:, None], torch.fft.fftfreq(256, 1 / 256)).round()
        power = torch.fft.fft2(true).abs().square()
        weights = torch.stack([power[:, radius == ring].sum(dim=1) for ring in range(33, 65)], dim=1)
        expected = (curves * weights).sum(dim=1) / weights.sum(dim=1)
        torch.testing.assert_close(detail_frc(image, hr, lr), expected.float(), atol=1e-3, rtol=0)

    def test_of_hr_distorted_is_known(self, hr: Tensor, lr: Tensor) -> None:
        for image in (hr, 0.8 * hr + 0.1, blurred(hr, 1.0), moved(hr, 0.0, 1.0), grain(0.6 * hr + 0.2, 5e-4)):
            assert (detail_frc(image, hr, lr) > 0.98).all()

    def test_of_a_restoration_is_a_guess(self, hr: Tensor, lr: Tensor, sr: Tensor) -> None:
        assert (detail_frc(sr, hr, lr) < 0.7).all()

    def test_of_an_lr_as_large_as_hr_there_is_none(self, hr: Tensor) -> None:
        assert detail_frc(hr, hr, hr).isnan().all()


def test_small_lr_images_tell_no_place(hr: Tensor, sr: Tensor) -> None:
    small, restored = hr[..., :60, :60], sr[..., :60, :60]
    for measure in (shift, contrast, noise):
        assert measure(restored, small, X4.apply(small)).isnan().all()
    assert detail_frc(restored, small, X4.apply(small)).isfinite().all()


@pytest.mark.parametrize("measure", [shift, contrast, noise, detail_frc])
def test_an_lr_of_another_shape_is_refused(measure: object, hr: Tensor) -> None:
    with pytest.raises(InputError, match="a whole number of times smaller"):
        measure(hr, hr, hr[..., :60, :64])  # type: ignore[operator]
    with pytest.raises(InputError, match="a whole number of times smaller"):
        measure(hr[..., :64, :64], hr[..., :64, :64], hr)  # type: ignore[operator]

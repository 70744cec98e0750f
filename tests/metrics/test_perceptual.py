from collections.abc import Callable

import numpy as np
import piq
import pytest
import torch
from scipy.ndimage import correlate
from scipy.signal import convolve2d
from torch import Tensor
from torchmetrics.functional.image import visual_information_fidelity

from latentsr.metrics import METRICS
from latentsr.metrics.perceptual import gmsd, haarpsi, saliency, vif, vsi

Pairs = dict[str, tuple[Tensor, Tensor]]
Measure = Callable[[Tensor, Tensor], Tensor]
haarpsi_med, haarpsi_published, haarpsi_med_published, gmsd_published = (
    METRICS[name] for name in ("haarpsi_med", "haarpsi_published", "haarpsi_med_published", "gmsd_published")
)
AVERAGED = [(haarpsi, haarpsi_published), (haarpsi_med, haarpsi_med_published), (gmsd, gmsd_published)]
averaged_measures = pytest.mark.parametrize(("averaged", "published"), AVERAGED)


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
        found = haarpsi_published(sr, hr)
        np.testing.assert_allclose(found, piq.haarpsi(sr, hr, data_range=1.0, reduction="none"), rtol=1e-5)
        np.testing.assert_allclose(found, values_of(haarpsi_of_the_paper, sr, hr), rtol=1e-4)


def test_haarpsi_with_medical_constants_equals_piq(pairs: Pairs) -> None:
    for sr, hr in pairs.values():
        second = piq.haarpsi(sr, hr, data_range=1.0, reduction="none", c=5.0, alpha=4.9)
        np.testing.assert_allclose(haarpsi_med_published(sr, hr), second, rtol=1e-5)


def test_gmsd_equals_piq_and_the_paper(pairs: Pairs) -> None:
    for sr, hr in pairs.values():
        found = gmsd_published(sr, hr)
        np.testing.assert_allclose(found, piq.gmsd(sr, hr, data_range=1.0, reduction="none"), rtol=1e-5)
        np.testing.assert_allclose(found, values_of(gmsd_of_the_paper, sr, hr), rtol=1e-4)


@pytest.mark.parametrize(("averaged", "paper"), [(haarpsi, haarpsi_of_the_paper), (gmsd, gmsd_of_the_paper)])
def test_the_mean_over_the_grid_is_that_of_the_cropped_images(averaged: Measure, paper: Measure, pairs: Pairs) -> None:
    for sr, hr in pairs.values():
        crops = [(..., slice(top, None), slice(left, None)) for top in (0, 1) for left in (0, 1)]
        expected = np.mean([values_of(paper, sr[crop], hr[crop]) for crop in crops], axis=0)
        np.testing.assert_allclose(averaged(sr, hr), expected, rtol=1e-4)


@averaged_measures
def test_detail_locked_to_the_grid_is_seen_on_every_grid(
    averaged: Measure, published: Measure, grid_locked: tuple[Tensor, ...]
) -> None:
    """What is published praises it beyond bicubic, until all are cropped by a pixel; the mean over the grid never."""
    sign = -1 if averaged is gmsd else 1

    def gain(measure: Measure, crop: int) -> Tensor:
        planted, bicubic, hr = (image[..., crop:, crop:] for image in grid_locked)
        return sign * (measure(planted, hr) - measure(bicubic, hr))

    assert (gain(published, 0) > 0).all()
    assert (gain(published, 1) < 0).all()
    for crop in (0, 1):
        assert (gain(averaged, crop) < 0).all()
    turned = gain(published, 0) - gain(published, 1)
    assert ((gain(averaged, 0) - gain(averaged, 1)).abs() < 0.02 * turned).all()


def test_identical_images(hr: Tensor) -> None:
    for measure in (haarpsi, haarpsi_med, haarpsi_published, haarpsi_med_published):
        torch.testing.assert_close(measure(hr, hr), torch.ones(3), rtol=0, atol=1e-4)
    for measure in (gmsd, gmsd_published):
        assert measure(hr, hr).tolist() == [0.0] * 3


@averaged_measures
def test_a_crop_by_a_pixel_changes_little(averaged: Measure, published: Measure, sr: Tensor, hr: Tensor) -> None:
    cropped = (sr[..., 1:, 1:], hr[..., 1:, 1:])
    torch.testing.assert_close(averaged(*cropped), averaged(sr, hr), rtol=5e-3, atol=0)
    assert not torch.allclose(published(*cropped), published(sr, hr), rtol=5e-3, atol=0)


def test_black_images_have_no_haarpsi(hr: Tensor) -> None:
    black = torch.zeros_like(hr)
    assert haarpsi(black, black).isnan().all()
    assert haarpsi(black, hr).isfinite().all()


@averaged_measures
def test_images_too_small_have_no_value(averaged: Measure, published: Measure, sr: Tensor, hr: Tensor) -> None:
    side = 6 if averaged is gmsd else 16  # of each of the four crops, so that the mean takes a pixel more
    for measure, least in ((published, side), (averaged, side + 1)):
        inside = (..., slice(100, 100 + least), slice(100, 100 + least))
        assert measure(sr[inside], hr[inside]).isfinite().all()
        assert measure(sr[inside][..., 1:, :], hr[inside][..., 1:, :]).isnan().all()


def test_vif_equals_piq_and_torchmetrics(pairs: Pairs) -> None:
    for sr, hr in pairs.values():
        exact = piq.vif_p(sr[:1].double(), hr[:1].double(), data_range=1.0, reduction="none")
        np.testing.assert_allclose(vif(sr.double(), hr.double())[0], exact[0] if exact.ndim else exact, rtol=1e-9)
        np.testing.assert_allclose(vif(sr, hr)[0], exact[0] if exact.ndim else exact, rtol=5e-4)
        second = visual_information_fidelity(sr[:1] * 255, hr[:1] * 255)
        np.testing.assert_allclose(vif(sr, hr)[0], second, rtol=5e-4)


def test_identical_images_carry_all_and_more_contrast_carries_more(hr: Tensor) -> None:
    np.testing.assert_allclose(vif(hr, hr), 1, rtol=1e-5)
    assert (vif((0.5 * hr) * 1.5, 0.5 * hr) > 1).all()


def test_a_constant_hr_has_nothing_to_carry(hr: Tensor) -> None:
    assert vif(hr, torch.full_like(hr, 0.5)).isnan().all()
    assert vif(hr[..., :40], hr[..., :40]).isnan().all()


@pytest.mark.filterwarnings("ignore:The original VSI supports only RGB")
def test_vsi_equals_piq_up_to_its_prior_for_colours(pairs: Pairs) -> None:
    large = {"large": tuple(image.repeat(1, 1, 2, 2)[:1, :, :450, :400] for image in pairs["abdomen"])}
    for sr, hr in (pairs | large).values():
        second = piq.vsi(sr, hr, data_range=1.0, reduction="none")
        np.testing.assert_allclose(vsi(sr, hr), second.reshape(-1), atol=2e-4)


def test_vsi_of_identical_images(hr: Tensor) -> None:
    np.testing.assert_allclose(vsi(hr, hr), 1, rtol=1e-6)


def test_saliency_spans_zero_to_one_and_finds_the_bright_spot(hr: Tensor) -> None:
    image = torch.zeros_like(hr[:1])
    image[..., 100:120, 140:160] = 1
    found = saliency(image)
    assert (found.min(), found.max()) == (0, pytest.approx(1))
    row, column = divmod(int(found.argmax()), 256)
    assert 90 < row < 130
    assert 130 < column < 170


def test_constant_images_have_no_value(hr: Tensor) -> None:
    constant = torch.full_like(hr, 0.4)
    assert vsi(constant, constant).isnan().all()
    assert vsi(hr[..., :2], hr[..., :2]).isnan().all()

import numpy as np
import pytest
import torch
from torch import Tensor

from latentsr.degrade import enlarge, parse_degradation, project
from latentsr.errors import InputError
from latentsr.metrics import METRICS
from latentsr.metrics.hallucination import (
    SIGMAS,
    hallucinated,
    hallucinated_magnitude,
    hallucination_maps,
    lost,
    lost_magnitude,
    noise_thresholds,
    null_space,
    null_space_share,
)

X4 = parse_degradation("bicubic:4")


def hand_made() -> tuple[Tensor, Tensor]:
    """HR of 0.5 and an SR with 1 pixel 0.3 and 2 pixels 0.1 above it, and 4 pixels 0.2 below, of 100."""
    hr = torch.full((1, 1, 10, 10), 0.5)
    sr = hr.clone()
    sr[0, 0, 0, :7] += torch.tensor([0.3, 0.1, 0.1, -0.2, -0.2, -0.2, -0.2])
    return sr, hr


def test_shares_and_magnitudes_of_a_case_by_hand() -> None:
    sr, hr = hand_made()
    threshold = torch.tensor([[0.05, 0.15, 0.25]])
    np.testing.assert_allclose(hallucinated(sr, hr, threshold), [[0.03, 0.01, 0.01]], rtol=1e-6)
    np.testing.assert_allclose(lost(sr, hr, threshold), [[0.04, 0.04, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(hallucinated_magnitude(sr, hr, threshold), [[0.5 / 3, 0.3, 0.3]], rtol=1e-6)
    np.testing.assert_allclose(lost_magnitude(sr, hr, threshold), [[0.2, 0.2, np.nan]], rtol=1e-6)


def test_thresholds_are_mean_and_population_sd(sr: Tensor, hr: Tensor) -> None:
    error = np.abs((sr - hr).numpy()[:, 0].astype(np.float64))
    for number, k in enumerate(SIGMAS):
        expected = error.mean(axis=(1, 2)) + k * error.std(axis=(1, 2))
        np.testing.assert_allclose(noise_thresholds(sr, hr)[:, number], expected, rtol=1e-5)
        np.testing.assert_allclose(noise_thresholds(sr, hr, (k,))[:, 0], expected, rtol=1e-5)


def test_maps_average_to_the_shares(sr: Tensor, hr: Tensor) -> None:
    threshold = noise_thresholds(sr, hr)
    more, less = hallucination_maps(sr, hr, threshold[:, 1])
    np.testing.assert_allclose(more.float().mean(dim=(1, 2, 3)), hallucinated(sr, hr, threshold)[:, 1], rtol=1e-6)
    np.testing.assert_allclose(less.float().mean(dim=(1, 2, 3)), lost(sr, hr, threshold)[:, 1], rtol=1e-6)


def test_what_is_invented_in_one_is_lost_in_the_other(sr: Tensor, hr: Tensor) -> None:
    threshold = noise_thresholds(sr, hr)
    assert torch.equal(hallucinated(sr, hr, threshold), lost(hr, sr, threshold))
    assert hallucinated(hr, hr, threshold).tolist() == [[0.0] * 3] * 3


def test_thresholds_of_other_images_are_refused(sr: Tensor, hr: Tensor) -> None:
    with pytest.raises(InputError, match=r"expected \(batch, sigmas\)"):
        hallucinated(sr, hr, torch.zeros(2, 3))


def test_all_that_a_projected_sample_adds_to_a_projected_mean_is_null_space(sr: Tensor, hr: Tensor) -> None:
    lr = X4.apply(hr.double())
    mean, sample = (project(image.double(), lr, X4) for image in (sr, 0.5 * sr + 0.5 * hr))
    np.testing.assert_allclose(null_space_share(sample.clamp(0, 1), mean, X4), 1, atol=0.01)
    difference = (sample - mean).square().mean(dim=(1, 2, 3)).sqrt()
    np.testing.assert_allclose(null_space(sample.clamp(0, 1), mean, X4), difference, rtol=0.05)


def test_what_lr_determines_is_no_null_space(sr: Tensor, hr: Tensor) -> None:
    change = X4.pinv(X4.apply(hr.double())) * 0.1
    mean = 0.5 * sr.double()
    np.testing.assert_allclose(null_space((mean + change).clamp(0, 1), mean, X4), 0, atol=2e-3)
    part = (0.05 * torch.sin(torch.arange(256.0) * 3.1)).expand_as(hr).double()
    part = part - X4.pinv(X4.apply(part))
    found = null_space((mean + 0.2 + part).clamp(0, 1), mean + 0.2, X4)
    np.testing.assert_allclose(found, part.square().mean(dim=(1, 2, 3)).sqrt(), rtol=1e-6)


def test_parts_add_up_as_squares(sr: Tensor, hr: Tensor) -> None:
    """The null space is orthogonal to what LR determines (Pythagoras)."""
    mean = enlarge(X4.apply(hr), 4) * 0.9
    difference = (sr - mean).double()
    determined = X4.pinv(X4.apply(difference)).square().mean(dim=(1, 2, 3))
    total = difference.square().mean(dim=(1, 2, 3))
    np.testing.assert_allclose(null_space(sr, mean, X4).double().square() + determined, total, rtol=1e-5)


def test_a_mean_of_another_size_is_refused(hr: Tensor) -> None:
    with pytest.raises(InputError, match="must be alike"):
        null_space(hr, hr[..., :128], X4)
    assert null_space_share(hr, hr, X4).isnan().all()


def test_the_noise_floor_is_the_threshold_whatever_is_restored(hr: Tensor) -> None:
    floors = noise_thresholds((hr + 0.05).clamp(0, 1), hr)
    for sr in (hr, hr.flip(-1)):
        assert torch.equal(METRICS["noise_floor"](sr, hr, threshold=floors), floors)
    assert not METRICS["noise_floor"].compared

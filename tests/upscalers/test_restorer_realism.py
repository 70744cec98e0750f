import pytest
import torch
from torch import Tensor

from latentsr.upscalers.restorer import BANDS, PACKET, band_weights, between, fit_calibration

GENERATOR_SEED = 0


def noise(n: int = 24, side: int = 32) -> Tensor:
    return torch.randn(n, 1, side, side, generator=torch.Generator().manual_seed(GENERATOR_SEED))


@pytest.mark.parametrize("realism", [0.0, 0.1, 0.3, 0.7, 1.0])
def test_finer_bands_are_never_let_in_less(realism: float) -> None:
    weights = band_weights(realism).flatten().reshape(4, 4)
    assert weights.min() >= 0
    assert weights.max() <= 1
    by_fineness = [weights[0, 0], weights[1, 1], weights[2, 2], weights[3, 3]]
    assert by_fineness == sorted(by_fineness)
    assert torch.equal(weights, weights.T)


def test_the_ends_of_the_dial_are_the_mean_and_the_sample() -> None:
    mean, sample = noise()[:2], noise()[2:4]
    assert torch.equal(between(mean, sample, 0.0, None), mean)
    assert torch.allclose(between(mean, sample, 1.0, None), sample, atol=1e-6)


def test_the_dial_lets_the_finest_pattern_in_first() -> None:
    mean = torch.zeros(1, 1, 16, 16)
    checkers = (torch.arange(16)[:, None] + torch.arange(16)[None]) % 2 * 2.0 - 1
    blocks = torch.ones(16, 16)
    assert torch.allclose(between(mean, checkers[None, None], 0.05, None)[0, 0], checkers, atol=1e-6)
    assert torch.allclose(between(mean, blocks[None, None], 0.05, None)[0, 0], 0.05 * blocks, atol=1e-6)


def test_sides_that_are_no_multiple_of_four_keep_their_size() -> None:
    mean, sample = noise(side=13)[:2, :, :, :10], noise(side=13)[2:4, :, :, :10]
    assert torch.allclose(between(mean, sample, 1.0, None), sample, atol=1e-6)


def test_calibrated_distances_are_as_large_as_the_errors() -> None:
    """Errors whose sd is half again the spread's square root in every image: the gain finds both slope and size."""
    sizes = torch.logspace(-2, 0, 24)[:, None, None, None]
    distances = sizes * noise()
    errors = 0.3 * sizes.sqrt() * noise().flip(0).roll(1, dims=0)
    calibration = fit_calibration(errors, distances)
    assert calibration.slope == pytest.approx([0.5] * BANDS, abs=0.1)
    gained = between(torch.zeros_like(distances), distances, 1.0, calibration)
    power = [PACKET.encode(images).square().mean(dim=(0, 2, 3)) for images in (gained, errors)]
    assert power[0].tolist() == pytest.approx(power[1].tolist(), rel=0.25)


def test_no_spread_stays_no_spread() -> None:
    calibration = fit_calibration(noise(), 0.5 * noise().flip(0))
    mean = noise()[:2]
    assert torch.equal(between(mean, mean, 1.0, calibration), mean)


def test_gains_multiply_the_bands_of_their_fineness() -> None:
    gains, sample = (0.5, 0.75, 1.5, 0.25), noise(2, 16)
    made = between(torch.zeros_like(sample), sample, 1.0, None, gains)
    weights = torch.tensor([gains[max(i, j)] for i in range(4) for j in range(4)])[:, None, None]
    torch.testing.assert_close(PACKET.encode(made), weights * PACKET.encode(sample), atol=1e-5, rtol=1e-4)
    for realism in (0.0, 0.3):
        torch.testing.assert_close(band_weights(realism, gains), weights * band_weights(realism))

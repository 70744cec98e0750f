import numpy as np
import pytest
import torch
from torch import Tensor

from latentsr.metrics.frequency import ring_correlation, sfrc_rate


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


def test_ring_correlation_equals_the_sum_over_rings(sr: Tensor, hr: Tensor) -> None:
    a, b = sr[0, 0, 64:128, 64:128].double(), hr[0, 0, 64:128, 64:128].double()
    np.testing.assert_allclose(ring_correlation(a, b), correlation_by_hand(a.numpy(), b.numpy()), rtol=1e-9)


def test_empty_spectra_agree_with_each_other_alone() -> None:
    wave = torch.cos(torch.arange(64) * torch.pi / 4).expand(64, 64).double()
    assert ring_correlation(0 * wave, 0 * wave).tolist() == [1.0] * 32
    assert ring_correlation(wave, 0 * wave)[8] == 0
    assert ring_correlation(wave, -wave)[8] == pytest.approx(-1)


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

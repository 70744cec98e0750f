import math

import pytest
import torch

from latentsr.device import SliceId, resolve_device
from latentsr.errors import OptionError


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    count = request.param
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("gpus", "asked", "given"),
    [
        (0, "auto", "cpu"),
        (2, "auto", "cuda"),
        (0, "cpu", "cpu"),
        (2, "cpu", "cpu"),
        (2, "cuda", "cuda"),
        (2, "cuda:1", "cuda:1"),
    ],
    indirect=["gpus"],
)
def test_the_device_that_was_asked_for(gpus: None, asked: str, given: str) -> None:
    assert resolve_device(asked) == given


@pytest.mark.parametrize(
    ("gpus", "asked", "message"),
    [
        (0, "cuda", "torch finds no GPU; choose the device cpu"),
        (0, "tpu", "expected auto, cpu or cuda"),
        (2, "", "expected auto, cpu or cuda"),
        (2, "cuda:", "expected auto, cpu or cuda"),
        (2, "cpu:zz", "expected auto, cpu or cuda"),
        (2, "cuda:-1", "expected auto, cpu or cuda"),
        (2, "cuda:2", "expected one of cuda:0 to cuda:1"),
    ],
    indirect=["gpus"],
)
def test_never_another_device_than_was_asked_for(gpus: None, asked: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        resolve_device(asked)


def _drawn(place: float, seed: int = 0, draw: int = 0, volume: str = "v") -> torch.Tensor:
    mixture = SliceId("id", volume, place).mixture(seed, draw)
    return sum(share * torch.randn(20_000, generator=one) for share, one in mixture)


def test_noise_of_a_slice_is_standard_normal_at_every_place() -> None:
    for place in (-1.3, 0, 0.25, 0.5, 0.999, 7):
        assert _drawn(place).std() == pytest.approx(1, abs=0.02)
        assert sum(share**2 for share, _ in SliceId("", "v", place).mixture(0, 0)) == pytest.approx(1)


def test_near_slices_share_their_noise_and_far_ones_none() -> None:
    def shared(one: torch.Tensor, other: torch.Tensor) -> float:
        return float((one * other).mean())

    assert shared(_drawn(0.5), _drawn(0.5)) == pytest.approx(1, abs=0.03)
    assert shared(_drawn(0.2), _drawn(0.4)) == pytest.approx(math.cos(0.1 * math.pi), abs=0.03)
    assert shared(_drawn(0.9), _drawn(1.1)) > 0.9
    for other in (_drawn(2.5), _drawn(0.5, seed=1), _drawn(0.5, draw=1), _drawn(0.5, volume="w")):
        assert abs(shared(_drawn(0.5), other)) < 0.03


def test_the_noise_of_a_place_does_not_hang_on_rounding() -> None:
    assert torch.allclose(_drawn(0.1 * 3 * 10), _drawn(3), atol=1e-4)
    assert torch.allclose(_drawn(2.9999999), _drawn(3), atol=1e-4)

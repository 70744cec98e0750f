import pytest
import torch

from latentsr.device import resolve_device
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

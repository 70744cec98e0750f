from pathlib import Path

import pytest
import torch

from latentsr.errors import OptionError
from latentsr.training.trainer import Budget, LastCheckpoint, _chosen, make_trainer


def test_one_gpu_by_its_number_or_several_by_their_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert _chosen("cuda:2", 1) == [2]
    assert _chosen("cuda", 3) == 3
    assert _chosen("cpu", 2) == 2
    with pytest.raises(OptionError, match="device cuda:2 with devices 3: set the option device to cuda"):
        _chosen("cuda:2", 3)
    with pytest.raises(OptionError, match=r"devices 5: torch finds 4 GPU\(s\)"):
        _chosen("cuda", 5)


@pytest.mark.parametrize("device", ["cuda", "tpu"])
def test_a_device_that_is_not_there_is_one_line(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(OptionError, match=f"device {device}"):
        make_trainer(
            tmp_path,
            Budget(1, None),
            [],
            LastCheckpoint(tmp_path, {}),
            report=lambda *told: None,
            clip=0.0,
            device=device,
        )
    assert list(tmp_path.iterdir()) == []

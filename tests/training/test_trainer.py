from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from latentsr.errors import InputError, OptionError, StaleError
from latentsr.training.trainer import (
    Budget,
    Ema,
    LastCheckpoint,
    TrainingConfig,
    TrainingProgress,
    make_trainer,
    silent,
)

OPTIONS = TrainingConfig(batch=1, steps=1, weight_decay=0, validate_every=1, precision="float32")


def trainer_of(out: Path, device: str, devices: int = 1) -> object:
    checkpoint = LastCheckpoint(out, {})
    return make_trainer(
        out, OPTIONS, Budget(1, None), Ema(0.9), checkpoint, report=print, device=device, devices=devices
    )


def test_one_gpu_by_its_number_or_several_by_their_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr("latentsr.training.trainer.resolve_device", lambda device: device)
    monkeypatch.setattr("latentsr.training.trainer.Trainer", dict)
    chosen = {("cuda:2", 1): ("gpu", [2]), ("cuda", 3): ("gpu", 3), ("cpu", 2): ("cpu", 2)}
    for given, expected in chosen.items():
        made = trainer_of(tmp_path, *given)
        assert (made["accelerator"], made["devices"]) == expected
    with pytest.raises(OptionError, match="device cuda:2 with devices 3: set the option device to cuda"):
        trainer_of(tmp_path, "cuda:2", 3)
    with pytest.raises(OptionError, match=r"devices 5: torch finds 4 GPU\(s\)"):
        trainer_of(tmp_path, "cuda", 5)


@pytest.mark.parametrize("device", ["cuda", "tpu"])
def test_a_device_that_is_not_there_is_one_line(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(OptionError, match=f"device {device}"):
        trainer_of(tmp_path, device)
    assert list(tmp_path.iterdir()) == []


def test_share_of_steps() -> None:
    budget = Budget(steps=10, minutes=None)
    assert [budget.share(step) for step in (0, 5, 10, 12)] == [0.0, 0.5, 1.0, 1.0]


def test_whichever_ends_first_counts_and_earlier_runs_count_too() -> None:
    budget = Budget(steps=100, minutes=2)
    budget.load_state_dict({"elapsed": 90.0})
    assert budget.share(10) == 0.75
    assert budget.share(90) == 0.9
    assert budget.state_dict() == {"elapsed": 90.0}


def test_learning_rate_rises_then_falls_to_a_hundredth() -> None:
    budget = Budget(steps=1000, minutes=None)
    rates = [budget.learning_rate(step) for step in range(1001)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[100] == pytest.approx(max(rates), rel=0.02)
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[1000] == pytest.approx(0.01)


def test_a_training_without_end_is_refused() -> None:
    with pytest.raises(OptionError, match="option steps or minutes"):
        Budget(steps=None, minutes=None)


def test_what_is_reserved_is_a_quarter_of_the_minutes_at_most_and_none_of_the_steps() -> None:
    budget = Budget(steps=None, minutes=2)
    budget.load_state_dict({"elapsed": 45.0})
    assert budget.share(1) == 45 / 120
    budget.reserve(20)
    assert budget.share(1) == 45 / 100
    budget.reserve(1000)
    assert budget.share(1) == 45 / 90
    assert budget.left() == 75
    budget = Budget(steps=10, minutes=None)
    budget.reserve(1000)
    assert (budget.share(5), budget.left()) == (0.5, float("inf"))


def written(checkpoint: LastCheckpoint, value: float = 0.0) -> None:
    """As at the end of an epoch."""

    def save(path: Path) -> None:
        torch.save({"a": torch.full((9,), value)}, path)

    checkpoint.path.parent.mkdir(exist_ok=True)
    trainer = SimpleNamespace(save_checkpoint=save, is_global_zero=True)
    checkpoint.on_train_epoch_end(cast(Trainer, trainer), cast(LightningModule, torch.nn.Linear(1, 1)))


def test_a_whole_checkpoint_is_found_and_a_cut_one_is_one_line(tmp_path: Path) -> None:
    checkpoint = LastCheckpoint(tmp_path, {})
    assert checkpoint.found() is None
    written(checkpoint)
    assert LastCheckpoint(tmp_path, {}).found() == checkpoint.path
    whole = checkpoint.path.read_bytes()
    for place in (0, 100, len(whole) // 2, len(whole) - 1):
        checkpoint.path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(InputError, match=r"last\.ckpt: cut off or altered; remove it"):
            LastCheckpoint(tmp_path, {}).found()
    for content in (whole[:-40], b""):
        checkpoint.path.write_bytes(content)
        with pytest.raises(InputError, match=r"last\.ckpt: cut off or altered; remove it"):
            LastCheckpoint(tmp_path, {}).found()
    checkpoint.path.write_bytes(whole)
    checkpoint.hashes.unlink()
    with pytest.raises(InputError, match="cut off or altered"):
        LastCheckpoint(tmp_path, {}).found()


def test_a_kill_between_the_hashes_and_the_checkpoint_leaves_one_that_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = LastCheckpoint(tmp_path, {})
    written(checkpoint)
    before = checkpoint.path.read_bytes()

    def killed(self: Path, target: Path) -> None:
        if target == checkpoint.path:
            raise KeyboardInterrupt
        rename(self, target)

    rename = Path.replace
    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(Path, "replace", killed)
        written(checkpoint, 1.0)
    assert LastCheckpoint(tmp_path, {}).found().read_bytes() == before
    written(checkpoint, 1.0)
    assert LastCheckpoint(tmp_path, {}).found().read_bytes() != before


def test_the_checkpoint_of_another_training_is_stale_unless_it_is_extended(tmp_path: Path) -> None:
    module, trainer = cast(LightningModule, None), cast(Trainer, None)
    held: dict = {}
    LastCheckpoint(tmp_path, {"steps": 8}).on_save_checkpoint(trainer, module, held)
    LastCheckpoint(tmp_path, {"steps": 8}).on_load_checkpoint(trainer, module, held)
    LastCheckpoint(tmp_path, {"steps": 16}, earlier={"steps": 8}).on_load_checkpoint(trainer, module, held)
    with pytest.raises(StaleError, match=r"last\.ckpt: was made with other options or other data"):
        LastCheckpoint(tmp_path, {"steps": 16}).on_load_checkpoint(trainer, module, held)


def reported(budget: Budget, *steps: int, first: bool = True) -> list[tuple[int, int, str]]:
    found: list[tuple[int, int, str]] = []
    progress = TrainingProgress(budget, lambda *told: found.append(told))
    for step in steps:
        told = SimpleNamespace(is_global_zero=first, global_step=step, progress_bar_metrics={"loss": 0.25})
        progress.on_train_batch_end(cast(Trainer, told), cast(LightningModule, None), None, None, 0)
    return found


def test_steps_are_told_with_the_loss_and_the_last_one_always() -> None:
    assert reported(Budget(10, None), 5, 6, 10) == [(5, 10, "loss 0.25"), (10, 10, "loss 0.25")]
    assert reported(Budget(10, None), 5, first=False) == []


def test_minutes_are_told_as_the_steps_that_they_will_make() -> None:
    budget = Budget(None, 1)
    budget.load_state_dict({"elapsed": 15})
    assert reported(budget, 5) == [(5, 20, "loss 0.25")]


def test_silence_takes_what_a_progress_takes() -> None:
    with silent("train", unit="steps", resumes=True) as report:
        report(1, 2, "loss 0.25")

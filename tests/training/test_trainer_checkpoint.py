from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from latentsr.errors import InputError, StaleError
from latentsr.training.trainer import LastCheckpoint


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

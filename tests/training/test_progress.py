import io
import sys
from types import SimpleNamespace
from typing import cast

import pytest
from lightning.pytorch import LightningModule, Trainer

from latentsr.training.budget import Budget
from latentsr.training.progress import TrainingProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(progress: TrainingProgress) -> None:
    trainer = cast(Trainer, SimpleNamespace(is_global_zero=True, global_step=5, progress_bar_metrics={"loss": 0.25}))
    module = cast(LightningModule, None)
    progress.on_train_start(trainer, module)
    progress.on_train_batch_end(trainer, module, None, None, 0)
    progress.on_train_end(trainer, module)


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    run(TrainingProgress(Budget(10, None), "fit-vae"))
    assert "fit-vae, step 5, loss 0.25" in sys.stderr.getvalue()
    assert "50%" in sys.stderr.getvalue()


def test_a_pipe_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    run(TrainingProgress(Budget(10, None), "fit-vae"))
    assert sys.stderr.getvalue() == ""

"""The training progress bar: share done, time left and the last loss on a terminal; silence in a pipe."""

# ruff: noqa: ARG002 (Lightning fixes the arguments of its hooks)

import sys
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from latentsr.training.budget import Budget


class TrainingProgress(Callback):
    """One bar over the whole training, on standard error, only where that is a terminal."""

    def __init__(self, budget: Budget, title: str) -> None:
        self.budget = budget
        self.title = title
        self._bar: Progress | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the bar in the first process of a run."""
        if trainer.is_global_zero and sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._bar.add_task(self.title, total=1000, completed=self._done(trainer))
            self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves the bar."""
        if self._bar is None:
            return
        text = f"{self.title}, step {trainer.global_step}, {_scores(trainer)}".rstrip(", ")
        self._bar.update(self._bar.task_ids[0], completed=self._done(trainer), description=text)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Closes the bar."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Closes the bar, so that the error's line stands by itself."""
        self._close()

    def _done(self, trainer: Trainer) -> int:
        return int(1000 * self.budget.share(trainer.global_step))

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _scores(trainer: Trainer) -> str:
    scores = {name: float(torch.as_tensor(value)) for name, value in trainer.progress_bar_metrics.items()}
    return ", ".join(f"{name} {value:.4g}" for name, value in scores.items())

"""How a training tells how far it is: step, steps to come and the last loss, to whoever shows them."""

# ruff: noqa: ARG002 (Lightning fixes the arguments of its hooks)

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from latentsr.training.budget import Budget

Report = Callable[..., None]  # (done, total, note)
Progress = Callable[..., AbstractContextManager[Report]]  # (title, unit=, resumes=), such as terminal.progress
EVERY = 0.5  # seconds between reports: each waits for the GPU


@contextmanager
def silent(*_: object, **__: object) -> Iterator[Report]:
    """A Progress that shows nothing."""
    yield lambda done, total, note="": None


class TrainingProgress(Callback):
    """Calls `report` with the step, the number of steps as far as it is known, and the last scores."""

    def __init__(self, budget: Budget, report: Report) -> None:
        self.budget = budget
        self.report = report
        self._last = -EVERY

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Reports, in the first process of a run, at most twice a second and at the end."""
        step, share = trainer.global_step, self.budget.share(trainer.global_step)
        if trainer.is_global_zero and (time.monotonic() - self._last >= EVERY or share >= 1):
            self._last = time.monotonic()
            self.report(step, max(step, round(step / share)) if share else step, _scores(trainer))


def _scores(trainer: Trainer) -> str:
    scores = {name: float(torch.as_tensor(value)) for name, value in trainer.progress_bar_metrics.items()}
    return ", ".join(f"{name} {value:.4g}" for name, value in scores.items())

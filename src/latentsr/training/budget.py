"""How long a training runs: a number of steps, of minutes, or whichever ends first."""

# ruff: noqa: ARG002 (Lightning fixes the arguments of its hooks)

import math
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from latentsr.errors import OptionError

MOST_RESERVED = 0.25  # of the minutes


class Budget(Callback):
    """Stops the training when its steps or minutes are spent, and tells what share of it is done.

    Minutes count over all runs of a training that was killed and resumed: the time spent is in the checkpoint.
    """

    def __init__(self, steps: int | None, minutes: float | None) -> None:
        if steps is None and minutes is None:
            raise OptionError("neither steps nor minutes given: say how long to train by the option steps or minutes")
        self.steps = steps
        self.seconds = None if minutes is None else 60 * minutes
        self._reserved = 0.0
        self._earlier = 0.0
        self._begin: float | None = None

    def elapsed(self) -> float:
        """Seconds of training so far, earlier runs included."""
        return self._earlier + (0.0 if self._begin is None else time.monotonic() - self._begin)

    def reserve(self, seconds: float) -> None:
        """Keeps so much of the minutes, a quarter at most, for what comes after the training."""
        self._reserved = 0.0 if self.seconds is None else min(seconds, MOST_RESERVED * self.seconds)

    def left(self) -> float:
        """Seconds of the minutes that are left, what is reserved included; infinite without minutes."""
        return math.inf if self.seconds is None else self.seconds - self.elapsed()

    def share(self, step: int) -> float:
        """The part of the training that is done after `step` steps, 0 to 1."""
        by_steps = 0.0 if self.steps is None else step / self.steps
        by_time = 0.0 if self.seconds is None else self.elapsed() / (self.seconds - self._reserved)
        return min(1.0, max(by_steps, by_time))

    def learning_rate(self, step: int, *, warmup: int = 100) -> float:
        """The factor on the learning rate: a linear rise, then half a cosine down to 0.01.

        The rise takes `warmup` steps, or a tenth of the training where that is less.
        """
        warmup = warmup if self.steps is None else min(warmup, self.steps // 10)
        rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
        return rise * (0.01 + 0.99 * (1 + math.cos(math.pi * self.share(step))) / 2)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._begin = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ends the training after this step if the budget is spent; all processes of a run decide together."""
        spent = self.share(trainer.global_step) >= 1
        trainer.should_stop = trainer.should_stop or trainer.strategy.reduce_boolean_decision(spent, all=False)

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint keeps."""
        return {"elapsed": self.elapsed()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up what `state_dict` gave."""
        self._earlier = state_dict["elapsed"]

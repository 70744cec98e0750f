from types import SimpleNamespace
from typing import cast

from lightning.pytorch import LightningModule, Trainer

from latentsr.training.trainer import Budget, TrainingProgress, silent


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

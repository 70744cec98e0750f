"""The Lightning Trainer as both trainings use it: epochs of a fixed number of steps, resumed at the last one."""

import logging
import pickle
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader, Dataset

from latentsr.device import resolve_device
from latentsr.errors import InputError, OptionError
from latentsr.training.batches import StepBatches
from latentsr.training.budget import Budget
from latentsr.training.checkpoint import LastCheckpoint
from latentsr.training.progress import Report, TrainingProgress

Precision = Literal["auto", "float32", "bfloat16"]


def make_trainer(
    out: Path,
    budget: Budget,
    callbacks: Sequence[Callback],
    checkpoint: LastCheckpoint,
    *,
    report: Report,
    clip: float,
    device: str = "auto",
    devices: int = 1,
    precision: Precision = "auto",
) -> Trainer:
    """A Trainer that logs to `out`/logs as CSV and for TensorBoard and validates after every epoch.

    "auto" precision is bfloat16 autocast on GPUs that have it, else float32. An epoch is what StepBatches says.
    """
    device = resolve_device(device)
    chosen = _chosen(device, devices)
    version = len(list((out / "logs").glob("version_*")))
    with _quiet():
        return Trainer(
            accelerator="gpu" if device.startswith("cuda") else "cpu",
            devices=chosen,
            precision="bf16-mixed" if _bfloat16(device, precision) else "32-true",
            max_steps=budget.steps or -1,
            max_epochs=-1,
            gradient_clip_val=clip or None,
            # The average and the budget move before the checkpoint is written.
            callbacks=[*callbacks, budget, TrainingProgress(budget, report), checkpoint],
            logger=[CSVLogger(out, "logs", version), TensorBoardLogger(out, "logs", version)],
            log_every_n_steps=10,
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=out,
        )


def train(
    trainer: Trainer,
    module: LightningModule,
    samples: Dataset,
    valid: DataLoader,
    checkpoint: LastCheckpoint,
    *,
    batch: int,
    epoch_steps: int,
    workers: int = 0,
) -> None:
    """Trains from the last checkpoint, or from the start; sample n of `samples` is a function of n alone."""
    batches = StepBatches(
        lambda: trainer.global_step,
        steps=epoch_steps,
        batch=batch,
        rank=trainer.global_rank,
        processes=trainer.world_size,
    )
    loader = DataLoader(samples, batch_sampler=batches, num_workers=workers)
    found = checkpoint.found()
    try:
        with _quiet():
            trainer.fit(module, loader, valid, ckpt_path=found, weights_only=True)
    except SystemExit as error:  # what Lightning makes of Ctrl+C
        raise KeyboardInterrupt from error
    except pickle.UnpicklingError as error:  # its hash fits, so that somebody put it there
        raise InputError(
            f"{checkpoint.path}: asks for code beside tensors and was not loaded; remove it to begin the training anew"
        ) from error


def _chosen(device: str, devices: int) -> int | list[int]:
    """Lightning's `devices`: how many processes, or the one GPU that `device` numbers."""
    kind, _, number = device.partition(":")
    if number and devices > 1:
        raise OptionError(f"device {device} with devices {devices}: set the option device to {kind} for several GPUs")
    if kind == "cuda" and devices > torch.cuda.device_count():
        raise OptionError(f"devices {devices}: torch finds {torch.cuda.device_count()} GPU(s); expected at most that")
    return [int(number)] if number and kind == "cuda" else devices


def _bfloat16(device: str, precision: Precision) -> bool:
    if precision != "auto":
        return precision == "bfloat16"
    return device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Lightning's notes on hardware and its advice on workers from the user's terminal."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        try:
            yield
        finally:
            logger.setLevel(level)

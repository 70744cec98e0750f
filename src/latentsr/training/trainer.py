"""The Lightning Trainer of both trainings: budget, progress, averaged weights and the last checkpoint."""

# ruff: noqa: ARG002 (Lightning fixes the arguments of its hooks)

import logging
import math
import pickle
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from pydantic import Field
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from latentsr.config import Config, Count, Seed, canonical_json, read_json, sha256, write_json
from latentsr.device import resolve_device
from latentsr.errors import InputError, OptionError, StaleError
from latentsr.training.crops import StepBatches


class TrainingConfig(Config):
    """The options that both trainings have.

    `init` is what is fine-tuned. The training ends with `steps` or `minutes`, whichever comes first; a checkpoint and
    scores are written every `validate_every` steps. "auto" precision is bfloat16 on GPUs that have it, else float32.
    """

    init: str | None = None
    batch: Count
    steps: Count | None
    minutes: float | None = Field(None, gt=0)
    weight_decay: float = Field(ge=0, le=1e30)
    ema: float = Field(0.999, ge=0, lt=1)
    clip: float = Field(1.0, ge=0)
    seed: Seed = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    validate_every: Count
    workers: int = Field(0, ge=0, le=1024)


class Ema(Callback):
    """Averages the weights of `module.<network>` after each optimiser step; validation runs on the average.

    The decay rises to its final value as (1 + n) / (10 + n) over n steps, so that a short training does not keep its
    random start. The average is part of the checkpoint, so that a resumed run equals an undisturbed one.
    """

    def __init__(self, decay: float, network: str = "network") -> None:
        self.decay = decay
        self.network = network
        self.steps = 0
        self.average: dict[str, Tensor] = {}

    def weights(self) -> dict[str, Tensor]:
        """The averaged state dict on the CPU, keys as in the network; empty before training."""
        return {name: value.detach().cpu().clone() for name, value in self.average.items()}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts from the network's weights, or brings the average that a checkpoint held to their device."""
        current = self._current(pl_module)
        held = self.average or current
        self.average = {name: held[name].detach().to(value.device, copy=True) for name, value in current.items()}

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves the average after an optimiser step; batches that only gather gradients change nothing."""
        if trainer.global_step <= self.steps:
            return
        self.steps = trainer.global_step
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in self._current(pl_module).items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the average in the network's place."""
        self._swap(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the network's own weights back."""
        self._swap(pl_module)

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint keeps."""
        return {"steps": self.steps, "average": self.weights()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up what `state_dict` gave."""
        self.steps, self.average = state_dict["steps"], dict(state_dict["average"])

    def _current(self, module: LightningModule) -> dict[str, Tensor]:
        network: nn.Module = getattr(module, self.network)
        return network.state_dict()

    @torch.no_grad()
    def _swap(self, module: LightningModule) -> None:
        if not self.average:
            return
        for name, value in self._current(module).items():
            held = value.clone()
            value.copy_(self.average[name])
            self.average[name].copy_(held)


MOST_RESERVED = 0.25  # of the minutes


class Budget(Callback):
    """Stops the training when its steps or minutes are spent, and computes the share that is done.

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
        """The state in the checkpoint."""
        return {"elapsed": self.elapsed()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the state."""
        self._earlier = state_dict["elapsed"]


Report = Callable[..., None]  # (done, total, note)
Progress = Callable[..., AbstractContextManager[Report]]  # (title, unit=, resumes=), such as terminal.progress
EVERY = 0.5  # seconds between reports: each waits for the GPU


@contextmanager
def silent(*_: object, **__: object) -> Iterator[Report]:
    """A Progress without output."""
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
            found = {name: float(torch.as_tensor(value)) for name, value in trainer.progress_bar_metrics.items()}
            scores = ", ".join(f"{name} {value:.4g}" for name, value in found.items())
            self.report(step, max(step, round(step / share)) if share else step, scores)


def steps_an_epoch(images: int, batch: int) -> int:
    """The whole batches in so many training images; OptionError where they are fewer than a batch."""
    if images < batch:
        raise OptionError(f"epochs of {images} images with batches of {batch}: choose a smaller batch")
    return images // batch


def optimiser_with_schedule(optimiser: torch.optim.Optimizer, factor: Callable[[int], float]) -> dict[str, Any]:
    """What `configure_optimizers` returns: the optimiser with this factor on its learning rate at each step."""
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class LastCheckpoint(Callback):
    """Writes `folder`/last.ckpt at the end of every epoch and of the training, its SHA-256 beside it.

    `facts` (options, hash of the data) go into the file; a checkpoint with other facts raises StaleError on resume,
    unless they are `earlier`, those of a finished training that this one extends.
    """

    def __init__(
        self, folder: Path, facts: Mapping[str, object], *, earlier: Mapping[str, object] | None = None
    ) -> None:
        self.path = Path(folder) / "last.ckpt"
        self.hashes = Path(folder) / "last.json"
        self.facts = canonical_json(facts)
        self.accepted = {self.facts} if earlier is None else {self.facts, canonical_json(earlier)}
        self._digest: str | None = None

    def found(self) -> Path | None:
        """The checkpoint of an earlier run, to be given to `Trainer.fit`; None if it does not exist.

        InputError if it is not as it was written; it is hashed once, about a second a gigabyte.
        """
        if not self.path.is_file():
            return None
        if self._digest is None:
            written = read_json(self.hashes) if self.hashes.is_file() else None
            digest = sha256(self.path)
            if not isinstance(written, dict) or digest not in written.get("sha256", ()):
                raise InputError(f"{self.path}: cut off or altered; remove it to begin the training anew")
            self._digest = digest
        return self.path

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends a training that diverged, before NaN from its network is blamed on the autoencoder.

        InputError; the checkpoint before stays.
        """
        if not all(torch.isfinite(parameter).all() for parameter in pl_module.parameters()):
            raise InputError(
                f"the training diverged, its weights are not finite at step {trainer.global_step}; "
                "set a smaller learning_rate and choose another output folder"
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes under another name, then renames: a kill leaves the checkpoint before.

        The file of hashes comes first and names both checkpoints, so that it fits whichever a kill leaves.
        """
        self.on_validation_start(trainer, pl_module)  # a training may have no validation
        temporary = self.path.with_name(".last.part.ckpt")
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            digest = sha256(temporary)
            write_json(self.hashes, {"sha256": [digest, *([self._digest] if self._digest else [])]})
            temporary.replace(self.path)
            self._digest = digest

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds the facts."""
        checkpoint["latentsr_facts"] = self.facts

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuses the checkpoint of another training."""
        if checkpoint.get("latentsr_facts") not in self.accepted:
            raise StaleError(
                f"{self.path}: was made with other options or other data; set the options of that run, "
                "or choose another output folder"
            )


def make_trainer(
    out: Path, config: TrainingConfig, budget: Budget, ema: Ema, checkpoint: LastCheckpoint, *, report: Report,
    device: str = "auto", devices: int = 1,
) -> Trainer:  # fmt: skip
    """A Trainer that logs to `out`/logs as CSV and for TensorBoard and validates after every epoch.

    An epoch is what StepBatches says.
    """
    device = resolve_device(device)
    kind, _, number = device.partition(":")
    if number and devices > 1:
        raise OptionError(f"device {device} with devices {devices}: set the option device to {kind} for several GPUs")
    if kind == "cuda" and devices > torch.cuda.device_count():
        raise OptionError(f"devices {devices}: torch finds {torch.cuda.device_count()} GPU(s); expected at most that")
    bfloat16 = config.precision == "bfloat16"
    if config.precision == "auto" and kind == "cuda":
        bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    version = len(list((out / "logs").glob("version_*")))
    with _quiet():
        return Trainer(
            accelerator="gpu" if kind == "cuda" else "cpu",
            devices=[int(number)] if number and kind == "cuda" else devices,
            precision="bf16-mixed" if bfloat16 else "32-true",
            max_steps=budget.steps or -1,
            max_epochs=-1,
            gradient_clip_val=config.clip or None,
            # The average and the budget move before the checkpoint is written.
            callbacks=[ema, budget, TrainingProgress(budget, report), checkpoint],
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
    trainer: Trainer, module: LightningModule, samples: Dataset, valid: DataLoader, checkpoint: LastCheckpoint,
    config: TrainingConfig,
) -> None:  # fmt: skip
    """Trains from the last checkpoint, or from the start; sample n of `samples` is a function of n alone."""
    batches = StepBatches(
        lambda: trainer.global_step, steps=config.validate_every, batch=config.batch, rank=trainer.global_rank,
        processes=trainer.world_size,
    )  # fmt: skip
    loader = DataLoader(samples, batch_sampler=batches, num_workers=config.workers)
    found = checkpoint.found()
    try:
        with _quiet():
            trainer.fit(module, loader, valid, ckpt_path=found, weights_only=True)
    except SystemExit as error:  # what Lightning makes of Ctrl+C
        raise KeyboardInterrupt from error
    except pickle.UnpicklingError as error:  # its hash fits: somebody placed it here
        raise InputError(
            f"{checkpoint.path}: asks for code beside tensors and was not loaded; remove it to begin the training anew"
        ) from error


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

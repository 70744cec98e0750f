"""The training job: from a latent cache to a SuperResolver folder, resumed where it was interrupted."""

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import lightning
import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader

from latentsr.autoencoders import load_autoencoder
from latentsr.autoencoders.protocol import Autoencoder
from latentsr.config import manifest, read_json, write_json, write_yaml
from latentsr.data.latents import LatentCache
from latentsr.degrade import enlarge, parse_degradation
from latentsr.errors import StaleError
from latentsr.io.raster import write_pixels
from latentsr.metrics.fidelity import psnr
from latentsr.restoration import ModelConfig, Restorer, Sampling
from latentsr.superres import save_model
from latentsr.training.budget import Budget
from latentsr.training.card import model_card
from latentsr.training.checkpoint import LastCheckpoint
from latentsr.training.denoiser import DenoiserTraining, TrainConfig, denoiser_spec, latent_space
from latentsr.training.batches import StepBatches
from latentsr.training.ema import Ema
from latentsr.training.latent_crops import LatentCrops
from latentsr.training.progress import TrainingProgress

SOLVER = {"cosine": "dpm++", "linear": "dpm++", "flow": "euler"}


def fit_denoiser(
    cache: LatentCache,
    out: Path,
    config: TrainConfig,
    *,
    device: str = "cpu",
    devices: int = 1,
    validation_images: int = 16,
) -> Path:
    """The model folder `out`, made by training on `cache`; the run's logs, pictures and checkpoint lie in `out`.run.

    A killed training goes on from its last checkpoint; a finished one is left as it is. Other options or another cache
    for the same `out` raise StaleError.
    """
    run = out.with_name(f"{out.name}.run")
    facts = {"config": config.model_dump(mode="json", exclude={"workers"}), "cache": cache.hash}
    if out.exists():
        return _finished(out, run, facts)
    model = _model_config(cache, config, out.name)
    autoencoder = load_autoencoder(cache.autoencoder, device=device)
    budget = Budget(config.steps, config.minutes)
    module = DenoiserFit(cache, config, model, autoencoder, budget, _Validation(cache, validation_images, run))
    ema, last = Ema(config.ema), LastCheckpoint(run / "checkpoints", facts)
    write_yaml(config, run / "train.yaml")
    write_json(run / "facts.json", facts)
    callbacks = [ema, budget, TrainingProgress(budget, "train"), last]
    trainer = _trainer(run, config, device, devices, callbacks)
    trainer.fit(module, ckpt_path=last.found(), weights_only=True)
    if trainer.is_global_zero:
        _save(out, run, cache, model, ema, autoencoder, module, budget)
    return out


def _finished(out: Path, run: Path, facts: dict[str, Any]) -> Path:
    if not (run / "facts.json").is_file() or read_json(run / "facts.json") != facts:
        raise StaleError(f"{out}: is there already, from other options or another cache; give another -o, or remove it")
    return out


def _model_config(cache: LatentCache, config: TrainConfig, name: str) -> ModelConfig:
    return ModelConfig(
        name=name,
        degradation=cache.manifest["degradation"],
        autoencoder=cache.manifest["autoencoder_name"],
        autoencoder_hash=cache.manifest["autoencoder"],
        denoiser=denoiser_spec(cache, config),
        space=latent_space(cache, config),
        objective=config.objective,
        schedule=config.schedule,
        solver=SOLVER[config.schedule],
        trained_on=tuple(sorted(set(cache.datasets("train")))),
        size=tuple(cache.manifest["size"]),
    )


def _trainer(run: Path, config: TrainConfig, device: str, devices: int, callbacks: list[Any]) -> Trainer:
    cuda = device.startswith("cuda")
    mixed = cuda and config.precision != "float32" or config.precision == "bfloat16"
    return Trainer(
        accelerator="gpu" if cuda else "cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        precision="bf16-mixed" if mixed else "32-true",
        max_epochs=-1,
        gradient_clip_val=config.clip,
        callbacks=callbacks,
        logger=[CSVLogger(run, name="csv", version=""), TensorBoardLogger(run, name="tensorboard", version="")],
        log_every_n_steps=20,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


class _Validation:
    """The images that a training is scored on: spread evenly over the validation split."""

    def __init__(self, cache: LatentCache, images: int, run: Path) -> None:
        split = "valid" if cache.ids("valid") else "test"
        self.ids = cache.ids(split)
        self.images = cache.array(split, "image") if self.ids else np.zeros((0, 1, 1, 1), np.float32)
        self.rows = [int(i) for i in np.linspace(0, len(self.ids) - 1, min(images, len(self.ids)))]
        self.run = run

    def write_picture(self, step: int, columns: Sequence[Tensor]) -> np.ndarray:
        """A PNG of up to four images, one a row: bicubic, SR, HR; returns its pixels."""
        picture = torch.cat([torch.cat(list(column[:4, 0]), dim=0) for column in columns], dim=1)
        pixels = (picture.clamp(0, 1) * 255).round().byte().numpy()
        write_pixels(self.run / "pictures" / f"step-{step:06d}.png", pixels)
        return pixels


class DenoiserFit(DenoiserTraining):
    """DenoiserTraining with its batches and its validation: PSNR of the posterior mean, and a picture."""

    def __init__(
        self,
        cache: LatentCache,
        config: TrainConfig,
        model: ModelConfig,
        autoencoder: Autoencoder,
        budget: Budget,
        validation: _Validation,
    ) -> None:
        super().__init__(model.denoiser, model.space, config, budget)
        self.cache, self.model, self.autoencoder, self.validation = cache, model, autoencoder, validation
        self.scores: dict[str, float] = {}

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Batches from the step that the training stands at; one epoch is the stretch between two validations."""
        c = self.config
        crops = LatentCrops(
            self.cache, self.space, crop=c.crop, pure_noise_share=c.pure_noise_share, seed=c.seed
        )
        batches = StepBatches(
            lambda: self.trainer.global_step,
            steps=c.validate_every,
            batch=c.batch,
            rank=self.trainer.global_rank,
            processes=self.trainer.world_size,
        )
        return DataLoader(crops, batch_sampler=batches, num_workers=c.workers)

    def val_dataloader(self) -> DataLoader[Any]:
        """One batch: the rows of the validation images."""
        rows = self.validation.rows
        return DataLoader([rows] if rows else [], batch_size=None)  # type: ignore[arg-type]

    def validation_step(self, rows: list[int], index: int) -> None:
        """Scores the posterior mean against HR, beside bicubic."""
        hr = torch.from_numpy(np.array(self.validation.images[rows]))
        lr = parse_degradation(self.model.degradation).apply(hr)
        bicubic = enlarge(lr, parse_degradation(self.model.degradation).scale).clamp(0, 1)
        restorer = Restorer(self.model, self.network, self.autoencoder, str(self.device))
        steps = 1 if self.config.objective != "epsilon" else 8
        ids = [self.validation.ids[row] for row in rows]
        image = restorer.restore(lr, ids=ids, sampling=Sampling(steps=steps)).image.clamp(0, 1)
        self.scores = {"psnr": float(psnr(image, hr).mean()), "psnr_bicubic": float(psnr(bicubic, hr).mean())}
        self.log_dict(self.scores, prog_bar=True, sync_dist=True, batch_size=len(rows))
        if self.trainer.is_global_zero:
            pixels = self.validation.write_picture(self.trainer.global_step, [bicubic, image, hr])
            self.loggers[1].experiment.add_image("bicubic, SR, HR", pixels[None], self.trainer.global_step)  # type: ignore[attr-defined]


def _save(
    out: Path,
    run: Path,
    cache: LatentCache,
    model: ModelConfig,
    ema: Ema,
    autoencoder: Autoencoder,
    module: DenoiserFit,
    budget: Budget,
) -> None:
    facts = {
        "steps": module.trainer.global_step,
        "minutes": round(budget.elapsed() / 60, 1),
        "images": dict(Counter(cache.datasets("train"))),
        "validation": module.scores,
        "cache": cache.hash,
    }
    write_json(run / "manifest.json", manifest(**facts))
    card = model_card(model, module.config, facts)
    save_model(out, model, ema.weights(), card=card, autoencoder=autoencoder.folder)

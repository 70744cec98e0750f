"""Training of a denoiser: options, latent space and size of the network, loss, optimiser and validation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.loggers import TensorBoardLogger
from pydantic import Field
from torch import Tensor
from torch.utils.data import Dataset

from latentsr.config import Count
from latentsr.data.latents import LatentCache
from latentsr.degrade import enlarge
from latentsr.diffusion.denoiser import Attention, Channels, DenoiserSpec, Groups, Layers
from latentsr.diffusion.latents import Condition, LatentSpace, Statistics, condition_channels
from latentsr.diffusion.objective import OBJECTIVES, at
from latentsr.errors import InputError, OptionError
from latentsr.io.raster import write_pixels
from latentsr.metrics.fidelity import psnr
from latentsr.training.trainer import Budget, TrainingConfig, optimiser_with_schedule
from latentsr.upscalers import Sampling
from latentsr.upscalers.restorer import Restorer

SHOWN = 4  # images in the picture
STEPS_WITHOUT_MEAN = 8  # for networks that give no posterior mean in one evaluation


class ValidationImages(Dataset[dict[str, Any]]):
    """HR images spread evenly over the validation split, with their ids; none where the cache has no such split."""

    def __init__(self, cache: LatentCache, images: int) -> None:
        self.ids = cache.ids("valid")
        self.rows = [int(i) for i in np.linspace(0, len(self.ids) - 1, min(images, len(self.ids)))]
        self.images = cache.array("valid", "image") if self.ids else None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, n: int) -> dict[str, Any]:
        """{"id": text, "image": float32 (1, rows, columns) in [0, 1]}."""
        if self.images is None:
            raise IndexError(n)
        return {"id": self.ids[self.rows[n]], "image": torch.from_numpy(np.array(self.images[self.rows[n]]))}


class TrainConfig(TrainingConfig):
    """The options of a training; the defaults are those of the shipped model.

    `pure_noise_share` of each batch is at the noisiest time. `channel_weight` w weighs the loss of a latent channel by
    sd^w (0: all alike; 2: as its pixels count). `crop` is in latent pixels. `channels` to `groups`: DenoiserSpec.
    `init` is a model, a folder or name, to fine-tune: its weights and latent statistics, in a network of the same form.
    """

    conditions: tuple[Condition, ...] = ("pixels",)
    target: Literal["latent", "residual"] = "residual"
    objective: Literal["x0", "epsilon", "v", "flow"] = "x0"
    schedule: Literal["cosine", "linear", "flow"] = "cosine"
    loss: Literal["l1", "l2"] = "l2"
    snr_weight: bool = False
    channel_weight: float = Field(0.5, ge=0)
    pure_noise_share: float = Field(0.4, ge=0, le=1)
    channels: Channels = (48, 64, 96)
    layers: Layers = 2
    attention: Attention = ()
    middle_attention: bool = False
    groups: Groups = 8
    crop: Count = 32
    batch: Count = 16
    steps: Count | None = 4000
    learning_rate: float = Field(4e-4, gt=0, le=1000)
    weight_decay: float = Field(0.01, ge=0, le=1e30)
    validate_every: Count = 200


def latent_space(cache: LatentCache, config: TrainConfig) -> LatentSpace:
    """The latent space of a training on `cache`."""
    needed = ("residual" if config.target == "residual" else "hr", *config.conditions)
    if missing := [role for role in needed if role not in cache.statistics]:
        wanted = " and ".join("latent-up" if role == "residual" else role for role in missing)
        raise InputError(
            f"{cache.root}: no {', '.join(missing)} in the cache; run 'encode' with the condition {wanted}"
        )
    statistics = {role: Statistics.model_validate(cache.statistics[role]) for role in needed}
    return LatentSpace(conditions=config.conditions, target=config.target, statistics=statistics)


def denoiser_spec(cache: LatentCache, config: TrainConfig) -> DenoiserSpec:
    """The size of the network for the latents in `cache`."""
    hr = cache.array("train", "hr")
    per_latent = 1
    if "pixels" in config.conditions:
        per_latent = max(1, cache.array("train", "pixels").shape[-1] // hr.shape[-1])
    spec = DenoiserSpec(
        latent_channels=hr.shape[1],
        condition_channels=condition_channels(config.conditions, hr.shape[1], per_latent),
        channels=config.channels,
        layers=config.layers,
        attention=config.attention,
        middle_attention=config.middle_attention,
        groups=config.groups,
    )
    if config.crop % spec.multiple:
        levels = len(spec.channels)
        raise OptionError(f"crop {config.crop}: expected a multiple of {spec.multiple} for {levels} levels")
    if (config.objective == "flow") != (config.schedule == "flow"):
        raise OptionError(f"objective {config.objective} with schedule {config.schedule}: flow goes with flow alone")
    if spec.attention and len(spec.attention) != len(spec.channels):
        raise OptionError(f"attention {spec.attention}: expected one value for each of {len(spec.channels)} levels")
    if any(channels % spec.groups for channels in spec.channels):
        raise OptionError(f"channels {spec.channels}: expected multiples of groups ({spec.groups})")
    return spec


class DenoiserTraining(LightningModule):
    """The loss, the optimiser and the validation of a restorer's denoiser, whose pictures go to a folder.

    Batches are those of LatentCrops and ValidationImages.
    """

    def __init__(self, restorer: Restorer, config: TrainConfig, budget: Budget, pictures: Path) -> None:
        super().__init__()
        self.network = restorer.denoiser
        self.restorer, self.space = restorer, restorer.config.space
        self.config, self.budget, self.pictures = config, budget, pictures
        sd = torch.tensor(self.space.target_statistics.sd) ** config.channel_weight
        self.channel_weights: Tensor
        self.register_buffer("channel_weights", (sd / sd.mean())[:, None, None], persistent=False)

    def training_step(self, batch: Mapping[str, Tensor], index: int) -> Tensor:  # noqa: ARG002 (Lightning's)
        """The weighted distance between the network's prediction and its target."""
        loss = self.loss(batch)
        self.log("loss", loss, prog_bar=True)
        return loss

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The distance between prediction and target, weighed by channel and, if asked for, by signal to noise."""
        objective = OBJECTIVES[self.config.objective]
        x = self.space.to_target(batch["hr"], batch.get("latent-up"))
        condition = self.space.condition(batch, (x.shape[-2], x.shape[-1]))
        alpha, sigma = at(self.config.schedule, batch["time"], objective.terminal)
        z = alpha * x + sigma * batch["noise"]
        error = self.network(z, batch["time"], condition) - objective.target(x, batch["noise"], alpha, sigma)
        distance = error.abs() if self.config.loss == "l1" else error.square()
        snr_share = alpha**2 / (alpha**2 + sigma**2)  # snr / (snr + 1)
        return (self.channel_weights * (snr_share if self.config.snr_weight else 1.0) * distance).mean()

    def validation_step(self, batch: Mapping[str, Any], index: int) -> None:
        """Scores the network, here its moving average, on HR images; draws the first batch."""
        images = self.restored(batch)
        self.log_dict(scores(images), prog_bar=True, sync_dist=True, batch_size=len(batch["id"]))
        if index == 0 and self.trainer.is_global_zero:
            # A PNG and a TensorBoard image: one row per image; bicubic, SR, HR.
            columns = [torch.cat(list(column[:SHOWN, 0]), dim=0) for column in images.values()]
            pixels = (torch.cat(columns, dim=1) * 255).round().byte().numpy()
            step = self.trainer.global_step
            write_pixels(self.pictures / f"step-{step:06d}.png", pixels)
            for logger in self.trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    logger.experiment.add_image(", ".join(images), pixels[None], step)

    def restored(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """A batch of ValidationImages as bicubic, SR and HR images in [0, 1]; SR is the posterior mean, if any."""
        hr = batch["image"].cpu()
        lr = self.restorer.degradation.apply(hr)
        sampling = Sampling(steps=1 if self.restorer.has_mean else STEPS_WITHOUT_MEAN)
        with torch.autocast(self.restorer.device.partition(":")[0], enabled=False):  # in float32, as the finished model
            image = self.restorer.restore(lr, ids=batch["id"], sampling=sampling).image
        return {"bicubic": enlarge(lr, self.restorer.scale).clamp(0, 1), "SR": image.clamp(0, 1), "HR": hr}

    def configure_optimizers(self) -> Any:
        """AdamW with the budget's learning rate."""
        optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=self.config.learning_rate, weight_decay=self.config.weight_decay
        )
        return optimiser_with_schedule(optimiser, self.budget)


def scores(images: Mapping[str, Tensor]) -> dict[str, float]:
    """{"psnr", "psnr_bicubic"} in dB, means over the images that `restored` gives."""
    names = {"psnr": "SR", "psnr_bicubic": "bicubic"}
    return {key: float(psnr(images[name], images["HR"]).mean()) for key, name in names.items()}

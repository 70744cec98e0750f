"""Training of a denoiser: options, latent space and size of the network, loss, optimiser and validation."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.loggers import TensorBoardLogger
from pydantic import Field, model_validator
from torch import Tensor
from torch.utils.data import Dataset

from latentsr.autoencoders.protocol import Autoencoder
from latentsr.config import Count
from latentsr.data.latents import LatentCache
from latentsr.degrade import enlarge, parse_degradation, project
from latentsr.device import in_float32
from latentsr.diffusion.denoiser import (
    Attention,
    Channels,
    DenoiserSpec,
    Family,
    Groups,
    Layers,
    check_levels,
    published_spec,
)  # fmt: skip
from latentsr.diffusion.latents import LatentSpace, Statistics, Target, condition_channels
from latentsr.diffusion.objective import ObjectiveName, ScheduleName
from latentsr.errors import InputError, OptionError
from latentsr.io.raster import write_pixels
from latentsr.metrics.fidelity import psnr
from latentsr.names import NOISE_LEVEL, Condition
from latentsr.training.trainer import Budget, TrainingConfig, optimiser_with_schedule, steps_an_epoch
from latentsr.upscalers import Sampling
from latentsr.upscalers.restorer import BandGains, Restorer, refined

SHOWN = 4  # images in the picture
UNPROJECTED = "SR before projection"
NOISE_STATISTICS = Statistics(mean=(0.0,), sd=(0.05,))  # of a noise level, whatever the degradations
STEPS_WITHOUT_MEAN = 8  # for networks that give no posterior mean in one evaluation


class ValidationImages(Dataset[dict[str, Any]]):
    """HR images spread evenly over the validation split, with their ids; none where the cache has no such split."""

    def __init__(self, cache: LatentCache, images: int) -> None:
        self.ids = cache.ids("valid")
        self.rows = [int(i) for i in np.linspace(0, len(self.ids) - 1, min(images, len(self.ids)))]
        self.images = cache.array("valid", "image") if self.ids else None
        self.lr = cache.array("valid", "lr") if cache.has("valid", "lr") else None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, n: int) -> dict[str, Any]:
        """{"id": text, "image": float32 (1, rows, columns) in [0, 1]}, and `lr` where LR is a file of its own."""
        if self.images is None:
            raise IndexError(n)
        sample = {"id": self.ids[self.rows[n]], "image": torch.from_numpy(np.array(self.images[self.rows[n]]))}
        return sample if self.lr is None else sample | {"lr": torch.from_numpy(np.array(self.lr[self.rows[n]]))}


class TrainConfig(TrainingConfig):
    """The options of a training; the defaults are those of the shipped model, or REGRESSION of a regression network.

    `family` "regression" trains a network of the condition alone, in a lossless latent space, on the distance of the
    decoded pixels: the deterministic competitor of the same images, budget and, with the same `crop` and `batch`,
    crops.

    `pure_noise_share` of each batch is at the noisiest time. `channel_weight` w weighs the loss of a latent channel by
    sd^w (0: all alike; 2: as its pixels count). `crop` is in latent pixels; 0, the default of regression networks and
    generators: the largest square that fits, so that the border of a square image is one. `channels` to `groups`:
    DenoiserSpec.
    `init` is a model, a folder or name, to fine-tune: its weights and latent statistics, in a network of the same form.
    `base` is a model, too, with a posterior mean: its estimate is that of the new model, whose network learns the
    error of it in its own latents, and sees it beside the condition; with `init` it replaces the base of that, which
    otherwise stays. `family` "generator" draws that error from noise in one evaluation, by the energy score of two
    draws; `adversarial` is the weight of a discriminator's loss beside it, `texture` that of the distance between the
    patches of drawn and true images; latents must be lossless.
    `degradations`: half of the crops have their LR made by one of these, brought to the cache's (`translated`), and
    where one has noise the network is told its level, `noise-level` of `conditions`; latents must be lossless.
    `detail` is the share of the crops that are drawn by the detail of their LR (`LatentCrops`).

    `epochs` decides the steps: so many passes over the training images, the last incomplete batch of each left out.
    `decay` "epoch" lowers the learning rate once an epoch, by a cosine to 1e-6 without warm-up. `normalise` false keeps
    latents raw, and `latent_rms` then scales them, HR's and LR's by one factor, to that root mean square of the target
    over the training images; the model undoes it.
    `published` trains on the noise table and time direction of arXiv 2604.12152, whose sampler the model keeps;
    `zlr_init` begins it at the LR latent. `flips` turns images over at random on both axes, or the latents of an
    autoencoder that knows no such turn. `band_weights` weigh the error's orthonormal Haar bands, the finest level first
    and the rest last (the scale-aware loss that the study proposes); empty: none. `calibrate` false leaves the dial's
    calibration out. `band_gains` multiply a generator's distance from the mean, the bands of a wavelet packet by their
    fineness, the coarsest first; null: as those of `init`, or all 1. `weights` is how they are saved.
    """

    family: Family = "diffusion"
    base: str | None = None
    adversarial: float = Field(0, ge=0, le=1e6)
    texture: float = Field(0, ge=0, le=1e6)
    degradations: tuple[str, ...] = Field((), max_length=64)
    detail: float = Field(0, ge=0, le=1)
    band_gains: BandGains | None = None
    conditions: tuple[Condition, ...] = ("pixels",)
    target: Target = "residual"
    objective: ObjectiveName = "x0"
    schedule: ScheduleName = "cosine"
    loss: Literal["l1", "l2"] = "l2"
    snr_weight: bool = False
    channel_weight: float = Field(0.5, ge=0)
    pure_noise_share: float = Field(0.4, ge=0, le=1)
    channels: Channels = (48, 64, 96)
    layers: Layers = 2
    attention: Attention = ()
    middle_attention: bool = False
    groups: Groups = 8
    crop: int = Field(32, ge=0, le=1_000_000_000)
    batch: Count = 16
    steps: Count | None = 4000
    learning_rate: float = Field(4e-4, gt=0, le=1000)
    weight_decay: float = Field(0.01, ge=0, le=1e30)
    validate_every: Count = 200
    epochs: Count | None = None
    decay: Literal["step", "epoch"] = "step"
    normalise: bool = True
    latent_rms: float | None = Field(None, gt=0, le=1e6)
    published: bool = False
    zlr_init: bool = False
    flips: bool = False
    band_weights: tuple[Annotated[float, Field(ge=0, le=1e6)], ...] = Field((), max_length=8)
    calibrate: bool = True
    weights: Literal["float16", "float32"] = "float16"

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_family(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        family = FAMILIES.get(given.get("family", "diffusion"), {})
        options = {**family, **given}
        conditions = tuple(given.get("conditions") or ("pixels",))
        if (
            any(parse_degradation(one).noise for one in given.get("degradations") or ())
            and NOISE_LEVEL not in conditions
        ):
            options["conditions"] = (*conditions, NOISE_LEVEL)  # the network is told the noise that it is trained on
        return options

    @model_validator(mode="after")
    def _family_fits(self) -> "TrainConfig":
        if self.family == "diffusion":
            if given := [name for name in GENERATORS if getattr(self, name)]:
                raise ValueError(f"{', '.join(given)} with family diffusion: for family generator")
            return self
        fixed = FIXED if self.family == "regression" else (*FIXED, "loss")
        other = [name for name in fixed if getattr(self, name) != FAMILIES[self.family][name]]
        other += ["channels of several levels"] if len(self.channels) > 1 else []
        if self.family == "regression":
            other += [name for name in ("base", *GENERATORS) if getattr(self, name)]
        elif self.base is None and self.init is None:
            raise ValueError("family generator without base: it draws what a posterior mean lacks; name the model")
        elif self.batch == 1:
            raise ValueError("batch 1: a generator's second draw takes the noise of another crop; set 2 or more")
        if other:
            raise ValueError(
                f"family {self.family} has one level of channels, one evaluation and nothing of the dial to calibrate: "
                f"leave {', '.join(other)} out"
            )
        return self

    @model_validator(mode="after")
    def _options_go_together(self) -> "TrainConfig":
        levels, halvings = len(self.channels), max(0, len(self.band_weights) - 1)
        check_levels(self.channels, self.attention, self.middle_attention, self.groups)
        if self.crop % 2 ** (levels - 1):
            raise ValueError(f"crop {self.crop}: expected a multiple of {2 ** (levels - 1)} for {levels} levels")
        if self.crop % 2**halvings:
            raise ValueError(f"crop {self.crop}: cannot be halved {halvings} times for band_weights")
        if (self.objective == "flow") != (self.schedule == "flow"):
            raise ValueError(f"objective {self.objective} with schedule {self.schedule}: flow goes with flow alone")
        if self.published and (self.objective not in ("x0", "flow") or self.target != "latent"):
            raise ValueError(
                f"published with objective {self.objective} and target {self.target}: its sampler takes x0 or flow, "
                "and latents"
            )
        if self.latent_rms is not None and self.normalise:
            raise ValueError("latent_rms with latents that are normalised: set normalise to false, or leave it out")
        if self.base is not None and (
            self.published or self.objective == "epsilon" or self.target != "residual" or not self.normalise
        ):
            raise ValueError("base with published, epsilon, the target latent or normalise false: leave one out")
        if self.decay == "epoch" and self.epochs is None:
            raise ValueError("decay is epoch, without epochs: set both")
        return self

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the model, without what was added later at its default: older trainings keep their key."""
        defaults = {name: TrainConfig.model_fields[name].default for name in LATER}
        same = {name for name in LATER if getattr(self, name) == defaults[name]}
        return self.model_dump(mode="json", exclude={"workers", "init", "base"} | same)


LATER = (
    "family", "adversarial", "texture", "degradations", "epochs", "decay", "normalise", "latent_rms", "published",
    "zlr_init", "flips", "band_weights", "calibrate", "weights", "detail", "band_gains",
)  # fmt: skip
# EDSR's baseline (Lim 2017, table 1) with its loss and its turns.
REGRESSION: Mapping[str, Any] = {
    "objective": "x0", "schedule": "cosine", "loss": "l1", "snr_weight": False, "channel_weight": 0.0,
    "pure_noise_share": 1.0, "channels": (64,), "layers": 16, "groups": 1, "flips": True, "band_weights": (),
    "published": False, "calibrate": False, "crop": 0, "batch": 4,
}  # fmt: skip
GENERATOR: Mapping[str, Any] = {**REGRESSION, "loss": "l2", "channels": (48,), "layers": 8}
FAMILIES: Mapping[str, Mapping[str, Any]] = {"regression": REGRESSION, "generator": GENERATOR}
FIXED = (
    "objective", "schedule", "pure_noise_share", "channel_weight", "snr_weight", "band_weights", "published",
    "calibrate",
)  # fmt: skip
GENERATORS = ("adversarial", "texture", "band_gains")  # options of these alone
FLOOR = 1e-6  # of the learning rate that falls by the epoch


def published_preset(cache: LatentCache) -> dict[str, Any]:
    """The options of TrainConfig that make the network of arXiv 2604.12152 on these latents, as its code trains it.

    101,125,251 parameters at 3x64x64 latents, 97,188,868 at 4x32x32. A flow has the objective and schedule `flow` and
    flips, too.
    """
    _, channels, rows, columns = cache.array("train", "hr").shape
    spec = published_spec(channels, rows, columns)
    return {
        "conditions": ("latent-native",), "target": "latent", "objective": "x0", "schedule": "cosine", "loss": "l1",
        "channel_weight": 0.0, "pure_noise_share": 0.0, "channels": spec.channels, "layers": spec.layers,
        "attention": spec.attention, "middle_attention": True, "groups": spec.groups, "crop": min(rows, columns),
        "batch": 8, "epochs": 100, "decay": "epoch", "learning_rate": 1e-4, "weight_decay": 0.01, "ema": 0.0,
        "clip": 1.0, "normalise": False, "published": True, "calibrate": False, "weights": "float32",
    }  # fmt: skip


def resolved(config: TrainConfig, cache: LatentCache, base: Restorer | None = None) -> TrainConfig:
    """The options with what cache and base decide: the steps that their epochs make, the side of a crop of 0.

    OptionError for fewer training images than a batch, and for latents that the network cannot halve.
    """
    found = {}
    if config.epochs is not None:
        found["steps"] = config.epochs * steps_an_epoch(len(cache.ids("train")), config.batch)
    if config.crop == 0:
        halvings = max(len(config.channels) - 1, len(config.band_weights) - 1, 0)
        multiple = math.lcm(2**halvings, 1 if base is None else base.multiple)
        side = min(cache.array("train", "hr").shape[2:])
        if side < multiple:
            raise OptionError(f"latents of {side} px a side: expected {multiple} or more, by which the network divides")
        found["crop"] = side // multiple * multiple
    return config.model_copy(update=found)


def latent_space(cache: LatentCache, config: TrainConfig) -> LatentSpace:
    """The latent space of a training on `cache`, without a base."""
    of_cache = (one for one in config.conditions if one != NOISE_LEVEL)
    needed = ("residual" if config.target == "residual" else "hr", *of_cache)
    if missing := [role for role in needed if role not in cache.statistics]:
        wanted = " and ".join("latent-up" if role == "residual" else role for role in missing)
        raise InputError(
            f"{cache.root}: no {', '.join(missing)} in the cache; run 'encode' with the condition {wanted}"
        )
    statistics = {role: Statistics.model_validate(cache.statistics[role]) for role in needed}
    if not config.normalise:
        unit = 1.0 if config.latent_rms is None else statistics[needed[0]].rms / config.latent_rms
        statistics = {
            role: Statistics(mean=(0.0,) * len(found.mean), sd=(1.0 if role == "pixels" else unit,) * len(found.sd))
            for role, found in statistics.items()
        }
    if NOISE_LEVEL in config.conditions:
        statistics[NOISE_LEVEL] = NOISE_STATISTICS
    return LatentSpace(conditions=config.conditions, target=config.target, statistics=statistics)


BASE_IMAGES = 64  # whose errors give the statistics of a base's


@torch.no_grad()
def refined_space(
    cache: LatentCache, autoencoder: Autoencoder, base: Restorer, config: TrainConfig
) -> LatentSpace:  # fmt: skip
    """The latent space of what the base's estimate lacks, over training images spread evenly over the cache."""
    space, images = base.config.space, {role: cache.array("train", role) for role in ("hr", *base.roles)}
    hr = images["hr"]
    sides = [side // base.multiple * base.multiple for side in hr.shape[2:]]  # of the part that the base can take
    error: list[Tensor] = []
    for row in np.linspace(0, len(hr) - 1, min(BASE_IMAGES, len(hr))).astype(int):
        batch = {}
        for role, array in images.items():
            rows, columns = (array.shape[axis] * sides[axis - 2] // hr.shape[axis] for axis in (2, 3))
            batch[role] = torch.from_numpy(np.array(array[row, None, :, :rows, :columns])).to(base.device)
        noise = torch.randn(batch["hr"].shape, generator=torch.Generator().manual_seed(config.seed))
        estimate = refined(base, autoencoder, batch, noise)[1]
        error.append((batch["hr"] - estimate).transpose(0, 1).flatten(1))
    joined = torch.cat(error, dim=1).double()
    found = Statistics(mean=tuple(joined.mean(dim=1).tolist()), sd=tuple(joined.std(dim=1).tolist()))
    return LatentSpace(
        conditions=space.conditions, target="residual", statistics={**space.statistics, "residual": found}
    )


def denoiser_spec(cache: LatentCache, config: TrainConfig, base: Restorer | None = None) -> DenoiserSpec:
    """The size of the network for the latents in `cache`; one that refines a base sees its estimate, too."""
    hr = cache.array("train", "hr")
    per_latent = 1
    if "pixels" in config.conditions:
        per_latent = max(1, cache.array("train", "pixels").shape[-1] // hr.shape[-1])
    conditions = condition_channels(config.conditions, hr.shape[1], per_latent)
    return DenoiserSpec(
        latent_channels=hr.shape[1],
        condition_channels=conditions + (0 if base is None else base.config.denoiser.latent_channels),
        **{name: getattr(config, name) for name in DenoiserSpec.model_fields if name in TrainConfig.model_fields},
    )


def validation_sampling(restorer: Restorer) -> Sampling:
    """How images are restored for validation, before projection: the posterior mean if it is learned, or few steps."""
    if restorer.has_mean and restorer.base is None:
        return Sampling(steps=1, consistency=False)
    steps = STEPS_WITHOUT_MEAN if restorer.base is None else None
    return Sampling(steps=steps, realism=1, consistency=False)


def scores(images: Mapping[str, Tensor]) -> dict[str, float]:
    """{"psnr", "psnr_unprojected", "psnr_bicubic"} in dB, means over the images that `restored` gives."""
    names = {"psnr": "SR", "psnr_unprojected": UNPROJECTED, "psnr_bicubic": "bicubic"}
    return {key: float(psnr(images[name], images["HR"]).mean()) for key, name in names.items()}


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

    @staticmethod
    def scored() -> dict[str, Any]:
        """What decides the loss beside the options, as facts of the training: nothing."""
        return {}

    def on_fit_start(self) -> None:
        """Brings a base to the device of this process, of which there may be several."""
        if self.restorer.base is not None:
            self.restorer.base.denoiser.to(self.device)

    def training_step(self, batch: Mapping[str, Tensor], index: int) -> Tensor:  # noqa: ARG002 (Lightning's)
        """The weighted distance between the network's prediction and its target."""
        loss = self.loss(batch)
        self.log("loss", loss, prog_bar=True)
        return loss

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The distance between prediction and target, weighed by channel and, if asked for, by signal to noise.

        Of a regression network that of the decoded pixels.
        """
        process = self.restorer.process
        condition, up = self.restorer.condition(batch, batch["noise"])
        x = self.space.to_target(batch["hr"], up)
        alpha, sigma, times = process.at(batch["time"])
        target = process.target(x, batch["noise"], alpha, sigma)
        prediction = self.network(alpha * x + sigma * batch["noise"], times, condition).float()
        power = 1 if self.config.loss == "l1" else 2
        if self.config.family == "regression":
            with in_float32(self.device):
                made, true = (
                    self.restorer.autoencoder.decode(self.space.from_target(one, up)) for one in (prediction, target)
                )
            return ((made - true).abs() ** power).mean()
        error = prediction - target
        weight = self.channel_weights
        if self.config.snr_weight:
            weight = weight * alpha**2 / (alpha**2 + sigma**2)  # snr / (snr + 1)
        if not self.config.band_weights:
            return (weight * (error.abs() if power == 1 else error.square())).mean()
        bands = haar_bands(error, self.config.band_weights)
        total = torch.stack([share * (weight * band.abs() ** power).sum() for share, band in bands]).sum()
        return total / error.numel()

    def validation_step(self, batch: Mapping[str, Any], index: int) -> None:
        """Scores the network, here its moving average, on HR images; draws the first batch."""
        images = self.restored(batch)
        self.log_dict(scores(images), prog_bar=True, sync_dist=True, batch_size=len(batch["id"]))
        if index == 0 and self.trainer.is_global_zero:
            # A PNG and a TensorBoard image: one row per image; bicubic, SR, HR.
            shown = {name: image for name, image in images.items() if name != UNPROJECTED}
            columns = [torch.cat(list(column[:SHOWN, 0]), dim=0) for column in shown.values()]
            pixels = (torch.cat(columns, dim=1) * 255).round().byte().numpy()
            step = self.trainer.global_step
            write_pixels(self.pictures / f"step-{step:06d}.png", pixels)
            for logger in self.trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    logger.experiment.add_image(", ".join(shown), pixels[None], step)

    def restored(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """A batch of ValidationImages as bicubic, SR (the posterior mean, if any) and HR; SR before projection, too."""
        hr = batch["image"].cpu()
        lr = batch["lr"].cpu() if "lr" in batch else self.restorer.degradation.apply(hr)
        with in_float32(self.restorer.device):  # as the finished model
            image = self.restorer.restore(lr, ids=batch["id"], sampling=validation_sampling(self.restorer)).image
        projected = project(image, lr, self.restorer.degradation).clamp(0, 1)
        bicubic = enlarge(lr, self.restorer.scale).clamp(0, 1)
        return {"bicubic": bicubic, "SR": projected, "HR": hr, UNPROJECTED: image.clamp(0, 1)}

    def mean_scores(self, valid: Iterable[Mapping[str, Any]]) -> dict[str, float]:
        """The `scores` of all batches of validation images together; empty without any."""
        restored = [self.restored(batch) for batch in valid]
        return scores({name: torch.cat([one[name] for one in restored]) for name in restored[0]}) if restored else {}

    def configure_optimizers(self) -> Any:
        """AdamW with the budget's learning rate, or one that falls by the epoch."""
        optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=self.config.learning_rate, weight_decay=self.config.weight_decay
        )
        if self.config.decay == "epoch" and self.config.epochs and self.config.steps:
            epochs, floor = self.config.epochs, FLOOR / self.config.learning_rate
            steps = self.config.steps // epochs

            def factor(step: int) -> float:
                return floor + (1 - floor) * (1 + math.cos(math.pi * (step // steps) / epochs)) / 2

            return optimiser_with_schedule(optimiser, factor)
        return optimiser_with_schedule(optimiser, self.budget.learning_rate)


def haar_bands(error: Tensor, weights: Sequence[float]) -> list[tuple[float, Tensor]]:
    """(weight, band) of the orthonormal Haar transform of (batch, channels, rows, columns): three a level, then the
    rest.
    """
    found = []
    for weight in weights[:-1]:
        a, b, c, d = (error[..., top::2, left::2] for top in (0, 1) for left in (0, 1))
        found += [(weight, band / 2) for band in (a + b - c - d, a - b + c - d, a - b - c + d)]
        error = (a + b + c + d) / 2
    return [*found, (weights[-1], error)]

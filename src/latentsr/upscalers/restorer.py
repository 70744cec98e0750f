"""Restoration of LR images with a trained denoiser: encode, sample, decode, project."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor
from torch.nn.functional import pad

from latentsr.autoencoders.protocol import Autoencoder
from latentsr.conditioning import encode_roles
from latentsr.config import Config
from latentsr.degrade import parse_degradation, project
from latentsr.diffusion.denoiser import Denoiser, DenoiserSpec
from latentsr.diffusion.latents import LatentSpace
from latentsr.diffusion.objective import OBJECTIVES
from latentsr.diffusion.sampler import image_generator, image_noise, sample
from latentsr.errors import InputError, OptionError
from latentsr.tiling import apply_tiled
from latentsr.upscalers.realism import REALISM, SpreadCalibration, between

OVERLAP = 16  # latent px that neighbouring tiles share
SAMPLE_STEPS = 16  # of several samples, unless told otherwise
SMALLEST_TILE = 64  # below it a tile sees too little around it: its samples differ from those of the whole image


class Parent(Config):
    """The model whose weights a training began with: its name and the SHA-256 of its config.json."""

    name: str
    hash: str


class ModelConfig(Config):
    """Everything about a model but its weights.

    `autoencoder` is a name in the table, or "autoencoder": the folder of that name inside the model. `trained_on`,
    `modalities` (DICOM codes) and `size`, (rows, columns) of the HR training images, serve to warn of images that are
    unlike. `realism` is the dial's place for samples, `spread` their calibration. `parent` is the model that it was
    fine-tuned from. `files` is the SHA-256 of every other file of the model's folder.
    """

    format: Literal[1] = 1
    name: str
    degradation: str
    autoencoder: str
    autoencoder_hash: str
    denoiser: DenoiserSpec
    space: LatentSpace
    objective: Literal["x0", "epsilon", "v", "flow"]
    schedule: Literal["cosine", "linear", "flow"]
    solver: str
    trained_on: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    size: tuple[int, int] = (256, 256)
    realism: float = Field(REALISM, ge=0, le=1)
    spread: SpreadCalibration | None = None
    parent: Parent | None = None
    files: dict[str, str] = Field(default_factory=dict)

    def __repr__(self) -> str:
        return f"ModelConfig({self.name}, {self.degradation}, {self.autoencoder})"


def _or_none(value: object) -> object:
    """None for what stands for it on a command line."""
    return None if value in (0, "0", "") else value


class Sampling(Config):
    """How an image is restored.

    `samples`: how many are drawn and averaged. `steps`: evaluations of the network for each; 1, the default of one
    sample, gives its estimate of the posterior mean; the default of several is 16. `realism`: 0 is the posterior mean,
    1 a whole sample; between them fine detail comes first (see `latentsr.upscalers.realism`); None: the model's own.
    `consistency`: project onto the images whose degradation is the input. `tile`: latent px, None or 0 for one piece.
    `solver`: None for the model's own.
    """

    samples: int = Field(1, ge=1)
    steps: int = Field(default_factory=lambda given: SAMPLE_STEPS if given.get("samples", 1) > 1 else 1, ge=1, le=1000)
    realism: float | None = Field(None, ge=0, le=1)
    seed: int = 0
    consistency: bool = True
    tile: Annotated[int | None, BeforeValidator(_or_none)] = Field(128, ge=SMALLEST_TILE)
    solver: Annotated[str | None, BeforeValidator(_or_none)] = None

    @model_validator(mode="after")
    def _samples_vary(self) -> "Sampling":
        if self.samples > 1 and (self.steps == 1 or self.realism == 0):
            raise ValueError(
                "several samples of the posterior mean do not vary: "
                "give steps, such as 16, and a realism above 0, or one sample"
            )
        if self.realism and self.steps == 1:
            raise ValueError("one step gives the posterior mean, whose realism is 0: give steps, such as 16")
        return self


@dataclass(frozen=True)
class Restored:
    """SR images in [0, 1] (not clipped), (images, 1, rows, columns), and the sd over the samples where several."""

    image: Tensor
    spread: Tensor | None


class Restorer:
    """A denoiser in its latent space, with the autoencoder and the degradation that it was trained for."""

    def __init__(self, config: ModelConfig, denoiser: Denoiser, autoencoder: Autoencoder, device: str = "cpu") -> None:
        self.config = config
        self.denoiser = denoiser.to(device).eval()
        self.autoencoder = autoencoder
        self.device = device
        self.degradation = parse_degradation(config.degradation)

    def __repr__(self) -> str:
        return f"Restorer({self.config!r}, on {self.device})"

    @torch.inference_mode()
    def restore(self, lr: Tensor, *, ids: Sequence[str], sampling: Sampling = Sampling()) -> Restored:
        """SR of LR images (images, 1, rows, columns) in [0, 1]; each image's noise follows from its id and the seed."""
        if len(ids) != len(lr):
            raise InputError(f"{len(lr)} images with {len(ids)} ids: expected one id an image")
        self._check_tile(sampling.tile)
        lr = lr.to(self.device)
        case = self._case(lr, ids, sampling)
        if sampling.steps == 1 or sampling.realism == 0:
            return Restored(self._consistent(self._sampled(case, 1), lr, sampling).float().cpu(), None)
        return self._averaged(case, lr, sampling)

    @torch.inference_mode()
    def mean_and_sample(self, lr: Tensor, *, ids: Sequence[str], sampling: Sampling) -> tuple[Tensor, Tensor]:
        """The posterior mean and one sample as drawn, both without projection: what a spread is calibrated on."""
        case = self._case(lr.to(self.device), ids, sampling)
        return self._sampled(case, 1).cpu(), self._sampled(case, sampling.steps).cpu()

    def _averaged(self, case: "_Case", lr: Tensor, sampling: Sampling) -> Restored:
        """The mean over the samples at the dial's place, and the sd of the whole samples."""
        realism = self._realism(sampling)
        mean = self._sampled(case, 1) if self.has_mean else None
        images, whole = _Stack(), _Stack()
        for draw in range(sampling.samples):
            drawn = self._sampled(case, sampling.steps, draw)
            images.add(self._consistent(self._between(mean, drawn, realism), lr, sampling))
            if sampling.samples > 1:
                whole.add(self._consistent(self._between(mean, drawn, 1.0), lr, sampling))
        return Restored(images.mean.float().cpu(), whole.sd.float().cpu() if sampling.samples > 1 else None)

    @property
    def has_mean(self) -> bool:
        """Whether one evaluation in pure noise gives the posterior mean."""
        return OBJECTIVES[self.config.objective].one_step

    def evaluations(self, sampling: Sampling) -> int:
        """How often the network is evaluated for an image."""
        if sampling.steps == 1 or sampling.realism == 0:
            return 1
        return sampling.samples * sampling.steps + self.has_mean

    def _realism(self, sampling: Sampling) -> float:
        if self.has_mean:
            return self.config.realism if sampling.realism is None else sampling.realism
        if sampling.realism not in (None, 1.0):
            raise OptionError(f"realism {sampling.realism:g}: a model of {self.config.objective} has no posterior mean")
        return 1.0

    def _between(self, mean: Tensor | None, drawn: Tensor, realism: float) -> Tensor:
        return drawn if mean is None else between(mean, drawn, realism, self.config.spread)

    def _check_tile(self, tile: int | None) -> None:
        multiple = self.config.denoiser.multiple
        if tile is not None and tile % multiple:
            raise OptionError(
                f"tile {tile}: expected a multiple of {multiple}, by which this network divides its sides"
            )

    def _consistent(self, image: Tensor, lr: Tensor, sampling: Sampling) -> Tensor:
        return project(image, lr, self.degradation) if sampling.consistency else image

    def _case(self, lr: Tensor, ids: Sequence[str], sampling: Sampling) -> "_Case":
        padded = pad(lr, self._padding(lr), mode="replicate")
        size = self._latent_size(padded)
        roles = self._roles(2 * padded - 1, sampling)
        sides = (lr.shape[-2] * self.degradation.scale, lr.shape[-1] * self.degradation.scale)
        return _Case(
            tuple(ids), sampling, self.config.space.condition(roles, size), roles.get("latent-up"), size, sides
        )

    def _padding(self, lr: Tensor) -> tuple[int, int, int, int]:
        """Pixels to add (left, right, top, bottom) for a latent whose sides the network can halve to its last level."""
        multiple = self.config.denoiser.multiple * self.autoencoder.spec.factor
        step = multiple // math.gcd(multiple, self.degradation.scale)
        if "latent-native" in self.config.space.roles:  # the LR itself is encoded too
            step = math.lcm(step, self.autoencoder.spec.factor)
        below, right = (-side % step for side in lr.shape[-2:])
        return (0, right, 0, below)

    def _roles(self, lr: Tensor, sampling: Sampling) -> dict[str, Tensor]:
        return encode_roles(self.config.space.roles, lr, self.degradation.scale, self._tiled_encoder(sampling))

    def _tiled_encoder(self, sampling: Sampling) -> Callable[[Tensor], Tensor]:
        factor = self.autoencoder.spec.factor
        tile = None if sampling.tile is None else sampling.tile * factor

        def encode(images: Tensor) -> Tensor:
            return apply_tiled(
                self.autoencoder.encode, images, tile=tile, overlap=OVERLAP * factor, enlarges=1 / factor
            ).float()

        return encode

    def _sampled(self, case: "_Case", steps: int, draw: int = 0) -> Tensor:
        """The decoded sample in [0, 1] after `steps` evaluations, blended over the tiles at every one."""
        sampling = case.sampling
        generators = [image_generator(sampling.seed, image, draw) for image in case.ids]
        noise = image_noise((self.config.denoiser.latent_channels, *case.size), generators, self.device)
        target = sample(
            self._network(case.condition, sampling),
            noise,
            steps=steps,
            solver=sampling.solver or self.config.solver,
            schedule=self.config.schedule,
            objective=self.config.objective,
            generators=generators,
        )
        image = self._decoded(self.config.space.from_target(target, case.up), sampling)
        return image[..., : case.sides[0], : case.sides[1]]

    def _latent_size(self, lr: Tensor) -> tuple[int, int]:
        rows, columns = (side * self.degradation.scale // self.autoencoder.spec.factor for side in lr.shape[-2:])
        return rows, columns

    def _network(self, condition: Tensor, sampling: Sampling) -> Callable[[Tensor, Tensor], Tensor]:
        channels = self.config.denoiser.latent_channels

        def network(z: Tensor, times: Tensor) -> Tensor:
            def piece(joined: Tensor) -> Tensor:
                return self.denoiser(joined[:, :channels], times, joined[:, channels:])

            return apply_tiled(piece, torch.cat([z, condition], dim=1), tile=sampling.tile, overlap=OVERLAP)

        return network

    def _decoded(self, latents: Tensor, sampling: Sampling) -> Tensor:
        factor = self.autoencoder.spec.factor
        image = apply_tiled(
            self.autoencoder.decode, latents, tile=sampling.tile, overlap=OVERLAP, enlarges=float(factor)
        )
        if not torch.isfinite(image).all():
            raise InputError("the autoencoder decoded non-finite pixels; the model is not fit for this image")
        return (image + 1) / 2


@dataclass(frozen=True)
class _Case:
    """The images at hand: what the network is told of them, latent `size` with padding, image `sides` without."""

    ids: tuple[str, ...]
    sampling: Sampling
    condition: Tensor
    up: Tensor | None
    size: tuple[int, int]
    sides: tuple[int, int]


class _Stack:
    """Mean and sd (ddof 1) of images as they come (Welford 1962), so that one sample is in memory at a time."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(())
        self.squares = torch.zeros(())

    def add(self, image: Tensor) -> None:
        """Takes one image in."""
        self.count += 1
        delta = image.double() - self.mean
        self.mean = self.mean + delta / self.count
        self.squares = self.squares + delta * (image.double() - self.mean)

    @property
    def sd(self) -> Tensor:
        """The standard deviation so far."""
        return (self.squares / (self.count - 1)).sqrt()

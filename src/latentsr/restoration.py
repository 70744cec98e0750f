"""Restoration of LR images with a trained denoiser: encode, sample, decode, project."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import pad

from latentsr.autoencoders.protocol import Autoencoder
from latentsr.conditioning import encode_roles
from latentsr.config import Config
from latentsr.consistency import project
from latentsr.degrade import parse_degradation
from latentsr.diffusion.denoiser import Denoiser, DenoiserSpec
from latentsr.diffusion.latents import LatentSpace
from latentsr.diffusion.sampler import image_generator, image_noise, sample
from latentsr.errors import InputError, OptionError
from latentsr.tiling import apply_tiled

OVERLAP = 16  # latent px that neighbouring tiles share


class ModelConfig(Config):
    """Everything about a model but its weights.

    `autoencoder` is a name in the table, or "autoencoder": the folder of that name inside the model. `trained_on`,
    `modalities` (DICOM codes) and `size`, (rows, columns) of the HR training images, serve to warn of images that are
    unlike; `files` is the SHA-256 of every other file of the model's folder.
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
    files: dict[str, str] = Field(default_factory=dict)


class Sampling(Config):
    """How an image is restored.

    `steps`: evaluations of the network; 1 gives its estimate of the posterior mean. `samples`: how many are drawn and
    averaged. `realism`: 0 is the posterior mean, 1 the sample as drawn, a value between them the point on the line
    that joins both. `consistency`: project onto the images whose degradation is the input. `tile`: latent px, None
    for one piece. `solver`: None for the model's own.
    """

    steps: int = Field(1, ge=1, le=1000)
    samples: int = Field(1, ge=1)
    realism: float = Field(1.0, ge=0, le=1)
    seed: int = 0
    consistency: bool = True
    tile: int | None = Field(128, ge=2 * OVERLAP)
    solver: str | None = None

    @model_validator(mode="after")
    def _samples_vary(self) -> "Sampling":
        if self.samples > 1 and self.steps == 1:
            raise ValueError("several samples of the posterior mean do not vary: give steps, such as 16, or one sample")
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

    @torch.inference_mode()
    def restore(self, lr: Tensor, *, ids: Sequence[str], sampling: Sampling = Sampling()) -> Restored:
        """SR of LR images (images, 1, rows, columns) in [0, 1]; each image's noise follows from its id and the seed."""
        if len(ids) != len(lr):
            raise InputError(f"{len(lr)} images with {len(ids)} ids: expected one id an image")
        self._check_tile(sampling.tile)
        lr = lr.to(self.device)
        stack = _Stack()
        for draw in range(sampling.samples):
            stack.add(self._consistent(self._draw(lr, ids, sampling, draw), lr, sampling))
        return Restored(stack.mean.float().cpu(), stack.sd.float().cpu() if sampling.samples > 1 else None)

    def _check_tile(self, tile: int | None) -> None:
        multiple = self.config.denoiser.multiple
        if tile is not None and tile % multiple:
            raise OptionError(
                f"--tile {tile}: expected a multiple of {multiple}, by which this network divides its sides"
            )

    def _consistent(self, image: Tensor, lr: Tensor, sampling: Sampling) -> Tensor:
        return project(image, lr, self.degradation) if sampling.consistency else image

    def _draw(self, lr: Tensor, ids: Sequence[str], sampling: Sampling, draw: int) -> Tensor:
        """One sample, or the point of the given realism between the posterior mean and it."""
        padded = pad(lr, self._padding(lr), mode="replicate")
        roles = self._roles(2 * padded - 1, sampling)
        steps = sampling.steps if sampling.realism > 0 else 1
        image = self._sampled(roles, padded, ids, sampling, draw, steps)
        if sampling.realism < 1 and steps > 1:
            mean = self._sampled(roles, padded, ids, sampling, draw, 1)
            image = mean + sampling.realism * (image - mean)
        return image[..., : lr.shape[-2] * self.degradation.scale, : lr.shape[-1] * self.degradation.scale]

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

    def _sampled(
        self, roles: dict[str, Tensor], lr: Tensor, ids: Sequence[str], sampling: Sampling, draw: int, steps: int
    ) -> Tensor:
        """The decoded sample in [0, 1] after `steps` evaluations, blended over the tiles at every one."""
        size = self._latent_size(lr)
        condition = self.config.space.condition(roles, size)
        generators = [image_generator(sampling.seed, image, draw) for image in ids]
        noise = image_noise((self.config.denoiser.latent_channels, *size), generators, self.device)
        target = sample(
            self._network(condition, sampling),
            noise,
            steps=steps,
            solver=sampling.solver or self.config.solver,
            schedule=self.config.schedule,
            objective=self.config.objective,
            generators=generators,
        )
        return self._decoded(self.config.space.from_target(target, roles.get("latent-up")), sampling)

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

"""Restoration of LR images with a trained denoiser: encode, sample, decode, project; the dial between mean and sample.

A sample's distance from the posterior mean should be as large as the truth's; that of a small network is not. And of
the detail that a sample invents, the coarse part costs most of the error while the fine part gives most of the
sharpness (the Laplacian weighs frequency to the fourth power). So the distance is taken apart into the sixteen bands of
a wavelet packet, each band is brought to the size that errors have, and the dial lets fine bands in first. Its
functions overlap, so that no share of a band draws a grid.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from latentsr.autoencoders.encoding import decode_tiled, encode_roles, encode_tiled, from_network, to_network
from latentsr.autoencoders.haar import Wavelet
from latentsr.autoencoders.network import FrozenAutoencoder
from latentsr.autoencoders.protocol import Autoencoder
from latentsr.config import Config
from latentsr.degrade import parse_degradation, project, translated
from latentsr.device import FLOAT32, SliceId, image_generator, in_float32, resident, resolve_precision
from latentsr.diffusion.denoiser import Compiled, Denoiser, DenoiserSpec
from latentsr.diffusion.latents import LatentSpace
from latentsr.diffusion.objective import ObjectiveName, ScheduleName
from latentsr.diffusion.process import ONE_STEP, NoiseProcess, Process, Regression, finite, image_noise
from latentsr.diffusion.published import PublishedSampling
from latentsr.errors import InputError, OptionError
from latentsr.names import NOISE_LEVEL
from latentsr.provenance import ESTIMATE, POSTERIOR_MEAN, SAMPLE
from latentsr.tiling import OVERLAP, apply_tiled
from latentsr.upscalers.calibration import Calibration
from latentsr.upscalers.inputs import TrainedInputs
from latentsr.upscalers.upscaler import NOT_CALIBRATED, Restored, Sampling, Upscaler

PACKET = Wavelet()
SAMPLE_STEPS = 16  # of a sample, unless told otherwise
REALISM = 0.27  # where the dial stands unless told otherwise; chosen on training images, see the model card
BANDS = PACKET.spec.latent_channels
LARGEST_GAIN = 4.0  # beyond it a band has next to no spread to calibrate
SMALLEST_POWER = 1e-12
Gain = Annotated[float, Field(gt=0, le=LARGEST_GAIN)]
BandGains = tuple[Gain, Gain, Gain, Gain]
AS_DRAWN: BandGains = (1.0, 1.0, 1.0, 1.0)


class SpreadCalibration(Config):
    """The expected squared error of the posterior mean in each band: exp(intercept) * spread^slope.

    `spread` is the mean square of a sample's distance from the mean in the band of an image; pixels in [0, 1].
    """

    slope: tuple[float, ...]
    intercept: tuple[float, ...]

    def gain(self, bands: Tensor) -> Tensor:
        """What to multiply each band of each image by, (images, 16, 1, 1), for the spread that its errors have."""
        slope, intercept = (
            resident(np.array, (values,), bands.dtype, bands.device) for values in (self.slope, self.intercept)
        )
        spread = _log_power(bands)
        return torch.exp((intercept + (slope - 1) * spread) / 2).clamp(max=LARGEST_GAIN)[:, :, None, None]


def fit_calibration(errors: Tensor, distances: Tensor) -> SpreadCalibration:
    """The calibration from the mean's errors and a sample's distances, (images, 1, rows, columns) each.

    A line through log error against log spread in each band, shifted so that the mean error is met.
    """
    error, spread = _log_power(_bands(errors)), _log_power(_bands(distances))
    away = spread - spread.mean(dim=0)
    slope = (away * (error - error.mean(dim=0))).sum(dim=0) / away.square().sum(dim=0).clamp(min=SMALLEST_POWER)
    slope = slope.clamp(0, 1)
    predicted = slope * spread
    intercept = torch.logsumexp(error, dim=0) - torch.logsumexp(predicted, dim=0)
    return SpreadCalibration(slope=tuple(slope.tolist()), intercept=tuple(intercept.tolist()))


def between(
    mean: Tensor, sample: Tensor, realism: float, calibration: SpreadCalibration | None, gains: BandGains = AS_DRAWN
) -> Tensor:
    """The image at `realism` between mean and sample, (images, 1, rows, columns), pixels in [0, 1].

    0 is the mean. 1 is the calibrated sample, or the sample as drawn without a calibration, where all gains are 1: the
    bands of its distance from the mean are multiplied by them (`band_weights`).
    """
    bands = _bands(sample - mean)
    gain = 1.0 if calibration is None else calibration.gain(bands)
    weights = resident(band_weights, (realism, gains), bands.dtype, bands.device)
    distance = PACKET.decode(bands * gain * weights)
    return mean + distance[..., : mean.shape[-2], : mean.shape[-1]]


def band_weights(realism: float, gains: BandGains = AS_DRAWN) -> Tensor:
    """How much of each band the dial lets in, (16, 1, 1): gain * min(1, realism / (1 - fineness)).

    A band's fineness is the larger of its two places in frequency, from 0 to 3, over three; there is a gain for each.
    """
    side = range(math.isqrt(BANDS))
    shares = [realism / max(1 - place / side[-1], realism) if realism else 0.0 for place in side]
    weights = [gain * share for gain, share in zip(gains, shares, strict=True)]
    return torch.tensor([weights[max(i, j)] for i in side for j in side])[:, None, None]


def _bands(images: Tensor) -> Tensor:
    below, right = (-side % PACKET.spec.factor for side in images.shape[-2:])
    return PACKET.encode(pad(images, (0, right, 0, below), mode="replicate"))


def _log_power(bands: Tensor) -> Tensor:
    """Logarithm of the mean square of each band of each image, (images, 16)."""
    return bands.square().mean(dim=(-2, -1)).clamp(min=SMALLEST_POWER).log()


class Parent(Config):
    """The model whose weights a training began with: its name and the SHA-256 of its config.json."""

    name: str
    hash: str


class ModelConfig(Config):
    """Everything about a model but its weights.

    `autoencoder` is a name in the table, or "autoencoder": the folder of that name inside the model. `trained_on`,
    `modalities` (DICOM codes) and `size`, (rows, columns) of the HR training images, serve to warn of images that are
    unlike. `realism` is the dial's place for samples, `steps` their evaluations, `spread` their calibration, and
    `band_gains` what the bands of their distance from the mean are multiplied by, by fineness, the coarsest first. The
    spread of several samples is that of samples without gains.
    `published` is the process of a model that was imported from the study's checkpoints, or trained as they were; it
    then decides instead of objective, schedule and solver. `parent` is the model that it was fine-tuned from. `base` is
    the model, in the folder of that name, whose estimate is the posterior mean, and which this one refines: its network
    sees that estimate beside the condition and learns the error of it (Whang 2022, section 3). `calibration` is that of
    its intervals, see `latentsr.calibrate`. `inputs` is what LR of its training looked like. `files` is the
    SHA-256 of every other file of the model's folder.
    """

    format: Literal[1] = 1
    name: str
    degradation: str
    autoencoder: str
    autoencoder_hash: str
    denoiser: DenoiserSpec
    space: LatentSpace
    objective: ObjectiveName
    schedule: ScheduleName
    solver: str
    trained_on: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    size: tuple[int, int] = (256, 256)
    realism: float = Field(REALISM, gt=0, le=1)
    spread: SpreadCalibration | None = None
    published: PublishedSampling | None = Field(None, exclude_if=lambda value: value is None)  # older hashes lack it
    parent: Parent | None = None
    base: Parent | None = Field(None, exclude_if=lambda value: value is None)  # as above
    calibration: Calibration | None = Field(None, exclude_if=lambda value: value is None)  # as above
    inputs: TrainedInputs | None = Field(None, exclude_if=lambda value: value is None)  # as above
    steps: int = Field(SAMPLE_STEPS, ge=2, le=1000, exclude_if=lambda value: value == SAMPLE_STEPS)  # as above
    band_gains: BandGains = Field(AS_DRAWN, exclude_if=lambda value: value == AS_DRAWN)  # as above
    files: dict[str, str] = Field(default_factory=dict)

    def __repr__(self) -> str:
        return f"ModelConfig({self.name}, {self.degradation}, {self.autoencoder})"

    @property
    def process(self) -> Process:
        """The noise process that the network was trained for."""
        if self.denoiser.family == "regression":
            return Regression()
        return self.published or NoiseProcess(self.objective, self.schedule, self.solver)


class Restorer(Upscaler):
    """A denoiser in its latent space, with the autoencoder and the degradation that it was trained for.

    Of a model with a `base` the first of a sample's steps is the base's estimate, and the others refine it. `precision`
    is that of the weights and features of the denoiser and the decoder; all else is computed in float32, the projection
    in float64. `compiled`: the denoiser by torch.compile, see `latentsr.diffusion.denoiser.Compiled`.
    """

    autoencoder: Autoencoder
    base: "Restorer | None"

    def __init__(
        self, config: ModelConfig, denoiser: Denoiser, autoencoder: Autoencoder, device: str = "cpu", *,
        base: "Restorer | None" = None, precision: str = FLOAT32, compiled: bool = False,
    ) -> None:  # fmt: skip
        self.config, self.process, self.base = config, config.process, base
        self.has_mean, self.has_samples = self.process.has_mean, self.process.has_samples
        self.name, self.modalities, self.size = config.name, config.modalities, config.size
        dtype = resolve_precision(precision, device)
        self.denoiser = denoiser.to(device).eval()
        self.autoencoder = autoencoder
        self.settings = {} if precision == FLOAT32 else {"precision": precision}
        if self.settings:
            self.denoiser.to(dtype)
            if isinstance(autoencoder, FrozenAutoencoder):
                self.autoencoder = autoencoder.decoding_in(dtype)
        self.settings |= {"compiled": compiled} if compiled else {}
        self.network = Compiled(denoiser) if compiled else denoiser
        self.device = device
        self.trained = self.degradation = parse_degradation(config.degradation)
        self.calibration, self.inputs = config.calibration, config.inputs

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}, {self.degradation.text}, on {self.device})"

    @torch.inference_mode()
    def restore(self, lr: Tensor, *, ids: Sequence[str], sampling: Sampling = Sampling()) -> Restored:
        """SR of LR images (images, 1, rows, columns) in [0, 1]; each image's noise follows from its id and the seed."""
        if len(ids) != len(lr):
            raise InputError(f"{len(lr)} images with {len(ids)} ids: expected one id an image")
        self.check(sampling)
        lr, steps = lr.to(self.device), self.steps(sampling)
        given = self._conditioning(translated(lr, self.degradation, self.trained), ids, sampling)

        def consistent(image: Tensor) -> Tensor:
            return project(image, lr, self.degradation) if sampling.consistency else image

        if not sampling.draws:
            drawn, own = self._draw(given, ids, sampling, steps=1)
            image = finite(consistent(drawn).float().cpu())
            return Restored(image, latents=own.float().cpu(), mean=image if self.has_mean else None)
        mean = self._draw(given, ids, sampling, steps=1)[0] if self.has_mean else None
        realism = self.realism if sampling.realism is None else sampling.realism
        images, spreads = Moments(), Moments()
        latents: Tensor | None = None
        for number in range(sampling.samples):
            drawn, latents = self._draw(given, ids, sampling, steps=steps, number=number)
            at = drawn if mean is None else between(mean, drawn, realism, self.config.spread, self.config.band_gains)
            images.add(consistent(at))
            if sampling.samples > 1:
                whole = drawn if mean is None else between(mean, drawn, 1.0, self.config.spread)
                spreads.add(consistent(whole))
        image, mean = finite(images.mean.float().cpu()), None if mean is None else mean.float().cpu()
        if sampling.samples > 1 or latents is None:
            spread, calibration = spreads.sd.float().cpu(), self.calibration
            interval = None if calibration is None or self.uncalibrated(sampling) else calibration.half_widths(spread)
            return Restored(image, spread, interval=interval, mean=mean)
        return Restored(image, latents=latents.float().cpu(), mean=mean)

    @torch.inference_mode()
    def mean_and_sample(self, lr: Tensor, *, ids: Sequence[str], sampling: Sampling) -> tuple[Tensor, Tensor]:
        """The posterior mean and one sample as drawn, both without projection: what a spread is calibrated on."""
        lr = translated(lr.to(self.device), self.degradation, self.trained)
        given = self._conditioning(lr, ids, sampling)
        mean, drawn = (self._draw(given, ids, sampling, steps=steps)[0] for steps in (1, self.steps(sampling)))
        return finite(mean.cpu()), finite(drawn.cpu())

    def steps(self, sampling: Sampling) -> int:
        """How many evaluations an image takes, or each sample of it: those asked for, or the model's own."""
        return sampling.steps or (self.config.steps if sampling.draws else 1)

    def check(self, sampling: Sampling) -> None:
        """OptionError for a tile, steps, a solver or a realism that do not fit the network."""
        multiple, steps = self.multiple, self.steps(sampling)
        if sampling.tile is not None and sampling.tile < 2 * multiple:
            raise OptionError(
                f"tile {sampling.tile}: expected {2 * multiple} or more, since this network divides sides by {multiple}"
            )
        self.process.check(max(1, self._refining(steps)), sampling.solver)
        if sampling.realism not in (None, 1.0) and not self.has_mean:
            raise OptionError(f"realism {sampling.realism:g}: {self.name} has no posterior mean; leave realism out")
        if sampling.samples > 1 and not self._varies(sampling):
            raise OptionError(
                f"steps {steps}: several samples of one evaluation beyond the base's do not vary; give more steps"
            )

    def uncalibrated(self, sampling: Sampling) -> str:
        """Why results of these options have no intervals with a guarantee; empty where they have."""
        if self.calibration is None:
            return NOT_CALIBRATED
        if "precision" in self.settings:
            return f"calibrated in {FLOAT32}, not {self.settings['precision']}"
        return self.calibration.misfit(self.settled(sampling), self.realism)

    def evaluations(self, sampling: Sampling) -> int:
        """How often a network is evaluated for an image."""
        return sampling.samples * self._refining(self.steps(sampling)) + self.has_mean if sampling.draws else 1

    @property
    def realism(self) -> float:
        """Where the dial stands unless told otherwise: at a whole sample of a model without posterior mean."""
        return self.config.realism if self.has_mean else 1.0

    @property
    def multiple(self) -> int:
        """Latent sides must be multiples of this."""
        return math.lcm(self.config.denoiser.multiple, 1 if self.base is None else self.base.multiple)

    def image_kind(self, sampling: Sampling) -> str:
        """Posterior mean or sample; the estimate of a regression network, also where that is the base."""
        if not self.has_samples:
            return ESTIMATE
        if self.base is not None and not sampling.draws:
            return self.base.image_kind(sampling)
        return SAMPLE if self._varies(sampling) else POSTERIOR_MEAN

    @property
    def roles(self) -> tuple[str, ...]:
        """The LR roles that the networks need."""
        return self.config.space.roles if self.base is None else self.base.roles

    def condition(
        self, roles: Mapping[str, Tensor], noise: Tensor, tile: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The condition on channels, and the latents that a residual target is a residual to, if any.

        `roles`: of the LR images, unscaled; `noise` is like the latents. A base's estimate is made in latent tiles of
        `tile`.
        """
        if self.base is not None:
            return refined(self.base, self.autoencoder, roles, noise, tile)
        return self.config.space.condition(roles, (noise.shape[-2], noise.shape[-1])), roles.get("latent-up")

    @torch.no_grad()
    def estimated(self, roles: Mapping[str, Tensor], noise: Tensor, tile: int | None = None) -> tuple[Tensor, Tensor]:
        """What a model that refines this one is given: the condition with this one's estimate, and its latents.

        Arguments as of `condition`.
        """
        condition, up = self.condition(roles, noise, tile)
        network = partial(
            apply_tiled, self.network, tile=tile, overlap=OVERLAP, multiple=self.multiple, beside=condition
        )
        with in_float32(noise.device):  # in a training, too
            estimate = self.process.sample(network, noise, condition, steps=1)
        return torch.cat([condition, estimate], dim=1), self.config.space.from_target(estimate, up)

    def _varies(self, sampling: Sampling) -> bool:
        """Whether the seed matters: not where one evaluation beyond a base's gives the posterior mean of its error."""
        return sampling.draws and (self.config.solver == ONE_STEP or self._refining(self.steps(sampling)) > 1)

    def _refining(self, steps: int) -> int:
        """Those of a sample's steps in which this network is evaluated: all, or all but the base's."""
        return steps if self.base is None else steps - 1

    def _conditioning(self, lr: Tensor, ids: Sequence[str], sampling: Sampling) -> "_Conditioning":
        """What the network is given of LR images, which are padded to sides that it and the autoencoder divide."""
        scale, factor = self.scale, self.autoencoder.spec.factor
        multiple = self.multiple * factor
        step = multiple // math.gcd(multiple, scale)
        if "latent-native" in self.roles:  # the LR itself is encoded too
            step = math.lcm(step, factor)
        rows, columns = lr.shape[-2:]
        padded = pad(lr, (0, -columns % step, 0, -rows % step), mode="replicate")
        size = padded.shape[-2] * scale // factor, padded.shape[-1] * scale // factor

        def encode(images: Tensor) -> Tensor:
            return encode_tiled(self.autoencoder, images, sampling.tile).float()

        roles = encode_roles(self.roles, to_network(padded), scale, encode)
        roles[NOISE_LEVEL] = torch.full((len(lr), 1, *size), self.degradation.noise, device=lr.device)
        condition, up = self.condition(roles, self._noise(size, ids, sampling)[0], sampling.tile)
        return _Conditioning(condition, up, size, (rows * scale, columns * scale))

    def _noise(
        self, size: tuple[int, int], ids: Sequence[str], sampling: Sampling, number: int = 0
    ) -> tuple[Tensor, list[torch.Generator]]:
        """The noise that a draw of each image begins with, and the generators of what follows."""
        generators, mixtures = [], []
        for image in ids:
            if sampling.coherent and isinstance(image, SliceId):
                generators.append(image.later(sampling.seed, number))
                mixtures.append(image.mixture(sampling.seed, number))
            else:
                generators.append(image_generator(sampling.seed, image, number))
                mixtures.append([(1.0, generators[-1])])
        return image_noise((self.config.denoiser.latent_channels, *size), mixtures, self.device), generators

    def _draw(
        self, given: "_Conditioning", ids: Sequence[str], sampling: Sampling, *, steps: int, number: int = 0
    ) -> tuple[Tensor, Tensor]:
        """The decoded sample in [0, 1] after `steps` evaluations, blended over the tiles at every one; its latents.

        Pixels of an image are NaN where its latents are not finite.
        """
        factor, steps = self.autoencoder.spec.factor, self._refining(steps)
        if steps or given.up is None:
            noise, generators = self._noise(given.size, ids, sampling, number)
            network = partial(
                apply_tiled, self.network, tile=sampling.tile, overlap=OVERLAP, multiple=self.multiple,
                beside=given.condition,
            )  # fmt: skip
            target = self.process.sample(
                network, noise, given.condition, steps=steps, solver=sampling.solver, generators=generators
            )
            latents = self.config.space.from_target(target, given.up)
        else:  # the base's estimate alone
            latents = given.up
        image = decode_tiled(self.autoencoder, latents, sampling.tile, check=False)
        # Whether all is finite is asked at the end, of pixels: a GPU would be waited for at every draw.
        image = image.masked_fill(~latents.isfinite().flatten(1).all(dim=1)[:, None, None, None], math.nan)
        rows, columns = (-(-side // factor) for side in given.sides)
        return from_network(image[..., : given.sides[0], : given.sides[1]]), latents[..., :rows, :columns]


def refined(
    base: Restorer, autoencoder: Autoencoder, roles: Mapping[str, Tensor], noise: Tensor, tile: int | None = None
) -> tuple[Tensor, Tensor]:
    """What a model in the latents of `autoencoder` is given of a base: the condition, and the estimate in its latents.

    The base may have other latents, if both lose nothing: its roles and its estimate pass through pixels then.
    """
    if base.autoencoder.hash == autoencoder.hash:
        return base.estimated(roles, noise, tile)
    theirs = {
        role: base.autoencoder.encode(autoencoder.decode(one)) if role.startswith("latent") else one
        for role, one in roles.items()
    }
    condition, estimate = base.estimated(theirs, noise, tile)
    return condition, autoencoder.encode(base.autoencoder.decode(estimate))


@dataclass(frozen=True)
class _Conditioning:
    """What the network is given of LR images; the latent's `size` has padding, the image's `sides` have none."""

    condition: Tensor
    up: Tensor | None
    size: tuple[int, int]
    sides: tuple[int, int]


class Moments:
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

"""What every upscaler is to the rest of the package, its options and results; bicubic interpolation."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor

from latentsr import __version__
from latentsr.autoencoders.protocol import Autoencoder
from latentsr.config import Config, canonical_json, checked
from latentsr.degrade import Degradation, enlarge, project
from latentsr.errors import InputError, ModelError, OptionError
from latentsr.io import read
from latentsr.names import BICUBIC
from latentsr.provenance import ESTIMATE, INTERPOLATION, Provenance
from latentsr.volume import Volume

BICUBIC_PROJECTED = "bicubic+projection"
SAMPLE_STEPS = 16  # of several samples, unless told otherwise
SMALLEST_TILE = 64  # below it a tile sees too little around it: its samples differ from those of the whole image
BATCH = 4  # slices at a time


def _or_none(value: object) -> object:
    """None for what stands for it on a command line."""
    return None if value in (0, "0", "") else value


class Sampling(Config):
    """How an image is restored.

    `samples`: how many are drawn and averaged. `steps`: evaluations of the network for each; 1, the default of one
    sample, gives its estimate of the posterior mean; the default of several is 16. `realism`: 0 is the posterior mean,
    1 a whole sample; between them fine detail comes first (see `latentsr.upscalers.restorer`); None: the model's own.
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
        if self.samples > 1 and not self.draws:
            raise ValueError(
                "several samples of the posterior mean do not vary: "
                "give steps, such as 16, and a realism above 0, or one sample"
            )
        if self.realism and self.steps == 1:
            raise ValueError("one step gives the posterior mean, whose realism is 0: give steps, such as 16")
        return self

    @property
    def draws(self) -> bool:
        """Whether samples are drawn; where not, the result is the posterior mean, or the only estimate."""
        return self.steps > 1 and self.realism != 0


@dataclass(frozen=True)
class Restored:
    """SR images in [0, 1] (not clipped), (images, 1, rows, columns), and the sd over the samples where several.

    `latents` are those that the sampler drew of one sample, before realism and projection: (images, channels, rows,
    columns); None where none or several were drawn.
    """

    image: Tensor
    spread: Tensor | None = None
    latents: Tensor | None = None


@dataclass(frozen=True)
class Enhanced:
    """The SR volume, the sd over the samples as a volume (None for one sample), and how it was made."""

    volume: Volume
    uncertainty: Volume | None
    provenance: Provenance


class Upscaler:
    """Makes SR images of LR images: `restore` tensors, `enhance` files, arrays and volumes.

    A new one defines `restore`, and `has_samples`, `check` and `image_kind` where it takes options.

    Attributes:
        name: what records and outputs call it.
        hash: digest of all that decides its pixels, but the options.
        degradation: the operator that it undoes; its scale is that of the result.
        device: where it computes.
        autoencoder: the one in whose latents it works, or None.
        modalities: DICOM codes of the images that it was trained on; empty: not known, or not trained.
        size: (rows, columns) of the HR images that it was trained on; None: not trained.
        has_mean: whether one step gives an image: the posterior mean, or the one that there is.
        has_samples: whether more steps draw samples; where not, there is one image, whatever the seed.
    """

    name: str
    hash: str
    degradation: Degradation
    device: str = "cpu"
    autoencoder: Autoencoder | None = None
    modalities: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    has_mean: bool = True
    has_samples: bool = False

    @property
    def scale(self) -> int:
        """How many times finer the result is."""
        return self.degradation.scale

    def restore(self, lr: Tensor, *, ids: Sequence[str], sampling: Sampling = Sampling()) -> Restored:
        """SR of LR images (images, 1, rows, columns) in [0, 1]; each image's noise follows from its id and the seed."""
        raise NotImplementedError

    def check(self, sampling: Sampling) -> None:
        """OptionError for options that it does not know: those of samples, where it draws none."""
        if not self.has_samples and (sampling.steps > 1 or sampling.solver):
            raise OptionError(f"{self.name} draws no samples: leave samples, steps, realism and solver out")

    def evaluations(self, sampling: Sampling) -> int:  # noqa: ARG002 - of those that have a network
        """How often the network is evaluated for an image, or each of its tiles; 0 where there is none."""
        return 1

    def image_kind(self, sampling: Sampling) -> str:  # noqa: ARG002
        """What the pixels of a result are, for its provenance: an estimate by a network, unless told otherwise."""
        return ESTIMATE

    def enhance(
        self,
        source: Volume | NDArray[Any] | str | Path,
        *,
        sampling: Sampling | None = None,
        batch: int = BATCH,
        progress: Callable[[int, int], None] = lambda done, total: None,
        **options: Any,
    ) -> Enhanced:
        """The source, `scale` times finer in plane, in its physical values; slices are restored one by one.

        The noise of a slice follows from the seed and its pixels, so that names and order change nothing.

        Args:
            source: a Volume; an array, (rows, columns) or (slices, rows, columns); or the path of an image or series
            sampling: how it is restored; or, instead, `options`
            batch: slices at a time, at least 1
            progress: takes (slices done, all slices)
            options: the fields of Sampling, such as steps=16, samples=8, realism=0.5, seed=1

        Raises:
            OptionError: an unknown option, a value outside what is valid, or options beside a `sampling`
            InputError: an image that cannot be read or restored
        """
        if sampling is not None and options:
            raise OptionError(f"enhance: sampling and {', '.join(options)} are given; put all options into the one")
        if batch < 1:
            raise OptionError(f"enhance: batch is {batch}; expected 1 or more")
        sampling = sampling or checked(Sampling, options, "enhance")
        self.check(sampling)
        volume = _volume(source)
        unit = torch.from_numpy(volume.window.apply(volume.pixels))[:, None]
        slices, rows, columns = volume.pixels.shape
        pixels = np.empty((slices, rows * self.scale, columns * self.scale), np.float32)
        spread = np.empty_like(pixels) if sampling.samples > 1 else None
        for start in range(0, slices, batch):
            progress(start, slices)
            part = slice(start, start + batch)
            ids = [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in unit[part]]
            restored = self.restore(unit[part], ids=ids, sampling=sampling)
            pixels[part] = volume.window.invert(restored.image[:, 0].numpy())
            if spread is not None:
                if restored.spread is None:
                    raise ModelError(f"{self.name}: {sampling.samples} samples gave no spread; report the model")
                spread[part] = restored.spread[:, 0].numpy() * (volume.window.high - volume.window.low)
        progress(slices, slices)
        uncertainty = None if spread is None else volume.enlarged(spread, self.scale)
        return Enhanced(volume.enlarged(pixels, self.scale), uncertainty, self.provenance(sampling))

    def provenance(self, sampling: Sampling) -> Provenance:
        """Who made a result, and how: what goes into every output file."""
        options = canonical_json({**sampling.model_dump(), "scale": self.scale, "degradation": self.degradation.text})
        kind = f"mean of {sampling.samples} samples" if sampling.samples > 1 else self.image_kind(sampling)
        return Provenance(
            self.name, __version__, self.hash, sampling.seed, options, synthetic=kind != INTERPOLATION, image=kind
        )


class Bicubic(Upscaler):
    """Bicubic interpolation, or with `projected` the nearest image whose degradation is exactly the LR."""

    def __init__(self, degradation: Degradation, *, projected: bool = False) -> None:
        self.name = self.hash = BICUBIC_PROJECTED if projected else BICUBIC
        self.degradation = degradation
        self.projected = projected

    def restore(self, lr: Tensor, *, ids: Sequence[str], sampling: Sampling = Sampling()) -> Restored:  # noqa: ARG002
        """SR of LR images (images, 1, rows, columns) in [0, 1]; ids and sampling change nothing."""
        image = enlarge(lr, self.scale)
        return Restored(project(image, lr, self.degradation) if self.projected else image)

    def evaluations(self, sampling: Sampling) -> int:  # noqa: ARG002
        """None: there is no network."""
        return 0

    def image_kind(self, sampling: Sampling) -> str:  # noqa: ARG002
        """Interpolation: no detail is made up."""
        return INTERPOLATION


def _volume(source: Volume | NDArray[Any] | str | Path) -> Volume:
    if isinstance(source, str | Path):
        return read(source)
    if isinstance(source, np.ndarray):
        if source.dtype.kind not in "buif":
            raise InputError(f"array of {source.dtype}: expected real numbers")
        return Volume.from_array(source)
    if isinstance(source, Volume):
        return source
    raise InputError(f"image of type {type(source).__name__}: expected a path, a numpy array or a Volume")


@dataclass(frozen=True)
class Method:
    """A way to make SR images, by the name that tables give it.

    Attributes:
        name: of the method in tables.
        restore: takes LR images (batch, 1, rows, columns), float in [0, 1] but for the degradation's overshoot, and the
            record id of each; returns SR images (batch, 1, scale x rows, scale x columns) on the same intensity scale.
        autoencoder: the one in whose latents a model works; None for all else.
        bits: the least of a pixel where the images are files; None where they are made in float.
        evaluations: of the network for an image, 0 without a network; None where the images are files.
        latents: whether `restore` returns the latents that a sampler drew, of `autoencoder`.
    """

    name: str
    restore: Callable[[Tensor, Sequence[str]], Restored]
    autoencoder: Autoencoder | None = None
    bits: int | None = None
    evaluations: int | None = None
    latents: bool = False

    @classmethod
    def of(cls, name: str, upscaler: Upscaler, sampling: Sampling = Sampling()) -> "Method":
        """The upscaler's images with these options."""

        def restore(lr: Tensor, ids: Sequence[str]) -> Restored:
            return upscaler.restore(lr, ids=ids, sampling=sampling)

        return cls(
            name, restore, upscaler.autoencoder, evaluations=upscaler.evaluations(sampling),
            latents=upscaler.autoencoder is not None and sampling.samples == 1,
        )  # fmt: skip


def bicubic(degradation: Degradation, *, projected: bool = False) -> Method:
    """Bicubic interpolation as a method of tables, under its own name; see Bicubic."""
    upscaler = Bicubic(degradation, projected=projected)
    return Method.of(upscaler.name, upscaler)

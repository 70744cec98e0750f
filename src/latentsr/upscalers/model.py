"""The SuperResolver: a model folder that is loaded, checked and applied to volumes.

The folder holds `config.json` (a ModelConfig, with the hash of every other file but the card, and its own digest), the
denoiser's weights, the autoencoder's files unless it is one that needs none, `training_images.txt` and `README.md`, the
model card.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsr import __version__
from latentsr.atomic import replacing
from latentsr.autoencoders import Autoencoder, load_autoencoder
from latentsr.autoencoders.weights import load_weights, save_weights
from latentsr.config import canonical_json, checked, read_signed_json, sha256, signed, write_json
from latentsr.degrade import Degradation, parse_degradation
from latentsr.device import resolve_device
from latentsr.diffusion.denoiser import Denoiser
from latentsr.diffusion.sampler import make_solver
from latentsr.errors import InputError, LatentSRError, ModelError, OptionError
from latentsr.io import read
from latentsr.provenance import POSTERIOR_MEAN, SAMPLE, Provenance
from latentsr.upscalers.restorer import ModelConfig, Restored, Restorer, Sampling
from latentsr.volume import Volume

SHIPPED = Path(__file__).parents[1] / "models"
CONFIG, WEIGHTS, CARD, AUTOENCODER = "config.json", "denoiser.safetensors", "README.md", "autoencoder"
IMAGES = "training_images.txt"  # a `pixel_digest` a line
BATCH = 4  # slices at a time


@dataclass(frozen=True)
class Enhanced:
    """The SR volume, the sd over the samples as a volume (None for one sample), and how it was made."""

    volume: Volume
    uncertainty: Volume | None
    provenance: Provenance


class SuperResolver:
    """A model, ready to be applied: `load` it, then `enhance` files, arrays and volumes, or `restore` tensors.

    `training_images` are the digests of those that are known, see `latentsr.data.duplicates.pixel_digest`; none of a
    model that was trained by an older version.
    """

    def __init__(self, restorer: Restorer, hash: str, training_images: Iterable[str] = ()) -> None:
        self.restorer = restorer
        self.hash = hash
        self.training_images = frozenset(training_images)

    def __repr__(self) -> str:
        return f"SuperResolver({self.name}, {self.degradation.text}, on {self.restorer.device})"

    @classmethod
    def load(cls, name_or_folder: str | Path, *, device: str = "auto") -> "SuperResolver":
        """The model of that name which comes with the package, or the one in a folder; every file's hash is checked."""
        folder = _folder(name_or_folder)
        config = _config(folder)
        _check_files(folder, config)
        device = resolve_device(device)
        inner = config.autoencoder == AUTOENCODER
        autoencoder = load_autoencoder(folder / AUTOENCODER if inner else config.autoencoder, device=device)
        if autoencoder.hash != config.autoencoder_hash:
            raise ModelError(
                f"{folder}: made for another autoencoder than {config.autoencoder}; get the whole model again"
            )
        denoiser = _denoiser(folder, config)
        images = (folder / IMAGES).read_text(encoding="ascii").split() if IMAGES in config.files else ()
        return cls(Restorer(config, denoiser, autoencoder, device), sha256(folder / CONFIG), images)

    @property
    def config(self) -> ModelConfig:
        """What the model is, without its weights."""
        return self.restorer.config

    @property
    def name(self) -> str:
        """The model's name."""
        return self.config.name

    @property
    def autoencoder(self) -> Autoencoder:
        """The autoencoder in whose latents it works."""
        return self.restorer.autoencoder

    @property
    def degradation(self) -> Degradation:
        """The operator that the model undoes."""
        return self.restorer.degradation

    @property
    def scale(self) -> int:
        """How many times finer the result is."""
        return self.degradation.scale

    def restore(self, lr: Tensor, *, ids: Sequence[str], sampling: Sampling = Sampling()) -> Restored:
        """SR of LR images (images, 1, rows, columns) in [0, 1]; see Restorer.restore."""
        return self.restorer.restore(lr, ids=ids, sampling=sampling)

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
        volume = _volume(source)
        unit = torch.from_numpy(volume.window.apply(volume.pixels))[:, None]
        slices, rows, columns = volume.pixels.shape
        pixels = np.empty((slices, rows * self.scale, columns * self.scale), np.float32)
        spread = np.empty_like(pixels) if sampling.samples > 1 else None
        for start in range(0, slices, batch):
            progress(start, slices)
            part = slice(start, start + batch)
            restored = self.restore(unit[part], ids=[_pixel_id(image) for image in unit[part]], sampling=sampling)
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
        return Provenance(self.name, __version__, self.hash, sampling.seed, options, image=self._image(sampling))

    def _image(self, sampling: Sampling) -> str:
        """What the pixels of a result are."""
        if sampling.samples > 1:
            return f"mean of {sampling.samples} samples"
        realism = self.config.realism if sampling.realism is None else sampling.realism
        return POSTERIOR_MEAN if self.restorer.has_mean and (sampling.steps == 1 or realism == 0) else SAMPLE


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


def save_model(
    folder: Path,
    config: ModelConfig,
    weights: Mapping[str, Tensor],
    *,
    card: str,
    autoencoder: Path | None = None,
    training_images: Iterable[str] = (),
) -> None:
    """Writes a model folder at `folder`, whole or not at all; weights as float16, which halves the file.

    `training_images` are digests, see `latentsr.data.duplicates.pixel_digest`.
    """
    with replacing(folder) as partial:
        partial.mkdir()
        save_weights({key: _stored(value) for key, value in weights.items()}, partial / WEIGHTS)
        (partial / CARD).write_text(card, encoding="utf-8")
        if autoencoder is not None:
            shutil.copytree(autoencoder, partial / AUTOENCODER)
        if digests := sorted(set(training_images)):
            (partial / IMAGES).write_text("\n".join(digests) + "\n", encoding="ascii")
        made = (path for path in sorted(partial.rglob("*")) if path.is_file() and path.name != CARD)
        files = {path.relative_to(partial).as_posix(): sha256(path) for path in made}
        write_json(partial / CONFIG, signed({**config.model_dump(mode="json"), "files": files}))


def _stored(value: Tensor) -> Tensor:
    return value.half().contiguous() if value.is_floating_point() else value.contiguous()


def shipped_models() -> list[str]:
    """The names of the models that come with the package."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{CONFIG}"))


def _folder(name_or_folder: str | Path) -> Path:
    given, shipped = Path(name_or_folder), str(name_or_folder) in shipped_models()
    if shipped and (given / CONFIG).is_file():
        raise ModelError(f"model '{given}': comes with the package and is a folder here; give ./{given} for the folder")
    if shipped or (given / CONFIG).is_file():
        return SHIPPED / given if shipped else given
    raise ModelError(
        f"model '{name_or_folder}': expected a model folder with {CONFIG}, or one of {', '.join(shipped_models())}"
    )


def _config(folder: Path) -> ModelConfig:
    try:
        config = checked(ModelConfig, read_signed_json(folder / CONFIG), str(folder / CONFIG))
        parse_degradation(config.degradation)
        make_solver(config.solver, config.schedule, config.objective)
    except LatentSRError as error:
        raise ModelError(f"{error}; get the whole model again") from error
    return config


def _check_files(folder: Path, config: ModelConfig) -> None:
    for name, digest in config.files.items():
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: {name} is missing; get the whole model again")
        if sha256(folder / name) != digest:
            raise ModelError(f"{folder}: {name} was altered (its SHA-256 differs from {CONFIG}); get it again")
    if WEIGHTS not in config.files:
        raise ModelError(f"{folder}: {CONFIG} does not name {WEIGHTS}; get the whole model again")


def _denoiser(folder: Path, config: ModelConfig) -> Denoiser:
    denoiser = Denoiser(config.denoiser)
    load_weights(denoiser, folder / WEIGHTS)
    return denoiser


def _pixel_id(image: Tensor) -> str:
    return hashlib.sha256(image.numpy().tobytes()).hexdigest()

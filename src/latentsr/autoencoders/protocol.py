"""What every autoencoder is to the rest of the package, and the table of those whose weights are published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor

Domain = Literal["none", "unknown", "natural", "medical"]


@dataclass(frozen=True)
class AutoencoderSpec:
    """The facts about an autoencoder.

    `domain` is that of the images it was trained on: "none" where it was trained on none (haar, identity), "unknown"
    where nothing says. `factor` is the image side over the latent side. `dtype` is the least precise one in which its
    publisher or diffusers documents its use, float32 where neither does; latents are computed in float32 all the same.
    `lossless` says that decode(encode(x)) is x up to rounding.
    """

    name: str
    source: str
    licence: str
    domain: Domain
    image_channels: int
    latent_channels: int
    factor: int
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    lossless: bool = False

    @property
    def has_weights(self) -> bool:
        """False for those that are all code (haar, identity): the name is enough to have them again."""
        return self.source != "latentsr"


@runtime_checkable
class Autoencoder(Protocol):
    """Grey images (batch, 1, rows, columns) in [-1, 1] to latents (batch, channels, rows / factor, columns / factor).

    Latents are the posterior mean, unscaled. Sides must be multiples of the factor.
    """

    @property
    def spec(self) -> AutoencoderSpec: ...

    @property
    def hash(self) -> str:
        """A digest of everything that decides the latents: kind and weights."""
        ...

    @property
    def folder(self) -> Path | None:
        """The folder it was loaded from, if it was one that `load_autoencoder` takes."""
        ...

    def encode(self, images: Tensor) -> Tensor: ...

    def decode(self, latents: Tensor) -> Tensor: ...

    def save(self, folder: Path) -> None:
        """Writes the files from which `load_autoencoder(folder)` makes it again, of the same hash."""
        ...


WEIGHTS = "diffusion_pytorch_model.safetensors"  # diffusers' name, and that of this package's own folders
CONFIG = "config.json"
Weights = Path | str | Sequence[Path | str]  # a file, several, or the folder that holds them


@dataclass(frozen=True)
class Publication:
    """Where the weights of an autoencoder are, and in which form.

    `repository` is a repository of the Hugging Face hub, or empty where `page` says where else; `weights` and `config`
    are files in it (`config` empty: none is needed); `aliases` are other names under which the weights go around;
    `kind` is the network that they make, as config.json names it.
    """

    form: Literal["diffusers", "compvis", "taef2"]
    repository: str
    weights: tuple[str, ...]
    config: str = ""
    page: str = ""
    aliases: tuple[str, ...] = ()
    kind: str = "AutoencoderKL"

    @property
    def files(self) -> tuple[str, ...]:
        """All files that have to be fetched."""
        return (*self.weights, self.config) if self.config else self.weights

    @property
    def where(self) -> str:
        """Where to fetch them, in words."""
        return f"huggingface.co/{self.repository}" if self.repository else self.page


@dataclass(frozen=True)
class Published:
    """A row of the table."""

    spec: AutoencoderSpec
    publication: Publication


def _diffusers(
    name: str, repository: str, latent_channels: int, dtype: Literal["float32", "bfloat16", "float16"]
) -> Published:
    spec = AutoencoderSpec(name, repository, "MIT", "natural", 3, latent_channels, 8, dtype)
    kind = "AutoencoderTiny" if name.startswith("tae") else "AutoencoderKL"
    return Published(spec, Publication("diffusers", repository, (WEIGHTS,), CONFIG, kind=kind))


def _compvis(name: str, factor: int, latent_channels: int) -> Published:
    """Of Rombach et al. 2022 (arXiv 2112.10752), table 8; the archive holds model.ckpt, the code its config."""
    spec = AutoencoderSpec(name, "CompVis/latent-diffusion", "MIT", "natural", 3, latent_channels, factor)
    page = (
        f"ommer-lab.com/files/latent-diffusion/{name}.zip and "
        f"github.com/CompVis/latent-diffusion/tree/main/models/first_stage_models/{name}"
    )
    return Published(spec, Publication("compvis", "", ("model.ckpt",), "config.yaml", page))


def _medvae(factor: int, latent_channels: int, image_channels: int) -> Published:
    """Of Varma et al. 2025 (arXiv 2502.14753): X-rays of chest and breast."""
    repository, shape = "stanfordmimi/MedVAE", f"{factor}x{latent_channels}"
    spec = AutoencoderSpec(
        f"medvae_{factor}_{latent_channels}", repository, "MIT", "medical", image_channels, latent_channels, factor
    )
    weights = f"model_weights/vae_{factor}x_{latent_channels}c_2D.ckpt"
    return Published(spec, Publication("compvis", repository, (weights,), f"model_weights/medvae_{shape}.yaml"))


_TAEF2 = Published(
    AutoencoderSpec("taef2", "madebyollin/taef2", "MIT", "natural", 3, 32, 8, "bfloat16"),  # its model card
    Publication(
        "taef2",
        "madebyollin/taef2",
        ("taef2.safetensors",),
        aliases=("taef2_encoder.pth", "taef2_decoder.pth"),
        kind="Taef2",
    ),
)

# Where a dtype below float32 is documented stands beside it; most such examples decode only.
_ROWS = (
    _diffusers("sd-vae-ft-ema", "stabilityai/sd-vae-ft-ema", 4, "float32"),
    _diffusers("sd-vae-ft-mse", "stabilityai/sd-vae-ft-mse", 4, "float16"),  # diffusers' guide stable_diffusion.mdx
    _diffusers("sdxl-vae", "stabilityai/sdxl-vae", 4, "bfloat16"),  # NaN in float16, says madebyollin/sdxl-vae-fp16-fix
    _compvis("kl-f4", 4, 3),
    _compvis("kl-f8", 8, 4),
    _medvae(4, 1, 1),
    _medvae(4, 3, 3),
    _medvae(4, 4, 1),
    _medvae(8, 1, 1),
    _medvae(8, 4, 3),
    _diffusers("taesd", "madebyollin/taesd", 4, "float16"),  # diffusers' page on AutoencoderTiny
    _diffusers("taesdxl", "madebyollin/taesdxl", 4, "float16"),  # the same page
    _diffusers("taesd3", "madebyollin/taesd3", 16, "float16"),  # its model card
    _diffusers("taef1", "madebyollin/taef1", 16, "bfloat16"),  # its model card
    _TAEF2,
)

CATALOGUE: Mapping[str, Published] = {row.spec.name: row for row in _ROWS}

"""What every autoencoder is to the rest of the package: facts about it, `encode` and `decode`."""

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

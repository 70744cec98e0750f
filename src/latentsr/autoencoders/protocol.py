"""What every autoencoder is to the rest of the package: facts about it, `encode` and `decode`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor


@dataclass(frozen=True)
class AutoencoderSpec:
    """The facts about an autoencoder.

    `factor` is the image side over the latent side; `dtype` the least precise one that is safe for its latents;
    `lossless` says that decode(encode(x)) is x up to rounding.
    """

    name: str
    source: str
    licence: str
    domain: Literal["none", "natural", "medical"]
    image_channels: int
    latent_channels: int
    factor: int
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    lossless: bool = False


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
        """Where its files lie, to be copied beside what is built on it; None if it has none."""
        ...

    def encode(self, images: Tensor) -> Tensor: ...

    def decode(self, latents: Tensor) -> Tensor: ...

"""Latents without a network: the identity, and the orthonormal Haar wavelet packet, which loses nothing."""

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from latentsr.autoencoders.protocol import AutoencoderSpec
from latentsr.errors import InputError, ModelError, OptionError


class WithoutFiles:
    """An autoencoder that is code alone: its name makes it again."""

    spec: AutoencoderSpec
    folder = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.spec.name})"

    def save(self, folder: Path) -> None:
        """Raises ModelError."""
        raise ModelError(f"{self.spec.name}: has no files to write to {folder}; give its name instead")


class Identity(WithoutFiles):
    """Latents that are the images themselves."""

    spec = AutoencoderSpec(
        name="identity",
        source="latentsr",
        licence="Apache-2.0",
        domain="none",
        image_channels=1,
        latent_channels=1,
        factor=1,
        lossless=True,
    )
    hash = "identity"

    def encode(self, images: Tensor) -> Tensor:
        """The images, unchanged."""
        return images

    def decode(self, latents: Tensor) -> Tensor:
        """The latents, unchanged."""
        return latents


FACTORS = (2, 4, 8)


class Haar(WithoutFiles):
    """Each block of factor x factor pixels becomes factor^2 channels by an orthonormal Walsh-Hadamard transform.

    A full wavelet packet of log2(factor) levels with the Haar filter is that transform (Coifman 1992). Channels are
    ordered by the number of sign changes along rows, then columns: channel 0 is the block mean times factor.
    """

    def __init__(self, factor: int = 4) -> None:
        if factor not in FACTORS:
            raise OptionError(f"haar factor {factor}: expected one of {', '.join(map(str, FACTORS))}")
        self.factor = factor
        self.spec = AutoencoderSpec(
            name="haar" if factor == 4 else f"haar-{factor}",
            source="latentsr",
            licence="Apache-2.0",
            domain="none",
            image_channels=1,
            latent_channels=factor**2,
            factor=factor,
            lossless=True,
        )
        self.hash = f"haar-{factor}"

    def encode(self, images: Tensor) -> Tensor:
        """Packet coefficients (batch, factor^2, rows / factor, columns / factor); the sum of squares is kept."""
        if images.shape[-2] % self.factor or images.shape[-1] % self.factor:
            raise InputError(
                f"haar: image of {tuple(images.shape[-2:])} px, expected sides in multiples of {self.factor}"
            )
        blocks = pixel_unshuffle(images, self.factor)
        return torch.einsum("kc,bchw->bkhw", self._packet(images), blocks)

    def decode(self, latents: Tensor) -> Tensor:
        """The images whose coefficients are `latents`: the transpose of `encode`."""
        blocks = torch.einsum("kc,bkhw->bchw", self._packet(latents), latents)
        return pixel_shuffle(blocks, self.factor)

    def flip(self, latents: Tensor, axes: list[int]) -> Tensor:
        """The latents of the images turned over on `axes`, -2 or -1: functions of odd order change their sign."""
        odd = torch.tensor([1.0, -1.0]).to(latents).repeat(self.factor // 2)
        rows, columns = (odd if axis in axes else odd.abs() for axis in (-2, -1))
        return latents.flip(axes) * torch.outer(rows, columns).flatten()[:, None, None]

    def _packet(self, like: Tensor) -> Tensor:
        walsh = walsh_matrix(self.factor)
        return torch.kron(walsh, walsh).to(device=like.device, dtype=like.dtype)


@lru_cache
def walsh_matrix(n: int) -> Tensor:
    """The orthonormal Walsh matrix (n, n), float32, n a power of two: rows by rising number of sign changes."""
    hadamard = torch.ones(1, 1)
    while hadamard.shape[0] < n:
        hadamard = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]]), hadamard)
    changes = (hadamard.diff(dim=1) != 0).sum(dim=1)
    return hadamard[changes.argsort()] / n**0.5

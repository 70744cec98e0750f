"""Latents without a network, which lose nothing: the identity, and wavelet packets of Haar and of CDF 9/7."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from latentsr.autoencoders.protocol import AutoencoderSpec
from latentsr.device import resident
from latentsr.errors import InputError, ModelError, OptionError


def _spec(name: str, factor: int) -> AutoencoderSpec:
    """Of a grey image without loss: a latent has as many channels as its block has pixels."""
    return AutoencoderSpec(
        name=name, source="latentsr", licence="Apache-2.0", domain="none", image_channels=1, latent_channels=factor**2,
        factor=factor, lossless=True,
    )  # fmt: skip


class WithoutFiles:
    """An autoencoder that is code alone: its name makes it again."""

    spec: AutoencoderSpec
    folder = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.spec.name})"

    def encode(self, images: Tensor) -> Tensor:
        """The latents of images (batch, 1, rows, columns)."""
        raise NotImplementedError

    def decode(self, latents: Tensor) -> Tensor:
        """The images: the inverse of `encode`."""
        raise NotImplementedError

    def flip(self, latents: Tensor, axes: list[int]) -> Tensor:
        """The latents (channels, rows, columns) of the image turned over on `axes`, -2 or -1."""
        return self.encode(self.decode(latents[None]).flip(axes))[0]

    def save(self, folder: Path) -> None:
        """Raises ModelError."""
        raise ModelError(f"{self.spec.name}: has no files to write to {folder}; give its name instead")


class Identity(WithoutFiles):
    """Latents that are the images themselves."""

    spec = _spec("identity", 1)
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
        self.spec = _spec("haar" if factor == 4 else f"haar-{factor}", factor)
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

    def _packet(self, like: Tensor) -> Tensor:
        return resident(packet_matrix, (self.factor,), like.dtype, like.device)

    def flip(self, latents: Tensor, axes: list[int]) -> Tensor:
        """The latents of the images turned over on `axes`, -2 or -1: functions of odd order change their sign."""
        odd = torch.tensor([1.0, -1.0]).to(latents).repeat(self.factor // 2)
        rows, columns = (odd if axis in axes else odd.abs() for axis in (-2, -1))
        return latents.flip(axes) * torch.outer(rows, columns).flatten()[:, None, None]


# Lifting steps of CDF 9/7, of the detail and of the approximation in turn, and what scales the two to a sum of taps of
# root two.
LIFTING = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
SCALING = 1.149604398860241


class Wavelet(WithoutFiles):
    """The two-level wavelet packet of CDF 9/7 on both axes, the wavelet of JPEG 2000, at a quarter of the side.

    Its functions are smooth and overlap, so that independent errors of neighbouring latents draw no grid of blocks, as
    those of `Haar` do. Nearly orthonormal: its largest singular value is 2.1 times its smallest on each axis. Channels
    are ordered by the frequency along rows, then columns. Borders are mirrored. Sources: Cohen, Daubechies and Feauveau
    1992; lifting of Daubechies and Sweldens 1998, section 7.7.
    """

    spec = _spec("cdf97", 4)
    hash = "cdf97-4"

    def encode(self, images: Tensor) -> Tensor:
        """Packet coefficients (batch, 16, rows / 4, columns / 4)."""
        if images.shape[-2] % 4 or images.shape[-1] % 4:
            raise InputError(f"cdf97: image of {tuple(images.shape[-2:])} px, expected sides in multiples of 4")
        bands = [part for row in _packet(images.mT) for part in _packet(row.mT)]
        return torch.cat(bands, dim=1)

    def decode(self, latents: Tensor) -> Tensor:
        """The images whose coefficients are `latents`."""
        bands = latents.split(1, dim=1)
        rows = [_unpacked(bands[4 * row : 4 * row + 4]).mT for row in range(4)]
        return _unpacked(rows).mT


def _packet(x: Tensor) -> list[Tensor]:
    """The four bands of the last axis, from low to high frequency: the detail's own detail is the lower of its two."""
    (low, high), (detail_low, detail_high) = (_split(half) for half in _split(x))
    return [low, high, detail_high, detail_low]


def _unpacked(bands: Sequence[Tensor]) -> Tensor:
    low, high, detail_high, detail_low = bands
    return _merge(_merge(low, high), _merge(detail_low, detail_high))


def _split(x: Tensor) -> tuple[Tensor, Tensor]:
    """Approximation and detail of the last axis."""
    s, d = x[..., ::2], x[..., 1::2]
    for predict, update in (LIFTING[:2], LIFTING[2:]):
        d = d + predict * (s + _after(s))
        s = s + update * (d + _before(d))
    return s * SCALING, d / SCALING


def _merge(s: Tensor, d: Tensor) -> Tensor:
    """The inverse of `_split`: its steps backwards."""
    s, d = s / SCALING, d * SCALING
    for predict, update in (LIFTING[2:], LIFTING[:2]):
        s = s - update * (d + _before(d))
        d = d - predict * (s + _after(s))
    return torch.stack([s, d], dim=-1).flatten(-2)


def _after(x: Tensor) -> Tensor:
    return torch.cat([x[..., 1:], x[..., -1:]], dim=-1)


def _before(x: Tensor) -> Tensor:
    return torch.cat([x[..., :1], x[..., :-1]], dim=-1)


def packet_matrix(factor: int) -> Tensor:
    """The transform of a block, (factor^2, factor^2): that of its rows and of its columns."""
    return torch.kron(walsh_matrix(factor), walsh_matrix(factor))


@lru_cache
def walsh_matrix(n: int) -> Tensor:
    """The orthonormal Walsh matrix (n, n), float32, n a power of two: rows by rising number of sign changes."""
    hadamard = torch.ones(1, 1)
    while hadamard.shape[0] < n:
        hadamard = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]]), hadamard)
    changes = (hadamard.diff(dim=1) != 0).sum(dim=1)
    return hadamard[changes.argsort()] / n**0.5

"""Architectures of autoencoding networks that are written here: TAEF2, and a small KL network.

TAEF2 is the tiny autoencoder for the latents of FLUX.2 (Ollin Boer Bohan, github.com/madebyollin/taesd, MIT). SmallKL,
for few processors, has no convolution above a quarter of the image's resolution.
"""

import re
import reprlib
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from latentsr.errors import ModelError, OptionError

GROUPS = 4
BLOCKS = 3  # at each of the four resolutions but the finest, which has one


class Taef2(nn.Module):
    """Images (batch, 3, rows, columns) in [-1, 1] to latents (batch, latent_channels, rows / 8, columns / 8) and back.

    Two sequences of convolutions without a posterior. The published weights see images in [0, 1]. The six blocks at
    the smallest size have a normalised branch, which diffusers' AutoencoderTiny lacks.
    """

    kind, prefix, factor = "Taef2", "", 8

    def __init__(self, *, width: int = 64, latent_channels: int = 32) -> None:
        super().__init__()
        if width < 1 or latent_channels < 1:
            raise OptionError(f"width is {width}, latent_channels is {latent_channels}: expected at least 1 of each")
        self.config: dict[str, Any] = {"width": width, "latent_channels": latent_channels}
        layers: list[nn.Module] = [_conv(3, width), Taef2Block(width)]
        for level in range(3):
            layers.append(_conv(width, width, stride=2, bias=False))
            layers += [Taef2Block(width, pooled=level == 2) for _ in range(BLOCKS)]
        self.encoder = nn.Sequential(*layers, _conv(width, latent_channels))
        layers = [Clamp(), _conv(latent_channels, width), nn.ReLU()]
        for level in range(3):
            layers += [Taef2Block(width, pooled=level == 0) for _ in range(BLOCKS)]
            layers += [nn.Upsample(scale_factor=2), _conv(width, width, bias=False)]
        self.decoder = nn.Sequential(*layers, Taef2Block(width), _conv(width, 3))
        self.to(memory_format=torch.channels_last)  # twice as fast on CPUs

    def mean(self, images: Tensor) -> Tensor:
        """The latents (batch, latent_channels, rows / 8, columns / 8)."""
        return self.encoder((images + 1) / 2)

    def reconstruct(self, latents: Tensor) -> Tensor:
        """Images (batch, 3, rows, columns), about [-1, 1], not clipped."""
        return 2 * self.decoder(latents) - 1


class Clamp(nn.Module):
    """3 tanh(x / 3): latents beyond three are drawn in."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as x."""
        return (x / 3).tanh() * 3


class Taef2Block(nn.Module):
    """ReLU(convolutions of x + x); with `pooled`, x first gets what a wide, normalised 1x1 branch says of it."""

    def __init__(self, width: int, *, pooled: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential(_conv(width, width), nn.ReLU(), _conv(width, width), nn.ReLU(), _conv(width, width))
        self.pool = None
        if pooled:
            self.pool = nn.Sequential(
                nn.Conv2d(width, 4 * width, 1, bias=False),
                nn.GroupNorm(GROUPS, 4 * width),
                nn.ReLU(),
                nn.Conv2d(4 * width, width, 1, bias=False),
            )

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as x."""
        if self.pool is not None:
            x = x + self.pool(x)
        return nn.functional.relu(self.conv(x) + x)


def joined(encoder: Mapping[str, Tensor], decoder: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's tensors from those of the two published files, whose names are the places in the sequences."""
    halves = {"encoder": encoder, "decoder": decoder}
    return {f"{half}.{name}": tensor for half, tensors in halves.items() for name, tensor in tensors.items()}


def from_one_file(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's tensors from those of taef2.safetensors, named as diffusers would: its decoder has no Clamp."""
    placed = {}
    for name, tensor in tensors.items():
        found = re.fullmatch(r"(encoder|decoder)\.layers\.(\d{1,3})\.(.+)", name)
        if found is None:
            expected = "encoder.layers.N and decoder.layers.N"
            raise ModelError(f"taef2: surplus tensor {reprlib.repr(name)}; expected {expected}")
        placed[f"{found[1]}.{int(found[2]) + (found[1] == 'decoder')}.{found[3]}"] = tensor
    return placed


def _conv(inputs: int, outputs: int, *, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, stride=stride, bias=bias)


FACTORS = (2, 4, 8, 16)
WIDEST, MOST_BLOCKS = 1024, 64  # far beyond use: a config from a stranger must not fill the memory
LOGVAR_RANGE = (-30.0, 20.0)  # as in diffusers' DiagonalGaussianDistribution
LOGVAR_START = -9.0


class SmallKL(nn.Module):
    """Images (batch, image_channels, rows, columns) in [-1, 1] to the mean and log variance of a Gaussian latent.

    Encoder and decoder are each the sum of a linear map between patches and latents, which begins as the lowest
    frequencies of the patch's DCT, and a residual network, which begins at zero: it is useful from the first step.
    The network sees patches of up to 4x4 pixels as channels, halves the resolution by further 2x2 patches, and has no
    normalisation over space, so that a tile with enough margin gives the same latents as the whole image.
    """

    kind, prefix = "SmallKL", ""

    def __init__(
        self, *, factor: int = 4, latent_channels: int = 3, image_channels: int = 1, width: int = 64, blocks: int = 4
    ) -> None:
        super().__init__()
        if factor not in FACTORS:
            raise OptionError(f"factor is {factor}: expected one of {', '.join(map(str, FACTORS))}")
        if not 1 <= latent_channels <= factor**2:
            raise OptionError(f"latent_channels is {latent_channels}: expected 1 to {factor**2} at factor {factor}")
        if image_channels not in (1, 3):
            raise OptionError(f"image_channels is {image_channels}: expected 1 (grey) or 3")
        if not 1 <= width <= WIDEST or not 1 <= blocks <= MOST_BLOCKS:
            raise OptionError(f"width is {width}, blocks is {blocks}: expected 1 to {WIDEST} and 1 to {MOST_BLOCKS}")
        self.factor = factor
        self.config: dict[str, Any] = {
            "factor": factor,
            "latent_channels": latent_channels,
            "image_channels": image_channels,
            "width": width,
            "blocks": blocks,
        }
        levels = _levels(factor)
        pixels = image_channels * levels[0] ** 2
        widths = [width * 2**level for level in range(len(levels))]
        layers: list[nn.Module] = [nn.Conv2d(pixels, widths[0], 3, padding=1)]
        layers += [Block(widths[0]) for _ in range(blocks)]
        for fine, coarse in pairwise(widths):
            layers += [nn.PixelUnshuffle(2), nn.Conv2d(4 * fine, coarse, 1)]
            layers += [Block(coarse) for _ in range(blocks)]
        self.encoder = nn.Sequential(*layers, _zero_conv(widths[-1], 2 * latent_channels))
        layers = [nn.Conv2d(latent_channels, widths[-1], 3, padding=1)]
        layers += [Block(widths[-1]) for _ in range(blocks)]
        for coarse, fine in pairwise(reversed(widths)):
            layers += [nn.Conv2d(coarse, 4 * fine, 1), nn.PixelShuffle(2)]
            layers += [Block(fine) for _ in range(blocks)]
        self.decoder = nn.Sequential(*layers, _zero_conv(widths[0], pixels))
        self.patch = levels[0]
        self.to_latents = nn.Conv2d(image_channels * factor**2, latent_channels, 1)
        self.to_patches = nn.Conv2d(latent_channels, image_channels * factor**2, 1)
        with torch.no_grad():
            basis = _lowest_frequencies(factor, latent_channels)
            # The channels of `pixel_unshuffle` are image channel by image channel, each with its patch.
            self.to_latents.weight.copy_(basis.repeat(1, image_channels)[:, :, None, None] / image_channels)
            self.to_patches.weight.copy_(basis.T.repeat(image_channels, 1)[:, :, None, None])
            for layer in (self.to_latents, self.to_patches):
                nn.init.zeros_(layer.get_parameter("bias"))
            self.encoder[-1].get_parameter("bias")[latent_channels:] = LOGVAR_START
        self.to(memory_format=torch.channels_last)  # a third faster on CPUs with AVX-512

    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the posterior, each (batch, latent_channels, rows / factor, columns / factor)."""
        residual, logvar = self.encoder(nn.functional.pixel_unshuffle(images, self.patch)).chunk(2, dim=1)
        linear = self.to_latents(nn.functional.pixel_unshuffle(images, self.factor))
        return linear + residual, logvar.clamp(*LOGVAR_RANGE)

    def mean(self, images: Tensor) -> Tensor:
        """The posterior's mean."""
        return self.moments(images)[0]

    def reconstruct(self, latents: Tensor) -> Tensor:
        """Images (batch, image_channels, rows, columns), about [-1, 1], not clipped."""
        linear = nn.functional.pixel_shuffle(self.to_patches(latents), self.factor)
        return linear + nn.functional.pixel_shuffle(self.decoder(latents), self.patch)

    def forward(self, images: Tensor) -> Tensor:
        """The images, encoded to the posterior mean and decoded."""
        return self.reconstruct(self.moments(images)[0])


class Block(nn.Module):
    """x + convolutions of x, at one resolution; the identity at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), _zero_conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as x."""
        return x + self.layers(x)


def _zero_conv(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution that begins at zero, so that what it adds begins at nothing."""
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _levels(factor: int) -> list[int]:
    """The patch sizes whose product is the factor: one of up to 4 pixels, then twos."""
    return [factor] if factor <= 4 else [*_levels(factor // 2), 2]


def _lowest_frequencies(size: int, count: int) -> Tensor:
    """The `count` lowest 2-D frequencies of the orthonormal DCT-II on size x size patches: (count, size^2)."""
    place = torch.arange(size, dtype=torch.float64)
    rows = torch.cos(torch.pi * place[:, None] * (place[None, :] + 0.5) / size)
    rows /= rows.norm(dim=1, keepdim=True)
    basis = torch.kron(rows, rows)
    height = (place[:, None] ** 2 + place[None, :] ** 2).flatten()
    return basis[height.argsort(stable=True)[:count]].float()

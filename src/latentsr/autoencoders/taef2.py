"""TAEF2, the tiny autoencoder for the latents of FLUX.2 (Ollin Boer Bohan, github.com/madebyollin/taesd, MIT)."""

import re
import reprlib
from collections.abc import Mapping
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
        layers: list[nn.Module] = [_conv(3, width), Block(width)]
        for level in range(3):
            layers.append(_conv(width, width, stride=2, bias=False))
            layers += [Block(width, pooled=level == 2) for _ in range(BLOCKS)]
        self.encoder = nn.Sequential(*layers, _conv(width, latent_channels))
        layers = [Clamp(), _conv(latent_channels, width), nn.ReLU()]
        for level in range(3):
            layers += [Block(width, pooled=level == 0) for _ in range(BLOCKS)]
            layers += [nn.Upsample(scale_factor=2), _conv(width, width, bias=False)]
        self.decoder = nn.Sequential(*layers, Block(width), _conv(width, 3))
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


class Block(nn.Module):
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

"""The denoising network: a diffusers UNet, and the published one with its cost; the regression network beside it.

Source: arXiv 2604.12152 (diffusers UNet2DModel, base 128, multipliers 1, 2, 4, 4, two layers a block, attention where
the feature map is 16 x 16 and in the middle block; the LR latent on channels beside the noisy one). Regression: the
body of EDSR (Lim 2017, section 3.1) in latent space, whose decoder takes the place of its upsampling.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

import torch
from diffusers import UNet2DModel
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from latentsr.config import Config

# Far beyond any published network: a config from a stranger must not ask for one that fills the memory.
Channels = Annotated[tuple[Annotated[int, Field(ge=1, le=2048)], ...], Field(min_length=1, max_length=8)]
Layers = Annotated[int, Field(ge=1, le=64)]
Attention = Annotated[tuple[bool, ...], Field(max_length=8)]
Groups = Annotated[int, Field(ge=1, le=2048)]
Family = Literal["diffusion", "regression"]


class DenoiserSpec(Config):
    """The kind and size of the network.

    `family` "diffusion" is a UNet of the noisy latent, the time and the condition; "regression" a residual network of
    the condition alone, with `layers` blocks of `channels`' only value.
    `channels` per level, each at half the size of the one before; `attention` per level (empty: none) and in the
    middle block. The published network is channels (128, 256, 512, 512), attention on the third level and the middle,
    `groups` 32 (arXiv 2604.12152).
    """

    latent_channels: int = Field(ge=1, le=1024)
    condition_channels: int = Field(ge=0, le=4096)
    channels: Channels = (48, 64, 96)
    layers: Layers = 2
    attention: Attention = ()
    middle_attention: bool = False
    groups: Groups = 8
    family: Family = Field("diffusion", exclude_if=lambda value: value == "diffusion")  # older hashes lack it

    @model_validator(mode="after")
    def _levels_fit(self) -> "DenoiserSpec":
        check_levels(self.channels, self.attention, self.groups)
        return self

    @property
    def multiple(self) -> int:
        """Latent sides must be multiples of this."""
        return int(2 ** (len(self.channels) - 1))


def check_levels(channels: Sequence[int], attention: Sequence[bool], groups: int) -> None:
    """ValueError unless attention has a value a level, or none, and each level's channels fall into the groups."""
    if attention and len(attention) != len(channels):
        raise ValueError(f"attention {attention}: expected one value for each of {len(channels)} levels")
    if any(number % groups for number in channels):
        raise ValueError(f"channels {channels}: expected multiples of groups ({groups})")


class Denoiser(nn.Module):
    """The network of a DenoiserSpec."""

    def __init__(self, spec: DenoiserSpec) -> None:
        super().__init__()
        self.spec = spec
        if spec.family == "regression":
            self.body = _residual_network(spec)
        else:
            self.unet = _unet(spec)
        self.to(memory_format=torch.channels_last)  # convolutions run twice as fast so on a CPU

    def forward(self, z: Tensor, times: Tensor, condition: Tensor) -> Tensor:
        """The prediction, shape of `z` (batch, latent_channels, rows, columns); `times` integers 0..999 (batch,).

        A regression network looks at the condition alone.
        """
        if self.spec.family == "regression":
            estimate: Tensor = self.body(condition.contiguous(memory_format=torch.channels_last))
            return estimate
        joined = torch.cat([z, condition], dim=1).contiguous(memory_format=torch.channels_last)
        prediction: Tensor = self.unet(joined, times).sample
        return prediction


def _unet(spec: DenoiserSpec) -> UNet2DModel:
    attention = spec.attention or (False,) * len(spec.channels)
    return UNet2DModel(
        in_channels=spec.latent_channels + spec.condition_channels,
        out_channels=spec.latent_channels,
        block_out_channels=spec.channels,
        layers_per_block=spec.layers,
        down_block_types=tuple("AttnDownBlock2D" if here else "DownBlock2D" for here in attention),
        up_block_types=tuple("AttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attention)),
        add_attention=spec.middle_attention,
        norm_num_groups=spec.groups,
    )


class _Residual(nn.Sequential):
    """Its layers beside the identity."""

    def forward(self, features: Tensor) -> Tensor:
        """Features and what the layers add to them."""
        change: Tensor = super().forward(features)
        return features + change


def _residual_network(spec: DenoiserSpec) -> nn.Sequential:
    """EDSR but for its upsampling: blocks without normalisation, and an identity around all of them."""
    (channels,) = spec.channels

    def convolution(inputs: int = channels, outputs: int = channels) -> nn.Conv2d:
        return nn.Conv2d(inputs, outputs, 3, padding=1)

    blocks = (_Residual(convolution(), nn.ReLU(), convolution()) for _ in range(spec.layers))
    return nn.Sequential(
        convolution(inputs=spec.condition_channels),
        _Residual(*blocks, convolution()),
        convolution(outputs=spec.latent_channels),
    )


CHANNELS = (128, 256, 512, 512)
LAYERS = 2
GROUPS = 32
ATTENTION_SIDE = 16
MULTIPLE = 2 ** (len(CHANNELS) - 1)  # of a latent's side: each level but the last halves it


@dataclass(frozen=True)
class StepCost:
    """Of one network evaluation for one image: parameters of the network, and FLOPs (a multiply-add counts as two)."""

    parameters: int
    flops: int


def published_spec(latent_channels: int, rows: int, columns: int) -> DenoiserSpec:
    """The published network for latents of that size, sides rounded up to the multiples that it needs."""
    side = min(_rounded_up(rows), _rounded_up(columns))
    attention = tuple(side == ATTENTION_SIDE * 2**level for level in range(len(CHANNELS)))
    return DenoiserSpec(
        latent_channels=latent_channels,
        condition_channels=latent_channels,
        channels=CHANNELS,
        layers=LAYERS,
        attention=attention,
        middle_attention=True,
        groups=GROUPS,
    )


def published_step(latent_channels: int, rows: int, columns: int) -> StepCost:
    """What the published network costs at latents of that size, sides rounded up to the multiples that it needs."""
    return step_cost(published_spec(latent_channels, rows, columns), rows, columns)


@lru_cache
def step_cost(spec: DenoiserSpec, rows: int, columns: int) -> StepCost:
    """What a network costs at latents of that size, sides rounded up to the multiples that it needs.

    Computed on the meta device: no memory is taken and nothing is run.
    """
    size = [-(-side // spec.multiple) * spec.multiple for side in (rows, columns)]
    with torch.device("meta"):
        network = Denoiser(spec)
        latent, condition = (torch.empty(1, n, *size) for n in (spec.latent_channels, spec.condition_channels))
        time = torch.zeros(1, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(latent, time, condition)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return StepCost(parameters, int(counter.get_total_flops()))


def _rounded_up(side: int) -> int:
    return -(-side // MULTIPLE) * MULTIPLE

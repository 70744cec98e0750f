"""The denoising network: a UNet, the published one with its cost, and the regression network beside it.

The UNet is diffusers' UNet2DModel, tensor by tensor and to the last bit (tests/diffusion/test_denoiser.py): importing
that package takes longer than restoring an image. Its parts are those of Ho 2020 (appendix B).

Source: arXiv 2604.12152 (base 128, multipliers 1, 2, 4, 4, two layers a block, attention where the feature map is
16 x 16 and in the middle block; the LR latent on channels beside the noisy one). Regression and generator: the body of
EDSR (Lim 2017, section 3.1) in latent space, whose decoder takes the place of its upsampling.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from latentsr.config import Config

# Far beyond any published network: a config from a stranger must not ask for one that fills the memory.
Channels = Annotated[tuple[Annotated[int, Field(ge=1, le=2048)], ...], Field(min_length=1, max_length=8)]
Layers = Annotated[int, Field(ge=1, le=64)]
Attention = Annotated[tuple[bool, ...], Field(max_length=8)]
Groups = Annotated[int, Field(ge=1, le=2048)]
Family = Literal["diffusion", "regression", "generator"]
HEAD_CHANNELS = 8  # of each head of attention
LARGEST_LOG_SCALE = 4.0  # of a generator: whatever it is shown, its samples stay finite


class DenoiserSpec(Config):
    """The kind and size of the network.

    `family` "diffusion" is a UNet of the noisy latent, the time and the condition; "regression" a residual network of
    the condition alone, with `layers` blocks of `channels`' only value; "generator" such a network of noise and
    condition, which passes the noise through, changed, and as large at each place as it says.
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
        check_levels(self.channels, self.attention, self.middle_attention, self.groups)
        return self

    @property
    def multiple(self) -> int:
        """Latent sides must be multiples of this."""
        return int(2 ** (len(self.channels) - 1))


def check_levels(channels: Sequence[int], attention: Sequence[bool], middle_attention: bool, groups: int) -> None:
    """ValueError unless attention has a value per level, or none, and each level's channels fit groups and heads."""
    if attention and len(attention) != len(channels):
        raise ValueError(f"attention {attention}: expected one value for each of {len(channels)} levels")
    if any(number % groups for number in channels):
        raise ValueError(f"channels {channels}: expected multiples of groups ({groups})")
    attended = [number for level, number in enumerate(channels) if attention and attention[level]]
    attended += [channels[-1]] if middle_attention else []
    if any(number < HEAD_CHANNELS for number in attended):
        raise ValueError(f"channels {channels}: expected {HEAD_CHANNELS} or more where there is attention")


class Denoiser(nn.Module):
    """The network of a DenoiserSpec."""

    def __init__(self, spec: DenoiserSpec) -> None:
        super().__init__()
        self.spec = spec
        if spec.family == "diffusion":
            self.unet = _UNet(spec)
        else:
            self.body = _residual_network(spec)
        self.to(memory_format=torch.channels_last)  # convolutions run twice as fast so on a CPU

    def forward(self, z: Tensor, times: Tensor, condition: Tensor) -> Tensor:
        """The prediction, shape of `z` (batch, latent_channels, rows, columns); `times` integers 0..999 (batch,).

        A regression network looks at the condition alone. A generator gives exp(b) (z + a), where a and b are what its
        body makes of `z` and the condition: detail can be faint at one place and strong at another. Inputs and the
        prediction are of z's dtype, whichever the weights are.
        """
        if self.spec.family != "regression":
            condition = torch.cat([z, condition], dim=1)
        first: Any = self.unet.conv_in if self.spec.family == "diffusion" else self.body[0]
        given = condition.to(first.weight.dtype, memory_format=torch.channels_last)
        if self.spec.family == "diffusion":
            return cast("Tensor", self.unet(given, times)).to(z.dtype)
        estimate: Tensor = self.body(given).to(z.dtype)
        if self.spec.family == "regression":
            return estimate
        change, log_scale = estimate.chunk(2, dim=1)
        return log_scale.clamp(max=LARGEST_LOG_SCALE).exp() * (z + change)


class Compiled:
    """A network, called as it is, that torch.compile turns into fused kernels of its own when it is first called.

    On a GPU these are replayed as a CUDA graph, which takes one shape of batch: smaller ones than the largest so far
    are filled up. Another size of image is compiled for anew, the third at the latest for any size.
    """

    def __init__(self, network: Denoiser) -> None:
        self.network, self.largest = network, 0
        # fullgraph: torch would evaluate what it cannot compile as it is, without a word
        self.compiled = torch.compile(network, fullgraph=True, mode="reduce-overhead")

    def __call__(self, z: Tensor, times: Tensor, condition: Tensor) -> Tensor:
        """The prediction, see `Denoiser.forward`."""
        self.largest = max(self.largest, len(z))
        filled = (
            functional.pad(one, (0, 0) * (one.ndim - 1) + (0, self.largest - len(z))) for one in (z, times, condition)
        )
        torch.compiler.cudagraph_mark_step_begin()
        prediction: Tensor = self.compiled(*(one.contiguous() for one in filled))
        return prediction[: len(z)].clone()  # the next call writes over it


class _UNet(nn.Module):
    """diffusers' UNet2DModel of a spec, with its tensors' names."""

    def __init__(self, spec: DenoiserSpec) -> None:
        super().__init__()
        channels, groups = spec.channels, spec.groups
        attention = spec.attention or (False,) * len(channels)
        width, last = 4 * channels[0], len(channels) - 1
        self.conv_in = nn.Conv2d(spec.latent_channels + spec.condition_channels, channels[0], 3, padding=1)
        self.time_embedding: Any = nn.ModuleDict(
            {"linear_1": nn.Linear(channels[0], width), "linear_2": nn.Linear(width, width)}
        )
        skipped = [channels[0]]  # the features that the way down leaves for the way up
        self.down_blocks: Any = nn.ModuleList()
        for level, outputs in enumerate(channels):
            inputs = [skipped[-1], *[outputs] * (spec.layers - 1)]
            self.down_blocks.append(
                _Level(inputs, outputs, width, groups, spec.layers * attention[level], down=level < last)
            )
            skipped += [outputs] * (spec.layers + (level < last))
        self.up_blocks: Any = nn.ModuleList()
        self.mid_block = _Level([channels[-1]] * 2, channels[-1], width, groups, int(spec.middle_attention))
        before = channels[-1]
        for level in reversed(range(len(channels))):
            inputs = [one + skipped.pop() for one in (before, *[channels[level]] * spec.layers)]
            attended = len(inputs) * attention[level]
            self.up_blocks.append(_Level(inputs, channels[level], width, groups, attended, up=level > 0))
            before = channels[level]
        self.conv_norm_out = nn.GroupNorm(groups, channels[0], eps=1e-5)
        self.conv_out = nn.Conv2d(channels[0], spec.latent_channels, 3, padding=1)

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        waves = _waves(times, self.conv_in.out_channels).to(x.dtype)
        embedding = self.time_embedding["linear_2"](functional.silu(self.time_embedding["linear_1"](waves)))
        x = self.conv_in(x)
        skipped = [x]
        for level in self.down_blocks:
            for number in range(len(level.resnets)):
                x = level.layer(number, x, embedding)
                skipped.append(x)
            if level.downsamplers:
                x = level.downsamplers[0]["conv"](x)
                skipped.append(x)
        for number in range(len(self.mid_block.resnets)):
            x = self.mid_block.layer(number, x, embedding)
        for level in self.up_blocks:
            for number in range(len(level.resnets)):
                x = level.layer(number, torch.cat([x, skipped.pop()], dim=1), embedding)
            if level.upsamplers:
                x = level.upsamplers[0]["conv"](functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        prediction: Tensor = self.conv_out(functional.silu(self.conv_norm_out(x)))
        return prediction


class _Level(nn.Module):
    """The residual blocks of one level of the UNet, the first so many with attention, and the change of size."""

    resnets: Any
    attentions: Any

    def __init__(
        self, inputs: Sequence[int], outputs: int, width: int, groups: int, attended: int, *,
        down: bool = False, up: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        names = ("attentions", "resnets") if attended else ("resnets", "attentions")  # diffusers' order of parameters
        for name in names:
            self.add_module(name, nn.ModuleList())
        for number, one in enumerate(inputs):
            self.resnets.append(_ResnetBlock(one, outputs, width, groups))
            if number < attended:
                self.attentions.append(_Attention(outputs, groups))
        self.downsamplers, self.upsamplers = (
            nn.ModuleList([nn.ModuleDict({"conv": nn.Conv2d(outputs, outputs, 3, stride, padding=1)})] if here else [])
            for here, stride in ((down, 2), (up, 1))
        )

    def layer(self, number: int, x: Tensor, embedding: Tensor) -> Tensor:
        """The features after a residual block and its attention."""
        features: Tensor = self.resnets[number](x, embedding)
        return self.attentions[number](features) if number < len(self.attentions) else features


class _ResnetBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, width: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, eps=1e-5)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time_emb_proj = nn.Linear(width, outputs)
        self.norm2 = nn.GroupNorm(groups, outputs, eps=1e-5)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        change = self.conv1(functional.silu(self.norm1(x)))
        change = change + self.time_emb_proj(functional.silu(embedding))[:, :, None, None]
        change = self.conv2(functional.silu(self.norm2(change)))
        shortcut: Tensor = x if self.conv_shortcut is None else self.conv_shortcut(x)
        return shortcut + change


class _Attention(nn.Module):
    """Self-attention of all places, in heads of eight channels."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels, eps=1e-5)
        attended = channels // HEAD_CHANNELS * HEAD_CHANNELS
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, attended) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(attended, channels)])

    def forward(self, x: Tensor) -> Tensor:
        places = self.group_norm(x.flatten(2)).transpose(1, 2)
        heads = (
            one(places).unflatten(2, (-1, HEAD_CHANNELS)).transpose(1, 2) for one in (self.to_q, self.to_k, self.to_v)
        )
        attended = functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        change: Tensor = self.to_out[0](attended)
        return change.transpose(1, 2).reshape(x.shape) + x


def _waves(times: Tensor, channels: int) -> Tensor:
    """Cosines, then sines, of the times (batch,), at wavelengths of 2 pi to 20,000 pi: shape (batch, channels).

    Source: Vaswani 2017, section 3.5; a zero stands in the last of an odd number of channels.
    """
    half = channels // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32, device=times.device) / half)
    angles = times[:, None].float() * frequencies
    return functional.pad(torch.cat([angles.cos(), angles.sin()], dim=1), (0, channels % 2))


class Residual(nn.Sequential):
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

    blocks = (Residual(convolution(), nn.ReLU(), convolution()) for _ in range(spec.layers))
    noisy = spec.family == "generator"
    return nn.Sequential(
        convolution(inputs=spec.condition_channels + noisy * spec.latent_channels),
        Residual(*blocks, convolution()),
        convolution(outputs=(1 + noisy) * spec.latent_channels),
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
    from torch.utils.flop_counter import FlopCounterMode  # a tenth of a second, which no restoration needs

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

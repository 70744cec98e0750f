"""The published denoiser: its size at a latent's size, and what one step of it costs, without making its weights.

Source: arXiv 2604.12152 (diffusers UNet2DModel, base 128, multipliers 1, 2, 4, 4, two layers a block, attention where
the feature map is 16 x 16 and in the middle block; the LR latent on channels beside the noisy one).
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from latentsr.diffusion.denoiser import Denoiser, DenoiserSpec

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


@lru_cache
def published_step(latent_channels: int, rows: int, columns: int) -> StepCost:
    """What the published network costs at latents of that size, sides rounded up to the multiples that it needs.

    Computed on the meta device: no memory is taken and nothing is run.
    """
    spec = published_spec(latent_channels, rows, columns)
    with torch.device("meta"):
        network = Denoiser(spec)
        latent = torch.empty(1, latent_channels, _rounded_up(rows), _rounded_up(columns))
        time = torch.zeros(1, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(latent, time, latent)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return StepCost(parameters, int(counter.get_total_flops()))


def _rounded_up(side: int) -> int:
    return -(-side // MULTIPLE) * MULTIPLE

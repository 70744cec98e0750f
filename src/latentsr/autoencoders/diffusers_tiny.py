"""diffusers' AutoencoderTiny as a network of this package: TAESD and its siblings for SDXL, SD3 and FLUX.1."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn

from latentsr.autoencoders.diffusers_kl import made, plain_config

_REPEATED = "block_out_channels"  # diffusers writes it beside the two that it repeats, and warns when it reads it


class DiffusersTiny(nn.Module):
    """An AutoencoderTiny with the two calls that this package makes; made from a diffusers config, weights random.

    It has no posterior: its latents are what the encoder says.
    """

    kind, prefix = "AutoencoderTiny", "tiny."

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        tiny = made(AutoencoderTiny, {key: value for key, value in config.items() if key != _REPEATED})
        self.factor = 2 ** (len(tiny.config["encoder_block_out_channels"]) - 1)
        self.tiny = tiny.to(memory_format=torch.channels_last)  # twice as fast on CPUs

    @property
    def config(self) -> dict[str, Any]:
        """The diffusers config, without the entries that diffusers writes for itself."""
        return {key: value for key, value in plain_config(self.tiny).items() if key != _REPEATED}

    def mean(self, images: Tensor) -> Tensor:
        """The latents (batch, latent_channels, rows / factor, columns / factor)."""
        return cast(Any, self.tiny).encode(images).latents

    def reconstruct(self, latents: Tensor) -> Tensor:
        """Images (batch, image_channels, rows, columns), about [-1, 1], not clipped."""
        return cast(Any, self.tiny).decode(latents).sample

"""diffusers' AutoencoderKL and AutoencoderTiny as networks of this package."""

import re
from collections.abc import Mapping
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor, nn

from latentsr.errors import ModelError

# Attention in files from before diffusers 0.14, such as sd-vae-ft-ema's.
_OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


class DiffusersKL(nn.Module):
    """An AutoencoderKL with the calls that this package makes; made from a diffusers config, weights random."""

    kind, prefix = "AutoencoderKL", "kl."

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        kl = made(AutoencoderKL, config)
        self.factor = 2 ** (len(kl.config["block_out_channels"]) - 1)
        self.kl = kl

    @property
    def config(self) -> dict[str, Any]:
        """The diffusers config, without the entries that diffusers writes for itself."""
        return plain_config(self.kl)

    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the posterior, each (batch, latent_channels, rows / factor, columns / factor)."""
        posterior = cast(Any, self.kl).encode(images).latent_dist
        return posterior.mean, posterior.logvar

    def mean(self, images: Tensor) -> Tensor:
        """The posterior's mean."""
        return self.moments(images)[0]

    def reconstruct(self, latents: Tensor) -> Tensor:
        """Images (batch, image_channels, rows, columns), about [-1, 1], not clipped."""
        return cast(Any, self.kl).decode(latents).sample


def current_name(name: str) -> str:
    """The tensor's name in current versions of diffusers."""
    found = re.fullmatch(r"(.*\.attentions\.\d+\.)(query|key|value|proj_attn)(\.(?:weight|bias))", name)
    return f"{found[1]}{_OLD_NAMES[found[2]]}{found[3]}" if found else name


def made(cls: Any, config: Mapping[str, Any]) -> Any:
    """An autoencoder of diffusers' class from its config; ModelError where it refuses it or where it is none."""
    try:
        autoencoder = cls.from_config(dict(config))
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:  # diffusers checks no config
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{cls.__name__} config: diffusers refuses it ({reason}); take the published config"
        ) from error
    if autoencoder.config["in_channels"] != autoencoder.config["out_channels"]:
        raise ModelError(f"{cls.__name__} config: in_channels and out_channels differ; expected an autoencoder")
    return autoencoder


def plain_config(autoencoder: object) -> dict[str, Any]:
    """The config of a diffusers autoencoder, without the entries that diffusers writes for itself."""
    config = dict(cast(Any, autoencoder).config)
    return {name: value for name, value in config.items() if not name.startswith("_")}


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

"""diffusers' AutoencoderKL as a network of this package: the Stable Diffusion family and all that has its form."""

import re
from collections.abc import Mapping
from typing import Any, cast

from diffusers import AutoencoderKL
from torch import Tensor, nn

from latentsr.errors import ModelError

# Attention in files from before diffusers 0.14, such as sd-vae-ft-ema's.
_OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


class DiffusersKL(nn.Module):
    """An AutoencoderKL with the two calls that this package makes; made from a diffusers config, weights random."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        kl = _made(config)
        if kl.config["in_channels"] != kl.config["out_channels"]:
            raise ModelError("AutoencoderKL config: in_channels and out_channels differ; expected an autoencoder")
        self.factor = 2 ** (len(kl.config["block_out_channels"]) - 1)
        self.kl = kl

    @property
    def config(self) -> dict[str, Any]:
        """The diffusers config, without the entries that diffusers writes for itself."""
        return {name: value for name, value in dict(cast(Any, self.kl).config).items() if not name.startswith("_")}

    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the posterior, each (batch, latent_channels, rows / factor, columns / factor)."""
        posterior = cast(Any, self.kl).encode(images).latent_dist
        return posterior.mean, posterior.logvar

    def reconstruct(self, latents: Tensor) -> Tensor:
        """Images (batch, image_channels, rows, columns), about [-1, 1], not clipped."""
        return cast(Any, self.kl).decode(latents).sample


def todays_name(name: str) -> str:
    """The tensor's name in today's diffusers."""
    found = re.fullmatch(r"(.*\.attentions\.\d+\.)(query|key|value|proj_attn)(\.(?:weight|bias))", name)
    return f"{found[1]}{_OLD_NAMES[found[2]]}{found[3]}" if found else name


def _made(config: Mapping[str, Any]) -> Any:
    try:
        return AutoencoderKL.from_config(dict(config))
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:  # diffusers checks no config
        reason = " ".join(str(error).split())
        raise ModelError(f"AutoencoderKL config: diffusers refuses it ({reason}); take the published config") from error

"""Autoencoders of made-up weights, in the form in which each was published, and the golden ones."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import nn

from latentsr.autoencoders.architectures import Taef2
from latentsr.autoencoders.protocol import CATALOGUE


@pytest.fixture
def publish(tmp_path: Path) -> Callable[..., tuple[Path, Path | None]]:
    """Writes tiny made-up weights of an entry of the catalogue in its published form: (weights, config or None)."""

    def write(name: str, folder: Path | None = None) -> tuple[Path, Path | None]:
        publication = CATALOGUE[name].publication
        folder = folder or tmp_path / "published"
        weights = folder / publication.weights[0]
        config = folder / publication.config if publication.config else None
        for path in (weights, config):
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
        _WRITERS[publication.form](name, weights, config)
        return weights, config

    return write


def stirred(network: nn.Module) -> nn.Module:
    """The network with weights a little off, so that no part of it is at its start."""
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)
    return network


def _diffusers(name: str, weights: Path, config: Path) -> None:
    from diffusers import AutoencoderKL, AutoencoderTiny

    channels = CATALOGUE[name].spec.latent_channels
    if name.startswith("tae"):
        width = (4, 4, 4, 4)
        network = AutoencoderTiny(
            latent_channels=channels, encoder_block_out_channels=width, decoder_block_out_channels=width,
            num_encoder_blocks=(1, 1, 1, 1), num_decoder_blocks=(1, 1, 1, 1),
        )  # fmt: skip
    else:
        network = AutoencoderKL(
            latent_channels=channels, block_out_channels=(4, 4, 4, 4), layers_per_block=1, norm_num_groups=2,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        )  # fmt: skip
    stirred(network).save_pretrained(config.parent)


def compvis_config(name: str, **changes: Any) -> dict[str, Any]:
    """A published config of an entry of the catalogue, tiny."""
    spec = CATALOGUE[name].spec
    dd = {
        "double_z": True, "z_channels": spec.latent_channels, "resolution": 64, "in_channels": spec.image_channels,
        "out_ch": spec.image_channels, "ch": 32, "ch_mult": [1] * spec.factor.bit_length(), "num_res_blocks": 1,
        "attn_resolutions": [], "dropout": 0.0,
    }  # fmt: skip
    return {"model": {"target": "any", "params": {"embed_dim": spec.latent_channels, "ddconfig": dd | changes}}}


def _compvis(name: str, weights: Path, config: Path) -> None:
    from latentsr.autoencoders.network import make_network
    from latentsr.autoencoders.published import diffusers_config, published_name

    content = compvis_config(name)
    network = stirred(make_network("AutoencoderKL", diffusers_config(content, "test")).get_submodule("kl"))
    levels = len(content["model"]["params"]["ddconfig"]["ch_mult"])
    tensors = {published_name(key, levels): value for key, value in network.state_dict().items()}
    tensors = {key: v[..., None, None] if "attn" in key and v.ndim == 2 else v for key, v in tensors.items()}
    tensors["loss.logvar"] = torch.zeros(())
    torch.save({"state_dict": tensors}, weights)
    config.write_text(yaml.safe_dump(content))


def _taef2(name: str, weights: Path, config: None) -> None:
    tensors = stirred(Taef2()).state_dict()
    named = {}
    for key, value in tensors.items():
        half, place, rest = key.split(".", 2)
        named[f"{half}.layers.{int(place) - (half == 'decoder')}.{rest}"] = value.half().contiguous()
    save_file(named, weights)


_WRITERS: Mapping[str, Callable[..., None]] = {"diffusers": _diffusers, "compvis": _compvis, "taef2": _taef2}

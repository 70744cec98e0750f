"""Autoencoders of made-up weights, in the form in which each was published, and the golden ones."""

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn

from latentsr.autoencoders.catalogue import CATALOGUE
from latentsr.autoencoders.taef2 import Taef2


@dataclass(frozen=True)
class Golden:
    """A golden autoencoder: its published files, and what goes in and comes out."""

    weights: Path
    config: Path
    image: Tensor
    mean: Tensor
    sd: Tensor
    decoded: Tensor

    def change(self, edit: Callable[[dict[str, Tensor]], object]) -> Path:
        """The weights, written again after `edit`."""
        tensors = torch.load(self.weights, weights_only=True)["state_dict"]
        edit(tensors)
        torch.save({"state_dict": tensors}, self.weights)
        return self.weights


def formula(seed: int, shapes: Mapping[str, list[int]]) -> dict[str, Tensor]:
    """The weights of section 5 of the published protocol, a function of seed and name."""
    tensors = {}
    for name, shape in shapes.items():
        draw = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(shape).astype(np.float32)
        if len(shape) >= 2:
            draw = draw * 0.7 / np.sqrt(np.prod(shape[1:]))
        elif "norm" in name and name.endswith("weight"):
            draw = 1 + 0.1 * draw
        else:
            draw = 0.1 * draw
        tensors[name] = torch.from_numpy(draw.astype(np.float32))
    return tensors


@pytest.fixture
def golden_medvae(golden: Path, tmp_path: Path) -> Callable[[str], Golden]:
    """Writes the golden MedVAE of that shape ("4x3") as it is published, and says what it makes of an image."""

    def write(shape: str) -> Golden:
        arrays = np.load(golden / f"medvae_{shape}.npz")
        meta = json.loads(str(arrays["meta"]))
        tensors = formula(meta["seed"], meta["shapes"])
        factor, channels = shape.split("x")
        weights, config = tmp_path / f"vae_{factor}x_{channels}c_2D.ckpt", tmp_path / f"medvae_{shape}.yaml"
        torch.save({"state_dict": tensors, "epoch": 3, "loops": {}}, weights)
        config.write_text(yaml.safe_dump(meta["config"]))
        given = (torch.from_numpy(arrays[key]) for key in ("image", "latent_mean", "latent_std", "decoded"))
        return Golden(weights, config, *given)

    return write


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
    from latentsr.autoencoders.compvis import diffusers_config, published_name
    from latentsr.autoencoders.folder import make_network

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

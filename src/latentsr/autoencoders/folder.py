"""Autoencoders in folders: config.json, safetensors and a manifest, in diffusers' form or in that of this package."""

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from torch import nn

from latentsr.autoencoders.catalogue import CONFIG, WEIGHTS
from latentsr.autoencoders.network import (
    HASHED,
    MANIFEST,
    FrozenAutoencoder,
    Network,
    digest,
    file_hashes,
    fill_network,
    image_channels,
    read_manifest,
    read_mapping,
)
from latentsr.autoencoders.protocol import AutoencoderSpec
from latentsr.autoencoders.small_kl import MOST_BLOCKS, SmallKL
from latentsr.autoencoders.taef2 import Taef2
from latentsr.autoencoders.weights import no_autoencoder, read_tensors
from latentsr.errors import ModelError, OptionError

REPEATS = ("layers_per_block", "num_encoder_blocks", "num_decoder_blocks", "blocks")
MOST_CHANNELS, MOST_LEVELS = 4096, 16
KINDS = ("AutoencoderKL", "AutoencoderTiny", "SmallKL", "Taef2")


def make_network(kind: object, config: Mapping[str, Any], origin: str = "config") -> nn.Module:
    """A network with new weights; `kind` is a `_class_name` of config.json, one of KINDS.

    ModelError for another kind, for a config that makes no network of that kind, and for one far beyond any published
    network, which would fill the memory before it fails.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise ModelError(f"{origin}: _class_name is {reprlib.repr(kind)}, expected one of {', '.join(KINDS)}")
    for key, value in config.items():
        numbers = value if isinstance(value, list | tuple) else [value]
        most = MOST_BLOCKS if key in REPEATS else MOST_CHANNELS
        if len(numbers) > MOST_LEVELS:
            raise ModelError(f"{origin}: {key} has {len(numbers)} entries, expected at most {MOST_LEVELS}")
        for number in numbers:
            if isinstance(number, int) and number > most:
                raise ModelError(f"{origin}: {key} is {reprlib.repr(number)}, expected at most {most}")
    try:
        if kind == "SmallKL":
            return SmallKL(**config)
        if kind == "Taef2":
            return Taef2(**config)
        from latentsr.autoencoders.diffusers import DiffusersKL, DiffusersTiny  # diffusers is slow to import

        return DiffusersKL(config) if kind == "AutoencoderKL" else DiffusersTiny(config)
    except (TypeError, OptionError) as error:
        raise ModelError(f"{origin}: no {kind} can be made of it: {error}") from error


def load_folder(folder: Path, *, device: str = "cpu", spec: AutoencoderSpec | None = None) -> FrozenAutoencoder:
    """The autoencoder saved in a folder, frozen, in float32; its facts are `spec` or what the folder says of itself.

    A missing, cut, altered or unfitting file raises ModelError. An alteration that keeps names and shapes is seen where
    the folder has the manifest.json that latentsr writes.
    """
    folder = Path(folder)
    network, weights_sha256 = read_folder(folder)
    config = {key: value for key, value in read_mapping(folder / CONFIG).items() if not key.startswith("_")}
    if spec is None:  # what the manifest says and what the network decides; "unknown" where neither does
        manifest, own = read_manifest(folder), cast(Network, network)
        facts = manifest.get("spec")
        facts = facts if isinstance(facts, dict) else {}
        domain, dtype = facts.get("domain", manifest.get("domain")), facts.get("dtype")
        spec = AutoencoderSpec(
            name=str(facts.get("name", folder.resolve().name)),
            source=str(facts.get("source", "folder")),
            licence=str(facts.get("licence", "unknown")),
            domain=domain if domain in ("none", "natural", "medical") else "unknown",
            image_channels=image_channels(own),
            latent_channels=own.config["latent_channels"],
            factor=own.factor,
            dtype=dtype if dtype in ("bfloat16", "float16") else "float32",
        )
    return FrozenAutoencoder(network.to(device), spec, digest(config, weights_sha256), folder)


def read_folder(folder: Path) -> tuple[nn.Module, str]:
    """The network of a folder, on the CPU, and the SHA-256 of its file of weights; errors as in `load_folder`."""
    if folder.is_dir() and not (folder / CONFIG).is_file():
        raise no_autoencoder(folder)
    config, path = read_mapping(folder / CONFIG), folder / WEIGHTS
    if not path.is_file():
        raise ModelError(f"{path}: missing; expected a folder with {CONFIG} and {WEIGHTS}")
    found, signed = file_hashes(folder), read_manifest(folder)
    for key, name in HASHED.items():
        if signed.get(key, found[key]) != found[key]:
            raise ModelError(f"{folder / name}: altered, its SHA-256 is not that in {MANIFEST}; copy the folder again")
    network = make_network(config.pop("_class_name", None), config, str(folder / CONFIG))
    fill_network(network, read_tensors(path), str(path))
    return network, found["weights_sha256"]

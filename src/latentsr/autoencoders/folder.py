"""Autoencoders in folders: config.json, safetensors and a manifest, in diffusers' form or in that of this package."""

import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from latentsr.autoencoders.catalogue import CONFIG, WEIGHTS
from latentsr.autoencoders.network import (
    HASHED,
    MANIFEST,
    FrozenAutoencoder,
    KLAutoencoder,
    KLNetwork,
    Network,
    digest,
    file_hashes,
    fill_network,
    frozen,
    image_channels,
    read_manifest,
    read_mapping,
    save_network,
)
from latentsr.autoencoders.protocol import AutoencoderSpec, Domain
from latentsr.autoencoders.small_kl import MOST_BLOCKS, SmallKL
from latentsr.autoencoders.taef2 import Taef2
from latentsr.autoencoders.weights import no_autoencoder, read_tensors
from latentsr.errors import ModelError, OptionError


def _diffusers_kl(config: Mapping[str, Any]) -> nn.Module:
    from latentsr.autoencoders.diffusers import DiffusersKL  # diffusers is slow to import

    return DiffusersKL(config)


def _diffusers_tiny(config: Mapping[str, Any]) -> nn.Module:
    from latentsr.autoencoders.diffusers import DiffusersTiny

    return DiffusersTiny(config)


REPEATS = ("layers_per_block", "num_encoder_blocks", "num_decoder_blocks", "blocks")
MOST_CHANNELS, MOST_LEVELS = 4096, 16
KINDS: Mapping[str, Callable[[Mapping[str, Any]], nn.Module]] = {
    "AutoencoderKL": _diffusers_kl,
    "AutoencoderTiny": _diffusers_tiny,
    "SmallKL": lambda config: SmallKL(**config),
    "Taef2": lambda config: Taef2(**config),
}


def make_network(kind: object, config: Mapping[str, Any], origin: str = "config") -> nn.Module:
    """A network with new weights; `kind` is a `_class_name` of config.json, one of KINDS."""
    if not isinstance(kind, str) or kind not in KINDS:
        raise ModelError(f"{origin}: _class_name is {reprlib.repr(kind)}, expected one of {', '.join(KINDS)}")
    # ModelError for a network far beyond any published one, which would fill the memory before it fails.
    for key, value in config.items():
        numbers = value if isinstance(value, list | tuple) else [value]
        most = MOST_BLOCKS if key in REPEATS else MOST_CHANNELS
        if len(numbers) > MOST_LEVELS:
            raise ModelError(f"{origin}: {key} has {len(numbers)} entries, expected at most {MOST_LEVELS}")
        for number in numbers:
            if isinstance(number, int) and number > most:
                raise ModelError(f"{origin}: {key} is {reprlib.repr(number)}, expected at most {most}")
    try:
        return KINDS[kind](config)
    except (TypeError, OptionError) as error:
        raise ModelError(f"{origin}: no {kind} can be made of it: {error}") from error


def load_folder(folder: Path, *, device: str = "cpu", spec: AutoencoderSpec | None = None) -> FrozenAutoencoder:
    """The autoencoder saved in a folder, frozen, in float32; its facts are `spec` or what the folder says of itself.

    A missing, cut, altered or unfitting file raises ModelError. An alteration that keeps names and shapes is seen where
    the folder has the manifest.json that latentsr writes.
    """
    folder = Path(folder)
    network, weights_sha256 = _checked_network(folder)
    facts = spec or _spec(folder, cast(Network, network))
    config = {key: value for key, value in read_mapping(folder / CONFIG).items() if not key.startswith("_")}
    return frozen(network.to(device), facts, digest(config, weights_sha256), folder)


def load_folder_network(folder: Path) -> nn.Module:
    """The network of a folder, trainable, on the CPU; faults as in `load_folder`."""
    return _checked_network(Path(folder))[0]


def _checked_network(folder: Path) -> tuple[nn.Module, str]:
    """The network, and the SHA-256 of the file that its weights came from."""
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


def _spec(folder: Path, network: Network) -> AutoencoderSpec:
    """The facts that the manifest tells, those that the network decides taken from it; "unknown" what neither says."""
    manifest = read_manifest(folder)
    told = manifest.get("spec")
    facts = told if isinstance(told, dict) else {}
    domain = facts.get("domain", manifest.get("domain"))
    dtype = facts.get("dtype")
    return AutoencoderSpec(
        name=str(facts.get("name", folder.resolve().name)),
        source=str(facts.get("source", "folder")),
        licence=str(facts.get("licence", "unknown")),
        domain=domain if domain in ("none", "natural", "medical") else "unknown",
        image_channels=image_channels(network),
        latent_channels=network.config["latent_channels"],
        factor=network.factor,
        dtype=dtype if dtype in ("bfloat16", "float16") else "float32",
    )


__all__ = ["WEIGHTS", "KLAutoencoder", "KLNetwork", "load_kl", "load_network", "make_network", "save_kl"]


def load_kl(folder: Path, *, device: str = "cpu") -> KLAutoencoder:
    """The KL autoencoder saved in a folder, frozen, in float32; faults as in `load_folder`."""
    autoencoder = load_folder(folder, device=device)
    if not isinstance(autoencoder, KLAutoencoder):
        raise ModelError(f"{folder}: an autoencoder without a posterior; expected an AutoencoderKL or a SmallKL")
    return autoencoder


def load_network(folder: Path) -> nn.Module:
    """The SmallKL or DiffusersKL network of a folder, trainable, on the CPU; faults as in `load_kl`."""
    network = load_folder_network(folder)
    if not hasattr(network, "moments"):
        raise ModelError(f"{folder}: an autoencoder without a posterior; expected an AutoencoderKL or a SmallKL")
    return network


def save_kl(
    network: nn.Module,
    folder: Path,
    *,
    weights: Mapping[str, Tensor] | None = None,
    domain: Domain = "unknown",
    facts: Mapping[str, object] | None = None,
) -> None:
    """Writes config.json, the weights and, last, manifest.json with the weights' SHA-256 and the facts.

    `weights` is another state dict of the network, such as an average. An AutoencoderKL is written in diffusers' form,
    for `AutoencoderKL.from_pretrained`.
    """
    save_network(network, folder, weights=weights, facts={"domain": domain, **(facts or {})})

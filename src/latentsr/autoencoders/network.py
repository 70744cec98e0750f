"""What autoencoding networks have in common, and how one is kept in a folder."""

import dataclasses
import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from torch import Tensor, nn

from latentsr.autoencoders.catalogue import CONFIG, WEIGHTS
from latentsr.autoencoders.protocol import AutoencoderSpec
from latentsr.autoencoders.strict import fill, save_weights, weights_bytes
from latentsr.config import read_json, sha256, sha256_json, write_json
from latentsr.errors import InputError, ModelError

MANIFEST = "manifest.json"
HASHED = {"weights_sha256": WEIGHTS, "config_sha256": CONFIG}  # the manifest's keys, and of which files


class Network(Protocol):
    """What all autoencoding networks, torch modules, have in common.

    `kind` is the class as config.json names it, `prefix` what their tensors' names begin with beside the file's.
    """

    kind: str
    prefix: str
    factor: int

    @property
    def config(self) -> dict[str, Any]: ...

    def mean(self, images: Tensor) -> Tensor: ...

    def reconstruct(self, latents: Tensor) -> Tensor: ...


class KLNetwork(Network, Protocol):
    """A network with a Gaussian posterior (SmallKL, DiffusersKL): mean and log variance."""

    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]: ...


def fill_network(network: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Fills the network with the tensors of a file of its form; any fault is a ModelError that names the tensor."""
    own = cast(Network, network)
    fill(network.get_submodule(own.prefix.rstrip(".")), renamed(own, tensors), origin)


def renamed(network: Network, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors under today's names."""
    if network.kind != "AutoencoderKL":
        return tensors
    from latentsr.autoencoders.diffusers_kl import todays_name  # diffusers is slow to import

    return {todays_name(name): tensor for name, tensor in tensors.items()}


def stored_tensors(network: nn.Module, tensors: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The network's tensors, or others of its names, under the names that a file of its form has."""
    prefix = cast(Network, network).prefix
    given = network.state_dict() if tensors is None else tensors
    return {name.removeprefix(prefix): tensor for name, tensor in given.items()}


def digest(config: Mapping[str, Any], weights_sha256: str) -> str:
    """The digest of everything that decides an autoencoder's latents."""
    return sha256_json({"config": config, "weights": weights_sha256})


def digest_in_memory(network: nn.Module) -> str:
    """The digest that the network has once `save_network` wrote it into a folder."""
    weights = hashlib.sha256(weights_bytes(stored_tensors(network))).hexdigest()
    return digest(cast(Network, network).config, weights)


def save_network(
    network: nn.Module,
    folder: Path,
    spec: AutoencoderSpec | None = None,
    *,
    weights: Mapping[str, Tensor] | None = None,
    facts: Mapping[str, object] | None = None,
) -> None:
    """Writes config.json, the weights and, last, manifest.json with the SHA-256 of both, the spec and the facts.

    `weights` is another state dict of the network, such as an average. Networks of diffusers are written in its form,
    for its `from_pretrained`.
    """
    folder, own = Path(folder), cast(Network, network)
    save_weights(stored_tensors(network, weights), folder / WEIGHTS)
    write_json(folder / CONFIG, {"_class_name": own.kind, **own.config})
    told = {} if spec is None else {"spec": dataclasses.asdict(spec)}
    write_json(folder / MANIFEST, {**file_hashes(folder), **told, **(facts or {})})


def file_hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of weights and config of a folder, under the manifest's keys."""
    return {key: sha256(folder / name) for key, name in HASHED.items()}


def copy_network(source: Path, folder: Path, spec: AutoencoderSpec) -> None:
    """Writes a folder's config.json and weights into another as they are, so that the digest stays, and a manifest."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG, WEIGHTS):
        shutil.copyfile(source / name, folder / name)
    write_json(folder / MANIFEST, read_manifest(source) | file_hashes(folder) | {"spec": dataclasses.asdict(spec)})


def read_manifest(folder: Path) -> dict[str, Any]:
    """What manifest.json says; empty where there is none."""
    path = Path(folder) / MANIFEST
    return read_mapping(path) if path.is_file() else {}


def read_mapping(path: Path) -> dict[str, Any]:
    """What a JSON file of an autoencoder's folder holds; ModelError where it is missing, broken or no mapping."""
    try:
        content = read_json(path)
    except InputError as error:
        raise ModelError(f"{error}; expected an autoencoder folder: {CONFIG} and {WEIGHTS}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds no 'key: value' pairs; expected an autoencoder folder: copy it again")
    return content


def image_channels(network: Network) -> int:
    """The channels of the images that a network takes."""
    config = network.config
    return int(config.get("image_channels", config.get("in_channels", 3)))  # Taef2 has no choice

"""Autoencoding networks: what they have in common, a frozen one behind the protocol, and their folders.

A folder holds config.json, safetensors and a manifest, in diffusers' form or in that of this package.
"""

import dataclasses
import hashlib
import reprlib
import shutil
from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from latentsr.autoencoders.architectures import MOST_BLOCKS, SmallKL, Taef2
from latentsr.autoencoders.protocol import CONFIG, WEIGHTS, AutoencoderSpec
from latentsr.autoencoders.weights import fill, no_autoencoder, read_tensors, save_weights, weights_bytes
from latentsr.config import read_json, sha256, sha256_json, write_json
from latentsr.errors import InputError, ModelError, OptionError

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
    if own.kind == "AutoencoderKL":
        from latentsr.autoencoders.diffusers import current_name  # diffusers is slow to import

        tensors = {current_name(name): tensor for name, tensor in tensors.items()}
    fill(network.get_submodule(own.prefix.rstrip(".")), tensors, origin)


def stored_tensors(network: nn.Module) -> dict[str, Tensor]:
    """The network's tensors under the names that a file of its form has."""
    prefix = cast(Network, network).prefix
    return {name.removeprefix(prefix): tensor for name, tensor in network.state_dict().items()}


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
    facts: Mapping[str, object] | None = None,
) -> None:
    """Writes config.json, the weights and, last, manifest.json with the SHA-256 of both, the spec and the facts.

    Networks of diffusers are written in its form, for its `from_pretrained`.
    """
    folder, own = Path(folder), cast(Network, network)
    save_weights(stored_tensors(network), folder / WEIGHTS)
    write_json(folder / CONFIG, {"_class_name": own.kind, **own.config})
    described = {} if spec is None else {"spec": dataclasses.asdict(spec)}
    write_json(folder / MANIFEST, {**file_hashes(folder), **described, **(facts or {})})


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
    """The content of manifest.json; empty if it does not exist."""
    path = Path(folder) / MANIFEST
    return read_mapping(path) if path.is_file() else {}


def read_mapping(path: Path) -> dict[str, Any]:
    """The content of a JSON file of an autoencoder's folder; ModelError if it is missing, broken or no mapping."""
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


class FrozenAutoencoder:
    """A frozen network behind the `Autoencoder` protocol, in float32 but for what `decoding_in` returns.

    Images (batch, channels, rows, columns) in [-1, 1]. A grey image is repeated for a network of three channels, whose
    output is averaged to grey again. Latents are the posterior mean, unscaled. Results are on the device of the input,
    whichever the network's own is.
    """

    def __init__(self, network: nn.Module, spec: AutoencoderSpec, digest: str, folder: Path | None) -> None:
        self.network = self.decoder = network.float().eval().requires_grad_(False)
        self.spec = spec
        self.hash = digest
        self.folder = folder

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.spec.name})"

    def decoding_in(self, dtype: torch.dtype) -> "FrozenAutoencoder":
        """The same, whose latents are decoded by weights and features of `dtype`; `encode` stays as it is."""
        other = copy(self)
        other.decoder = deepcopy(self.network).to(dtype).to(memory_format=torch.channels_last)
        return other

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """The posterior mean (batch, latent_channels, rows / factor, columns / factor).

        Images of other channels or of sides that are no multiple of the factor raise InputError.
        """
        channels, factor = self.spec.image_channels, self.spec.factor
        if images.ndim != 4 or images.shape[1] not in (1, channels):
            expected = f"(batch, 1{'' if channels == 1 else ' or ' + str(channels)}, rows, columns)"
            raise InputError(f"{self.spec.name}: images of shape {tuple(images.shape)}, expected {expected}")
        if images.shape[-2] % factor or images.shape[-1] % factor:
            size = "x".join(map(str, images.shape[-2:]))
            raise InputError(
                f"{self.spec.name}: images of {size} px, expected sides in multiples of {factor}: pad them"
            )
        inputs = images.to(self._device, torch.float32)
        inputs = inputs.expand(-1, channels, -1, -1) if images.shape[1] == 1 else inputs
        return self._finite(cast(Network, self.network).mean(inputs), "latents").to(images.device)

    @torch.no_grad()
    def draw(self, images: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """One draw from the posterior of each image, its noise from its own generator; shapes as of `encode`.

        OptionError for a network without a posterior.
        """
        if not hasattr(self.network, "moments"):
            raise OptionError(f"{self.spec.name}: has no posterior to draw from; take its mean")
        mean = self.encode(images)
        inputs = images.to(self._device, torch.float32).expand(-1, self.spec.image_channels, -1, -1)
        _, log_variance = cast(KLNetwork, self.network).moments(inputs)
        noise = torch.stack([torch.randn(mean.shape[1:], generator=generator) for generator in generators]).to(mean)
        return mean + (log_variance.clamp(-30, 20) / 2).exp().to(mean) * noise

    @torch.no_grad()
    def decode(self, latents: Tensor, *, grey: bool = True, check: bool = True) -> Tensor:
        """Images (batch, 1, rows, columns), about [-1, 1], not clipped; with grey=False all channels of the network.

        ModelError unless they are finite, which a GPU is waited for to know; not with check=False.
        """
        if latents.ndim != 4 or latents.shape[1] != self.spec.latent_channels:
            expected = f"(batch, {self.spec.latent_channels}, rows, columns)"
            raise InputError(f"{self.spec.name}: latents of shape {tuple(latents.shape)}, expected {expected}")
        dtype = next(self.decoder.parameters()).dtype
        decoded = cast(Network, self.decoder).reconstruct(latents.to(self._device, dtype)).float()
        images = (self._finite(decoded, "images") if check else decoded).to(latents.device)
        return images.mean(dim=1, keepdim=True) if grey else images

    def save(self, folder: Path) -> None:
        """Writes config.json, the weights and manifest.json, from which `load_autoencoder(folder)` makes it again."""
        if self.folder is None:
            save_network(self.network, folder, self.spec)
        else:
            copy_network(self.folder, folder, self.spec)

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    def _finite(self, values: Tensor, what: str) -> Tensor:
        if not torch.isfinite(values).all():
            raise ModelError(
                f"{self.spec.name}: {what} with NaN or infinity; check the input's range [-1, 1] and weights"
            )
        return values


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

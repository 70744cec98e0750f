"""KL autoencoders in folders: config.json and safetensors, diffusers' form or SmallKL's, behind the one protocol."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor, nn

from latentsr.autoencoders.protocol import AutoencoderSpec
from latentsr.autoencoders.small_kl import SmallKL
from latentsr.autoencoders.strict import load_weights, save_weights
from latentsr.config import read_json, sha256, sha256_json, write_json
from latentsr.errors import InputError, ModelError, OptionError

WEIGHTS = "diffusion_pytorch_model.safetensors"  # diffusers' name, for SmallKL too
CLASSES = ("AutoencoderKL", "SmallKL")


class KLNetwork(Protocol):
    """What SmallKL and DiffusersKL, both torch modules, have in common."""

    factor: int

    @property
    def config(self) -> dict[str, Any]: ...

    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]: ...

    def reconstruct(self, latents: Tensor) -> Tensor: ...


class KLAutoencoder:
    """A frozen KL network behind the `Autoencoder` protocol, in float32.

    Images (batch, channels, rows, columns) in [-1, 1]. A grey image is repeated for a network of three channels, whose
    output is averaged to grey again. Latents are the posterior mean, unscaled. What comes back lies on the device of
    what was given, whichever the network's own is.
    """

    def __init__(self, network: nn.Module, spec: AutoencoderSpec, digest: str, folder: Path) -> None:
        self.network = network.float().eval().requires_grad_(False)
        self.spec = spec
        self.hash = digest
        self.folder = folder

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """The posterior mean (batch, latent_channels, rows / factor, columns / factor).

        Images of other channels or of sides that are no multiple of the factor raise InputError.
        """
        mean, _ = self._kl.moments(self._for_network(images))
        return self._finite(mean, "latents").to(images.device)

    @torch.no_grad()
    def decode(self, latents: Tensor, *, grey: bool = True) -> Tensor:
        """Images (batch, 1, rows, columns), about [-1, 1], not clipped; with grey=False all channels of the network."""
        if latents.ndim != 4 or latents.shape[1] != self.spec.latent_channels:
            expected = f"(batch, {self.spec.latent_channels}, rows, columns)"
            raise InputError(f"{self.spec.name}: latents of shape {tuple(latents.shape)}, expected {expected}")
        decoded = self._kl.reconstruct(latents.to(self._device, torch.float32))
        images = self._finite(decoded, "images").to(latents.device)
        return images.mean(dim=1, keepdim=True) if grey else images

    @property
    def _kl(self) -> KLNetwork:
        return cast(KLNetwork, self.network)

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    def _for_network(self, images: Tensor) -> Tensor:
        channels, factor = self.spec.image_channels, self.spec.factor
        if images.ndim != 4 or images.shape[1] not in (1, channels):
            expected = f"(batch, 1{'' if channels == 1 else ' or ' + str(channels)}, rows, columns)"
            raise InputError(f"{self.spec.name}: images of shape {tuple(images.shape)}, expected {expected}")
        if images.shape[-2] % factor or images.shape[-1] % factor:
            size = "x".join(map(str, images.shape[-2:]))
            raise InputError(
                f"{self.spec.name}: images of {size} px, expected sides in multiples of {factor}: pad them"
            )
        images = images.to(self._device, torch.float32)
        return images.expand(-1, channels, -1, -1) if images.shape[1] == 1 else images

    def _finite(self, values: Tensor, what: str) -> Tensor:
        if not torch.isfinite(values).all():
            raise ModelError(
                f"{self.spec.name}: {what} with NaN or infinity; check the input's range [-1, 1] and weights"
            )
        return values


def load_kl(folder: Path, *, device: str | torch.device = "cpu") -> KLAutoencoder:
    """The KL autoencoder saved in a folder, frozen, in float32.

    A missing, cut, altered or unfitting file raises ModelError. An alteration that keeps names and shapes is seen where
    the folder has the manifest.json that latentsr writes.
    """
    folder = Path(folder)
    network = load_network(folder)
    config = cast(KLNetwork, network).config
    digest = sha256_json({"config": config, "weights": sha256(folder / WEIGHTS)})
    return KLAutoencoder(network.to(device), _spec(folder, cast(KLNetwork, network)), digest, folder)


def load_network(folder: Path) -> nn.Module:
    """The SmallKL or DiffusersKL network of a folder, trainable, on the CPU; faults as in `load_kl`."""
    folder = Path(folder)
    config = _config(folder)
    network = make_network(config.pop("_class_name", None), config, str(folder / "config.json"))
    _check_hash(folder)
    if isinstance(network, SmallKL):
        load_weights(network, folder / WEIGHTS)
    else:
        from latentsr.autoencoders.diffusers_kl import todays_name

        load_weights(network.get_submodule("kl"), folder / WEIGHTS, rename=todays_name)
    return network


def make_network(kind: object, config: Mapping[str, Any], origin: str = "config") -> nn.Module:
    """A SmallKL or DiffusersKL network (`kind` is "SmallKL" or "AutoencoderKL") with new weights."""
    if kind == "AutoencoderKL":
        from latentsr.autoencoders.diffusers_kl import DiffusersKL  # diffusers is slow to import

        return DiffusersKL(config)
    if kind != "SmallKL":
        raise ModelError(f"{origin}: _class_name is {kind!r}, expected one of {', '.join(CLASSES)}")
    try:
        return SmallKL(**config)
    except (TypeError, OptionError) as error:
        raise ModelError(f"{origin}: no SmallKL can be made of it: {error}") from error


def save_kl(
    network: nn.Module,
    folder: Path,
    *,
    weights: Mapping[str, Tensor] | None = None,
    domain: Literal["none", "natural", "medical"] = "none",
    facts: Mapping[str, object] | None = None,
) -> None:
    """Writes config.json, the weights and, last, manifest.json with the weights' SHA-256 and the facts.

    `weights` is another state dict of the network, such as an average. An AutoencoderKL is written in diffusers' form,
    for `AutoencoderKL.from_pretrained`.
    """
    folder = Path(folder)
    small = isinstance(network, SmallKL)
    tensors = dict(network.state_dict() if weights is None else weights)
    if not small:
        tensors = {name.removeprefix("kl."): tensor for name, tensor in tensors.items()}
    save_weights(tensors, folder / WEIGHTS)
    kind = "SmallKL" if small else "AutoencoderKL"
    write_json(folder / "config.json", {"_class_name": kind, **cast(KLNetwork, network).config})
    signed = {"weights_sha256": sha256(folder / WEIGHTS), "domain": domain, **(facts or {})}
    write_json(folder / "manifest.json", signed)


def _config(folder: Path) -> dict[str, Any]:
    return _read(folder / "config.json")


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    return _read(path) if path.is_file() else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except InputError as error:
        raise ModelError(f"{error}; expected an autoencoder folder: config.json and {WEIGHTS}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds no 'key: value' pairs; expected an autoencoder folder: copy it again")
    return content


def _check_hash(folder: Path) -> None:
    signed = _manifest(folder).get("weights_sha256")
    path = folder / WEIGHTS
    if signed is not None and path.is_file() and sha256(path) != signed:
        raise ModelError(f"{path}: altered, its SHA-256 is not the one in manifest.json; copy the folder again")


def _spec(folder: Path, network: KLNetwork) -> AutoencoderSpec:
    channels = network.config.get("image_channels", network.config.get("in_channels"))
    domain = _manifest(folder).get("domain")
    return AutoencoderSpec(
        name=folder.resolve().name,
        source="folder",
        licence="unknown",
        domain=domain if domain in ("natural", "medical") else "none",
        image_channels=cast(int, channels),
        latent_channels=network.config["latent_channels"],
        factor=network.factor,
    )

"""KL autoencoders, those with a Gaussian posterior, in folders: diffusers' AutoencoderKL and SmallKL."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from latentsr.autoencoders.catalogue import WEIGHTS
from latentsr.autoencoders.folder import load_folder, load_folder_network, make_network
from latentsr.autoencoders.frozen import KLAutoencoder
from latentsr.autoencoders.network import KLNetwork, save_network
from latentsr.autoencoders.protocol import Domain
from latentsr.errors import ModelError

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

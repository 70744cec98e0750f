"""A frozen network behind the `Autoencoder` protocol: grey in, grey out, in float32, nothing that is not finite."""

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from latentsr.autoencoders.network import KLNetwork, Network, copy_network, save_network
from latentsr.autoencoders.protocol import AutoencoderSpec
from latentsr.errors import InputError, ModelError


class FrozenAutoencoder:
    """A frozen network behind the `Autoencoder` protocol, in float32.

    Images (batch, channels, rows, columns) in [-1, 1]. A grey image is repeated for a network of three channels, whose
    output is averaged to grey again. Latents are the posterior mean, unscaled. What comes back lies on the device of
    what was given, whichever the network's own is.
    """

    def __init__(self, network: nn.Module, spec: AutoencoderSpec, digest: str, folder: Path | None) -> None:
        self.network = network.float().eval().requires_grad_(False)
        self.spec = spec
        self.hash = digest
        self.folder = folder

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.spec.name})"

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """The posterior mean (batch, latent_channels, rows / factor, columns / factor).

        Images of other channels or of sides that are no multiple of the factor raise InputError.
        """
        mean = cast(Network, self.network).mean(self._for_network(images))
        return self._finite(mean, "latents").to(images.device)

    @torch.no_grad()
    def decode(self, latents: Tensor, *, grey: bool = True) -> Tensor:
        """Images (batch, 1, rows, columns), about [-1, 1], not clipped; with grey=False all channels of the network."""
        if latents.ndim != 4 or latents.shape[1] != self.spec.latent_channels:
            expected = f"(batch, {self.spec.latent_channels}, rows, columns)"
            raise InputError(f"{self.spec.name}: latents of shape {tuple(latents.shape)}, expected {expected}")
        decoded = cast(Network, self.network).reconstruct(latents.to(self._device, torch.float32))
        images = self._finite(decoded, "images").to(latents.device)
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


class KLAutoencoder(FrozenAutoencoder):
    """A frozen network with a Gaussian posterior."""

    @torch.no_grad()
    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and sd of the posterior, each of the shape of `encode`'s latents; wrong images as there."""
        mean, logvar = cast(KLNetwork, self.network).moments(self._for_network(images))
        sd = (0.5 * logvar).exp()
        return self._finite(mean, "latents").to(images.device), self._finite(sd, "latents").to(images.device)


def frozen(network: nn.Module, spec: AutoencoderSpec, digest: str, folder: Path | None) -> FrozenAutoencoder:
    """The network behind the protocol, of the class that has what it has."""
    cls = KLAutoencoder if hasattr(network, "moments") else FrozenAutoencoder
    return cls(network, spec, digest, folder)

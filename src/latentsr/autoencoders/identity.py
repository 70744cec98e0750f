"""The identity: pixel space as a latent space, so that pixel diffusion is the same code."""

from pathlib import Path

from torch import Tensor

from latentsr.autoencoders.protocol import AutoencoderSpec
from latentsr.errors import ModelError


class Identity:
    """Latents that are the images themselves."""

    spec = AutoencoderSpec(
        name="identity",
        source="latentsr",
        licence="Apache-2.0",
        domain="none",
        image_channels=1,
        latent_channels=1,
        factor=1,
        lossless=True,
    )
    hash = "identity"
    folder = None

    def __repr__(self) -> str:
        return f"Identity({self.spec.name})"

    def encode(self, images: Tensor) -> Tensor:
        """The images, unchanged."""
        return images

    def decode(self, latents: Tensor) -> Tensor:
        """The latents, unchanged."""
        return latents

    def save(self, folder: Path) -> None:
        """Refuses: it is code alone, and its name makes it again."""
        raise ModelError(f"{self.spec.name}: has no files to write to {folder}; give its name instead")

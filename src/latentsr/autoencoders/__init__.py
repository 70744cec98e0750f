"""Autoencoders: one protocol, one table of those that are known by name, one loader."""

from latentsr.autoencoders.load import SPECS, load_autoencoder
from latentsr.autoencoders.protocol import Autoencoder, AutoencoderSpec

__all__ = ["SPECS", "Autoencoder", "AutoencoderSpec", "load_autoencoder"]

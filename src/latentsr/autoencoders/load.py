"""The table of autoencoders by name, and the loader that takes a name or a folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from latentsr.autoencoders.haar import Haar
from latentsr.autoencoders.identity import Identity
from latentsr.autoencoders.protocol import Autoencoder, AutoencoderSpec
from latentsr.errors import ModelError


@dataclass(frozen=True)
class Entry:
    """A row of the table: the facts, and how to make it."""

    spec: AutoencoderSpec
    make: Callable[[], Autoencoder]


_TABLE: Mapping[str, Entry] = {
    "identity": Entry(Identity.spec, Identity),
    "haar": Entry(Haar(4).spec, lambda: Haar(4)),
    "haar-2": Entry(Haar(2).spec, lambda: Haar(2)),
    "haar-8": Entry(Haar(8).spec, lambda: Haar(8)),
}

SPECS: Mapping[str, AutoencoderSpec] = {name: entry.spec for name, entry in _TABLE.items()}


def load_autoencoder(name_or_folder: str | Path, *, device: str = "cpu") -> Autoencoder:
    """The autoencoder of that name in SPECS, or the one saved in a folder (config.json and safetensors)."""
    if str(name_or_folder) in _TABLE:
        return _TABLE[str(name_or_folder)].make()
    if Path(name_or_folder).is_dir():
        from latentsr.autoencoders.kl import load_kl  # diffusers is slow to import and the table does not need it

        return load_kl(Path(name_or_folder), device=device)
    raise ModelError(f"autoencoder '{name_or_folder}': expected a folder, or one of {', '.join(SPECS)}")

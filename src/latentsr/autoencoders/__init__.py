"""The autoencoders by name, and the loader that takes a name or a folder."""

from collections.abc import Callable, Mapping
from pathlib import Path

from latentsr.autoencoders.haar import Haar, Identity, Wavelet
from latentsr.autoencoders.network import FrozenAutoencoder, digest_in_memory, load_folder
from latentsr.autoencoders.protocol import CATALOGUE, Autoencoder, AutoencoderSpec, Weights
from latentsr.autoencoders.published import given_files, read_published
from latentsr.autoencoders.store import check_cached, find, how_to_get, store_folder
from latentsr.autoencoders.weights import import_command
from latentsr.errors import ModelError, OptionError, suggestion

__all__ = ["SPECS", "Autoencoder", "AutoencoderSpec", "load_autoencoder"]


_CODE: Mapping[str, Callable[[], Autoencoder]] = {
    "identity": Identity,
    "haar": lambda: Haar(4),
    "haar-2": lambda: Haar(2),
    "haar-8": lambda: Haar(8),
    "cdf97": Wavelet,
}

SPECS: Mapping[str, AutoencoderSpec] = {
    **{name: make().spec for name, make in _CODE.items()},
    **{name: published.spec for name, published in CATALOGUE.items()},
}


def load_autoencoder(
    name_or_folder: str | Path,
    *,
    weights: Weights | None = None,
    config: Path | str | None = None,
    device: str = "cpu",
) -> Autoencoder:
    """The autoencoder of that name in SPECS, or the one saved in a folder (config.json and safetensors).

    Those that have weights take them from `weights` and `config`, the files that were published (`weights` may be a
    folder that holds them; TAEF2's encoder and decoder are two files), or from the store, or from the hub's cache:
    nothing is ever downloaded. Missing, cut, altered or unfitting files raise ModelError, as does an unknown name.
    """
    name, path = str(name_or_folder), Path(name_or_folder)
    if name not in CATALOGUE:
        if weights is not None or config is not None:
            raise OptionError(
                f"{name}: takes neither weights nor a config of weights; these go with one of {', '.join(CATALOGUE)}"
            )
        if name in _CODE:
            return _CODE[name]()
        if path.is_dir():
            return load_folder(path, device=device)
        if path.is_file():
            command = import_command(path, [path.name])
            raise ModelError(f"autoencoder '{name}': is a file, expected a folder or a name; {command}")
        raise ModelError(
            f"autoencoder '{name}': expected a folder, or one of {', '.join(SPECS)}{suggestion(name, SPECS)}"
        )

    published = CATALOGUE[name]
    if weights is not None:
        files = given_files(published, weights, config)
    elif config is not None:
        raise OptionError(f"{name}: the config of weights without weights; set both")
    else:
        place = find(name)
        if place is None:
            raise ModelError(f"{name}: its weights are not on this machine; {how_to_get(name)}")
        if place.kind == "store":
            return load_folder(store_folder(name), device=device, spec=published.spec)
        check_cached(place.files)
        files = place.files
    network = read_published(published, files)
    return FrozenAutoencoder(network.to(device), published.spec, digest_in_memory(network), None)

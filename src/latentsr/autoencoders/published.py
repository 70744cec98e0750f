"""Networks from the files that their authors published, converted where the form is another; strict."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

from torch import nn

from latentsr.autoencoders.catalogue import Published, Weights
from latentsr.autoencoders.checkpoint import read_tensors
from latentsr.autoencoders.filekind import check_family, held
from latentsr.autoencoders.folder import make_network
from latentsr.autoencoders.network import Network, fill_network, image_channels, read_mapping
from latentsr.config import read_yaml_mapping
from latentsr.errors import ModelError, OptionError


@dataclass(frozen=True)
class Files:
    """The files of a published autoencoder; `config` None where the form needs none."""

    weights: tuple[Path, ...]
    config: Path | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        """All files, the config last."""
        return self.weights if self.config is None else (*self.weights, self.config)


def given_files(published: Published, weights: Weights, config: Path | str | None) -> Files:
    """The files that a user gave: weights as a file, several, or a folder that holds them under a published name.

    A config that is not given is looked for beside the weights, under its published name. ModelError where there are
    none.
    """
    several = [Path(weights)] if isinstance(weights, str | Path) else [Path(path) for path in weights]
    if len(several) == 1 and several[0].is_dir():
        several = _inside(published, several[0])
    if not published.publication.config:
        if config is not None:
            raise OptionError(f"{published.spec.name}: takes no config, its form is fixed; leave the option config out")
        return Files(tuple(several))
    if len(several) != 1:
        raise OptionError(f"{published.spec.name}: {len(several)} files of weights, expected one")
    return Files(tuple(several), Path(config) if config is not None else _beside(published, several[0]))


def read_published(published: Published, files: Files) -> nn.Module:
    """The network with the files' weights, on the CPU; any fault is a ModelError that names file and tensor."""
    network = _READERS[published.publication.form](files)
    spec, own = published.spec, cast(Network, network)
    if own.kind != published.publication.kind:
        raise ModelError(
            f"{spec.name}: {files.all[-1]} is that of an {own.kind}, expected an {published.publication.kind}; "
            f"give the files of {spec.name}"
        )
    found = (image_channels(own), own.config["latent_channels"], own.factor)
    if found != (expected := (spec.image_channels, spec.latent_channels, spec.factor)):
        raise ModelError(
            f"{spec.name}: {files.all[-1]} makes an autoencoder of other image channels, latent channels and factor: "
            f"{found}, expected {expected}; give the files of {spec.name}"
        )
    return network


def _diffusers(files: Files) -> nn.Module:
    path = cast(Path, files.config)
    config = read_mapping(path)
    network = make_network(config.pop("_class_name", None), config, str(path))
    fill_network(network, read_tensors(files.weights[0]), str(files.weights[0]))
    return network


def _compvis(files: Files) -> nn.Module:
    from latentsr.autoencoders.compvis import diffusers_config, diffusers_tensors

    path = cast(Path, files.config)
    try:
        content = read_yaml_mapping(path)
    except OptionError as error:
        raise ModelError(f"{error}; expected the config published with the weights") from error
    tensors = read_tensors(files.weights[0])
    network = make_network("AutoencoderKL", diffusers_config(content or {}, str(path)), str(path))
    expected = network.get_submodule("kl").state_dict()
    fill_network(network, diffusers_tensors(tensors, expected, str(files.weights[0])), str(files.weights[0]))
    return network


def _taef2(files: Files) -> nn.Module:
    from latentsr.autoencoders.taef2 import from_one_file, joined

    if len(files.weights) == 1:
        read = read_tensors(files.weights[0])
        check_family(read, ["encoder.layers.0.weight"], str(files.weights[0]))
        tensors = from_one_file(read)
    elif len(files.weights) == 2:
        encoder, decoder = sorted(files.weights, key=lambda path: "decoder" in path.name)
        tensors = joined(read_tensors(encoder), read_tensors(decoder))
    else:
        raise OptionError(f"taef2: {len(files.weights)} files of weights, expected one, or encoder and decoder")
    network = make_network("Taef2", {})
    fill_network(network, tensors, " and ".join(map(str, files.weights)))
    return network


_READERS = {"diffusers": _diffusers, "compvis": _compvis, "taef2": _taef2}


def _inside(published: Published, folder: Path) -> list[Path]:
    for names in (published.publication.weights, published.publication.aliases):
        found = [_in_folder(folder, name) for name in names]
        if found and all(path.is_file() for path in found):
            return found
    wanted = " and ".join(PurePosixPath(name).name for name in published.publication.weights)
    raise ModelError(
        f"{folder}: holds no weights of {published.spec.name}; expected {wanted} in it, found {held(folder)}"
    )


def _in_folder(folder: Path, name: str) -> Path:
    """The file of a published name: as in the repository, or without its folders."""
    return folder / name if (folder / name).is_file() else folder / PurePosixPath(name).name


def _beside(published: Published, weights: Path) -> Path:
    name = PurePosixPath(published.publication.config).name
    path = weights.parent / name
    if not path.is_file():
        raise ModelError(f"{published.spec.name}: no {name} beside {weights}; set the option config to it")
    return path

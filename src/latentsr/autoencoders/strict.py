"""Weights into a network and into a file, strictly: every fault is named, nothing is loaded in part."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save, save_file
from torch import Tensor, nn

from latentsr.atomic import replacing
from latentsr.autoencoders.checkpoint import read_tensors
from latentsr.autoencoders.filekind import check_family
from latentsr.errors import ModelError

_METADATA = {"format": "pt"}


def load_weights(network: nn.Module, path: Path) -> None:
    """Fills the network from the file, in the network's own dtype.

    A file that is missing or cut short, and a tensor that is missing, surplus, misshapen, of integers where the network
    has floating point, or not finite, raise ModelError.
    """
    if not Path(path).is_file():
        raise ModelError(f"{path}: missing; expected a folder with config.json and {Path(path).name}")
    fill(network, read_tensors(path), str(path))


def fill(network: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Fills the network with the tensors, in the network's own dtype; any fault is a ModelError that names it."""
    check_weights(tensors, network, origin)
    network.load_state_dict(dict(tensors), strict=True)


def check_weights(tensors: Mapping[str, Tensor], network: nn.Module, origin: str) -> None:
    """Raises ModelError, with the first tensor at fault, unless the tensors are those of the network, and finite."""
    own = network.state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
    check_tensors(tensors, shapes, origin, fix="take the config.json that belongs to it")
    for name in (name for name, tensor in own.items() if tensor.is_floating_point()):
        if not tensors[name].is_floating_point():  # such as int8 without the scale that it was quantised with
            kind = str(tensors[name].dtype).removeprefix("torch.")
            raise ModelError(f"{origin}: tensor {name!r} is of {kind}, expected floating point; fetch it unquantised")
    check_finite(tensors, origin)


def check_tensors(
    tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], origin: str, *, fix: str
) -> None:
    """Raises ModelError, with the first tensor at fault, unless names and shapes are the expected ones."""
    if len(shapes.keys() & tensors.keys()) < len(shapes) / 2:
        check_family(tensors, shapes, origin)
    for problem, names in (
        ("lacks", shapes.keys() - tensors.keys()),
        ("has surplus", tensors.keys() - shapes.keys()),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ModelError(f"{origin}: {problem} tensor {min(names)!r}{more}; {fix}")
    for name, shape in shapes.items():
        if tensors[name].shape != shape:
            found = tuple(tensors[name].shape)
            raise ModelError(f"{origin}: tensor {name!r} has shape {found}, expected {shape}; {fix}")


def check_finite(tensors: Mapping[str, Tensor], origin: str) -> None:
    """Raises ModelError, with its name, if a tensor holds NaN or infinity."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ModelError(f"{origin}: tensor {name!r} holds NaN or infinity; fetch or train the weights again")


def save_weights(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Writes the tensors as safetensors, on the CPU and contiguous; atomic."""
    with replacing(path) as temporary:
        try:
            save_file(_plain(tensors), temporary, metadata=_METADATA)
        except SafetensorError as error:  # of a full disk, too
            raise OSError(f"cannot write {path}: {' '.join(str(error).split())}") from error
        temporary.chmod(0o644)  # safetensors leaves it to the owner alone, and models are shared


def weights_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """The bytes that `save_weights` would write."""
    return save(_plain(tensors), metadata=_METADATA)


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

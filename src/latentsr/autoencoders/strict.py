"""Weights from a safetensors file into a network, strictly: every fault is named, nothing is loaded in part."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from latentsr.atomic import replacing
from latentsr.errors import ModelError


def load_weights(network: nn.Module, path: Path, *, rename: Callable[[str], str] = str) -> None:
    """Fills the network from the file, in the network's own dtype; `rename` turns an old tensor name into today's.

    A file that is missing or cut short, and a tensor that is missing, surplus, misshapen or not finite, raise
    ModelError.
    """
    tensors = {rename(name): tensor for name, tensor in _read(path).items()}
    check_weights(tensors, network, str(path))
    network.load_state_dict(tensors, strict=True)


def check_weights(tensors: Mapping[str, Tensor], network: nn.Module, origin: str) -> None:
    """Raises ModelError, with the first tensor at fault, unless the tensors are those of the network."""
    expected = network.state_dict()
    for problem, names in (
        ("lacks", expected.keys() - tensors.keys()),
        ("has surplus", tensors.keys() - expected.keys()),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ModelError(
                f"{origin}: {problem} tensor '{min(names)}'{more}; expected the tensors of its config.json"
            )
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            shapes = f"{tuple(tensor.shape)}, expected {tuple(expected[name].shape)}"
            raise ModelError(f"{origin}: tensor '{name}' has shape {shapes}; take the config.json that belongs to it")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ModelError(f"{origin}: tensor '{name}' holds NaN or infinity; fetch or train the weights again")


def save_weights(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Writes the tensors as safetensors, on the CPU and contiguous; atomic."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(plain, temporary, metadata={"format": "pt"})
        except SafetensorError as error:  # of a full disk, too
            raise OSError(f"cannot write {path}: {' '.join(str(error).split())}") from error
        temporary.chmod(0o644)  # safetensors leaves it to the owner alone, and models are shared


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ModelError(f"{path}: missing; expected a folder with config.json and {path.name}")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path}: not a whole safetensors file ({reason}); copy or fetch it again") from error

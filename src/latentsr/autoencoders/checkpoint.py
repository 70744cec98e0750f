"""The tensors of a published file (safetensors or a torch pickle), read without running anything that is in it."""

import pickle
import re
import struct
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from latentsr.autoencoders.filekind import check_kind
from latentsr.errors import ModelError


class _Nothing:
    """Stands for what an old Lightning checkpoint says of its callbacks, which is neither needed nor imported."""

    def __init__(self, *_: object) -> None:
        pass


# What checkpoints of Lightning 1.x (CompVis' among them) hold beside tensors: names, replaced by nothing when read.
_INERT = (
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "numpy.core.multiarray.scalar",
    "numpy.dtype",
    "_codecs.encode",
)
# All that torch raises at a file that is cut, altered, foreign or holds more than tensors.
_UNREADABLE = (
    pickle.UnpicklingError, struct.error, RuntimeError, AssertionError, EOFError, OSError, MemoryError, OverflowError,
    AttributeError, IndexError, KeyError, TypeError, ValueError,
)  # fmt: skip


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU; those under `state_dict`, where there is such a key.

    A file that is missing, cut short or so altered that it cannot be read, or whose pickle asks for code, raises
    ModelError: nothing in it is executed.
    """
    path = Path(path)
    check_kind(path)
    content = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    return _tensors(content, path)


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a whole safetensors file ({_line(error)}); copy or fetch it again") from error


def _pickled(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals([(_Nothing, name) for name in _INERT]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's guesses at what ails a file; it is read whole or refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        if code := re.search(r"(?:GLOBAL|global:?|function) ([\w.]+\.[\w.]+)", str(error)):
            raise ModelError(
                f"{path}: asks for code ({code[1]}) beside tensors and was not loaded; fetch it from its publisher"
            ) from error
        raise ModelError(f"{path}: not a whole file of weights ({_line(error)}); copy or fetch it again") from error


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise ModelError(f"{path}: holds no tensors by name; expected a state dict, or one under 'state_dict'")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ModelError(f"{path}: {name!r} is no tensor; expected a state dict, or one under 'state_dict'")
    return dict(content)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__

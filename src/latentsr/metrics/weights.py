"""Where the weights of learned measures lie: local files only, found by their published names."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from latentsr.errors import ModelError, OptionError

FOLDER_VARIABLE = "LATENTSR_WEIGHTS"


@dataclass(frozen=True)
class Weights:
    """A file of learned weights: its published name and where to fetch it."""

    file: str
    address: str
    licence: str


WEIGHTS: Mapping[str, Weights] = MappingProxyType(
    {
        "lpips": Weights("alexnet-owt-7be5be79.pth", "download.pytorch.org/models", "BSD-3-Clause"),
        "dists": Weights("vgg16-397923af.pth", "download.pytorch.org/models", "BSD-3-Clause"),
        "inception": Weights(
            "weights-inception-2015-12-05-6726825d.pth",
            "github.com/toshas/torch-fidelity/releases/download/v0.2.0",
            "Apache-2.0",
        ),
    }
)


def learned_available(name: str) -> bool:
    """Whether the weights of `name` (lpips, dists or inception) lie on this machine; OptionError for another name."""
    return any((folder / _known(name).file).is_file() for folder in _folders())


def weights_file(name: str) -> Path:
    """The file with the weights of `name`; ModelError, telling what to fetch and where to put it, if there is none.

    Looked for in the folder that the environment variable LATENTSR_WEIGHTS names, then in torch's hub cache.
    Nothing is ever downloaded here: hospital machines have no way out, and a measure must not depend on one.
    """
    weights = _known(name)
    for folder in _folders():
        if (folder / weights.file).is_file():
            return folder / weights.file
    raise ModelError(
        f"the weights of '{name}' are not on this machine: fetch https://{weights.address}/{weights.file} "
        f"({weights.licence}) and put it into the folder that {FOLDER_VARIABLE} names, or into torch's hub cache "
        "(hub/checkpoints), or leave the measure out"
    )


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file by name, safetensors or a torch pickle of tensors alone; nothing in it is executed.

    ModelError if it holds anything else, or cannot be read.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise ModelError(f"weights {path.name} hold more than tensors; fetch the published file again") from error
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"weights {path.name} cannot be read: {reason}; fetch the published file again") from error
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ModelError(f"weights {path.name}: expected a table of tensors; fetch the published file again")
    return found


def packaged(relative: str) -> Path:
    """A weights file that comes inside the torchmetrics package, found without importing it."""
    spec = find_spec("torchmetrics")
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0], relative) if folders else Path(relative)
    if not path.is_file():
        raise ModelError(f"torchmetrics comes without {relative}: install torchmetrics 1.6 to 1.9")
    return path


def _known(name: str) -> Weights:
    if name not in WEIGHTS:
        raise OptionError(f"learned measure '{name}' is unknown: choose from {', '.join(WEIGHTS)}")
    return WEIGHTS[name]


def _folders() -> list[Path]:
    named = os.environ.get(FOLDER_VARIABLE)
    return [*([Path(named)] if named else []), Path(torch.hub.get_dir()) / "checkpoints"]

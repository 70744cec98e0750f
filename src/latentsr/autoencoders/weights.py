"""Weight files: of which kind they are, their tensors, and strict filling of networks: every fault is named."""

import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn

from latentsr.atomic import replacing
from latentsr.autoencoders.protocol import CATALOGUE, CONFIG, WEIGHTS
from latentsr.errors import ModelError, reason
from latentsr.names import first_few

SUFFIXES = (".safetensors", ".ckpt", ".pth", ".pt", ".bin")
LISTED = 3
INNER = ("state_dict", "params_ema", "params")  # under which checkpoints hold their tensors, averaged ones first
_LFS = b"version https://git-lfs"
_LORA = re.compile(r"lora|\.alpha$")
_HALF = "one half of a tiny autoencoder"
# The first pattern that a tensor's name has decides; wholes before the parts whose names they contain.
_FAMILIES = (
    (re.compile(r"^(model\.diffusion_model|first_stage_model|cond_stage_model)\."), "a whole diffusion model"),
    (re.compile(r"^(encoder|decoder)\.(down|up)_blocks\."), "an autoencoder in diffusers' form"),
    (re.compile(r"^(down|up)_blocks\.\d"), "a UNet"),
    (re.compile(r"^(encoder|decoder)\.(down|up)\.\d"), "an autoencoder in CompVis' form"),
    (re.compile(r"^(encoder|decoder)\.layers\.\d"), "a tiny autoencoder"),
    (re.compile(r"^\d+\."), _HALF),
)


def check_kind(path: Path) -> None:
    """Raises ModelError for a path that is no file of weights at first sight: missing, empty, a folder, text, a zip."""
    if path.is_dir():
        raise ModelError(f"{path}: is a folder, expected a file of weights; it holds {held(path)}")
    if not path.is_file():
        raise ModelError(f"{path}: missing; expected a file of weights")
    with path.open("rb") as file:
        head = file.read(64)
    kinds = f"expected safetensors or a torch checkpoint ({', '.join(SUFFIXES)})"
    problem = ""
    if not head:
        problem = f"not a whole file of weights (empty), {kinds}; copy or fetch it again"
    elif head.startswith(_LFS):
        problem = f"not a whole file of weights but a Git LFS pointer, {kinds}; fetch the file itself ('git lfs pull')"
    elif path.suffix != ".safetensors" and head[8:9] == b"{":
        problem = "is a safetensors file by its content; rename it to end in .safetensors"
    elif all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        problem = f"not a whole file of weights but a text, {kinds}; give the file of weights"
    elif head.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if not name.endswith("/")]
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error):
            return  # the reader of checkpoints reports the fault
        if not any(name.endswith("data.pkl") for name in names):  # as a torch checkpoint has
            weights = [name for name in names if name.endswith(SUFFIXES)]
            problem = "is a zip archive without weights; give another file"
            if weights:
                problem = f"is a zip archive with {weights[0]} in it; unpack it and give that file"
    if problem:
        raise ModelError(f"{path}: {problem}")


def check_family(names: Iterable[str], expected: Iterable[str], origin: str) -> None:
    """Raises ModelError, which says what it is, for tensors of another family than those that are expected."""
    found, wanted = family(names), family(expected)
    if found and wanted and found != wanted:
        fix = "give both halves as weights" if found == _HALF else "give the file of the autoencoder itself"
        raise ModelError(f"{origin}: holds {found}, expected {wanted}; {fix}")


def family(names: Iterable[str]) -> str:
    """What a file with tensors of these names is, in words; empty if unknown."""
    given = list(names)
    if given and all(_LORA.search(name) for name in given):
        return "a LoRA (small changes to another model)"
    return next((words for pattern, words in _FAMILIES if any(map(pattern.search, given))), "")


def no_autoencoder(folder: Path) -> ModelError:
    """The error for a folder that lacks config.json: what it holds, and how its files become an autoencoder."""
    names = _weights(folder)
    inner = [path.parent for path in sorted(folder.glob(f"*/{WEIGHTS}")) if (path.parent / CONFIG).is_file()]
    if WEIGHTS in names:
        fix = "copy it again"
    elif names:
        fix = import_command(folder, names)
    else:
        fix = f"give {inner[0]}" if inner else "give another folder, or a name that 'latentsr models list' has"
    expected = f"expected an autoencoder folder with {CONFIG} and {WEIGHTS}"
    return ModelError(f"{folder / CONFIG}: missing, {expected}, came one with {held(folder)}; {fix}")


def held(folder: Path) -> str:
    """The weights that a folder holds, at most three by name."""
    names = _weights(folder)
    return first_few(names, LISTED) or "no weights"


def import_command(path: Path, names: Iterable[str]) -> str:
    """How published files are put into the store: those of these names in the folder `path`, or `path` itself."""
    given = set(names) - {WEIGHTS}  # a name that many have
    known = [
        name
        for name, row in CATALOGUE.items()
        for files in (row.publication.weights, row.publication.aliases)
        if files and {PurePosixPath(file).name for file in files} <= given
    ]
    name = known[0] if len(known) == 1 else "NAME"
    return f"published weights get a name by 'latentsr models import {name} --weights {path}': give that name"


def _weights(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file())


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
    """The tensors of a file by name, on the CPU; those under a key of INNER, if one exists.

    A file that is missing, cut short or so altered that it cannot be read, or whose pickle asks for code, raises
    ModelError: nothing in it is executed.
    """
    return read_checkpoint(path)[0]


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file as `read_tensors` gives them, and what stands beside them; empty if nothing does.

    Raises ModelError as `read_tensors` does.
    """
    path, beside = Path(path), dict[str, Any]()
    check_kind(path)
    content: Any
    if path.suffix == ".safetensors":
        try:
            content = load_file(path)
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"{path}: not a whole safetensors file ({reason(error)}); copy or fetch it again"
            ) from error
    else:
        try:
            with torch.serialization.safe_globals([(_Nothing, name) for name in _INERT]), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's guesses at the fault of a file; it is read whole or refused
                content = torch.load(path, map_location="cpu", weights_only=True)
        except _UNREADABLE as error:
            if code := re.search(r"(?:GLOBAL|global:?|function) ([\w.]+\.[\w.]+)", str(error)):
                raise ModelError(
                    f"{path}: asks for code ({code[1]}) beside tensors and was not loaded; fetch it from its publisher"
                ) from error
            raise ModelError(
                f"{path}: not a whole file of weights ({reason(error)}); copy or fetch it again"
            ) from error
        names = content.keys() if isinstance(content, dict) else ()
        if inner := next((name for name in INNER if name in names and isinstance(content[name], dict)), ""):
            beside = {str(name): value for name, value in content.items() if name != inner}
            content = content[inner]
    if not isinstance(content, dict) or not content:
        raise ModelError(f"{path}: holds no tensors by name; expected a state dict, or one under 'state_dict'")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ModelError(f"{path}: {name!r} is no tensor; expected a state dict, or one under 'state_dict'")
    return dict(content), beside


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

"""What a file or folder is that does not hold the weights which were asked for: in words, with the way out."""

import re
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from latentsr.autoencoders.catalogue import CATALOGUE, CONFIG, WEIGHTS
from latentsr.errors import ModelError

SUFFIXES = (".safetensors", ".ckpt", ".pth", ".pt", ".bin")
LISTED = 3
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
    if problem := _problem(path, head):
        raise ModelError(f"{path}: {problem}")


def check_family(names: Iterable[str], expected: Iterable[str], origin: str) -> None:
    """Raises ModelError, which says what it is, for tensors of another family than those that are expected."""
    came, wanted = family(names), family(expected)
    if came and wanted and came != wanted:
        fix = "give both halves as weights" if came == _HALF else "give the file of the autoencoder itself"
        raise ModelError(f"{origin}: holds {came}, expected {wanted}; {fix}")


def family(names: Iterable[str]) -> str:
    """What a file with tensors of these names is, in words; empty where nothing tells."""
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
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more if names else "no weights"


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


def _problem(path: Path, head: bytes) -> str:
    """What ails a file that begins so; empty where it may be weights."""
    kinds = f"expected safetensors or a torch checkpoint ({', '.join(SUFFIXES)})"
    if not head:
        return f"not a whole file of weights (empty), {kinds}; copy or fetch it again"
    if head.startswith(_LFS):
        return f"not a whole file of weights but a Git LFS pointer, {kinds}; fetch the file itself ('git lfs pull')"
    if path.suffix != ".safetensors" and head[8:9] == b"{":
        return "is a safetensors file by its content; rename it to end in .safetensors"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return f"not a whole file of weights but a text, {kinds}; give the file of weights"
    return _zip_problem(path) if head.startswith(b"PK") else ""


def _zip_problem(path: Path) -> str:
    """Empty for a torch checkpoint, which is a zip with a data.pkl, and for a zip that cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error):
        return ""  # the reader of checkpoints says what ails it
    if any(name.endswith("data.pkl") for name in names):
        return ""
    weights = [name for name in names if name.endswith(SUFFIXES)]
    told = f"with {weights[0]} in it; unpack it and give that file" if weights else "without weights; give another file"
    return f"is a zip archive {told}"

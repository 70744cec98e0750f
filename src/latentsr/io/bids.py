"""BIDS: the metadata beside an image, also inherited from folders above, and the description of a derived dataset."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latentsr import __version__
from latentsr.atomic import replacing, write_bytes
from latentsr.errors import InputError

DESCRIPTION = "dataset_description.json"
ASIDE = ("derivatives", "sourcedata", "code")  # folders of a dataset that are no part of its raw data
GRADIENTS = (".bval", ".bvec")  # of diffusion, which do not depend on the grid
_VERSION = "1.10.0"  # of BIDS, whose derivatives the output's description is written by
_MOST = 2**24  # bytes of a text that is read
_DEEPEST = 8  # folders between an image and the root of its dataset
_KEPT = ("License", "Authors", "Acknowledgements", "HowToAcknowledge", "Funding", "EthicsApprovals")
# What holds of the source's grid alone; TotalReadoutTime holds of every one.
_OF_THE_GRID = ("EffectiveEchoSpacing", "ReconMatrixPE")


def root_of(path: Path) -> Path | None:
    """The folder of the BIDS dataset that the file or folder belongs to; None outside of one."""
    above = [path.absolute(), *path.absolute().parents][: _DEEPEST + 1]
    return next((folder for folder in above if (folder / DESCRIPTION).is_file()), None)


def beside(path: Path, stem: str, extension: str) -> list[Path]:
    """The texts with an extension that hold of an image named `stem`, the nearest last.

    In a BIDS dataset those of folders above count, too, whose suffix is the image's and whose entities it has, such as
    task-rest_bold.json (the inheritance principle); elsewhere that of the same name.
    """
    root, folder = root_of(path), path.absolute().parent
    if root is None:
        own = path.with_name(stem + extension)
        return [own] if own.is_file() else []
    *entities, suffix = stem.split("_")
    found: list[tuple[int, int, Path]] = []
    for depth, place in enumerate((folder, *folder.parents)):
        for text in (text for text in place.iterdir() if text.name.endswith(suffix + extension)):
            *others, kind = text.name.removesuffix(extension).split("_")
            if kind == suffix and set(others) <= set(entities):
                found.append((-depth, len(others), text))
        if place == root:
            break
    return [text for *_, text in sorted(found)]


def texts(path: Path, stem: str) -> list[Path]:
    """All texts beside an image of which something is taken."""
    return [*beside(path, stem, ".json"), *(text for one in GRADIENTS for text in beside(path, stem, one)[-1:])]


def metadata(path: Path, stem: str) -> dict[str, Any]:
    """What the JSON files of an image say; fields of a nearer file replace those of a farther one.

    InputError names a file that cannot be read.
    """
    facts: dict[str, Any] = {}
    for text in beside(path, stem, ".json"):
        facts |= read_object(text)
    root = root_of(path)
    with contextlib.suppress(InputError):  # a broken description is a failure of its own
        if facts and root and read_object(root / DESCRIPTION).get("DatasetType", "raw") == "raw":
            facts.setdefault("SkullStripped", False)  # which derivatives have to say
    return {name: value for name, value in facts.items() if name not in _OF_THE_GRID}


def b_values(path: Path, stem: str) -> list[float]:
    """The b-values of an image's volumes, in s/mm2; empty where nothing says them.

    InputError names a file that cannot be read.
    """
    for text in beside(path, stem, GRADIENTS[0])[-1:]:
        try:
            return [float(word) for word in text.read_text(encoding="utf-8")[:_MOST].split()]
        except ValueError as error:
            raise InputError(f"{text} holds no b-values: expected numbers, mend or remove it") from error
    return []


def derivative(inputs: Sequence[Path], model: str) -> dict[str, Any]:
    """The description of a dataset derived by a model from the one input, where that is a BIDS dataset; else empty.

    Empty also where the source's cannot be read, which `latentsr.io.items.kind_of` says of that file.
    """
    try:
        source = read_object(inputs[0] / DESCRIPTION)
    except InputError:
        source = {}
    if len(inputs) != 1 or not source:
        return {}
    earlier, doi = source.get("GeneratedBy"), source.get("DatasetDOI")
    made_by = {"Name": "latentsr", "Version": __version__, "Description": f"super-resolution by the model {model}"}
    described: dict[str, Any] = {
        "Name": f"{source.get('Name') or inputs[0].resolve().name}, enlarged by latentsr; research use only",
        "BIDSVersion": _VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [made_by, *(earlier if isinstance(earlier, list) else [])],
    }
    described |= {name: source[name] for name in _KEPT if name in source}
    return described | ({"SourceDatasets": [{"DOI": doi}]} if doi else {})


def describe(described: dict[str, Any], out: Path) -> None:
    """Writes the description of a derived dataset into its folder; one that another program wrote, or broke, stays."""
    path = out / DESCRIPTION
    try:
        made_by = read_object(path).get("GeneratedBy") if path.is_file() else None
    except InputError:  # not ours, which are written whole
        return
    ours = isinstance(made_by, list) and made_by and isinstance(made_by[0], dict) and made_by[0].get("Name")
    if not path.is_file() or ours == "latentsr":
        with replacing(path) as part:
            write_bytes(part, (json.dumps(described, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode())


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object of a file; InputError that names the file where it is none."""
    try:
        if path.stat().st_size > _MOST:
            raise InputError(f"{path} has over {_MOST} bytes: expected the metadata of an image, mend or remove it")
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON that can be read ({type(error).__name__}): mend or remove it") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds a {type(found).__name__}: expected a JSON object, mend or remove it")
    return found

"""A job's options as a frozen record, written to and read from YAML, and the manifest that says how a run was made."""

import dataclasses
import hashlib
import json
import os
import platform
import re
import reprlib
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from latentsr import __version__
from latentsr.atomic import replacing
from latentsr.errors import InputError, OptionError, reason, suggestion

DIGEST = "digest"
HOME = "LATENTSR_HOME"  # the variable
# What json leaves as it is though a terminal obeys it or UTF-8 cannot hold it (file names that are not UTF-8).
_UNFIT = re.compile(r"[\x7f-\x9f\u2028\u2029\ud800-\udfff]")

RECORDED_PACKAGES = ("torch", "diffusers", "lightning", "numpy", "pydicom")


class Config(BaseModel):
    """A job's options: frozen, with no key beyond its fields, and no NaN or infinity among the numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


Count = Annotated[int, Field(ge=1, le=1_000_000_000)]  # of steps, images and the like
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]  # what torch's generators take
Record = TypeVar("Record", bound=Config)


def checked(cls: type[Record], options: Mapping[str, Any], origin: str, *, flags: Collection[str] = ()) -> Record:
    """The options as a record; the first fault raises OptionError, one line with the key, what came and what is valid.

    `origin` opens the message: the YAML file's name, or the command. Of the keys in `flags` it names the flag instead.
    """
    try:
        return cls.model_validate(dict(options))
    except ValidationError as error:
        # A misspelt key comes before the missing key that it was meant to be.
        faults = sorted(error.errors(include_url=False), key=lambda fault: fault["type"] != "extra_forbidden")
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        key = ".".join(map(str, faults[0]["loc"]))
        if key.partition(".")[0] in flags:
            origin, key = "options", f"--{key.replace('_', '-')}"
        fault, kind = faults[0], faults[0]["type"]
        if kind in ("extra_forbidden", "missing"):
            *path, last = fault["loc"]
            owner: Any = cls  # the nested record in which the fault lies, unless a list or a union hides it
            for part in path:
                if get_origin(owner) is dict:
                    owner = get_args(owner)[1]
                else:
                    owner = owner.model_fields[part].annotation if part in getattr(owner, "model_fields", ()) else None
            known = owner.model_fields if isinstance(owner, type) and issubclass(owner, BaseModel) else ()
            keys = f"the keys {', '.join(known)}" if known else "the documented keys"
            words = f"key '{key}' is missing; expected {keys}"
            if kind == "extra_forbidden":
                words = f"unknown key '{key}'; expected {keys}{suggestion(str(last), known)}"
        else:
            words = fault["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
            if key:  # without one it is a check over several keys, whose message says which
                words = f"{key} is {reprlib.repr(fault['input'])}; expected {words}"
        raise OptionError(f"{origin}: {words}{more}") from error


def layered(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """The options of several layers, such as flags, a file and a preset; of each the first layer's that has it.

    The first that names `steps` or `epochs` decides how long a training is: the others' are left out, and the decay
    "epoch" of a later layer with its epochs where the first has steps alone.
    """
    options: dict[str, Any] = {}
    for layer in layers:
        steps, epochs = options.get("steps") is not None, options.get("epochs") is not None
        left_out = {"steps", "epochs"} if steps or epochs else set()
        if steps and not epochs and layer.get("decay") == "epoch":
            left_out.add("decay")
        options = {**{key: value for key, value in layer.items() if key not in left_out}, **options}
    return options


def write_yaml(record: Config, path: Path) -> None:
    """Writes every option of the record, defaults resolved, in the order of its fields; atomic."""
    text = yaml.safe_dump(record.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_yaml(path: Path) -> dict[str, Any]:
    """What a YAML file holds by its keys; OptionError for a missing or broken file, or one that is no such mapping."""
    try:
        options = yaml.load(Path(path).read_text(encoding="utf-8"), _PlainLoader)  # noqa: S506 (a SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: cannot be read as a YAML text file: {reason(error)}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a number or date that Python refuses; depth
        raise OptionError(f"{path}: is not valid YAML: {reason(error)}") from error
    if not isinstance(options, dict) or not all(isinstance(key, str) for key in options):
        raise OptionError(f"{path}: holds no options; expected 'key: value' lines")
    return options


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases: a few lines of them stand for billions of values."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """The next node; YAMLError at an alias."""
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("it has an alias (*name); write the value out instead")
        return super().compose_node(parent, index)


def write_json(path: Path, content: object) -> None:
    """Writes records, dicts, lists, texts and finite numbers as indented JSON; atomic. NaN raises ValueError."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    text = _UNFIT.sub(lambda found: f"\\u{ord(found.group()):04x}", text)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """What a JSON file holds; a missing or broken file is an InputError."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError also for a number of thousands of digits
        raise InputError(f"{path}: cannot be read as JSON: {reason(error)}; make it again") from error


def signed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with its digest under `digest`: for `write_json`, and back by `read_signed_json`."""
    return {**content, DIGEST: sha256_json(content)}


def read_signed_json(path: Path) -> dict[str, Any]:
    """What was signed and written to a JSON file, without the digest; InputError where one value is not as it was."""
    content = read_json(path)
    if not isinstance(content, dict) or DIGEST not in content:
        raise InputError(f"{path}: does not hold the digest of its content; make it again")
    digest = content.pop(DIGEST)
    try:
        whole = digest == sha256_json(content)
    except ValueError:  # NaN, which is never written
        whole = False
    if not whole:
        raise InputError(f"{path}: altered, its content does not have the digest that it names; make it again")
    return content


def canonical_json(content: object) -> str:
    """The one JSON text of equal contents: sorted keys, no blanks, ASCII; tuples are lists. NaN raises ValueError."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(content: object) -> str:
    """The SHA-256 of `canonical_json(content)`, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(content).encode("ascii")).hexdigest()


def home() -> Path:
    """The folder that holds what latentsr keeps between runs: LATENTSR_HOME, or `latentsr` in the user's cache."""
    if os.environ.get(HOME):
        return Path(os.environ[HOME])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "latentsr"


def manifest(**facts: object) -> dict[str, object]:
    """How a run was made: date (UTC), Python, platform and versions, then the given facts (options, seed, hashes).

    It names neither the host nor the user. No package is imported for its version.
    """
    versions: dict[str, str | None] = {"latentsr": __version__}
    for package in RECORDED_PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    circumstances: dict[str, object] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}",
        "versions": versions,
    }
    if clash := sorted(circumstances.keys() & facts):
        raise ValueError(f"manifest facts may not be named {', '.join(clash)}: choose other names")
    return circumstances | facts


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form: pass records, dicts, lists, texts or numbers")

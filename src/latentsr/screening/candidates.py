"""The autoencoders that are screened: a label for tables and pages, and how to load each, one at a time."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from latentsr.autoencoders import SPECS, Autoencoder, AutoencoderSpec, load_autoencoder
from latentsr.errors import OptionError
from latentsr.upscalers import BICUBIC
from latentsr.upscalers.model import shipped_models

HR = "hr"  # the method name under which a table holds what is said of HR itself
TAKEN = (HR, BICUBIC, *shipped_models())  # names of a table's methods that no autoencoder may bear
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


@dataclass(frozen=True)
class Candidate:
    """An autoencoder under its label; `load` takes a device and gives it, so that only one lies in memory."""

    name: str
    load: Callable[[str], Autoencoder]


@dataclass(frozen=True)
class Identified:
    """What is known of a candidate once it has been loaded: the facts and the digest of what decides its latents."""

    name: str
    spec: AutoencoderSpec
    hash: str


def parse_candidates(
    texts: Sequence[str], *, weights: Sequence[str] = (), configs: Sequence[str] = ()
) -> tuple[Candidate, ...]:
    """The candidates of texts such as `haar`, a folder, or `LABEL=NAME_OR_FOLDER`, in their order.

    `weights` and `configs` are texts `LABEL=FILE`: the files that `load_autoencoder` takes for that candidate.

    Raises:
        OptionError: none, two of one label, a label that is no plain word, files for a label that is not screened.
    """
    sources = [_labelled(text) for text in texts]
    names = [name for name, _ in sources]
    if not names:
        raise OptionError(f"no autoencoder was given: expected folders, or names out of {', '.join(SPECS)}")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise OptionError(f"autoencoder {', '.join(twice)} was given twice; name one of them, as LABEL=FOLDER")
    found = {option: _files(texts_, option, names) for option, texts_ in (("weights", weights), ("config", configs))}
    return tuple(
        Candidate(name, _loader(source, found["weights"].get(name), found["config"].get(name)))
        for name, source in sources
    )


def identify(candidates: Sequence[Candidate], device: str) -> tuple[Identified, ...]:
    """Facts and hash of each: all are loaded once, one after the other, so that a fault shows before hours of work."""
    found = []
    for candidate in candidates:
        autoencoder = candidate.load(device)
        found.append(Identified(candidate.name, autoencoder.spec, autoencoder.hash))
    return tuple(found)


def _labelled(text: str) -> tuple[str, str]:
    """(label, name or folder) of one text."""
    label, equals, source = text.partition("=")
    if not equals:
        label, source = (text, text) if text in SPECS else (Path(text).resolve().name, text)
    if not LABEL.fullmatch(label) or label in TAKEN or not source:
        raise OptionError(
            f"autoencoder '{text}': expected NAME, FOLDER or LABEL=FOLDER, the label made of letters, digits and "
            f". _ + -, and not {', '.join(TAKEN)}"
        )
    return label, source


def _files(texts: Sequence[str], option: str, names: Sequence[str]) -> Mapping[str, Path]:
    files = {}
    for text in texts:
        label, _, file = text.partition("=")
        if label not in names or not file:
            raise OptionError(
                f"the option {option} has '{text}': expected LABEL=FILE, the label one of {', '.join(names)}"
            )
        files[label] = Path(file)
    return files


def _loader(source: str, weights: Path | None, config: Path | None) -> Callable[[str], Autoencoder]:
    files = {name: file for name, file in (("weights", weights), ("config", config)) if file is not None}
    return lambda device: load_autoencoder(source, device=device, **files)

"""Methods written as text, their seeds, and the methods made of them."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentsr.bench.inputs import Target, pair_files
from latentsr.bench.measure import Work
from latentsr.bench.sets import SetMeasure
from latentsr.config import checked
from latentsr.data.records import stacked
from latentsr.degrade import Degradation
from latentsr.errors import ModelError, OptionError
from latentsr.names import HR
from latentsr.upscalers import UPSCALERS, Method, Restored, Sampling, shipped_models

SEED = re.compile(r"(?P<name>.+)@\d+")
RANGE = re.compile(r"(?P<name>[^=]+)@(?P<first>\d+)\.\.(?P<last>\d+)=(?P<place>[^?]+)\??(?P<options>.*)")
MOST = 100  # seeds of a range


def expanded(text: str) -> list[str]:
    """The text of a method, or where its name ends as `@0..4` one of each seed with the option seed set."""
    if not (found := RANGE.fullmatch(text)):
        return [text]
    name, first, last, place, options = found.groups()
    if not 1 <= int(last) - int(first) < MOST:
        raise OptionError(f"method '{name}@{first}..{last}': expected a range of 2 to {MOST} seeds, such as @0..4")
    given = f"{options}&" if options else ""
    return [f"{name}@{seed}={place}?{given}seed={seed}" for seed in range(int(first), int(last) + 1)]


def members(sources: Sequence["Source"]) -> dict[str, tuple[str, ...]]:
    """The names of a method's seeds by its own: "sample" of sample@0 and sample@1, in the order given.

    A method that is not one of several seeds stands under its own name, sample@0 alone too. OptionError where seeds are
    of several kinds (images and models), or their method's name is another's.
    """
    groups: dict[str, list[Source]] = {}
    for source in sources:
        found = SEED.fullmatch(source.name)
        groups.setdefault(found["name"] if found else source.name, []).append(source)
    named: list[tuple[str, tuple[str, ...]]] = []
    for name, seeds in groups.items():
        own = tuple(source.name for source in seeds)
        if len(set(own)) > 1 and name in own:
            raise OptionError(f"method name {name}: of a method and of seeds, {', '.join(own)}; rename one")
        if len(kinds := sorted({source.kind for source in seeds})) > 1:
            raise OptionError(f"method {name}: its seeds {', '.join(own)} are of several kinds, {' and '.join(kinds)}")
        named.append((name if len(own) > 1 else own[0], own))
    return dict(named)


def method_facts(sources: Sequence["Source"]) -> list[dict[str, Any]]:
    """What decides each method's images; of several seeds those of the first, and of all under `seeds`."""
    facts = {source.name: {"name": source.name, "kind": source.kind, **source.facts} for source in sources}
    return [
        facts[seeds[0]] | {"name": name} | ({"seeds": [facts[seed] for seed in seeds]} if len(seeds) > 1 else {})
        for name, seeds in members(sources).items()
    ]


def first_seeds(work: Work, members: Mapping[str, Sequence[str]]) -> Work:
    """The work with each method once: of several seeds the first under the method's name, the least bits of all."""
    there, methods = {method.name: method for method in work.methods}, []
    for name, seeds in members.items():
        bits = [bits for seed in seeds if (bits := there[seed].bits) is not None]
        methods.append(replace(there[seeds[0]], name=name, bits=min(bits, default=None)))
    return replace(work, methods=tuple(methods))


def several(members: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The methods of more than one seed."""
    return {name: tuple(seeds) for name, seeds in members.items() if len(seeds) > 1}


def mean_measure(measure: SetMeasure, names: Sequence[str], members: Mapping[str, Sequence[str]]) -> SetMeasure:
    """The measure of whole sets with one method in place of its seeds: the mean of their values.

    Args:
        measure: of each of `names`, seeds apart.
        names: of the seeds and other methods.
        members: the seeds of each method, whose order the result has.
    """
    rows = [[names.index(seed) for seed in seeds] for seeds in members.values()]
    value, without = np.array([measure.value[at].mean() for at in rows]), None
    if measure.without is not None:
        without = np.stack([measure.without[:, at].mean(axis=1) for at in rows], axis=1)
    return SetMeasure(value, without)


def set_values(
    dataset: str, found: Mapping[str, SetMeasure], names: Sequence[str]
) -> Iterable[tuple[str, str, str, float]]:
    """(dataset, method, metric, value) of each of `names`, seeds apart."""
    for metric, one in found.items():
        yield from ((dataset, name, metric, float(value)) for name, value in zip(names, one.value, strict=True))


def seed_cautions(spread: pd.DataFrame) -> list[str]:
    """A sentence for each method whose seeds do not differ in anything, such as a posterior mean: they say nothing."""
    differ = spread["greatest"].gt(spread["least"]).groupby([spread["dataset"], spread["method"]], sort=False).any()
    return [
        f"On '{dataset}' all seeds of method '{method}' are the same in every measure: it does not depend on the seed."
        for dataset, method in differ[~differ].index
    ]


if TYPE_CHECKING:
    from latentsr.upscalers.model import SuperResolver

Bind = Callable[[Target], tuple[Method, str]]


@dataclass(frozen=True)
class Source:
    """A method before it meets a dataset; a model is loaded once, whatever the number of datasets.

    Attributes:
        name: what tables call it.
        kind: baseline, images, model, or network (a pretrained one).
        facts: what decides its images, without any path: model, hash, options, autoencoder.
        bind: (target) -> the method for that dataset, and a digest of what the dataset adds to `facts` (the images of
            a folder), empty if nothing.
        training_images: digests of the images that a model is known to be trained on.
    """

    name: str
    kind: Literal["baseline", "images", "model", "network"]
    facts: Mapping[str, Any]
    bind: Bind
    training_images: frozenset[str] = frozenset()


def read_method(text: str) -> tuple[str, str, Sampling | None]:
    """The name, place and sampling of a method's text: no place of a baseline, no sampling of a folder of images.

    Nothing is loaded. OptionError for text of another form, an unknown option, or a baseline under another name.
    """
    if text in UPSCALERS:
        return text, "", None
    name, _, target = text.partition("=")
    place, _, query = target.partition("?")
    if not name or not place:
        raise OptionError(f"method '{text}': expected {', '.join(UPSCALERS)}, NAME=FOLDER or NAME=MODEL?steps=1")
    origin = f"method '{name}'"
    if place in UPSCALERS and not Path(place).exists():
        raise OptionError(f"{origin}: {place} is always called {place}; give {place} without a name before it")
    # What `key=value&key=value` sets, as texts.
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise OptionError(f"{origin}: options '{query}': expected key=value, joined by &") from error
    if twice := [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]:
        raise OptionError(f"{origin}: option {', '.join(twice)} is given twice: keep one")
    options = dict(pairs)
    if Path(place).is_dir() and not (Path(place) / "config.json").is_file():  # which a model's folder has
        if options:
            raise OptionError(f"{origin}: options {', '.join(options)} are for models, its folder holds images")
        return name, place, None
    return name, place, checked(Sampling, options, origin)


def check_called(methods: Sequence["str | Source"]) -> None:
    """OptionError for a text of no method, a name that stands twice, or one that is the truth's or a baseline's.

    One seed alone may not be called after them either: bicubic, which is in every comparison, is no method of seeds.
    """
    called = []
    for one in methods:
        name = read_method(one)[0] if isinstance(one, str) else one.name
        of_seed = SEED.fullmatch(name)
        method = of_seed["name"] if of_seed else name
        baseline = one in UPSCALERS if isinstance(one, str) else one.kind == "baseline"
        if method == HR or (method in UPSCALERS and not baseline):
            whose = "the truth" if method == HR else "a baseline"
            raise OptionError(f"method name {name}: {method} is that of {whose}; rename it")
        called.append(name)
    if twice := sorted({name for name in called if called.count(name) > 1}):
        raise OptionError(f"method name {', '.join(twice)}: expected names that differ; rename one")


def parse_method(
    text: str, *, degradation: Degradation, device: str = "auto", loaded: "dict[str, SuperResolver] | None" = None
) -> Source:
    """The method that `text` names, one of:

    - a name of UPSCALERS: `bicubic` or `bicubic+projection`
    - `NAME=FOLDER`: a folder of SR images, one for each image of the dataset; for several datasets, one that holds such
      a folder for each, named as the dataset
    - `NAME=MODEL?realism=1&samples=4`: a model folder, or a model's name, with the options of its sampling
    - `NAME=FILE.pth`: a pretrained network that spandrel reads, or one by its name, such as realesrgan-x4plus

    A model that is in `loaded`, by its name or folder, is not loaded again; one that is loaded is put there.

    Raises:
        OptionError: text of another form, an unknown option, a model of another scale.
        ModelError: a model that is missing or broken.
    """
    name, place, sampling = read_method(text)
    if not place:
        method = Method.of(name, UPSCALERS[name](degradation))
        return Source(name, "baseline", {}, lambda target: (method, ""))
    if sampling is None:
        return from_images(name, Path(place))
    # Imported here, since tables of baselines and image folders should not wait for diffusers.
    from latentsr.upscalers.pretrained import is_pretrained, load_pretrained

    if is_pretrained(place):
        network = load_pretrained(place, degradation, device=device)
        network.check(sampling)
        method = Method.of(name, network, sampling)
        facts = {"model": network.name, "hash": network.hash, "options": sampling.model_dump(mode="json")}
        return Source(name, "network", facts, lambda target: (method, ""))
    loaded = {} if loaded is None else loaded
    if place not in loaded:
        loaded[place] = _load(name, place, device)
    return from_model(name, loaded[place], degradation, sampling)


def _load(name: str, place: str, device: str) -> "SuperResolver":
    """The model; ModelError, also for a text that may have been meant as a folder of images."""
    from latentsr.upscalers.model import SuperResolver
    from latentsr.upscalers.pretrained import KNOWN

    try:
        return SuperResolver.load(place, device=device)
    except ModelError as error:
        if Path(place).is_dir() or place in shipped_models():
            raise
        raise ModelError(
            f"method '{name}': '{place}' is neither a folder nor a model's name; expected a folder of SR images, a "
            f"model folder, a file of weights, or one of {', '.join([*shipped_models(), *KNOWN])}; without NAME= stand "
            f"{', '.join(UPSCALERS)}"
        ) from error


def from_model(name: str, model: "SuperResolver", degradation: Degradation, sampling: Sampling) -> Source:
    """The model's image, the mean over its samples, undoing `degradation`. OptionError if that is of another scale."""
    if model.scale != degradation.scale:
        raise OptionError(
            f"method '{name}' enlarges {model.scale} times, the degradation {degradation.text} reduces "
            f"{degradation.scale} times: set the option degradation to {model.degradation.text}"
        )
    model.check(sampling)
    model, sampling = model.undoing(degradation), model.settled(sampling)

    # What a report says of a model's autoencoder: name (within a model's folder no telling one), hash and latent.
    spec = model.autoencoder.spec
    latent = {"channels": spec.latent_channels, "factor": spec.factor, "lossless": spec.lossless}
    autoencoder_facts = {"name": spec.name, "hash": model.autoencoder.hash, **latent}
    facts = {
        "model": model.name,
        "hash": model.hash,
        "options": sampling.model_dump(mode="json"),
        "autoencoder": autoencoder_facts,
    }
    if model.calibration is not None and not model.uncalibrated(sampling):
        names = ("alpha", "delta", "patients", "images", "dataset", "dataset_hash", "split", "degradation")
        facts["calibration"] = {name: getattr(model.calibration, name) for name in names}
    method = Method.of(name, model, sampling)
    return Source(name, "model", facts, lambda target: (method, ""), model.training_images)


def from_images(name: str, folder: Path) -> Source:
    """SR images from PNG or TIFF files anywhere below `folder`, paired by id as `pair_files` does."""

    def bind(target: Target) -> tuple[Method, str]:
        files = pair_files(folder, target, what=f"method '{name}'")

        def restore(lr: Tensor, ids: Sequence[str]) -> Restored:
            return Restored(stacked([torch.from_numpy(files.unit(id)) for id in ids], lr.device).to(lr.dtype))

        return Method(name, restore, bits=files.bits), files.hash

    return Source(name, "images", {}, bind)

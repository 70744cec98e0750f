"""Methods named NAME@SEED are the seeds of one method: written as a range, found among names, and averaged."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from latentsr.errors import OptionError
from latentsr.evaluation.measure import Work
from latentsr.evaluation.sets import SetMeasure

if TYPE_CHECKING:
    from latentsr.evaluation.methods import Source

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

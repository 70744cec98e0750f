"""The verdict of an evaluation in sentences: doubts, the primary comparison, an answer a dataset, then the costs."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from latentsr.report.evaluation_answer import (
    HALLUCINATED,
    LOST,
    answer,
    false_sharpness,
    leads,
    primary,
    restoring,
    sharpness,
    soles,
    unlike_hr,
    worse,
)
from latentsr.report.evaluation_data import BASELINE, LR_PSNR, Evaluation
from latentsr.report.evaluation_judgement import equivalence_rows
from latentsr.report.numbers import listed, number

TRUE_TO_INPUT, UNTRUE_TO_INPUT = 50.0, 30.0  # dB, of the worst image
FIDELITIES = (
    (TRUE_TO_INPUT, np.inf, "true to"),
    (UNTRUE_TO_INPUT, TRUE_TO_INPUT, "not wholly true to"),
    (-np.inf, UNTRUE_TO_INPUT, "not true to"),
)


def verdict(evaluation: Evaluation) -> tuple[str, ...]:
    """Doubts, the primary comparison, then an answer a dataset, then who is sharp but wrong."""
    told = [tell(evaluation, dataset) for tell in (answer, false_sharpness) for dataset in evaluation.datasets]
    return (*_doubts(evaluation), *filter(None, (primary(evaluation), *told)))


def details(evaluation: Evaluation) -> tuple[str, ...]:
    """What bears the answers out, sentences; where there are several datasets each names its own, all that share it."""
    told: dict[str, list[str]] = {}
    for dataset in evaluation.datasets:
        for sentence in _details(evaluation, dataset):
            told.setdefault(sentence, []).append(dataset)
    several = len(evaluation.datasets) > 1
    return tuple(f"{listed(names)}: {sentence}" if several else sentence for sentence, names in told.items())


def _doubts(evaluation: Evaluation) -> Iterator[str]:
    if doubts := evaluation.run["pairing"]:
        where: dict[str, dict[str, None]] = {}
        for doubt in doubts:
            where.setdefault(f"'{doubt['method']}'", {})[f"'{doubt['dataset']}'"] = None
        named = [f"{method} on {listed(list(sets))}" for method, sets in where.items()]
        yield f"Do not rely on this yet: images of {', '.join(named)} do not agree with their inputs (see below)."
    for dataset in evaluation.datasets:
        if truths := evaluation.truths(dataset):
            one = "is the truth or made from it, not a restoration"
            many = "are the truth or made from it, not restorations"
            yield f"On {dataset}, {listed(truths)} {one if len(truths) == 1 else many}: left aside in this verdict."


def _details(evaluation: Evaluation, dataset: str) -> Iterator[str]:
    """Measures that got worse, images that are HR itself, what it cost, agreement with LR, and equivalence."""
    found = leads(evaluation, dataset)
    best = soles(found)  # of which the answer tells what got worse
    methods = [method for method in restoring(evaluation, dataset) if method != BASELINE]
    losses = {method: worse(evaluation, dataset, method) for method in methods}
    for method in methods:
        lost = f"is worse than bicubic in {listed(losses[method])}" if losses[method] and method not in best else ""
        if parts := [*filter(None, (lost,)), *_same(evaluation, dataset, method)]:
            yield f"{method} {'; it '.join(parts)}."
    judged = any(not lead.few for lead in found)
    if judged and (spared := [method for method in methods if not losses[method]]):
        verb = "is" if len(spared) == 1 else "are"
        yield f"{listed(spared)} {verb} not found worse than bicubic in any measure of the whole image."
    yield from _costs(evaluation, dataset)
    yield from _consistency(evaluation, dataset)
    yield from _equivalent(evaluation, dataset)


def _same(evaluation: Evaluation, dataset: str, method: str) -> Iterator[str]:
    """How many images are HR itself, so that their PSNR is infinite and no mean can hold it."""
    rows = evaluation.summary(dataset, "psnr")
    if method in rows.index and (count := int(rows.loc[method, "infinite"])):
        images = evaluation.run["datasets"][dataset]["images"]
        yield f"is identical to HR in {count} of {images} images, which are left out of PSNR"


def _costs(evaluation: Evaluation, dataset: str) -> Iterator[str]:
    """Sharpness, hallucinated and lost pixels of all methods, in one sentence."""
    parts = []
    unlike = unlike_hr(evaluation, dataset)
    shares = sharpness(evaluation, dataset).items()
    if kept := {name: f"{share} %{' (detail unlike HR)' if name in unlike else ''}" for name, share in shares}:
        parts.append(f"sharpness (Laplacian variance over HR's): {_figures(kept)}")
    wrong = [(name.partition("/")[0], evaluation.summary(dataset, name)["mean"]) for name in (HALLUCINATED, LOST)]
    names = restoring(evaluation, dataset)
    if rates := [f"{word}: {_figures(_shares(means, names))}" for word, means in wrong if len(means)]:
        reference = evaluation.run["reference_autoencoder"]["name"]
        parts.append(
            f"pixels {'; '.join(rates)}, beyond two sigma of the own error of reference autoencoder {reference}"
            f"{_floor(evaluation, dataset)}"
        )
    if parts:
        joined = "; ".join(parts)
        yield f"{joined[0].upper()}{joined[1:]}."


def _floor(evaluation: Evaluation, dataset: str) -> str:
    """How large an error must be to be counted, on average; nothing where that was not measured."""
    floor = evaluation.summary(dataset, "noise_floor/2sigma")
    return "" if floor.empty else f" ({number(floor['mean'].iloc[0])} of the range on average)"


def _shares(means: pd.Series, names: list[str]) -> dict[str, str]:
    return {name: f"{100 * means[name]:.1f} %" for name in names if np.isfinite(means.get(name, np.nan))}


def _figures(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _consistency(evaluation: Evaluation, dataset: str) -> Iterator[str]:
    """Whether each method's worst image agrees with its LR: a mean of decibels would hide one that does not."""
    rows = evaluation.frame("table", dataset)
    least = rows[rows["metric"] == LR_PSNR].groupby("method")["value"].min().dropna()
    names = [name for name in restoring(evaluation, dataset) if name != BASELINE and name in least.index]
    parts = []
    for floor, roof, words in FIDELITIES:
        chosen = [name for name in names if floor <= least[name] < roof]
        figures: dict[str, list[str]] = {}
        for name in chosen:
            figures.setdefault("over 100 dB" if least[name] > 100 else f"{least[name]:.1f} dB", []).append(name)
        if chosen:
            told = _figures({listed(group): figure for figure, group in figures.items()})
            parts.append(f"{told} ({words} {'its' if len(chosen) == 1 else 'their'} input)")
    if parts:
        yield f"Before clamping and rounding, reduced again, the worst image matches LR to: {'; '.join(parts)}."


def _equivalent(evaluation: Evaluation, dataset: str) -> Iterator[str]:
    """A sentence a measure with a margin: the pairs that are equivalent, and how many are not shown to be."""
    rows = equivalence_rows(evaluation, dataset)
    for metric in dict.fromkeys(row["metric"] for row in rows):
        name, _, band = metric.partition("/")
        facts, part = evaluation.measures[name], [row for row in rows if row["metric"] == metric]
        title = " ".join(filter(None, (facts["title"], band)))
        margin = number(part[0]["margin"], facts["unit"], unit_shown=True)
        shown = [f"{row['a']} and {row['b']}" for row in part if row["verdict"] == "equivalent"]
        rest = len(part) - len(shown)
        what = f"equivalent: {', '.join(shown)}" if shown else "no two methods are shown to be equivalent"
        others = f"; {rest} other {'pair is' if rest == 1 else 'pairs are'} not shown to be" if shown and rest else ""
        yield f"Within {margin} in {title} (two one-sided tests by patient, not adjusted), {what}{others}."

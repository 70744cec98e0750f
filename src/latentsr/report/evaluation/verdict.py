"""The verdict of an evaluation in sentences: doubts, the primary comparison, the answer for each dataset."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from math import inf, isfinite, nan
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from latentsr.names import BICUBIC, LR_PSNR, SHARPNESS, listed
from latentsr.report.evaluation.data import Evaluation
from latentsr.report.text import counted, estimate, number, p_value
from latentsr.stats.significance import LEVEL, Finding, judge, turned

FINDINGS: Mapping[Finding, str] = {
    "better": "better", "worse": "worse", "open": "not told apart", "few": "too few patients",
}  # fmt: skip


class Judgement(NamedTuple):
    """What is said of a pair's first method against its second in a measure.

    `amount` is the difference with its interval: its size where the first is better or worse, such as "PSNR by 1.58 dB
    [1.41, 1.75]", with its sign otherwise; `why` a clause that says what keeps it from being a finding.
    """

    finding: Finding
    amount: str
    p: str
    why: str = ""

    def sentence(self, first: str, second: str) -> str:
        """Such as "mine is better than bicubic in PSNR by 1.58 dB [1.41, 1.75], p < 0.001"."""
        verb = {"open": "is not told apart from", "few": "differs from"}.get(
            self.finding, f"is {FINDINGS[self.finding]} than"
        )
        return f"{first} {verb} {second} in {self.amount}{self.p}{self.why}"


def judgement(evaluation: Evaluation, dataset: str, metric: str, pair: tuple[str, str]) -> Judgement | None:
    """What is to be said of a pair of methods in one measure; None where they were not compared."""
    row = either_way(evaluation, dataset, metric, pair)
    if row is None or not np.isfinite(row["difference"]):
        return None
    name, _, part = metric.partition("/")
    facts = evaluation.measures[name]
    unit, title = facts["unit"], " ".join(filter(None, (facts["title"], part)))
    finding = judge(row, facts["better"])
    p = f", p {p_value(row['p_holm'], sign=True)}" if np.isfinite(row["p_holm"]) else ""
    if finding in ("better", "worse"):
        towards = row if row["difference"] > 0 else turned(row)
        ends = towards["low"], towards["high"]
        return Judgement(finding, f"{title} by {_bounded(towards['difference'], ends, unit)}", p)
    amount = f"{title} by {_bounded(row['difference'], (row['low'], row['high']), unit, signed=True)}"
    if finding == "few":
        return Judgement(finding, amount, "", f", {too_few(int(row['n']))}")
    adjusted = " adjusted for its family of tests" if row["p"] < LEVEL else ""
    power = f"{adjusted}; unadjusted, 80 % power from {number(row['detectable'], unit, unit_shown=True)}"
    return Judgement(finding, amount, p, power)


def too_few(patients: int) -> str:
    """Such as "which 3 patients are too few to judge"."""
    return "which one patient cannot show" if patients == 1 else f"which {patients} patients are too few to judge"


def _bounded(value: float, ends: tuple[float, float], unit: str, *, signed: bool = False) -> str:
    return " ".join(filter(None, estimate(value, *ends, unit, signed=signed, unit_shown=True)))


def either_way(evaluation: Evaluation, dataset: str, metric: str, pair: tuple[str, str]) -> Mapping[str, Any] | None:
    """The comparison of a pair's first with its second method, turned round where the table has the second first."""
    if (row := evaluation.compared(dataset, metric, *pair)) is not None:
        return row
    back = evaluation.compared(dataset, metric, pair[1], pair[0])
    return None if back is None else turned(back)


def told_pairs(evaluation: Evaluation) -> list[tuple[str, str]]:
    """All pairs of methods, each one way round on the whole page: the later minus the earlier, but for the primary."""
    primary = evaluation.run["primary"]
    asked = [(primary["a"], primary["b"])] if primary else []
    return [
        (earlier, later) if (earlier, later) in asked else (later, earlier)
        for earlier, later in combinations(evaluation.methods, 2)
    ]


def equivalence_rows(evaluation: Evaluation, dataset: str) -> list[Mapping[str, Any]]:
    """The rows of the equivalence table by patient, in the order of `told_pairs` and turned as they are."""
    rows = evaluation.frame("equivalence", dataset)
    if rows.empty:
        return []
    found = {(row["metric"], row["a"], row["b"]): row for row in rows[rows["unit"] == "patient"].to_dict("records")}
    for metric, a, b in list(found):
        row = found[metric, a, b]
        ends = {"difference": -row["difference"], "low": -row["high"], "high": -row["low"]}
        found[metric, b, a] = {**row, "a": b, "b": a, **ends}
    metrics = dict.fromkeys(rows["metric"])
    return [found[metric, *pair] for metric in metrics for pair in told_pairs(evaluation) if (metric, *pair) in found]


# What is told of each aspect: the first of its measures that was measured; all others are in the tables.
ASPECTS = {"fidelity": ("psnr",), "perceptual likeness": ("haarpsi", "gmsd", "ssim")}
FINEST = "swd/x1"
WHOLE = 100  # % of HR's sharpness
HALLUCINATED, LOST = "hallucinated/2sigma", "lost/2sigma"


class Lead(NamedTuple):
    """Who leads in one aspect: the best mean's method first in `names`, then all that it is not told apart from.

    `above`: those that are better than it all the same, on the images where both have a value; `all`: whether `names`
    are all methods; `few`: the patients that were compared, if they are too few to judge any pair, else 0;
    `detectable`: the least difference to any of the others in `names` that the test finds with 80 % power.
    """

    aspect: str
    metric: str
    names: tuple[str, ...]
    above: tuple[str, ...]
    all: bool
    few: int
    detectable: float

    @property
    def sole(self) -> str:
        """The method that is better than all others, or nothing."""
        return self.names[0] if len(self.names) == 1 and not self.above else ""


def primary(evaluation: Evaluation) -> str:
    """The sentence on the comparison that was specified in advance, on all datasets; nothing where there is none."""
    chosen = evaluation.run["primary"]
    if chosen is None:
        return ""
    a, b, metric = chosen["a"], chosen["b"], chosen["metric"]
    parts = []
    for dataset in evaluation.datasets:
        if {a, b} & set(evaluation.truths(dataset)):
            continue
        if (found := judgement(evaluation, dataset, metric, (a, b))) is not None:
            row, patients = (
                either_way(evaluation, dataset, metric, (a, b)),
                evaluation.run["datasets"][dataset]["patients"],
            )
            compared = "" if row is None or row["n"] == patients else f"{int(row['n'])} of "
            parts.append(f"on {dataset} ({compared}{counted(patients, 'patient')}) {found.sentence(a, b)}")
    fixed = ", fixed in advance" if evaluation.run["primary_given"] else " (the default, as none was named)"
    return f"Primary comparison{fixed}: {'; '.join(parts)}." if parts else ""


def answer(evaluation: Evaluation, dataset: str) -> str:
    """The sentence; nothing where neither aspect was measured."""
    if restoring(evaluation, dataset) in ([], [BICUBIC]):
        counts = evaluation.run["datasets"][dataset]
        of = f"{counted(counts['images'], 'image')} of {counted(counts['patients'], 'patient')}"
        return f"On {dataset} only bicubic was measured, on {of}: there is nothing to compare."
    if not (found := leads(evaluation, dataset)):
        return ""
    return f"On {dataset}, {'; '.join([*_led(evaluation, dataset, found), *_paid(evaluation, dataset, found)])}."


def restoring(evaluation: Evaluation, dataset: str) -> list[str]:
    """The methods whose images are not the truth itself, the baseline first."""
    return [name for name in evaluation.methods if name not in evaluation.truths(dataset)]


def leads(evaluation: Evaluation, dataset: str) -> list[Lead]:
    """Who leads in each aspect, fidelity first, by the first of its measures that has values here."""
    found = []
    for aspect, names in ASPECTS.items():
        measured = [name for name in names if not evaluation.summary(dataset, name).empty][:1]
        found += [_lead(evaluation, dataset, aspect, metric) for metric in measured]
    return [lead for lead in found if lead is not None]


def _lead(evaluation: Evaluation, dataset: str, aspect: str, metric: str) -> Lead | None:
    means = evaluation.summary(dataset, metric)["mean"].reindex(restoring(evaluation, dataset)).dropna()
    if len(means) < 2:
        return None
    ranked = means.sort_values(ascending=evaluation.measures[metric]["better"] == "lower", kind="stable")
    first, *others = (str(name) for name in ranked.index)
    found = {name: judgement(evaluation, dataset, metric, (first, name)) for name in others}
    findings = {name: "few" if one is None else one.finding for name, one in found.items()}
    level = [name for name, finding in findings.items() if finding in ("open", "few")]
    above = [name for name, finding in findings.items() if finding == "worse"]
    rows = [row for name in others if (row := either_way(evaluation, dataset, metric, (first, name))) is not None]
    least = [row["detectable"] for row in rows if row["b"] in level and isfinite(row["detectable"])]
    judged = set(findings.values()) != {"few"}
    few = 0 if judged else max((int(row["n"]) for row in rows), default=evaluation.run["datasets"][dataset]["patients"])
    names = (first, *level)
    return Lead(aspect, metric, names, tuple(above), len(level) == len(others), few, max(least, default=nan))


def soles(found: list[Lead]) -> list[str]:
    """The methods that lead alone in some aspect, each once."""
    return list(dict.fromkeys(lead.sole for lead in found if lead.sole))


def _led(evaluation: Evaluation, dataset: str, found: list[Lead]) -> list[str]:
    """The leads in words, a method that leads alone in both named once."""
    measured = {lead.aspect: f"{lead.aspect} ({_mean(evaluation, dataset, lead)})" for lead in found}
    alone = {name: [measured[lead.aspect] for lead in found if lead.sole == name] for name in soles(found)}
    parts = [f"{name} is best in {listed(aspects)}" for name, aspects in alone.items()]
    if few := [lead for lead in found if lead.few]:
        firsts = dict.fromkeys(lead.names[0] for lead in few)
        theirs = {name: [measured[lead.aspect] for lead in few if lead.names[0] == name] for name in firsts}
        means = [f"{name} in {listed(aspects)}" for name, aspects in theirs.items()]
        parts.append(f"the best means are those of {listed(means)}, {too_few(max(lead.few for lead in few))}")
    return [*parts, *(_tied(evaluation, dataset, lead) for lead in found if not lead.sole and not lead.few)]


def _mean(evaluation: Evaluation, dataset: str, lead: Lead) -> str:
    """The best mean, and bicubic's beside that of another method that leads alone."""
    facts, means = evaluation.measures[lead.metric], evaluation.summary(dataset, lead.metric)["mean"]
    shown = f"{facts['title']} {number(means[lead.names[0]], facts['unit'], unit_shown=True)}"
    if lead.sole in ("", BICUBIC) or BICUBIC not in means.index:
        return shown
    return f"{shown}, bicubic {number(means[BICUBIC], facts['unit'], unit_shown=True)}"


def _tied(evaluation: Evaluation, dataset: str, lead: Lead) -> str:
    """What is to be said where no method leads alone though there are patients enough."""
    unit = evaluation.measures[lead.metric]["unit"]
    power = (
        f"; unadjusted, 80 % power from {number(lead.detectable, unit, unit_shown=True)}"
        if isfinite(lead.detectable)
        else ""
    )
    mean, first = f"{_mean(evaluation, dataset, lead)}{power}", lead.names[0]
    if lead.above:
        verb = "is" if len(lead.above) == 1 else "are"
        better = f"{listed(lead.above)} {verb} better on the images where both have a value"
        return f"in {lead.aspect} {first} has the best mean ({_mean(evaluation, dataset, lead)}), but {better}"
    if lead.all:
        return f"in {lead.aspect} no method is told apart from the best mean ({first}, {mean})"
    return f"in {lead.aspect} {first} has the best mean ({mean}) and is not told apart from {listed(lead.names[1:])}"


def _paid(evaluation: Evaluation, dataset: str, found: list[Lead]) -> list[str]:
    """What the best ones pay: fidelity for likeness, measures that are worse than bicubic's, sharpness not restored."""
    best = soles(found)
    paid = [_less(evaluation, dataset, found[0].metric, best[0], best[1])] if len(best) == 2 else []
    losses = {name: worse(evaluation, dataset, name) for name in best}
    paid += [f"{name} is worse than bicubic in {listed(titles)}" for name, titles in losses.items() if titles]
    shares, unlike = sharpness(evaluation, dataset), unlike_hr(evaluation, dataset)
    kept = [_kept(name, shares[name], name in unlike) for name in best if name in shares]
    return [*paid, *([", ".join(kept)] if kept else [])]


def _kept(name: str, share: int, unlike: bool) -> str:
    """Such as "mine keeps 31 % of HR's sharpness", and no praise where it is more than there is, or other detail."""
    if unlike:
        return f"{name} has {share} % of HR's sharpness, but its detail is unlike HR's"
    if share > WHOLE:
        return f"{name} has {share} % of HR's sharpness, more than is there"
    return f"{name} keeps {share} % of HR's sharpness"


def false_sharpness(evaluation: Evaluation, dataset: str) -> str:
    """A sentence on the methods that are sharper than HR by detail which HR has not, such as grain; nothing if none."""
    shares, unlike = sharpness(evaluation, dataset), unlike_hr(evaluation, dataset)
    names = [name for name in unlike if shares.get(name, 0) > WHOLE]
    if not names:
        return ""
    told = [f"{name} ({shares[name]} % of its Laplacian variance, distance {number(unlike[name])})" for name in names]
    verb, whose = ("is", "its") if len(names) == 1 else ("are", "their")
    bicubics = number(_set_distances(evaluation, dataset)[BICUBIC])
    return (
        f"On {dataset}, {listed(told)} {verb} sharper than HR, but {whose} detail is unlike HR's: sliced Wasserstein "
        f"distance above bicubic's ({bicubics}, at the finest level)."
    )


def _less(evaluation: Evaluation, dataset: str, metric: str, first: str, second: str) -> str:
    """By how much the second is behind the first, such as "sample pays with PSNR by 1.08 dB [0.80, 1.51]"."""
    behind = judgement(evaluation, dataset, metric, (second, first))
    return f"{second} pays with {behind.amount} less than {first}" if behind is not None else ""


def worse(evaluation: Evaluation, dataset: str, method: str) -> list[str]:
    """The titles of the measures in which a method is worse than bicubic: of the whole image, and of wrong pixels."""
    if method == BICUBIC:
        return []
    names = (*evaluation.measures, HALLUCINATED, LOST)
    found = {name: judgement(evaluation, dataset, name, (method, BICUBIC)) for name in names}
    chosen = [name.partition("/")[0] for name, one in found.items() if one is not None and one.finding == "worse"]
    return [str(evaluation.measures[name]["title"]) for name in chosen]


def unlike_hr(evaluation: Evaluation, dataset: str) -> Mapping[str, float]:
    """The methods whose finest detail is further from HR's than bicubic's, with their sliced Wasserstein distance."""
    distances = _set_distances(evaluation, dataset)
    return {name: value for name, value in distances.items() if value > distances.get(BICUBIC, inf)}


def _set_distances(evaluation: Evaluation, dataset: str) -> Mapping[str, float]:
    """Each restoring method's sliced Wasserstein distance at the finest level, where sharpness lies, if measured."""
    rows = evaluation.frame("sets", dataset)
    values = {} if rows.empty else rows[rows["metric"] == FINEST].set_index("method")["value"].to_dict()
    return {name: values[name] for name in restoring(evaluation, dataset) if name in values}


def sharpness(evaluation: Evaluation, dataset: str) -> Mapping[str, int]:
    """Each restoring method's Laplacian variance in % of HR's, rounded, where both are known."""
    rows = evaluation.summary(dataset, SHARPNESS)
    shares = {} if rows.empty else rows["ratio_to_hr"].dropna().to_dict()
    return {name: round(100 * shares[name]) for name in restoring(evaluation, dataset) if name in shares}


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
    sentences = (f"{listed(names)}: {sentence}" if several else sentence for sentence, names in told.items())
    images = (row for row in evaluation.run["character"] if row["dataset"] in evaluation.datasets)
    return (*sentences, *(row["sentence"] for row in images if row["method"] != BICUBIC))


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
    methods = [method for method in restoring(evaluation, dataset) if method != BICUBIC]
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
    # A sentence a measure with a margin: the pairs that are equivalent, and how many are not shown to be.
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
    names = [name for name in restoring(evaluation, dataset) if name != BICUBIC and name in least.index]
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

"""The verdict of an evaluation in sentences: wrong pairs, then who is better than bicubic in what, by how much."""

from collections.abc import Iterator, Mapping
from itertools import combinations, islice
from typing import Any

import numpy as np
import pandas as pd

from latentsr.report.evaluation_data import BASELINE, HR, Evaluation, interval, number, p_value

LEVEL = 0.05
# What the verdict speaks of, the first of each line that was measured; all other measures are in the tables.
FIDELITY = ("psnr",)
PERCEPTION = ("haarpsi", "gmsd", "ssim")
SHARPNESS = "laplacian_variance"
HALLUCINATED, LOST = "hallucinated/2sigma", "lost/2sigma"
NO_JUDGEMENT = ("lr_psnr", "null_space", "null_space_share")  # a limit to hold, and what is neither better nor worse
TRUE_TO_INPUT = 50.0  # dB, of the worst image
PAIRS = 3  # of methods besides bicubic that get a sentence


def verdict(evaluation: Evaluation) -> tuple[str, ...]:
    """Sentences, the most important first; a doubt about the pairing comes before everything."""
    told = [*_pairing(evaluation)]
    for dataset in evaluation.datasets:
        told += _size(evaluation, dataset)
        methods = _ranked(evaluation, dataset)
        told += [gain for method in methods if (gain := _gains(evaluation, dataset, method))]
        told += _pairs(evaluation, dataset, methods)
        told += [price for method in methods if (price := _price(evaluation, dataset, method))]
        told += _equivalent(evaluation, dataset)
    return tuple(told)


def _ranked(evaluation: Evaluation, dataset: str) -> list[str]:
    """The methods but for the baseline, the highest PSNR first: a method all of whose images are HR before the rest."""
    rows = evaluation.summary(dataset, "psnr")

    def rank(name: str) -> float:
        if name not in rows.index:
            return np.inf
        row = rows.loc[name]
        return -np.inf if _identical(row) else -row["mean"] if np.isfinite(row["mean"]) else np.inf

    return sorted((name for name in evaluation.methods if name != BASELINE), key=rank)


def _identical(row: "pd.Series[Any]") -> bool:
    """Whether all images that have a PSNR are HR itself, by a row of the summary."""
    return bool(row["n"] == 0 and row["infinite"] > 0)


def _pairing(evaluation: Evaluation) -> Iterator[str]:
    doubts = evaluation.run["pairing"]
    if doubts:
        named = ", ".join(sorted({f"'{doubt['method']}' on '{doubt['dataset']}'" for doubt in doubts}))
        yield f"Do not rely on this yet: images of {named} do not agree with their inputs (see the warnings below)."


def _size(evaluation: Evaluation, dataset: str) -> Iterator[str]:
    facts = evaluation.run["datasets"][dataset]
    if len(evaluation.methods) == 1:
        yield f"On {dataset} only bicubic was measured, on {_counted(facts)}: there is nothing to compare."


def _counted(facts: Mapping[str, Any]) -> str:
    images = f"{facts['images']} image{'s' * (facts['images'] != 1)}"
    return f"{images} of {facts['patients']} patient{'s' * (facts['patients'] != 1)}"


def _gains(evaluation: Evaluation, dataset: str, method: str) -> str:
    """What one method gained against bicubic."""
    found = [*_same(evaluation, dataset, method)]
    gains = [_gain(evaluation, dataset, (method, BASELINE), names) for names in (FIDELITY, PERCEPTION)]
    found += [gain for gain in gains if gain]
    if worse := _worse(evaluation, dataset, method):
        found.append(f"is worse than bicubic in {', '.join(worse)}")
    return f"On {dataset}, {method} {'; it '.join(found)}." if found else ""


def _same(evaluation: Evaluation, dataset: str, method: str) -> Iterator[str]:
    """How many images are HR itself, so that their PSNR is infinite and no mean can hold it."""
    rows = evaluation.summary(dataset, "psnr")
    if method not in rows.index or not rows.loc[method, "infinite"]:
        return
    count, images = int(rows.loc[method, "infinite"]), evaluation.run["datasets"][dataset]["images"]
    if _identical(rows.loc[method]):
        yield f"is identical to HR in all of its {count} images (PSNR infinite, none can be better)"
    else:
        yield f"is identical to HR in {count} of {images} images, which are left out of PSNR"


def _worse(evaluation: Evaluation, dataset: str, method: str) -> list[str]:
    """The titles of further whole-image measures in which a method is significantly worse than bicubic."""
    titles = []
    for name, facts in evaluation.measures.items():
        row = evaluation.compared(dataset, name, method, BASELINE)
        if row is None or name in (*FIDELITY, *PERCEPTION[:1], *NO_JUDGEMENT) or _doubt(row):
            continue
        if (row["difference"] > 0) != (facts["better"] == "higher"):
            titles.append(str(facts["title"]))
    return titles


def _pairs(evaluation: Evaluation, dataset: str, methods: list[str]) -> Iterator[str]:
    """The methods besides bicubic against each other, a sentence a pair."""
    for first, second in islice(combinations(methods, 2), PAIRS):
        gains = [_gain(evaluation, dataset, (first, second), (name,)) for name in ("psnr", "haarpsi")]
        if found := [gain for gain in gains if gain]:
            yield f"On {dataset}, {first} {'; it '.join(found)}."


def _price(evaluation: Evaluation, dataset: str, method: str) -> str:
    """How sharp one method is, what it invented, lost and kept of its input."""
    rest = [*_sharpness(evaluation, dataset, method), *_invented(evaluation, dataset, method)]
    rest += _consistency(evaluation, dataset, method)
    return f"{method} on {dataset}: {'; '.join(rest)}." if rest else ""


def _gain(evaluation: Evaluation, dataset: str, pair: tuple[str, str], names: tuple[str, ...]) -> str:
    """Such as "is better than bicubic in PSNR by 1.58 dB [1.41, 1.75]", of the first of `names` that was compared."""
    for name in names:
        row = _either_way(evaluation, dataset, name, pair)
        if row is not None and np.isfinite(row["difference"]):
            return _judged(row, pair[1], evaluation.measures[name])
    return ""


def _either_way(
    evaluation: Evaluation, dataset: str, metric: str, pair: tuple[str, str]
) -> "Mapping[str, Any] | pd.Series[Any] | None":
    """The comparison of a pair's first with its second method, turned round where the table has the second first."""
    row = evaluation.compared(dataset, metric, *pair)
    if row is not None or (back := evaluation.compared(dataset, metric, pair[1], pair[0])) is None:
        return row
    turned = {name: -back[name] for name in ("difference", "d_z", "rank_biserial")}
    return turned | {"low": -back["high"], "high": -back["low"], "p_holm": back["p_holm"]}


def _doubt(row: "Mapping[str, Any] | pd.Series[Any]") -> str:
    """Why a difference is not told apart from none, or nothing: then interval, test and effect by patient agree.

    The difference and its interval are of the mean over images, the test and d_z of patients' means: where patients
    have unequally many images, these can point to different sides.
    """
    if row["low"] <= 0 <= row["high"]:
        return "the interval holds zero"
    if not row["p_holm"] < LEVEL:
        return f"not significant once adjusted for all tests, p {p_value(row['p_holm'])}"
    if any(row[name] * row["difference"] < 0 for name in ("d_z", "rank_biserial")):
        return "by image and by patient the sign differs"
    return ""


def _judged(row: "Mapping[str, Any] | pd.Series[Any]", other: str, facts: Mapping[str, Any]) -> str:
    """Better or worse than the other method where interval, test and effect agree, else not told apart."""
    unit, title = facts["unit"], facts["title"]
    difference = number(row["difference"], unit, signed=True, unit_shown=True)
    if not np.isfinite(row["p_holm"]):
        return f"differs from {other} in {title} by {difference}, which one patient cannot test"
    span = f"{number(row['low'], unit, signed=True)} to {number(row['high'], unit, signed=True)}"
    if doubt := _doubt(row):
        return f"is not told apart from {other} in {title} ({difference}, 95 % interval {span}; {doubt})"
    side = "better" if (row["difference"] > 0) == (facts["better"] == "higher") else "worse"
    low, high = sorted((abs(row["low"]), abs(row["high"])))
    amount = number(abs(row["difference"]), unit, unit_shown=True)
    return f"is {side} than {other} in {title} by {amount} {interval(low, high, unit)}"


def _sharpness(evaluation: Evaluation, dataset: str, method: str) -> Iterator[str]:
    rows = evaluation.summary(dataset, SHARPNESS)
    if method in rows.index and HR in rows.index and rows.loc[HR, "mean"] > 0:
        share = rows.loc[method, "mean"] / rows.loc[HR, "mean"]
        base = rows.loc[BASELINE, "mean"] / rows.loc[HR, "mean"]
        yield f"{share:.0%} of HR's sharpness (Laplacian variance; bicubic {base:.0%})"


def _invented(evaluation: Evaluation, dataset: str, method: str) -> Iterator[str]:
    rows = evaluation.frame("summary", dataset)
    means = rows[rows["method"] == method].set_index("metric")["mean"]
    base = rows[rows["method"] == BASELINE].set_index("metric")["mean"]
    if HALLUCINATED in means.index:
        name = evaluation.run["reference_autoencoder"]["name"]
        yield (
            f"{means[HALLUCINATED]:.1%} of its pixels hallucinated and {means[LOST]:.1%} lost, beyond two sigma of the "
            f"own error of reference autoencoder {name} (bicubic {base[HALLUCINATED]:.1%} and {base[LOST]:.1%})"
        )


def _consistency(evaluation: Evaluation, dataset: str, method: str) -> Iterator[str]:
    """Whether the worst image agrees with its LR: a mean of decibels would hide one that does not."""
    rows = evaluation.frame("table", dataset)
    values = rows[(rows["metric"] == "lr_psnr") & (rows["method"] == method)]["value"].dropna()
    if len(values):
        value = values.min()
        judged = "true to its input" if value >= TRUE_TO_INPUT else "not wholly true to its input"
        shown = "over 100 dB" if value > 100 else f"{value:.1f} dB"
        yield f"{judged} (before clamping and rounding, reduced again, its worst image matches LR to {shown})"


def _equivalent(evaluation: Evaluation, dataset: str) -> Iterator[str]:
    rows = evaluation.frame("equivalence", dataset)
    if rows.empty:
        return
    for (metric, verdict_), group in rows[rows["unit"] == "patient"].groupby(["metric", "verdict"], sort=False):
        name, _, part = str(metric).partition("/")
        facts = evaluation.measures[name]
        margin = number(group["margin"].iloc[0], facts["unit"], unit_shown=True)
        told = {
            "equivalent": f"equivalent within {margin}",
            "different": f"different by more than {margin}",
            "undecided": f"neither shown equivalent nor different within {margin}",
        }
        pairs = ", ".join(f"{a} and {b}" for a, b in zip(group["a"], group["b"], strict=True))
        yield (
            f"In {' '.join((facts['title'], part)).strip()} on {dataset}, {told[str(verdict_)]}: {pairs} "
            "(two one-sided tests by patient, not adjusted)."
        )

"""The verdict of an evaluation in sentences: wrong pairs, then who is better than bicubic in what, by how much."""

from collections.abc import Iterator, Mapping
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
TRUE_TO_INPUT = 50.0  # dB: what rounding to 8 bit alone leaves


def verdict(evaluation: Evaluation) -> tuple[str, ...]:
    """Sentences, the most important first; a doubt about the pairing comes before everything."""
    told = [*_pairing(evaluation)]
    for dataset in evaluation.datasets:
        told += _size(evaluation, dataset)
        methods = _ranked(evaluation, dataset)
        told += [gain for method in methods if (gain := _gains(evaluation, dataset, method))]
        told += [price for method in methods if (price := _price(evaluation, dataset, method))]
        told += _equivalent(evaluation, dataset)
    return tuple(told)


def _ranked(evaluation: Evaluation, dataset: str) -> list[str]:
    """The methods but for the baseline, the highest PSNR first."""
    psnr = evaluation.summary(dataset, "psnr")["mean"].to_dict()
    others = [name for name in evaluation.methods if name != BASELINE]
    return sorted(others, key=lambda name: -psnr.get(name, 0.0) if np.isfinite(psnr.get(name, 0.0)) else 0.0)


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
    gains = [_gain(evaluation, dataset, method, names) for names in (FIDELITY, PERCEPTION)]
    found = [gain for gain in gains if gain]
    if worse := _worse(evaluation, dataset, method):
        found.append(f"is worse than bicubic in {', '.join(worse)}")
    return f"On {dataset}, {method} {'; it '.join(found)}." if found else ""


def _worse(evaluation: Evaluation, dataset: str, method: str) -> list[str]:
    """The titles of further whole-image measures in which a method is significantly worse than bicubic."""
    titles = []
    for name, facts in evaluation.measures.items():
        row = evaluation.compared(dataset, name, method, BASELINE)
        if row is None or name in (*FIDELITY, *PERCEPTION[:1]) or not row["p_holm"] < LEVEL:
            continue
        if (row["difference"] > 0) != (facts["better"] == "higher"):
            titles.append(str(facts["title"]))
    return titles


def _price(evaluation: Evaluation, dataset: str, method: str) -> str:
    """How sharp one method is, what it invented, lost and kept of its input."""
    rest = [*_sharpness(evaluation, dataset, method), *_invented(evaluation, dataset, method)]
    rest += _consistency(evaluation, dataset, method)
    return f"{method} on {dataset}: {'; '.join(rest)}." if rest else ""


def _gain(evaluation: Evaluation, dataset: str, method: str, names: tuple[str, ...]) -> str:
    """Such as "is better than bicubic in PSNR by 1.58 dB [1.41, 1.75]"."""
    for name in names:
        row = evaluation.compared(dataset, name, method, BASELINE)
        if row is not None and np.isfinite(row["difference"]):
            return _judged(row, evaluation.measures[name])
    return ""


def _judged(row: "pd.Series[Any]", facts: Mapping[str, Any]) -> str:
    """Better or worse where the test says so, else not told apart."""
    unit, title = facts["unit"], facts["title"]
    side = "better" if (row["difference"] > 0) == (facts["better"] == "higher") else "worse"
    difference = number(row["difference"], unit, signed=True, unit_shown=True)
    if not np.isfinite(row["p_holm"]):
        return f"is {side} than bicubic in {title} ({difference}), which one patient cannot test"
    crosses = row["low"] <= 0 <= row["high"]
    span = f"{number(row['low'], unit, signed=True)} to {number(row['high'], unit, signed=True)}"
    if row["p_holm"] >= LEVEL and crosses:
        return f"is not told apart from bicubic in {title} ({difference}, 95 % interval {span})"
    low, high = sorted((abs(row["low"]), abs(row["high"])))
    amount = number(abs(row["difference"]), unit, unit_shown=True)
    bounds = f"(95 % interval {span})" if crosses else interval(low, high, unit)
    doubt = ""
    if row["p_holm"] >= LEVEL:
        doubt = f", not significant once adjusted for all tests (p {p_value(row['p_holm'])})"
    return f"is {side} than bicubic in {title} by {amount} {bounds}{doubt}"


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
        yield (
            f"{means[HALLUCINATED]:.1%} of its pixels hallucinated and {means[LOST]:.1%} lost, beyond two sigma of the "
            f"reference autoencoder's own error (bicubic {base[HALLUCINATED]:.1%} and {base[LOST]:.1%})"
        )


def _consistency(evaluation: Evaluation, dataset: str, method: str) -> Iterator[str]:
    rows = evaluation.summary(dataset, "lr_psnr")
    if method in rows.index and np.isfinite(rows.loc[method, "mean"]):
        value = rows.loc[method, "mean"]
        judged = "true to its input" if value >= TRUE_TO_INPUT else "not wholly true to its input"
        shown = "over 100 dB" if value > 100 else f"{value:.1f} dB"
        yield f"{judged} (reduced again, it matches LR to {shown})"


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
        yield f"In {' '.join((facts['title'], part)).strip()} on {dataset}, {told[str(verdict_)]}: {pairs}."

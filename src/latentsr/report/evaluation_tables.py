"""The tables of an evaluation's report: means, differences, all pairs, agreement, equivalence."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from latentsr.report.evaluation_data import BASELINE, Evaluation
from latentsr.report.numbers import NONE, counted, estimate, listed, number, p_value
from latentsr.report.page import Table
from latentsr.stats.rates import rate_effects

ARROWS = {"higher": "↑", "lower": "↓", "closer": "→ HR"}
BETTER = {"higher": "more", "lower": "less", "closer": "as HR"}
# What is added beyond the mean, and the noise floor of what is counted: neither more nor less is better.
UNDIRECTED = ("null_space", "null_space_share", "noise_floor")
# Drawn by band, or in the table of means by scale; so many rows of differences stand in comparisons.csv alone.
UNLISTED = ("radial_spectrum", "subband_psnr", "latent_cosine", "latent_mse", "latent_psnr")
SHARES = ("hallucinated", "lost")
MAGNITUDES = {"hallucinated_magnitude": "mean excess", "lost_magnitude": "mean deficit"}  # with their columns' heads
FAMILIES = {  # of evaluation/tables.py, in words
    "primary": "the primary family",
    "whole image": "other measures of the whole image",
    "parts": "bands, scales and thresholds",
}


def difference_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """Every tested measure's difference to bicubic: by patient and by image, side by side."""
    rows = evaluation.frame("comparisons", dataset)
    if rows.empty:
        return None
    found = rows[rows["b"] == BASELINE] if BASELINE in set(rows["b"]) else rows
    there = set(zip(found["metric"], found["a"], strict=True))
    cells = [
        _difference_cells(evaluation, dataset, metric, method, BASELINE)
        for metric in _tidy_names(evaluation)
        for method in evaluation.methods
        if (metric, method) in there
    ]
    if not cells:
        return None
    note = (
        "Paired difference method minus bicubic, with 95 % bootstrap intervals: patients drawn with all their images, "
        "and beside it images drawn as if each were independent, as much of the literature does; where patients have "
        "several images the latter is too sure of itself. p: Wilcoxon signed-rank test over patients, adjusted by Holm "
        f"within families of tests that were fixed before any data: {_families(evaluation, rows)}. d: pooled sd, as "
        "published; d_z: sd of the differences; r: rank-biserial correlation. n: patients. Images with an infinite or "
        "missing value are left out of that row, its test too, and counted in comparisons.csv, where bands and scales "
        "of latents stand too."
    )
    columns = ("measure", "method", "difference", "95 % by patient", "95 % by image", "p (Holm)", "d", "d_z", "r", "n")
    return Table(f"Differences to bicubic on {dataset}", columns, tuple(cells), note)


def _families(evaluation: Evaluation, rows: pd.DataFrame) -> str:
    """Each family of tests by patient with its number of tests, the measures of the first by name."""
    by_patient = rows[rows["unit"] == "patient"]
    told = []
    for family, words in FAMILIES.items():
        found = by_patient[by_patient["family"] == family]
        if found.empty:
            continue
        first = [name for name in found["metric"].unique() if family == "primary"]
        named = f" ({listed([str(evaluation.measures[name]['title']) for name in first])})" if first else ""
        told.append(f"{words}{named}, {counted(int(found['p'].notna().sum()), 'test')}")
    return "; ".join(told)


def _tidy_names(evaluation: Evaluation) -> Iterator[str]:
    """The metrics that are listed, in the order of METRICS."""
    for name, facts in evaluation.measures.items():
        if name not in (*UNLISTED, *UNDIRECTED):
            yield from (f"{name}/{part}" for part in facts["parts"]) if facts["parts"] else (name,)


def _difference_cells(evaluation: Evaluation, dataset: str, metric: str, a: str, b: str) -> tuple[str, ...]:
    patient, image = (evaluation.compared(dataset, metric, a, b, unit) for unit in ("patient", "image"))
    if patient is None or image is None:
        return (metric_title(evaluation, metric), a, *(NONE,) * 8)
    return (
        metric_title(evaluation, metric),
        a,
        *_difference(evaluation, dict(patient)),
        _difference(evaluation, dict(image))[1],
        p_value(patient["p_holm"]),
        number(patient["d"], "dB"),
        number(patient["d_z"], "dB"),
        number(patient["rank_biserial"], "dB"),
        str(int(patient["n"])),
    )


def metric_title(evaluation: Evaluation, metric: str) -> str:
    """A tidy name in words: "Subband PSNR LL3 (dB) ↑"."""
    name, _, part = metric.partition("/")
    facts = evaluation.measures[name]
    unit = f" ({facts['unit']})" if facts["unit"] else ""
    return f"{facts['title']}{' ' + part if part else ''}{unit} {ARROWS[facts['better']]}"


def _unit(evaluation: Evaluation, metric: str) -> str:
    return str(evaluation.measures[metric.split("/")[0]]["unit"])


def _difference(evaluation: Evaluation, row: Mapping[Hashable, Any]) -> tuple[str, str]:
    """A row's difference and its interval."""
    ends = row["low"], row["high"]
    value, bounds = estimate(row["difference"], *ends, _unit(evaluation, row["metric"]), signed=True)
    return value, bounds or NONE


def pair_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """All pairs of methods in the measures of the primary family, by patient; None where there is but one pair."""
    rows = evaluation.frame("comparisons", dataset)
    if rows.empty or len(evaluation.methods) < 3:
        return None
    chosen = rows[(rows["family"] == "primary") & (rows["unit"] == "patient")]
    cells = [
        (
            f"{row['a']} – {row['b']}",
            metric_title(evaluation, row["metric"]),
            *_difference(evaluation, row),
            p_value(row["p_holm"]),
            number(row["d_z"], "dB"),
            str(int(row["n"])),
        )
        for row in chosen.to_dict(orient="records")
    ]
    columns = ("pair", "measure", "difference", "95 % by patient", "p (Holm)", "d_z", "n")
    note = "First minus second, by patient; p adjusted for the tests of this table."
    return Table(f"All pairs of methods on {dataset}", columns, tuple(cells), note) if cells else None


def agreement_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """Bland-Altman bias and limits of mean intensity, by patient and by image."""
    rows = evaluation.frame("agreement", dataset)
    if rows.empty:
        return None
    cells = [
        (
            f"{row['a']}, by {row['unit']}",
            _with_interval(row["bias"], row["bias_low"], row["bias_high"]),
            _with_interval(row["lower"], row["lower_low"], row["lower_high"]),
            _with_interval(row["upper"], row["upper_low"], row["upper_high"]),
            str(int(row["n"])),
        )
        for row in rows.to_dict(orient="records")
        if row["a"] in evaluation.methods
    ]
    columns = ("method", "bias", "lower limit", "upper limit", "n")
    note = "Mean SR minus mean HR; limits: bias ± 1.96 sd. In brackets 95 % intervals. By patient: of a patient's mean."
    return Table(f"Agreement of mean intensity on {dataset}, in 1/1000 of the range", columns, tuple(cells), note)


def _with_interval(value: float, low: float, high: float) -> str:
    if not np.isfinite(value):
        return NONE
    bounds = f" [{1000 * low:+.2f}, {1000 * high:+.2f}]" if np.isfinite(low) and np.isfinite(high) else ""
    return f"{1000 * value:+.2f}{bounds}"


def equivalence_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """Two one-sided tests within the margins that were asked for."""
    rows = evaluation.frame("equivalence", dataset)
    if rows.empty:
        return None
    cells = tuple(
        (
            f"{row['a']} – {row['b']}",
            metric_title(evaluation, row["metric"]),
            f"± {row['margin']:g}",
            *_difference(evaluation, row),
            p_value(row["p"]),
            row["verdict"],
            row["unit"],
        )
        for row in rows.to_dict(orient="records")
    )
    columns = ("pair", "measure", "margin", "difference", "90 % interval", "p", "verdict", "unit")
    note = "Equivalent: the 90 % interval lies within the margin (two one-sided t tests at 5 %, not adjusted)."
    return Table(f"Equivalence within a margin on {dataset}", columns, cells, note)


def rate_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """Hallucinated and lost shares and magnitudes at 1, 2 and 3 sigma, those that were measured; None without any."""
    there = [name for name in (*SHARES, *MAGNITUDES) if not evaluation.summary(dataset, f"{name}/2sigma").empty]
    if not there:
        return None
    shares, magnitudes = ([name for name in names if name in there] for names in (SHARES, MAGNITUDES))
    rows = evaluation.frame("summary", dataset)
    wide = rows.pivot(index="method", columns="metric", values="mean")
    effects = _rate_effects(evaluation, dataset)
    cells = [
        (
            f"{method}, {sigma.replace('sigma', ' sigma')}",
            *(f"{wide.loc[method, f'{name}/{sigma}']:.2%}" for name in shares),
            *(number(effects.get((method, f"{name}/{sigma}")), "dB", signed=True) for name in shares),
            *(number(wide.loc[method, f"{name}/{sigma}"]) for name in magnitudes),
        )
        for method in evaluation.methods
        for sigma in evaluation.measures[there[0]]["parts"]
    ]
    columns = (
        "method, threshold", *shares, *(f"h {name}" for name in shares), *(MAGNITUDES[name] for name in magnitudes),
    )  # fmt: skip
    reference = evaluation.run["reference_autoencoder"]["name"]
    note = (
        f"Hallucinated: pixels brighter than HR by more than mean + k sd of reference autoencoder {reference}'s "
        "absolute error on the same image; lost: darker by more. h: Cohen's h of the share against bicubic's, below 0 "
        "where it is less; 0.2 is small, 0.5 medium, 0.8 large. Magnitudes are means over those pixels, of a "
        "range of 1."
    ) + _floor(evaluation, dataset)
    return Table(f"Hallucinated and lost pixels on {dataset}", columns, tuple(cells), note)


def _floor(evaluation: Evaluation, dataset: str) -> str:
    """How large an error must be to be counted, on average; nothing where that was not measured."""
    floor = evaluation.summary(dataset, "noise_floor/2sigma")
    return "" if floor.empty else f" Its noise floor at 2 sigma: {number(floor['mean'].iloc[0])} on average."


def _rate_effects(evaluation: Evaluation, dataset: str) -> dict[tuple[str, str], float]:
    """Cohen's h of each share, by method and tidy name, against bicubic's."""
    rows = evaluation.frame("comparisons", dataset)
    if rows.empty:
        return {}
    chosen = rows[(rows["b"] == BASELINE) & (rows["unit"] == "patient")]
    shares = [name for name in chosen["metric"].unique() if name.partition("/")[0] in SHARES]
    found = rate_effects(chosen, shares)
    return dict(zip(zip(found["a"], found["metric"], strict=True), found["h"], strict=True))


def null_space_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """What each method adds beyond the mean that its LR says nothing about: described, not judged."""
    names = [name for name in UNDIRECTED if not evaluation.summary(dataset, name).empty]
    if not names:
        return None
    rows = [evaluation.summary(dataset, name)["mean"] for name in names]
    cells = tuple(
        (method, *(number(mean.get(method)) for mean in rows))
        for method in evaluation.methods
        if any(np.isfinite(mean.get(method, np.nan)) for mean in rows)
    )
    columns = ("method", *(str(evaluation.measures[name]["title"]) for name in names))
    note = (
        f"Part: root mean square of what SR adds to the mean ({evaluation.run['mean']}) and LR does not determine; "
        "share: its energy in all that SR adds, 1 where nothing contradicts LR. Neither more nor less is better: not "
        "tested."
    )
    return Table(f"What is added beyond the mean on {dataset}", columns, cells, note) if cells else None


def definition_table(evaluation: Evaluation) -> Table:
    """Every measure with unit, direction, range and source, from METRICS."""
    rows = tuple(
        (
            f"{one['title']} ({one['unit']})" if one["unit"] else str(one["title"]),
            str(one["name"]),
            "neither" if one["name"] in UNDIRECTED else BETTER[one["better"]],
            f"{one['range'][0]} to {one['range'][1]}",
            str(one["source"]),
        )
        for one in evaluation.measures.values()
    )
    return Table("The measures", ("measure", "name in tables", "better", "range", "source"), rows)

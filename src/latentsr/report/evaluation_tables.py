"""The tables of an evaluation's report: means, differences, all pairs, agreement, equivalence."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from latentsr.report.evaluation_data import BASELINE, Evaluation
from latentsr.report.evaluation_judgement import FINDINGS, either_way
from latentsr.report.numbers import NONE, counted, decimals, estimate, interval, number, p_value
from latentsr.report.page import Table
from latentsr.stats.rates import rate_effects
from latentsr.stats.significance import FEWEST, LEVEL, judge

ARROWS = {"higher": "↑", "lower": "↓", "closer": "→ HR"}
BETTER = {"higher": "more", "lower": "less", "closer": "as HR"}
# What is added beyond the mean, and the noise floor of what is counted: neither more nor less is better.
UNDIRECTED = ("null_space", "null_space_share", "noise_floor")
# Drawn by band, or in the table of means by scale; so many rows of differences stand in comparisons.csv alone.
UNLISTED = ("radial_spectrum", "subband_psnr", "latent_cosine", "latent_mse", "latent_psnr")
SHARES = ("hallucinated", "lost")
MAGNITUDES = {"hallucinated_magnitude": "mean excess", "lost_magnitude": "mean deficit"}  # with their columns' heads
FAMILIES = {  # of evaluation/tables.py, in words
    "primary": "the primary comparison, which is not adjusted",
    "main measures": "the main measures",
    "whole image": "other measures of the whole image",
    "parts": "bands, scales and thresholds",
}


def main_measures(evaluation: Evaluation, dataset: str) -> list[str]:
    """The measures that are tested first, the primary one among them, in the order of METRICS."""
    rows = evaluation.frame("comparisons", dataset)
    chosen = set() if rows.empty else set(rows.loc[rows["family"].isin(("primary", "main measures")), "metric"])
    return [name for name in _tidy_names(evaluation) if name in chosen]


def main_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """The main measures: each method against bicubic, and the primary comparison where it is another; by patient."""
    rows = [
        (metric, row)
        for metric in main_measures(evaluation, dataset)
        for pair in _main_pairs(evaluation)
        if (row := either_way(evaluation, dataset, metric, pair)) is not None
    ]
    if not rows:
        return None
    primary = evaluation.run["primary"]
    cells = tuple(
        (
            metric_title(evaluation, metric),
            f"{row['a']} – {row['b']}{' (primary)' * (row['family'] == 'primary')}",
            " ".join(_difference(evaluation, row)),
            p_value(row["p_holm"]),
            FINDINGS[judge(row, evaluation.measures[metric.partition("/")[0]]["better"])],
            number(row["detectable"], _unit(evaluation, metric)),
            number(row["d_z"], "dB"),
            str(int(row["n"])),
        )
        for metric, row in rows
    )
    tests = _families(evaluation.frame("comparisons", dataset))
    note = (
        "Mean over patients of the paired difference, with the 95 % interval and p of Student's test of that mean. "
        f"{'The primary comparison was fixed in advance and stands alone; all other' if primary else 'All'} p are "
        f"adjusted (Holm) within families fixed before any data: {tests}. One rule judges: adjusted p below "
        f"{LEVEL:g}, from {FEWEST} patients on. 80 % power from: the least difference that the unadjusted test of so "
        "many patients would find four times in five. Every measure, and by image, Wilcoxon's p and other effect "
        "sizes: comparisons.csv."
    )
    columns = (
        "measure", "pair", "difference [95 % interval]", "p", "finding", "80 % power from", "d_z", "patients",
    )  # fmt: skip
    return Table(f"Differences on {dataset}", columns, cells, note)


def _main_pairs(evaluation: Evaluation) -> list[tuple[str, str]]:
    """The primary pair first, then each method with bicubic."""
    primary = evaluation.run["primary"]
    first = [(primary["a"], primary["b"])] if primary else []
    return list(dict.fromkeys([*first, *((name, BASELINE) for name in evaluation.methods if name != BASELINE)]))


def evenness_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """Whether a difference holds for every patient: the worst one, how many are worse, and what any one decides."""
    cells = []
    for metric in main_measures(evaluation, dataset):
        facts = evaluation.measures[metric.partition("/")[0]]
        higher = facts["better"] == "higher"
        side, worst = ("below", "least") if higher else ("above", "greatest")
        for pair in _main_pairs(evaluation):
            if (row := either_way(evaluation, dataset, metric, pair)) is None or not row["n"]:
                continue
            compared = int(row["images"] - row["infinite"] - row["missing"])
            cells.append(
                (
                    metric_title(evaluation, metric),
                    f"{row['a']} – {row['b']}",
                    f"{int(row[f'units_{side}'])} of {int(row['n'])}",
                    f"{int(row[f'images_{side}'])} of {compared}",
                    number(row[worst], facts["unit"], signed=True),
                    _range(row["loo_low"], row["loo_high"], facts["unit"]),
                    _weighted_by_image(evaluation, row),
                )
            )
    note = (
        "Patients and images in which the first of the pair is worse than the second; the difference in the patient "
        "where it is worst; the range of the mean difference when any one patient is left out; and the mean over "
        "images instead of patients, with a bootstrap interval of patients, as a check of how much those with many "
        "images weigh."
    )
    columns = (
        "measure", "pair", "patients worse", "images worse", "worst patient", "one patient left out", "by image",
    )  # fmt: skip
    return Table(f"How even the differences are on {dataset}", columns, tuple(cells), note) if cells else None


def _weighted_by_image(evaluation: Evaluation, row: Mapping[Any, Any]) -> str:
    """The mean over images with its interval."""
    value, low, high = (row[f"image_weighted{end}"] for end in ("", "_low", "_high"))
    return " ".join(filter(None, estimate(value, low, high, _unit(evaluation, row["metric"]), signed=True)))


def _range(low: float, high: float, unit: str) -> str:
    """Such as "+0.20 to +0.35"."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return NONE
    digits = decimals(max(abs(low), abs(high)), unit)
    return " to ".join(number(end, unit, signed=True, digits=digits) for end in (low, high))


def difference_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """Every tested measure of every method against bicubic, by patient."""
    rows = evaluation.frame("comparisons", dataset)
    if rows.empty:
        return None
    cells = [
        (
            metric_title(evaluation, metric),
            method,
            *_difference(evaluation, row),
            p_value(row["p_holm"]),
            number(row["d_z"], "dB"),
            str(int(row["n"])),
        )
        for metric in _tidy_names(evaluation)
        for method in evaluation.methods
        if (row := evaluation.compared(dataset, metric, method, BASELINE)) is not None
    ]
    note = "Method minus bicubic, as in the table of the main measures; the rest of each row: comparisons.csv."
    columns = ("measure", "method", "difference", "95 % interval", "p", "d_z", "patients")
    return Table(f"Differences to bicubic in all measures on {dataset}", columns, tuple(cells), note) if cells else None


def _families(rows: pd.DataFrame) -> str:
    """Each family of tests by patient with its number of tests."""
    by_patient = rows[rows["unit"] == "patient"]
    counts = {
        words: int(by_patient.loc[by_patient["family"] == family, "p"].notna().sum())
        for family, words in FAMILIES.items()
        if family != "primary"
    }
    return "; ".join(f"{words}, {counted(count, 'test')}" for words, count in counts.items() if count)


def _tidy_names(evaluation: Evaluation) -> Iterator[str]:
    """The metrics that are listed, in the order of METRICS."""
    for name, facts in evaluation.measures.items():
        if name not in (*UNLISTED, *UNDIRECTED):
            yield from (f"{name}/{part}" for part in facts["parts"]) if facts["parts"] else (name,)


def metric_title(evaluation: Evaluation, metric: str) -> str:
    """A tidy name in words: "Subband PSNR LL3 (dB) ↑"."""
    name, _, part = metric.partition("/")
    facts = evaluation.measures[name]
    unit = f" ({facts['unit']})" if facts["unit"] else ""
    return f"{facts['title']}{' ' + part if part else ''}{unit} {ARROWS[facts['better']]}"


def _unit(evaluation: Evaluation, metric: str) -> str:
    return str(evaluation.measures[metric.split("/")[0]]["unit"])


def _difference(evaluation: Evaluation, row: Mapping[Any, Any]) -> tuple[str, str]:
    """A row's difference and its interval."""
    ends = row["low"], row["high"]
    value, bounds = estimate(row["difference"], *ends, _unit(evaluation, row["metric"]), signed=True)
    return value, bounds or NONE


def pair_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """All pairs of methods in the main measures, by patient; None where there is but one pair."""
    rows = evaluation.frame("comparisons", dataset)
    if rows.empty or len(evaluation.methods) < 3:
        return None
    chosen = rows[rows["metric"].isin(main_measures(evaluation, dataset)) & (rows["unit"] == "patient")]
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
    columns = ("pair", "measure", "difference", "95 % interval", "p", "d_z", "patients")
    note = "First minus second, as in the table of the main measures."
    return Table(f"All pairs of methods on {dataset}", columns, tuple(cells), note) if cells else None


def agreement_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """Bland-Altman bias and limits of mean intensity, by patient."""
    rows = evaluation.frame("agreement", dataset)
    if rows.empty:
        return None
    own = rows[rows["unit"] == "patient"].set_index("a")
    cells = [
        (
            method,
            _with_interval(row["bias"], row["bias_low"], row["bias_high"]),
            _with_interval(row["lower"], row["lower_low"], row["lower_high"]),
            _with_interval(row["upper"], row["upper_low"], row["upper_high"]),
            str(int(row["n"])),
        )
        for method in evaluation.methods
        if method in own.index
        for row in (own.loc[method],)
    ]
    columns = ("method", "bias", "lower limit", "upper limit", "patients")
    note = "Mean SR minus mean HR of a patient's images; limits: bias ± 1.96 sd. In brackets 95 % intervals."
    return Table(f"Agreement of mean intensity on {dataset}, in 1/1000 of the range", columns, tuple(cells), note)


def _with_interval(value: float, low: float, high: float) -> str:
    if not np.isfinite(value):
        return NONE
    return " ".join(
        filter(None, (number(1000 * value, "dB", signed=True), interval(1000 * low, 1000 * high, "dB", signed=True)))
    )


def equivalence_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """Two one-sided tests within the margins that were asked for."""
    rows = evaluation.frame("equivalence", dataset)
    if rows.empty:
        return None
    rows = rows[rows["unit"] == "patient"]
    cells = tuple(
        (
            f"{row['a']} – {row['b']}",
            metric_title(evaluation, row["metric"]),
            f"± {row['margin']:g}",
            *_difference(evaluation, row),
            p_value(row["p"]),
            "equivalent" if row["verdict"] == "equivalent" else "not shown",
        )
        for row in rows.to_dict(orient="records")
    )
    columns = ("pair", "measure", "margin", "difference", "90 % interval", "p", "finding")
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

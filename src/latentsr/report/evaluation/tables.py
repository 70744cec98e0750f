"""The tables of an evaluation's report."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from latentsr.names import BICUBIC, HR, LR_PSNR, SHARPNESS
from latentsr.report.evaluation.data import Evaluation
from latentsr.report.evaluation.verdict import FINDINGS, WHOLE, either_way, equivalence_rows, told_pairs, unlike_hr
from latentsr.report.page import Table
from latentsr.report.text import NONE, counted, decimals, estimate, interval, number, p_value
from latentsr.stats.paired import rate_effects
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
    "main measures": "main measures",
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
    rows = _main_rows(evaluation, dataset)
    cells = tuple(
        (
            metric_title(evaluation, row["metric"]),
            f"{row['a']} – {row['b']}",
            " ".join(_difference(evaluation, row)),
            p_value(row["p_holm"]),
            FINDINGS[judge(row, evaluation.measures[row["metric"].partition("/")[0]]["better"])],
            number(row["detectable"], _unit(evaluation, row["metric"]), digits=_digits(evaluation, row)),
            number(row["d_z"], "dB"),
            str(int(row["n"])),
        )
        for row in rows
    )
    note = (
        f"Mean of the patients' differences, Student's test of it, p adjusted (Holm) within families fixed before any "
        f"data. Bold: the primary comparison, which stands alone. Finding: p below {LEVEL:g}, from "
        f"{FEWEST} patients on. 80 % power from: the least difference that so many patients would show four times in "
        "five, unadjusted. Every measure, by image too, with Wilcoxon's p: comparisons.csv."
    )
    columns = (
        "measure", "pair", "difference [95 % interval]", "p", "finding", "80 % power from", "d_z", "patients",
    )  # fmt: skip
    strong = frozenset((place, 1) for place, row in enumerate(rows) if row["family"] == "primary")
    return Table(f"Differences on {dataset}", columns, cells, note, strong) if cells else None


def _main_rows(evaluation: Evaluation, dataset: str) -> list[Mapping[str, Any]]:
    """The comparisons in the main measures, if any: of the primary pair first, then of each method with bicubic."""
    primary = evaluation.run["primary"]
    first = [(primary["a"], primary["b"])] if primary else []
    pairs = dict.fromkeys([*first, *((name, BICUBIC) for name in evaluation.methods if name != BICUBIC)])
    if primary and primary["a"] == BICUBIC:
        pairs.pop((primary["b"], BICUBIC))
    measures = main_measures(evaluation, dataset)
    found = [either_way(evaluation, dataset, metric, pair) for metric in measures for pair in pairs]
    return [row for row in found if row is not None and row["n"]]


def evenness_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """Whether a difference holds for every patient: the worst one, how many are worse, and what any one decides."""
    cells = []
    for row in _main_rows(evaluation, dataset):
        facts = evaluation.measures[row["metric"].partition("/")[0]]
        side, worst = ("below", "least") if facts["better"] == "higher" else ("above", "greatest")
        compared = int(row["images"] - row["infinite"] - row["missing"])
        digits = _digits(evaluation, row)
        ends = [number(row[end], facts["unit"], signed=True, digits=digits) for end in ("loo_low", "loo_high")]
        # The mean over images with its interval.
        value, low, high = (row[f"image_weighted{end}"] for end in ("", "_low", "_high"))
        weighted_by_image = " ".join(
            filter(None, estimate(value, low, high, _unit(evaluation, row["metric"]), signed=True))
        )
        cells.append(
            (
                metric_title(evaluation, row["metric"]),
                f"{row['a']} – {row['b']}",
                f"{int(row[f'units_{side}'])}/{int(row['n'])}",
                f"{int(row[f'images_{side}'])}/{compared}",
                number(row[worst], facts["unit"], signed=True, digits=digits),
                NONE if NONE in ends else " to ".join(ends),
                weighted_by_image,
            )
        )
    note = (
        "Worse: of how many patients and images the first of the pair is worse than the second. Worst patient: the "
        "difference there. One patient left out: the range of the mean difference then. Mean over images: with an "
        "interval by a bootstrap of patients, to compare with the mean over patients, which all findings are of."
    )
    columns = (
        "measure", "pair", "patients worse", "images worse", "worst patient", "one patient left out",
        "mean over images",
    )  # fmt: skip
    return Table(f"How even the differences are on {dataset}", columns, tuple(cells), note) if cells else None


def _digits(evaluation: Evaluation, row: Mapping[str, Any]) -> int:
    """How many decimals all numbers of a row have: those of its difference and interval."""
    known = [abs(row[name]) for name in ("difference", "low", "high") if np.isfinite(row[name])]
    return decimals(max(known, default=0.0), _unit(evaluation, row["metric"]))


def difference_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """Every tested measure of every method against bicubic, by patient."""
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
        if (row := either_way(evaluation, dataset, metric, (method, BICUBIC))) is not None
    ]
    note = "Method minus bicubic, as in the table of the main measures; the rest of each row: comparisons.csv."
    columns = ("measure", "method", "difference", "95 % interval", "p", "d_z", "patients")
    return Table(f"Differences to bicubic in all measures on {dataset}", columns, tuple(cells), note) if cells else None


def families_text(evaluation: Evaluation) -> str:
    """The families of tests by patient with their numbers of tests; nothing where there is no test."""
    told = []
    for dataset in evaluation.datasets:
        if len(rows := evaluation.frame("comparisons", dataset)):
            tested = rows[(rows["unit"] == "patient") & rows["p"].notna()]["family"].value_counts().to_dict()
            counts = [f"{words}, {counted(tested[name], 'test')}" for name, words in FAMILIES.items() if name in tested]
            told += [f"on {dataset}: {'; '.join(counts)}"] if counts else []
    return f"Families of tests, adjusted by Holm each, {'. '.join(told)}." if told else ""


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
    if len(evaluation.methods) < 3:
        return None
    cells = [
        (
            metric_title(evaluation, metric),
            f"{row['a']} – {row['b']}",
            *_difference(evaluation, row),
            p_value(row["p_holm"]),
            number(row["d_z"], "dB"),
            str(int(row["n"])),
        )
        for metric in main_measures(evaluation, dataset)
        for pair in told_pairs(evaluation)
        if (row := either_way(evaluation, dataset, metric, pair)) is not None
    ]
    columns = ("measure", "pair", "difference", "95 % interval", "p", "d_z", "patients")
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
    cells = tuple(
        (
            metric_title(evaluation, row["metric"]),
            f"{row['a']} – {row['b']}",
            f"± {row['margin']:g}",
            *_difference(evaluation, row),
            p_value(row["p"]),
            str(row["verdict"]),
        )
        for row in equivalence_rows(evaluation, dataset)
    )
    columns = ("measure", "pair", "margin", "difference", "90 % interval", "p", "finding")
    note = (
        "Equivalent: the 90 % interval lies within the margin (two one-sided t tests at 5 %, not adjusted), from "
        f"{FEWEST} patients on."
    )
    return Table(f"Equivalence within a margin on {dataset}", columns, cells, note) if cells else None


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
            *(f"{wide.loc[method, f'{name}/{sigma}']:.2%}".replace("%", " %") for name in shares),
            *(number(effects.get((method, f"{name}/{sigma}")), "dB", signed=True) for name in shares),
            *(number(wide.loc[method, f"{name}/{sigma}"]) for name in magnitudes),
        )
        for method in evaluation.methods
        for sigma in evaluation.measures[there[0]]["parts"]
    ]
    columns = (
        "method, threshold", *shares, *(f"h {name}" for name in shares), *(MAGNITUDES[name] for name in magnitudes),
    )  # fmt: skip
    note = (
        "At k sigma a pixel counts beyond mean + k sd of the reference autoencoder's absolute error on the same image. "
        "h: Cohen's h of the share against bicubic's, below 0 where it is less; 0.2 is small, 0.5 medium, 0.8 large. "
        "Mean excess and deficit: over those pixels, of a range of 1."
    )
    return Table(f"Hallucinated and lost pixels on {dataset}", columns, tuple(cells), note)


def _rate_effects(evaluation: Evaluation, dataset: str) -> dict[tuple[str, str], float]:
    """Cohen's h of each share, by method and tidy name, against bicubic's."""
    rows = evaluation.frame("comparisons", dataset)
    if rows.empty:
        return {}
    chosen = rows[(rows["b"] == BICUBIC) & (rows["unit"] == "patient")]
    shares = [name for name in chosen["metric"].unique() if name.partition("/")[0] in SHARES]
    found = rate_effects(chosen, shares)
    return dict(zip(zip(found["a"], found["metric"], strict=True), found["h"], strict=True))


CHARACTER = {  # of run.json's character: what heads the column, and its decimals
    "shift/length": ("shift (px)", 2),
    "blur": ("blur (px)", 2),
    "contrast": ("contrast / HR's", 3),
    "intensity_bias": ("bias", 4),
    "noise": ("noise", 4),
    "laplacian_variance": ("sharpness / HR's", 2),
    "blockiness": ("blockiness / HR's", 2),
    "detail_frc": ("FRC beyond LR", 2),
    "lr_psnr": ("LR PSNR (dB)", 1),
}


def character_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """What kind of images each method gives: place, blur, contrast, mean, noise, detail; None if none was measured."""
    rows = [row for row in evaluation.run["character"] if row["dataset"] == dataset]
    shown = {name: head for name, head in CHARACTER.items() if any(name in row["values"] for row in rows)}
    cells = tuple(
        (row["method"], *(number(row["values"].get(name), digits=digits) for name, (_, digits) in shown.items()))
        for row in rows
    )
    note = (
        "Means over patients. Blur: sigma of the Gaussian that would make HR's spectrum into the method's; negative "
        "where it is the sharper. Bias and noise (sd) as a share of the range. FRC beyond LR: Fourier ring correlation "
        "with HR of the detail that LR does not hold: 1 for detail that is HR's, 0 for detail that is not."
    )
    columns = ("method", *(head for head, _ in shown.values()))
    return Table(f"What kind of images these are on {dataset}", columns, cells, note) if shown else None


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


# Drawn by band, or in a table of their own with what has to be said of them.
ELSEWHERE = ("subband_psnr", "radial_spectrum", *SHARES, *MAGNITUDES, *UNDIRECTED)
SEEDS = " In brackets, of a method of several seeds: ± sd over its seeds."
TINY = 0.001  # values below are shown in thousandths
MEANS_NOTE = (
    "Mean ± sd over patients, HR's own where a measure needs the image alone; images with an infinite value (identical "
    "to HR) are left out and counted (+n identical). All of these with 95 % intervals, and all bands and thresholds, "
    "stand in summary.csv. ↑ more is better, ↓ less is better, → HR nearest to HR's."
)


def mean_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """A row a measure of the whole image or scale of latents, a column a method, HR last; None without any value."""
    columns = (*evaluation.methods, HR)
    cells = {
        metric: tuple(mean_cell(evaluation, dataset, metric, name) for name in columns)
        for metric in _mean_names(evaluation)
    }
    rows = tuple((metric_title(evaluation, metric), *row) for metric, row in cells.items() if set(row) != {NONE})
    heads = ("measure", *evaluation.methods, "HR")
    note = MEANS_NOTE + (SEEDS if "seeds" in evaluation.frames else "")
    return Table(f"Means of all measures on {dataset}", heads, rows, note) if rows else None


def _mean_names(evaluation: Evaluation) -> Iterator[str]:
    """Those whose means are told nowhere else with their sd, in the order of METRICS."""
    for name, facts in evaluation.measures.items():
        if name not in ELSEWHERE:
            yield from (f"{name}/{part}" for part in facts["parts"]) if facts["parts"] else (name,)


def mean_cell(evaluation: Evaluation, dataset: str, metric: str, method: str) -> str:
    """Such as "31.50 ± 2.10 (+1 identical)"; "identical" where all images are, a dash for no value.

    The sd over its seeds follows that over patients where a method has several: "31.50 ± 2.10 (± 0.04)".
    """
    rows = evaluation.summary(dataset, metric)
    if method not in rows.index:
        return NONE
    row, unit = rows.loc[method], evaluation.measures[metric.partition("/")[0]]["unit"]
    if not np.isfinite(row["mean"]):
        return "identical" if row["infinite"] else NONE
    mean, sd = row["mean"], row["sd"]
    apart = f" (+{int(row['infinite'])} identical)" if row["infinite"] else ""
    if not np.isfinite(sd):
        return f"{number(mean, unit)}{apart}"
    over_seeds, tiny = evaluation.seed_sd(dataset, metric, method), 0 < max(abs(mean), sd) < TINY
    factor, digits = (1000, None) if tiny else (1, decimals(max(abs(mean), sd), unit))
    more = None if digits is None else digits + 1  # seeds differ by less than patients
    seeds = f" (± {number(factor * over_seeds, digits=more)})" if np.isfinite(over_seeds) else ""
    shown = f"{number(factor * mean, digits=digits)} ± {number(factor * sd, digits=digits)}{seeds}"
    return f"({shown}) / 1000{apart}" if tiny else f"{shown}{apart}"


HEADLINE = ("psnr", "ms_ssim", "haarpsi", "gmsd", "lpips", "dists", SHARPNESS, LR_PSNR)
MOST = 100  # dB of LR PSNR, beyond which floating point alone is measured
HEADLINE_NOTE = (
    "Mean ± sd over patients, each the mean of its images; images identical to HR are left out and counted "
    "(+n identical). ↑ more is better, ↓ less. Sharpness: Laplacian variance in % of HR's, best near 100 %. LR PSNR, "
    "before clamping and rounding: a limit to hold, nothing to win. Bold: the best of a dataset as printed, unless all "
    "print alike; without what is HR itself or made from it, and in sharpness without what is sharper than HR or has "
    "fine detail further from HR's than bicubic's (sliced Wasserstein). The next section tells what can be relied on."
)


def headline_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """A row a method, a column a measure; None where none of them was measured."""
    names = [name for name in HEADLINE if not evaluation.summary(dataset, name).empty]
    if not names:
        return None
    facts = [evaluation.measures[name] for name in names]
    methods = evaluation.methods
    rows = tuple((method, *(_cell(evaluation, dataset, name, method) for name in names)) for method in methods)
    columns = ("method", *(f"{_titled(one)} {ARROWS[one['better']]}" for one in facts))
    note = HEADLINE_NOTE + (SEEDS if "seeds" in evaluation.frames else "")
    return Table(f"The methods on {dataset}", columns, rows, note, frozenset(_strong(evaluation, dataset, names)))


def _titled(facts: Mapping[str, Any]) -> str:
    if facts["name"] == SHARPNESS:
        return "Sharpness"
    return f"{facts['title']} ({facts['unit']})" if facts["unit"] else str(facts["title"])


def _cell(evaluation: Evaluation, dataset: str, metric: str, method: str) -> str:
    rows = evaluation.summary(dataset, metric)
    if method in rows.index and np.isfinite((row := rows.loc[method])["mean"]):
        if metric == LR_PSNR and row["mean"] > MOST:
            return f"> {MOST}"
        if metric == SHARPNESS and np.isfinite(row["ratio_to_hr"]):
            return f"{100 * row['ratio_to_hr']:.0f} %"
    return mean_cell(evaluation, dataset, metric, method)


def _strong(evaluation: Evaluation, dataset: str, names: Sequence[str]) -> Iterator[tuple[int, int]]:
    """The cells to set in bold, by the one rule that the note states."""
    for column, metric in enumerate(names, start=1):
        behind = {} if metric == LR_PSNR else _behind(evaluation, dataset, metric)
        if len(set(behind.values())) > 1:
            least = min(behind.values())
            yield from ((row, column) for row, value in behind.items() if value == least)


def _behind(evaluation: Evaluation, dataset: str, metric: str) -> dict[int, float]:
    """How far each method is from the best there could be, up to a constant, as printed; by its row."""
    rows, facts = evaluation.summary(dataset, metric), evaluation.measures[metric]
    column = "ratio_to_hr" if facts["better"] == "closer" else "mean"
    values = rows[column].drop([*evaluation.truths(dataset), HR], errors="ignore").dropna()
    if metric == SHARPNESS:
        values = values[(100 * values).round() <= WHOLE].drop(list(unlike_hr(evaluation, dataset)), errors="ignore")
    found = {}
    for method, value in values.items():
        if facts["better"] == "closer":
            behind = abs(round(100 * value) - 100)
        else:
            behind = float(number(value, facts["unit"])) * (-1 if facts["better"] == "higher" else 1)
        found[evaluation.methods.index(str(method))] = behind
    return found

"""The tables of an evaluation's report."""

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np

from latentsr.names import BICUBIC, HR, LR_PSNR, SHARES, SHARPNESS
from latentsr.report.blocks import Columns, Table, tabulate
from latentsr.report.evaluation.data import Evaluation, Row
from latentsr.report.evaluation.verdict import FINDINGS, WHOLE, unlike_hr
from latentsr.report.text import NONE, counted, decimals, estimate, number, p_value
from latentsr.stats.significance import FEWEST, LEVEL, judge

ARROWS = {"higher": "↑", "lower": "↓", "closer": "→ HR"}
BETTER = {"higher": "more", "lower": "less", "closer": "as HR"}
# What is added beyond the mean, and the noise floor of what is counted: neither more nor less is better.
ADDED = ("null_space", "null_space_share", "noise_floor")
UNDIRECTED = (*ADDED, "coverage", "roi_coverage", "half_width")  # coverage above what was promised costs width
# Drawn by band, or in the table of means by scale; so many rows of differences stand in comparisons.csv alone.
UNLISTED = ("radial_spectrum", "subband_psnr", "latent_cosine", "latent_mse", "latent_psnr")
MAGNITUDES = {"hallucinated_magnitude": "mean excess", "lost_magnitude": "mean deficit"}  # with their columns' heads
FAMILIES = {  # of evaluation/tables.py, in words
    "main measures": "main measures",
    "whole image": "other measures of the whole image",
    "parts": "bands, scales and thresholds",
}


SET_TITLES = {"swd": "Sliced Wasserstein (x 1000)", "fid": "FID", "kid": "KID"}  # measures of whole sets


def metric_title(evaluation: Evaluation, metric: str) -> str:
    """A tidy name in words: "Subband PSNR LL3 (dB) ↑"; FID and KID name the features that they are of."""
    name, _, part = metric.partition("/")
    if name in SET_TITLES:
        features = "" if name == "swd" else f" ({evaluation.run['features']})"
        return f"level {part}" if part else f"{SET_TITLES[name]}{features}"
    facts = evaluation.measure(metric)
    unit = f" ({facts['unit']})" if facts["unit"] else ""
    return f"{evaluation.title(metric)}{unit} {ARROWS[facts['better']]}"


def unit_of(evaluation: Evaluation, metric: str) -> str:
    """The unit by which decimals are chosen: sliced Wasserstein, in thousandths, has two as dB have."""
    name = metric.partition("/")[0]
    if name in SET_TITLES:
        return "dB" if name == "swd" else ""
    return str(evaluation.measures[name]["unit"])


def comparison_table(
    evaluation: Evaluation, title: str, heads: Sequence[str], rows: Iterable[Row], note: str,
    strong: Iterable[tuple[int, int]] = (), own: Columns | None = None,
) -> Table | None:  # fmt: skip
    """The table of comparisons of pairs of methods, None without rows.

    Its columns are `heads`, of those that such tables share and those of this table alone, `own`.
    """

    def difference(row: Row) -> list[str]:
        unit = unit_of(evaluation, row["metric"])
        value, _, ends = estimate(row["difference"], row["low"], row["high"], unit, signed=True).partition(" ")
        return [value, ends or NONE]

    columns: Columns = {
        "measure": lambda row: metric_title(evaluation, row["metric"]),
        "pair": lambda row: f"{row['a']} – {row['b']}",
        "difference [95 % interval]": lambda row: " ".join(difference(row)),
        "difference": lambda row: difference(row)[0],
        "95 % interval": lambda row: difference(row)[1],
        "90 % interval": lambda row: difference(row)[1],
        "p": lambda row: p_value(row["p_holm"]),
        "d_z": lambda row: number(row["d_z"], "dB"),
        "patients": lambda row: str(int(row["n"])),
        **(own or {}),
    }
    return tabulate(title, {head: columns[head] for head in heads}, rows, note, strong)


AS_PUBLISHED = (
    "As the study arXiv 2604.12152 scores and compares, to set beside its printed values; this report rests on none of "
    "it. Images count as independent patients, intervals are of two means resampled apart though the images are "
    "paired, d has the pooled sd, and p is one-sided (first above second). Self-referential scores are against "
    "decode(encode(HR)), which hides what the autoencoder loses; truncated ones are of images saved as floor(255 x)."
)


def published_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """The comparisons of the published protocol; None where it was not asked for."""
    columns: Columns = {
        "measure": lambda row: metric_title(evaluation, row["metric"]),
        "pair": lambda row: f"{row['a']} – {row['b']}",
        "means": lambda row: " / ".join(number(row[side], "dB") for side in ("mean_a", "mean_b")),
        "difference [95 % interval]": lambda row: estimate(
            row["difference"], row["low"], row["high"], unit_of(evaluation, row["metric"]), signed=True
        ),
        "d": lambda row: number(row["d"], "dB"),
        "p, one-sided": lambda row: f"{row['p_greater']:.2g}",
        "images": lambda row: str(int(row["n"])),
    }
    rows = evaluation.frame("published", dataset).to_dict(orient="records")
    return tabulate(f"As published on {dataset}", columns, rows, AS_PUBLISHED)


def cost_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """What it took to restore an image, by method; None where all images are files."""
    rows = evaluation.frame("cost", dataset).dropna(subset="seconds").to_dict(orient="records")
    if not rows:
        return None
    columns: Columns = {
        "method": lambda row: row["method"],
        "network evaluations": lambda row: str(row["evaluations"]),
        "seconds": lambda row: f"{row['seconds']:.3g}",
    }
    first = rows[0]
    note = (
        "Of one image; evaluations are of each of its tiles, where it takes several. Seconds are wall time, the median "
        f"over batches, on {first['device']} with {counted(first['threads'], 'thread')}, "
        f"{counted(first['batch'], 'image')} at a time, whatever else the machine did meanwhile: they compare "
        "these methods roughly, and nothing across machines or runs."
    )
    return tabulate(f"Cost of an image on {dataset}", columns, rows, note)


def main_measures(evaluation: Evaluation, dataset: str) -> list[str]:
    """The measures that are tested first, the primary one among them, in the order of METRICS."""
    rows = evaluation.frame("comparisons", dataset)
    chosen = set() if rows.empty else set(rows.loc[rows["family"].isin(("primary", "main measures")), "metric"])
    return [name for name in evaluation.metrics((*UNLISTED, *UNDIRECTED)) if name in chosen]


def _main_rows(evaluation: Evaluation, dataset: str) -> list[Row]:
    """The comparisons in the main measures, if any: of the primary pair first, then of each method with bicubic."""
    primary = evaluation.run["primary"]
    first = [(primary["a"], primary["b"])] if primary else []
    pairs = dict.fromkeys([*first, *(pair for pair in evaluation.pairs if BICUBIC in pair)])
    return [row for row in evaluation.comparisons(dataset, main_measures(evaluation, dataset), pairs) if row["n"]]


def _digits(evaluation: Evaluation, row: Row) -> int:
    """How many decimals all numbers of a row have: those of its difference and interval."""
    known = [abs(row[name]) for name in ("difference", "low", "high") if np.isfinite(row[name])]
    return decimals(max(known, default=0.0), unit_of(evaluation, row["metric"]))


def main_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """The main measures: each method against bicubic, and the primary comparison where it is another; by patient."""
    rows = _main_rows(evaluation, dataset)
    own: Columns = {
        "finding": lambda row: FINDINGS[judge(row, evaluation.measure(row["metric"])["better"])],
        "80 % power from": lambda row: number(
            row["detectable"], unit_of(evaluation, row["metric"]), digits=_digits(evaluation, row)
        ),
    }
    note = (
        f"Mean of the patients' differences, Student's test of it, p adjusted (Holm) within families fixed before any "
        f"data. Bold: the primary comparison, which stands alone. Finding: p below {LEVEL:g}, from "
        f"{FEWEST} patients on. 80 % power from: the least difference that so many patients would show four times in "
        "five, unadjusted. Every measure, by image too, with Wilcoxon's p: comparisons.csv."
    )
    heads = (
        "measure", "pair", "difference [95 % interval]", "p", "finding", "80 % power from", "d_z", "patients",
    )  # fmt: skip
    strong = [(place, 1) for place, row in enumerate(rows) if row["family"] == "primary"]
    return comparison_table(evaluation, f"Differences on {dataset}", heads, rows, note, strong, own=own)


def evenness_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """Whether a difference holds for every patient: the worst one, how many are worse, and what any one decides."""

    def more_is_better(row: Row) -> bool:
        return bool(evaluation.measure(row["metric"])["better"] == "higher")

    def worse(row: Row, of: str, compared: float) -> str:
        return f"{int(row[f'{of}_below' if more_is_better(row) else f'{of}_above'])}/{int(compared)}"

    def shown(row: Row, value: float) -> str:
        return number(value, unit_of(evaluation, row["metric"]), signed=True, digits=_digits(evaluation, row))

    def without_one(row: Row) -> str:
        ends = [shown(row, row[end]) for end in ("loo_low", "loo_high")]
        return NONE if NONE in ends else " to ".join(ends)

    def by_image(row: Row) -> str:
        value, low, high = (row[f"image_weighted{end}"] for end in ("", "_low", "_high"))
        return estimate(value, low, high, unit_of(evaluation, row["metric"]), signed=True)

    own: Columns = {
        "patients worse": lambda row: worse(row, "units", row["n"]),
        "images worse": lambda row: worse(row, "images", row["images"] - row["infinite"] - row["missing"]),
        "worst patient": lambda row: shown(row, row["least" if more_is_better(row) else "greatest"]),
        "one patient left out": without_one,
        "mean over images": by_image,
    }
    note = (
        "Worse: of how many patients and images the first of the pair is worse than the second. Worst patient: the "
        "difference there. One patient left out: the range of the mean difference then. Mean over images: with an "
        "interval by a bootstrap of patients, to compare with the mean over patients, which all findings are of."
    )
    title, rows = f"How even the differences are on {dataset}", _main_rows(evaluation, dataset)
    return comparison_table(evaluation, title, ("measure", "pair", *own), rows, note, own=own)


def difference_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """Every tested measure of every method against bicubic, by patient."""
    pairs = [(method, BICUBIC) for method in evaluation.methods]
    rows = evaluation.comparisons(dataset, evaluation.metrics((*UNLISTED, *UNDIRECTED)), pairs)
    title = f"Differences to bicubic in all measures on {dataset}"
    note = "Method minus bicubic, as in the table of the main measures; the rest of each row: comparisons.csv."
    heads = ("measure", "method", "difference", "95 % interval", "p", "d_z", "patients")
    return comparison_table(evaluation, title, heads, rows, note, own={"method": lambda row: row["a"]})


def pair_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """All pairs of methods in the main measures, by patient; None where there is but one pair."""
    if len(evaluation.methods) < 3:
        return None
    rows = evaluation.comparisons(dataset, main_measures(evaluation, dataset), evaluation.pairs)
    heads = ("measure", "pair", "difference", "95 % interval", "p", "d_z", "patients")
    note = "First minus second, as in the table of the main measures."
    return comparison_table(evaluation, f"All pairs of methods on {dataset}", heads, rows, note)


def equivalence_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """Two one-sided tests within the margins that were asked for."""
    own: Columns = {
        "margin": lambda row: f"± {row['margin']:g}",
        "p": lambda row: p_value(row["p"]),
        "finding": lambda row: str(row["verdict"]),
    }
    heads = ("measure", "pair", "margin", "difference", "90 % interval", "p", "finding")
    note = (
        "Equivalent: the 90 % interval lies within the margin (two one-sided t tests at 5 %, not adjusted), from "
        f"{FEWEST} patients on."
    )
    title, rows = f"Equivalence within a margin on {dataset}", evaluation.equivalence(dataset)
    return comparison_table(evaluation, title, heads, rows, note, own=own)


def families_text(evaluation: Evaluation) -> str:
    """The families of tests by patient with their numbers of tests; nothing where there is no test."""
    families = []
    for dataset in evaluation.datasets:
        if len(rows := evaluation.frame("comparisons", dataset)):
            tested = rows[(rows["unit"] == "patient") & rows["p"].notna()]["family"].value_counts().to_dict()
            counts = [f"{words}, {counted(tested[name], 'test')}" for name, words in FAMILIES.items() if name in tested]
            families += [f"on {dataset}: {'; '.join(counts)}"] if counts else []
    return f"Families of tests, adjusted by Holm each, {'. '.join(families)}." if families else ""


def agreement_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """Bland-Altman bias and limits of mean intensity, by patient."""
    rows = evaluation.frame("agreement", dataset)
    if rows.empty:
        return None

    def shown(row: Row, name: str) -> str:
        value, low, high = (1000 * row[f"{name}{end}"] for end in ("", "_low", "_high"))
        return estimate(value, low, high, "dB", signed=True)

    own = rows[rows["unit"] == "patient"].set_index("a", drop=False)
    columns: Columns = {
        "method": lambda row: row["a"],
        "bias": lambda row: shown(row, "bias"),
        "lower limit": lambda row: shown(row, "lower"),
        "upper limit": lambda row: shown(row, "upper"),
        "patients": lambda row: str(int(row["n"])),
    }
    note = "Mean SR minus mean HR of a patient's images; limits: bias ± 1.96 sd. In brackets 95 % intervals."
    title = f"Agreement of mean intensity on {dataset}, in 1/1000 of the range"
    return tabulate(title, columns, [own.loc[name] for name in evaluation.methods if name in own.index], note)


def rate_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """Hallucinated and lost shares and magnitudes at 1, 2 and 3 sigma, those that were measured; None without any."""
    shares, magnitudes = (evaluation.measured(dataset, tuple(names), "/2sigma") for names in (SHARES, MAGNITUDES))
    if not shares + magnitudes:
        return None
    means = evaluation.frame("summary", dataset).set_index(["method", "metric"])["mean"]

    def h(method: str, metric: str) -> float | None:
        row = evaluation.compared(dataset, metric, method, BICUBIC)
        return None if row is None else row["h"]

    cells = tuple(
        (
            f"{method}, {sigma.replace('sigma', ' sigma')}",
            *(f"{100 * means[method, f'{name}/{sigma}']:.2f} %" for name in shares),
            *(number(h(method, f"{name}/{sigma}"), "dB", signed=True) for name in shares),
            *(number(means[method, f"{name}/{sigma}"]) for name in magnitudes),
        )
        for method in evaluation.methods
        for sigma in evaluation.measures[(shares + magnitudes)[0]]["parts"]
    )
    heads = (
        "method, threshold",
        *shares,
        *(f"h {name}" for name in shares),
        *(MAGNITUDES[name] for name in magnitudes),
    )
    note = (
        "At k sigma a pixel counts beyond mean + k sd of the reference autoencoder's absolute error on the same image. "
        "h: Cohen's h of the share against bicubic's, below 0 where it is less; 0.2 is small, 0.5 medium, 0.8 large. "
        "Mean excess and deficit: over those pixels, of a range of 1."
    )
    return Table(f"Hallucinated and lost pixels on {dataset}", heads, cells, note)


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
    names = evaluation.measured(dataset, ADDED)
    means = {str(evaluation.measures[name]["title"]): evaluation.summary(dataset, name)["mean"] for name in names}
    methods = [name for name in evaluation.methods if any(np.isfinite(one.get(name, np.nan)) for one in means.values())]
    cells = tuple((method, *(number(one.get(method)) for one in means.values())) for method in methods)
    note = (
        f"Part: root mean square of what SR adds to the mean ({evaluation.run['mean']}) and LR does not determine; "
        "share: its energy in all that SR adds, 1 where nothing contradicts LR. Neither more nor less is better: not "
        "tested."
    )
    return Table(f"What is added beyond the mean on {dataset}", ("method", *means), cells, note) if cells else None


def coverage_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """How often the truth lies within calibrated intervals, and where; None where no method has any."""
    guarantees = {one["name"]: one["calibration"] for one in evaluation.run["methods"] if one.get("calibration")}
    names = [name for name in evaluation.methods if name in guarantees]

    def mean(name: str, metric: str, column: str = "mean") -> float:
        return float(evaluation.summary(dataset, metric)[column].get(name, np.nan))

    def overall(name: str, metric: str = "coverage/all") -> str:
        value, low, high = (mean(name, metric, column) for column in ("mean", "mean_low", "mean_high"))
        return estimate(value, low, high)

    def quarters(name: str, by: str) -> str:
        return " / ".join(number(mean(name, f"coverage/{by}{quarter}"), digits=3) for quarter in range(1, 5))

    regions = evaluation.measured(dataset, ("roi_coverage",))
    columns: Columns = {
        "method": str,
        "promised": lambda name: f"{1 - guarantees[name]['alpha']:g}",
        "patients of the calibration": lambda name: str(guarantees[name]["patients"]),
        "coverage [95 % interval]": overall,
        **({"in the region": lambda name: overall(name, "roi_coverage")} if regions else {}),
        "by width": lambda name: quarters(name, "width"),
        "by intensity": lambda name: quarters(name, "intensity"),
        "half-width": lambda name: number(mean(name, "half_width"), digits=4),
    }
    note = (
        "Share of pixels whose HR lies within SR ± half-width, the mean over patients. Promised is the mean over draws "
        "of patients like those of the calibration, in all pixels together; in the region of a mask and by quarters of "
        "each image's pixels, from narrow to wide and from dark to bright, nothing is promised. Half-width: mean, as a "
        "share of the range."
    )
    measured = evaluation.measured(dataset, ("coverage",), "/all")
    return tabulate(f"Coverage of intervals on {dataset}", columns, names if measured else [], note)


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
    """One row per measure of the whole image or scale of latents, one column per method, HR last; None if empty."""
    cells = {
        metric: tuple(mean_cell(evaluation, dataset, metric, name) for name in (*evaluation.methods, HR))
        for metric in evaluation.metrics(ELSEWHERE)
    }
    rows = tuple((metric_title(evaluation, metric), *row) for metric, row in cells.items() if set(row) != {NONE})
    heads = ("measure", *evaluation.methods, "HR")
    note = MEANS_NOTE + (SEEDS if "seeds" in evaluation.frames else "")
    return Table(f"Means of all measures on {dataset}", heads, rows, note) if rows else None


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
    """One row per method, one column per measure; None where none of them was measured."""
    names = evaluation.measured(dataset, HEADLINE)
    heads = [f"Sharpness {ARROWS['closer']}" if name == SHARPNESS else metric_title(evaluation, name) for name in names]

    def cell(metric: str, method: str) -> str:
        rows = evaluation.summary(dataset, metric)
        if method in rows.index and np.isfinite((row := rows.loc[method])["mean"]):
            if metric == LR_PSNR and row["mean"] > MOST:
                return f"> {MOST}"
            if metric == SHARPNESS and np.isfinite(row["ratio_to_hr"]):
                return f"{100 * row['ratio_to_hr']:.0f} %"
        return mean_cell(evaluation, dataset, metric, method)

    cells = {head: partial(cell, name) for head, name in zip(heads, names, strict=True)}
    # In bold the best of a column, by the one rule that the note states.
    strong = []
    for column, metric in enumerate(names, start=1):
        behind = {} if metric == LR_PSNR else _behind(evaluation, dataset, metric)
        if len(set(behind.values())) > 1:
            least = min(behind.values())
            strong += [(row, column) for row, value in behind.items() if value == least]
    note = HEADLINE_NOTE + (SEEDS if "seeds" in evaluation.frames else "")
    rows = evaluation.methods if names else []
    return tabulate(f"The methods on {dataset}", {"method": str, **cells}, rows, note, strong)


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

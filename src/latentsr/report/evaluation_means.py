"""The means of an evaluation's report: a cell of them, and the table that holds those of all measures."""

from collections.abc import Iterator

import numpy as np

from latentsr.report.evaluation_data import HR, Evaluation
from latentsr.report.evaluation_tables import MAGNITUDES, SHARES, UNDIRECTED, metric_title
from latentsr.report.numbers import NONE, decimals, number
from latentsr.report.page import Table

# Drawn by band, or in a table of their own with what has to be said of them.
ELSEWHERE = ("subband_psnr", "radial_spectrum", *SHARES, *MAGNITUDES, *UNDIRECTED)
SEEDS = " In brackets, of a method of several seeds: ± sd over its seeds."
TINY = 0.001  # values below are shown in thousandths
NOTE = (
    "Mean ± sd over patients, HR's own where a measure needs the image alone; images with an infinite value (identical "
    "to HR) are left out and counted (+n identical). All of these with 95 % intervals, and all bands and thresholds, "
    "stand in summary.csv. ↑ more is better, ↓ less is better, → HR nearest to HR's."
)


def mean_table(evaluation: Evaluation, dataset: str) -> Table | None:
    """A row a measure of the whole image or scale of latents, a column a method, HR last; None without any value."""
    columns = (*evaluation.methods, HR)
    cells = {
        metric: tuple(mean_cell(evaluation, dataset, metric, name) for name in columns)
        for metric in _tidy_names(evaluation)
    }
    rows = tuple((metric_title(evaluation, metric), *row) for metric, row in cells.items() if set(row) != {NONE})
    heads = ("measure", *evaluation.methods, "HR")
    note = NOTE + (SEEDS if "seeds" in evaluation.frames else "")
    return Table(f"Means of all measures on {dataset}", heads, rows, note) if rows else None


def _tidy_names(evaluation: Evaluation) -> Iterator[str]:
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
    if 0 < max(abs(mean), sd) < TINY:
        return f"({number(1000 * mean)} ± {number(1000 * sd)}) / 1000{apart}"
    digits = decimals(max(abs(mean), sd), unit)
    if np.isfinite(over_seeds := evaluation.seed_sd(dataset, metric, method)):
        apart = f" (± {number(over_seeds, digits=digits + 1)}){apart}"  # seeds differ by less than patients
    return f"{number(mean, digits=digits)} ± {number(sd, digits=digits)}{apart}"

"""The first table of an evaluation's report: the measures that most are asked about, the best of each in bold."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from latentsr.report.evaluation_answer import WHOLE, unlike_hr
from latentsr.report.evaluation_data import HR, LR_PSNR, SHARPNESS, Evaluation
from latentsr.report.evaluation_means import SEEDS, mean_cell
from latentsr.report.evaluation_tables import ARROWS
from latentsr.report.numbers import number
from latentsr.report.page import Table

HEADLINE = ("psnr", "ms_ssim", "haarpsi", "gmsd", "lpips", "dists", SHARPNESS, LR_PSNR)
MOST = 100  # dB of LR PSNR, beyond which floating point alone is measured
NOTE = (
    "Mean ± sd over patients, each the mean of its images; images identical to HR are left out and counted "
    "(+n identical). ↑ more is better, ↓ less. Sharpness: Laplacian variance in % of HR's, best near 100 %. LR PSNR, "
    "before clamping and rounding: a limit to hold, nothing to win. Bold: the best of a dataset as printed, unless all "
    "print alike; without what is HR itself, and in sharpness without what is sharper than HR or has fine detail "
    "further from HR's than bicubic's (sliced Wasserstein). The next section tells what can be relied on."
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
    note = NOTE + (SEEDS if "seeds" in evaluation.frames else "")
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

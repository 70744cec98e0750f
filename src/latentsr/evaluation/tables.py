"""The tables of a finished evaluation: every value, means, differences with tests, agreement, equivalence, sets."""

from collections.abc import Iterable, Sequence
from itertools import combinations

import pandas as pd

from latentsr.evaluation.measure import HR, LR_PSNR
from latentsr.evaluation.plan import Plan
from latentsr.evaluation.results import Results
from latentsr.evaluation.sets import SetMeasure, set_comparison_rows, set_measures, set_rows, with_mean_level
from latentsr.metrics import Metric
from latentsr.stats.agreement import compare_agreement
from latentsr.stats.comparison import compare_methods
from latentsr.stats.equivalence import compare_equivalence
from latentsr.stats.summary import summarise

INTENSITY = "mean_intensity"
# Families of tests, chosen before any data: few tests in the first, so that few patients can decide what matters most.
MAIN, WHOLE, PARTS = "main measures", "whole image", "parts"
MAIN_METRICS = ("psnr", "haarpsi")  # fidelity and perceptual likeness: what the verdict's first sentences rest on


def frames(plan: Plan, found: Sequence[Results]) -> dict[str, pd.DataFrame]:
    """The tables by the name of their file: table, summary, comparisons, agreement, and equivalence where asked for."""
    table = pd.concat([one.table() for one in found], ignore_index=True)
    compared = table[table["metric"].isin(directed(plan.metrics))]
    pairs = [(later, earlier) for earlier, later in combinations(plan.names, 2)]
    made = {"table": table, "summary": summarise(table), **_sets(plan, found, pairs)}
    if pairs and len(compared):
        families = {name: family_of(name) for name in compared["metric"].unique()}
        made["comparisons"] = compare_methods(
            compared, pairs=pairs, primary=plan.primary, unit="both", families=families, seed=plan.comparison.seed
        )
    if INTENSITY in set(table["metric"]):
        made["agreement"] = compare_agreement(table, INTENSITY, unit="both")
    if plan.comparison.margins and pairs:
        made["equivalence"] = compare_equivalence(table, dict(plan.comparison.margins), pairs=pairs, unit="both")
    return made


def _sets(plan: Plan, found: Sequence[Results], pairs: Sequence[tuple[str, str]]) -> dict[str, pd.DataFrame]:
    """The measures of whole sets, a row a dataset, method and measure, and their differences, a row a pair."""
    rows, differences = [], []
    for one in found:
        dataset, seed = one.work.dataset.name, plan.comparison.seed
        patients = [record.patient for record in one.work.records]
        names = (*plan.names, HR)  # of which HR's own distance is the floor
        measures: dict[str, SetMeasure] = {}
        for name in one.set_names():
            arrays, reference = one.sets(name)
            measures |= set_measures(name, [arrays[method] for method in names], reference, patients, seed)
        measures = with_mean_level(measures)
        rows.append(set_rows(dataset, names, measures, patients, seed))
        differences.append(set_comparison_rows(dataset, names, pairs, measures, patients, seed))
    made = {"sets": pd.concat(rows, ignore_index=True)}
    return made | ({"set_comparisons": pd.concat(differences, ignore_index=True)} if pairs else {})


def directed(metrics: Iterable[Metric]) -> list[str]:
    """The tidy names that are tested: those of measures of SR of which more, or less, is better.

    Not `lr_psnr`: that a projected result agrees better with its LR than another is how it was made, no finding.
    """
    tested = [one for one in metrics if one.better != "closer" and one.of_result and one.name != LR_PSNR]
    return [name for one in tested for name in one.names]


def family_of(metric: str) -> str:
    """The family of tests of a tidy name: main, other measures of the whole image, or bands, scales, thresholds."""
    if "/" in metric:
        return PARTS
    return MAIN if metric in MAIN_METRICS else WHOLE

"""The tables of a finished evaluation: every value, means, differences with tests, agreement, equivalence, sets."""

from collections.abc import Iterable, Sequence
from itertools import combinations

import pandas as pd

from latentsr.evaluation.measure import HR, LR_PSNR
from latentsr.evaluation.plan import Plan
from latentsr.evaluation.results import Results
from latentsr.evaluation.sets import set_rows
from latentsr.metrics import Metric
from latentsr.stats.agreement import compare_agreement
from latentsr.stats.comparison import compare_methods
from latentsr.stats.equivalence import compare_equivalence
from latentsr.stats.summary import summarise

INTENSITY = "mean_intensity"


def frames(plan: Plan, found: Sequence[Results]) -> dict[str, pd.DataFrame]:
    """The tables by the name of their file: table, summary, comparisons, agreement, and equivalence where asked for."""
    table = pd.concat([one.table() for one in found], ignore_index=True)
    compared = table[table["metric"].isin(directed(plan.metrics))]
    pairs = [(later, earlier) for earlier, later in combinations(plan.names, 2)]
    made = {"table": table, "summary": summarise(table, seed=plan.comparison.seed), "sets": _sets(plan, found)}
    if pairs:
        # Two families of tests: measures of the whole image, and bands, scales and thresholds.
        whole = ~compared["metric"].str.contains("/")
        families = [compared[whole], compared[~whole]]
        made["comparisons"] = pd.concat(
            compare_methods(family, pairs=pairs, unit="both", seed=plan.comparison.seed)
            for family in families
            if len(family)
        )
    if INTENSITY in set(table["metric"]):
        made["agreement"] = compare_agreement(table, INTENSITY, unit="both")
    if plan.comparison.margins and pairs:
        made["equivalence"] = compare_equivalence(table, dict(plan.comparison.margins), pairs=pairs, unit="both")
    return made


def _sets(plan: Plan, found: Sequence[Results]) -> pd.DataFrame:
    """The measures of whole sets: one row a dataset, method and measure."""
    rows = []
    for one in found:
        methods = {name: one.sets(name) for name in plan.names}
        rows.append(set_rows(one.work.dataset.name, one.sets(HR), methods, plan.comparison.seed))
    return pd.concat(rows, ignore_index=True)


def directed(metrics: Iterable[Metric]) -> list[str]:
    """The tidy names that are tested: those of measures of SR of which more, or less, is better; `lr_psnr` always."""
    return [name for one in metrics if one.better != "closer" and one.of_result for name in one.names] + [LR_PSNR]

"""Methods compared on the tidy table: effects with intervals, tests and effect sizes, by patient and by image."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsr.errors import InputError
from latentsr.stats.bootstrap import cluster_intervals
from latentsr.stats.multiplicity import holm, least_adjusted
from latentsr.stats.paired import cohen_d, cohen_dz, least_p, rank_biserial, wilcoxon
from latentsr.stats.pairing import Pair, Paired, chosen_pairs, pair_columns, unit_means, unit_members, units_of, wide
from latentsr.stats.table import check_table

COMPARISON_COLUMNS = (
    "dataset", "metric", "a", "b", "unit", "images", "patients", "n", "infinite", "missing", "mean_a", "mean_b",
    "difference", "low", "high", "sd_difference", "p", "p_holm", "d", "d_z", "rank_biserial", "family", "p_least",
)  # fmt: skip
ONE_FAMILY = "all"
LEVEL = 0.05  # of a family's tests: below it an adjusted p is called a finding

Floats = NDArray[np.float64]


def compare_methods(
    table: pd.DataFrame,
    *,
    pairs: Sequence[Pair] | None = None,
    baseline: str | None = None,
    unit: str = "patient",
    families: Mapping[str, str] | None = None,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """One row a dataset, metric, pair (a, b) of methods and unit: what a has that b has not, and how sure that is.

    A pair of values counts where both are finite. Columns:
        images, patients: in the dataset; `infinite` images where a value is infinite (the PSNR of identical images) and
            `missing` ones where one is NaN (no value) are left out of all that follows, the test too, and counted here:
            an infinite difference has a rank, the highest, but no size, so that test and interval would no longer be
            of the same images;
        n: units that remain, patients or images;
        mean_a, mean_b, difference: means over the remaining images, whatever the unit; difference = mean_a - mean_b;
        low, high: the bootstrap interval of `difference`, drawn by unit;
        sd_difference, p, d, d_z, rank_biserial: of the units: each remaining image, or each patient with the mean over
            its remaining images. p is the two-sided Wilcoxon signed-rank p-value, d the published effect size with the
            pooled sd, d_z the paired one;
        p_holm: p adjusted (Holm) over all rows of this dataset, unit and `family`: one family of tests;
        family, p_least: the family's name, and the least p_holm that a test of it could have with so many units. Where
            that lies above the level, no test of the family can find anything, however large the effect.
    With one unit, or none, interval, tests and effect sizes are NaN. Where each image has its own patient the two units
    give the same. With several images a patient, the rows of unit "image" take them for independent: shown beside the
    others to compare with the literature, too sure of themselves.

    Args:
        table: tidy; every method and metric has every image of its dataset once.
        pairs: (a, b) to compare; if neither these nor a baseline are given, all pairs but those with `hr`.
        baseline: compare each other method with this one.
        unit: "patient", "image" or "both".
        families: the family of each metric, chosen before the data were seen; None: all metrics are one.
        level: of the intervals.
        draws: resamples of the bootstrap.
        seed: of the bootstrap.

    Raises:
        InputError: images missing, twice or of two patients, which are listed; a method that a dataset does not have;
            a metric without a family.
        OptionError: an unknown unit, pairs that are none.
    """
    units = units_of(unit)
    check_table(table)
    members = _families(table, families)
    parts = []
    for name, rows in table.groupby("dataset", sort=True):
        chosen = chosen_pairs(rows, pairs=pairs, baseline=baseline)
        paired = pair_columns(wide(rows), chosen)
        for one in units:
            found = _compared(paired, one, level, draws, seed)
            parts.append(_adjusted(found, members).assign(dataset=str(name)))
    return pd.concat(parts, ignore_index=True)[list(COMPARISON_COLUMNS)]


def _families(table: pd.DataFrame, families: Mapping[str, str] | None) -> Mapping[str, str]:
    """The family of each of the table's metrics."""
    metrics = sorted(table["metric"].unique())
    found = dict.fromkeys(metrics, ONE_FAMILY) if families is None else families
    if lacking := [metric for metric in metrics if metric not in found]:
        raise InputError(f"no family of tests for {', '.join(lacking)}: name one for each metric of the table")
    return found


def _adjusted(rows: pd.DataFrame, families: Mapping[str, str]) -> pd.DataFrame:
    """The rows of one dataset and unit with `family`, `p_holm` and `p_least`."""
    family = rows["metric"].map(families).astype(object)
    p_holm, least = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    for name in family.unique():
        here = (family == name).to_numpy()
        p_holm[here] = holm(rows["p"][here])
        least[here] = least_adjusted([least_p(n) for n in rows["n"][here]])
    return rows.assign(family=family, p_holm=p_holm, p_least=least)


def _compared(paired: Paired, unit: str, level: float, draws: int, seed: int) -> pd.DataFrame:
    """The rows of one dataset and unit, without the dataset's name."""
    usable = paired.usable
    members = unit_members(paired, unit)
    first, second = (np.where(usable, values, np.nan) for values in (paired.first, paired.second))
    low, high = cluster_intervals(paired.differences, members, level=level, draws=draws, seed=seed)
    rows = pd.DataFrame(list(paired.labels), columns=["metric", "a", "b"]).assign(
        unit=unit,
        images=len(paired.patients),
        patients=len(set(paired.patients)),
        infinite=paired.infinite.sum(axis=0),
        missing=paired.missing.sum(axis=0),
        mean_a=_column_means(first),
        mean_b=_column_means(second),
        difference=_column_means(paired.differences),
        low=low,
        high=high,
    )
    tests = _tests(unit_means(first, members), unit_means(second, members))
    return rows.join(tests)


def _column_means(values: Floats) -> Floats:
    """(columns,): means without NaN; NaN, and no warning, where a column has nothing else."""
    return pd.DataFrame(values).mean().to_numpy(dtype=np.float64)


def _tests(first: Floats, second: Floats) -> pd.DataFrame:
    """Test and effect sizes of each column of (units, columns) pairs."""
    rows = []
    for a, b in zip(first.T, second.T, strict=True):
        differences = (a - b)[~np.isnan(a - b)]
        rows.append(
            {
                "n": len(differences),
                "sd_difference": np.std(differences, ddof=1) if len(differences) > 1 else np.nan,
                "p": wilcoxon(differences),
                "d": cohen_d(a, b),
                "d_z": cohen_dz(differences),
                "rank_biserial": rank_biserial(differences) if len(differences) > 1 else np.nan,
            }
        )
    return pd.DataFrame(rows, columns=["n", "sd_difference", "p", "d", "d_z", "rank_biserial"])

"""Methods compared on the tidy table: effects with intervals, tests and effect sizes, by patient and by image."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsr.stats.bootstrap import cluster_intervals
from latentsr.stats.multiplicity import holm
from latentsr.stats.paired import cohen_d, cohen_dz, rank_biserial, wilcoxon
from latentsr.stats.pairing import Pair, Paired, chosen_pairs, pair_columns, unit_means, unit_members, units_of, wide
from latentsr.stats.table import check_table

COMPARISON_COLUMNS = (
    "dataset", "metric", "a", "b", "unit", "images", "patients", "n", "infinite", "missing", "mean_a", "mean_b",
    "difference", "low", "high", "sd_difference", "p", "p_holm", "d", "d_z", "rank_biserial",
)  # fmt: skip

Floats = NDArray[np.float64]


def compare_methods(
    table: pd.DataFrame,
    *,
    pairs: Sequence[Pair] | None = None,
    baseline: str | None = None,
    unit: str = "patient",
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """One row a dataset, metric, pair (a, b) of methods and unit: what a has that b has not, and how sure that is.

    A pair of values counts where both are finite. Columns:
        images, patients: in the dataset; `infinite` images where a value is infinite (the PSNR of identical images) and
            `missing` ones where one is NaN (no value) are left out of all that follows, and counted here;
        n: units that remain, patients or images;
        mean_a, mean_b, difference: means over the remaining images, whatever the unit; difference = mean_a - mean_b;
        low, high: the bootstrap interval of `difference`, drawn by unit;
        sd_difference, p, d, d_z, rank_biserial: of the units: each remaining image, or each patient with the mean over
            its remaining images. p is the two-sided Wilcoxon signed-rank p-value, d the published effect size with the
            pooled sd, d_z the paired one;
        p_holm: p adjusted (Holm) over all rows of this dataset and unit: one family of tests.
    With one unit, or none, interval, tests and effect sizes are NaN. Where each image has its own patient the two units
    give the same. With several images a patient, the rows of unit "image" take them for independent: shown beside the
    others to compare with the literature, too sure of themselves.

    Args:
        table: tidy; every method and metric has every image of its dataset once.
        pairs: (a, b) to compare; if neither these nor a baseline are given, all pairs but those with `hr`.
        baseline: compare each other method with this one.
        unit: "patient", "image" or "both".
        level: of the intervals.
        draws: resamples of the bootstrap.
        seed: of the bootstrap.

    Raises:
        InputError: images missing, twice or of two patients, which are listed; a method that a dataset does not have.
        OptionError: an unknown unit, pairs that are none.
    """
    units = units_of(unit)
    check_table(table)
    parts = []
    for name, rows in table.groupby("dataset", sort=True):
        chosen = chosen_pairs(rows, pairs=pairs, baseline=baseline)
        paired = pair_columns(wide(rows), chosen)
        parts += [_compared(paired, one, level, draws, seed).assign(dataset=str(name)) for one in units]
    return pd.concat(parts, ignore_index=True)[list(COMPARISON_COLUMNS)]


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
    return rows.join(tests).assign(p_holm=holm(tests["p"].to_numpy()))


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

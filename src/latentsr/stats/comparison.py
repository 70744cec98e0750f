"""Methods compared on the tidy table: effects with intervals, tests and effect sizes, by patient and by image."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsr.errors import InputError
from latentsr.stats.bootstrap import cluster_intervals
from latentsr.stats.multiplicity import holm
from latentsr.stats.paired import cohen_d, cohen_dz, rank_biserial, wilcoxon
from latentsr.stats.pairing import Pair, Paired, chosen_pairs, pair_columns, unit_means, unit_members, units_of, wide
from latentsr.stats.significance import detectable, mean_test
from latentsr.stats.table import check_table

COMPARISON_COLUMNS = (
    "dataset", "metric", "a", "b", "unit", "images", "patients", "n", "infinite", "missing", "mean_a", "mean_b",
    "difference", "low", "high", "sd_difference", "p", "p_holm", "family", "detectable", "d", "d_z", "rank_biserial",
    "p_wilcoxon", "least", "greatest", "units_below", "units_above", "images_below", "images_above", "loo_low",
    "loo_high", "image_weighted", "image_weighted_low", "image_weighted_high",
)  # fmt: skip
ONE_FAMILY = "all"
PRIMARY = "primary"  # the family of the one comparison that stands outside all others

Floats = NDArray[np.float64]


def compare_methods(
    table: pd.DataFrame,
    *,
    pairs: Sequence[Pair] | None = None,
    baseline: str | None = None,
    primary: tuple[str, str, str] | None = None,
    unit: str = "patient",
    families: Mapping[str, str] | None = None,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """One row a dataset, metric, pair (a, b) of methods and unit: what a has that b has not, and how sure that is.

    A pair of values counts where both are finite. Columns:
        images, patients: in the dataset; `infinite` images where a value is infinite (the PSNR of identical images) and
            `missing` ones where one is NaN (no value) are left out of all that follows and counted here;
        n: units that remain, patients or images;
        mean_a, mean_b, difference: means over units, each the mean of its images; difference = mean_a - mean_b;
        low, high, sd_difference, p: Student's interval and two-sided test of `difference` and the sd of the units'
            differences, of `significance.mean_test`;
        p_holm: p adjusted (Holm) over all rows of this dataset, unit and `family`; p itself in the family PRIMARY;
        detectable: the difference that the unadjusted test finds with 80 % power, if the sd is as seen;
        d, d_z, rank_biserial: of the units, d the published effect size with the pooled sd, d_z the paired one;
        p_wilcoxon: the two-sided signed-rank p of the units, unadjusted, to compare with the literature;
        least, greatest: the smallest and largest difference of a unit; `units_below`, `units_above`, `images_below`,
            `images_above`: how many units and images have a difference below and above zero; `loo_low`, `loo_high`:
            the range of `difference` when any one unit is left out;
        image_weighted, image_weighted_low, image_weighted_high: the mean over images instead and its bootstrap interval
            drawn by unit: how much the weight of patients of many images matters.
    With one unit, or none, interval, tests and effect sizes are NaN. With several images a patient, the rows of unit
    "image" take them for independent: to compare with the literature, too sure of themselves.

    Args:
        table: tidy; every method and metric has every image of its dataset once.
        pairs: (a, b) to compare; if neither these nor a baseline are given, all pairs but those with `hr`.
        baseline: compare each other method with this one.
        primary: (a, b, metric) of the comparison specified in advance: in each dataset a family of its own.
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
            parts.append(_adjusted(found, members, primary).assign(dataset=str(name)))
    return pd.concat(parts, ignore_index=True)[list(COMPARISON_COLUMNS)]


def _families(table: pd.DataFrame, families: Mapping[str, str] | None) -> Mapping[str, str]:
    """The family of each of the table's metrics."""
    metrics = sorted(table["metric"].unique())
    found = dict.fromkeys(metrics, ONE_FAMILY) if families is None else families
    if lacking := [metric for metric in metrics if metric not in found]:
        raise InputError(f"no family of tests for {', '.join(lacking)}: name one for each metric of the table")
    return found


def _adjusted(rows: pd.DataFrame, families: Mapping[str, str], primary: tuple[str, str, str] | None) -> pd.DataFrame:
    """The rows of one dataset and unit with `family` and `p_holm`."""
    family = rows["metric"].map(families).astype(object)
    if primary is not None:
        a, b, metric = primary
        family[rows["metric"].eq(metric) & (rows["a"].eq(a) & rows["b"].eq(b) | rows["a"].eq(b) & rows["b"].eq(a))] = (
            PRIMARY
        )
    p_holm = rows.groupby(family, sort=False)["p"].transform(holm)
    return rows.assign(family=family, p_holm=p_holm)


def _compared(paired: Paired, unit: str, level: float, draws: int, seed: int) -> pd.DataFrame:
    """The rows of one dataset and unit, without the dataset's name."""
    members = unit_members(paired, unit)
    differences = paired.differences
    first, second = (unit_means(np.where(paired.usable, one, np.nan), members) for one in (paired.first, paired.second))
    units = unit_means(differences, members)
    tested = mean_test(units, level=level)
    low, high = cluster_intervals(differences, members, level=level, draws=draws, seed=seed)
    rows = pd.DataFrame(list(paired.labels), columns=["metric", "a", "b"]).assign(
        unit=unit,
        images=len(paired.patients),
        patients=len(set(paired.patients)),
        n=tested.n,
        infinite=paired.infinite.sum(axis=0),
        missing=paired.missing.sum(axis=0),
        mean_a=_column_means(first),
        mean_b=_column_means(second),
        difference=tested.mean,
        low=tested.low,
        high=tested.high,
        sd_difference=tested.sd,
        p=tested.p,
        detectable=tested.sd * np.array([detectable(n) for n in tested.n]),
        image_weighted=_column_means(differences),
        image_weighted_low=low,
        image_weighted_high=high,
    )
    for name, values in (("units", units), ("images", differences)):
        rows = rows.assign(**{f"{name}_below": (values < 0).sum(axis=0), f"{name}_above": (values > 0).sum(axis=0)})
    return rows.join(_effects(first, second)).join(_extremes(units))


def _column_means(values: Floats) -> Floats:
    """(columns,): means without NaN; NaN, and no warning, where a column has nothing else."""
    return pd.DataFrame(values).mean().to_numpy(dtype=np.float64)


def _effects(first: Floats, second: Floats) -> pd.DataFrame:
    """Effect sizes and signed-rank test of each column of (units, columns) pairs."""
    rows = []
    for a, b in zip(first.T, second.T, strict=True):
        differences = (a - b)[~np.isnan(a - b)]
        rows.append(
            {
                "p_wilcoxon": wilcoxon(differences),
                "d": cohen_d(a, b),
                "d_z": cohen_dz(differences),
                "rank_biserial": rank_biserial(differences) if len(differences) > 1 else np.nan,
            }
        )
    return pd.DataFrame(rows, columns=["p_wilcoxon", "d", "d_z", "rank_biserial"])


def _extremes(units: Floats) -> pd.DataFrame:
    """The least and greatest of the units' differences, and the range of their mean with any one of them left out."""
    frame = pd.DataFrame(units)
    n, total, least, greatest = frame.count(), frame.sum(), frame.min(), frame.max()
    left = np.maximum(n - 1, 1).where(n > 1)
    return pd.DataFrame(
        {
            "least": least,
            "greatest": greatest,
            "loo_low": (total - greatest) / left,
            "loo_high": (total - least) / left,
        }
    )

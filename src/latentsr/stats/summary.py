"""The summary of a tidy table: per dataset, method and metric the mean, and the paired difference to the baseline."""

import numpy as np
import pandas as pd

from latentsr.stats.bootstrap import cluster_intervals
from latentsr.stats.pairing import REFERENCE, Floats, pair_columns, wide
from latentsr.stats.table import check_table

RATIO_METRICS = ("laplacian_variance", "blockiness")
SUMMARY_COLUMNS = (
    "dataset", "method", "metric", "images", "patients", "n", "infinite", "missing", "mean", "sd", "ratio_to_hr",
    "pairs", "difference", "low", "high", "mean_low", "mean_high",
)  # fmt: skip


def summarise(
    table: pd.DataFrame,
    *,
    baseline: str | None = "bicubic",
    reference: str = REFERENCE,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """One row a dataset, method and metric, sorted by these.

    Columns: `images` and `patients` in the dataset; `n` finite values, which alone make `mean` and `sd` (ddof 1);
    `infinite` values (the PSNR of identical images) and `missing` ones (an image too small), both left out;
    `ratio_to_hr`, mean over HR's mean, for Laplacian variance and blockiness; `pairs` of images where both the method and the
    baseline are finite, `difference` their mean method minus baseline, and `low`, `high` its interval by a bootstrap of
    patients; `mean_low`, `mean_high` that of the mean. Where a number is not defined it is NaN: all differences if
    there is no baseline, or the table does not have it.

    Raises:
        InputError: images twice, or missing for some method: nothing is paired by position or by what is left.
    """
    check_table(table)
    parts = [
        _dataset_summary(wide(rows), baseline, reference, level, draws, seed).assign(dataset=str(name))
        for name, rows in table.groupby("dataset", sort=True)
    ]
    return pd.concat(parts, ignore_index=True)[list(SUMMARY_COLUMNS)]


def column_means(values: pd.DataFrame, *, level: float = 0.95, draws: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """The mean of each column of `wide`'s values over images, a row a column: (method, metric) or whatever it has.

    Columns: `n` finite values, which alone make `mean` and `sd` (ddof 1); `infinite` ones and `missing` ones, both left
    out; `mean_low`, `mean_high` the interval of the mean by a bootstrap of patients.
    """
    finite = values.where(np.isfinite(values))
    low, high = _intervals(finite, level, draws, seed)
    return pd.DataFrame(
        {
            "n": finite.count(),
            "infinite": np.isinf(values).sum(),
            "missing": values.isna().sum(),
            "mean": finite.mean(),
            "sd": finite.std(ddof=1),
            "mean_low": low,
            "mean_high": high,
        }
    )


def _intervals(values: pd.DataFrame, level: float, draws: int, seed: int) -> tuple[Floats, Floats]:
    """The interval of each column's mean by a bootstrap of patients."""
    patients = list(values.index.get_level_values("patient").astype(str))
    return cluster_intervals(values.to_numpy(dtype=np.float64), patients, level=level, draws=draws, seed=seed)


def _dataset_summary(
    values: pd.DataFrame, baseline: str | None, reference: str, level: float, draws: int, seed: int
) -> pd.DataFrame:
    means = column_means(values, level=level, draws=draws, seed=seed)
    differences = _differences(values, baseline)
    low, high = _intervals(differences, level, draws, seed)
    compared = pd.DataFrame({"pairs": differences.count(), "difference": differences.mean(), "low": low, "high": high})
    patients = values.index.get_level_values("patient").nunique()
    whole = means.assign(ratio_to_hr=_ratios(means["mean"], reference)).join(compared)
    return whole.reset_index().assign(images=len(values), patients=patients)


def _ratios(means: pd.Series, reference: str) -> pd.Series:
    """Each cell's mean over the reference's mean of the same metric, NaN but for the metrics that have a ratio."""
    ratios = [
        mean / means.get((reference, metric), np.nan) if metric in RATIO_METRICS else np.nan
        for (_, metric), mean in means.items()
    ]
    return pd.Series(ratios, index=means.index, dtype=float)


def _differences(values: pd.DataFrame, baseline: str | None) -> pd.DataFrame:
    """(images, cells): paired differences to the baseline of other methods' cells; NaN where a value is not finite."""
    methods = values.columns.get_level_values("method").unique()
    paired = pair_columns(values, [(method, baseline) for method in methods if baseline and method != baseline])
    cells = (
        pd.MultiIndex.from_tuples([(a, metric) for metric, a, _ in paired.labels], names=values.columns.names)
        if paired.labels
        else values.columns[:0]
    )
    return pd.DataFrame(paired.differences, index=values.index, columns=cells)

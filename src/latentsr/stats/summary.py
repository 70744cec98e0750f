"""The summary of a tidy table: per dataset, method and metric the mean, and the paired difference to the baseline."""

import numpy as np
import pandas as pd

from latentsr.stats.bootstrap import cluster_intervals
from latentsr.stats.pairing import REFERENCE, pair_columns, wide
from latentsr.stats.table import check_table

RATIO_METRICS = ("laplacian_variance",)
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
    `ratio_to_hr`, mean over HR's mean, for the Laplacian variance; `pairs` of images where both the method and the
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


def _dataset_summary(
    values: pd.DataFrame, baseline: str | None, reference: str, level: float, draws: int, seed: int
) -> pd.DataFrame:
    finite = values.where(np.isfinite(values))
    patients = list(values.index.get_level_values("patient").astype(str))
    differences = _differences(values, baseline)
    shown = pd.concat([finite, differences], axis=1).to_numpy(dtype=np.float64)
    low, high = cluster_intervals(shown, patients, level=level, draws=draws, seed=seed)
    columns = len(finite.columns)
    summary = pd.DataFrame(
        {
            "n": finite.count(),
            "infinite": np.isinf(values).sum(),
            "missing": values.isna().sum(),
            "mean": finite.mean(),
            "sd": finite.std(ddof=1),
            "ratio_to_hr": _ratios(finite.mean(), reference),
            "mean_low": low[:columns],
            "mean_high": high[:columns],
        }
    )
    compared = pd.DataFrame(
        {
            "pairs": differences.count(),
            "difference": differences.mean(),
            "low": low[columns:],
            "high": high[columns:],
        }
    )
    return summary.join(compared).reset_index().assign(images=len(values), patients=len(set(patients)))


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

"""The summary of a tidy table: per dataset, method and metric the mean, and the paired difference to the baseline."""

import numpy as np
import pandas as pd

from latentsr.stats.pairing import REFERENCE, pair_columns, unit_means, wide
from latentsr.stats.significance import MeanTest, mean_test
from latentsr.stats.table import check_table

RATIO_METRICS = ("laplacian_variance", "blockiness")
SUMMARY_COLUMNS = (
    "dataset", "method", "metric", "images", "patients", "n", "infinite", "missing", "mean", "sd", "mean_low",
    "mean_high", "mean_images", "sd_images", "ratio_to_hr", "pairs", "difference", "low", "high",
)  # fmt: skip


def summarise(
    table: pd.DataFrame,
    *,
    baseline: str | None = "bicubic",
    reference: str = REFERENCE,
    level: float = 0.95,
) -> pd.DataFrame:
    """One row a dataset, method and metric, sorted by these.

    Columns: `images` and `patients` in the dataset; those of `column_means`; `ratio_to_hr`, mean over HR's mean, for
    Laplacian variance and blockiness; `pairs` of images where both the method and the baseline are finite, `difference`
    the mean over patients of method minus baseline there, and `low`, `high` its interval, as in `compare_methods`.
    Where a number is not defined it is NaN: all differences if there is no baseline, or the table does not have it.

    Raises:
        InputError: images twice, or missing for some method: nothing is paired by position or by what is left.
    """
    check_table(table)
    parts = [
        _dataset_summary(wide(rows), baseline, reference, level).assign(dataset=str(name))
        for name, rows in table.groupby("dataset", sort=True)
    ]
    return pd.concat(parts, ignore_index=True)[list(SUMMARY_COLUMNS)]


def column_means(values: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """The mean of each column of `wide`'s values over patients, a row a column: (method, metric) or whatever it has.

    Columns: `n` finite values, which alone count; `infinite` ones (the PSNR of identical images) and `missing` ones (an
    image too small), both left out; `mean` and `sd` (ddof 1) over patients, each the mean of its images; `mean_low`,
    `mean_high` Student's interval; `mean_images` and `sd_images` over images, as much of the literature has them.
    """
    finite = values.where(np.isfinite(values))
    found = _over_patients(finite, level)
    return pd.DataFrame(
        {
            "n": finite.count(),
            "infinite": np.isinf(values).sum(),
            "missing": values.isna().sum(),
            "mean": found.mean,
            "sd": found.sd,
            "mean_low": found.low,
            "mean_high": found.high,
            "mean_images": finite.mean(),
            "sd_images": finite.std(ddof=1),
        }
    )


def _over_patients(values: pd.DataFrame, level: float) -> MeanTest:
    patients = list(values.index.get_level_values("patient").astype(str))
    return mean_test(unit_means(values.to_numpy(dtype=np.float64), patients), level=level)


def _dataset_summary(values: pd.DataFrame, baseline: str | None, reference: str, level: float) -> pd.DataFrame:
    means = column_means(values, level=level)
    differences = _differences(values, baseline)
    found = _over_patients(differences, level)
    compared = pd.DataFrame(
        {"pairs": differences.count(), "difference": found.mean, "low": found.low, "high": found.high}
    )
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

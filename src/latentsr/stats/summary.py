"""Summaries of a tidy table: means over patients per dataset, method and metric, and over the seeds of a method."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from latentsr.names import HR
from latentsr.stats.paired import pair_columns, unit_means, wide
from latentsr.stats.significance import MeanTest, mean_test
from latentsr.stats.table import COLUMNS, check_table, sorted_table

Members = Mapping[str, Sequence[str]]  # the names of a method's seeds by the method's own


def over_seeds(table: pd.DataFrame, members: Members) -> pd.DataFrame:
    """The tidy table with one method in place of its seeds: of each image and metric the mean of their values.

    It is the mean of the measure, not the measure of a mean image. An image or metric that has no value (NaN) under one
    of the seeds has none; methods that are not among the seeds stay as they are.
    """
    parts = [table[~table["method"].isin([seed for seeds in members.values() for seed in seeds])]]
    for name, seeds in members.items():
        rows = table[table["method"].isin(seeds)]
        cells = rows.pivot(index=["dataset", "id", "patient", "metric"], columns="method", values="value")
        means = cells.reindex(columns=list(seeds)).mean(axis=1, skipna=False).rename("value").reset_index()
        parts.append(means.assign(method=name))
    return sorted_table(part[list(COLUMNS)] for part in parts)


def seed_means(table: pd.DataFrame, members: Members) -> pd.DataFrame:
    """(dataset, method, metric, value): each seed's mean over patients, as in a summary; `table` has each apart."""
    seeds = table[table["method"].isin([seed for seeds in members.values() for seed in seeds])]
    parts = [
        column_means(wide(rows))["mean"].rename("value").reset_index().assign(dataset=str(dataset))
        for dataset, rows in seeds.groupby("dataset", sort=True)
    ]
    return pd.concat(parts, ignore_index=True)[["dataset", "method", "metric", "value"]]


def seed_spread(values: pd.DataFrame, members: Members) -> pd.DataFrame:
    """One row a dataset, method and metric: mean, sd (ddof 1), least and greatest of its seeds' values.

    `seeds` is the number of those that have a finite value, which alone count. The sd tells how much a result owes to
    chance in the method itself; intervals over patients do not hold it.

    Args:
        values: (dataset, method, metric, value), a row a seed, such as those of `seed_means`.
        members: the methods of several seeds.
    """
    names = {seed: name for name, seeds in members.items() for seed in seeds}
    finite = values["value"].where(values["value"].abs() < float("inf"))
    rows = values.assign(method=values["method"].map(names), value=finite).dropna(subset=["method"])
    found = rows.groupby(["dataset", "method", "metric"], sort=False)["value"]
    return found.agg(seeds="count", mean="mean", sd="std", least="min", greatest="max").reset_index()


RATIO_METRICS = ("laplacian_variance", "blockiness")
SUMMARY_COLUMNS = (
    "dataset", "method", "metric", "images", "patients", "n", "infinite", "missing", "mean", "sd", "mean_low",
    "mean_high", "mean_images", "sd_images", "ratio_to_hr", "pairs", "difference", "low", "high",
)  # fmt: skip


def summarise(
    table: pd.DataFrame,
    *,
    baseline: str | None = "bicubic",
    reference: str = HR,
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
    # (images, cells): paired differences to the baseline of other methods' cells; NaN where a value is not finite.
    methods = values.columns.get_level_values("method").unique()
    paired = pair_columns(values, [(method, baseline) for method in methods if baseline and method != baseline])
    cells = (
        pd.MultiIndex.from_tuples([(a, metric) for metric, a, _ in paired.labels], names=values.columns.names)
        if paired.labels
        else values.columns[:0]
    )
    differences = pd.DataFrame(paired.differences, index=values.index, columns=cells)
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

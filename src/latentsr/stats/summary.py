"""Summaries of a tidy table: means over patients per dataset, method and metric, and over the seeds of a method."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from latentsr.names import BICUBIC, HR, SHARPNESS
from latentsr.stats.paired import pair_columns, unit_means, wide
from latentsr.stats.significance import mean_test
from latentsr.stats.table import COLUMNS, check_table, sorted_table

Members = Mapping[str, Sequence[str]]  # the names of a method's seeds by the method's own


def over_seeds(table: pd.DataFrame, members: Members) -> pd.DataFrame:
    """The tidy table with each method of several seeds in their place: per image and metric the mean of their values.

    It is NaN where one of the seeds has no value. Methods that are not among the seeds stay as they are.
    """
    parts = [table[~table["method"].isin([seed for seeds in members.values() for seed in seeds])]]
    for name, seeds in members.items():
        rows = table[table["method"].isin(seeds)]
        cells = rows.pivot(index=["dataset", "id", "patient", "metric"], columns="method", values="value")
        means = cells.reindex(columns=list(seeds)).mean(axis=1, skipna=False).rename("value").reset_index()
        parts.append(means.assign(method=name))
    return sorted_table(part[list(COLUMNS)] for part in parts)


def seed_means(table: pd.DataFrame, members: Members) -> pd.DataFrame:
    """Each seed's means, as in a summary of the table of all seeds.

    Columns: dataset, method, metric, `value` (mean over patients), `value_images` (mean over images).
    """
    seeds = table[table["method"].isin([seed for seeds in members.values() for seed in seeds])]
    parts = [
        column_means(wide(rows))[["mean", "mean_images"]].reset_index().assign(dataset=str(dataset))
        for dataset, rows in seeds.groupby("dataset", sort=True)
    ]
    found = pd.concat(parts, ignore_index=True).rename(columns={"mean": "value", "mean_images": "value_images"})
    return found[["dataset", "method", "metric", "value", "value_images"]]


def seed_spread(values: pd.DataFrame, members: Members) -> pd.DataFrame:
    """One row per dataset, method and metric: mean, sd (ddof 1), least and greatest of its seeds' values.

    `seeds` is the number of those with a finite value; the others are left out. `mean_images` and `sd_images` are of
    the seeds' means over images, as published. Intervals over patients do not include these sds. `values` has one row
    per seed, as of `seed_means`; measures of whole sets have no `value_images` (NaN).
    """
    names = {seed: name for name, seeds in members.items() for seed in seeds}
    cells = ["value", "value_images"]
    finite = values[cells].where(values[cells].abs() < float("inf"))
    rows = values.assign(**finite, method=values["method"].map(names)).dropna(subset=["method"])
    groups = rows.groupby(["dataset", "method", "metric"], sort=False)
    spread = groups["value"].agg(seeds="count", mean="mean", sd="std", least="min", greatest="max")
    return spread.join(groups["value_images"].agg(mean_images="mean", sd_images="std")).reset_index()


RATIO_METRICS = (SHARPNESS, "blockiness")
SUMMARY_COLUMNS = (
    "dataset", "method", "metric", "images", "patients", "n", "infinite", "missing", "mean", "sd", "mean_low",
    "mean_high", "mean_images", "sd_images", "ratio_to_hr", "pairs", "difference", "low", "high",
)  # fmt: skip


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """One row per dataset, method and metric, sorted by these.

    Columns: `images` and `patients` in the dataset; those of `column_means`; `ratio_to_hr`, mean over HR's mean, for
    Laplacian variance and blockiness; `pairs` of images where both the method and bicubic are finite, `difference` the
    mean over patients of method minus bicubic there, and `low`, `high` its interval, as in `compare_methods`. NaN where
    a number is not defined: all differences if the table does not have bicubic.

    Raises:
        InputError: images twice, or missing for some method.
    """
    parts = []
    for dataset, rows in check_table(table).groupby("dataset", sort=True):
        values = wide(rows)
        means = column_means(values)
        ratios = [
            mean / means["mean"].get((HR, metric), np.nan) if metric in RATIO_METRICS else np.nan
            for (_, metric), mean in means["mean"].items()
        ]
        methods = values.columns.get_level_values("method").unique()
        paired = pair_columns(values, [(method, BICUBIC) for method in methods if method != BICUBIC])
        found = mean_test(unit_means(paired.differences, paired.patients))
        compared = pd.DataFrame(paired.labels, columns=["metric", "method", "baseline"]).assign(
            pairs=np.isfinite(paired.differences).sum(axis=0), difference=found.mean, low=found.low, high=found.high
        )
        whole = means.assign(ratio_to_hr=ratios, images=len(values), patients=len(set(paired.patients)))
        whole = whole.join(compared.set_index(["method", "metric"])).reset_index()
        parts.append(whole.assign(dataset=str(dataset)))
    return pd.concat(parts, ignore_index=True)[list(SUMMARY_COLUMNS)]


def column_means(values: pd.DataFrame) -> pd.DataFrame:
    """The mean of each column of `wide`'s values over patients, one row per column (method, metric).

    Columns: `n` finite values, which alone count; `infinite` ones (the PSNR of identical images) and `missing` ones (an
    image too small), both left out; `mean` and `sd` (ddof 1) over patients, each the mean of its images; `mean_low`,
    `mean_high` Student's 95 % interval; `mean_images` and `sd_images` over images, as much of the literature has them.
    """
    finite = values.where(np.isfinite(values))
    patients = list(values.index.get_level_values("patient").astype(str))
    found = mean_test(unit_means(finite.to_numpy(dtype=np.float64), patients))
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

"""Several seeds of one method: their mean as the method's value, and how far they lie apart."""

from collections.abc import Mapping, Sequence

import pandas as pd

from latentsr.stats.pairing import wide
from latentsr.stats.summary import column_means
from latentsr.stats.table import COLUMNS, sorted_table

SEED_COLUMNS = ("dataset", "method", "metric", "seeds", "mean", "sd", "least", "greatest")

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

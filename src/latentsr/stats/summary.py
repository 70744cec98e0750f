"""The summary of a tidy table: per dataset, method and metric the mean, and the paired difference to the baseline."""

import numpy as np
import pandas as pd

from latentsr.stats.bootstrap import cluster_intervals
from latentsr.stats.table import check_table

RATIO_METRICS = ("laplacian_variance",)
SUMMARY_COLUMNS = (
    "dataset", "method", "metric", "images", "patients", "n", "infinite", "missing", "mean", "sd", "ratio_to_hr",
    "pairs", "difference", "low", "high",
)  # fmt: skip


def summarise(
    table: pd.DataFrame, *, baseline: str = "bicubic", reference: str = "hr", draws: int = 10_000, seed: int = 0
) -> pd.DataFrame:
    """One row a dataset, method and metric, sorted by these.

    Columns: `images` and `patients` in the dataset; `n` finite values, which alone make `mean` and `sd` (ddof 1);
    `infinite` values (the PSNR of identical images) and `missing` ones (an image too small), both left out;
    `ratio_to_hr`, mean over HR's mean, for the Laplacian variance; `pairs` of images where both the method and the
    baseline are finite, `difference` their mean method minus baseline, and `low`, `high` its 95 % interval by a
    bootstrap of patients. Where a number is not defined it is NaN: all differences if the baseline is not in the table.

    Raises:
        InputError: images twice, or missing for some method: nothing is paired by position or by what is left.
    """
    check_table(table)
    parts = [
        _dataset_summary(str(name), rows, baseline, reference, draws, seed)
        for name, rows in table.groupby("dataset", sort=True)
    ]
    return pd.concat(parts, ignore_index=True)[list(SUMMARY_COLUMNS)]


def _dataset_summary(
    name: str, rows: pd.DataFrame, baseline: str, reference: str, draws: int, seed: int
) -> pd.DataFrame:
    # Not pivot_table, which would average rows away without a word.
    cells = rows.set_index(["id", "patient", "method", "metric"])["value"]
    values = cells.unstack(["method", "metric"]).sort_index().sort_index(axis=1)
    finite = values.where(np.isfinite(values))
    patients = values.index.get_level_values("patient").astype(str)
    summary = pd.DataFrame(
        {
            "n": finite.count(),
            "infinite": np.isinf(values).sum(),
            "missing": values.isna().sum(),
            "mean": finite.mean(),
            "sd": finite.std(ddof=1),
            "ratio_to_hr": _ratios(finite.mean(), reference),
        }
    )
    summary = summary.join(_differences(finite, list(patients), baseline, draws, seed))
    return summary.reset_index().assign(dataset=name, images=len(values), patients=patients.nunique())


def _ratios(means: pd.Series, reference: str) -> pd.Series:
    """Each cell's mean over the reference's mean of the same metric, NaN but for the metrics that have a ratio."""
    ratios = [
        mean / means.get((reference, metric), np.nan) if metric in RATIO_METRICS else np.nan
        for (_, metric), mean in means.items()
    ]
    return pd.Series(ratios, index=means.index, dtype=float)


def _differences(finite: pd.DataFrame, patients: list[str], baseline: str, draws: int, seed: int) -> pd.DataFrame:
    """Mean paired difference to the baseline and its interval, indexed by (method, metric)."""
    compared = [cell for cell in finite.columns if cell[0] != baseline and (baseline, cell[1]) in finite.columns]
    if not compared:
        return pd.DataFrame(columns=["pairs", "difference", "low", "high"], index=finite.columns[:0], dtype=float)
    differences = pd.concat(
        {cell: finite[cell] - finite[(baseline, cell[1])] for cell in compared}, axis=1, names=finite.columns.names
    )
    low, high = cluster_intervals(differences.to_numpy(), patients, draws=draws, seed=seed)
    return pd.DataFrame(
        {"pairs": differences.count(), "difference": differences.mean(), "low": low, "high": high},
        index=differences.columns,
    )

"""Agreement of two measurements of the same thing after Bland and Altman: bias, limits, and their intervals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from latentsr.errors import InputError
from latentsr.names import HR
from latentsr.stats.paired import CONFIDENCE, Floats, paired_units, unit_means

WIDTH = 1.96  # sds between bias and limit, as published
AGREEMENT_COLUMNS = (
    "dataset", "metric", "a", "b", "unit", "images", "patients", "n", "bias", "bias_low", "bias_high", "sd",
    "lower", "lower_low", "lower_high", "upper", "upper_low", "upper_high",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Agreement:
    """Bias and limits of agreement of n units, each with its interval, and the points they were taken from.

    `means` and `differences`, both (n,), are (a + b) / 2 and a - b of each unit. With one unit all but the bias are
    NaN, without any the bias too.
    """

    n: int
    bias: float
    bias_low: float
    bias_high: float
    sd: float
    lower: float
    lower_low: float
    lower_high: float
    upper: float
    upper_low: float
    upper_high: float
    means: Floats
    differences: Floats


def bland_altman(a: ArrayLike, b: ArrayLike, *, patients: Sequence[str] | None = None) -> Agreement:
    """Bias, mean of a - b, and limits of agreement, bias -+ 1.96 sd (ddof 1), with their 95 % intervals.

    Given the patient of each image, a patient's images are first averaged, so that each patient counts once: the limits
    are then those of a patient's mean, and narrower than those of single images. Pairs with a NaN are left out.

    The interval of the bias is Student's. That of a limit is exact for normal differences, from the noncentral t
    distribution; Bland and Altman's own, limit -+ t sd sqrt(1/n + 1.96^2 / 2(n - 1)), is its approximation for many
    units. `a` and `b` are (images,), such as the mean intensity of SR and of HR.

    Source: Bland and Altman 1986 and 1999; Carkeet 2015, Exact parametric confidence intervals for Bland-Altman limits
    of agreement.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    sizes = {first.shape, second.shape} | (set() if patients is None else {(len(patients),)})
    if len(sizes) > 1 or first.ndim != 1 or np.isinf(first).any() or np.isinf(second).any():
        raise InputError(f"values of shape {first.shape} and {second.shape}: expected a, b, patients (images,), finite")
    units = np.stack([first, second], axis=1)
    present = ~np.isnan(units).any(axis=1)
    units = units[present]
    if patients is not None:
        units = unit_means(units, list(np.asarray(patients)[present]))

    differences = units[:, 0] - units[:, 1]
    n = len(differences)
    bias = float(differences.mean()) if n else np.nan
    sd = reach = inner = outer = np.nan
    if n > 1:
        sd = float(differences.std(ddof=1))
        reach = sd * stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) / np.sqrt(n)
        tails = np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        inner, outer = (stats.nct.ppf(tails, n - 1, WIDTH * np.sqrt(n)) / np.sqrt(n)).tolist()
    return Agreement(
        n=n,
        bias=bias,
        bias_low=bias - reach,
        bias_high=bias + reach,
        sd=sd,
        lower=bias - WIDTH * sd,
        lower_low=bias - outer * sd,
        lower_high=bias - inner * sd,
        upper=bias + WIDTH * sd,
        upper_low=bias + inner * sd,
        upper_high=bias + outer * sd,
        means=(units[:, 0] + units[:, 1]) / 2,
        differences=differences,
    )


def compare_agreement(table: pd.DataFrame, metric: str, *, unit: str = "patient") -> pd.DataFrame:
    """One row per dataset, method and unit: `bland_altman` of the method's values (a) and HR's (b).

    `table` is tidy; `unit` is "patient", "image" or "both". InputError for images missing or twice, a metric that the
    table lacks, or a dataset without HR's values.
    """
    found = [label | sizes | vars(one) for label, sizes, one in _agreements(table, metric, unit)]
    return pd.DataFrame(found, columns=list(AGREEMENT_COLUMNS))


def agreement_points(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """What is drawn of `compare_agreement` by patient: dataset, method, x (mean of method and HR), y (difference).

    Arguments and errors as of `compare_agreement`.
    """
    parts = [
        pd.DataFrame({"dataset": label["dataset"], "method": label["a"], "x": one.means, "y": one.differences})
        for label, _, one in _agreements(table, metric, "patient")
    ]
    return pd.concat(parts, ignore_index=True)


def _agreements(
    table: pd.DataFrame, metric: str, unit: str
) -> Iterator[tuple[dict[str, str], dict[str, int], Agreement]]:
    """Each dataset's, method's and unit's label, numbers of images and patients, and agreement with HR."""
    chosen = table[table["metric"] == metric]
    if chosen.empty:
        raise InputError(f"no metric {metric} in the table: it has {', '.join(sorted(table['metric'].unique()))}")
    pairs = [(method, HR) for method in sorted(chosen["method"].unique()) if method != HR]
    for dataset, one, paired, members in paired_units(chosen, pairs, unit):
        for column, (_, a, b) in enumerate(paired.labels):
            usable = paired.usable[:, column]
            first, second = (np.where(usable, side[:, column], np.nan) for side in (paired.first, paired.second))
            label = {"dataset": dataset, "metric": metric, "a": a, "b": b, "unit": one}
            sizes = {"images": len(members), "patients": len(set(paired.patients))}
            yield label, sizes, bland_altman(first, second, patients=members)

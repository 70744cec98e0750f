"""Agreement of two measurements of the same thing after Bland and Altman: bias, limits, and how sure both are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from latentsr.errors import InputError, OptionError
from latentsr.names import HR
from latentsr.stats.paired import chosen_pairs, pair_columns, unit_means, unit_members, units_of, wide
from latentsr.stats.table import check_table

WIDTH = 1.96  # sds between bias and limit, as published
AGREEMENT_COLUMNS = (
    "dataset", "metric", "a", "b", "unit", "images", "patients", "n", "bias", "bias_low", "bias_high", "sd",
    "lower", "lower_low", "lower_high", "upper", "upper_low", "upper_high",
)  # fmt: skip

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Agreement:
    """Bias and limits of agreement of n units, each with its interval, and the points they were taken from.

    `means` and `differences`, both (n,), are (a + b) / 2 and a - b of each unit. With fewer than two units all but the
    bias are NaN, and the bias too without any.
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


def bland_altman(
    a: ArrayLike, b: ArrayLike, *, patients: Sequence[str] | None = None, level: float = 0.95
) -> Agreement:
    """Bias, mean of a - b, and limits of agreement, bias -+ 1.96 sd (ddof 1), with their intervals.

    Given `patients`, a patient's images are first averaged, so that each patient counts once: the limits then speak of
    a patient's mean, and are narrower than those of single images. Pairs where one value is NaN are left out.

    The interval of the bias is Student's. That of a limit is exact for normal differences, from the noncentral t
    distribution, and so wider on the outer side; Bland and Altman's own, limit -+ t sd sqrt(1/n + 1.96^2 / 2(n - 1)),
    is its approximation for many units.

    Args:
        a: (images,), such as the mean intensity of SR.
        b: (images,), of the same images in the same order, such as the mean intensity of HR.
        patients: the patient of each image.
        level: of the three intervals.

    Source: Bland and Altman 1986 and 1999; Carkeet 2015, Exact parametric confidence intervals for Bland-Altman limits
    of agreement.
    """
    if not 0 < level < 1:
        raise OptionError(f"level {level}: expected a number between 0 and 1, such as 0.95")
    first, second = _units(a, b, patients)
    differences = first - second
    n = len(differences)
    bias = float(differences.mean()) if n else np.nan
    sd = float(differences.std(ddof=1)) if n > 1 else np.nan
    reach = sd * stats.t.ppf((1 + level) / 2, n - 1) / np.sqrt(n) if n > 1 else np.nan
    inner, outer = _limit_factors(n, level)
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
        means=(first + second) / 2,
        differences=differences,
    )


def compare_agreement(
    table: pd.DataFrame,
    metric: str = "mean_intensity",
    *,
    reference: str = HR,
    unit: str = "patient",
    level: float = 0.95,
) -> pd.DataFrame:
    """One row a dataset, method and unit: `bland_altman` of the method's values (a) and the reference's (b).

    Args:
        table: tidy; the reference has the metric too.
        metric: what is compared.
        reference: the method to agree with.
        unit: "patient", "image" or "both".
        level: of the intervals.

    Raises:
        InputError: images missing or twice; no such reference or metric.
    """
    units = units_of(unit)
    check_table(table)
    chosen = table[table["metric"] == metric]
    if chosen.empty:
        raise InputError(f"no metric {metric} in the table: it has {', '.join(sorted(table['metric'].unique()))}")
    rows = []
    for name, part in chosen.groupby("dataset", sort=True):
        paired = pair_columns(wide(part), chosen_pairs(part, baseline=reference))
        for one in units:
            members = unit_members(paired, one)
            for column, (_, a, b) in enumerate(paired.labels):
                usable = paired.usable[:, column]
                values = [np.where(usable, side[:, column], np.nan) for side in (paired.first, paired.second)]
                found = vars(bland_altman(*values, patients=members, level=level))
                sizes = {"images": len(members), "patients": len(set(paired.patients))}
                rows.append({"dataset": str(name), "metric": metric, "a": a, "b": b, "unit": one} | sizes | found)
    return pd.DataFrame(rows, columns=list(AGREEMENT_COLUMNS))


def _units(a: ArrayLike, b: ArrayLike, patients: Sequence[str] | None) -> tuple[Floats, Floats]:
    """The units' values (n,): each pair without NaN, or each patient's means over them."""
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    sizes = {first.shape, second.shape} | (set() if patients is None else {(len(patients),)})
    if len(sizes) > 1 or first.ndim != 1 or np.isinf(first).any() or np.isinf(second).any():
        raise InputError(f"values of shape {first.shape} and {second.shape}: expected a, b, patients (images,), finite")
    pairs = np.stack([first, second], axis=1)
    kept = ~np.isnan(pairs).any(axis=1)
    units = pairs[kept] if patients is None else unit_means(pairs[kept], list(np.asarray(patients)[kept]))
    return units[:, 0], units[:, 1]


def _limit_factors(n: int, level: float) -> tuple[float, float]:
    """How many sds from the bias the two ends of a limit's interval are, the inner and the outer."""
    if n < 2:
        return np.nan, np.nan
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    inner, outer = stats.nct.ppf(tails, n - 1, WIDTH * np.sqrt(n)) / np.sqrt(n)
    return float(inner), float(outer)

"""When a difference is called one: the estimand, its test and rule, adjusted p; equivalence within a margin (TOST)."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.optimize import brentq

from latentsr.errors import InputError, OptionError
from latentsr.stats.paired import CONFIDENCE, ROUNDING, Floats, Pair, paired_units, unit_means

LEVEL = 0.05  # of a family's tests: an adjusted p below it is called a finding
FEWEST = 6  # patients; with fewer not even the signed-rank test, which assumes no distribution, could reach LEVEL
POWER = 0.8  # of the detectable difference
SMALLEST = 1e-5  # of the means: a smaller difference is what saving in 16 bits makes, whatever its p

Finding = Literal["better", "worse", "open", "few"]


def holm(p_values: ArrayLike) -> Floats:
    """The adjusted p-values, (tests,), in the order given; each at least its own p and at most 1.

    NaN (a test that could not be made) stays NaN and does not count in the size of the family. InputError for p
    outside [0, 1].

    Source: Holm 1979, A simple sequentially rejective multiple test procedure; equal to statsmodels' multipletests.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or ((p < 0) | (p > 1)).any():
        raise InputError(
            f"p-values of shape {p.shape} from {p.min(initial=1)} to {p.max(initial=0)}: expected (tests,) in [0, 1]"
        )
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]  # NaN sorts last
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return adjusted


class MeanTest(NamedTuple):
    """Student's test that the mean of each column is zero; each (columns,).

    `n` units with a value; `mean`, `sd` (ddof 1) over them; `low`, `high` the interval; `p` two-sided. NaN where there
    are too few units: one for mean, two for all else.
    """

    n: NDArray[np.int64]
    mean: Floats
    sd: Floats
    low: Floats
    high: Floats
    p: Floats


def mean_test(units: ArrayLike, *, level: float = CONFIDENCE) -> MeanTest:
    """Mean, interval and p of the values of independent units, such as patients' mean differences.

    `units` is (units, columns), NaN where a unit has no value; `level` that of the interval. Where all units have the
    same value, rounding apart, the interval is that value and p is 0, or 1 if it is zero.

    Measured in 20,000 simulated studies each: the 95 % interval covers 95 % of normal units from 3 of them on, 94 to
    96 % where these are patients of 1 to 12 images; of skewed ones less, exponential 91 % at 15 units and 94 % at 60,
    log-normal (sd 1 of the logarithm) 86 and 90 %. At d_z 1 the test of normal units has more power than the
    signed-rank test (6 units: 51 against 36 %, 10: 80 against 78 %); of heavy tails it can have less (t distribution
    of 3 degrees of freedom, d_z 0.5, 20 units: 70 against 78 %).

    Source: Student 1908; equal to scipy's ttest_1samp. Raises InputError for infinite values and other shapes.
    """
    values = np.asarray(units, dtype=np.float64)
    if values.ndim != 2 or np.isinf(values).any():
        raise InputError(f"units of shape {values.shape}, finite or not: expected (units, columns), finite or NaN")
    present = ~np.isnan(values)
    n = present.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(present, values, 0).sum(axis=0) / n
        sd = np.sqrt((np.where(present, values - mean, 0) ** 2).sum(axis=0) / (n - 1))
        sd = np.where(n > 1, np.where(sd > ROUNDING * np.abs(mean), sd, 0), np.nan)
        error = sd / np.sqrt(n)
        reach = error * stats.t.ppf((1 + level) / 2, n - 1)
        p = 2 * stats.t.sf(np.abs(mean) / error, n - 1)  # of 0 / 0: NaN
    p = np.where(sd == 0, (mean == 0).astype(float), p)
    return MeanTest(n, mean, sd, mean - reach, mean + reach, p)


@lru_cache(maxsize=1024)
def detectable(n: int) -> float:
    """The mean difference, in sds of the units' differences, that the test of `n` units finds with 80 % power.

    NaN with fewer than two units. Source: Cohen 1988, chapter 2 (noncentral t).
    """
    if n < 2:
        return float("nan")
    critical, root = float(stats.t.ppf(1 - LEVEL / 2, n - 1)), np.sqrt(n)

    def excess(effect: float) -> float:  # a finding on the wrong side has a chance below 1e-5 here, and is left out
        return float(stats.nct.sf(critical, n - 1, effect * root)) - POWER

    near = (critical + float(stats.t.ppf(POWER, n - 1))) / root
    return float(brentq(excess, near / 2, 2 * near))


def judge(row: Mapping[str, Any], better: str) -> Finding:
    """Whether the first method of a comparison's row is "better" or "worse" than the second: the one rule.

    "open" where the row's adjusted p, `p_holm`, is not below LEVEL, or the difference is SMALLEST of the means or less;
    "few" where fewer than FEWEST units were compared.

    `row` is of `compare_methods`, by patient; `better`, "higher" or "lower", which values of the measure are better.
    """
    if row["n"] < FEWEST or not np.isfinite(row["p_holm"]):
        return "few"
    means = max(abs(row.get("mean_a", 0.0)), abs(row.get("mean_b", 0.0)))
    if row["p_holm"] >= LEVEL or abs(row["difference"]) <= SMALLEST * means:
        return "open"
    return "better" if (row["difference"] > 0) == (better == "higher") else "worse"


# Columns of a comparison that change when its pair is swapped: their sign, their place, or both.
SIGNED = ("difference", "image_weighted", "d", "d_z", "rank_biserial", "h")
EXCHANGED = (("a", "b"), ("mean_a", "mean_b"), ("units_below", "units_above"), ("images_below", "images_above"))
MIRRORED = (
    ("low", "high"), ("least", "greatest"), ("loo_low", "loo_high"), ("image_weighted_low", "image_weighted_high"),
    ("d_z_low", "d_z_high"),
)  # fmt: skip


def turned(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row of the pair (b, a): `compare_methods` has each pair once. Columns that the row lacks stay absent."""
    swapped = {**row, **{name: -row[name] for name in SIGNED if name in row}}
    for first, second in EXCHANGED:
        if first in row:
            swapped[first], swapped[second] = row[second], row[first]
    for first, second in MIRRORED:
        if first in row:
            swapped[first], swapped[second] = -row[second], -row[first]
    return swapped


EQUIVALENCE_COLUMNS = (
    "dataset", "metric", "a", "b", "unit", "images", "patients", "infinite", "missing", "n", "margin", "difference",
    "low", "high", "p", "verdict",
)  # fmt: skip
EQUIVALENT, NOT_SHOWN = "equivalent", "not shown"  # verdicts


class Equivalence(NamedTuple):
    """The two one-sided tests that the mean difference of n units lies within -+ margin.

    `low`, `high` are the difference's 90 % Student interval; `p` the larger of the two one-sided p-values. `verdict` is
    "equivalent" where the interval lies inside the margin (then p < 5 %), "not shown" otherwise, as also with fewer
    than two units.
    """

    n: int
    margin: float
    difference: float
    low: float
    high: float
    p: float
    verdict: str


def tost(differences: ArrayLike, margin: float, *, patients: Sequence[str] | None = None) -> Equivalence:
    """The two one-sided paired t tests, at 5 %, that the mean of the differences, (images,), lies within -+ margin.

    Given the patient of each image, a patient's differences are first averaged, so that each patient counts once:
    several images of a patient are no independent evidence. NaN is left out. `margin` is above 0, in the unit of the
    differences, chosen before the data were seen.

    Source: Schuirmann 1987; equal to statsmodels' ttost_paired.
    """
    if not margin > 0:
        raise OptionError(f"margin {margin}: expected a number above 0")
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or np.isinf(values).any() or (patients is not None and len(patients) != len(values)):
        raise InputError(f"differences of shape {values.shape}, finite or not: expected (images,), finite or NaN")
    present = ~np.isnan(values)
    units = values[present, None]
    if patients is not None:
        units = unit_means(units, list(np.asarray(patients)[present]))
    n, mean, sd, low, high = (float(one[0]) for one in mean_test(units, level=1 - 2 * LEVEL)[:5])
    if sd == 0:  # no spread at all: the mean is certain
        p = 0.0 if abs(mean) < margin else 1.0
    else:
        p = float(stats.t.sf((margin - abs(mean)) / (sd / np.sqrt(n)), n - 1)) if n > 1 else np.nan
    return Equivalence(int(n), margin, mean, low, high, p, EQUIVALENT if -margin < low and high < margin else NOT_SHOWN)


def compare_equivalence(
    table: pd.DataFrame, margins: Mapping[str, float], *, pairs: Sequence[Pair], unit: str = "patient"
) -> pd.DataFrame:
    """One row per dataset, metric with a margin, pair of methods and unit: `tost` of a - b.

    `infinite` and `missing` images are left out and counted, as in `compare_methods`; no p is adjusted for the number
    of rows. With fewer than FEWEST patients nothing is shown, as `judge` says of differences. Rows of unit "image" have
    no verdict: taking images of one patient for independent calls methods equivalent far more often than 5 %.
    `margins` are in the unit of each metric, such as {"psnr": 0.15}; `table`, `pairs` and `unit` as in
    `compare_methods`.
    """
    if unknown := sorted(set(margins) - set(table["metric"])):
        known = ", ".join(sorted(table["metric"].unique()))
        raise InputError(f"no metric {', '.join(unknown)} in the table: it has {known}")
    rows = []
    for dataset, one, paired, members in paired_units(table[table["metric"].isin(list(margins))], pairs, unit):
        for column, (metric, a, b) in enumerate(paired.labels):
            found = tost(paired.differences[:, column], margins[metric], patients=members)
            verdict = found.verdict if found.n >= FEWEST else NOT_SHOWN
            label = {"dataset": dataset, "metric": metric, "a": a, "b": b, "unit": one}
            sizes = {"images": len(members), "patients": len(set(paired.patients))}
            left_out = {"infinite": paired.infinite[:, column].sum(), "missing": paired.missing[:, column].sum()}
            rows.append(label | sizes | left_out | found._asdict() | {"verdict": verdict if one == "patient" else ""})
    return pd.DataFrame(rows, columns=list(EQUIVALENCE_COLUMNS))

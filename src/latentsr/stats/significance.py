"""When a difference is called one: the estimand, its test and rule, adjusted p; equivalence within a margin (TOST)."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.optimize import brentq

from latentsr.errors import InputError, OptionError
from latentsr.stats.paired import Pair, chosen_pairs, pair_columns, unit_means, unit_members, units_of, wide
from latentsr.stats.table import check_table


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
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


LEVEL = 0.05  # of a family's tests: an adjusted p below it is called a finding
FEWEST = 6  # patients; with fewer not even the signed-rank test, which assumes no distribution, could reach LEVEL
POWER = 0.8  # of the detectable difference
ROUNDING = 1e-9  # of the mean: a smaller sd is nothing but rounding
SMALLEST = 1e-5  # of the means: a smaller difference is what saving in 16 bits makes, however sure it is

# What becomes of a comparison's columns when its pair is turned round: another sign, or places exchanged.
SIGNED = ("difference", "image_weighted", "d", "d_z", "rank_biserial")
EXCHANGED: Mapping[tuple[str, str], Callable[[Any], Any]] = {
    **dict.fromkeys([("a", "b"), ("mean_a", "mean_b")], lambda value: value),
    **dict.fromkeys([("units_below", "units_above"), ("images_below", "images_above")], lambda value: value),
    **dict.fromkeys([("low", "high"), ("least", "greatest"), ("loo_low", "loo_high")], operator.neg),
    ("image_weighted_low", "image_weighted_high"): operator.neg,
}

Floats = NDArray[np.float64]
Finding = Literal["better", "worse", "open", "few"]


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


def mean_test(units: ArrayLike, *, level: float = 0.95) -> MeanTest:
    """Mean, interval and p of the values of independent units, such as patients' mean differences.

    Args:
        units: (units, columns); NaN where a unit has no value.
        level: of the interval.

    Where all units have the same value, rounding apart, the interval is that value and p is 0, or 1 if it is zero.

    Measured in 20,000 simulated studies each: the 95 % interval covers 95 % of normal units from 3 of them on, 94 to
    96 % where these are patients of 1 to 12 images; of skewed ones less, exponential 91 % at 15 units and 94 % at 60,
    log-normal (sd 1 of the logarithm) 86 and 90 %. At d_z 1 the test of normal units has more power than the
    signed-rank test (6 units: 51 against 36 %, 10: 80 against 78 %); of heavy tails it can have less (t distribution
    of 3 degrees of freedom, d_z 0.5, 20 units: 70 against 78 %).

    Source: Student 1908; equal to scipy's ttest_1samp. Raises InputError for infinite values and other shapes.
    """
    if not 0 < level < 1:
        raise OptionError(f"level {level}: expected a number between 0 and 1, such as 0.95")
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


def detectable(n: int, *, level: float = LEVEL, power: float = POWER) -> float:
    """The mean difference, in sds of the units' differences, that the test of `n` units finds with this power.

    NaN with fewer than two units. Source: Cohen 1988, chapter 2 (noncentral t).
    """
    return float("nan") if n < 2 else _detectable(int(n), level, power)


@lru_cache(maxsize=1024)
def _detectable(n: int, level: float, power: float) -> float:
    critical, root = float(stats.t.ppf(1 - level / 2, n - 1)), np.sqrt(n)

    def excess(effect: float) -> float:  # a finding on the wrong side has a chance below 1e-5 here, and is left out
        return float(stats.nct.sf(critical, n - 1, effect * root)) - power

    near = (critical + float(stats.t.ppf(power, n - 1))) / root
    return float(brentq(excess, near / 2, 2 * near))


def judge(row: Mapping[str, Any], better: str) -> Finding:
    """Whether the first method of a comparison's row is "better" or "worse" than the second: the one rule.

    "open" where the row's adjusted p, `p_holm`, is not below LEVEL, or the difference is SMALLEST of the means or less;
    "few" where fewer than FEWEST units were compared.

    Args:
        row: of `compare_methods`, by patient.
        better: "higher" or "lower", which values of the measure are better.
    """
    if row["n"] < FEWEST or not np.isfinite(row["p_holm"]):
        return "few"
    means = max(abs(row.get("mean_a", 0.0)), abs(row.get("mean_b", 0.0)))
    if row["p_holm"] >= LEVEL or abs(row["difference"]) <= SMALLEST * means:
        return "open"
    return "better" if (row["difference"] > 0) == (better == "higher") else "worse"


def turned(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row of the pair (b, a): `compare_methods` has each pair once. Columns that the row lacks stay away."""
    signed = {name: -row[name] for name in SIGNED if name in row}
    exchanged: dict[str, Any] = {}
    for (first, second), sign in EXCHANGED.items():
        if first in row:
            exchanged |= {first: sign(row[second]), second: sign(row[first])}
    return {**row, **signed, **exchanged}


EQUIVALENCE_COLUMNS = (
    "dataset", "metric", "a", "b", "unit", "images", "patients", "infinite", "missing", "n", "margin", "difference",
    "low", "high", "p", "verdict",
)  # fmt: skip
EQUIVALENT, NOT_SHOWN = "equivalent", "not shown"  # verdicts


@dataclass(frozen=True)
class Equivalence:
    """What n units say of a difference that shall lie within -+ margin.

    `difference` is the mean over units; `low`, `high` its Student interval of level 1 - 2 alpha (90 % at 5 %); `p` the
    larger of the two one-sided p-values. `verdict` is "equivalent" where the interval lies inside the margin (then
    p < alpha), "not shown" otherwise, as also with fewer than two units. That they differ is another test's to say.
    """

    n: int
    margin: float
    difference: float
    low: float
    high: float
    p: float
    verdict: str


def tost(
    differences: ArrayLike, margin: float, *, patients: Sequence[str] | None = None, alpha: float = 0.05
) -> Equivalence:
    """The two one-sided paired t tests that the mean of the differences, (images,), lies within -+ margin.

    Given `patients`, a patient's differences are first averaged, so that each patient counts once: several images of a
    patient are no independent evidence, and taken as such the test does not hold its level. NaN is left out.

    Args:
        differences: a - b of each image.
        margin: above 0, in the unit of the differences; chosen before the data were seen.
        patients: the patient of each image.
        alpha: chance of calling methods equivalent that differ by the margin; below 0.5.

    Source: Schuirmann 1987; equal to statsmodels' ttost_paired.
    """
    if not margin > 0 or not 0 < alpha < 0.5:
        raise OptionError(f"margin {margin} and alpha {alpha}: expected a margin above 0, and 0 < alpha < 0.5")
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or np.isinf(values).any() or (patients is not None and len(patients) != len(values)):
        raise InputError(f"differences of shape {values.shape}, finite or not: expected (images,), finite or NaN")
    kept = ~np.isnan(values)
    units = values[kept]
    if patients is not None:
        units = unit_means(units[:, None], list(np.asarray(patients)[kept]))[:, 0]
    found = mean_test(units[:, None], level=1 - 2 * alpha)
    n, mean, sd, low, high = (float(one[0]) for one in found[:5])
    p = _p_value(mean, sd / np.sqrt(n), int(n), margin) if n > 1 else np.nan
    inside = -margin < low and high < margin
    return Equivalence(int(n), margin, mean, low, high, p, EQUIVALENT if inside else NOT_SHOWN)


def compare_equivalence(
    table: pd.DataFrame,
    margins: Mapping[str, float],
    *,
    pairs: Sequence[Pair] | None = None,
    baseline: str | None = None,
    unit: str = "patient",
    alpha: float = 0.05,
) -> pd.DataFrame:
    """One row a dataset, metric with a margin, pair of methods and unit: `tost` of a - b.

    `infinite` and `missing` images are left out and counted, as in `compare_methods`, and so are the pairs chosen.
    `difference` is that of `compare_methods`. With fewer than FEWEST patients nothing is shown, as `judge` says of
    differences. Rows of unit "image" have no verdict: taking images of one patient for independent calls methods
    equivalent far more often than alpha says.

    Args:
        table: tidy.
        margins: of each metric, in its unit, such as {"psnr": 0.15}.
        pairs: (a, b) to compare; if neither these nor a baseline are given, all pairs but those with `hr`.
        baseline: compare each other method with this one.
        unit: "patient", "image" or "both".
        alpha: level of each test; the tests of several rows are not adjusted for their number.
    """
    units = units_of(unit)
    check_table(table)
    if unknown := sorted(set(margins) - set(table["metric"])):
        raise InputError(
            f"no metric {', '.join(unknown)} in the table: it has {', '.join(sorted(table['metric'].unique()))}"
        )
    rows = []
    for name, part in table[table["metric"].isin(list(margins))].groupby("dataset", sort=True):
        chosen = chosen_pairs(part, pairs=pairs, baseline=baseline)
        paired = pair_columns(wide(part), chosen)
        for one in units:
            members = unit_members(paired, one)
            for column, (metric, a, b) in enumerate(paired.labels):
                found = tost(paired.differences[:, column], margins[metric], patients=members, alpha=alpha)
                left_out = {"infinite": paired.infinite[:, column].sum(), "missing": paired.missing[:, column].sum()}
                sizes = {"images": len(members), "patients": len(set(paired.patients))} | left_out
                what = {"dataset": str(name), "metric": metric, "a": a, "b": b, "unit": one}
                verdict = found.verdict if found.n >= FEWEST else NOT_SHOWN
                rows.append(what | sizes | asdict(found) | {"verdict": verdict if one == "patient" else ""})
    return pd.DataFrame(rows, columns=list(EQUIVALENCE_COLUMNS))


def _p_value(mean: float, error: float, n: int, margin: float) -> float:
    """The larger of the p-values against mean <= -margin and against mean >= margin."""
    if error == 0:  # no spread at all: the mean is what it is
        return 0.0 if abs(mean) < margin else 1.0
    return float(stats.t.sf((margin - abs(mean)) / error, n - 1))

"""Equivalence within a margin: two one-sided tests (TOST), for claims such as "stable within 0.15 dB"."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from latentsr.errors import InputError, OptionError
from latentsr.stats.paired import Pair, chosen_pairs, pair_columns, unit_means, unit_members, units_of, wide
from latentsr.stats.significance import FEWEST, mean_test
from latentsr.stats.table import check_table

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

"""Two methods on the same images: their pairs, effect sizes of paired differences and of rates, the signed-rank test.

Each function drops the pairs where one value is NaN. An infinite value (the PSNR of identical images) is the caller's
to leave out: it has no difference.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import nct

from latentsr.errors import InputError, OptionError
from latentsr.names import HR

UNITS = ("patient", "image")

Pair = tuple[str, str]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Paired:
    """The values of some pairs of methods on a dataset's images: one column a pair and metric, one row an image.

    `first` and `second`, both (images, columns), hold the two methods' values as measured, NaN and infinities in it;
    `labels` the (metric, a, b) of each column, `patients` the patient of each image.
    """

    labels: tuple[tuple[str, str, str], ...]
    patients: tuple[str, ...]
    first: Floats
    second: Floats

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(images, columns): where both values are finite, so that they have a difference."""
        return np.isfinite(self.first) & np.isfinite(self.second)

    @property
    def missing(self) -> NDArray[np.bool_]:
        """(images, columns): where one of the values is NaN, so that the measure has none."""
        return np.isnan(self.first) | np.isnan(self.second)

    @property
    def infinite(self) -> NDArray[np.bool_]:
        """(images, columns): where no value is NaN but one is infinite, such as the PSNR of identical images."""
        return ~self.missing & ~self.usable

    @property
    def differences(self) -> Floats:
        """(images, columns): first minus second, NaN where a value is not finite."""
        return np.subtract(self.first, self.second, out=np.full(self.first.shape, np.nan), where=self.usable)


def wide(rows: pd.DataFrame) -> pd.DataFrame:
    """The values of one dataset's rows of a tidy table: an image a row (id, patient), a column a (method, metric).

    Both are sorted, so that the order of the tidy table's rows changes nothing.
    """
    # Not pivot_table, which would average rows away without a word.
    cells = rows.set_index(["id", "patient", "method", "metric"])["value"]
    return cells.unstack(["method", "metric"]).sort_index().sort_index(axis=1)


def pair_columns(values: pd.DataFrame, pairs: Sequence[Pair]) -> Paired:
    """The values of each pair (a, b) and each metric that both methods have, in the order of metrics, then pairs.

    `values` is that of `wide`: images are paired by its rows, never by position in the tidy table.
    """
    metrics = values.columns.get_level_values("metric").unique()
    labels = [
        (metric, a, b)
        for metric in sorted(metrics)
        for a, b in pairs
        if (a, metric) in values.columns and (b, metric) in values.columns
    ]
    at = {cell: number for number, cell in enumerate(values.columns)}
    numbers = values.to_numpy(dtype=np.float64)
    return Paired(
        labels=tuple(labels),
        patients=tuple(values.index.get_level_values("patient").astype(str)),
        first=numbers[:, [at[a, metric] for metric, a, _ in labels]],
        second=numbers[:, [at[b, metric] for metric, _, b in labels]],
    )


def chosen_pairs(rows: pd.DataFrame, *, pairs: Sequence[Pair] | None = None, baseline: str | None = None) -> list[Pair]:
    """The pairs (a, b) to compare in one dataset's rows: `pairs`, else each other method with `baseline`, else all.

    HR (the method named `hr`) is compared only where `pairs` or `baseline` names it. Of all pairs, a is the one that
    comes later in the order of names, so that (a, b) and (b, a) are not both there.

    Raises:
        OptionError: both `pairs` and `baseline`, a method paired with itself, or a pair given twice.
        InputError: a method that the dataset does not have; the ones it has are listed.
    """
    if pairs is not None and baseline is not None:
        raise OptionError("both pairs and baseline: give one of them")
    methods = sorted(rows["method"].unique())
    compared = [method for method in methods if method != HR]
    if pairs is None:
        wanted = [(b, a) for a, b in combinations(compared, 2)]
        if baseline is not None:
            wanted = [(method, baseline) for method in compared if method != baseline]
    else:
        wanted = [(a, b) for a, b in pairs]
    named = {method for pair in wanted for method in pair} | ({baseline} if baseline else set())
    if unknown := sorted(named - set(methods)):
        name = rows["dataset"].iloc[0]
        raise InputError(f"no method {', '.join(unknown)} in dataset {name}: it has {', '.join(methods)}")
    if wrong := [f"{a} with {b}" for a, b in wanted if a == b] or [
        f"{a} with {b} twice" for a, b in wanted if wanted.count((a, b)) > 1
    ]:
        raise OptionError(f"pairs {', '.join(sorted(set(wrong)))}: expected two methods, each pair once")
    return wanted


def units_of(unit: str) -> tuple[str, ...]:
    """The units of analysis that a text asks for: one, or patient and image for "both"; OptionError otherwise."""
    if unit not in (*UNITS, "both"):
        raise OptionError(f"unit '{unit}': expected patient, image or both")
    return UNITS if unit == "both" else (unit,)


def unit_members(paired: Paired, unit: str) -> list[str]:
    """The unit that each image belongs to: its patient, or itself alone."""
    return list(paired.patients) if unit == "patient" else [f"{number:09d}" for number in range(len(paired.patients))]


def unit_means(values: Floats, members: Sequence[str]) -> Floats:
    """(units, columns): each unit's mean over its images that have a value, NaN where none has; units sorted by name.

    Args:
        values: (images, columns).
        members: the unit, such as the patient, of each image.
    """
    return pd.DataFrame(values).groupby(np.asarray(members), sort=True).mean().to_numpy(dtype=np.float64)


ROUNDING = 1e-9  # of the largest: smaller steps are nothing but rounding
EXACT, EXACT_WITH_TIES = 50, 13  # pairs up to which p is exact, as in scipy


def wilcoxon(differences: ArrayLike) -> float:
    """The two-sided p-value of the Wilcoxon signed-rank test that the differences, (pairs,), lie around zero.

    Zero differences are dropped and tied ones share the mean of their ranks, where steps below 1e-9 of the largest
    difference count as none. Exact up to 50 pairs, or up to 13 where
    there are zeros or ties; beyond, the normal approximation with its tie correction: equal to scipy's "wilcox" and
    "auto", whose tries of all signs take a thousand times longer. p = 1 where all differences are zero, NaN where there
    are fewer than two pairs. Source: Wilcoxon 1945; Lehmann 1975 (ties).
    """
    kept = _present(differences)
    if len(kept) < 2:
        return float("nan")
    ranks, positive = _signed_ranks(kept)
    clean = len(np.unique(ranks)) == len(kept)
    if len(kept) <= (EXACT if clean else EXACT_WITH_TIES):
        # Over all ways to turn the signs: twice the share of those with a rank sum as far out on the same side.
        ways = _ways(tuple(np.rint(2 * np.sort(ranks)).astype(int).tolist()))  # shared ranks are halves
        reached = int(np.rint(2 * ranks[positive].sum()))
        return float(min(1, 2 * min(ways[: reached + 1].sum(), ways[reached:].sum()) / ways.sum()))
    # By the normal distribution with the mean and sd of the sum of positive ranks, no continuity correction.
    deviation = ranks[positive].sum() - ranks.sum() / 2
    sd = math.sqrt((ranks**2).sum() / 4)  # the squares of shared ranks hold the tie correction
    return math.erfc(abs(deviation) / sd / math.sqrt(2)) if sd else 1.0


@lru_cache(maxsize=128)
def _ways(ranks: tuple[int, ...]) -> NDArray[np.float64]:
    """In how many ways of choosing ranks each sum from 0 to that of all comes about."""
    ways = np.ones(1)
    for rank in ranks:
        unchosen = np.zeros(rank)
        ways = np.concatenate([ways, unchosen]) + np.concatenate([unchosen, ways])
    return ways


def _signed_ranks(differences: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Ranks of the absolute differences that are not zero, ties shared, and which of these are positive.

    Differences of sizes that lie within ROUNDING of the largest are tied, or zero: without that, the last bits of
    patients' means (0.1 + 0.2 against 0.3) would decide which of two equal differences has the higher rank.
    """
    sizes = np.abs(differences)
    near = ROUNDING * sizes.max(initial=0)
    moved, sizes = differences[sizes > near], sizes[sizes > near]
    order = np.argsort(sizes)
    place = np.empty(len(sizes), dtype=np.intp)
    place[order] = np.cumsum(np.diff(sizes[order], prepend=0) > near) - 1
    times = np.bincount(place)
    return (np.cumsum(times) - (times - 1) / 2)[place], moved > 0


def cohen_d(a: ArrayLike, b: ArrayLike) -> float:
    """Cohen's d: mean of a - b over the pooled sd of a and b (ddof 1), as if unpaired; the published effect size.

    NaN with fewer than two pairs or where neither varies. Source: Cohen 1988, equation 2.5.1.
    """
    first, second = _pairs(a, b)
    return _ratio(_mean(first - second), ((_variance(first) + _variance(second)) / 2) ** 0.5)


def cohen_dz(differences: ArrayLike) -> float:
    """Cohen's d_z: mean of the paired differences, (pairs,), over their sd (ddof 1).

    NaN with fewer than two pairs or where all differ by the same. Source: Cohen 1988, equation 2.3.5.
    """
    kept = _present(differences)
    return _ratio(_mean(kept), _variance(kept) ** 0.5)


def dz_interval(d_z: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """(low, high) of Cohen's d_z of `n` pairs: the effects at which it lies in one tail of the noncentral t.

    d_z sqrt(n) has a noncentral t distribution with n - 1 degrees of freedom around the true effect times sqrt(n), if
    differences are normal. (NaN, NaN) with fewer than two pairs or without a d_z. Source: Cumming and Finch 2001;
    equal to R's MBESS::ci.sm.
    """
    if n < 2 or not math.isfinite(d_z):
        return float("nan"), float("nan")
    root, tail = math.sqrt(n), (1 - level) / 2
    ends = [_centre(d_z * root, n - 1, share) for share in (1 - tail, tail)]
    return ends[0] / root, ends[1] / root


def _centre(t: float, freedom: int, share: float) -> float:
    """The noncentrality at which a share of the distribution lies below t: found between ends widened step by step."""

    def beyond(centre: float) -> float:
        below = float(nct.cdf(t, freedom, centre))
        # scipy 1.17 has NaN far out, where the share is within 1e-6 of none or all: sides differ, or lie far apart.
        return (float(centre < t) if math.isnan(below) else below) - share

    low = high = t
    step = 1 + abs(t) / math.sqrt(2 * freedom)
    while beyond(low) < 0:
        low -= step
    while beyond(high) > 0:
        high += step
    return float(brentq(beyond, low, high)) if low < high else t


def rank_biserial(differences: ArrayLike) -> float:
    """The matched-pairs rank-biserial correlation in [-1, 1]: (ranks for a - ranks against a) / all ranks.

    Ranks are those of the absolute differences, zeros dropped, ties shared, as `wilcoxon` has them. 0 where all
    differences are zero, NaN without pairs. Source: Kerby 2014, The simple difference formula.
    """
    kept = _present(differences)
    if not len(kept):
        return float("nan")
    ranks, positive = _signed_ranks(kept)
    return float(np.where(positive, ranks, -ranks).sum() / max(ranks.sum(), 1))


def cohen_h(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """Cohen's h of two rates, or arrays of rates, in [0, 1]: 2 asin sqrt first - 2 asin sqrt second, in [-pi, pi].

    InputError for a rate outside [0, 1]; NaN where a rate is NaN. Source: Cohen 1988, equation 6.2.1.
    """
    rates = [np.asarray(rate, dtype=np.float64) for rate in (first, second)]
    if any(((rate < 0) | (rate > 1)).any() for rate in rates):
        raise InputError("a rate outside [0, 1]: expected shares; divide percentages by 100")
    return np.asarray(2 * np.arcsin(np.sqrt(rates[0])) - 2 * np.arcsin(np.sqrt(rates[1])))


def _present(differences: ArrayLike) -> NDArray[np.float64]:
    """The differences that are not NaN; InputError for infinite ones."""
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or np.isinf(values).any():
        raise InputError(
            f"differences of shape {values.shape}, finite or not: expected (pairs,) of finite numbers or NaN"
        )
    return values[~np.isnan(values)]


def _pairs(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise InputError(f"{first.shape} against {second.shape} values: expected as many of a as of b, pair by pair")
    both = ~np.isnan(first - second)
    return first[both], second[both]


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _variance(values: NDArray[np.float64]) -> float:
    return float(np.var(values, ddof=1)) if len(values) > 1 else float("nan")


def _ratio(mean: float, sd: float) -> float:
    """Mean over sd; NaN where the sd is nothing but rounding."""
    return float(mean / sd) if sd > ROUNDING * abs(mean) else float("nan")


def rate_effects(comparison: pd.DataFrame, rates: Collection[str]) -> pd.DataFrame:
    """The rows of a comparison whose metric is one of `rates`, with `h`, Cohen's h of mean_a and mean_b.

    A rate is a share in [0, 1] of an image's pixels, and its mean over images the pooled rate where the images have one
    size. h puts a difference in proportion to what a rate can vary: 0.2 is small, 0.5 medium, 0.8 large (Cohen 1988).

    Args:
        comparison: what `compare_methods` gives.
        rates: names of metrics that are shares.

    Raises:
        InputError: a metric that was not compared, or values outside [0, 1].
    """
    if unknown := sorted(set(rates) - set(comparison["metric"])):
        raise InputError(f"no metric {', '.join(unknown)} in the comparison: expected metrics that were compared")
    rows = comparison[comparison["metric"].isin(list(rates))].reset_index(drop=True)
    return rows.assign(h=cohen_h(rows["mean_a"], rows["mean_b"]))

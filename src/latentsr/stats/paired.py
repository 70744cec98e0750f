"""Two methods on the same images: their pairs, effect sizes, the signed-rank test, agreement after Bland and Altman.

The tests and effect sizes drop pairs where one value is NaN. An infinite value (the PSNR of identical images) has no
difference: the caller leaves it out.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.special import nctdtr

from latentsr.errors import InputError, OptionError
from latentsr.names import HR
from latentsr.stats.table import check_table

UNITS = ("patient", "image")
CONFIDENCE = 0.95  # level of intervals

Pair = tuple[str, str]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Paired:
    """The values of pairs of methods on a dataset's images: one column per metric and pair, one row per image.

    `first` and `second`, both (images, columns), hold the two methods' values, NaN and infinities included; `labels`
    the (metric, a, b) of each column, `patients` the patient of each image.
    """

    labels: tuple[tuple[str, str, str], ...]
    patients: tuple[str, ...]
    first: Floats
    second: Floats

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(images, columns): both values are finite, so that they have a difference."""
        return np.isfinite(self.first) & np.isfinite(self.second)

    @property
    def missing(self) -> NDArray[np.bool_]:
        """(images, columns): one of the values is NaN."""
        return np.isnan(self.first) | np.isnan(self.second)

    @property
    def infinite(self) -> NDArray[np.bool_]:
        """(images, columns): neither value is NaN but one is infinite, such as the PSNR of identical images."""
        return ~self.missing & ~self.usable

    @property
    def differences(self) -> Floats:
        """(images, columns): first minus second, NaN where a value is not finite."""
        return np.subtract(self.first, self.second, out=np.full(self.first.shape, np.nan), where=self.usable)


def wide(rows: pd.DataFrame) -> pd.DataFrame:
    """The values of one dataset's tidy rows: one row per image (id, patient), one column per (method, metric).

    Both are sorted, so that the order of the tidy table's rows changes nothing.
    """
    # Not pivot_table, which averages duplicates silently.
    cells = rows.set_index(["id", "patient", "method", "metric"])["value"]
    return cells.unstack(["method", "metric"]).sort_index().sort_index(axis=1)


def pair_columns(values: pd.DataFrame, pairs: Sequence[Pair]) -> Paired:
    """The values of each pair (a, b) and each metric that both methods have, in the order of metrics, then pairs.

    `values` is that of `wide`: images are paired by its rows, never by position in the tidy table.
    """
    at = {cell: number for number, cell in enumerate(values.columns)}
    metrics = sorted(values.columns.get_level_values("metric").unique())
    labels = [(metric, a, b) for metric in metrics for a, b in pairs if {(a, metric), (b, metric)} <= at.keys()]
    numbers = values.to_numpy(dtype=np.float64)
    return Paired(
        labels=tuple(labels),
        patients=tuple(values.index.get_level_values("patient").astype(str)),
        first=numbers[:, [at[a, metric] for metric, a, _ in labels]],
        second=numbers[:, [at[b, metric] for metric, _, b in labels]],
    )


def paired_units(table: pd.DataFrame, pairs: Sequence[Pair], unit: str) -> list[tuple[str, str, Paired, list[str]]]:
    """(dataset, unit, its paired values, the unit that each image belongs to) of each dataset and unit of analysis.

    `table` is tidy; `pairs` are of methods (a, b); `unit` is "patient", "image" (each its own unit) or "both".

    Raises:
        InputError: images missing, twice or of two patients; a method that a dataset lacks.
        OptionError: an unknown unit; a method paired with itself; a pair given twice.
    """
    if unit not in (*UNITS, "both"):
        raise OptionError(f"unit '{unit}': expected patient, image or both")
    if wrong := {f"{a} with {b}" for a, b in pairs if a == b or list(pairs).count((a, b)) > 1}:
        raise OptionError(f"pairs {', '.join(sorted(wrong))}: expected two methods, each pair once")
    found = []
    for dataset, rows in check_table(table).groupby("dataset", sort=True):
        methods = sorted(rows["method"].unique())
        if unknown := sorted({method for pair in pairs for method in pair} - set(methods)):
            raise InputError(f"no method {', '.join(unknown)} in dataset {dataset}: it has {', '.join(methods)}")
        paired = pair_columns(wide(rows), pairs)
        images = [f"{number:09d}" for number in range(len(paired.patients))]
        members = {"patient": list(paired.patients), "image": images}
        found += [(str(dataset), one, paired, members[one]) for one in UNITS if unit in (one, "both")]
    return found


def unit_means(values: Floats, members: Sequence[str]) -> Floats:
    """(units, columns): each unit's mean over its images that have a value, NaN where none has; units sorted by name.

    `values` is (images, columns), `members` the unit, such as the patient, of each image.
    """
    return pd.DataFrame(values).groupby(np.asarray(members), sort=True).mean().to_numpy(dtype=np.float64)


ROUNDING = 1e-9  # of the largest: smaller steps are rounding errors
EXACT, EXACT_WITH_TIES = 50, 13  # pairs up to which p is exact, as in scipy
BISECTIONS = 40  # halvings of an interval: to 1e-12 of it


def wilcoxon(differences: ArrayLike) -> float:
    """The two-sided p of the Wilcoxon signed-rank test that the differences, (pairs,), lie around zero.

    Zero differences are dropped and ties share the mean of their ranks; steps below ROUNDING of the largest difference
    count as none. Exact up to 50 pairs, or up to 13 with zeros or ties; beyond, the normal approximation with tie
    correction: equal to scipy's "wilcox" and "auto", which enumerate all signs and take a thousand times longer. 1
    where all differences are zero, NaN with fewer than two pairs. Source: Wilcoxon 1945; Lehmann 1975 (ties).
    """
    kept = _present(differences)
    if len(kept) < 2:
        return float("nan")
    ranks, positive = _signed_ranks(kept)
    clean = len(np.unique(ranks)) == len(kept)
    if len(kept) <= (EXACT if clean else EXACT_WITH_TIES):
        # Over all ways to flip the signs: twice the share of those with a rank sum as far out on the same side.
        ways = _ways(tuple(np.rint(2 * np.sort(ranks)).astype(int).tolist()))  # shared ranks are halves
        reached = int(np.rint(2 * ranks[positive].sum()))
        return float(min(1, 2 * min(ways[: reached + 1].sum(), ways[reached:].sum()) / ways.sum()))
    # The normal distribution with the mean and sd of the sum of positive ranks, without continuity correction.
    deviation = ranks[positive].sum() - ranks.sum() / 2
    sd = math.sqrt((ranks**2).sum() / 4)  # the squares of shared ranks include the tie correction
    return math.erfc(abs(deviation) / sd / math.sqrt(2)) if sd else 1.0


@lru_cache(maxsize=128)
def _ways(ranks: tuple[int, ...]) -> Floats:
    """The number of subsets of `ranks` with each sum, from 0 to the sum of all."""
    ways = np.ones(1)
    for rank in ranks:
        unchosen = np.zeros(rank)
        ways = np.concatenate([ways, unchosen]) + np.concatenate([unchosen, ways])
    return ways


def _signed_ranks(differences: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Ranks of the absolute differences that are not zero, ties shared, and which of these are positive.

    Sizes within ROUNDING of the largest are tied, or zero: otherwise the last bits of patients' means (0.1 + 0.2
    against 0.3) would decide which of two equal differences ranks higher.
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
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise InputError(f"{first.shape} against {second.shape} values: expected as many of a as of b, pair by pair")
    present = ~np.isnan(first - second)
    if present.sum() < 2:
        return float("nan")
    first, second = first[present], second[present]
    return _ratio((first - second).mean(), ((first.var(ddof=1) + second.var(ddof=1)) / 2) ** 0.5)


def cohen_dz(differences: ArrayLike) -> float:
    """Cohen's d_z: mean of the paired differences, (pairs,), over their sd (ddof 1).

    NaN with fewer than two pairs or where all differ by the same. Source: Cohen 1988, equation 2.3.5.
    """
    kept = _present(differences)
    return _ratio(kept.mean(), kept.var(ddof=1) ** 0.5) if len(kept) > 1 else float("nan")


def dz_interval(d_z: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
    """(low, high): the 95 % interval of Cohen's d_z of `n` pairs, numbers or arrays of one shape.

    Its ends are the effects at which d_z lies in one tail of the noncentral t: d_z sqrt(n) has that distribution with
    n - 1 degrees of freedom around the true effect times sqrt(n), if differences are normal. NaN with fewer than two
    pairs or without a d_z. Source: Cumming and Finch 2001; equal to R's MBESS::ci.sm.
    """
    effects, pairs = np.asarray(d_z, dtype=np.float64), np.asarray(n, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        t, freedom = np.where(pairs > 1, effects * np.sqrt(pairs), np.nan), pairs - 1
        reach = 5 * (1 + np.abs(t) / np.sqrt(2 * freedom))  # beyond the ends even of two pairs
    ends = []
    for share in ((1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2):
        low, high = t - reach, t + reach
        for _ in range(BISECTIONS):
            centre = (low + high) / 2
            below = nctdtr(freedom, centre, t)
            # scipy 1.17 gives NaN far out, where the share is within 1e-6 of 0 or 1.
            right = np.where(np.isnan(below), centre < t, below) > share
            low, high = np.where(right, centre, low), np.where(right, high, centre)
        ends.append((low + high) / 2 / np.sqrt(pairs))
    return ends[0], ends[1]


def rank_biserial(differences: ArrayLike) -> float:
    """The matched-pairs rank-biserial correlation in [-1, 1]: (ranks for a - ranks against a) / all ranks.

    Ranks are those of `wilcoxon`. 0 where all differences are zero, NaN without pairs. Source: Kerby 2014, The simple
    difference formula.
    """
    kept = _present(differences)
    if not len(kept):
        return float("nan")
    ranks, positive = _signed_ranks(kept)
    return float(np.where(positive, ranks, -ranks).sum() / max(ranks.sum(), 1))


def cohen_h(first: ArrayLike, second: ArrayLike) -> Floats:
    """Cohen's h of two rates, or arrays of rates, in [0, 1]: 2 asin sqrt first - 2 asin sqrt second, in [-pi, pi].

    InputError for a rate outside [0, 1]; NaN where a rate is NaN. Source: Cohen 1988, equation 6.2.1.
    """
    rates = [np.asarray(rate, dtype=np.float64) for rate in (first, second)]
    if any(((rate < 0) | (rate > 1)).any() for rate in rates):
        raise InputError("a rate outside [0, 1]: expected shares; divide percentages by 100")
    return np.asarray(2 * np.arcsin(np.sqrt(rates[0])) - 2 * np.arcsin(np.sqrt(rates[1])))


def _present(differences: ArrayLike) -> Floats:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or np.isinf(values).any():
        raise InputError(f"differences of shape {values.shape}: expected (pairs,) of finite numbers or NaN")
    return values[~np.isnan(values)]


def _ratio(mean: float, sd: float) -> float:
    """Mean over sd; NaN where the sd is a rounding error."""
    return float(mean / sd) if sd > ROUNDING * abs(mean) else float("nan")


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

"""Pearson correlation with its interval, and the least-squares line with its confidence and prediction bands."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from latentsr.errors import InputError, OptionError
from latentsr.stats.paired import CONFIDENCE, Floats


@dataclass(frozen=True)
class Correlation:
    """Pearson's r of n points, its Fisher-z interval (NaN with fewer than four points) and two-sided p of r = 0."""

    r: float
    low: float
    high: float
    p: float
    n: int

    @property
    def words(self) -> str:
        """Such as "r = 0.83 [0.55, 0.94], n = 15"; no bracket without an interval, "r not defined" for NaN."""
        if not np.isfinite(self.r):
            return f"r not defined, n = {self.n}"
        interval = f" [{self.low:.2f}, {self.high:.2f}]" if np.isfinite([self.low, self.high]).all() else ""
        return f"r = {self.r:.2f}{interval}, n = {self.n}"


@dataclass(frozen=True, eq=False)
class Bands:
    """A line at given x, each (points,): its centre, the interval of the mean there, and of a new point.

    Unpacks in that order: centre, confidence low and high, prediction low and high.
    """

    centre: Floats
    confidence_low: Floats
    confidence_high: Floats
    prediction_low: Floats
    prediction_high: Floats

    def __iter__(self) -> Iterator[Floats]:
        return iter(vars(self).values())


@dataclass(frozen=True)
class Line:
    """A least-squares line y = slope x + intercept of n points, with the sd of its residuals (n - 2 in it).

    `x_mean` and `x_squares` are the mean of x and the sum of squared deviations from it.
    """

    slope: float
    intercept: float
    r2: float
    n: int
    residual_sd: float
    x_mean: float
    x_squares: float

    def predict(self, x: ArrayLike, level: float = CONFIDENCE) -> Bands:
        """Centre, confidence and prediction band at x, a number or (points,); both bands are NaN with two points only.

        Source: Draper and Smith 1998, section 3.1; equal to statsmodels' OLS get_prediction.
        """
        if not 0 < level < 1:
            raise OptionError(f"level {level}: expected a number between 0 and 1, such as 0.95")
        at = np.atleast_1d(np.asarray(x, dtype=np.float64))
        centre = self.intercept + self.slope * at
        leverage = 1 / self.n + (at - self.x_mean) ** 2 / self.x_squares
        reach = self.residual_sd * (stats.t.ppf((1 + level) / 2, self.n - 2) if self.n > 2 else np.nan)
        mean, new = reach * np.sqrt(leverage), reach * np.sqrt(1 + leverage)
        return Bands(centre, centre - mean, centre + mean, centre - new, centre + new)


def pearson(x: ArrayLike, y: ArrayLike) -> Correlation:
    """Pearson's r of x and y, both (points,), with its 95 % Fisher-z interval.

    Points where one is NaN are left out. r, interval and p are NaN with fewer than three points or where x or y does
    not vary. InputError for lengths that differ or infinite values.
    """
    first, second = _points(x, y)
    n = len(first)
    if n < 3 or not (np.ptp(first) and np.ptp(second)):
        return Correlation(np.nan, np.nan, np.nan, np.nan, n)
    found = stats.pearsonr(first, second)
    return Correlation(float(found.statistic), *fisher_interval(float(found.statistic), n), float(found.pvalue), n)


def fisher_interval(r: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a correlation r of n points: tanh(atanh r -+ z / sqrt(n - 3)); NaN with fewer than four.

    Source: Fisher 1921, On the probable error of a coefficient of correlation.
    """
    if n < 4 or np.isnan(r):
        return np.nan, np.nan
    if abs(r) >= 1:
        return float(r), float(r)
    reach = stats.norm.ppf((1 + CONFIDENCE) / 2) / np.sqrt(n - 3)
    return float(np.tanh(np.arctanh(r) - reach)), float(np.tanh(np.arctanh(r) + reach))


def fit_line(x: ArrayLike, y: ArrayLike) -> Line:
    """The ordinary least-squares line of y on x, both (points,); points where one is NaN are left out.

    InputError for fewer than two points, an x that does not vary, lengths that differ, or infinite values.
    """
    first, second = _points(x, y)
    if len(first) < 2 or not np.ptp(first):
        raise InputError(f"{len(first)} points, x all alike or too few: a line needs two points at different x")
    mean, squares = float(first.mean()), float(((first - first.mean()) ** 2).sum())
    slope = float(((first - mean) * (second - second.mean())).sum() / squares)
    intercept = float(second.mean() - slope * mean)
    residuals, freedom = second - intercept - slope * first, len(first) - 2
    residual_sd = float(np.sqrt((residuals**2).sum() / freedom)) if freedom else np.nan
    return Line(slope, intercept, pearson(first, second).r ** 2, len(first), residual_sd, mean, squares)


def regress(x: ArrayLike, y: ArrayLike) -> dict[str, float]:
    """`pearson` and `fit_line` of y on x as cells of a row.

    They are n, r, r_low, r_high, p, r2, slope, intercept, residual_sd. NaN where they are not defined: the line where x
    does not vary, r where one of them does not or with fewer than three points. Errors as of `pearson`.
    """
    found, cells = pearson(x, y), dict.fromkeys(("r2", "slope", "intercept", "residual_sd"), np.nan)
    if found.n > 1 and np.ptp(_points(x, y)[0]):
        line = fit_line(x, y)
        cells = {name: getattr(line, name) for name in cells}
    return {"n": found.n, "r": found.r, "r_low": found.low, "r_high": found.high, "p": found.p, **cells}


def _points(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise InputError(f"x of shape {first.shape} and y of {second.shape}: expected one y for each x, both (points,)")
    if np.isinf(first).any() or np.isinf(second).any():
        raise InputError("infinite x or y (a lossless autoencoder's PSNR?): leave these points out and say so")
    present = ~np.isnan(first) & ~np.isnan(second)
    return first[present], second[present]

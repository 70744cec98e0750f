"""Pearson correlation with its interval, the least-squares line with its bands, and AE ceilings beside results."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from latentsr.errors import InputError, OptionError
from latentsr.names import BICUBIC
from latentsr.stats.paired import CONFIDENCE, Floats, wide
from latentsr.stats.significance import mean_test


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


CEILING, RESULT = "ceiling_psnr", "psnr"
CEILING_COLUMNS = (
    "dataset", "model", "method", "points", "n", "autoencoders", "ceiling", "ceiling_low", "ceiling_high", "gap",
    "gap_low", "gap_high", "r", "r_low", "r_high", "p", "r2", "slope", "intercept", "residual_sd",
)  # fmt: skip
LINE_COLUMNS = ("x", "centre", "confidence_low", "confidence_high", "prediction_low", "prediction_high")
POINT_COLUMNS = ("dataset", "figure", "model", "method", "x", "y")
SMALLEST = 3  # points of different models, and on one dataset autoencoders, that a line takes
STEPS = 61  # places along a line


def compare_ceilings(table: pd.DataFrame, summary: pd.DataFrame, autoencoders: Mapping[str, str]) -> pd.DataFrame:
    """AE ceilings beside results: CEILING_COLUMNS, a row per dataset, model and method, then per dataset, then of all.

    The first have patients as points: of each dataset and model, once with the model's own results and once with
    bicubic's, which use no autoencoder: where both correlations are alike, they tell how hard the images are. A point
    is a patient's means over the images on which ceiling, result and bicubic are finite; `ceiling` is the mean over
    patients with its interval, `gap` that of ceiling - result with Student's interval (of the model's own results
    alone). The others have models as points: a model's mean ceiling and result on a dataset; `autoencoders` is the
    number of different ones. `n` points give Pearson's r with Fisher's interval and p, and the least-squares line with
    the sd of its residuals.

    Args:
        table: tidy; images that lack a finite ceiling or result are left out.
        summary: that of the table.
        autoencoders: by each model whose latents lose something what tells its autoencoder from others, such as a hash.
    """
    found, means = [], summary[summary["metric"] == CEILING].set_index(["dataset", "method"])
    for dataset, model, images in _images(table, autoencoders):
        row = means.loc[(dataset, model)]
        gap = mean_test((images[CEILING] - images[model]).groupby(level="patient").mean().to_numpy()[:, None])
        patients = images.dropna().groupby(level="patient").mean()
        label = {"dataset": dataset, "model": model, "points": "patients", "autoencoders": 1}
        label |= {"ceiling": row["mean"], "ceiling_low": row["mean_low"], "ceiling_high": row["mean_high"]}
        own = {"gap": gap.mean[0], "gap_low": gap.low[0], "gap_high": gap.high[0]}
        found.append(label | {"method": model} | own | regress(patients[CEILING], patients[model]))
        found.append(label | {"method": BICUBIC} | regress(patients[CEILING], patients[BICUBIC]))
    for dataset, points in _models(summary, autoencoders).items():
        label = {"dataset": dataset, "model": "", "method": "", "points": "models", "n": len(points)}
        label["autoencoders"] = points["autoencoder"].nunique()
        found.append(label | (regress(points[CEILING], points[RESULT]) if _suffice(dataset, points) else {}))
    return pd.DataFrame(found, columns=list(CEILING_COLUMNS))


def ceiling_lines(summary: pd.DataFrame, autoencoders: Mapping[str, str]) -> pd.DataFrame:
    """The lines of the rows over models with their 95 % bands at STEPS places from the least ceiling to the greatest.

    Arguments as of `compare_ceilings`.
    """
    found = []
    for dataset, points in _models(summary, autoencoders).items():
        if _suffice(dataset, points):
            x = np.linspace(points[CEILING].min(), points[CEILING].max(), STEPS)
            bands = vars(fit_line(points[CEILING], points[RESULT]).predict(x))
            found.append(pd.DataFrame({"dataset": dataset, "x": x, **bands}))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["dataset", *LINE_COLUMNS])


def ceiling_points(table: pd.DataFrame, autoencoders: Mapping[str, str]) -> pd.DataFrame:
    """What is drawn of patients: POINT_COLUMNS, x the mean ceiling of `model`, y the mean PSNR of `method`."""
    found = []
    for dataset, model, images in _images(table, autoencoders):
        patients = images.dropna().groupby(level="patient").mean()
        for method in (BICUBIC, model):
            label = {"dataset": dataset, "figure": "ceiling", "model": model, "method": method}
            found.append(pd.DataFrame({**label, "x": patients[CEILING], "y": patients[method]}))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=list(POINT_COLUMNS))


def _images(table: pd.DataFrame, models: Iterable[str]) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """(dataset, model, finite values of each image: the model's ceiling, its PSNR and bicubic's, by their names)."""
    models = list(models)
    for dataset, rows in table.groupby("dataset", sort=True):
        wanted = rows[rows["metric"].isin((CEILING, RESULT)) & rows["method"].isin([*models, BICUBIC])]
        values = wide(wanted) if len(wanted) else pd.DataFrame()
        values = values.where(np.isfinite(values))
        for model in models:
            cells = {CEILING: (model, CEILING), model: (model, RESULT), BICUBIC: (BICUBIC, RESULT)}
            if set(cells.values()) <= set(values.columns):
                yield str(dataset), model, pd.DataFrame({name: values[cell] for name, cell in cells.items()})


def _models(summary: pd.DataFrame, autoencoders: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    """By dataset, and "" for all of several, the models' mean ceilings and results, of those that have both."""
    rows = summary[summary["metric"].isin((CEILING, RESULT)) & summary["method"].isin(list(autoencoders))]
    wide = rows.pivot(index=["dataset", "method"], columns="metric", values="mean")
    means = wide.reindex(columns=[CEILING, RESULT]).dropna().reset_index()
    means["autoencoder"] = means["method"].map(autoencoders)
    parts = {str(dataset): points for dataset, points in means.groupby("dataset", sort=True)}
    return {name: one for name, one in (*parts.items(), *([("", means)] if len(parts) > 1 else [])) if len(one) > 1}


def _suffice(dataset: str, points: pd.DataFrame) -> bool:
    """Whether a line is laid: on one dataset it takes different autoencoders, of several datasets different points."""
    counts = [points[CEILING].nunique(), *([points["autoencoder"].nunique()] if dataset else [])]
    return min(counts) >= SMALLEST

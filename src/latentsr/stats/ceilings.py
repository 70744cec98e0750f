"""AE ceilings beside results: gap and correlation over patients, regressions over models and over datasets.

Rows of `compare_ceilings`, whose points are
    patients: of each dataset and model, once with the model's own results and once with bicubic's, which use no
        autoencoder: where both correlations are alike, they tell how hard the images are. A point is a patient's means
        over the images on which ceiling, result and bicubic are finite; `ceiling` is the mean over patients with its
        interval, `gap` that of ceiling - result with Student's interval (of the model's own results alone);
    models: of each dataset with several models, and with an empty `dataset` of all datasets together. A point is a
        model's mean ceiling and result on a dataset; `autoencoders` is the number of different ones.
`n` points give Pearson's r with Fisher's interval and p, and the least-squares line with the sd of its residuals.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd

from latentsr.names import BICUBIC
from latentsr.stats.paired import wide
from latentsr.stats.regression import fit_line, regress
from latentsr.stats.significance import mean_test

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
    """One row per dataset, model and method, then per dataset, then of all datasets: CEILING_COLUMNS.

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

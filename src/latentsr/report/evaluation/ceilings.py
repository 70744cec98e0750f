"""The AE ceilings of an evaluation's models beside their results: a table, and a figure of models or of patients."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from latentsr.names import BICUBIC
from latentsr.report.evaluation.data import Evaluation
from latentsr.report.figures import Point, ceiling_models, ceiling_patients
from latentsr.report.page import Block, Picture, Table, Text
from latentsr.report.text import interval, number
from latentsr.stats.regression import Correlation, fit_line, pearson
from latentsr.stats.significance import mean_test

CEILING, RESULT = "ceiling_psnr", "psnr"
INNER = "autoencoder"  # what the folder of an autoencoder within a model is called: no telling name
LINE, SMALLEST = 61, 3  # places along a drawn line; autoencoders that it takes
ENDS = ["mean", "mean_low", "mean_high"]


@dataclass(frozen=True)
class _Model:
    """A method that is a model: its name, what run.json says of its autoencoder, and whether it projects onto LR."""

    name: str
    autoencoder: Mapping[str, Any]
    projects: bool

    @property
    def lossless(self) -> bool:
        return bool(self.autoencoder["lossless"])


def ceiling_blocks(evaluation: Evaluation, dataset: str) -> Iterator[Block]:
    """Figure and table of a dataset's ceilings; one sentence where all models' latents are lossless; else nothing."""
    models = [
        _Model(str(one["name"]), one["autoencoder"], bool(one["options"]["consistency"]))
        for one in evaluation.run["methods"]
        if one.get("autoencoder")
    ]
    lossy = [one for one in models if not one.lossless and one.name in _finite(evaluation, dataset, CEILING)]
    if models and all(one.lossless for one in models):
        if dataset == evaluation.datasets[0]:
            yield Text((_LOSSLESS.format(", ".join(one.name for one in models)),))
    elif lossy and not evaluation.summary(dataset, RESULT).empty:
        yield from _picture(evaluation, dataset, lossy, [one for one in models if one.lossless])
        yield _table(evaluation, dataset, models)


_LOSSLESS = (
    "AE ceiling: none. The latents of all models here ({}) are lossless: the autoencoder gives an image back but for "
    "rounding, so it does not limit any result."
)


def _finite(evaluation: Evaluation, dataset: str, metric: str) -> pd.DataFrame:
    """Mean and interval by method, of those that have a mean."""
    return evaluation.summary(dataset, metric)[ENDS].dropna(subset="mean").T


def _picture(
    evaluation: Evaluation, dataset: str, lossy: Sequence[_Model], lossless: Sequence[_Model]
) -> Iterator[Picture]:
    """Models as points; of one model, its patients; nothing where all results are infinite."""
    title, results = f"Ceiling and result on {dataset}", _finite(evaluation, dataset, RESULT)
    drawn = [one for one in lossy if one.name in results]
    if len(drawn) == 1 and not _patients(evaluation, dataset, drawn[0].name).empty:
        yield Picture(title, *_of_patients(evaluation, dataset, drawn[0]))
    elif len(drawn) > 1:
        yield Picture(title, *_of_models(evaluation, dataset, drawn, lossless))


def _of_models(
    evaluation: Evaluation, dataset: str, lossy: Sequence[_Model], lossless: Sequence[_Model]
) -> tuple[Any, str]:
    ceilings, results = (_finite(evaluation, dataset, metric) for metric in (CEILING, RESULT))
    points = [
        Point(one.name, x[0], y[0], "", y[1], y[2], x[1], x[2])
        for one in lossy
        for x, y in [(tuple(ceilings[one.name]), tuple(results[one.name]))]
    ]
    levels = {name: results[name]["mean"] for name in (BICUBIC, *(one.name for one in lossless)) if name in results}
    different = {one.autoencoder["hash"] for one in lossy}
    drawn = {"levels": levels, "methods": evaluation.methods}
    caption = (
        "A point a model, means over patients; whiskers: 95 % intervals (paired differences are "
        f"far surer). Lines across: results without a ceiling, of bicubic and of lossless latents. {_above(lossy)}"
    )
    if len(points) < SMALLEST or len(different) < SMALLEST or len({point.x for point in points}) < SMALLEST:
        more = f" No line is laid through them: it takes models of {SMALLEST} autoencoders, here are {len(different)}."
        return ceiling_models(points, **drawn), caption + more  # type: ignore[arg-type]
    x, y = [point.x for point in points], [point.y for point in points]
    xs = np.linspace(min(x), max(x), LINE)
    told = (
        f" Least-squares line through {len(points)} models of {len(different)} autoencoders, with 95 % bands (as far "
        f"as they fit): {_correlation(pearson(x, y))}. So few points prove nothing: models differ in more than their "
        "autoencoder, and those of one autoencoder are not independent."
    )
    return ceiling_models(points, xs, fit_line(x, y).predict(xs), **drawn), caption + told  # type: ignore[arg-type]


def _of_patients(evaluation: Evaluation, dataset: str, model: _Model) -> tuple[Any, str]:
    means = _patients(evaluation, dataset, model.name)
    results = {name: (means[CEILING], means[name]) for name in (BICUBIC, model.name)}
    caption = (
        "A point a patient, means over its images: across, the ceiling of the model's autoencoder; upwards, the "
        f"results of the model and of bicubic. {_above([model])} An image with much fine detail is hard for both "
        "autoencoder and method, so points that rise together do not show that one limits the other: bicubic uses no "
        "autoencoder. The table has both correlations."
    )
    return ceiling_patients(results, methods=evaluation.methods), caption


def _above(models: Sequence[_Model]) -> str:
    """What a point above the diagonal means."""
    projecting = [one.name for one in models if one.projects]
    line = "the line 'result = ceiling' (drawn where it is near)"
    text = f"Results of a model that only decodes its latents seldom lie above {line}"
    if not projecting:
        return f"{text}."
    all_of_several = len(projecting) == len(models) > 1
    who = "all models here" if all_of_several else "the model" if len(models) == 1 else ", ".join(projecting)
    verb = "projects its" if len(projecting) == 1 else "project their"
    return f"{text}; {who} {verb} results onto the input (consistency), which adds what LR holds and can lift them."


def _correlation(found: Correlation) -> str:
    """Such as "r = 0.93 [0.80, 0.98], n = 12"."""
    if not np.isfinite(found.r):
        return f"r not defined, n = {found.n}"
    bounds = interval(found.low, found.high, "dB") or "(no interval below four)"
    return f"Pearson's r = {number(found.r, 'dB')} {bounds}, n = {found.n}"


def _wide(evaluation: Evaluation, dataset: str, method: str) -> pd.DataFrame:
    """Finite values of each image: the method's ceiling (`ceiling_psnr`), its PSNR, and bicubic's, by their names."""
    rows = evaluation.frame("table", dataset)
    named = rows[rows["metric"] == RESULT].assign(what=lambda one: one["method"])
    named = named[named["method"].isin([method, BICUBIC])]
    ceiling = rows[(rows["metric"] == CEILING) & (rows["method"] == method)].assign(what=CEILING)
    found = pd.concat([named, ceiling]).pivot(index=["id", "patient"], columns="what", values="value")
    return found.where(np.isfinite(found))


def _patients(evaluation: Evaluation, dataset: str, method: str) -> pd.DataFrame:
    """The same, a patient's means over those images of its that have all values."""
    return _wide(evaluation, dataset, method).dropna().groupby(level="patient").mean()


def _table(evaluation: Evaluation, dataset: str, models: Sequence[_Model]) -> Table:
    columns = ("model", "autoencoder", "AE ceiling (dB)", "ceiling - PSNR (dB)", "r", "r of bicubic", "patients")
    note = (
        "AE ceiling: PSNR of HR, encoded and decoded, against HR, mean over patients; in brackets 95 % "
        "intervals. r: Pearson's correlation over patients' means of the model's PSNR with its ceiling, "
        "with Fisher's interval, from four patients on; beside it that of bicubic's PSNR with the same ceiling: where "
        "both are alike, they tell how hard the images are, not what the autoencoder costs."
    )
    return Table(f"AE ceilings on {dataset}", columns, tuple(_cells(evaluation, dataset, one) for one in models), note)


def _cells(evaluation: Evaluation, dataset: str, model: _Model) -> tuple[str, ...]:
    if model.lossless:
        return (model.name, _latent(model), "lossless", *("–",) * 4)
    images, patients = _wide(evaluation, dataset, model.name), _patients(evaluation, dataset, model.name)
    both = [pearson(patients[CEILING], patients[name]) for name in (model.name, BICUBIC)]
    # The mean with its interval; in words where every image comes back whole, as constant ones do.
    row = evaluation.summary(dataset, CEILING).loc[model.name]
    ceiling = "identical" if row["n"] == 0 and row["infinite"] else _bounded(*row[ENDS])
    # The mean over patients with its interval.
    found = mean_test((images[CEILING] - images[model.name]).groupby(level="patient").mean().to_numpy()[:, None])
    gap = _bounded(float(found.mean[0]), float(found.low[0]), float(found.high[0]))
    return (
        model.name,
        _latent(model),
        ceiling,
        gap,
        *(_bounded(one.r, one.low, one.high) if np.isfinite(one.low) else "–" for one in both),
        str(len(patients)),
    )


def _latent(model: _Model) -> str:
    """The autoencoder's name, or the start of its hash where it has none but that of its folder, and its latent."""
    facts = model.autoencoder
    name = facts["hash"][:8] if facts["name"] == INNER else facts["name"]
    return f"{name}, {facts['channels']} at 1/{facts['factor']}"


def _bounded(value: float, low: float, high: float) -> str:
    return " ".join(filter(None, (number(value, "dB"), interval(low, high, "dB"))))

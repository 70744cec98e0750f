"""The AE ceilings of an evaluation's models beside their results: a table, and a figure of models or of patients."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from latentsr.names import BICUBIC
from latentsr.report.blocks import Block, Columns, Picture, Table, Text, tabulate
from latentsr.report.evaluation.data import Evaluation, Row
from latentsr.report.figures import Point, ceiling_models, ceiling_patients
from latentsr.report.text import NONE, estimate, interval, number
from latentsr.stats.regression import fit_line, pearson
from latentsr.stats.significance import mean_test

CEILING, RESULT = "ceiling_psnr", "psnr"
INNER = "autoencoder"  # what the folder of an autoencoder within a model is called: no telling name
LINE, SMALLEST = 61, 3  # places along a drawn line; autoencoders that it takes
ENDS = ["mean", "mean_low", "mean_high"]


def ceiling_blocks(evaluation: Evaluation, dataset: str) -> Iterator[Block]:
    """Figure and table of a dataset's ceilings; one sentence where all models' latents are lossless; else nothing."""
    models = [one for one in evaluation.run["methods"] if one.get("autoencoder")]
    lossless = [one["name"] for one in models if one["autoencoder"]["lossless"]]
    ceilings = _means(evaluation, dataset, CEILING)
    lossy = [one for one in models if one["name"] not in lossless and one["name"] in ceilings.index]
    if models and len(lossless) == len(models):
        if dataset == evaluation.datasets[0]:
            text = (
                f"AE ceiling: none. The latents of all models here ({', '.join(lossless)}) are lossless: the "
                "autoencoder gives an image back but for rounding, so it does not limit any result."
            )
            yield Text((text,))
    elif lossy and not evaluation.summary(dataset, RESULT).empty:
        results = _means(evaluation, dataset, RESULT)
        drawn = [one for one in lossy if one["name"] in results.index]  # others have infinite results alone
        if len(drawn) > 1:
            yield _models_picture(evaluation, dataset, drawn, lossless)
        elif drawn and not _patients(evaluation, dataset, drawn[0]["name"]).empty:
            yield _patients_picture(evaluation, dataset, drawn[0])
        if (table := _table(evaluation, dataset, models)) is not None:
            yield table


def _means(evaluation: Evaluation, dataset: str, metric: str) -> pd.DataFrame:
    """Mean and interval by method, of those that have a mean."""
    return evaluation.summary(dataset, metric)[ENDS].dropna(subset="mean")


def _models_picture(evaluation: Evaluation, dataset: str, lossy: Sequence[Row], lossless: Sequence[str]) -> Picture:
    ceilings, results = (_means(evaluation, dataset, metric) for metric in (CEILING, RESULT))
    points = []
    for name in [one["name"] for one in lossy]:
        (x, x_low, x_high), (y, low, high) = ceilings.loc[name], results.loc[name]
        points.append(Point(name, x, y, "", low, high, x_low, x_high))
    levels = {name: results.loc[name, "mean"] for name in (BICUBIC, *lossless) if name in results.index}
    different = len({one["autoencoder"]["hash"] for one in lossy})
    caption = (
        "A point a model, means over patients; whiskers: 95 % intervals (paired differences are "
        f"far surer). Lines across: results without a ceiling, of bicubic and of lossless latents. {_above(lossy)} "
    )
    xs, bands = None, None
    if min(len(points), different, len({point.x for point in points})) < SMALLEST:
        caption += f"No line is laid through them: it takes models of {SMALLEST} autoencoders, here are {different}."
    else:
        x, y = [point.x for point in points], [point.y for point in points]
        xs = np.linspace(min(x), max(x), LINE)
        bands, found = tuple(fit_line(x, y).predict(xs)), pearson(x, y)
        shown = "r not defined"
        if np.isfinite(found.r):
            ends = interval(found.low, found.high, "dB") or "(no interval below four)"
            shown = f"Pearson's r = {number(found.r, 'dB')} {ends}"
        caption += (
            f"Least-squares line through {len(points)} models of {different} autoencoders, with 95 % bands (as far as "
            f"they fit): {shown}, n = {found.n}. So few points prove nothing: models differ in more than their "
            "autoencoder, and those of one autoencoder are not independent."
        )
    drawn = ceiling_models(points, xs, bands, levels=levels, methods=evaluation.methods)
    return Picture(f"Ceiling and result on {dataset}", drawn, caption)


def _patients_picture(evaluation: Evaluation, dataset: str, model: Row) -> Picture:
    means = _patients(evaluation, dataset, model["name"])
    results = {name: (means[CEILING], means[name]) for name in (BICUBIC, model["name"])}
    caption = (
        "A point a patient, means over its images: across, the ceiling of the model's autoencoder; upwards, the "
        f"results of the model and of bicubic. {_above([model])} An image with much fine detail is hard for both "
        "autoencoder and method, so points that rise together do not show that one limits the other: bicubic uses no "
        "autoencoder. The table has both correlations."
    )
    drawn = ceiling_patients(results, methods=evaluation.methods)
    return Picture(f"Ceiling and result on {dataset}", drawn, caption)


def _above(models: Sequence[Row]) -> str:
    """What a point above the diagonal means."""
    projecting = [str(one["name"]) for one in models if one["options"]["consistency"]]
    line = "the line 'result = ceiling' (drawn where it is near)"
    text = f"Results of a model that only decodes its latents seldom lie above {line}"
    if not projecting:
        return f"{text}."
    all_of_several = len(projecting) == len(models) > 1
    who = "all models here" if all_of_several else "the model" if len(models) == 1 else ", ".join(projecting)
    verb = "projects its" if len(projecting) == 1 else "project their"
    return f"{text}; {who} {verb} results onto the input (consistency), which adds what LR holds and can lift them."


def _images(evaluation: Evaluation, dataset: str, method: str) -> pd.DataFrame:
    """Finite values of each image: the method's ceiling (`ceiling_psnr`), its PSNR, and bicubic's, by their names."""
    rows = evaluation.frame("table", dataset)
    results = rows[(rows["metric"] == RESULT) & rows["method"].isin([method, BICUBIC])]
    ceilings = rows[(rows["metric"] == CEILING) & (rows["method"] == method)].assign(method=CEILING)
    found = pd.concat([results, ceilings]).pivot(index=["id", "patient"], columns="method", values="value")
    return found.where(np.isfinite(found))


def _patients(evaluation: Evaluation, dataset: str, method: str) -> pd.DataFrame:
    """The same, a patient's means over those images of its that have all values."""
    return _images(evaluation, dataset, method).dropna().groupby(level="patient").mean()


def _table(evaluation: Evaluation, dataset: str, models: Sequence[Row]) -> Table | None:
    means = evaluation.summary(dataset, CEILING)

    def latent(model: Row) -> str:
        """The autoencoder's name, or the start of its hash where it has none but that of its folder, and its latent."""
        facts = model["autoencoder"]
        name = facts["hash"][:8] if facts["name"] == INNER else facts["name"]
        return f"{name}, {facts['channels']} at 1/{facts['factor']}"

    def ceiling(model: Row) -> str:
        if model["autoencoder"]["lossless"]:
            return "lossless"
        row = means.loc[model["name"]]
        if row["n"] == 0 and row["infinite"]:  # every image comes back whole, as constant ones do
            return "identical"
        return estimate(row["mean"], row["mean_low"], row["mean_high"], "dB")

    def gap(model: Row) -> str:
        images = _images(evaluation, dataset, model["name"])
        by_patient = (images[CEILING] - images[model["name"]]).groupby(level="patient").mean()
        found = mean_test(by_patient.to_numpy()[:, None])
        return estimate(float(found.mean[0]), float(found.low[0]), float(found.high[0]), "dB")

    def correlation(model: Row, method: str) -> str:
        patients = _patients(evaluation, dataset, model["name"])
        found = pearson(patients[CEILING], patients[method])
        return estimate(found.r, found.low, found.high, "dB") if np.isfinite(found.low) else NONE

    def of_lossy(cell: Callable[[Row], str]) -> Callable[[Row], str]:
        return lambda model: NONE if model["autoencoder"]["lossless"] else cell(model)

    columns: Columns = {
        "model": lambda one: one["name"],
        "autoencoder": latent,
        "AE ceiling (dB)": ceiling,
        "ceiling - PSNR (dB)": of_lossy(gap),
        "r": of_lossy(lambda one: correlation(one, one["name"])),
        "r of bicubic": of_lossy(lambda one: correlation(one, BICUBIC)),
        "patients": of_lossy(lambda one: str(len(_patients(evaluation, dataset, one["name"])))),
    }
    note = (
        "AE ceiling: PSNR of HR, encoded and decoded, against HR, mean over patients; in brackets 95 % "
        "intervals. r: Pearson's correlation over patients' means of the model's PSNR with its ceiling, "
        "with Fisher's interval, from four patients on; beside it that of bicubic's PSNR with the same ceiling: where "
        "both are alike, they tell how hard the images are, not what the autoencoder costs."
    )
    return tabulate(f"AE ceilings on {dataset}", columns, models, note)

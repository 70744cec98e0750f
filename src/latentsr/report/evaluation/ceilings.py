"""The AE ceilings of an evaluation's models beside their results: a table, and a figure of models or of patients."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from latentsr.names import BICUBIC
from latentsr.report.blocks import Block, Columns, Picture, Table, Text, tabulate
from latentsr.report.evaluation.data import Evaluation, Row
from latentsr.report.figures import Point, ceiling_models, ceiling_patients
from latentsr.report.text import NONE, estimate, interval, number
from latentsr.stats.regression import CEILING, LINE_COLUMNS, RESULT, SMALLEST

INNER = "autoencoder"  # what the folder of an autoencoder within a model is called: no telling name
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
        elif drawn and len(points := evaluation.points(dataset, "ceiling", drawn[0]["name"])):
            yield _patients_picture(evaluation, dataset, drawn[0], points)
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
    found = evaluation.frame("ceilings", dataset).query("points == 'models'").iloc[0]
    caption = (
        "A point a model, means over patients; whiskers: 95 % intervals (paired differences are "
        f"far surer). Lines across: results without a ceiling, of bicubic and of lossless latents. {_above(lossy)} "
    )
    line = evaluation.frame("ceiling_lines", dataset)
    xs, *bands = (line[name] for name in LINE_COLUMNS) if len(line) else (None,)
    if xs is None:
        caption += f"No line is laid through them: it takes models of {SMALLEST} autoencoders, here are "
        caption += f"{found['autoencoders']}."
    else:
        shown = "r not defined"
        if np.isfinite(found["r"]):
            ends = interval(found["r_low"], found["r_high"], "dB") or "(no interval below four)"
            shown = f"Pearson's r = {number(found['r'], 'dB')} {ends}"
        caption += (
            f"Least-squares line through {len(points)} models of {found['autoencoders']} autoencoders, with 95 % bands "
            f"(as far as they fit): {shown}, n = {found['n']}. So few points prove nothing: models differ in more than "
            "their autoencoder, and those of one autoencoder are not independent."
        )
    drawn = ceiling_models(points, xs, bands, levels=levels, methods=evaluation.methods)
    return Picture(f"Ceiling and result on {dataset}", drawn, caption)


def _patients_picture(evaluation: Evaluation, dataset: str, model: Row, points: pd.DataFrame) -> Picture:
    results = {str(name): (own["x"], own["y"]) for name, own in points.groupby("method", sort=False)}
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

    rows = evaluation.frame("ceilings", dataset)
    own = {(row["model"], row["method"]): row for row in rows.to_dict("records")}

    def gap(model: Row) -> str:
        row = own[model["name"], model["name"]]
        return estimate(row["gap"], row["gap_low"], row["gap_high"], "dB")

    def correlation(model: Row, method: str) -> str:
        row = own[model["name"], method]
        return estimate(row["r"], row["r_low"], row["r_high"], "dB") if np.isfinite(row["r_low"]) else NONE

    def of_lossy(cell: Callable[[Row], str]) -> Callable[[Row], str]:
        return lambda model: NONE if model["autoencoder"]["lossless"] else cell(model)

    columns: Columns = {
        "model": lambda one: one["name"],
        "autoencoder": latent,
        "AE ceiling (dB)": ceiling,
        "ceiling - PSNR (dB)": of_lossy(gap),
        "r": of_lossy(lambda one: correlation(one, one["name"])),
        "r of bicubic": of_lossy(lambda one: correlation(one, BICUBIC)),
        "patients": of_lossy(lambda one: str(own[one["name"], one["name"]]["n"])),
    }
    note = (
        "AE ceiling: PSNR of HR, encoded and decoded, against HR, mean over patients; in brackets 95 % "
        "intervals. r: Pearson's correlation over patients' means of the model's PSNR with its ceiling, "
        "with Fisher's interval, from four patients on; beside it that of bicubic's PSNR with the same ceiling: where "
        "both are alike, they tell how hard the images are, not what the autoencoder costs."
    )
    return tabulate(f"AE ceilings on {dataset}", columns, models, note)

"""The figures of an evaluation's report: effects, perception and distortion, frequency, what was invented, cases."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsr.io.raster import read_pixels
from latentsr.names import BICUBIC, HR, HR_FILE, LR_FILE, SHARES, listed
from latentsr.report.blocks import Block, Columns, Picture, Slider, Table, Text, View, tabulate
from latentsr.report.evaluation.data import Evaluation, Row
from latentsr.report.figures import (
    Case,
    Interval,
    Panel,
    Point,
    Region,
    band_bars,
    bland_altman,
    ceiling_models,
    ceiling_patients,
    intervals,
    latent_curves,
    mean_maps,
    panels,
    perception_distortion,
    rates,
    spectra,
    violins,
)
from latentsr.report.text import NONE, estimate, interval, number
from latentsr.stats.paired import Agreement
from latentsr.stats.regression import CEILING, LINE_COLUMNS, RESULT, SMALLEST
from latentsr.stats.significance import turned

FOREST = ("psnr", "ssim", "ms_ssim", "haarpsi", "gmsd", "vif", "lpips")  # of which those that were measured
MEANS = ("psnr", "haarpsi", "ssim")
SHOWN = 99.5  # % of the pixels of mean maps whose colour is their own


def mean_pictures(evaluation: Evaluation, dataset: str) -> Iterator[Picture]:
    """Means with intervals of the first measures."""
    for metric in evaluation.measured(dataset, MEANS)[:2]:
        rows = evaluation.summary(dataset, metric).drop(index=HR, errors="ignore")
        facts = evaluation.measures[metric]
        shown = [
            Interval(str(name), _finite_or_whole(row), row["mean_low"], row["mean_high"])
            for name, row in rows.iterrows()
        ]
        drawn = intervals(
            shown, quantity=facts["title"], unit=facts["unit"], better=facts["better"], methods=evaluation.methods
        )
        caption = "Mean over patients; whiskers: 95 % interval. Paired differences are far surer."
        yield Picture(f"{facts['title']} on {dataset}", drawn, caption)


def _finite_or_whole(row: "pd.Series[Any]") -> float:
    """The mean of a summary's row; +inf where every image is HR itself."""
    return np.inf if row["n"] == 0 and row["infinite"] else float(row["mean"])


def forest_picture(evaluation: Evaluation, dataset: str) -> Picture | None:
    """Paired effect sizes d_z against bicubic, of several measures, better to the right."""
    rows = []
    for facts in [evaluation.measures[name] for name in FOREST if name in evaluation.measures]:
        for method in evaluation.methods:
            row = evaluation.compared(dataset, facts["name"], method, BICUBIC)
            if row is not None and np.isfinite(row["d_z"]):
                shown = row if facts["better"] == "higher" else turned(row)
                effect = (shown["d_z"], shown["d_z_low"], shown["d_z_high"])
                rows.append(Interval(method, *effect, str(facts["title"])))
    if not rows:
        return None
    drawn = intervals(
        rows, quantity="Difference to bicubic, in sd of the patients' differences", reference=0, better="",
        methods=evaluation.methods,
    )  # fmt: skip
    caption = (
        "To the right: better than bicubic. d_z: mean over sd of the patients' differences, so that different units "
        "stand on one axis; whiskers: 95 % interval (noncentral t)."
    )
    return Picture(f"Effects against bicubic on {dataset}", drawn, caption)


def plane_picture(evaluation: Evaluation, dataset: str) -> Picture | None:
    """The perception-distortion plane: PSNR against the realism of the set."""
    psnr, rows = evaluation.summary(dataset, "psnr"), evaluation.frame("sets", dataset)
    if psnr.empty or rows.empty or "swd" not in set(rows["metric"]):
        return None
    sets = rows[rows["metric"] == "swd"].set_index("method")
    points = [
        Point(
            name, _finite_or_whole(psnr.loc[name]), sets.loc[name, "value"],
            low=sets.loc[name, "low"], high=sets.loc[name, "high"],
            x_low=psnr.loc[name, "mean_low"], x_high=psnr.loc[name, "mean_high"],
        )
        for name in evaluation.methods
        if name in psnr.index
    ]  # fmt: skip
    if not any(np.isfinite(point.x) for point in points):
        return None
    drawn = perception_distortion(
        points, y_label="Sliced Wasserstein (x 1000)", floor=evaluation.set_values(dataset, "swd").get(HR, np.nan),
        methods=evaluation.methods,
    )  # fmt: skip
    caption = (
        "To the right: nearer to HR, each image to its own; downwards: the patches of the whole set distributed more "
        "like HR's, to the dotted floor of HR against HR. Whiskers: 95 % intervals; paired differences are far surer. "
        "Beyond some bound no method can gain in both (Blau and Michaeli 2018)."
    )
    return Picture(f"Perception and distortion on {dataset}", drawn, caption)


def band_picture(evaluation: Evaluation, dataset: str) -> Picture | None:
    """PSNR of the bands of a wavelet transform."""
    bands = evaluation.parts(dataset, "subband_psnr")
    if bands.empty:
        return None
    drawn = band_bars(bands, better="higher", methods=evaluation.methods)
    caption = (
        "Haar wavelet bands from coarse (LL3) to fine (HH1): horizontal (LH), vertical (HL) and diagonal (HH) detail, "
        "level 1 the finest. Peak: the largest magnitude of HR's band."
    )
    return Picture(f"Subband PSNR on {dataset}", drawn, caption)


def spectrum_picture(evaluation: Evaluation, dataset: str) -> Picture | None:
    """Radial power spectra of the methods and HR."""
    curves = evaluation.parts(dataset, "radial_spectrum")
    if curves.empty:
        return None
    drawn = spectra(curves, reference=HR if HR in curves.index else None, methods=evaluation.methods)
    caption = "Mean log power in ten rings from the centre to the corner of the spectrum; below, less HR's own."
    return Picture(f"Radial spectra on {dataset}", drawn, caption)


def latent_picture(evaluation: Evaluation, dataset: str) -> Picture | None:
    """Cosine of SR's and HR's latents over pooled scales."""
    curves = evaluation.parts(dataset, "latent_cosine")
    if curves.empty:
        return None
    name = evaluation.run["latent"]["name"]
    caption = f"SR and HR in the latents of autoencoder {name}, average-pooled to squares of each side, fine to coarse."
    return Picture(f"Latent fidelity on {dataset}", latent_curves(curves, methods=evaluation.methods), caption)


def rate_picture(evaluation: Evaluation, dataset: str) -> Picture | None:
    """Hallucinated and lost shares at two sigma."""
    names = [name for name in SHARES if name in evaluation.measures]
    if not names:
        return None
    pair = []
    for name in SHARES:
        rows = evaluation.summary(dataset, f"{name}/2sigma").drop(index=HR, errors="ignore")
        shares = (100 * rows[["mean", "mean_low", "mean_high"]]).astype(float)
        pair.append([Interval(str(method), *values) for method, *values in shares.itertuples()])
    return Picture(f"{listed(names).capitalize()} pixels on {dataset}", rates(*pair), "Whiskers: 95 % interval.")


def map_picture(evaluation: Evaluation, dataset: str) -> Picture | None:
    """Where in the image pixels are hallucinated and lost, on average."""
    maps = [
        (f"{title}, {method}", 100 * share)
        for method in evaluation.methods
        if (found := evaluation.maps(dataset, method)) is not None
        for title, share in zip(SHARES, found, strict=True)
    ]
    if not maps or not set(SHARES) & evaluation.measures.keys():
        return None
    # The maps are of all images, or of those of the commonest size.
    facts = evaluation.run["datasets"][dataset]
    images, size = facts["mapped"]["images"], facts["mapped"]["size"]
    which = "the images"
    if images != facts["images"]:
        which = f"the {images} images of {size} px, the commonest size of all {facts['images']},"
    greatest = max(1.0, float(np.percentile(np.stack([share for _, share in maps]), SHOWN)))
    caption = (
        f"In which share of {which} a pixel is hallucinated or lost, beyond two sigma. One "
        f"colour scale, which ends at the {SHOWN} % quantile of all pixels."
    )
    return Picture(f"Where on {dataset}", mean_maps(maps, greatest=greatest), caption)


def violin_picture(evaluation: Evaluation, dataset: str) -> Picture | None:
    """How the PSNR of single images spreads."""
    rows = evaluation.frame("table", dataset)
    chosen = rows[(rows["metric"] == "psnr") & (rows["method"] != HR)]
    if chosen.empty:
        return None
    wide = chosen.pivot(index="method", columns="id", values="value").loc[evaluation.methods]
    drawn = violins(wide, quantity="PSNR", unit="dB", better="higher", methods=evaluation.methods)
    return Picture(f"PSNR of single images of {dataset}", drawn, "Density over images; bar: middle half; line: median.")


def intensity_picture(evaluation: Evaluation, dataset: str) -> Picture | None:
    """Bland-Altman plots of mean intensity: one point per patient, one panel per method, one pair of axes."""
    rows, points = evaluation.frame("agreement", dataset), evaluation.points(dataset, "agreement")
    if rows.empty:
        return None
    rows = rows[rows["unit"] == "patient"].set_index("a")
    found = {}
    for method in evaluation.methods:
        own = points[points["method"] == method]
        limits = 100 * rows.loc[method, "bias":"upper_high"]
        means, differences = (100 * own[axis].to_numpy(np.float64) for axis in ("x", "y"))
        found[method] = Agreement(int(rows.loc[method, "n"]), **limits, means=means, differences=differences)
    drawn = bland_altman(found, unit="% of the range", methods=evaluation.methods)
    caption = "A point a patient; lines: bias and limits of agreement, bias ± 1.96 sd; bands: their 95 % intervals."
    return Picture(f"Mean intensity against HR on {dataset}", drawn, caption)


TITLES = {  # of the cases, by what they were chosen by
    "psnr": {"best": "Best", "median": "Median", "worst": "Worst"},
    "id": {"best": "First", "median": "Middle", "worst": "Last"},
}
WINDOW = "0 to 1 of the stored range, the same for all images"
MOST_BYTES = 6_000_000  # of a dataset's pictures to compare: half a dozen of 512 x 512 px with all methods
NOT_SQUARE = 0.01  # how far a pixel's sides may differ, as a share, and still be called equal
Spacing = Sequence[float]  # (row, column) in mm


def case_blocks(evaluation: Evaluation, dataset: str) -> Iterator[Block]:
    """The pictured images of one dataset, and before those of the first what to know of all; nothing without any."""
    cases = evaluation.cases(dataset)
    if not cases:
        return
    pictures = evaluation.run["pictures"]
    chief, white = pictures["chief"], pictures["white_error"]
    if dataset == pictures["cases"][0]["dataset"]:  # by what rule the images were chosen, and what is drawn of each
        rule = "of first, middle and last id (no PSNR)"
        if pictures["chosen_by"] == "psnr":
            rule = f"of highest, middle and lowest PSNR under {chief}, then of each method the one with its least gain "
            rule += "over bicubic"
        firsts = listed([str(seeds[0]["name"]) for one in evaluation.run["methods"] if (seeds := one.get("seeds"))])
        seeds = f" Of a method of several seeds the first alone counts here ({firsts})." if firsts else ""
        text = (
            f"Images {rule}: chosen by this rule and not by eye, and named by a hash. The frame is where the mean "
            f"errors of {chief} and bicubic differ most. Below each image: the frame enlarged, and the absolute error, "
            f"on one colour scale up to {white:g} of the range.{seeds} "
            f"{scale_text([case.get('spacing') for case in pictures['cases']])}"
        )
        yield Text((text,))

    def pixels(case: Row, file: str) -> NDArray[np.float64]:
        return read_pixels(evaluation.path(case, file)) / 255

    drawn = []
    for case in cases:
        panels_of_case = []
        for place, name in enumerate(evaluation.methods):
            psnr = case["psnr"].get(name)
            shown = "" if psnr is None else number(psnr, "dB", unit_shown=True)
            error = pixels(case, f"{place}-error.png") * white
            panels_of_case.append(Panel(name, pixels(case, f"{place}.png"), shown, error))
        panels_of_case.append(Panel("HR", pixels(case, HR_FILE), "the truth"))
        spacing = case.get("spacing")  # the bar lies along the row, whose pixels are a column apart
        width = None if spacing is None else spacing[1]
        drawn.append(Case(_title(evaluation, case), tuple(panels_of_case), Region(*case["zoom"]), width))
    figure = panels(drawn, window=WINDOW, greatest=white, unit="parts of the range")
    yield Picture(f"Pictured images of {dataset}", figure)
    yield _slider(evaluation, dataset, cases)


def scale_text(spacings: Sequence[Spacing | None]) -> str:
    """What to know of the scale bars of some images, from the spacing of each, None where the source said nothing."""
    known = [spacing for spacing in spacings if spacing]
    if not known:
        return "Without a pixel spacing there is no scale bar."
    text = "The white bar is a length in mm, by the pixel spacing of the source (in radiographs, at the detector)."
    if len(known) < len(spacings):
        text += " Images without a bar came without a spacing."
    if uneven := [(row, column) for row, column in known if abs(row / column - 1) > NOT_SQUARE]:
        sizes = "; ".join(f"{row:.3g} x {column:.3g} mm" for row, column in dict.fromkeys(uneven))
        text += (
            f" Pixels are drawn square, though some are not (height x width: {sizes}): there the bar holds from left "
            "to right, not from top to bottom."
        )
    return text


def _title(evaluation: Evaluation, case: Row) -> str:
    """Why the image is pictured, and its hash, such as "Worst; least gain of mine: image 3f2a9c01"."""
    titles = TITLES[evaluation.run["pictures"]["chosen_by"]]
    cases = [titles[reason["case"]] for reason in case["reasons"] if reason["case"] in titles]
    losses = [reason["method"] for reason in case["reasons"] if reason["case"] not in titles]
    text = "; ".join([*cases, *([f"least gain of {listed(losses)}"] if losses else [])])
    return f"{text[0].upper()}{text[1:]}: image {case['image']}"


def _slider(evaluation: Evaluation, dataset: str, cases: list[Row]) -> Slider:
    """LR (enlarged), the methods and HR of the pictured images, any two over each other; first LR, chief and median.

    A page stays small enough to be sent by mail: images beyond MOST_BYTES are left out, the first shown never.
    """
    chief = evaluation.run["pictures"]["chief"]
    files = (LR_FILE, *(f"{place}.png" for place in range(len(evaluation.methods))), HR_FILE)
    views: list[View] = []
    for case in sorted(cases, key=lambda case: "median" not in [one["case"] for one in case["reasons"]]):
        images = tuple(evaluation.path(case, file).read_bytes() for file in files)
        size = sum(len(image) for view in views for image in view.images) + sum(map(len, images))
        if not views or size <= MOST_BYTES:
            views.append(View(_title(evaluation, case), images))
    names = ("LR, enlarged", *evaluation.methods, "HR")
    caption = "Pixel for pixel, without loss. Move the handle, or use the arrow keys."
    if left_out := len(cases) - len(views):
        caption += (
            f" To keep this page small, {left_out} of {len(cases)} images are not among these; the figure has all."
        )
    title, shown = f"LR, methods and HR of {dataset}, any two over each other", (0, 1 + evaluation.methods.index(chief))
    return Slider(title, names, tuple(views), shown, caption)


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
            caption = (
                "A point a patient, means over its images: across, the ceiling of the model's autoencoder; upwards, "
                f"the results of the model and of bicubic. {_above(drawn)} An image with much fine detail is hard for "
                "both autoencoder and method, so points that rise together do not show that one limits the other: "
                "bicubic uses no autoencoder. The table has both correlations."
            )
            patients = {str(name): (own["x"], own["y"]) for name, own in points.groupby("method", sort=False)}
            picture = ceiling_patients(patients, methods=evaluation.methods)
            yield Picture(f"Ceiling and result on {dataset}", picture, caption)
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

"""The figures of an evaluation's report: effects, perception and distortion, frequency, what was invented, latents."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from latentsr.names import BICUBIC, HR, SHARES, listed
from latentsr.report.blocks import Picture
from latentsr.report.evaluation.data import Evaluation
from latentsr.report.figures import (
    Interval,
    Point,
    band_bars,
    bland_altman,
    intervals,
    latent_curves,
    mean_maps,
    perception_distortion,
    rates,
    spectra,
    violins,
)
from latentsr.stats.agreement import Agreement
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

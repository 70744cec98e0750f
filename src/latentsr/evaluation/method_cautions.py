"""What to know of the methods as they were given: trained on what is measured, of 8 bits, equal, failing, gridded."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from latentsr.baselines import BICUBIC
from latentsr.data.duplicates import pixel_digest
from latentsr.evaluation.measure import HR, Work
from latentsr.evaluation.plan import Plan

FEW = 5  # patients, below which none lies outside the others
FAR_OUT, LOSS = 6.0, 0.5  # robust sds below the median, and dB below it and below bicubic
ROBUST_SD = 1.4826  # of normal values, over their median absolute deviation
COARSE = 8  # bits of a pixel, whose rounding is as strong as the fine detail that is measured
GRID = 0.15  # share by which blockiness may be off what images and interpolation have


def training_warnings(plan: Plan) -> list[str]:
    """A sentence for each model and dataset some of whose measured images the model is known to be trained on."""
    models: dict[frozenset[str], list[str]] = {}
    for source in plan.sources:
        if source.training_images:
            models.setdefault(source.training_images, []).append(f"'{source.name}'")
    told = []
    for work in plan.works if models else ():
        digests = [pixel_digest(work.dataset.pixels(record)) for record in work.records]
        for training_images, names in models.items():
            if count := sum(digest in training_images for digest in digests):
                told.append(
                    f"{count} of {len(digests)} images of '{work.dataset.name}' were used to train the model of "
                    f"{', '.join(names)}: its results there say little of images that it has not seen. Prepare the "
                    "dataset apart from the training set (the option apart_from)."
                )
    return told


def method_cautions(works: Sequence[Work], table: pd.DataFrame) -> list[str]:
    """The sentences, in the order of the datasets."""
    return [
        caution
        for work in works
        for caution in (*_rounded(work), *_twins(work, table), *_failing(work, table), *_gridded(work, table))
    ]


def _rounded(work: Work) -> Iterator[str]:
    """Images of 8 bits: their rounding is white noise, which bicubic and models, measured in float, do not have."""
    if names := [f"'{method.name}'" for method in work.methods if method.bits == COARSE]:
        yield (
            f"On '{work.dataset.name}' the images of {', '.join(names)} have 8 bits, those of bicubic and of models "
            "are measured in float: rounding adds noise that sharpness, spectra, high bands and sliced Wasserstein "
            "distance take for detail. Compare these measures on images of 16 bits."
        )


def _twins(work: Work, table: pd.DataFrame) -> Iterator[str]:
    """Methods all of whose values are equal."""
    rows = table[(table["dataset"] == work.dataset.name) & (table["method"] != HR)]
    wide = rows.pivot(index=["metric", "id"], columns="method", values="value")
    for first, second in combinations(work.methods, 2):
        pair = wide[[first.name, second.name]].dropna(how="all").to_numpy()
        if len(pair) and np.array_equal(pair[:, 0], pair[:, 1], equal_nan=True):
            yield (
                f"On '{work.dataset.name}' methods '{first.name}' and '{second.name}' are the same in every value of "
                "every image: check what was given."
            )


def _failing(work: Work, table: pd.DataFrame) -> Iterator[str]:
    """Patients whose images a method fails on, while it restores those of the others: a mean over all hides them.

    Outside the others by Hampel's rule, which still holds where a third of the patients fail; one of mean and sd, or of
    quartiles, does not. Of normal patients, all below bicubic, it names some in 5 % of studies of 5, 1 % of 10 and
    0.2 % of 20. Source: Davies and Gather 1993, The identification of multiple outliers.
    """
    rows = table[(table["dataset"] == work.dataset.name) & table["metric"].eq("psnr")]
    if BICUBIC not in set(rows["method"]):
        return
    wide = rows.pivot(index=["patient", "id"], columns="method", values="value")
    gains = wide.sub(wide[BICUBIC], axis=0)
    gains = gains.where(np.isfinite(gains)).groupby(level="patient").mean()
    for method in work.methods:
        own = gains[method.name].dropna()
        if method.name == BICUBIC or len(own) < FEW:
            continue
        below = own.median() - own
        spread = ROBUST_SD * below.abs().median()
        failed = own[(below > max(FAR_OUT * spread, LOSS)) & (own < -LOSS)]
        if len(failed):
            others = own.drop(failed.index)
            yield (
                f"On '{work.dataset.name}' method '{method.name}' fails on {len(failed)} of {len(own)} patients, far "
                f"outside the others: PSNR {failed.mean():+.2f} dB against bicubic there, {others.mean():+.2f} dB on "
                f"the others, {own.mean():+.2f} dB on all. Look at these images before using it."
            )


def _gridded(work: Work, table: pd.DataFrame) -> Iterator[str]:
    """Methods whose mean blockiness is off by more than GRID from all that HR, bicubic and no grid at all (1) have.

    Interpolation has steps of its own on the grid, bicubic by 4 1.06 times. At scale 2 a block is a pixel of LR, whose
    neighbours are the more alike the less is restored: too little says nothing of a grid there.
    """
    rows = table[(table["dataset"] == work.dataset.name) & (table["metric"] == "blockiness")]
    means = rows.groupby(["method", "patient"])["value"].mean().groupby("method").mean().dropna()  # as in the summary
    if HR not in means.index:
        return
    usual = (1.0, means[HR], means.get(BICUBIC, 1.0))
    for method in work.methods:
        value = means.get(method.name, np.nan)
        told = f"(squared differences inside blocks {value:.2f} times those across, HR {means[HR]:.2f})"
        if value > (1 + GRID) * max(usual):
            yield (
                f"Method '{method.name}' on '{work.dataset.name}' draws its detail on a fixed grid of 2x2 pixels "
                f"{told}: part of it follows the grid, not the image. HaarPSI and GMSD as published do not see that "
                "part; here they are means over all places of the grid."
            )
        elif value < (1 - GRID) * min(usual) and work.around.degradation.scale != 2:
            yield (
                f"Method '{method.name}' on '{work.dataset.name}' shows a fixed grid of 2x2 pixels {told}: neighbours "
                "in a block are alike, as where pixels are repeated, or detail is drawn on a grid that is a pixel off."
            )

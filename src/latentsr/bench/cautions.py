"""What a reader must know before believing an evaluation, in sentences: wrong pairs, few patients, what is missing."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from latentsr.bench.evaluation_plan import EvaluationPlan
from latentsr.bench.measure import Work
from latentsr.bench.tables import MAIN_METRICS
from latentsr.data.duplicates import pixel_digest
from latentsr.metrics import METRICS
from latentsr.metrics.sets import SMALLEST_LEVEL
from latentsr.names import BICUBIC, HR, first_few, listed
from latentsr.stats.significance import FEWEST, SMALLEST

FEW = 10  # patients: below, intervals are wide and tests find little
SHOWN = 8  # images that a sentence names
REASONS: Mapping[str, str] = {
    "threshold": "no reference autoencoder gives a noise floor (the option reference_autoencoder)",
    "mean": "no method was named as the posterior mean (the option mean)",
    "sr_latent": "no autoencoder was named to compare latents in (the option latent)",
    "reconstruction": "no method is a model whose autoencoder loses anything",
    "sampled": "no method is a model that draws one sample of latents",
    "interval": "no method is a calibrated model, sampled as it was calibrated",
    "mask": "there are no masks of a region of interest (the option masks, here or of prepare)",
}


def pairing_cautions(doubts: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each method whose images do not agree with their inputs."""
    told = []
    for doubt in doubts:
        whose = f"{doubt['count']} of {doubt['of']} images of method '{doubt['method']}' on '{doubt['dataset']}'"
        if doubt["kind"] == "other":
            pairs = [f"{image} like {other}" for image, other in zip(doubt["images"], doubt["resembles"], strict=True)]
            told.append(
                f"{whose} look like other images of the set ({first_few(pairs, SHOWN)}): reduced, they fit another "
                "image's LR far better than their own. Files probably bear another image's name: check how they were "
                "named."
            )
        elif doubt["kind"] == "outlier":
            values = [f"{image} {psnr} dB" for image, psnr in zip(doubt["images"], doubt["lr_psnr"], strict=True)]
            told.append(
                f"{whose} fit their LR far worse than the method's others, or than bicubic's do "
                f"({first_few(values, SHOWN)}), and no other image of the set explains them."
            )
        else:
            told.append(
                f"{whose} fit their inputs far worse than bicubic's do, or hardly at all: they may be other images, of "
                "another degradation, or on another intensity scale; a method that keeps its LR badly does so too."
            )
    return told


def size_cautions(datasets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the numbers of images and patients allow to say; datasets of as many patients in one sentence."""
    few: dict[int, list[str]] = {}
    for name, facts in datasets.items():
        if facts["patients"] < FEW:
            few.setdefault(facts["patients"], []).append(f"'{name}'")
    told = []
    for patients, names in few.items():
        have = "has" if len(names) == 1 else "have"
        if patients == 1:
            told.append(
                f"{listed(names)} {have} one patient: no interval, no test, nothing that holds for other patients."
            )
        else:
            judged = f"; with fewer than {FEWEST}, differences are not judged" if patients < FEWEST else ""
            told.append(
                f"{listed(names)} {have} {patients} patients: intervals are wide, take patients' differences for "
                f"normal, and small effects stay unseen{judged}."
            )
    told += [
        f"In '{name}' blocks of {facts['block']} files in order count as patients: a patient may be in several blocks "
        "and in another split, and intervals and tests are then too sure of themselves."
        for name, facts in datasets.items()
        if facts["block"]
    ]
    return told + [
        f"In '{name}' each image counts as a patient of its own; if several images are of one patient, "
        "intervals and tests are too sure of themselves."
        for name, facts in datasets.items()
        if facts["image_is_patient"] and facts["images"] > 1 and not facts["block"]
    ]


def cautions(
    datasets: Mapping[str, Mapping[str, Any]], frames: Mapping[str, pd.DataFrame], truths: Sequence[Mapping[str, Any]]
) -> list[str]:
    """All that numbers of patients and values call for; `datasets` and `truths` are run.json's, `frames` the tables."""
    table = frames["table"]
    return [*size_cautions(datasets), *value_cautions(table, truths), *reference_cautions(table)]


def reference_cautions(table: pd.DataFrame) -> list[str]:
    """A sentence on the datasets on which the reference autoencoder errs as much as bicubic: its floor hides a lot.

    Its mean absolute error follows from its noise floor, mean + k sd: twice that at one sigma less that at two.
    """
    where = []
    for dataset, rows in table[table["method"] == BICUBIC].groupby("dataset", sort=False):
        means = rows.groupby("metric")["value"].mean()
        if not {"mae", "noise_floor/1sigma", "noise_floor/2sigma"} <= set(means.index):
            continue
        error = 2 * means["noise_floor/1sigma"] - means["noise_floor/2sigma"]
        if error >= means["mae"]:
            where.append(f"'{dataset}' (mean absolute error {error:.3f} against {means['mae']:.3f} of the range)")
    if not where:
        return []
    return [
        f"On {listed(where)} the reference autoencoder errs as much as bicubic: most of what methods invent or lose "
        "stays below its noise floor and is not counted. Name a better one in the option reference_autoencoder."
    ]


def value_cautions(table: pd.DataFrame, truths: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """Images given back identically, unless all of a method are (its warning says so), and those without a value.

    Measures without a value for any image of a dataset are among what was not measured.
    """
    told: list[str] = []
    whole = [(truth["dataset"], truth["method"]) for truth in truths]
    infinite = table[table["metric"].eq("psnr") & table["value"].eq(float("inf"))]
    same: dict[int, list[str]] = {}
    for (dataset, method), rows in infinite.groupby(["dataset", "method"]):
        if (dataset, method) not in whole:  # a warning of its own tells that
            same.setdefault(len(rows), []).append(f"method '{method}' on '{dataset}'")
    for count, whose in same.items():
        noun, verb, they = ("image", "is", "it is") if count == 1 else ("images", "are", "they are")
        each = " each" if len(whose) > 1 else ""
        told.append(
            f"{count} {noun}{each} of {listed(whose)} {verb} identical to HR (PSNR infinite): {they} "
            "counted apart and left out of means and differences in dB."
        )
    valued = table["value"].notna().groupby([table["dataset"], table["metric"]]).transform("any")
    missing = table[table["value"].isna() & valued].groupby(["dataset", "metric"])["id"].nunique()
    for dataset, counts in missing.groupby(level="dataset"):
        names = ", ".join(f"{metric} ({count})" for (_, metric), count in counts.items())
        told.append(
            f"No value for some images of '{dataset}' (too small for the measure, or nothing to measure): {names}."
        )
    return told


def not_measured(plan: EvaluationPlan, table: pd.DataFrame) -> list[str]:
    """Measures that were asked for and could not be made, on all datasets or some, a sentence a reason."""
    every = tuple(work.dataset.name for work in plan.works)
    there = {(dataset, metric) for dataset, metric in table[["dataset", "metric"]].drop_duplicates().to_numpy()}
    masked = {work.dataset.name for work in plan.works if work.masks is not None}
    lacking: list[tuple[str, tuple[str, ...], str]] = []  # reason, datasets without it, and title of each measure
    for metric in plan.metrics:
        without = tuple(dataset for dataset in every if not {(dataset, name) for name in metric.names} & there)
        for need in (need for need in metric.needs if need in REASONS):
            unmade = tuple(one for one in without if need != "mask" or one not in masked)
            lacking.append((REASONS[need], unmade, metric.title))
    if plan.comparison.metrics is None:
        for metric in METRICS.values():
            if metric.group == "learned" and metric not in plan.metrics:
                words = "their learned weights are not on this machine (LATENTSR_WEIGHTS)"
                lacking.append((words, every, metric.title))
    # Measures of whole sets.
    tiny = tuple(work.dataset.name for work in plan.works if not work.levels)
    lacking.append((f"not all images have {SMALLEST_LEVEL} px a side", tiny, "sliced Wasserstein distance"))
    single = tuple(work.dataset.name for work in plan.works if len(work.records) < 2)
    for title in ("FID", "KID"):
        if plan.around.extractor is None:
            lacking.append(("no feature extractor is on this machine (the option features)", every, title))
        else:
            lacking.append(("one image is no set", single, title))
    # Measures, and parts of them, that have no value of any image and method.
    empty = table["value"].isna().groupby([table["dataset"], table["metric"]], sort=False).all()
    for name in dict.fromkeys(empty[empty].index.get_level_values("metric")):
        title = " ".join(filter(None, (METRICS[name.partition("/")[0]].title, name.partition("/")[2])))
        without = tuple(dataset for dataset in every if empty.get((dataset, name), default=False))
        lacking.append(("all images are too small for it, or hold nothing to measure", without, title))
    told: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for reason, without, title in lacking:
        if without:
            told.setdefault((reason, without), []).append(title)
    return [
        f"Not measured{' on ' * (without != every)}{', '.join(map(repr, without)) * (without != every)}, "
        f"since {reason}: {', '.join(titles)}."
        for (reason, without), titles in told.items()
    ]


def joined(sentences: Sequence[str], datasets: Sequence[str], methods: Sequence[str]) -> list[str]:
    """The sentences, those that differ in nothing but the dataset or the method that they name joined into one.

    What a sentence has in brackets, its only ones, may differ too: it is told of each.
    """
    once = _joined(sentences, [f"'{name}'" for name in datasets], "{}", "{}")
    return _joined(once, [f"method '{name}'" for name in methods], "method {}", "methods {}")


def _joined(sentences: Sequence[str], names: Sequence[str], one: str, several: str) -> list[str]:
    """The same for names that stand in the sentences as these texts do."""
    groups: dict[tuple[str, ...], dict[str, str]] = {}
    for sentence in sentences:
        found = [name for name in names if name in sentence]
        brackets = _BRACKETS.findall(sentence)
        inside = brackets[0] if len(brackets) == 1 and not any(name in brackets[0] for name in found) else ""
        if len(found) == 1:
            key = tuple(sentence.replace(f"({inside})", "()").split(found[0]))
            groups.setdefault(key, {})[found[0].removeprefix(one.removesuffix("{}"))] = inside
        else:
            groups[(sentence,)] = {}
    told = []
    for parts, inside_of in groups.items():
        text = (several if len(inside_of) > 1 else one).format(listed(list(inside_of))).join(parts)
        different = set(inside_of.values())
        inside = "; ".join(f"{name}: {words}" for name, words in inside_of.items())
        told.append(text.replace("()", f"({inside if len(different) > 1 else ''.join(different)})"))
    return told


_BRACKETS = re.compile(r"\(([^()]*)\)")

FEWEST_WITH_OUTLIER = 5  # patients, below which none lies outside the others
FAR_OUT, LOSS = 6.0, 0.5  # robust sds below the median, and dB below it and below bicubic
ROBUST_SD = 1.4826  # of normal values, over their median absolute deviation
COARSE = 8  # bits of a pixel, whose rounding is as strong as the fine detail that is measured
GRID = 0.15  # share by which blockiness may be off what images and interpolation have


def training_warnings(plan: EvaluationPlan) -> list[str]:
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


def interval_cautions(plan: EvaluationPlan) -> list[str]:
    """A sentence for each calibrated method and dataset whose images or degradation say little of its coverage."""
    told = []
    for work in plan.works:
        data, degradation = (work.dataset.hash, plan.comparison.split), work.around.degradation.text
        for source in plan.sources:
            facts = source.facts.get("calibration") or {}
            if facts and (facts["dataset_hash"], facts["split"]) == data:
                told.append(
                    f"On '{work.dataset.name}' the intervals of method '{source.name}' were calibrated on these very "
                    "images: their coverage there is no test. Evaluate on other patients."
                )
            if facts and facts["degradation"] != degradation:
                told.append(
                    f"The intervals of method '{source.name}' were calibrated for {facts['degradation']}: on "
                    f"'{work.dataset.name}', reduced by {degradation}, nothing guarantees their coverage."
                )
    return told


def method_cautions(works: Sequence[Work], table: pd.DataFrame) -> list[str]:
    """The sentences, in the order of the datasets."""
    told = []
    for work in works:
        if names := [f"'{method.name}'" for method in work.methods if method.bits == COARSE]:
            told.append(  # rounding is white noise, which bicubic and models, measured in float, do not have
                f"On '{work.dataset.name}' the images of {', '.join(names)} have 8 bits, those of bicubic and of "
                "models are measured in float: rounding adds noise that sharpness, spectra, high bands and sliced "
                "Wasserstein distance take for detail. Compare these measures on images of 16 bits."
            )
        told += [*_twins(work, table), *_failing(work, table), *_gridded(work, table)]
    return told


def _twins(work: Work, table: pd.DataFrame) -> Iterator[str]:
    """Methods all of whose values are equal, but for what rounding to 16 bits makes of those of the whole image."""
    rows = table[(table["dataset"] == work.dataset.name) & (table["method"] != HR)]
    wide = rows.pivot(index=["metric", "id"], columns="method", values="value")
    for first, second in combinations(work.methods, 2):
        pair = wide[[first.name, second.name]].dropna(how="all").to_numpy()
        if not len(pair):
            continue
        if np.array_equal(pair[:, 0], pair[:, 1], equal_nan=True):
            yield (
                f"On '{work.dataset.name}' methods '{first.name}' and '{second.name}' are the same in every value of "
                "every image: check what was given."
            )
            continue
        main = wide.loc[wide.index.isin(MAIN_METRICS, level="metric"), [first.name, second.name]].dropna()
        if len(main) and np.allclose(main[first.name], main[second.name], rtol=SMALLEST):
            yield (
                f"On '{work.dataset.name}' methods '{first.name}' and '{second.name}' are the same in every main "
                "measure of every image but for rounding: check what was given."
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
        if method.name == BICUBIC or len(own) < FEWEST_WITH_OUTLIER:
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

"""What the parts on disk of an evaluation add up to, by method: its tables and its record."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsr.atomic import replacing
from latentsr.bench.character import truth_facts
from latentsr.bench.evaluation_plan import EvaluationPlan, image_groups
from latentsr.bench.inputs import suspicions
from latentsr.bench.measure import THUMB, Measured, Work
from latentsr.bench.methods import mean_measure, set_values
from latentsr.bench.roundtrip import Arrays, median_seconds
from latentsr.bench.sets import (
    REFERENCE,
    SetMeasure,
    array_order,
    set_comparison_rows,
    set_measures,
    set_rows,
    with_mean_level,
)
from latentsr.config import read_json
from latentsr.data.records import commonest, sizes
from latentsr.job import Part, Parts
from latentsr.metrics import METRICS, Metric
from latentsr.names import BICUBIC, HR, LATENTS, LR_PSNR, MAPS
from latentsr.stats.comparison import (
    compare_as_published,
    compare_methods,
    compare_subgroups,
    effect_sizes,
    over_seeds,
    seed_means,
    seed_spread,
    summarise,
)
from latentsr.stats.paired import agreement_points, compare_agreement
from latentsr.stats.regression import POINT_COLUMNS, ceiling_lines, ceiling_points, compare_ceilings
from latentsr.stats.significance import compare_equivalence
from latentsr.stats.table import short_hash, sorted_table, tidy_rows

GALLERY = "lr_thumbs"


@dataclass(frozen=True)
class Results:
    """What the parts of one dataset add up to, by method, HR's own among them; images in the order of the records.

    Each is read from the parts, one after the other, when it is asked for: all that was kept of a few thousand images
    (thumbnails, patches, features and maps of every method) would take gigabytes.
    """

    work: Work
    parts: Parts
    names: tuple[str, ...]
    gallery: Parts

    def table(self) -> pd.DataFrame:
        """The dataset's tidy rows."""
        patients, dataset = {record.id: record.patient for record in self.work.records}, self.work.dataset.name
        return sorted_table(
            tidy_rows(
                dataset,
                {id: patients[id] for id in part.ids},
                name,
                tuple(map(str, part[_key(number, "names")])),
                part[_key(number, "values")].astype(np.float64),
            )
            for part in self._each("names", "values")
            for number, name in enumerate(self.names)
        )

    def thumbs(self) -> dict[str, NDArray[np.float32]]:
        """LR thumbnails (images, pixels) by method."""
        return self._by_record("thumbs")

    def other_thumbs(self) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """Ids and LR thumbnails (others, pixels) of the split's images that were not measured."""
        others = self.gallery.read()
        none = np.zeros((0, THUMB**2), np.float32)
        thumbs = np.concatenate([none, *(part[GALLERY] for part in others)]).astype(np.float32)
        return tuple(id for part in others for id in part.ids), thumbs

    def set_names(self) -> list[str]:
        """The names of what set measures need, as all images and every method have them, finer levels first."""
        prefix = _key(0, "sets.")
        names = (name.removeprefix(prefix) for name in self.parts.names() if name.startswith(prefix))
        return sorted((name for name in names if not name.startswith(REFERENCE)), key=array_order)

    def sets(self, name: str) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32]]:
        """What set measures need under that name, of all images together: by method, and what they are compared with.

        Patches of methods, HR among them, are compared with HR's at other places; features with HR's own.
        """
        methods = self._by_record(f"sets.{name}")
        if f"{_key(0, 'sets.')}{REFERENCE}/{name}" not in self.parts.names():
            return methods, methods[HR]
        return methods, self._by_record(f"sets.{REFERENCE}/{name}", (HR,))[HR]

    def maps(self) -> dict[str, NDArray[np.float64]]:
        """(2, rows, columns) by method: share of images, of the commonest size, hallucinated and lost at each pixel."""
        mapped = commonest(self.work.records)
        totals = np.zeros((len(self.names) - 1, 2, mapped[0].rows, mapped[0].columns))
        for part in self._each("maps"):
            maps = np.stack([part[_key(number, "maps")] for number in range(1, len(self.names))])
            if maps.shape == totals.shape:
                totals += maps
        return dict(zip(self.names[1:], totals / len(mapped), strict=True))

    def seconds(self) -> tuple[dict[str, float], dict[str, Any]]:
        """Median seconds an image by method, and what they were measured on; see `median_seconds`."""
        names, keys = self.names[1:], [_key(number, "seconds") for number in range(1, len(self.names))]
        parts = self.parts.each({"device", "setup", *keys}.__contains__)
        medians, setup = median_seconds(parts, lambda part: [float(part[key]) for key in keys])
        return dict(zip(names, medians, strict=True)), setup

    def _each(self, *kinds: str) -> Iterator[Part]:
        """The parts, one at a time, with these of their arrays alone."""
        wanted = {_key(number, kind) for number in range(len(self.names)) for kind in kinds}
        return self.parts.each(wanted.__contains__)

    def _by_record(self, kind: str, names: Sequence[str] | None = None) -> dict[str, NDArray[np.float32]]:
        """One array of each method, or of these, with a row a record."""
        rows = {record.id: row for row, record in enumerate(self.work.records)}
        found: dict[str, NDArray[np.float32]] = {}
        for part in self._each(kind):
            at = [rows[id] for id in part.ids]
            for name in names or self.names:
                values = part[_key(self.names.index(name), kind)]
                found.setdefault(name, np.empty((len(rows), *values.shape[1:]), np.float32))[at] = values
        return found


def _key(number: int, kind: str) -> str:
    """The name of an array of the method of that number in a part."""
    return f"{number}.{kind}"


def keep(parts: Parts, ids: Sequence[str], found: Mapping[str, Measured], names: Sequence[str], setup: Arrays) -> None:
    """Writes a batch's measures as one part, whole or not at all; `setup` says on what they were timed."""
    arrays: dict[str, NDArray[Any]] = dict(setup)
    for number, name in enumerate(names):
        one = found[name]
        kept = {"names": np.array(one.names, dtype=np.str_), "values": one.values, "thumbs": one.thumbs}
        kept |= {"maps": one.maps, "seconds": np.array(one.seconds)}
        kept |= {f"sets.{key}": values for key, values in one.sets.items()}
        arrays |= {_key(number, kind): values for kind, values in kept.items()}
    parts.write(ids, arrays)


def keep_latents(folder: Path, dataset: str, ids: Sequence[str], found: Mapping[str, Measured]) -> None:
    """Writes the latents that samplers drew, `folder`/DATASET/METHOD/ID.npy, (channels, rows, columns), each whole."""
    for name, one in found.items():
        for id, latents in zip(ids, () if one.latents is None else one.latents, strict=one.latents is not None):
            with replacing(folder / dataset / name / f"{id}.npy") as temporary, temporary.open("wb") as file:
                np.save(file, latents, allow_pickle=False)


def latent_facts(plan: EvaluationPlan) -> dict[str, Any]:
    """What `keep_latents` wrote: the type of its numbers, and each method with its autoencoder's name and hash."""
    methods = {one.name: one.autoencoder for work in plan.works for one in work.methods if one.latents}
    about = {name: {"name": one.spec.name, "hash": one.hash} for name, one in methods.items() if one is not None}
    return {"dtype": "float32", "files": f"{LATENTS}/DATASET/METHOD/ID.npy", "methods": about}


def cost_rows(plan: EvaluationPlan, found: Sequence[Results]) -> pd.DataFrame:
    """One row per dataset and method: what it took to restore an image.

    `evaluations` of the network (for each tile), 0 without one, and `seconds` of wall time, the median over batches
    (and seeds), on `device` with `threads`, `batch` images at a time; both empty where the images are files. Seconds do
    not compare across machines, nor with those of another run: other threads measure meanwhile.
    """
    rows = []
    for one in found:
        seconds, setup = one.seconds()
        evaluations = {method.name: method.evaluations for method in one.work.methods}
        for name, seeds in plan.members.items():
            made = evaluations[seeds[0]]
            median = float(np.median([seconds[seed] for seed in seeds]))
            own = {"evaluations": made, "seconds": None if made is None else median}
            rows.append({"dataset": one.work.dataset.name, "method": name, **own, **setup})
    return pd.DataFrame(rows).astype({"evaluations": "Int64", "seconds": "float64"})


def write_maps(plan: EvaluationPlan, found: Sequence[Results], out: Path) -> None:
    """Writes `maps.npz`: `DATASET NUMBER.METHOD NUMBER`, (2, rows, columns), where there is a reference autoencoder."""
    if plan.around.reference is None:
        return
    maps = {
        f"{dataset}.{number}": np.mean([shares[seed] for seed in seeds], axis=0).astype(np.float32)
        for dataset, shares in enumerate(one.maps() for one in found)
        for number, seeds in enumerate(plan.members.values())
    }
    with replacing(out / MAPS) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **maps)


INTENSITY = "mean_intensity"
# What the study compares.
PUBLISHED = ("psnr", "ms_ssim", "lpips", "self_psnr", "self_ms_ssim", "truncated_psnr", "roi_ssim_published")
# Families of tests, chosen before any data: few tests in the first, so that few patients can decide what matters most.
MAIN, WHOLE, PARTS = "main measures", "whole image", "parts"
MAIN_METRICS = ("psnr", "haarpsi")  # fidelity and perceptual likeness: what the verdict's first sentences rest on


def frames(plan: EvaluationPlan, found: Sequence[Results], measured: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables by the name of their file: table, summary, comparisons, agreement, and others where asked for.

    `measured` is the tidy table with each seed of a method apart.
    """
    table = over_seeds(measured, plan.seeds) if plan.seeds else measured
    compared = table[table["metric"].isin(directed(plan.metrics))]
    pairs = [(later, earlier) for earlier, later in combinations(plan.names, 2)]
    made = {"table": table, "summary": summarise(table), **_sets(plan, found, measured, pairs)}
    families = {name: family_of(name) for name in compared["metric"].unique()}
    margins, groups = dict(plan.comparison.margins), {}
    if plan.comparison.by is not None:
        groups = {work.dataset.name: image_groups(work.records, plan.comparison.by) for work in plan.works}
    parts: dict[str, list[pd.DataFrame]] = {"comparisons": [], "subgroups": [], "equivalence": []}
    # What is the truth on a dataset takes no part in tests there, nor in their families.
    aside = {(truth["dataset"], truth["method"]) for truth in truth_facts(table)}
    for dataset, rows in table.groupby("dataset", sort=True):
        truths = {method for name, method in aside if name == dataset}
        own = rows[~rows["method"].isin(truths)]
        left = [pair for pair in pairs if not truths & set(pair)]
        tested = own[own["metric"].isin(families)]
        if left and len(tested):
            primary = plan.primary
            if primary and (primary.metric not in set(tested["metric"]) or {primary.a, primary.b} & truths):
                primary = None
            parts["comparisons"].append(
                compare_methods(
                    tested, pairs=left, primary=primary, unit="both", families=families, seed=plan.comparison.seed
                )
            )
            if dataset in groups and (main := [pair for pair in main_pairs(plan) if {pair, pair[::-1]} & set(left)]):
                chosen = tested[tested["metric"].isin([*MAIN_METRICS, *(plan.primary or ())[2:]])]
                parts["subgroups"].append(
                    compare_subgroups(chosen, {dataset: groups[dataset]}, pairs=main, seed=plan.comparison.seed)
                )
        within = {metric: margin for metric, margin in margins.items() if metric in set(own["metric"])}
        if left and within:
            parts["equivalence"].append(compare_equivalence(own, within, pairs=left, unit="both"))
    made |= {name: pd.concat(some, ignore_index=True) for name, some in parts.items() if some}
    if "comparisons" in made:
        made["effects"] = effect_sizes(made["comparisons"])
    if plan.comparison.protocol == "published":
        made["published"] = compare_as_published(table, pairs, PUBLISHED)
    if INTENSITY in set(table["metric"]):
        made["agreement"] = compare_agreement(table, INTENSITY, unit="both")
    return made | _ceilings(plan, table, made["summary"])


def _ceilings(plan: EvaluationPlan, table: pd.DataFrame, summary: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Ceilings beside results, where models lose something in their latents; and the points that figures draw."""
    facts = {one["name"]: one["autoencoder"] for one in plan.facts["methods"] if one.get("autoencoder")}
    lossy = {name: one["hash"] for name, one in facts.items() if not one["lossless"]}
    points = [ceiling_points(table, lossy)]
    if INTENSITY in set(table["metric"]):
        points.append(agreement_points(table, INTENSITY).assign(figure="agreement", model=""))
    drawn = [one for one in points if len(one)]
    made = {
        "ceilings": compare_ceilings(table, summary, lossy),
        "ceiling_lines": ceiling_lines(summary, lossy),
        "points": pd.concat(drawn, ignore_index=True)[list(POINT_COLUMNS)] if drawn else points[0],
    }
    return {name: frame for name, frame in made.items() if len(frame)}


def main_pairs(plan: EvaluationPlan) -> list[tuple[str, str]]:
    """The primary pair first, then each method with bicubic."""
    first = [plan.primary[:2]] if plan.primary else []
    return list(dict.fromkeys([*first, *((name, BICUBIC) for name in plan.names if name != BICUBIC)]))


def _sets(
    plan: EvaluationPlan, found: Sequence[Results], table: pd.DataFrame, pairs: Sequence[tuple[str, str]]
) -> dict[str, pd.DataFrame]:
    """The measures of whole sets, a row a dataset, method and measure, and their differences, a row a pair.

    Where methods have several seeds, also how far these lie apart, in measures of images and of sets.
    """
    rows, differences = [], []
    values: list[tuple[str, str, str, float]] = []
    for one in found:
        dataset, seed = one.work.dataset.name, plan.comparison.seed
        patients = [record.patient for record in one.work.records]
        names, measured = (*plan.names, HR), (*plan.measured, HR)  # HR's own distance is the floor
        measures: dict[str, SetMeasure] = {}
        for name in one.set_names():
            arrays, reference = one.sets(name)
            measures |= set_measures(name, [arrays[method] for method in measured], reference, patients, seed)
        measures = with_mean_level(measures)
        values += set_values(dataset, measures, measured)
        members = {**plan.members, HR: (HR,)}
        measures = {name: mean_measure(one, measured, members) for name, one in measures.items()}
        rows.append(set_rows(dataset, names, measures, patients, seed))
        differences.append(set_comparison_rows(dataset, names, pairs, measures, patients, seed))
    made = {"sets": pd.concat(rows, ignore_index=True)}
    if plan.seeds:
        columns = ["dataset", "method", "metric", "value"]
        apart = pd.concat([seed_means(table, plan.seeds), pd.DataFrame(values, columns=columns)], ignore_index=True)
        made["seeds"] = seed_spread(apart, plan.seeds)
    return made | ({"set_comparisons": pd.concat(differences, ignore_index=True)} if pairs else {})


def directed(metrics: Iterable[Metric]) -> list[str]:
    """The tidy names that are tested: those of measures that compare methods, of which more, or less, is better."""
    return [name for one in metrics if one.compared and one.better != "closer" for name in one.names]


def family_of(metric: str) -> str:
    """The family of tests of a tidy name: main, other measures of the whole image, or bands, scales, thresholds."""
    if "/" in metric:
        return PARTS
    return MAIN if metric in MAIN_METRICS else WHOLE


def pairing_facts(plan: EvaluationPlan, found: Sequence[Results], table: pd.DataFrame) -> list[dict[str, Any]]:
    """What is suspicious about the pairing, for run.json: images by their hash; `table` has each seed apart."""
    facts: list[dict[str, Any]] = []
    for one in found:
        rows = table[(table["dataset"] == one.work.dataset.name) & (table["metric"] == LR_PSNR)]
        psnr = rows.set_index(["method", "id"])["value"]
        ids = [record.id for record in one.work.records]
        values = {name: psnr[name].reindex(ids).to_numpy() for name in plan.measured}
        thumbs = one.thumbs()
        own = thumbs.pop(HR)
        others, gallery = one.other_thumbs()
        hashes = [short_hash(one.work.dataset.name, id) for id in (*ids, *others)]
        for name, doubts in suspicions(own, thumbs, values, gallery).items():
            found_of = [round(float(value), 2) if np.isfinite(value) else None for value in values[name]]
            facts += [
                {
                    "dataset": one.work.dataset.name,
                    "method": name,
                    "kind": doubt.kind,
                    "count": len(doubt.images),
                    "of": len(ids),
                    "images": [hashes[row] for row in doubt.images],
                    "resembles": [hashes[row] for row in doubt.resembles],
                    "lr_psnr": [found_of[row] for row in doubt.images],
                }
                for doubt in doubts
            ]
    return facts


def dataset_facts(plan: EvaluationPlan) -> dict[str, Any]:
    """Images, patients and sizes of what was measured, and whether each of the dataset's images has its own patient.

    `mapped` are the images of the commonest size: those that mean maps are of; `resized` counts the images that were
    resized when they were prepared, `shared_patients` the patients that stand in another split of the dataset too,
    `block` the files that count as a patient where `prepare` knew no patients, and `ungrouped`, where subgroups are
    compared, the images that are in none.
    """
    facts: dict[str, Any] = {}
    for work in plan.works:
        mapped, every = commonest(work.records), work.dataset.records
        patients = {record.patient for record in work.records}
        elsewhere = {record.patient for record in every if record.split != work.records[0].split}
        rule = (read_json(work.dataset.root / "dataset.json").get("recipe") or {}).get("rule") or {}
        facts[work.dataset.name] = {
            "images": len(work.records),
            "patients": len(patients),
            "shared_patients": len(patients & elsewhere),
            "resized": sum(record.resized_from is not None for record in work.records),
            "sizes": sizes(work.records),
            "mapped": {"images": len(mapped), "size": sizes(mapped)[0]},
            "block": rule.get("block"),
            "image_is_patient": len({record.patient for record in every}) == len(every),
        }
        if by := plan.comparison.by:
            facts[work.dataset.name]["ungrouped"] = len(work.records) - len(image_groups(work.records, by))
    return facts


def measure_facts(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The definitions of the measures in the table, from METRICS: a report reads them here."""
    there = set(table["metric"])
    return [
        {
            "name": one.name,
            "title": one.title,
            "unit": one.unit,
            "better": one.better,
            "range": [f"{bound:g}" for bound in one.range],
            "source": one.source,
            "group": one.group,
            "parts": list(one.parts),
            "smallest_side": one.smallest_side,
        }
        for one in METRICS.values()
        if there & set(one.names)
    ]

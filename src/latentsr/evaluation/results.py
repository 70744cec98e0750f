"""The tables of a finished evaluation: from the parts on disk to what is written, printed and shown."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsr.atomic import replacing
from latentsr.evaluation.measure import HR, LR_PSNR, THUMB, Measured, Work, sorted_table, tidy_rows
from latentsr.evaluation.pairing import Suspicion, suspicions
from latentsr.evaluation.plan import Plan
from latentsr.evaluation.sets import set_rows
from latentsr.metrics import METRICS, Metric
from latentsr.parts import Part, Parts
from latentsr.stats.agreement import compare_agreement
from latentsr.stats.comparison import compare_methods
from latentsr.stats.equivalence import compare_equivalence
from latentsr.stats.names import short_hash
from latentsr.stats.summary import summarise

MAPS = "maps.npz"
INTENSITY = "mean_intensity"
GALLERY = "lr_thumbs"


@dataclass(frozen=True)
class Results:
    """What the parts of one dataset add up to, by method, HR's own among them; images in the order of the records."""

    work: Work
    parts: tuple[Part, ...]
    names: tuple[str, ...]
    gallery: tuple[Part, ...] = ()

    def other_thumbs(self) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """Ids and LR thumbnails (others, pixels) of the split's images that were not measured."""
        ids = tuple(id for part in self.gallery for id in part.ids)
        none = np.zeros((0, THUMB**2), np.float32)
        return ids, np.concatenate([none, *(part[GALLERY] for part in self.gallery)]).astype(np.float32)

    def table(self) -> pd.DataFrame:
        """The dataset's tidy rows."""
        records = {record.id: record for record in self.work.records}
        return sorted_table(
            [
                tidy_rows(self.work.dataset, [records[id] for id in part.ids], name, measured(part, number))
                for part in self.parts
                for number, name in enumerate(self.names)
            ]
        )

    def thumbs(self, method: str) -> NDArray[np.float32]:
        """LR thumbnails (images, pixels), in the order of the records."""
        number = self.names.index(method)
        found = {
            id: row for part in self.parts for id, row in zip(part.ids, measured(part, number).thumbs, strict=True)
        }
        return np.stack([found[record.id] for record in self.work.records])

    def sets(self, method: str) -> dict[str, NDArray[np.float32]]:
        """What the set measures need, of all images together; only what all of them have."""
        number = self.names.index(method)
        each = [measured(part, number).sets for part in self.parts]
        keys = [key for key in each[0] if all(key in one for one in each)]
        return {key: np.concatenate([one[key] for one in each]) for key in keys}

    def maps(self, method: str) -> NDArray[np.float64]:
        """(2, rows, columns): share of the images hallucinated and lost at each pixel, of the commonest image size."""
        number = self.names.index(method)
        each = [(len(part.ids), measured(part, number).maps) for part in self.parts]
        counts: dict[tuple[int, ...], int] = {}
        for images, one in each:
            counts[one.shape] = counts.get(one.shape, 0) + images
        shape = max(counts, key=lambda one: (counts[one], one))
        total = sum((one.astype(np.float64) for _, one in each if one.shape == shape), np.zeros(shape))
        return np.asarray(total / counts[shape])


def keep(parts: Parts, ids: Sequence[str], found: Mapping[str, Measured], names: Sequence[str]) -> None:
    """Writes a batch's measures as one part, whole or not at all."""
    arrays: dict[str, NDArray[Any]] = {}
    for number, name in enumerate(names):
        one = found[name]
        arrays |= {
            f"{number}.names": np.array(one.names, dtype=np.str_),
            f"{number}.values": one.values,
            f"{number}.thumbs": one.thumbs,
            f"{number}.maps": one.maps,
        } | {f"{number}.sets.{key}": values for key, values in one.sets.items()}
    parts.write(ids, arrays)


def measured(part: Part, number: int) -> Measured:
    """What a part holds of its method of that number."""
    names, values, thumbs, maps = (part[f"{number}.{key}"] for key in ("names", "values", "thumbs", "maps"))
    prefix = f"{number}.sets."
    sets = {key.removeprefix(prefix): value for key, value in part.arrays.items() if key.startswith(prefix)}
    return Measured(tuple(map(str, names)), values, thumbs, maps, sets)  # type: ignore[arg-type]


def frames(plan: Plan, found: Sequence[Results]) -> dict[str, pd.DataFrame]:
    """The tables by the name of their file: table, summary, comparisons, agreement, and equivalence where asked for."""
    table = pd.concat([one.table() for one in found], ignore_index=True)
    compared = table[table["metric"].isin(directed(plan.metrics))]
    pairs = [(later, earlier) for earlier, later in combinations(plan.names, 2)]
    made = {"table": table, "summary": summarise(table, seed=plan.comparison.seed), "sets": _sets(plan, found)}
    if pairs:
        # Two families of tests: measures of the whole image, and bands, scales and thresholds.
        whole = ~compared["metric"].str.contains("/")
        families = [compared[whole], compared[~whole]]
        made["comparisons"] = pd.concat(
            compare_methods(family, pairs=pairs, unit="both", seed=plan.comparison.seed)
            for family in families
            if len(family)
        )
    if INTENSITY in set(table["metric"]):
        made["agreement"] = compare_agreement(table, INTENSITY, unit="both")
    if plan.comparison.margins and pairs:
        made["equivalence"] = compare_equivalence(table, dict(plan.comparison.margins), pairs=pairs, unit="both")
    return made


def _sets(plan: Plan, found: Sequence[Results]) -> pd.DataFrame:
    """The measures of whole sets: one row a dataset, method and measure."""
    rows = []
    for one in found:
        methods = {name: one.sets(name) for name in plan.names}
        rows.append(set_rows(one.work.dataset.name, one.sets(HR), methods, plan.comparison.seed))
    return pd.concat(rows, ignore_index=True)


def directed(metrics: Iterable[Metric]) -> list[str]:
    """The tidy names that are tested: those of measures of which more, or less, is better; `lr_psnr` always."""
    return [name for one in metrics if one.better != "closer" for name in one.names] + [LR_PSNR]


def write_maps(plan: Plan, found: Sequence[Results], out: Path) -> None:
    """Writes `maps.npz`: `DATASET NUMBER.METHOD NUMBER`, (2, rows, columns), where there is a reference autoencoder."""
    if plan.around.reference is None:
        return
    maps = {
        f"{dataset}.{number}": one.maps(name).astype(np.float32)
        for dataset, one in enumerate(found)
        for number, name in enumerate(plan.names)
    }
    with replacing(out / MAPS) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **maps)


def pairing_facts(plan: Plan, found: Sequence[Results], table: pd.DataFrame) -> list[dict[str, Any]]:
    """What is suspicious about the pairing, for run.json: images by their hash."""
    told = []
    for one in found:
        rows = table[(table["dataset"] == one.work.dataset.name) & (table["metric"] == LR_PSNR)]
        psnr = rows.set_index(["method", "id"])["value"]
        ids = [record.id for record in one.work.records]
        values = {name: psnr[name].reindex(ids).to_numpy() for name in plan.names}
        restored = {name: one.thumbs(name) for name in plan.names}
        others, gallery = one.other_thumbs()
        for name, doubts in suspicions(one.thumbs(HR), restored, values, gallery).items():
            told += [_told(one.work, others, name, doubt, values[name]) for doubt in doubts]
    return told


def _told(
    work: Work, others: Sequence[str], method: str, doubt: Suspicion, lr_psnr: NDArray[np.float64]
) -> dict[str, Any]:
    ids = [*(record.id for record in work.records), *others]
    hashes = [short_hash(work.dataset.name, id) for id in ids]
    return {
        "dataset": work.dataset.name,
        "method": method,
        "kind": doubt.kind,
        "count": len(doubt.images),
        "of": len(work.records),
        "images": [hashes[row] for row in doubt.images],
        "resembles": [hashes[row] for row in doubt.resembles],
        "lr_psnr": [round(float(lr_psnr[row]), 2) if np.isfinite(lr_psnr[row]) else None for row in doubt.images],
    }


def dataset_facts(plan: Plan) -> dict[str, Any]:
    """Images, patients and sizes of what was measured, and whether each of the dataset's images has its own patient."""
    return {
        work.dataset.name: {
            "images": len(work.records),
            "patients": len({record.patient for record in work.records}),
            "sizes": sorted({f"{record.rows}x{record.columns}" for record in work.records}),
            "image_is_patient": len({r.patient for r in work.dataset.records}) == len(work.dataset.records),
        }
        for work in plan.works
    }


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

"""What run.json says of a finished evaluation beside its options: datasets, measures, doubts about the pairing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsr.data.batches import commonest
from latentsr.data.records import Record
from latentsr.evaluation.groups import image_groups
from latentsr.evaluation.measure import HR, LR_PSNR, Work
from latentsr.evaluation.pairing import Suspicion, suspicions
from latentsr.evaluation.plan import Plan
from latentsr.evaluation.results import Results
from latentsr.metrics import METRICS
from latentsr.stats.names import short_hash


def pairing_facts(plan: Plan, found: Sequence[Results], table: pd.DataFrame) -> list[dict[str, Any]]:
    """What is suspicious about the pairing, for run.json: images by their hash; `table` has each seed apart."""
    told = []
    for one in found:
        rows = table[(table["dataset"] == one.work.dataset.name) & (table["metric"] == LR_PSNR)]
        psnr = rows.set_index(["method", "id"])["value"]
        ids = [record.id for record in one.work.records]
        values = {name: psnr[name].reindex(ids).to_numpy() for name in plan.measured}
        thumbs = one.thumbs()
        own = thumbs.pop(HR)
        others, gallery = one.other_thumbs()
        for name, doubts in suspicions(own, thumbs, values, gallery).items():
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
    """Images, patients and sizes of what was measured, and whether each of the dataset's images has its own patient.

    `mapped` are the images of the commonest size: those that mean maps are of; `resized` counts the images that were
    resized when they were prepared, `shared_patients` the patients that stand in another split of the dataset too, and
    `ungrouped`, where subgroups are compared, the images that are in none.
    """
    by = plan.comparison.by
    ungrouped = {one.dataset.name: len(one.records) - len(image_groups(one.records, by)) for one in plan.works if by}
    return {
        name: _dataset_facts(work) | ({"ungrouped": ungrouped[name]} if by else {})
        for work in plan.works
        for name in (work.dataset.name,)
    }


def _dataset_facts(work: Work) -> dict[str, Any]:
    mapped = commonest(work.records)
    patients = {record.patient for record in work.records}
    elsewhere = {record.patient for record in work.dataset.records if record.split != work.records[0].split}
    return {
        "images": len(work.records),
        "patients": len(patients),
        "shared_patients": len(patients & elsewhere),
        "resized": sum(record.resized_from is not None for record in work.records),
        "sizes": sorted({_size(record) for record in work.records}),
        "mapped": {"images": len(mapped), "size": _size(mapped[0])},
        "image_is_patient": len({record.patient for record in work.dataset.records}) == len(work.dataset.records),
    }


def _size(record: Record) -> str:
    return f"{record.rows}x{record.columns}"


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

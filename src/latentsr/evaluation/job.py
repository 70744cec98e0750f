"""The evaluate job: datasets and methods as texts, in; tables, pictures, run.json, out. It goes on where it ended."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from latentsr.config import manifest, read_json, write_json
from latentsr.errors import StaleError
from latentsr.evaluation.cautions import cautions, not_measured, pairing_cautions, truth_warnings
from latentsr.evaluation.facts import dataset_facts, measure_facts, pairing_facts, truth_facts
from latentsr.evaluation.measure import HR, Work, measured_batches, other_thumbs
from latentsr.evaluation.pictures import PICTURES, WHITE_ERROR, chosen_by, draw_pictures
from latentsr.evaluation.plan import Comparison, Plan, make_plan
from latentsr.evaluation.results import GALLERY, MAPS, Results, keep, write_maps
from latentsr.evaluation.sets import set_cautions
from latentsr.evaluation.tables import frames
from latentsr.parts import Parts
from latentsr.provenance import RESEARCH_USE
from latentsr.stats.table import read_table, write_table

__all__ = ["RUN", "Comparison", "compare"]

RUN, PARTIAL, PARTS = "run.json", "run.partial.json", "parts"
TABLES = ("table", "summary", "comparisons", "agreement", "equivalence", "sets", "set_comparisons")
MOST_WORKERS = 4

Progress = Callable[[int, int], None]
Stage = Callable[[str], None]


def compare(
    folders: Sequence[Path],
    out: Path,
    comparison: Comparison,
    *,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
    stage: Stage = lambda name: None,
) -> pd.DataFrame:
    """The summary of the tidy table; `out` then holds the tables (Parquet and CSV), pictures and `run.json`.

    An interrupted evaluation goes on, no image is measured twice; a finished one is returned as it is. `progress` is
    called with the numbers of images measured and of all, `stage` with what is made when all are measured.

    Raises:
        StaleError: `out` holds an evaluation of other data, methods or options, and not `overwrite`.
        OptionError, InputError, ModelError: what `make_plan` and `measured_batches` raise.
    """
    if not overwrite:
        _check_alone(out)  # before models are loaded
    plan = make_plan(folders, comparison)
    if overwrite:
        _clear(out)
    _check_key(out, plan.key)
    if not (out / RUN).is_file():
        _run(plan, out, progress, stage)
    for left in (out / PARTS, out / PARTIAL):
        _remove(left)
    return read_table(out / "summary.parquet")


def _check_alone(out: Path) -> None:
    """Tables of which no record says how they were made are somebody else's."""
    there = any((out / name).exists() for name in (RUN, PARTIAL))
    if not there and any((out / f"{name}.parquet").exists() for name in TABLES):
        raise _stale(out)


def _check_key(out: Path, key: str) -> None:
    for path in (out / RUN, out / PARTIAL):
        there = read_json(path) if path.is_file() else {"key": key}
        if not isinstance(there, dict) or there.get("key") != key:
            raise _stale(out)


def _stale(out: Path) -> StaleError:
    return StaleError(f"{out}: holds an evaluation already; give another -o, or --overwrite")


def _clear(out: Path) -> None:
    # Parts first: left without the key that they were made under, they could be taken for another's.
    for name in (PARTS, RUN, PARTIAL, PICTURES, MAPS, *(f"{t}.{end}" for t in TABLES for end in ("parquet", "csv"))):
        _remove(out / name)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _run(plan: Plan, out: Path, progress: Progress, stage: Stage) -> None:
    """Parts, then tables and pictures; run.json last, whose presence says that the evaluation is whole."""
    names = (HR, *plan.names)
    folder = out / PARTS / plan.key[:16]  # so that parts made under other options never mix with these
    found = []
    done = 0
    for number, work in enumerate(plan.works):
        parts = Parts(folder / str(number))
        there = parts.done()
        done += len(there)
        progress(done, plan.images)
        steps = measured_batches(
            work, batch=plan.comparison.batch, device=plan.device, workers=_workers(plan), done=there
        )
        for records, measured in steps:
            if not (out / PARTIAL).is_file():
                write_json(out / PARTIAL, {"key": plan.key})
            keep(parts, [record.id for record in records], measured, names)
            done += len(records)
            progress(done, plan.images)
        found.append(Results(work, parts, names, _gallery(plan, work, Parts(folder / f"{number}.others"))))
    _conclude(plan, found, out, stage)


def _gallery(plan: Plan, work: Work, parts: Parts) -> Parts:
    """LR thumbnails of the images that a limit left out: a wrongly named file may hold one of them."""
    steps = other_thumbs(work, batch=plan.comparison.batch, device=plan.device, done=parts.done())
    for records, thumbs in steps:
        parts.write([record.id for record in records], {GALLERY: thumbs})
    return parts


def _workers(plan: Plan) -> int:
    """Threads beside the one that restores; on a GPU the images are measured where they are."""
    if plan.comparison.workers is not None:
        return plan.comparison.workers
    return min(MOST_WORKERS, os.cpu_count() or 1) if plan.device == "cpu" else 0


def _conclude(plan: Plan, found: Sequence[Results], out: Path, stage: Stage) -> None:
    stage("statistics")
    made = frames(plan, found)
    for name, frame in made.items():
        write_table(frame, out, name, overwrite=True)
    write_maps(plan, found, out)
    table = made["table"]
    stage("pictures")
    pictures = draw_pictures(plan, table, out)
    doubts = pairing_facts(plan, found, table)
    datasets, truths = dataset_facts(plan), truth_facts(table)
    facts: dict[str, Any] = {
        "key": plan.key,
        **plan.facts,
        "batch": plan.comparison.batch,
        "device": plan.device.partition(":")[0],
        "datasets": datasets,
        "tables": list(made),
        "measures": measure_facts(table),
        "not_measured": not_measured(plan, table),
        "pairing": doubts,
        "truth": truths,
        "warnings": [*truth_warnings(truths), *pairing_cautions(doubts)],
        "cautions": [*cautions(datasets, made, truths), *set_cautions(made["sets"])],
        "pictures": {
            "chief": plan.chief,
            "chosen_by": chosen_by(plan, table),
            "white_error": WHITE_ERROR,
            "cases": pictures,
        },
    }
    write_json(out / RUN, manifest(note=RESEARCH_USE, **facts))

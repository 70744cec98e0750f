"""The evaluate job: datasets and methods as texts, in; tables, pictures, run.json, out. It goes on where it ended."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from latentsr.bench.cautions import (
    cautions,
    interval_cautions,
    joined,
    method_cautions,
    not_measured,
    pairing_cautions,
    training_warnings,
)
from latentsr.bench.character import characters, distortion_cautions, truth_facts, truth_warnings
from latentsr.bench.evaluation_plan import Comparison, EvaluationPlan, plan_evaluation
from latentsr.bench.measure import measured_batches, other_thumbs
from latentsr.bench.methods import seed_cautions
from latentsr.bench.pictures import chosen_by, draw_pictures
from latentsr.bench.roundtrip import setup_of
from latentsr.bench.sets import set_cautions
from latentsr.bench.tables import (
    GALLERY,
    Results,
    cost_rows,
    dataset_facts,
    frames,
    keep,
    keep_latents,
    latent_facts,
    measure_facts,
    pairing_facts,
    write_maps,
)
from latentsr.config import manifest
from latentsr.data.records import Dataset
from latentsr.errors import OptionError
from latentsr.job import JobFolder, Parts, Progress, silent
from latentsr.names import EVALUATION_PAGE, HR, LATENTS, MAPS, PICTURES, RUN, SUPPLEMENT, WHITE_ERROR
from latentsr.provenance import RESEARCH_USE
from latentsr.stats.table import write_table
from latentsr.workers import Pool, Workers

__all__ = ["RUN", "Comparison", "compare"]

TABLES = (
    "table", "summary", "comparisons", "agreement", "equivalence", "sets", "set_comparisons", "subgroups", "seeds",
    "published", "cost", "effects", "ceilings", "ceiling_lines", "points",
)  # fmt: skip
MOST_WORKERS = 4

Stage = Callable[[str], None]


def compare(
    datasets: Sequence[str | Path | Dataset],
    out: Path,
    comparison: Comparison,
    *,
    overwrite: bool = False,
    cluster: Workers = Workers(),
    progress: Progress = silent,
    stage: Stage = lambda name: None,
) -> Mapping[str, Any]:
    """The content of `run.json`; `out` then holds the tables (Parquet and CSV) and pictures, too.

    Processes of a Ray cluster restore and measure batches, if there are any, and this one keeps what they found.

    An interrupted evaluation goes on, no image is measured twice; a finished one is returned as it is. `progress` is
    called with the numbers of images measured and of all, `stage` with what is made when all are measured.

    Raises:
        StaleError: `out` holds an evaluation of other data, methods or options, and not `overwrite`; or anything else.
        OptionError: other processes than those of a Ray cluster.
        OptionError, InputError, ModelError: what `plan_evaluation` and `measured_batches` raise.
    """
    # The folder of an evaluation; its page and supplement are written by the report.
    tables = (f"{name}.{end}" for name in TABLES for end in ("parquet", "csv"))
    results = frozenset((PICTURES, MAPS, LATENTS, EVALUATION_PAGE, SUPPLEMENT, *tables))
    folder = JobFolder(out, "evaluation", RUN, results, decided_by="data, methods or options")
    if cluster.apart and cluster.ray is None:
        raise OptionError("an evaluation is measured by threads, or by processes of a Ray cluster: set the option ray")
    folder.check()  # before models are loaded
    plan = plan_evaluation(datasets, comparison)
    with cluster.pool(plan.device) as pool:
        if overwrite or not folder.whole:
            pool.connect()  # before anything is removed or written
        folder.claim(plan.key, overwrite=overwrite)
        record = folder.finished() if folder.whole else _run(plan, folder, pool, progress, stage)
    folder.drop_parts()
    return record


def _run(plan: EvaluationPlan, folder: JobFolder, pool: Pool, progress: Progress, stage: Stage) -> Mapping[str, Any]:
    """Parts, then tables and pictures; run.json last, whose presence says that the evaluation is whole."""
    names = (HR, *plan.measured)
    workers = plan.comparison.workers  # beside the thread that restores; on a GPU images are measured where they are
    if workers is None:
        workers = min(MOST_WORKERS, os.cpu_count() or 1) if plan.device == "cpu" else 0
    found, done, threads = [], 0, 1 if pool.workers.apart else None
    setup = setup_of(plan.device, plan.comparison.batch, threads)
    for work in plan.works:
        place = work.dataset.folder_name  # not its number: the key does not tell A B from B A
        parts = Parts(folder.parts / place)
        there = parts.done()
        done += len(there)
        progress(done, plan.images)
        steps = measured_batches(
            work, batch=plan.comparison.batch, device=plan.device, workers=workers, done=there, pool=pool
        )
        for records, measured in steps:
            folder.begin(plan.key)
            ids = [record.id for record in records]
            if plan.comparison.keep_latents:  # before the part, whose presence says that the images are done
                keep_latents(folder.root / LATENTS, work.dataset.name, ids, measured)
            keep(parts, ids, measured, names, setup)
            done += len(records)
            progress(done, plan.images)
        # LR thumbnails of the images that a limit left out: a wrongly named file may hold one of them.
        others = Parts(folder.parts / f"{place}.others")
        for records, thumbs in other_thumbs(work, batch=plan.comparison.batch, device=plan.device, done=others.done()):
            others.write([record.id for record in records], {GALLERY: thumbs})
        found.append(Results(work, parts, names, others))
    return _conclude(plan, found, folder, stage)


def _conclude(plan: EvaluationPlan, found: Sequence[Results], folder: JobFolder, stage: Stage) -> Mapping[str, Any]:
    out = folder.root
    stage("statistics")
    measured = pd.concat([one.table() for one in found], ignore_index=True)
    made = frames(plan, found, measured) | {"cost": cost_rows(plan, found)}
    for name, frame in made.items():
        write_table(frame, out, name, overwrite=True)
    write_maps(plan, found, out)
    table = made["table"]
    stage("pictures")
    pictures = draw_pictures(plan, measured, out)
    doubts = pairing_facts(plan, found, measured)
    datasets, truths = dataset_facts(plan), truth_facts(table)
    trained = training_warnings(plan)
    warnings = [*trained, *truth_warnings(truths), *pairing_cautions(doubts)]
    cautioned = [
        *cautions(datasets, made, truths),
        *distortion_cautions(table, truths),
        *method_cautions(plan.first_seeds, table),
        *set_cautions(made["sets"]),
        *interval_cautions(plan),
        *(seed_cautions(made["seeds"]) if plan.seeds else ()),
    ]
    facts: dict[str, Any] = {
        "key": plan.key,
        **plan.facts,
        "batch": plan.comparison.batch,
        "device": plan.device.partition(":")[0],
        "datasets": datasets,
        "tables": list(made),
        "measures": measure_facts(table),
        # Methods of which it is known on which images they were trained: none, or a model with their digests.
        "measured_in_training": len(trained) > 0,
        "training_known": [
            name
            for name, own in plan.members.items()
            if all(one.kind == "baseline" or one.training_images for one in plan.sources if one.name in own)
        ],
        "primary_given": plan.comparison.primary is not None,
        "not_measured": not_measured(plan, table),
        "pairing": doubts,
        **({"latents": latent_facts(plan)} if plan.comparison.keep_latents else {}),
        "truth": truths,
        "character": characters(made["summary"]),
        "warnings": joined(warnings, list(datasets), plan.names),
        "cautions": joined(cautioned, list(datasets), plan.names),
        "pictures": {
            "chief": plan.chief,
            "chosen_by": chosen_by(plan, table),
            "white_error": WHITE_ERROR,
            "cases": pictures,
        },
    }
    return folder.finish(manifest(note=RESEARCH_USE, **facts))

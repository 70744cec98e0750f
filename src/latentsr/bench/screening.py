"""The screening job: a plan in; tables, pictures and screening.json out. It goes on where it ended."""

import gc
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from latentsr.autoencoders import Autoencoder
from latentsr.bench.ceilings import COST, TABLES, conclude, parts_of
from latentsr.bench.cost import cost_of
from latentsr.bench.pictures import draw_roundtrips, worst
from latentsr.bench.prediction import measured_baseline
from latentsr.bench.roundtrip import Arrays, measured, measured_hr, setup_of
from latentsr.bench.screening_plan import ScreeningPlan
from latentsr.config import manifest, signed, write_json
from latentsr.data.records import batches, commonest, loaded
from latentsr.errors import OptionError
from latentsr.job import JobFolder, Parts, Progress, silent
from latentsr.names import HR, PICTURES, SCREENING, SCREENING_PAGE, SUPPLEMENT
from latentsr.provenance import RESEARCH_USE

PROBED, PROBED_CPU = 4, 1  # images on which half precision is tried: a CPU takes seconds for one

Work = Callable[[Tensor, list[str]], Arrays]  # of HR images and their ids


def screen(
    plan: ScreeningPlan,
    out: Path,
    *,
    batch: int = 8,
    device: str = "cpu",
    overwrite: bool = False,
    progress: Progress = silent,
) -> Mapping[str, Any]:
    """The content of `out`/screening.json, beside which lie the tables and the pictures.

    An interrupted screening goes on, a finished one is returned; `batch` and `device` may be others then. One
    autoencoder and one batch of images lie in memory at a time.

    Raises:
        StaleError: `out` holds a screening of other data, autoencoders or options, and not `overwrite`; or anything
            else.
        OptionError: a batch below 1.
        InputError: an image that cannot be read, or does not fit an autoencoder.
        ModelError: an autoencoder that gives values which are not finite.
    """
    if batch < 1:
        raise OptionError(f"the option batch is {batch}: expected 1 image or more")
    # The folder of a screening; page and supplement are written by the report.
    tables = (f"{name}.{end}" for name in TABLES for end in ("parquet", "csv"))
    results = frozenset((PICTURES, SCREENING_PAGE, SUPPLEMENT, *tables))
    folder = JobFolder(out, "screening", SCREENING, results, decided_by="data, autoencoders or options")
    folder.claim(plan.key, overwrite=overwrite)
    record: Mapping[str, Any]
    if folder.whole:
        record = folder.finished()
    else:
        folder.begin(plan.key)
        _run(plan, folder, batch, device, progress)
        record = folder.finish(manifest(note=RESEARCH_USE, key=plan.key, **plan.facts, **conclude(plan, folder)))
    folder.drop_parts()
    return record


def _run(plan: ScreeningPlan, folder: JobFolder, batch: int, device: str, progress: Progress) -> None:
    """All parts and pictures: HR, the baselines, then one autoencoder after the other, the reference first."""
    done = 0

    def count(images: int) -> None:
        nonlocal done
        done += images
        progress(done, plan.images)

    def stream(number: int, name: str, work: Work, counted: bool = True) -> Parts:
        parts = parts_of(plan, folder, number, name)
        measure_images(plan, number, parts, work, batch=batch, device=device, progress=count if counted else None)
        return parts

    numbers = range(len(plan.datasets))
    for number in numbers:
        stream(number, HR, _of_hr(partial(measured_hr, metrics=plan.metrics)), counted=False)
    for baseline in plan.baselines:
        work = partial(measured_baseline, method=baseline.method, degradation=plan.degradation)
        for number in numbers:
            stream(number, baseline.name, work)
    for candidate in sorted(plan.candidates, key=lambda one: one.name != plan.reference):
        autoencoder = candidate.load(device)
        for number in numbers:
            parts = stream(number, candidate.name, _of_hr(partial(measured, autoencoder, metrics=plan.metrics)))
            _add_cost(plan, number, autoencoder, parts, device)
            shown = worst(parts_of(plan, folder, number, plan.reference), plan.datasets[number])
            pictures = folder.root / PICTURES
            draw_roundtrips(autoencoder, candidate.name, plan.datasets[number], shown, pictures, device=device)
        del autoencoder
        gc.collect()  # a network may lie in reference cycles, and the next one is as large


def _of_hr(measure: Callable[[Tensor], Arrays]) -> Work:
    """The measure as one that takes ids too, which change nothing."""
    return lambda hr, ids: measure(hr)


def measure_images(
    plan: ScreeningPlan,
    number: int,
    parts: Parts,
    work: Work,
    *,
    batch: int,
    device: str,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Keeps the arrays that `work` makes of HR images and their ids, of those of dataset `number` not in `parts` yet.

    One batch lies in memory at a time. `progress` is called with the number of images that were done since.
    """
    progress, done = progress or (lambda images: None), parts.done()
    progress(len(done))
    for alike in batches(plan.records[number], batch, done):
        ids = [record.id for record in alike]
        arrays = work(loaded(plan.datasets[number], alike, device), ids)
        parts.write(ids, arrays | setup_of(device, batch))
        progress(len(alike))


def _add_cost(plan: ScreeningPlan, number: int, autoencoder: Autoencoder, parts: Parts, device: str) -> None:
    """Writes the autoencoder's cost on images of the dataset's commonest size, if it is not known yet."""
    if not (parts.folder / COST).is_file():
        probed = commonest(plan.records[number])[: PROBED_CPU if device == "cpu" else PROBED]
        cost = cost_of(autoencoder, loaded(plan.datasets[number], probed, device))
        write_json(parts.folder / COST, signed(asdict(cost)))

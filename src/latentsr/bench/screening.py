"""The screening job: a plan in; tables, pictures and screening.json out. It goes on where it ended."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from latentsr.autoencoders import Autoencoder
from latentsr.bench.ceilings import COST, TABLES, conclude, draw_pictures, worst
from latentsr.bench.cost import cost_of
from latentsr.bench.prediction import Baseline, measured_baseline
from latentsr.bench.roundtrip import Roundtrip, arrays_of, measured, measured_hr
from latentsr.bench.screening_plan import ScreeningPlan
from latentsr.config import manifest, read_json, signed, write_json
from latentsr.data.records import Record, batches, commonest, loaded
from latentsr.errors import OptionError
from latentsr.job import JobFolder, Parts
from latentsr.names import HR, PICTURES, SCREENING, SCREENING_PAGE, SUPPLEMENT
from latentsr.provenance import RESEARCH_USE

PROBED, PROBED_CPU = 4, 1  # images on which half precision is tried: a CPU takes seconds for one

Progress = Callable[[int, int], None]


def screen(
    plan: ScreeningPlan,
    out: Path,
    *,
    batch: int = 8,
    device: str = "cpu",
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
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
    if not folder.whole:
        _run(plan, folder, batch, device, progress)
    folder.drop_parts()
    return dict(read_json(out / SCREENING))


def _run(plan: ScreeningPlan, folder: JobFolder, batch: int, device: str, progress: Progress) -> None:
    """All parts, pictures and tables; screening.json last."""
    folder.begin(plan.key)
    counter = _Counter(plan.images, progress)
    stream_hr(plan, folder.parts, batch, device)
    for baseline in plan.baselines:
        stream_baseline(plan, baseline, folder.parts, batch, device, progress=counter.add)
    for candidate in sorted(plan.candidates, key=lambda one: one.name != plan.reference):  # the reference first
        # One autoencoder on all datasets: parts, cost and pictures.
        autoencoder = candidate.load(device)
        for number, (dataset, records) in enumerate(zip(plan.datasets, plan.records, strict=True)):
            parts = _parts(plan, folder.parts, number, candidate.name)
            stream(plan, number, autoencoder, parts, batch=batch, device=device, progress=counter.add)
            if not (parts.folder / COST).is_file():
                probed = commonest(records)[: PROBED_CPU if device == "cpu" else PROBED]
                write_json(parts.folder / COST, signed(asdict(cost_of(autoencoder, loaded(dataset, probed, device)))))
            shown = worst(_parts(plan, folder.parts, number, plan.reference), dataset)
            draw_pictures(autoencoder, candidate.name, dataset, shown, folder.root / PICTURES, device=device)
        gc.collect()  # a network may lie in reference cycles, and the next one is as large
    results = conclude(plan, folder.root, partial(_parts, plan, folder.parts))
    folder.finish(manifest(note=RESEARCH_USE, key=plan.key, **plan.facts, **results))


class _Counter:
    """Counts images for the progress."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.done, self.total, self.progress = 0, total, progress

    def add(self, images: int) -> None:
        self.done += images
        self.progress(self.done, self.total)


def _parts(plan: ScreeningPlan, root: Path, number: int, method: str) -> Parts:
    """Those of a method on the plan's dataset `number`: by its name, as the key does not tell A B from B A."""
    return Parts(root / plan.datasets[number].folder_name / method)


def _keep(parts: Parts, records: Sequence[Record], hr: Tensor, measured: Roundtrip, batch: int) -> None:
    parts.write([record.id for record in records], arrays_of(measured, hr, batch))


def stream_hr(plan: ScreeningPlan, root: Path, batch: int, device: str) -> None:
    """Keeps, below `root`, what is said of HR itself: its spectrum, and whether it is constant."""
    for number, (dataset, records) in enumerate(zip(plan.datasets, plan.records, strict=True)):
        parts = _parts(plan, root, number, HR)
        for alike in batches(records, batch, parts.done()):
            hr = loaded(dataset, alike, device)
            _keep(parts, alike, hr, measured_hr(hr, plan.metrics), batch)


def stream_baseline(
    plan: ScreeningPlan, baseline: Baseline, root: Path, batch: int, device: str, progress: Callable[[int], None]
) -> None:
    """Keeps, below `root`, the PSNR of a method that stands beside what is expected, of all datasets' images."""
    for number, (dataset, records) in enumerate(zip(plan.datasets, plan.records, strict=True)):
        parts = _parts(plan, root, number, baseline.name)
        progress(len(parts.done()))
        for alike in batches(records, batch, parts.done()):
            hr, ids = loaded(dataset, alike, device), [record.id for record in alike]
            _keep(parts, alike, hr, measured_baseline(hr, ids, baseline.method, plan.degradation), batch)
            progress(len(alike))


def stream(
    plan: ScreeningPlan,
    number: int,
    autoencoder: Autoencoder,
    parts: Parts,
    *,
    batch: int,
    device: str,
    progress: Callable[[int], None] = lambda images: None,
) -> None:
    """Measures those images of the plan's dataset `number` that are not in `parts`, and keeps them there.

    One batch lies in memory at a time. `progress` is called with the number of images that were done since.
    """
    dataset, done = plan.datasets[number], parts.done()
    progress(len(done))
    for alike in batches(plan.records[number], batch, done):
        hr = loaded(dataset, alike, device)
        _keep(parts, alike, hr, measured(autoencoder, hr, plan.metrics), batch)
        progress(len(alike))

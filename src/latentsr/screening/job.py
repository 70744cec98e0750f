"""The screening job: a plan in; tables, pictures and screening.json out. It goes on where it ended."""

import gc
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from latentsr.autoencoders import Autoencoder
from latentsr.config import manifest, read_json, write_json
from latentsr.data.batches import batches
from latentsr.data.records import Record
from latentsr.errors import OptionError, StaleError
from latentsr.parts import Parts
from latentsr.provenance import RESEARCH_USE
from latentsr.screening.candidates import HR, Candidate
from latentsr.screening.cost import cost_of
from latentsr.screening.images import commonest, loaded
from latentsr.screening.measure import Measured, measured, measured_hr
from latentsr.screening.parts import arrays_of
from latentsr.screening.pictures import draw_pictures, worst
from latentsr.screening.plan import Plan
from latentsr.screening.results import conclude

RESULT, PARTIAL, PARTS, PICTURES, COST = "screening.json", "screening.partial.json", "parts", "pictures", "cost.json"
PROBED, PROBED_CPU = 4, 1  # images on which half precision is tried: a CPU takes seconds for one

Progress = Callable[[int, int], None]


def screen(
    plan: Plan,
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
        StaleError: `out` holds a screening of other data, autoencoders or options, and not `overwrite`.
        OptionError: a batch below 1.
        InputError: an image that cannot be read, or does not fit an autoencoder.
        ModelError: an autoencoder that gives values which are not finite.
    """
    if batch < 1:
        raise OptionError(f"--batch {batch}: expected 1 image or more")
    if overwrite:
        _clear(out)
    _check_key(out, plan.key)
    if not (out / RESULT).is_file():
        write_json(out / PARTIAL, {"key": plan.key})
        _run(plan, out, batch, device, progress)
    for left in (out / PARTS, out / PARTIAL):
        _remove(left)
    return dict(read_json(out / RESULT))


def _check_key(out: Path, key: str) -> None:
    for path in (out / RESULT, out / PARTIAL):
        there = read_json(path) if path.is_file() else {"key": key}
        if not isinstance(there, dict) or there.get("key") != key:
            raise StaleError(
                f"{out}: holds a screening of other data, autoencoders or options: give another -o, or --overwrite"
            )


def _clear(out: Path) -> None:
    """Removes what an earlier screening goes on from; its tables are replaced at the end."""
    for name in (RESULT, PARTIAL, PARTS, PICTURES):
        _remove(out / name)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _run(plan: Plan, out: Path, batch: int, device: str, progress: Progress) -> None:
    """All parts, pictures and tables; screening.json last, whose presence says that the screening is whole."""
    counter = _Counter(plan.images, progress)
    stream_hr(plan, out, batch, device)
    for candidate in sorted(plan.candidates, key=lambda one: one.name != plan.reference):  # the reference first
        _screen_one(plan, candidate, out, batch, device, counter)
        gc.collect()  # a network may lie in reference cycles, and the next one is as large
    results = conclude(plan, out, partial(_parts, out))
    write_json(out / RESULT, manifest(note=RESEARCH_USE, key=plan.key, **plan.facts, **results))


class _Counter:
    """Counts images for the progress."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.done, self.total, self.progress = 0, total, progress

    def add(self, images: int) -> None:
        self.done += images
        self.progress(self.done, self.total)


def _parts(out: Path, dataset: int, method: str) -> Parts:
    return Parts(out / PARTS / str(dataset) / method)


def _keep(parts: Parts, records: Sequence[Record], hr: Tensor, measured: Measured, batch: int) -> None:
    parts.write([record.id for record in records], arrays_of(measured, hr, batch))


def stream_hr(plan: Plan, out: Path, batch: int, device: str) -> None:
    """Keeps what is said of HR itself: its spectrum, and whether it is constant."""
    for number, (dataset, records) in enumerate(zip(plan.datasets, plan.records, strict=True)):
        parts = _parts(out, number, HR)
        for alike in batches(records, batch, parts.done()):
            hr = loaded(dataset, alike, device)
            _keep(parts, alike, hr, measured_hr(hr, plan.metrics), batch)


def stream(
    plan: Plan,
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


def _screen_one(plan: Plan, candidate: Candidate, out: Path, batch: int, device: str, counter: _Counter) -> None:
    autoencoder: Autoencoder = candidate.load(device)
    for number, (dataset, records) in enumerate(zip(plan.datasets, plan.records, strict=True)):
        parts = _parts(out, number, candidate.name)
        stream(plan, number, autoencoder, parts, batch=batch, device=device, progress=counter.add)
        if not (parts.folder / COST).is_file():
            probed = commonest(records)[: PROBED_CPU if device == "cpu" else PROBED]
            write_json(parts.folder / COST, asdict(cost_of(autoencoder, loaded(dataset, probed, device))))
        shown = worst(_parts(out, number, plan.reference), dataset)
        draw_pictures(autoencoder, candidate.name, dataset, shown, out / PICTURES, device=device)

"""The enhance job: files and folders in, the same tree of SR images out, one failure not ending the rest."""

import contextlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Self

import numpy as np

from latentsr import io
from latentsr.atomic import append, refuse_links
from latentsr.config import manifest, read_json, sha256, sha256_json, write_json
from latentsr.device import peak_memory
from latentsr.errors import InputError, LatentSRError, NotAnImageError, OptionError, StaleError
from latentsr.io.bids import derivative, describe
from latentsr.io.items import refuse_source, unreadable
from latentsr.io.raster import PROCESS
from latentsr.job import Scratch, check_room, locked, run_folder
from latentsr.names import RUN
from latentsr.provenance import INTERVAL, PIXELS, RESEARCH_USE, TRUST, UNCERTAINTY
from latentsr.tiling import OVERLAP, balanced_tiles
from latentsr.upscalers import Sampling, Upscaler
from latentsr.upscalers.upscaler import LARGEST_BATCH, Request, Work, advance, together
from latentsr.volume import MAX_PIXELS, Volume
from latentsr.workers import Pool, Workers

JOURNAL = "run.partial.jsonl"  # beside the record, while the job runs
SLICES = "slices-"  # what folders begin with that keep a volume's slices beside the record, until it is written
NO_PAGE = "no page was made"
OLDER = "over an older output"  # what is begun so is not whole because something lies there
THREADS = 8  # that read and write beside the network
NO_MEMORY = "out of memory", "allocate memory"  # what errors of a GPU and of a CPU say
MEND = "set the option overwrite, or choose another output folder"


@dataclass(frozen=True)
class Outcome:
    """What became of one input: `output` is relative to the output folder, `reason` says why it is not written anew.

    `checks` is what is known of the result without its truth, see `latentsr.upscalers.upscaler.Checks`.
    "skipped" is a file that holds no image. "begun" stands in the record alone, for the output that is being written;
    its reason is OLDER where another output lies there.
    `shape` is that of the images that the model is given, (slices, rows, columns), and `output_shape` the output's,
    both where the input was read. `page` shows the output and lies beside it.
    """

    input: str
    status: Literal["written", "kept", "skipped", "failed", "planned", "begun"]
    output: str = ""
    reason: str = ""
    size: str = ""
    shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    input_sha256: str = ""
    output_sha256: dict[str, str] = field(default_factory=dict)
    made_by: str = ""
    page: str = ""
    checks: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """How a tree is enhanced.

    `overwrite`, `dry_run`, `force` (burned-in annotation), `grey` (colour to grey), `axis` (slices of a volume),
    `max_pixels` (of a volume that is read), `parametric_map` (of the spread, DICOM) and `legacy` (frames become files)
    are as in the command line. `view`: write a page beside each output; None: where there is one input only. `workers`:
    which processes enhance; those of a dry run are none but this one. `batch`: the most images of one size that the
    network is given at a time, slices of a volume or files; None: as many as `Upscaler.batch` says, and on the CPU one
    file after the other.
    """

    upscaler: Upscaler
    sampling: Sampling
    out: Path
    overwrite: bool = False
    dry_run: bool = False
    force: bool = False
    grey: bool = False
    axis: int | None = None
    max_pixels: int = MAX_PIXELS
    parametric_map: bool = False
    view: bool | None = False
    legacy: bool = False
    workers: Workers = Workers()
    batch: int | None = None

    @property
    def files_together(self) -> int:
        """How many of one size are restored at a time, threads at others; of 1, as in each worker, there are none."""
        on_cpu = self.upscaler.device == "cpu"
        return 1 if self.workers.apart or self.dry_run else self.batch or (1 if on_cpu else self.upscaler.batch)

    def output(self, item: io.Item) -> Path:
        """Where the result of an item lies."""
        kind, scale = io.kind_of(item.paths[0]), self.upscaler.scale
        split = self.legacy and item.enhanced
        return self.out / io.output_name(item.relative, kind, scale, series=item.series, split=split)

    @property
    def made_by(self) -> str:
        """The digest of model and options: outputs of the same digest from the same input are the same.

        To the last byte with the same versions, kind of processor, `batch` and number of threads, which is one each of
        several workers, however many there are; any number without a network.
        """
        maps, options = self.parametric_map and self.sampling.samples > 1, self.upscaler.settled(self.sampling)
        undone = self.upscaler.degradation.text
        made = [PIXELS, self.upscaler.hash, undone, options.model_dump(), self.grey, self.axis, maps]
        return sha256_json([*made, self.upscaler.settings] if self.upscaler.settings else made)

    @property
    def run(self) -> Path:
        """The folder of the job's record, beside `out`, which holds images and what belongs to them."""
        return run_folder(self.out)

    def read(self, path: Path | io.Item, *, constant: bool = False) -> Volume:
        """The volume of an input, read as the options say."""
        return io.read(
            path, grey=self.grey, force=self.force, constant=constant, axis=self.axis, max_pixels=self.max_pixels,
            legacy=self.legacy,
        )  # fmt: skip


def enhance_files(
    paths: Sequence[Path],
    job: Job,
    *,
    progress: Callable[[float, int], None] = lambda done, total: None,
    finished: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """The outcome of every item below `paths`, in their order; outputs lie in `job.out`, `run.json` in `job.run`.

    A file of a DICOM stack that cannot be read is a failure of its own; the others are one volume without it.
    An output that exists is kept unless `overwrite`, and a failure if other input, model or options made it, or if
    `run.json` does not know it. A killed job goes on where it was: outputs appear whole, and a journal beside
    `run.json`, which it becomes when this job ends or the next one starts, names each before it is written. Where
    nothing was made, nothing is left. `progress` takes (items done, all items), `finished` each outcome as soon as it
    is known.

    Raises:
        OptionError: an option that does not fit the model, or an output folder that cannot be written or is full
        StaleError: another process enhances into this folder
        InputError: a path that does not exist, or nothing below the paths
    """
    out = job.out
    io.check_places(paths, out, dry_run=job.dry_run)
    job.upscaler.check(job.sampling)
    items, dataset = io.find(paths), derivative(paths, job.upscaler.name)
    job = replace(job, view=len(items) == 1 if job.view is None else job.view)
    workers = Workers() if job.dry_run else job.workers
    with contextlib.ExitStack() as stack:
        if not job.dry_run:
            stack.enter_context(locked(job.run))
        record, pool = stack.enter_context(_Record(job, paths)), stack.enter_context(workers.pool(job.upscaler.device))
        threads = ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1))  # none is started before it has work
        stack.callback(threads.shutdown, cancel_futures=True)
        for task, made, end in _undone(items, job, record, pool, threads, progress, finished):
            with _fault(task[1]) as found:
                found += [made()]
            end(task, found[0])
        done = not job.dry_run and not any(outcome.status == "failed" for outcome in record.outcomes)
        for left in job.run.glob(f"{SLICES}*") if done else ():  # of other options; what failed is gone on from
            shutil.rmtree(left)
        progress(len(items), len(items))
        if dataset and any(outcome.status in ("written", "kept") for outcome in record.outcomes):
            describe(dataset, out)
    return record.outcomes


Task = tuple[tuple[int, ...], io.Item]  # where its outcome stands among the others, and what is enhanced


def _undone(
    items: Sequence[io.Item], job: Job, record: "_Record", pool: Pool, threads: ThreadPoolExecutor,
    progress: Callable[[float, int], None], finished: Callable[[Outcome], None],
) -> Iterator[tuple[Task, Callable[[], Outcome], Callable[[Task, Outcome], None]]]:  # fmt: skip
    """Every item that is not done yet, in the pool's processes, and what can be read of a broken stack after these.

    With it come what gives its outcome, or raises its file's fault, and what is to be called with the outcome.
    """
    ended: set[int] = set()

    def within(slices: int, of: int) -> None:
        with PROCESS:  # a thread that reads discards what is said
            progress(len(ended) + slices / of, len(items))

    def end(task: Task, outcome: Outcome) -> None:
        place, item = task
        outcome = record.ended(outcome)
        if len(place) == 1 and outcome.status == "failed" and (parts := _readable(item, job)):
            broken.extend(((*place, number), part) for number, part in enumerate(parts))
            return
        record.add(place, outcome)
        with PROCESS:
            finished(outcome)
        ended.add(place[0])
        within(0, 1)

    def asked(tasks: Sequence[Task]) -> Iterator[Task]:
        """Those that are not done yet."""
        for task in tasks:
            item = task[1]
            within(0, 1)
            with _fault(item) as faults:
                output = record.claim(item)
                if output.exists() and not job.overwrite and (kept := record.kept(item, output)):
                    faults += [_with_page(item, job, kept)]
            if faults:
                end(task, faults[0])
                continue
            if pool.workers.apart:
                pool.connect()
                name, place = item.relative.as_posix(), output.relative_to(job.out).as_posix()
                record.begin(Outcome(name, "begun", place, made_by=job.made_by))
            yield task

    def done(tasks: Iterator[Task]) -> Iterator[tuple[Task, Callable[[], Outcome]]]:
        if (batch := job.files_together) > 1:
            work, model = partial(_enhancing, job, begin=record.begin), job.upscaler.image_model
            return together(work, tasks, model, threads=threads, batch=batch, size=lambda task: task[1].size)
        here: dict[str, Any] = {} if pool.workers.apart else {"begin": record.begin, "progress": within}
        do = partial(_enhance, replace(job, workers=Workers()), **here)
        return pool.map(do, tasks, name=lambda task: task[1].relative.as_posix())

    tasks: list[Task] = [((number,), item) for number, item in enumerate(items)]
    broken: list[Task] = []
    while tasks:
        for task, made in done(asked(tasks)):
            yield task, made, end
        tasks, broken = broken, []


def _readable(item: io.Item, job: Job) -> list[io.Item]:
    """Of a stack with files that cannot be read the others as one item, then each of these; else nothing."""
    broken: dict[Path, None] = {}
    for path in item.paths if item.series else ():
        try:
            job.read(path, constant=True)
        except LatentSRError:
            broken[path] = None
    sound = tuple(path for path in item.paths if path not in broken)
    if not broken or not sound:
        return []
    place = item.relative if len(sound) > 1 else item.relative / sound[0].name
    series = sha256_json([item.series_digest, [path.name for path in broken]])  # another series than the whole one
    return [io.Item(place, sound, series), *(io.Item(item.relative / path.name, (path,)) for path in broken)]


@contextlib.contextmanager
def _fault(item: io.Item) -> Iterator[list[Outcome]]:
    """Takes the fault of an item's file as its outcome, skipped or failed; other errors are raised."""
    name, found = item.relative.as_posix(), list[Outcome]()
    try:
        yield found
    except OptionError:
        raise
    except LatentSRError as error:
        found += [Outcome(name, "skipped" if isinstance(error, NotAnImageError) else "failed", reason=str(error))]
    except OSError as error:  # of the input: those of writing are LatentSRError
        found += [Outcome(name, "failed", reason=str(unreadable(item.paths[0], error)))]
    except (MemoryError, RuntimeError) as error:
        # torch and ONNX Runtime have no class of their own for a CPU without memory
        if not (isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY)):
            raise
        found += [Outcome(name, "failed", reason=f"{item.paths[0]}: too little memory; set a smaller tile")]


def _digest(item: io.Item) -> str:
    return sha256_json([item.series_digest, *(sha256(path) for path in item.sources)])


def _enhance(job: Job, task: Task, **told: Any) -> Outcome:
    """Reads, enlarges and writes an item, in whatever process; `told` as of `_enhancing`."""
    work, model = _enhancing(job, task, **told), job.upscaler.image_model
    step = advance(work)
    while isinstance(step, Request):
        step = advance(work, model.restore(model.tensor(step.lr), ids=step.ids, sampling=step.sampling))
    return step


def _enhancing(
    job: Job, task: Task, begin: Callable[[Outcome], None] = lambda outcome: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Work[Outcome]:  # fmt: skip
    """Reads an item, asks for what is to be restored, and writes; `begin` is told before the first file is written."""
    item, start = task[1], time.perf_counter()
    output, kind, digest = job.output(item), io.kind_of(item.paths[0]), _digest(item)
    volume, name = job.read(item), item.relative.as_posix()
    made = job.upscaler.output_shape(volume)
    outcome = Outcome(
        name, "planned", output.relative_to(job.out).as_posix(), input_sha256=digest,
        size=" to ".join(" x ".join(map(str, shape)) for shape in (volume.pixels.shape, made)),
        shape=job.upscaler.seen_shape(volume), output_shape=made, warnings=volume.source.warnings,
    )  # fmt: skip
    if job.dry_run:
        return replace(outcome, warnings=(*outcome.warnings, *job.upscaler.unlike(volume)))
    # Bytes on the disk for each pixel; none where the output is packed and nobody knows.
    bytes_each = {".dcm": 2, ".ima": 2, "": 2, ".nii": 4, ".mgh": 4}.get(output.suffix.lower(), 0)
    maps = (job.sampling.samples > 1) * (1 if job.upscaler.uncalibrated(job.sampling) else 2)
    scratch = Scratch(job.run / f"{SLICES}{sha256_json([name, digest, job.made_by])[:16]}" if made[0] > 1 else None)
    on_disk = 4 * (1 + maps) * (made[0] > 1)  # of the scratch
    needed = math.prod(made) * (bytes_each + on_disk) - scratch.size  # some of which an earlier run has taken
    check_room(job.out if job.out.is_dir() else job.run, max(0, needed))
    options: dict[str, Any] = {"sampling": job.sampling, "batch": job.batch, "progress": progress, "scratch": scratch}
    enhanced = yield from job.upscaler.enhancing(volume, **options)
    checks = enhanced.checks
    outside = (f"outside the range of the calibration ({test}): no guarantee" for test in checks.outside)
    lost = isinstance(checks.guarantee, str) and job.upscaler.calibration is not None and enhanced.uncertainty
    unlike = (*enhanced.provenance.unlike, *outside)
    warnings = (*outcome.warnings, *unlike, *([f"{checks.guarantee}: the map is a spread"] if lost else []))
    outcome = replace(outcome, made_by=job.made_by, checks=asdict(checks), warnings=warnings)
    begin(replace(outcome, status="begun", reason=OLDER if output.exists() else ""))
    # The image comes last: where it exists, its maps do too; without it, none.
    written: list[Path] = []
    kind_of_map = UNCERTAINTY if enhanced.trust is None else INTERVAL
    outputs = {io.uncertainty_name(output, kind): (enhanced.uncertainty, kind_of_map)}
    outputs[io.uncertainty_name(output, kind, "trust")] = (enhanced.trust, TRUST)
    try:
        if (page := _page(output)).is_file():
            page.unlink()  # it shows what is replaced now
        for map_output, (pixels, what) in outputs.items():
            if pixels is not None:
                refuse_links(job.out, map_output)
                written += io.write_uncertainty(
                    pixels, map_output, provenance=enhanced.provenance, kind=what, overwrite=True,
                    parametric_map=job.parametric_map and what != TRUST,
                )  # fmt: skip
        image = io.write(enhanced.volume, output, provenance=enhanced.provenance, overwrite=True)
    except (LatentSRError, OSError):
        for path in written:
            path.unlink(missing_ok=True)
        for map_output in outputs:
            _remove_empty(map_output)  # the folder of a series' maps
        raise
    scratch.remove()
    outcome = replace(outcome, status="written", output_sha256=_hashes([*image, *written], job.out))
    return replace(_with_page(item, job, outcome), seconds=round(time.perf_counter() - start, 3))


def _page(output: Path) -> Path:
    return output.with_name(f"{output.name}.html")


def _with_page(item: io.Item, job: Job, outcome: Outcome) -> Outcome:
    """The outcome with the page that shows its output, if there is to be one, made unless it is there.

    It is made after the output and of its files: it has their values, and a job that was killed before it makes it. A
    warning says why there is none.
    """
    if not job.view or outcome.status not in ("written", "kept"):
        return outcome
    from latentsr.report.viewer import write_view  # not needed by those who look at nothing

    output, warnings = job.out / outcome.output, [text for text in outcome.warnings if not text.startswith(NO_PAGE)]
    page, error, error_map, trust_map = _page(output), "", None, None
    if job.sampling.samples > 1:
        calibrated = isinstance(outcome.checks["guarantee"], dict)
        error = "half-width of the interval" if calibrated else f"spread over {job.sampling.samples} samples"
        kind = io.kind_of(item.paths[0])
        error_map = io.uncertainty_name(output, kind)
        if outcome.checks["trusted"] is not None:
            trust_map = io.uncertainty_name(output, kind, "trust")
    try:
        refuse_links(job.out, page)
        if not page.is_file():
            write_view(
                page, job.read(item), output, provenance=job.upscaler.provenance(job.sampling),
                error_map=error_map, error=error, trust_map=trust_map, warnings=warnings,
            )  # fmt: skip
    except (LatentSRError, OSError, MemoryError) as fault:  # the output is whole all the same
        return replace(outcome, warnings=(*warnings, f"{NO_PAGE}: {fault or 'too little memory'}"))
    return replace(outcome, warnings=tuple(warnings), page=page.relative_to(job.out).as_posix())


def _hashes(paths: Sequence[Path], out: Path) -> dict[str, str]:
    return {path.relative_to(out).as_posix(): sha256(path) for path in paths}


class _Record:
    """`run.json`, written when the job ends; until then a journal beside it, so that a killed job goes on.

    The journal is made and grows by each output that begins, of lines of JSON: the facts of the run, then outcomes.
    """

    def __init__(self, job: Job, paths: Sequence[Path]) -> None:
        self.path, self.journal = job.run / RUN, job.run / JOURNAL
        self.job = job
        self.fresh = not job.out.exists()
        self._outcomes: list[tuple[tuple[int, ...], Outcome]] = []  # as they come, each with its place
        self.begun: dict[str, tuple[Outcome, list[tuple[int, ...]]]] = {}  # by input, with the files that were there
        self.noted = -1  # outcomes that stand in the journal, -1: it has not been made
        self.lock = Lock()  # outputs begin in several threads
        self.claimed: dict[str, str] = {}
        self.earlier: dict[str, Outcome] = {}  # what earlier runs made, by input, and their facts, by `made_by`
        self._read()
        upscaler = job.upscaler
        self.facts = manifest(
            note=RESEARCH_USE, inputs=[path.name for path in paths], made_by=job.made_by, model=upscaler.name,
            model_hash=upscaler.provenance(job.sampling).model_hash, degradation=upscaler.degradation.text,
            options=upscaler.settled(job.sampling).model_dump(), **upscaler.settings,
            **upscaler.runtime | ({"threads": 1} if job.workers.apart else {}),
            **({"batch": job.batch or job.files_together} if job.batch or job.files_together > 1 else {}),
        )  # fmt: skip

    @property
    def outcomes(self) -> list[Outcome]:
        """Those that are known, in the order of the items."""
        return [outcome for _, outcome in sorted(self._outcomes, key=lambda one: one[0])]

    def _read(self) -> None:
        """Takes in what earlier runs made; `run.json` becomes what the journal of a killed run says."""
        path = self.path
        try:
            found = dict(read_json(path)) if path.is_file() else {"files": []}
            self.earlier = {one.input: one for one in map(_outcome, found.pop("files")) if one.made_by}
            self.runs: dict[str, Any] = {**found.pop("earlier", {}), found.get("made_by", ""): found}
            if not self.journal.is_file():
                return
            path = self.journal
            # What follows the last end of a line was cut off by the kill: its output was not begun.
            facts, *lines = [dict(json.loads(line)) for line in path.read_bytes().split(b"\n")[:-1]] or [{}]
            journal = {one.input: one for one in map(_outcome, lines)}  # the last line of an input counts
        except (TypeError, KeyError, ValueError) as error:
            raise InputError(f"{path}: is no record of an enhance job; choose another output folder") from error
        if not self.job.dry_run:
            if facts:
                self._write(facts, list(journal.values()))
                self.runs[facts.get("made_by", "")] = facts
            self.journal.unlink()
        self.earlier |= {name: outcome for name, outcome in journal.items() if outcome.made_by}

    def claim(self, item: io.Item) -> Path:
        """The output, kept for one item; InputError where it is an input, of another item, or behind a link."""
        output = self.job.output(item)
        refuse_source(output, item.paths)
        refuse_links(self.job.out, output)
        name, relative = item.relative.as_posix(), output.relative_to(self.job.out).as_posix()
        if (other := self.claimed.setdefault(relative.lower(), name)) != name:  # `a` and `a.dcm` both become `a.dcm`
            raise InputError(f"{name} and {other} would both become {relative}: rename one, or run them apart")
        return output

    def kept(self, item: io.Item, output: Path) -> Outcome | None:
        """The outcome of an earlier run whose output is still whole; None where that is not known.

        StaleError unless the output that exists is what this job would make.
        """
        earlier, place = self.earlier.get(item.relative.as_posix()), output.relative_to(self.job.out).as_posix()
        if earlier is None or earlier.output not in ("", place):  # of frames together, or apart
            raise StaleError(f"{output} exists, and {self.path} does not say who made it: {MEND}")
        known = earlier.input_sha256  # not of what a worker had begun when it was killed, which is made again
        if earlier.made_by != self.job.made_by or (known and known != _digest(item)):
            raise StaleError(f"{output} was made from other input, model or options: {MEND}")
        hashes = earlier.output_sha256
        if not known or earlier.reason == OLDER or not all((self.job.out / file).exists() for file in hashes):
            return None
        if not hashes:  # a run that was killed after the output was written
            hashes = _hashes(sorted(output.iterdir()) if output.is_dir() else [output], self.job.out)
        return replace(earlier, status="kept", reason="there already", output_sha256=hashes)

    def begin(self, outcome: Outcome) -> None:
        """Records what is about to be written, and what became known since the last output began."""
        with self.lock:
            known = len(self._outcomes)  # to which others are added meanwhile
            new = [vars(one) for one in (*(one for _, one in self._outcomes[max(self.noted, 0) : known]), outcome)]
            lines = new if self.noted >= 0 else [self.facts, *new]
            append(self.journal, "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines).encode("ascii"))
            self.begun[outcome.input], self.noted = (outcome, self._files(outcome)), known

    def _files(self, begun: Outcome) -> list[tuple[int, ...]]:
        """What changes where what is begun replaces a file of an older output, or of somebody else."""
        older = self.earlier[begun.input].output_sha256 if begun.input in self.earlier else ()
        paths = (self.job.out / file for file in (begun.output, *older))
        return [(at.st_mtime_ns, at.st_size, at.st_ino) for at in (path.stat() for path in paths if path.exists())]

    def ended(self, outcome: Outcome) -> Outcome:
        """The outcome of what was begun; of a failure that wrote all the same, which the job is to make again."""
        begun, before = self.begun.pop(outcome.input, (None, []))
        if begun and outcome.status == "failed" and self._files(begun) != before:
            # Its process died after a file was written. What it did not touch is whose it was.
            return replace(outcome, output=begun.output, made_by=begun.made_by)
        return outcome

    def add(self, place: tuple[int, ...], outcome: Outcome) -> None:
        """Takes in what became of the item at this place."""
        self._outcomes.append((place, outcome))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, fault: type[BaseException] | None, *_: object) -> None:
        """Writes `run.json`, also of a run that was interrupted after it had begun an output."""
        if self.job.dry_run or (fault and self.noted < 0):
            return
        outcomes = self.outcomes
        if self.earlier or self.begun or any(outcome.made_by for outcome in outcomes):
            self._write(self.facts, [*outcomes, *(one for one, _ in self.begun.values())])
        else:
            self.path.unlink(missing_ok=True)  # it says only what was begun
            if self.fresh:
                _remove_empty(self.job.out)
        self.journal.unlink(missing_ok=True)

    def _write(self, facts: Mapping[str, object], outcomes: Sequence[Outcome]) -> None:
        """The record of a run, then of what earlier runs did and it did not touch, with the facts of these."""
        # A failure touches no output, unless the process died after a file was written: then the older one is no more.
        now = {one.input for one in outcomes if one.status != "failed" or one.made_by}
        rest = [outcome for name, outcome in self.earlier.items() if name not in now]
        others = sorted({one.made_by for one in rest} & self.runs.keys() - {facts.get("made_by")})
        files, earlier = [vars(one) for one in (*outcomes, *rest)], {one: self.runs[one] for one in others}
        write_json(self.path, {**facts, **({"earlier": earlier} if earlier else {}), "files": files})


def _outcome(content: Mapping[str, Any]) -> Outcome:
    """The outcome that was written as JSON, where older ones lack some of it."""
    shapes = {name: tuple(content.get(name, ())) for name in ("warnings", "shape", "output_shape")}
    return Outcome(**{**content, **shapes})


def _remove_empty(folder: Path) -> None:
    """Removes a folder of empty folders; one that holds a file stays."""
    for path, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            Path(path).rmdir()


PATCH = 64  # side in LR pixels


@dataclass(frozen=True)
class Estimate:
    """About how many seconds, bytes of memory at the peak (of all workers) and bytes of disk.

    Memory is 0 where the system is silent. Seconds are those of the threads of this process.
    """

    seconds: float
    memory: int
    disk: int


@dataclass(frozen=True)
class Pace:
    """What a patch took: seconds and bytes an LR pixel, the seconds for one evaluation, beside the `base` in bytes."""

    seconds: float
    grown: float
    base: int

    def estimate(self, outcomes: Sequence[Outcome], job: Job) -> Estimate:
        """What the planned ones of these outcomes would take."""
        upscaler = job.upscaler.image_model
        several = (job.sampling.samples > 1) * (1 if upscaler.uncalibrated(job.sampling) else 2)  # maps
        factor = upscaler.autoencoder.spec.factor if upscaler.autoencoder else upscaler.scale
        tile = math.ceil((job.sampling.tile or 0) * factor / upscaler.scale)  # in LR pixels
        overlap = math.ceil(OVERLAP * factor / upscaler.scale)
        seconds, memory, disk = 0.0, 0, 0
        for outcome in outcomes:
            if outcome.status != "planned":
                continue
            (slices, rows, columns), made = outcome.shape, math.prod(outcome.output_shape)
            fine = rows * columns * upscaler.scale**2
            # LR pixels that are computed, each as often as tiles hold it, and those that are so at a time
            tiles = [balanced_tiles(length, tile or length, overlap) for length in (rows, columns)]
            computed = math.prod(len(starts) * side for starts, side in tiles)
            at_once = math.prod(side for _, side in tiles)
            batch = min(slices, max(1, min(job.batch or upscaler.batch, LARGEST_BATCH // fine)))
            seconds += slices * computed * self.seconds * max(1, upscaler.evaluations(job.sampling))
            disk += made * ((4 if ".nii" in outcome.output else 2) + 4 * several)
            # What is read; what is written and its bytes, of a batch or all.
            whole = slices * rows * columns if job.upscaler is upscaler else made
            volumes = 6 * whole + 4 * (3 + several) * (batch * fine if job.upscaler is upscaler else made)
            images = batch * (self.grown * at_once + 8 * 3 * fine)  # by the network, and to project
            memory = max(memory, int(self.base + volumes + images))
        return Estimate(seconds, memory * (job.workers.number or 1) if self.base else 0, disk)


def measure(upscaler: Upscaler) -> Pace:
    """What one evaluation on a patch takes; to be called before images are read: the peak of memory never falls."""
    upscaler = upscaler.image_model
    two = upscaler.base is not None  # networks, both of which are measured
    steps = 1 if upscaler.has_mean and not two else 2
    image = upscaler.tensor(np.zeros((1, 1, PATCH, PATCH), np.float32))
    sampling = Sampling(steps=steps, tile=None)
    upscaler.restore(image[..., :8, :8], ids=["black"], sampling=sampling)  # so that what happens once is not measured
    base, begin = peak_memory(upscaler.device), time.perf_counter()
    upscaler.restore(image, ids=["black"], sampling=sampling)
    seconds = (time.perf_counter() - begin) / steps
    return Pace(seconds / PATCH**2, (peak_memory(upscaler.device) - base) / PATCH**2, base)

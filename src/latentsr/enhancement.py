"""The enhance job: files and folders in, the same tree of SR images out, one failure not ending the rest."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from latentsr import io
from latentsr.config import manifest, read_json, sha256, sha256_json, write_json
from latentsr.errors import InputError, LatentSRError, OptionError, StaleError
from latentsr.provenance import RESEARCH_USE
from latentsr.restoration import Sampling
from latentsr.superres import Enhanced, SuperResolver
from latentsr.volume import Volume

RUN = "run.json"
UNLIKE = 2.0  # times smaller or larger than the training images: worth a warning


@dataclass(frozen=True)
class Outcome:
    """What became of one input: `output` is relative to the output folder, `reason` says why it failed or was kept.

    "begun" stands in `run.json` alone, for the output that is being written.
    """

    input: str
    status: Literal["written", "kept", "failed", "planned", "begun"]
    output: str = ""
    reason: str = ""
    size: str = ""
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    input_sha256: str = ""
    output_sha256: dict[str, str] = field(default_factory=dict)
    made_by: str = ""


@dataclass(frozen=True)
class Job:
    """How a tree is enhanced; `overwrite`, `force` (burned-in annotation) and `grey` (colour to grey) as in the CLI."""

    resolver: SuperResolver
    sampling: Sampling
    out: Path
    overwrite: bool = False
    dry_run: bool = False
    force: bool = False
    grey: bool = False

    @property
    def made_by(self) -> str:
        """The digest of model and options: outputs of the same digest from the same input are the same."""
        return sha256_json([self.resolver.hash, self.sampling.model_dump()])


def enhance_files(
    paths: Sequence[Path],
    job: Job,
    *,
    progress: Callable[[float, int], None] = lambda done, total: None,
    finished: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """The outcome of every item below `paths`, in their order; outputs and `run.json` lie in `job.out`.

    An output that is there already is kept unless `overwrite`, and a failure if other input, model or options made it,
    or if `run.json` does not know it. A killed job goes on where it was: outputs appear whole, and `run.json` names
    each before it is written. Where nothing was made, nothing is left. `progress` takes (items done, all items),
    `finished` each outcome as soon as it is there.
    """
    _check_out(paths, job.out)
    items = io.find(paths)
    _check_sampling(job)
    record = _Record(job, paths)
    for done, item in enumerate(items):
        progress(done, len(items))
        within = partial(_within, progress, done, len(items))
        record.outcomes.append(_outcome(item, job, record, within))
        finished(record.outcomes[-1])
    progress(len(items), len(items))
    record.close()
    return record.outcomes


def _within(progress: Callable[[float, int], None], done: int, total: int, slices_done: int, slices: int) -> None:
    progress(done + slices_done / slices, total)


def check_scale(resolver: SuperResolver, scale: int | None) -> None:
    """Raises OptionError if the model was trained for another scale than the one that is asked for."""
    if scale is not None and scale != resolver.scale:
        raise OptionError(
            f"--scale {scale}: model {resolver.name} enlarges {resolver.scale} times; "
            f"leave --scale out, or give a --model trained for {scale}"
        )


def _check_out(paths: Sequence[Path], out: Path) -> None:
    if not out.is_dir() and (out.exists() or out.name.lower().endswith(io.SUFFIXES)):
        raise OptionError(f"-o {out}: is the name of a file; give a folder, outputs keep the names of their inputs")
    for path in paths:
        if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
            raise OptionError(f"-o {out}: lies inside the input {path}; give a folder outside it")


def _check_sampling(job: Job) -> None:
    """Restores a black patch: an option that does not fit the model is an OptionError before any file is read."""
    sampling = job.sampling.model_copy(update={"samples": 1, "steps": min(2, job.sampling.steps)})
    job.resolver.restore(torch.zeros(1, 1, 4, 4), ids=["black"], sampling=sampling)


def _outcome(item: io.Item, job: Job, record: "_Record", progress: Callable[[int, int], None]) -> Outcome:
    """One item's outcome; what a file can do wrong is its own failure, a wrong option the job's."""
    begin = time.perf_counter()
    name = item.relative.as_posix()
    try:
        outcome = _enhance(item, job, record, progress)
    except OptionError:
        raise
    except LatentSRError as error:
        outcome = Outcome(name, "failed", reason=str(error))
    except (OSError, MemoryError) as error:
        outcome = Outcome(
            name, "failed", reason=f"{item.paths[0]}: {error or type(error).__name__}; free disk or memory"
        )
    except RuntimeError as error:  # torch has no class of its own for a CPU without memory
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        outcome = Outcome(name, "failed", reason=f"{item.paths[0]}: too little memory; give a smaller --tile")
    return dataclasses.replace(outcome, seconds=round(time.perf_counter() - begin, 3))


def _enhance(item: io.Item, job: Job, record: "_Record", progress: Callable[[int, int], None]) -> Outcome:
    name = item.relative.as_posix()
    kind = io.kind_of(item.paths[0])
    output = job.out / io.output_name(item.relative, kind, job.resolver.scale, series=item.series)
    relative = output.relative_to(job.out).as_posix()
    _refuse_source(item, output)
    record.claim(relative, name)
    digest = sha256_json([sha256(path) for path in item.paths])
    earlier = record.earlier.get(name)
    if output.exists() and not job.overwrite:
        _refuse_other(earlier, output, digest, job)
        if earlier and _whole(earlier, job.out):
            return _kept(earlier, output, job.out)
    volume = io.read(item.paths, grey=job.grey, force=job.force)
    outcome = Outcome(
        name, "planned", relative, size=_sizes(volume, job.resolver.scale), warnings=_warnings(volume, job.resolver),
        input_sha256=digest,
    )  # fmt: skip
    if job.dry_run:
        return outcome
    outcome = dataclasses.replace(outcome, status="begun", made_by=job.made_by)
    enhanced = job.resolver.enhance(volume, sampling=job.sampling, progress=progress)
    record.begin(outcome)
    hashes = _hashes(_write(enhanced, output, kind), job.out)
    return dataclasses.replace(outcome, status="written", output_sha256=hashes)


def _hashes(paths: Sequence[Path], out: Path) -> dict[str, str]:
    return {path.relative_to(out).as_posix(): sha256(path) for path in paths}


def _write(enhanced: Enhanced, output: Path, kind: str) -> tuple[Path, ...]:
    """Writes the image last: where it is, its uncertainty map is too; without it, neither."""
    maps: tuple[Path, ...] = ()
    if enhanced.uncertainty is not None:
        path = io.uncertainty_name(output, kind)
        maps = io.write_uncertainty(enhanced.uncertainty, path, provenance=enhanced.provenance, overwrite=True)
    try:
        image = io.write(enhanced.volume, output, provenance=enhanced.provenance, overwrite=True)
    except (LatentSRError, OSError):
        for path in maps:
            path.unlink(missing_ok=True)
        raise
    return *image, *maps


def _refuse_source(item: io.Item, output: Path) -> None:
    inputs = {path.resolve() for path in item.paths}
    if item.series:
        inputs |= {path.parent for path in inputs}
    if output.resolve() in inputs:
        raise InputError(f"{output} is the input itself: give another -o")


def _refuse_other(earlier: Outcome | None, output: Path, digest: str, job: Job) -> None:
    """Raises StaleError unless the output that is there is what this job would make."""
    if earlier is None:
        raise StaleError(f"{output} exists, and {RUN} does not say who made it: give --overwrite or another -o")
    if (earlier.made_by, earlier.input_sha256) != (job.made_by, digest):
        raise StaleError(f"{output} was made from other input, model or options: give --overwrite or another -o")


def _whole(earlier: Outcome, out: Path) -> bool:
    """Whether all files of an output are still there."""
    return all((out / name).exists() for name in earlier.output_sha256)


def _kept(earlier: Outcome, output: Path, out: Path) -> Outcome:
    """The outcome of an earlier run; one that was killed after the output was written knows no hashes yet."""
    hashes = earlier.output_sha256
    if not hashes:
        hashes = _hashes(sorted(output.iterdir()) if output.is_dir() else [output], out)
    return dataclasses.replace(earlier, status="kept", reason="there already", output_sha256=hashes)


def _sizes(volume: Volume, scale: int) -> str:
    slices, rows, columns = volume.pixels.shape
    return f"{slices} x {rows} x {columns} to {slices} x {rows * scale} x {columns * scale}"


def _warnings(volume: Volume, resolver: SuperResolver) -> tuple[str, ...]:
    """What is unlike the training images."""
    return tuple(_unlike(volume, resolver))


def _unlike(volume: Volume, resolver: SuperResolver) -> Iterator[str]:
    config = resolver.config
    longest, trained = max(volume.pixels.shape[1:]) * resolver.scale, max(config.size)
    if not trained / UNLIKE <= longest <= trained * UNLIKE:
        yield f"output of {longest} px, trained on {trained} px: detail of another size than the model knows"
    modality = volume.source.modality
    if modality and config.modalities and modality not in config.modalities:
        yield f"modality {modality}, trained on {', '.join(config.modalities)}: the model has not seen such images"


class _Record:
    """`run.json`: written anew before each output, so that a resumed job knows what the killed one made."""

    def __init__(self, job: Job, paths: Sequence[Path]) -> None:
        self.path = job.out / RUN
        self.dry_run = job.dry_run
        self.fresh = not job.out.exists()
        self.outcomes: list[Outcome] = []
        self.earlier = _earlier(self.path) if self.path.is_file() else {}
        self.claimed: dict[str, str] = {}
        resolver = job.resolver
        self.facts = manifest(
            note=RESEARCH_USE,
            inputs=[path.name for path in paths],
            model=resolver.name,
            model_hash=resolver.hash,
            degradation=resolver.degradation.text,
            options=job.sampling.model_dump(),
            device=resolver.restorer.device,
        )

    def claim(self, output: str, name: str) -> None:
        """Keeps an output for one input: `a` and `a.dcm` would both become `a.dcm`."""
        if (other := self.claimed.setdefault(output.lower(), name)) != name:
            raise InputError(f"{name} and {other} would both become {output}: rename one, or run them apart")

    def begin(self, outcome: Outcome) -> None:
        """Writes down what is about to be written."""
        self._write([*self.outcomes, outcome])

    def close(self) -> None:
        """Writes the record of this run, then of what earlier runs did and it did not touch."""
        if self.dry_run:
            return
        if self.earlier or any(outcome.status in ("written", "kept") for outcome in self.outcomes):
            self._write(self.outcomes)
        elif self.fresh and self.path.parent.is_dir():
            self.path.unlink(missing_ok=True)  # it says only what was begun
            _remove_empty(self.path.parent)

    def _write(self, outcomes: Sequence[Outcome]) -> None:
        now = {outcome.input for outcome in outcomes if outcome.status != "failed"}  # a failure touches no output
        rest = [outcome for name, outcome in self.earlier.items() if name not in now]
        files = [dataclasses.asdict(outcome) for outcome in (*outcomes, *rest)]
        write_json(self.path, {**self.facts, "files": files})


def _remove_empty(folder: Path) -> None:
    """Removes a folder of empty folders; one that holds a file stays."""
    for path, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            Path(path).rmdir()


def _earlier(path: Path) -> dict[str, Outcome]:
    """What earlier runs made, by input."""
    content = read_json(path)
    try:
        outcomes = [Outcome(**{**one, "warnings": tuple(one["warnings"])}) for one in content["files"]]
    except (TypeError, KeyError) as error:
        raise InputError(f"{path}: is no record of 'latentsr enhance'; give another -o") from error
    return {outcome.input: outcome for outcome in outcomes if outcome.made_by}

"""The enhance job: files and folders in, the same tree of SR images out, one failure not ending the rest."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from latentsr import io
from latentsr.config import manifest, read_json, sha256, sha256_json, write_json
from latentsr.errors import InputError, LatentSRError, OptionError
from latentsr.provenance import RESEARCH_USE
from latentsr.restoration import Sampling
from latentsr.superres import Enhanced, SuperResolver
from latentsr.volume import Volume

RUN = "run.json"
UNLIKE = 2.0  # times smaller or larger than the training images: worth a warning


@dataclass(frozen=True)
class Outcome:
    """What became of one input: `output` is relative to the output folder, `reason` says why it failed or was kept."""

    input: str
    status: Literal["written", "kept", "failed", "planned"]
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
    started: Callable[[io.Item, int, int], None] = lambda item, done, total: None,
    finished: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """The outcome of every item below `paths`, in their order; outputs and `run.json` lie in `job.out`.

    An output that is there already is kept unless `overwrite`, and a failure if other input, model or options made it.
    A killed job goes on where it was: outputs appear whole, and `run.json` after each of them.
    """
    items = io.find(paths)
    _refuse_own_output(paths, job.out)
    record = _Record(job, paths)
    outcomes = []
    for done, item in enumerate(items):
        started(item, done, len(items))
        outcome = _outcome(item, job, record)
        outcomes.append(outcome)
        record.add(outcome)
        finished(outcome)
    record.close()
    return outcomes


def check_scale(resolver: SuperResolver, scale: int | None) -> None:
    """Raises OptionError if the model was trained for another scale than the one that is asked for."""
    if scale is not None and scale != resolver.scale:
        raise OptionError(
            f"--scale {scale}: model {resolver.name} enlarges {resolver.scale} times; "
            f"leave --scale out, or give a --model trained for {scale}"
        )


def _refuse_own_output(paths: Sequence[Path], out: Path) -> None:
    for path in paths:
        if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
            raise OptionError(f"-o {out}: lies inside the input {path}; give a folder outside it")


def _outcome(item: io.Item, job: Job, record: "_Record") -> Outcome:
    """One item's outcome; what a file can do wrong is its own failure, not the job's."""
    begin = time.perf_counter()
    name = item.relative.as_posix()
    try:
        outcome = _enhance(item, job, record)
    except LatentSRError as error:
        outcome = Outcome(name, "failed", reason=str(error))
    except (OSError, MemoryError) as error:
        outcome = Outcome(
            name, "failed", reason=f"{item.paths[0]}: {error or type(error).__name__}; free disk or memory"
        )
    return dataclasses.replace(outcome, seconds=round(time.perf_counter() - begin, 3))


def _enhance(item: io.Item, job: Job, record: "_Record") -> Outcome:
    name = item.relative.as_posix()
    kind = io.kind_of(item.paths[0])
    output = job.out / io.output_name(item.relative, kind, job.resolver.scale, series=item.series)
    relative = output.relative_to(job.out).as_posix()
    digest = sha256_json([sha256(path) for path in item.paths])
    if output.exists() and not job.overwrite:
        return _kept(name, relative, digest, job, record)
    volume = io.read(item.paths, grey=job.grey, force=job.force)
    warned = _warnings(volume, job.resolver)
    size = _sizes(volume, job.resolver.scale)
    if job.dry_run:
        return Outcome(name, "planned", relative, size=size, warnings=warned, input_sha256=digest)
    enhanced = job.resolver.enhance(volume, sampling=job.sampling)
    hashes = {path.relative_to(job.out).as_posix(): sha256(path) for path in _write(enhanced, output, kind, job)}
    return Outcome(name, "written", relative, "", size, 0.0, warned, digest, hashes, job.made_by)


def _write(enhanced: Enhanced, output: Path, kind: str, job: Job) -> tuple[Path, ...]:
    """Writes the image last: where it is, its uncertainty map is too."""
    maps: tuple[Path, ...] = ()
    if enhanced.uncertainty is not None:
        path = io.uncertainty_name(output, kind)
        maps = io.write_uncertainty(enhanced.uncertainty, path, provenance=enhanced.provenance, overwrite=True)
    image = io.write(enhanced.volume, output, provenance=enhanced.provenance, overwrite=job.overwrite)
    return *image, *maps


def _kept(name: str, output: str, digest: str, job: Job, record: "_Record") -> Outcome:
    earlier = record.earlier.get(name)
    if earlier and (earlier["made_by"], earlier["input_sha256"]) != (job.made_by, digest):
        raise InputError(
            f"{job.out / output}: was made with other input, model or options; give --overwrite or another -o"
        )
    if earlier:
        return Outcome(
            **{**earlier, "status": "kept", "reason": "there already", "warnings": tuple(earlier["warnings"])}
        )
    return Outcome(name, "kept", output, "there already", input_sha256=digest)


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
    """`run.json`: written anew after each output, so that a resumed job knows what the killed one made."""

    def __init__(self, job: Job, paths: Sequence[Path]) -> None:
        self.path = job.out / RUN
        self.dry_run = job.dry_run
        self.outcomes: list[Outcome] = []
        earlier = read_json(self.path).get("files", []) if self.path.is_file() else []
        self.earlier: dict[str, dict[str, Any]] = {one["input"]: one for one in earlier if one["made_by"]}
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

    def add(self, outcome: Outcome) -> None:
        """Takes an outcome in, and writes if it made something."""
        self.outcomes.append(outcome)
        if outcome.status == "written":
            self.close()

    def close(self) -> None:
        """Writes the record: this run's outcomes, then those of earlier runs that it did not touch."""
        if self.dry_run:
            return
        now = [dataclasses.asdict(outcome) for outcome in self.outcomes]
        names = {one["input"] for one in now}
        rest = [one for name, one in self.earlier.items() if name not in names]
        write_json(self.path, {**self.facts, "files": now + rest})

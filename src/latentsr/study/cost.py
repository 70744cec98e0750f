"""What a study will take: seconds, disk and FLOPs of each job, from a few steps of the jobs themselves.

Each job is run in a scratch folder on a few made images of its datasets' size, a training for seconds. Its own progress
says how long a step or an image takes, one image more how long a validation; the rest of its time is taken once.

What was estimated is kept in the study's folder: the time left follows from it, and its tables set it beside the time
that jobs took.
"""

import math
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from latentsr.autoencoders import load_autoencoder
from latentsr.config import checked, layered, read_json, read_yaml, sha256, write_json
from latentsr.data.patients import SHARES
from latentsr.data.recipes import RECIPES
from latentsr.data.records import SPLITS, Record, read_dataset, write_dataset
from latentsr.device import peak_memory, resolve_device
from latentsr.diffusion.denoiser import step_cost
from latentsr.io import Item, find, read
from latentsr.io.raster import write_pixels
from latentsr.job import run_folder
from latentsr.study.nodes import Node, before, measured_model, train_config
from latentsr.study.runner import done_before, record_path, threads_of
from latentsr.training.autoencoder import FitVaeConfig
from latentsr.training.denoiser import validation_sampling
from latentsr.training.fit_denoiser import CHECKPOINTS, VALIDATION_IMAGES
from latentsr.upscalers import Sampling, load_upscaler
from latentsr.upscalers.model import SuperResolver
from latentsr.upscalers.restorer import Restorer
from latentsr.volume import Volume

MADE = {"train": 4, "valid": 2, "test": 2}  # images of each split
MINUTES = 0.05  # of a training
NEVER = 1_000_000  # steps to a validation, which is timed apart
ESTIMATE = "estimate.json"
READING = ("grey", "axis", "max_pixels")  # options of `prepare` that `io.read` takes
FEW = (3, 6)  # steps of a sampling, in place of more: what one more takes is their difference
BY_IMAGE = ("screen", "encode", "measure")  # steps that do one image after the other
IMAGES = 32  # that a training's calibration draws samples of


@dataclass(frozen=True)
class Cost:
    """About how many seconds, bytes of disk and FLOPs (a multiply-add counts as two) jobs take, one after the other.

    `memory` is the peak in bytes of a process that does them; 0 where the system is silent. FLOPs are those of a
    training's network and its base, without a discriminator's.
    """

    seconds: float
    disk: int = 0
    flops: float = 0.0
    memory: int = 0


def costs(
    nodes: Sequence[Node], root: Path, *, device: str, workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[Node, Cost]:  # fmt: skip
    """The cost of each job and of all that they need, those that are done in `root` included, with a worker's threads.

    It is kept in `root`, where an earlier estimate of a job that has begun stays, also beside a runner.
    """
    wanted, found, threads = list(before(nodes)), {}, torch.get_num_threads()
    torch.set_num_threads(threads_of(workers))
    try:
        with TemporaryDirectory(prefix="latentsr-study-") as scratch:
            pace = _Pace(root, Path(scratch), resolve_device(device))
            for done, node in enumerate(wanted):
                progress(done, len(wanted))
                found[node] = replace(pace.cost(node), memory=peak_memory(pace.device))
    finally:
        torch.set_num_threads(threads)
    progress(len(wanted), len(wanted))
    kept = estimated_seconds(root)
    ahead = [node for node in wanted if node.key not in kept or not record_path(node, root).exists()]
    write_json(root / ESTIMATE, kept | {node.key: round(found[node].seconds, 1) for node in ahead})
    return found


def estimated_seconds(root: Path) -> dict[str, float]:
    """The estimated seconds of jobs by key, as far as `costs` estimated them in the study's folder."""
    path = root / ESTIMATE
    return dict(read_json(path)) if path.is_file() else {}


def seconds_left(nodes: Collection[Node], root: Path, workers: int) -> float | None:
    """About how long the jobs that are not done will take; None where that is unknown.

    An estimate counts times the ratio of measured to estimated seconds of the jobs that are done; a job without
    estimate as the mean of those of its step that are done.
    """
    estimated = estimated_seconds(root)
    took = {node: float(record["seconds"]) for node in nodes if (record := done_before(node, root))}
    known = [node for node in took if estimated.get(node.key)]
    ratio = sum(took[node] for node in known) / sum(estimated[node.key] for node in known) if known else 1.0
    left = 0.0
    for node in (node for node in nodes if node not in took):
        alike = [seconds for one, seconds in took.items() if one.step == node.step]
        if node.key in estimated:
            left += ratio * estimated[node.key]
        elif alike:
            left += sum(alike) / len(alike)
        else:
            return None
    return left / workers


@dataclass
class _Watch:
    """A Progress that keeps when how much was done, by title."""

    marks: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    begun: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, title: str, **_: object) -> Iterator[Any]:
        own = self.marks.setdefault(title, [])
        self.begun[title] = time.monotonic()
        yield lambda done, total, note="": own.append((time.monotonic(), done))

    def each(self, title: str) -> float:
        """Seconds for one step or image; of a single one with what came before it; 0 where none was seen."""
        marks = self.marks.get(title, [])
        if not marks:
            return 0.0
        (begin, first), (end, last) = marks[0] if len(marks) > 1 else (self.begun[title], 0.0), marks[-1]
        return (end - begin) / (last - first) if last > first else 0.0


@dataclass
class _Pace:
    """Measures jobs in `scratch`, each kind once."""

    root: Path
    scratch: Path
    device: str
    runs: dict[str, tuple[float, _Watch]] = field(default_factory=dict)

    def cost(self, node: Node) -> Cost:
        """The cost of a job of the study."""
        if node.step == "encode":
            prepared = [self._images(need)[0] for need in node.needs if need.step == "prepare"]
            return self._by_image(self._small(node), "encode", sum(sum(one.values()) for one in prepared), scales=True)
        if node.step == "screen":  # passes: autoencoder, bicubic, model
            images = self._images(node.needs[0])[0].get(node.options["split"], 0)
            return self._by_image(self._small(node), "screen", 3 * images)
        if node.step == "prepare":  # by its first images
            source, (counts, (rows, columns)) = Path(node.options["source"]), self._images(node)
            recipe, begin = RECIPES[node.options["recipe"]], time.monotonic()
            if isinstance(recipe, type):
                case = recipe(**node.options["options"]).cases(source)[0]
                units = max(1, sum(1 for _ in case.samples()))
            else:
                units = sum(len(_read(item, node).pixels) for item in find([source])[:2])
            images = sum(counts.values())
            return Cost((time.monotonic() - begin) / units * images, 2 * rows * columns * images)
        return {"fit-vae": self._fit, "train": self._train, "measure": self._measure}[node.step](node)

    def _fit(self, node: Node) -> Cost:
        small, options = self._small(node), node.options["options"]
        folder, (total, watch) = self.scratch / small.place, self._run(small)
        counts = [self._images(need)[0] for need in node.needs if need.step == "prepare"]
        images, valid = (sum(one.get(split, 0) for one in counts) for split in ("train", "valid"))
        config = checked(FitVaeConfig, read_yaml(folder / "fit.yaml"), node.name)  # with a preset's batch and epochs
        asked = checked(FitVaeConfig, layered(options, {"epochs": config.epochs}), node.name)
        steps, every = asked.steps or math.inf, asked.validate_every
        if asked.epochs:
            every = max(1, images // (config.batch * config.devices))
            steps = asked.epochs * every
        validated = valid if node.options["preset"] and "valid_images" not in options else asked.valid_images
        autoencoder = load_autoencoder(folder, device=self.device)
        hr = torch.zeros(1, 1, *self._images(node.needs[0])[1], device=self.device)
        image = self._seconds(lambda: autoencoder.decode(autoencoder.encode(hr)))
        validation = min(valid, validated) * image + self._checkpoint(folder / "checkpoints")
        seconds, done = _training(steps, asked.minutes, every, watch.each("fit-vae"), validation)
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            autoencoder.decode(autoencoder.encode(hr[..., : config.crop, : config.crop]))
        flops = 3 * counter.get_total_flops() * config.batch * done
        return Cost(seconds + valid * image + max(0.0, total - 60 * MINUTES), _size(folder), flops)

    def _train(self, node: Node) -> Cost:
        small = self._small(node)
        total, watch = self._run(small)
        counts = [self._images(need)[0] for need in node.needs[0].needs if need.step == "prepare"]
        # The options of the whole training; the small cache has its latents' shape.
        config = train_config(Node(node.step, node.name, node.options, small.needs), self.scratch)
        if config.epochs is not None:
            images = sum(one.get("train", 0) for one in counts)
            config = config.model_copy(update={"steps": config.epochs * max(1, images // config.batch)})
        folder = self.scratch / small.place
        run, model = run_folder(folder), SuperResolver.load(folder, device=self.device)
        rows, columns = (side // model.scale for side in self._images(node.needs[0].needs[0])[1])
        lr, sampling = torch.zeros(1, 1, rows, columns), validation_sampling(model)
        image = self._seconds(lambda: model.restore(lr, ids=["few"], sampling=sampling).image)
        validation = min(VALIDATION_IMAGES, sum(one.get("valid", 0) for one in counts)) * image
        seconds, done = _training(
            config.steps or math.inf, config.minutes, config.validate_every, watch.each("train"),
            validation + self._checkpoint(run / CHECKPOINTS),
        )  # fmt: skip
        if config.calibrate:
            seconds += min(IMAGES * watch.each("calibrate"), max(60.0, seconds / 10))
        crop = config.crop or min(rows, columns) * model.scale // model.autoencoder.spec.factor
        flops = (3 * _flops(model, crop, crop) + _flops(model.base, crop, crop)) * done
        flops *= config.batch
        return Cost(seconds + validation + max(0.0, total - 60 * MINUTES), _size(folder) + _size(run), flops)

    def _measure(self, node: Node) -> Cost:
        options = node.options
        images = self._images(node.needs[0])[0].get(options["split"], 0)
        images = min(images, options["options"].get("limit") or images)
        few, more = (self._small(node, steps) for steps in FEW)
        cost = self._by_image(few, "measure", images)
        upscaler = load_upscaler(measured_model(few, self.scratch), device=self.device)
        if not isinstance(upscaler, Restorer):
            return cost
        samplings = {name: checked(Sampling, own, name) for name, own in options["samplings"].items()}
        seen = [
            sum(upscaler.evaluations(checked(Sampling, one, name)) for name, one in small.options["samplings"].items())
            for small in (few, more)
        ]
        each = [self._run(small)[1].each("measure") for small in (few, more)]
        evaluation = max(0.0, each[1] - each[0]) / max(1, seen[1] - seen[0])
        wanted = sum(upscaler.evaluations(sampling) for sampling in samplings.values())
        (rows, columns), factor = self._images(node.needs[0])[1], upscaler.autoencoder.spec.factor
        own, base = (_flops(one, rows // factor, columns // factor) for one in (upscaler, upscaler.base))
        bases = len(samplings) if upscaler.base is not None else 0  # a base is evaluated once an image
        flops = images * ((wanted - bases) * own + bases * base)
        return Cost(cost.seconds + images * evaluation * (wanted - seen[0]), cost.disk, flops)

    def _seconds(self, work: Callable[[], torch.Tensor]) -> float:
        """How long the work takes when it is done again."""
        with torch.inference_mode():
            work().sum().item()  # which waits for the GPU
            begin = time.monotonic()
            work().sum().item()
        return time.monotonic() - begin

    def _checkpoint(self, folder: Path) -> float:
        """How long a checkpoint takes: about twice what its hash does."""
        begin = time.monotonic()
        sha256(folder / "last.ckpt")
        return 2 * (time.monotonic() - begin)

    def _by_image(self, small: Node, title: str, images: int, *, scales: bool = False) -> Cost:
        """The cost of a job that does one image after the other; `scales`: so does its disk."""
        total, watch = self._run(small)
        made = watch.marks[title][-1][1] if watch.marks.get(title) else 0
        once = max(0.0, total - made * watch.each(title))
        size = _size(self.scratch / small.place)
        return Cost(once + images * watch.each(title), int(size * images / made) if scales and made else size)

    def _run(self, small: Node) -> tuple[float, _Watch]:
        """Seconds and marks of a small job, run after what it needs; once for all equal ones.

        A GPU does a job of few images twice, and the second time counts: it loads kernels at their first use.
        """
        for need in small.needs:
            self._run(need)
        if small.key not in self.runs:
            for _ in range(2 if self.device != "cpu" and small.step in BY_IMAGE else 1):
                shutil.rmtree(self.scratch / small.place, ignore_errors=True)
                watch, begin = _Watch(), time.monotonic()
                if small.step == "prepare":
                    _write_images(self.scratch / small.place, small.options["name"], *small.options["size"])
                else:
                    small.run(self.scratch, device=self.device, progress=watch)
                self.runs[small.key] = time.monotonic() - begin, watch
        return self.runs[small.key]

    def _small(self, node: Node, steps: int = FEW[0]) -> Node:
        """The job on few images, for few steps; equal for jobs that differ in what takes no time, such as a seed."""
        options = dict(node.options)
        if node.step == "prepare":
            options = {"name": node.name, "size": self._images(node)[1]}
        elif node.step in ("fit-vae", "train"):
            short: dict[str, Any] = {"steps": None, "minutes": MINUTES, "seed": 0, "validate_every": NEVER}
            short |= {"epochs": None, "decay": "step"} if node.step == "train" else {}
            options["options"] = {**options["options"], **short}
        elif node.step == "measure":
            options["samplings"] = {
                name: {key: min(value, steps) if key in ("steps", "samples") else value for key, value in own.items()}
                for name, own in options["samplings"].items()
            }
        return Node(node.step, "few", options, tuple(self._small(need) for need in node.needs))

    def _images(self, node: Node) -> tuple[Mapping[str, int], tuple[int, int]]:
        """The number of images of each split and their size: as prepared, or as the source looks."""
        if done_before(node, self.root):
            records = read_dataset(self.root / node.place).records
            counts = {split: sum(one.split == split for one in records) for split in SPLITS}
            return counts, (records[0].rows, records[0].columns)
        source, options, recipe = Path(node.options["source"]), node.options["options"], RECIPES[node.options["recipe"]]
        if isinstance(recipe, type):
            cases = recipe(**options).cases(source)
            samples = list(cases[0].samples())
            counts = {split: len(samples) * sum(case.split == split for case in cases) for split in SPLITS}
            return counts, samples[0].hr.shape
        items = find([source])
        shares = options.get("split") if isinstance(options.get("split"), list | tuple) else SHARES
        pixels = _read(items[0], node).pixels
        images = len(items) * (options.get("slices") or len(pixels))
        size = (options["size"],) * 2 if options.get("size") else pixels.shape[1:]
        return {split: round(images * share) for split, share in zip(SPLITS, shares, strict=True)}, size


def _flops(model: Restorer | None, rows: int, columns: int) -> int:
    """Of one evaluation of the model's network at latents of that size."""
    return 0 if model is None else step_cost(model.config.denoiser, rows, columns).flops


def _read(item: Item, node: Node) -> Volume:
    """A volume as `prepare` reads it."""
    return read(item, **{key: value for key, value in node.options["options"].items() if key in READING})


def _training(steps: float, minutes: float | None, every: int, step: float, validation: float) -> tuple[float, float]:
    """The seconds of a training with its validations, and the steps that it does, which minutes may limit."""
    each, limit = step + validation / every, math.inf if minutes is None else 60 * minutes
    done = min(steps, limit / each if each else math.inf)
    return (done * each, done) if math.isfinite(done) else (limit, 0.0)


def _write_images(root: Path, name: str, rows: int, columns: int) -> None:
    """A dataset of made images, smooth with some grain, all patients apart."""
    generator, records = np.random.default_rng(0), []
    for split, count in MADE.items():
        for number in range(count):
            smooth = generator.normal(size=(rows, columns)).cumsum(0).cumsum(1)
            path = root / "images" / f"{split}{number}.png"
            write_pixels(path, (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8))
            records.append(
                Record(path.stem, path.stem, split, path.relative_to(root).as_posix(), rows, columns, sha256(path))
            )
    write_dataset(root, name, records, {})


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.exists() else 0

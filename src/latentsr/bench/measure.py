"""Methods over the images of a dataset, batch by batch: restored, measured, with all that measures need beside SR."""

import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from latentsr.autoencoders import Autoencoder, load_autoencoder
from latentsr.bench.inputs import Naming, PairedFiles
from latentsr.bench.roundtrip import columns, decode, decoded_channels, encode, timed
from latentsr.bench.sets import Extractor, patches_an_image, reference_arrays, set_arrays
from latentsr.data.records import Dataset, Record, batches, low_resolution, stacked
from latentsr.degrade import Degradation
from latentsr.device import SliceId
from latentsr.errors import InputError, ModelError, OptionError
from latentsr.metrics import FOLLOWING, Metric, applicable, find_metrics, measure
from latentsr.metrics.fidelity import lr_psnr
from latentsr.metrics.hallucination import SIGMAS, hallucination_maps, noise_thresholds
from latentsr.metrics.images import Memo
from latentsr.metrics.sets import pyramid_levels
from latentsr.names import HR, LR_PSNR
from latentsr.stats.table import sorted_table, tidy_rows
from latentsr.upscalers import Method, Restored
from latentsr.workers import Pool, Workers

THUMB = 16  # px a side of the LR thumbnails by which images are told apart
MAP_SIGMA = SIGMAS.index(2.0)


@dataclass(frozen=True)
class Surroundings:
    """What measures need beside the methods, the same for all of them.

    Attributes:
        degradation: makes LR from HR.
        reference: the autoencoder whose error is the noise floor of hallucination; None: it is not measured.
        latent: the autoencoder in whose latents SR and HR are compared; None: they are not.
        mean: the method that estimates the posterior mean; None: null-space parts are not measured.
        extractor: images to features, for FID and KID; None: they are not measured.
        seed: of the places of patches.
    """

    degradation: Degradation
    reference: Autoencoder | None = None
    latent: Autoencoder | None = None
    mean: str | None = None
    extractor: Extractor | None = None
    seed: int = 0


def load_latent(name: str | None, device: str) -> Autoencoder | None:
    """The autoencoder of that name or folder, in whose latents images are compared; None for None."""
    return None if name is None else load_autoencoder(name, device=device)


def load_reference(name: str | None, device: str) -> Autoencoder | None:
    """The autoencoder of the noise floor; OptionError for a lossless one, which has no floor of its own."""
    autoencoder = load_latent(name, device)
    if autoencoder is not None and autoencoder.spec.lossless:
        raise OptionError(
            f"the option reference_autoencoder is {autoencoder.spec.name}, which loses nothing and has no noise floor; "
            "name a learned one, such as a folder made by 'latentsr fit-vae'"
        )
    return autoencoder


@dataclass(frozen=True)
class Work:
    """One dataset's images under some methods, with all that is needed to measure them."""

    dataset: Dataset
    records: tuple[Record, ...]
    methods: tuple[Method, ...]
    metrics: tuple[Metric, ...]
    around: Surroundings
    masks: PairedFiles | None = None
    show_ids: bool = False
    others: tuple[Record, ...] = ()  # of the split, not measured: an SR image may be of one of them nevertheless

    @property
    def naming(self) -> Naming:
        """How its images are called in errors."""
        return Naming(self.dataset.name, self.show_ids)

    def context(self, method: Method) -> dict[str, Callable[["Case"], Any]]:
        """What is known of the method's images here beside SR, by the names of CONTEXT: how each is made of a case."""
        around, own = self.around, method.autoencoder
        made: dict[str, Callable[[Case], Any]] = {
            "hr": lambda case: case.truth.hr,
            "lr": lambda case: case.truth.lr,
            "degradation": lambda case: around.degradation,
        }
        if (reference := around.reference) is not None:
            made["threshold"] = lambda case: case.truth.thresholds(reference)
        if (latent := around.latent) is not None:
            made["sr_latent"] = lambda case: encode(latent, case.shown)
            made["hr_latent"] = lambda case: case.truth.encoded(latent)
        if around.mean not in (None, method.name):
            made["mean"] = lambda case: case.mean
        if (masks := self.masks) is not None:
            made["mask"] = lambda case: case.truth.mask(masks)
        if self.following:
            made[FOLLOWING] = lambda case: case.following
        if method.intervals:
            made["interval"] = lambda case: case.made.interval
        if own is not None and not own.spec.lossless:
            made["reconstruction"] = lambda case: case.truth.decoded(own)
        if own is not None and method.latents:
            made["sampled"] = lambda case: case.latents
            made["encoded"] = lambda case: case.truth.encoded(own)
            made["sr_decoded"] = lambda case: decoded_channels(own, case.latents, case.truth.hr)
            made["hr_decoded"] = lambda case: decoded_channels(own, case.truth.encoded(own), case.truth.hr)
        return made

    def measures(self, method: Method) -> tuple[Metric, ...]:
        """The measures that can be made of the method's images here."""
        return applicable(self.metrics, self.context(method))

    @cached_property
    def following(self) -> Mapping[str, Record]:
        """The next slice of its volume of each image that has one, by id."""
        volumes: dict[tuple[object, ...], list[Record]] = defaultdict(list)
        seen = Counter[tuple[object, ...]]()  # slices at one place: points in time, each a volume
        for record in self.records if any(FOLLOWING in metric.needs for metric in self.metrics) else ():
            if record.volume:
                place = record.volume, record.rows, record.columns, record.slice_mm
                seen[place] += record.slice_mm is not None
                volumes[*place[:3], seen[place]].append(record)
        ordered = (sorted(slices, key=lambda one: one.slice_mm or 0.0) for slices in volumes.values())
        return {one.id: other for slices in ordered for one, other in pairwise(slices)}

    def ids(self, records: Sequence[Record]) -> list[str]:
        """The ids of images, with their places in LR pixels where they are slices of a volume."""
        ids = []
        for one in records:
            placed = one.volume and one.spacing is not None and one.slice_mm is not None
            pixel = math.sqrt(math.prod(one.spacing or ())) * self.around.degradation.scale
            ids.append(SliceId(one.id, one.volume, (one.slice_mm or 0.0) / pixel) if placed else one.id)
        return ids

    @property
    def levels(self) -> int:
        """Of every image's pyramid: as many as its smallest image has, so that all are compared in the same."""
        return min((pyramid_levels(min(record.rows, record.columns)) for record in self.records), default=0)


class Truth:
    """A batch of HR images of one size, LR made of them, and what is made of HR once for all methods.

    Attributes:
        ids: of the images.
        hr: (batch, 1, rows, columns) in [0, 1].
        lr: made of them in float, not rounded.
        memo: of what measures make of HR.
    """

    def __init__(self, work: Work, records: Sequence[Record], device: str | torch.device) -> None:
        self.ids = work.ids(records)
        self.hr, self.lr = read_hr_lr(work, records, device)
        self.memo = Memo(self.hr)
        self._made: dict[str, Tensor] = {}

    def once(self, key: str, make: Callable[[], Tensor]) -> Tensor:
        """What `make` returned at the first call with this key."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def encoded(self, autoencoder: Autoencoder) -> Tensor:
        """HR's latents."""
        return self.once(f"encoded {autoencoder.hash}", lambda: encode(autoencoder, self.hr))

    def decoded(self, autoencoder: Autoencoder) -> Tensor:
        """decode(encode(HR)), clamped to [0, 1]."""
        return self.once(f"decoded {autoencoder.hash}", lambda: decode(autoencoder, self.encoded(autoencoder), self.hr))

    def thresholds(self, reference: Autoencoder) -> Tensor:
        """The noise floor of the reference autoencoder, (batch, 3)."""
        return self.once("thresholds", lambda: noise_thresholds(self.decoded(reference), self.hr))

    def mask(self, masks: PairedFiles) -> Tensor:
        """The regions of interest, bool, of HR's shape."""
        return self.once(
            "mask", lambda: stacked([torch.from_numpy(masks.pixels(id) > 0) for id in self.ids], self.hr.device)
        )


@dataclass(frozen=True)
class Case:
    """A batch as a method restored it.

    `shown` is SR clamped to [0, 1], `mean` the posterior mean where it is known, `following` the next slices of the
    volumes, NaN where there is none.
    """

    truth: Truth
    made: Restored
    shown: Tensor
    mean: Tensor | None
    following: Tensor | None = None

    @property
    def latents(self) -> Tensor:
        """Those that the sampler drew; ModelError if it returned none."""
        if self.made.latents is None:
            raise ModelError("a model that draws latents returned none; report the model")
        return self.made.latents


@dataclass(frozen=True)
class Measured:
    """What was measured of a batch under one method.

    `values` (images, measures) under `names`; `thumbs` (images, THUMB^2): the degraded images, averaged to thumbnails;
    `maps` (2, rows, columns): how many of the images are hallucinated and how many lost at each pixel, at 2 sigma, or
    (2, 0, 0) where there is no reference autoencoder; `sets`: what measures of the whole set need of each image;
    `latents` (images, channels, rows, columns): those that the method's sampler drew, None of other methods;
    `seconds` of wall time to restore the batch, NaN of HR.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    thumbs: NDArray[np.float32]
    maps: NDArray[np.uint16]
    sets: Mapping[str, NDArray[np.float32]]
    latents: NDArray[np.float32] | None = None
    seconds: float = math.nan


Batch = tuple[tuple[Record, ...], dict[str, Measured]]


def measure_dataset(
    dataset: Dataset,
    methods: Sequence[Method],
    degradation: Degradation,
    *,
    metrics: Sequence[str] | None = None,
    split: str = "valid",
    batch: int = 8,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> pd.DataFrame:
    """The tidy table (dataset, id, patient, method, metric, value) of the split's images, sorted by all but value.

    Each image is degraded in float, not rounded; each method restores it; the result is clamped to [0, 1] and
    measured against HR. Beside the measures stand `lr_psnr`, the PSNR in dB of A(SR) against LR before clamping, and,
    as method `hr`, HR's own value of the measures that need no reference. Models with an autoencoder that loses
    something have its `ceiling_psnr`, the PSNR of decode(encode(HR)). A NaN value says "no value" (an image too small
    for the measure), +inf is the PSNR of identical images.

    Args:
        dataset: a prepared dataset.
        methods: what to compare; names must differ, and `hr` is taken.
        degradation: makes LR from HR.
        metrics: names of the METRICS table, all without learned weights if None.
        split: of the dataset.
        batch: images in memory at a time; images of one size share a batch.
        device: where images are degraded, restored and measured.
        progress: called after each batch with the numbers of images done and of all.

    Raises:
        OptionError: an unknown metric, two methods of one name, a batch below 1.
        InputError: no such split, images that the scale does not divide, a method's images of another size or not
            finite.
    """
    records = dataset.select(split)
    work = Work(dataset, records, tuple(methods), find_metrics(metrics), Surroundings(degradation))
    tables, done = [], 0
    for alike, found in measured_batches(work, batch=batch, device=device):
        images = {record.id: record.patient for record in alike}
        tables += [tidy_rows(dataset.name, images, method, one.names, one.values) for method, one in found.items()]
        done += len(alike)
        progress(done, len(records))
    return sorted_table(tables)


def measured_batches(
    work: Work, *, batch: int, device: str | torch.device, workers: int = 0, done: Collection[str] = (),
    pool: Pool = Pool(Workers()),
) -> Iterator[Batch]:  # fmt: skip
    """Each batch's records with what was measured, by method, HR's own first; ids in `done` are left out.

    Methods restore in this thread, one after the other; `workers` threads measure meanwhile (0: this thread does),
    at most so many batches ahead. Or the processes of `pool` do both, batches as they come. The values do not depend
    on it.
    """
    check_methods(work.methods, batch)
    if pool.workers.apart:
        measure_one = partial(measured_batch, work, device)
        for alike, made in pool.map(
            measure_one, batches(work.records, batch, done), name=lambda one: work.naming(one[0].id)
        ):
            yield alike, made()
        return

    def finished(records: tuple[Record, ...], futures: dict[str, "Future[Measured]"]) -> Batch:
        return records, {name: future.result() for name, future in futures.items()}

    # Several measuring threads share the cores: each operation takes one.
    with ThreadPoolExecutor(max(1, workers), initializer=lambda: torch.set_num_threads(1)) as threads:
        waiting: deque[tuple[tuple[Record, ...], dict[str, Future[Measured]]]] = deque()
        for alike in batches(work.records, batch, done):
            waiting.append((alike, _measure_batch(work, alike, device, threads.submit if workers else _at_once)))
            if len(waiting) > workers:
                yield finished(*waiting.popleft())
        while waiting:
            yield finished(*waiting.popleft())


def measured_batch(work: Work, device: str | torch.device, records: tuple[Record, ...]) -> dict[str, Measured]:
    """What this thread measures of images of one size, by method, HR's own first."""
    return {name: future.result() for name, future in _measure_batch(work, records, device, _at_once).items()}


def _at_once(function: Callable[..., Measured], *arguments: Any) -> "Future[Measured]":
    """As an executor's `submit`, in this thread."""
    future: Future[Measured] = Future()
    future.set_result(function(*arguments))
    return future


def check_methods(methods: Sequence[Method], batch: int) -> None:
    """OptionError for methods of one name, for one named `hr`, and for a batch below 1."""
    names = [method.name for method in methods]
    if wrong := sorted({name for name in names if names.count(name) > 1 or name == HR}):
        raise OptionError(f"method name {', '.join(wrong)}: expected names that differ, and not '{HR}'; rename it")
    if batch < 1:
        raise OptionError(f"batch of {batch} images: expected 1 or more")


@torch.inference_mode()
def _measure_batch(
    work: Work, records: tuple[Record, ...], device: str | torch.device, submit: Callable[..., "Future[Measured]"]
) -> dict[str, "Future[Measured]"]:
    """Restores a batch by each method, the posterior mean first, and hands each result on to be measured."""
    truth = Truth(work, records, device)
    # The next slices of volumes that this batch ends within.
    outside = [other for id in truth.ids if (other := work.following.get(id)) and other.id not in truth.ids]
    more = Truth(work, outside, device) if outside else None
    found = {HR: submit(_measured_hr, work, truth, _following(work, truth, truth.hr, more, more.hr if more else None))}
    mean: Tensor | None = None
    for method in sorted(work.methods, key=lambda one: one.name != work.around.mean):
        made, seconds = timed(partial(restored, work, method, truth.lr, truth.hr, truth.ids), truth.hr.device)
        shown = made.image.clamp(0, 1)
        others = restored(work, method, more.lr, more.hr, more.ids).image.clamp(0, 1) if more else None
        case = Case(truth, made, shown, mean, _following(work, truth, shown, more, others))
        wanted = {"hr", "lr", "degradation", "threshold"}.union(*(metric.needs for metric in work.measures(method)))
        context = {name: make(case) for name, make in work.context(method).items() if name in wanted}
        found[method.name] = submit(_measured, work, case, context, seconds)
        if method.name == work.around.mean:
            mean = case.shown
    return found


def _following(work: Work, truth: Truth, images: Tensor, more: Truth | None, others: Tensor | None) -> Tensor | None:
    """The next slice of each of a batch's images, among these and the others; None where no image has any."""
    if not work.following:
        return None
    known = dict(zip(truth.ids, images, strict=True))
    if more is not None and others is not None:
        known |= dict(zip(more.ids, others, strict=True))
    none = torch.full_like(images[0], math.nan)
    return torch.stack([known[work.following[id].id] if id in work.following else none for id in truth.ids])


def read_hr_lr(work: Work, records: Sequence[Record], device: str | torch.device) -> tuple[Tensor, Tensor]:
    """HR images (batch, 1, rows, columns) of one size, and LR made of them in float, not rounded."""
    images = []
    for record in records:
        try:
            images.append(torch.from_numpy(work.dataset.image(record)))
        except (InputError, OSError):
            raise InputError(  # without its cause, whose words are the file's path
                f"dataset '{work.dataset.name}': image {work.naming(record.id)} is missing, cut off or of another size "
                f"than its record says; prepare the dataset again{work.naming.hint}"
            ) from None
    hr = stacked(images, device)
    return hr, low_resolution(work.dataset, records, work.around.degradation, hr)


def restored(work: Work, method: Method, lr: Tensor, hr: Tensor, ids: Sequence[str]) -> Restored:
    """The method's SR images, not clamped, of HR's size, type and device, all finite; latents and intervals too."""
    made = method.restore(lr, ids)
    sr = made.image.to(hr)
    if sr.shape != hr.shape:
        raise InputError(
            f"method '{method.name}' gave images of shape {tuple(sr.shape)}, expected {tuple(hr.shape)}: "
            "check that its scale is that of the degradation"
        )
    if bad := [name for name, image in zip(ids, sr, strict=True) if not image.isfinite().all()]:
        raise InputError(
            f"method '{method.name}' gave values that are not finite for {len(bad)} of {len(ids)} images of a batch "
            f"({work.naming.listed(bad)}); check its weights{work.naming.hint}"
        )
    latents, interval = (None if one is None else one.to(hr) for one in (made.latents, made.interval))
    return Restored(sr, latents=latents, interval=interval)


@torch.inference_mode()
def _measured(work: Work, case: Case, context: dict[str, Any], seconds: float) -> Measured:
    sr, shown, maps = case.made.image, case.shown, np.zeros((2, 0, 0), np.uint16)
    values = measure([metric for metric in work.metrics if metric.name != LR_PSNR], shown, context, [case.truth.memo])
    # Before clamping: that is what breaks the agreement of a projected image with its input.
    values[LR_PSNR] = lr_psnr(sr, case.truth.lr, work.around.degradation)
    if "threshold" in context:
        counts = hallucination_maps(shown, case.truth.hr, context["threshold"][:, MAP_SIGMA])
        maps = torch.cat([one.sum(dim=0) for one in counts]).cpu().numpy().astype(np.uint16)
    thumbs, sets = _thumbs(work.around.degradation.apply(sr)), _sets(work, shown, case.truth.ids)
    latents = None if case.made.latents is None else case.made.latents.float().cpu().numpy()
    return Measured(tuple(values), columns(values, len(sr)), thumbs, maps, sets, latents, seconds)


@torch.inference_mode()
def _measured_hr(work: Work, truth: Truth, following: Tensor | None) -> Measured:
    """HR's own values of the measures that need nothing beside the image and the next one."""
    hr, ids, patches = truth.hr, truth.ids, patches_an_image(len(work.records))
    own = [metric for metric in work.metrics if set(metric.needs) <= {FOLLOWING}]
    values = measure(own, hr, {} if following is None else {FOLLOWING: following})
    reference = reference_arrays(hr, ids, seed=work.around.seed, levels=work.levels, patches=patches)
    sets, none = _sets(work, hr, ids) | reference, np.zeros((2, 0, 0), np.uint16)
    return Measured(tuple(values), columns(values, len(hr)), _thumbs(truth.lr), none, sets)


def other_thumbs(
    work: Work, *, batch: int, device: str | torch.device, done: Collection[str] = ()
) -> Iterator[tuple[tuple[Record, ...], NDArray[np.float32]]]:
    """LR thumbnails (images, THUMB^2) of the split's images that are not measured, batch by batch but for `done`."""
    for alike in batches(work.others, batch, done):
        yield alike, _thumbs(read_hr_lr(work, alike, device)[1])


def _thumbs(lr: Tensor) -> NDArray[np.float32]:
    return F.adaptive_avg_pool2d(lr, THUMB).flatten(1).float().cpu().numpy()


def _sets(work: Work, shown: Tensor, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    around, patches = work.around, patches_an_image(len(work.records))
    return set_arrays(shown, ids, seed=around.seed, levels=work.levels, patches=patches, extractor=around.extractor)

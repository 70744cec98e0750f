"""What every upscaler is to the rest of the package, its options and results; bicubic interpolation."""

import hashlib
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from copy import copy
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Generic, Self, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from latentsr import __version__
from latentsr.config import Config, canonical_json, checked
from latentsr.degrade import MOST_DB, Degradation, agreement, enlarge, project
from latentsr.device import Image, SliceId, wide
from latentsr.errors import InputError, LatentSRError, ModelError, OptionError
from latentsr.io import read
from latentsr.io.reslice import slice_places
from latentsr.job import Scratch
from latentsr.names import BICUBIC
from latentsr.provenance import ESTIMATE, INTERPOLATION, Provenance
from latentsr.volume import Pixels, Volume, Window

if TYPE_CHECKING:
    from torch import Tensor

    from latentsr.autoencoders.protocol import Autoencoder
    from latentsr.upscalers.calibration import Calibration
    from latentsr.upscalers.inputs import TrainedInputs

BICUBIC_PROJECTED = "bicubic+projection"
TILE = 144  # 128 and the overlap, so that n tiles hold sides of 128 n
SMALLEST_TILE = 64  # below it a tile sees too little around it: its samples differ from those of the whole image
BATCH, GPU_BATCH = 4, 32  # slices at a time, unless told otherwise; few leave a GPU idle
LARGEST_BATCH = 2**22  # pixels of the result at a time, beyond one slice
AHEAD, LARGEST_AHEAD = 4, 2**25  # batches of files between their reading and their writing, and the bytes of all
IMAGE, SPREAD, TRUSTED = "image", "spread", "trust"  # arrays of a result
ANY_VOLUME = "slices"  # the name of the volume in whose places noise is drawn: the same for all
UNLIKE = 2.0  # times smaller or larger than the training images: worth a warning
NOT_CALIBRATED = "not calibrated"


def _or_none(value: object) -> object:
    """None for what stands for it on a command line."""
    return None if value in (0, "0", "") else value


class Sampling(Config):
    """How an image is restored.

    `samples`: how many are drawn and averaged. `steps`: evaluations of the network for each; 1 gives its estimate of
    the posterior mean, or its base's, which is the first step of a model that refines another. None: 1, or the model's
    own number where a realism above 0 or several samples are asked for. `realism`, the dial: 0 is the posterior mean,
    1 a whole sample; between them fine detail comes first (`latentsr.upscalers.restorer`); None: the model's own.
    `consistency`: project onto the images whose degradation is the input. `tile`: the largest side of tiles in latents;
    None or 0 for one piece. `solver`: None for the model's own. `coherent`: near slices of a volume share noise, in the
    measure in which they are nearer than a pixel of the input is wide; where not, each slice has noise of its own.
    """

    samples: int = Field(1, ge=1)
    steps: int | None = Field(None, ge=1, le=1000)
    realism: float | None = Field(None, ge=0, le=1)
    seed: int = 0
    consistency: bool = True
    tile: Annotated[int | None, BeforeValidator(_or_none)] = Field(TILE, ge=SMALLEST_TILE)
    solver: Annotated[str | None, BeforeValidator(_or_none)] = None
    coherent: bool = True

    @model_validator(mode="after")
    def _samples_vary(self) -> "Sampling":
        if self.samples > 1 and not self.draws:
            raise ValueError(
                "several samples of the posterior mean do not vary: "
                "leave steps out, or give more, and a realism above 0; or one sample"
            )
        if self.realism and self.steps == 1:
            raise ValueError("one step gives the posterior mean, whose realism is 0: leave steps out, or give more")
        return self

    @property
    def draws(self) -> bool:
        """Whether samples are drawn; where not, the result is the posterior mean, or the only estimate."""
        asked = self.samples > 1 or self.realism is not None if self.steps is None else self.steps > 1
        return asked and self.realism != 0


@dataclass(frozen=True)
class Restored(Generic[Image]):
    """SR images in [0, 1] (not clipped), (images, 1, rows, columns), and the sd over the samples where several.

    `latents` are those that the sampler drew of one sample, before realism and projection: (images, channels, rows,
    columns); None where none or several were drawn. `interval` is half the width of each pixel's calibrated interval,
    None without a calibration for these options. `mean` is the posterior mean, None where the model has none.
    """

    image: Image
    spread: Image | None = None
    latents: Image | None = None
    interval: Image | None = None
    mean: Image | None = None

    def part(self, which: slice) -> "Restored[Image]":
        """Some of the images, with all that there is of them."""
        found = {name: values[which] for name, values in vars(self).items() if values is not None}
        return Restored(**found | ({"mean": found["image"]} if self.mean is self.image else {}))


@dataclass(frozen=True)
class Request:
    """LR images in [0, 1] that are to be restored, (images, 1, rows, columns); `most`: of that size at a time."""

    lr: Pixels
    ids: Sequence[str]
    sampling: Sampling
    most: int


@dataclass
class Checks:
    """What can be said of a result without its truth.

    `guarantee` is that of its intervals, or why there is none; `trusted` the share of pixels in the trust mask.
    `outside`: how many slices lie outside the range of the calibration, by the test that they fail: the guarantee does
    not hold for them. `lr_psnr`: PSNR in dB of the slice that agrees least with its input when it is reduced again, at
    most `MOST_DB`. `null_space`: root mean square of what the result adds to the posterior mean and its input does not
    determine, as a share of the window; None of models without posterior mean.
    """

    guarantee: dict[str, Any] | str
    trusted: float | None = None
    outside: dict[str, int] = field(default_factory=dict)
    lr_psnr: float = MOST_DB
    null_space: float | None = None

    def add(
        self, lr: Any, restored: Restored[Any], degradation: Degradation, share: float,
        calibration: "Calibration | None",
    ) -> None:  # fmt: skip
        """Takes in some slices, which are that share of all."""
        image = restored.image
        self.lr_psnr = round(min(self.lr_psnr, agreement(image, lr, degradation)), 2)
        if image is restored.mean:
            self.null_space = self.null_space or 0.0
        elif restored.mean is not None:
            added = wide(image - restored.mean)
            part = added - degradation.pinv(degradation.apply(added))
            before = 0.0 if self.null_space is None else self.null_space**2
            self.null_space = math.sqrt(before + share * float(part.square().mean()))
        for test, failed in calibration.outside(lr).items() if calibration else ():
            self.outside[test] = self.outside.get(test, 0) + failed


@dataclass(frozen=True)
class Enhanced:
    """The SR volume, its error map, and how it was made.

    `uncertainty` is the sd over the samples, or with a calibration for these options half the width of each pixel's
    interval, which `trust` says is small (1) or not (0). None for one sample. `checks`: what else is known of it.
    """

    volume: Volume
    uncertainty: Volume | None
    provenance: Provenance
    trust: Volume | None
    checks: Checks


def slice_ids(images: Image, places: Sequence[float], volume: str) -> list[str]:
    """The ids of LR images (images, ...): digests of their pixels, with their places in a volume where they are known.

    Places are in pixels of the images, as noise is shared over that distance: a model invents detail within an LR
    pixel. Measured in docs/volumes.md.
    """
    ids = [hashlib.sha256(np.asarray(image).tobytes()).hexdigest() for image in images]
    return [SliceId(id, volume, place) for id, place in zip(ids, places, strict=True)] if places else ids


def relative_places(volume: Volume) -> list[float]:
    """Where a volume's slices lie from the first, in pixels of it; empty where the file does not say."""
    places = slice_places(volume)
    return [place / math.sqrt(math.prod(volume.spacing)) for place in places] if places and volume.spacing else []


class Upscaler:
    """Makes SR images of LR images: `restore` tensors, `enhance` files, arrays and volumes.

    A new one defines `restore`, and `has_samples`, `check` and `image_kind` where it takes options.

    Attributes:
        name: what records and outputs call it.
        hash: digest of all that decides its pixels, but the options.
        degradation: the operator that it undoes; its scale is that of the result.
        trained: the operator of its training, of one that undoes others too.
        device: where it computes.
        autoencoder: the one in whose latents it works, or None.
        modalities: DICOM codes of the images that it was trained on; empty: not known, or not trained.
        size: (rows, columns) of the HR images that it was trained on; None: not trained.
        inputs: what the LR that it was trained on looked like; None: not known, or not trained.
        base: the upscaler whose estimate is its posterior mean, and which it refines; None: it has its own.
        has_mean: whether one step gives an image: the posterior mean, or the one that there is.
        has_samples: whether more steps draw samples; where not, there is one image, whatever the seed.
        calibration: of the spread over samples, None where there is none.
        settings: what else decides its results, by name, beside name, degradation and sampling.
    """

    name: str
    hash: str
    degradation: Degradation
    trained: Degradation
    device: str = "cpu"
    autoencoder: "Autoencoder | None" = None
    modalities: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    inputs: "TrainedInputs | None" = None
    base: "Upscaler | None" = None
    has_mean: bool = True
    has_samples: bool = False
    calibration: "Calibration | None" = None
    settings: Mapping[str, Any] = MappingProxyType({})

    @property
    def image_model(self) -> "Upscaler":
        """What restores single images: another one where this one makes volumes with it."""
        return self

    @property
    def batch(self) -> int:
        """How many slices are restored at a time, unless told otherwise."""
        return BATCH if self.device == "cpu" else GPU_BATCH

    @property
    def scale(self) -> int:
        """How many times finer the result is."""
        return self.degradation.scale

    @property
    def runtime(self) -> dict[str, Any]:
        """What a record says of where it computes: the device, and how many threads, which decide the last digit."""
        import torch

        return {"device": self.device, "threads": torch.get_num_threads()}

    def tensor(self, lr: Pixels) -> Any:
        """LR images as `restore` takes them: a tensor, or of a back end without torch the array itself."""
        import torch

        return torch.from_numpy(lr)

    def restore(self, lr: Any, *, ids: Sequence[str], sampling: Sampling = Sampling()) -> Restored[Any]:
        """SR of LR images (images, 1, rows, columns) in [0, 1]; each image's noise follows from its id and the seed."""
        raise NotImplementedError

    def answer(self, requests: Sequence[Request]) -> list[Restored[Any]]:
        """What is asked for, of as many images of one size in each request and with the same options, restored."""
        lr, ids = np.concatenate([one.lr for one in requests]), [id for one in requests for id in one.ids]
        restored, images = self.restore(self.tensor(lr), ids=ids, sampling=requests[0].sampling), len(requests[0].ids)
        return [restored.part(slice(start, start + images)) for start in range(0, len(ids), images)]

    def undoing(self, degradation: Degradation) -> Self:
        """This model for LR that `degradation` made: OptionError for one of another scale.

        LR is brought to what the model was trained on (`translated`), and the result is projected onto LR as it is. A
        model that was trained on noise is told its level. Intervals have no guarantee but for the degradation of their
        calibration.
        """
        if degradation.scale != self.scale:
            raise OptionError(
                f"degradation {degradation.text} reduces {degradation.scale} times, {self.name} enlarges {self.scale} "
                f"times: choose one as {self.trained.text}"
            )
        other = copy(self)
        other.degradation = degradation
        return other

    def steps(self, sampling: Sampling) -> int:
        """How many evaluations an image takes, or each sample of it: those asked for, or the upscaler's own."""
        return sampling.steps or 1

    def settled(self, sampling: Sampling) -> Sampling:
        """The options with their steps in numbers: what a record says of a result."""
        return sampling.model_copy(update={"steps": self.steps(sampling)})

    def check(self, sampling: Sampling) -> None:
        """OptionError for options that it does not know: those of samples, where it draws none."""
        if not self.has_samples and (sampling.draws or self.steps(sampling) > 1 or sampling.solver):
            raise OptionError(f"{self.name} draws no samples: leave samples, steps, realism and solver out")

    def uncalibrated(self, sampling: Sampling) -> str:  # noqa: ARG002
        """Why results of these options have no intervals with a guarantee; empty where they have."""
        return NOT_CALIBRATED

    def evaluations(self, sampling: Sampling) -> int:  # noqa: ARG002 - of those that have a network
        """How often the network is evaluated for an image, or each of its tiles; 0 where there is none."""
        return 1

    def unlike(self, volume: Volume) -> list[str]:
        """How a volume differs from the training images, a text each; all that is known of these is compared.

        The texts have no numbers of the volume, so that equal ones of many can be counted.
        """
        texts = []
        if self.size is not None:
            longest, trained = max(volume.pixels.shape[1:]) * self.scale, max(self.size)
            if not trained / UNLIKE <= longest <= trained * UNLIKE:
                texts.append(f"output size unlike training ({trained} px): detail of another size than the model knows")
        modality = volume.source.modality
        if modality and self.modalities and modality not in self.modalities:
            texts.append(f"modality {modality} unlike training ({', '.join(self.modalities)}): images new to the model")
        others = self.inputs is not None and self.degradation.text != self.trained.text
        return [*texts, *(self.inputs.unlike(volume, spacing_only=others) if self.inputs else ())]

    def image_kind(self, sampling: Sampling) -> str:  # noqa: ARG002
        """What the pixels of a result are, for its provenance: an estimate by a network, unless told otherwise."""
        return ESTIMATE

    def enhance(
        self, source: Volume | NDArray[Any] | str | Path, *, sampling: Sampling | None = None, batch: int | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None, scratch: Scratch | None = None, **options: Any,
    ) -> Enhanced:  # fmt: skip
        """The source, `scale` times finer in plane, in its physical values; slices are restored one by one.

        The noise of a slice follows from the seed and its place in its volume, or its pixels where the place is not
        known, so that names and order change nothing.

        Args:
            source: a Volume; an array, (rows, columns) or (slices, rows, columns); or the path of an image or series
            sampling: how it is restored; or, instead, `options`
            batch: the most slices at a time, at least 1; fewer of large ones; None: `batch` of the upscaler
            progress: takes (slices done, all slices)
            scratch: where slices are kept, and found again that an earlier call had made; None: memory
            options: the fields of Sampling, such as realism=0.5, samples=8, seed=1

        Raises:
            OptionError: an unknown option, a value outside what is valid, or options beside a `sampling`
            InputError: an image that cannot be read or restored
        """
        work = self.enhancing(
            source, sampling=sampling, batch=batch, progress=progress, scratch=scratch, **options
        )  # fmt: skip
        model, step = self.image_model, advance(work)
        while isinstance(step, Request):
            step = advance(work, model.restore(model.tensor(step.lr), ids=step.ids, sampling=step.sampling))
        return step

    def enhancing(
        self, source: Volume | NDArray[Any] | str | Path, *, sampling: Sampling | None = None, batch: int | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None, scratch: Scratch | None = None, **options: Any,
    ) -> "Work[Enhanced]":  # fmt: skip
        """As `enhance`, of which this is all but what `image_model` restores: that is asked for, see `together`."""
        batch = self.batch if batch is None else batch
        volume, sampling = self.prepared(source, sampling, batch, options)
        lacking, undone = self.uncalibrated(sampling), self.degradation.text
        if not lacking and self.calibration is not None and self.calibration.degradation != undone:
            lacking = f"calibrated for {self.calibration.degradation}, not {undone}"
        calibration = None if lacking else self.calibration
        (slices, rows, columns), windows, places = self.output_shape(volume), volume.windows, relative_places(volume)
        scratch = scratch or Scratch()
        state = scratch.state()
        checks = Checks(lacking if calibration is None else calibration.guarantee)
        checks = Checks(**state["checks"]) if state else checks
        batch = max(1, min(batch, LARGEST_BATCH // (rows * columns)))
        for start in range(state.get("done", 0), slices, batch):
            progress(start, slices)
            part = slice(start, start + batch)
            here = np.stack([one.apply(pixels) for one, pixels in zip(windows[part], volume.pixels[part], strict=True)])
            here, share = here[:, None], len(here) / slices
            restored = yield Request(here, slice_ids(here, places[part], ANY_VOLUME), sampling, batch)
            unit = self.tensor(here)
            checks.add(unit, restored, self.degradation, share, calibration)
            if sampling.samples > 1 and (restored.spread if calibration is None else restored.interval) is None:
                raise ModelError(f"{self.name}: {sampling.samples} samples gave no spread; report the model")
            for name, values in _arrays(restored, windows[part], calibration, sampling).items():
                scratch.put(name, start, values, slices)
                if name == TRUSTED:
                    checks.trusted = (checks.trusted or 0.0) + share * float(values.mean(dtype=np.float64))
            scratch.note({"done": start + len(here), "checks": asdict(checks)})
        progress(slices, slices)
        checks.trusted = None if checks.trusted is None else round(checks.trusted, 4)
        names = (IMAGE, *((SPREAD,) if sampling.samples > 1 else ()), *(() if checks.trusted is None else (TRUSTED,)))
        shape = slices, rows, columns
        made = {name: volume.enlarged(scratch.array(name, shape), self.scale) for name in names}
        made_by = replace(self.provenance(sampling), unlike=tuple(self.unlike(volume)))
        return Enhanced(made[IMAGE], made.get(SPREAD), made_by, made.get(TRUSTED), checks)

    def prepared(
        self, source: Volume | NDArray[Any] | str | Path, sampling: Sampling | None, batch: int, options: dict[str, Any]
    ) -> tuple[Volume, Sampling]:
        """What `enhance` was given, as a volume and settled options; errors as of `enhance`."""
        if sampling is not None and options:
            raise OptionError(f"enhance: sampling and {', '.join(options)} are given; put all options into the one")
        if batch < 1:
            raise OptionError(f"enhance: batch is {batch}; expected 1 or more")
        sampling = self.settled(sampling or checked(Sampling, options, "enhance"))
        self.check(sampling)
        return _volume(source), sampling

    def output_shape(self, volume: Volume) -> tuple[int, int, int]:
        """The (slices, rows, columns) of what `enhance` makes of a volume."""
        slices, rows, columns = volume.pixels.shape
        return slices, rows * self.scale, columns * self.scale

    def seen_shape(self, volume: Volume) -> tuple[int, int, int]:
        """How many LR images are restored of a volume, and their rows and columns."""
        slices, rows, columns = volume.pixels.shape
        return slices, rows, columns

    def provenance(self, sampling: Sampling) -> Provenance:
        """Who made a result, and how: what goes into every output file."""
        options = canonical_json(
            {
                **self.settled(sampling).model_dump(),
                "scale": self.scale,
                "degradation": self.degradation.text,
                **self.settings,
            }
        )
        kind = f"mean of {sampling.samples} samples" if sampling.samples > 1 else self.image_kind(sampling)
        return Provenance(
            self.name, __version__, self.hash, sampling.seed, options, synthetic=kind != INTERPOLATION, image=kind
        )


Item = TypeVar("Item")
Value = TypeVar("Value")
Work = Generator[Request, Restored[Any], Value]  # asks for what a model restores, is sent that, and returns a value


def advance(work: Work[Value], answer: Any = None) -> Request | Value:
    """What a work asks for at first, or after an answer or an error instead; or what it returns."""
    try:
        return work.throw(answer) if isinstance(answer, Exception) else work.send(answer)
    except StopIteration as end:
        returned: Value = end.value
        return returned


def together(
    begin: Callable[[Item], Work[Value]], items: Iterable[Item], model: Upscaler, *, threads: Executor, batch: int,
    size: Callable[[Item], int],
) -> Iterator[tuple[Item, Callable[[], Value]]]:  # fmt: skip
    """Each item as soon as its work is done, in no order that means anything, with what returns its value.

    Works go on in `threads`, but for what they ask for, which this one restores: of one size together. They begin to
    ask in their order, and a batch is as large as its requests say that it may be, unless twice `batch` of other sizes
    wait as well, or nothing else is under way. So items that ask once make the same batches each time; of those that
    ask more often time decides which meet. Where one fails, each is restored alone, so that the error is that of its
    item. At most AHEAD * `batch` items are under way, or the first that are of LARGEST_AHEAD in `size`.
    """
    waiting, sizes = iter(items), dict[Item, int]()  # of what is under way
    asked: dict[tuple[int, ...], list[tuple[Item, Work[Value], Request]]] = {}  # by what can be restored together
    begun: dict[Future[Request | Value], tuple[Item, Work[Value]]] = {}  # in their order
    answered: dict[Future[Request | Value], tuple[Item, Work[Value]]] = {}

    def answers(requests: Sequence[Request]) -> list[Any]:
        try:
            return list(model.answer(requests))
        except (LatentSRError, MemoryError, RuntimeError) as error:
            if len(requests) == 1:
                return [error]
        return [found for one in requests for found in answers([one])]  # not above: an error keeps memory from use

    while True:
        while not sizes or (len(sizes) < AHEAD * batch and sum(sizes.values()) < LARGEST_AHEAD):
            if (item := next(waiting, None)) is None:
                break
            work, sizes[item] = begin(item), size(item)
            begun[threads.submit(advance, work)] = item, work
        if not sizes:
            return
        full = [shape for shape, group in asked.items() if (len(group) + 1) * shape[0] > group[0][2].most]
        crowded = sum(map(len, asked.values())) >= 2 * batch or not (begun or answered)
        if full or crowded:
            group = asked.pop(full[0] if full else next(iter(asked)))
            for (item, work, _), answer in zip(group, answers([request for *_, request in group]), strict=True):
                answered[threads.submit(advance, work, answer)] = item, work
            continue
        ended = wait(going := [*answered, *islice(begun, 1)], return_when=FIRST_COMPLETED).done
        step = next(one for one in going if one in ended)  # one at a time: each may fill a batch
        item, work = (begun if step in begun else answered).pop(step)
        if step.exception() is None and isinstance(request := step.result(), Request):
            asked.setdefault(request.lr.shape, []).append((item, work, request))
        else:
            del sizes[item]
            yield item, cast(Callable[[], Value], step.result)


def _arrays(
    restored: Restored[Any], windows: Sequence[Window], calibration: "Calibration | None", sampling: Sampling
) -> dict[str, NDArray[np.float32]]:
    """What is kept of some slices: images and spread in physical units, and where the interval is small."""
    images = np.asarray(restored.image[:, 0])
    found = {IMAGE: np.stack([one.invert(image) for one, image in zip(windows, images, strict=True)])}
    width = restored.spread if calibration is None else restored.interval
    if sampling.samples > 1 and width is not None:
        ranges = np.array([one.high - one.low for one in windows], np.float32)[:, None, None]
        found[SPREAD] = np.asarray(width[:, 0]) * ranges
        if calibration is not None:
            found[TRUSTED] = (np.asarray(width[:, 0]) <= calibration.trusted).astype(np.float32)
    return found


class Bicubic(Upscaler):
    """Bicubic interpolation, or with `projected` the nearest image whose degradation is exactly the LR."""

    def __init__(self, degradation: Degradation, *, projected: bool = False) -> None:
        self.name = self.hash = BICUBIC_PROJECTED if projected else BICUBIC
        self.degradation = degradation
        self.projected = projected

    def restore(self, lr: Any, *, ids: Sequence[str], sampling: Sampling = Sampling()) -> Restored[Any]:  # noqa: ARG002
        """SR of LR images (images, 1, rows, columns) in [0, 1]; ids and sampling change nothing."""
        image = enlarge(lr, self.scale)
        return Restored(project(image, lr, self.degradation) if self.projected else image)

    def evaluations(self, sampling: Sampling) -> int:  # noqa: ARG002
        """None: there is no network."""
        return 0

    def image_kind(self, sampling: Sampling) -> str:  # noqa: ARG002
        """Interpolation: no detail is made up."""
        return INTERPOLATION


def _volume(source: Volume | NDArray[Any] | str | Path) -> Volume:
    if isinstance(source, str | Path):
        return read(source)
    if isinstance(source, np.ndarray):
        if source.dtype.kind not in "buif":
            raise InputError(f"array of {source.dtype}: expected real numbers")
        return Volume.from_array(source)
    if isinstance(source, Volume):
        return source
    raise InputError(f"image of type {type(source).__name__}: expected a path, a numpy array or a Volume")


@dataclass(frozen=True)
class Restoring:
    """An upscaler with its options, called as `Method.restore` is; other processes can be handed it."""

    upscaler: Upscaler
    sampling: Sampling

    def __call__(self, lr: Any, ids: Sequence[str]) -> Restored[Any]:
        """The images that the upscaler makes of LR images."""
        return self.upscaler.restore(lr, ids=ids, sampling=self.sampling)


@dataclass(frozen=True)
class Method:
    """A way to make SR images, by the name that tables give it.

    Attributes:
        name: of the method in tables.
        restore: takes LR images (batch, 1, rows, columns), float in [0, 1] but for the degradation's overshoot, and the
            record id of each; returns SR images (batch, 1, scale x rows, scale x columns) on the same intensity scale.
        autoencoder: the one in whose latents a model works; None for all else.
        bits: the least of a pixel where the images are files; None where they are made in float.
        evaluations: of the network for an image, 0 without a network; None where the images are files.
        latents: whether `restore` returns the latents that a sampler drew, of `autoencoder`.
        intervals: whether it returns calibrated intervals.
    """

    name: str
    restore: "Callable[[Tensor, Sequence[str]], Restored[Tensor]]"
    autoencoder: "Autoencoder | None" = None
    bits: int | None = None
    evaluations: int | None = None
    latents: bool = False
    intervals: bool = False

    @classmethod
    def of(cls, name: str, upscaler: Upscaler, sampling: Sampling = Sampling()) -> "Method":
        """The upscaler's images with these options."""
        return cls(
            name, Restoring(upscaler, sampling), upscaler.autoencoder, evaluations=upscaler.evaluations(sampling),
            latents=upscaler.autoencoder is not None and sampling.samples == 1,
            intervals=not upscaler.uncalibrated(sampling),
        )  # fmt: skip


def bicubic(degradation: Degradation, *, projected: bool = False) -> Method:
    """Bicubic interpolation as a method of tables, under its own name; see Bicubic."""
    upscaler = Bicubic(degradation, projected=projected)
    return Method.of(upscaler.name, upscaler)

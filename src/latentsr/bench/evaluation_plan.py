"""An evaluation before it begins: what is compared on what, checked, and the key of its results."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, InstanceOf

from latentsr.autoencoders import Autoencoder
from latentsr.bench.inputs import Naming, Target, find_masks, origin
from latentsr.bench.measure import Surroundings, Work, check_methods, load_latent, load_reference
from latentsr.bench.methods import (
    Source,
    check_called,
    expanded,
    first_seeds,
    members,
    method_facts,
    parse_method,
    several,
)
from latentsr.config import Config, Count, Seed, sha256, sha256_json
from latentsr.data.records import Dataset, Record, check_names, is_safe_path, read_dataset, spread
from latentsr.degrade import Degradation, parse_degradation
from latentsr.device import resolve_device
from latentsr.errors import InputError, OptionError
from latentsr.metrics import METRICS, Metric, find_metrics
from latentsr.metrics.learned import learned_available, load_extractor, weights_file
from latentsr.names import BICUBIC, LR_PSNR
from latentsr.upscalers import UPSCALERS

MOST = 20  # groups of a dataset: more values are no groups, such as ages or names


def check_column(by: str | None, datasets: Sequence[Dataset], split: str) -> None:
    """OptionError unless some dataset has the column, and none more values of it than `MOST`."""
    if by is None:
        return
    there = dict.fromkeys(name for dataset in datasets for name in dataset.attributes)
    if by not in there:
        columns = f"there are {', '.join(there)}" if there else "there are none: prepare again with the option columns"
        raise OptionError(f"the option by is {by}: no such column in the datasets; {columns}")
    for dataset in datasets:
        if len(values := set(image_groups(dataset.select(split), by).values())) > MOST:
            raise OptionError(
                f"the option by is {by}: {len(values)} values in dataset '{dataset.name}'; expected groups, at most "
                f"{MOST}: put ranges into the column"
            )


def image_groups(records: Sequence[Record], by: str) -> Mapping[str, str]:
    """The group of each image by id; images without a value are not among them."""
    return {record.id: value for record in records if (value := record.attributes.get(by, ""))}


EVALUATION_FORMAT = 5  # of the tables


def _pairs(margins: object) -> object:
    """Pairs of a measure and its margin, also as a mapping, or as texts such as psnr=0.15."""
    if isinstance(margins, Mapping):
        return tuple(margins.items())
    if isinstance(margins, Sequence) and not isinstance(margins, str):
        try:
            return [
                (one.partition("=")[0], float(one.partition("=")[2])) if isinstance(one, str) else one
                for one in margins
            ]
        except ValueError:
            raise ValueError("a measure and a number each, such as psnr=0.15") from None
    return margins


class Comparison(Config):
    """What is compared, and how; of `methods` bicubic is always one, as the baseline.

    Attributes:
        methods: texts that `parse_method` reads, or what it makes of them. Methods NAME@SEED, or NAME@0..4 for a range,
            are seeds of one method NAME: their mean stands for it.
        split: which images.
        degradation: how LR is made from HR.
        metrics: names of METRICS; None: all that can be measured here.
        limit: images of each dataset, evenly spread; None: all.
        mean: the method that estimates the posterior mean, for the null-space part of the others.
        reference_autoencoder: name or folder of the autoencoder whose error is the noise floor of hallucination.
        latent: name or folder of the autoencoder in whose latents images are compared.
        keep_latents: the latents that each model's sampler drew are kept in the folder `latents`, and measured.
        masks: folder of a mask an image (named by id, not 0 inside the region of interest); None: those that the
            dataset was prepared with, if any.
        margins: (measure, margin) within which methods are tested to be equivalent; a mapping, or texts psnr=0.15, too.
        primary: the comparison that was specified in advance, as METHOD:MEASURE (METHOD against bicubic) or
            METHOD,OTHER:MEASURE; None: the first method after bicubic against it, in PSNR, or where that is not
            measured in the first measure that is and has a better side.
        pictured: the method by whose PSNR the best, median and worst images are chosen; None: the first after bicubic.
        by: the datasets' own column, such as scanner, by whose values subgroups are compared; None: none are.
        features: `inception` or a folder of a vision network, for FID and KID; None: Inception where its
            weights lie on this machine, else neither.
        protocol: "corrected", or "published": beside all else the scores and comparisons of the study arXiv 2604.12152
            as it made them (measures of the group `published`, the table `published`).
        seed: of the bootstrap and of drawn patches.
        batch: images at a time.
        workers: threads that measure while models restore; None: as many as cores, four at most.
        device: auto, cpu or cuda.
        show_ids: errors name images by id instead of a hash; warnings and pages never do.
    """

    methods: tuple[str | InstanceOf[Source], ...] = ()
    split: str = "valid"
    degradation: str = "bicubic:4"
    metrics: tuple[str, ...] | None = None
    limit: Count | None = None
    mean: str | None = None
    reference_autoencoder: str | None = None
    latent: str | None = None
    keep_latents: bool = False
    masks: Path | None = None
    margins: Annotated[tuple[tuple[str, float], ...], BeforeValidator(_pairs)] = ()
    primary: str | None = None
    pictured: str | None = None
    by: str | None = None
    features: str | None = None
    protocol: Literal["corrected", "published"] = "corrected"
    seed: Seed = 0
    batch: Count = 8
    workers: int | None = Field(None, ge=0)
    device: str = "auto"
    show_ids: bool = False


class Primary(NamedTuple):
    """The comparison that was specified in advance: methods a and b in a measure."""

    a: str
    b: str
    metric: str


@dataclass(frozen=True)
class EvaluationPlan:
    """A checked evaluation: `works` are the datasets' images under all methods, in the order of the datasets.

    `sources`, and the methods of `works`, have each seed apart.
    """

    works: tuple[Work, ...]
    sources: tuple[Source, ...]
    metrics: tuple[Metric, ...]
    around: Surroundings
    comparison: Comparison
    primary: Primary | None
    device: str
    facts: dict[str, Any]

    @property
    def key(self) -> str:
        """The digest of everything that decides the tables."""
        return sha256_json(self.facts)

    @property
    def names(self) -> tuple[str, ...]:
        """The methods' names, the baseline first, without HR; a method of several seeds once."""
        return tuple(self.members)

    @property
    def measured(self) -> tuple[str, ...]:
        """The names under which images are measured: each seed apart."""
        return tuple(source.name for source in self.sources)

    @cached_property
    def members(self) -> Mapping[str, tuple[str, ...]]:
        """By each method's name the names of its seeds; its own where it has not several."""
        return members(self.sources)

    @property
    def seeds(self) -> Mapping[str, tuple[str, ...]]:
        """The methods of several seeds, with the names of these."""
        return several(self.members)

    @property
    def first_seeds(self) -> tuple[Work, ...]:
        """The works with each method once: of several seeds the first, under the method's name."""
        return tuple(first_seeds(work, self.members) for work in self.works)

    @property
    def images(self) -> int:
        """How many images there are in all datasets."""
        return sum(len(work.records) for work in self.works)

    @property
    def chief(self) -> str:
        """The method that the pictures are chosen by: the one that was named, or the first that is no baseline."""
        return self.comparison.pictured or _first(self.names)


def plan_evaluation(given: Sequence[str | Path | Dataset], comparison: Comparison) -> EvaluationPlan:
    """The plan, if all can be done: models are loaded and files paired now, so that a fault shows before hours of work.

    Raises:
        OptionError: an unknown metric, method, degradation, device or option; a lossless reference autoencoder.
        InputError: no images in the split, two datasets of one name, HR sides that the degradation does not divide, HR
            files that changed, files that do not pair.
        ModelError: a model or autoencoder that is missing or broken.
    """
    asked: list[str | Source] = []
    for method in (BICUBIC, *comparison.methods):  # the baseline once, also where it is asked for
        asked += [method] if method not in asked else []
    asked = [one for method in asked for one in (expanded(method) if isinstance(method, str) else [method])]
    check_called(asked)  # before anything is loaded
    metrics = _chosen(comparison)
    degradation, device = parse_degradation(comparison.degradation), resolve_device(comparison.device)
    datasets = [one if isinstance(one, Dataset) else read_dataset(Path(one)) for one in given]
    check_names(datasets)
    check_column(comparison.by, datasets, comparison.split)
    for dataset in datasets:
        _check_sides(degradation, dataset, comparison)
    parse = partial(parse_method, degradation=degradation, device=device, loaded={})
    sources = tuple(one if isinstance(one, Source) else parse(one) for one in asked)
    names = list(members(sources))
    # OptionError for the name of no method; the posterior mean is one image, so none of several seeds, nor of them.
    measured = [source.name for source in sources]
    single = [name for name in names if name in measured]
    for option, name, there in (("mean", comparison.mean, single), ("pictured", comparison.pictured, names)):
        if name is not None and name not in there:
            raise OptionError(f"the option {option} is {name}: no such method; expected one of {', '.join(there)}")
    extractor = comparison.features or ("inception" if learned_available("inception") else None)
    around = Surroundings(
        degradation,
        load_reference(comparison.reference_autoencoder, device),
        load_latent(comparison.latent, device),
        comparison.mean,
        None if extractor is None else load_extractor(extractor, device),
        comparison.seed,
    )
    several = len(datasets) > 1
    for dataset in datasets:
        dataset.check(dataset.select(comparison.split))
    targets = [Target(d.select(comparison.split), Naming(d.name, comparison.show_ids), several) for d in datasets]
    bound = [
        _bind(dataset, target, sources, metrics, around, comparison)
        for dataset, target in zip(datasets, targets, strict=True)
    ]
    works = tuple(work for work, _ in bound)
    for work in works:
        check_methods(work.methods, comparison.batch)
    _check_possible(comparison, works)
    primary = _primary(comparison, members(sources), works)
    facts = _facts(comparison, works, sources, [hashes for _, hashes in bound], metrics, around, primary)
    return EvaluationPlan(works, sources, metrics, around, comparison, primary, device, facts)


def _check_sides(degradation: Degradation, dataset: Dataset, comparison: Comparison) -> None:
    """InputError that lists the images of the split, measured or not, of which no LR can be made."""
    records, divisor = dataset.select(comparison.split), degradation.divisor
    if wrong := [one.id for one in records if one.rows % divisor or one.columns % divisor]:
        naming = Naming(dataset.name, comparison.show_ids)
        raise InputError(
            f"dataset '{dataset.name}': {len(wrong)} of {len(records)} images have a side that is not a multiple of "
            f"{divisor}, as {degradation.text} needs ({naming.listed(wrong)}); prepare it again with the option "
            f"multiple {divisor}{naming.hint}"
        )


def compared(works: Sequence[Work], methods: Collection[str] = ()) -> list[str]:
    """The tidy names of the measures that compare methods and that on some dataset these have all, or any if none.

    In the order of the metrics.
    """
    shared: set[Metric] = set()
    for work in works:
        each = [set(work.measures(one)) for one in work.methods if one.name in methods or not methods]
        shared |= set.intersection(*each) if methods else set.union(*each)
    return [name for metric in works[0].metrics if metric.compared and metric in shared for name in metric.names]


def _primary(comparison: Comparison, members: Mapping[str, Sequence[str]], works: Sequence[Work]) -> Primary | None:
    """The comparison that stands first: as it was asked for, or by the rule; None where there is nothing to compare.

    OptionError for methods that there are not, or a measure that is not tested, as one without a better side: before
    the work, not after it.
    """
    text, names = comparison.primary, list(members)
    pair, _, metric = (_first(names), "", "") if text is None else text.rpartition(":")
    a, _, b = pair.partition(",")
    b = b or BICUBIC
    if text is not None and (a not in names or b not in names or a == b):
        raise OptionError(
            f"the option primary is '{text}': expected METHOD:MEASURE or METHOD,OTHER:MEASURE, such as "
            f"{names[-1]}:psnr, of methods {', '.join(names)}"
        )
    shared = compared(works, [members[name][0] for name in (a, b)])
    choice = [name for name in shared if METRICS[name.partition("/")[0]].better != "closer"]
    if text is None:
        metric = "psnr" if "psnr" in choice else next(iter(choice), "")
        return Primary(a, b, metric) if len(names) > 1 and metric else None
    if metric not in choice:
        raise OptionError(
            f"the option primary is '{text}': no test of '{metric}' here; choose from {', '.join(choice)}"
        )
    return Primary(a, b, metric)


def _first(names: Sequence[str]) -> str:
    """The first method that was given: no baseline if there is any other, bicubic if there is nothing else."""
    others = [name for name in names if name not in UPSCALERS]
    return (*others, *names[1:], names[0])[0]


def _check_possible(comparison: Comparison, works: Sequence[Work]) -> None:
    """OptionError for a margin that no two methods will be tested by, and for latents that cannot be kept.

    Before the work, not after it. A method that draws latents needs a name that a folder can have.
    """
    names, tested = [name for name, _ in comparison.margins], compared(works)
    if LR_PSNR in names:
        raise OptionError(
            f"the option margin has {LR_PSNR}, which is not tested, since a projection makes a result agree with its "
            "LR: that is how it was made, no finding; leave this margin out"
        )
    if unmeasured := [name for name in names if name not in tested]:
        choice = ", ".join(sorted(tested))
        raise OptionError(
            f"the option margin has {', '.join(unmeasured)}: will not be measured here; choose from {choice}"
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise OptionError(f"the option margin has {', '.join(twice)} twice: keep one")
    if wrong := [f"{name}={margin:g}" for name, margin in comparison.margins if not 0 < margin < float("inf")]:
        raise OptionError(f"the option margin has {', '.join(wrong)}: expected a positive number, such as psnr=0.15")
    drawing = dict.fromkeys(method.name for work in works for method in work.methods if method.latents)
    if comparison.keep_latents and not drawing:
        raise OptionError(
            "the option keep_latents is set, but no method is a model that draws one sample; leave it out"
        )
    if comparison.keep_latents and (wrong := [name for name in drawing if "/" in name or not is_safe_path(name)]):
        raise OptionError(
            f"method {', '.join(wrong)}: no name of a folder, in which its latents would be kept; rename it"
        )


def _chosen(comparison: Comparison) -> tuple[Metric, ...]:
    chosen = find_metrics(comparison.metrics)
    for metric in chosen:
        if metric.group == "learned":
            weights_file(metric.name)  # raises, with what to fetch
    published = comparison.protocol == "published"
    more = [
        metric
        for metric in METRICS.values()
        if (comparison.metrics is None and metric.group == "learned" and learned_available(metric.name))
        or (published and metric.group == "published")
        or ((published or comparison.keep_latents) and "sampled" in metric.needs)
    ]
    return tuple(dict.fromkeys((*chosen, *more)))


def _bind(
    dataset: Dataset,
    target: Target,
    sources: Sequence[Source],
    metrics: tuple[Metric, ...],
    around: Surroundings,
    comparison: Comparison,
) -> tuple[Work, dict[str, str]]:
    """The dataset under all methods, and the digests of the files that belong to it."""
    bound = {source.name: source.bind(target) for source in sources}
    masks = find_masks(comparison.masks, dataset, target)
    hashes = {name: hash for name, (_, hash) in bound.items() if hash}
    methods = tuple(bound[source.name][0] for source in sources)
    chosen = spread(target.records, comparison.limit)
    measured = {record.id for record in chosen}
    others = tuple(record for record in target.records if record.id not in measured)
    return Work(dataset, chosen, methods, metrics, around, masks, comparison.show_ids, others), hashes


def _facts(
    comparison: Comparison,
    works: Sequence[Work],
    sources: Sequence[Source],
    hashes: Sequence[dict[str, str]],
    metrics: Sequence[Metric],
    around: Surroundings,
    primary: Primary | None,
) -> dict[str, Any]:
    """Everything that decides the tables; no path and no id."""
    # SHA-256 of the weights that measures rest on, by measure, and of the feature extractor's files.
    found = {one.name: sha256(weights_file(one.name)) for one in metrics if one.group == "learned"}
    if around.extractor is not None:
        given = comparison.features or "inception"
        place = weights_file(given) if given == "inception" else Path(given)
        inside = [path for path in place.glob("[!.]*") if path.is_file()]
        named = {path.name: sha256(path) for path in sorted(inside)}
        found["features"] = sha256(place) if place.is_file() else sha256_json(named)
    return {
        "format": EVALUATION_FORMAT,
        "data": {work.dataset.name: work.dataset.hash for work in works},
        "methods": method_facts(sources),
        "files": {work.dataset.name: found for work, found in zip(works, hashes, strict=True) if found},
        "masks": {
            work.dataset.name: {"from": origin(comparison.masks), "hash": work.masks.hash}
            for work in works
            if work.masks is not None
        },
        "weights": found,
        "split": comparison.split,
        "limit": comparison.limit,
        "degradation": around.degradation.text,
        "metrics": [metric.name for metric in metrics],
        "mean": comparison.mean,
        "reference_autoencoder": _autoencoder_facts(around.reference),
        "latent": _autoencoder_facts(around.latent),
        "features": None if around.extractor is None else Path(comparison.features or "inception").name,
        "margins": dict(comparison.margins),
        "primary": None if primary is None else primary._asdict(),
        "pictured": comparison.pictured,
        "by": comparison.by,
        "seed": comparison.seed,
        **({"protocol": comparison.protocol} if comparison.protocol != "corrected" else {}),
        **({"keep_latents": True} if comparison.keep_latents else {}),
    }


def _autoencoder_facts(autoencoder: Autoencoder | None) -> dict[str, str] | None:
    return None if autoencoder is None else {"name": autoencoder.spec.name, "hash": autoencoder.hash}

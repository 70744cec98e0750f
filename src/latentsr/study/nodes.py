"""The jobs of a study as the nodes of a graph: what each needs, what it is made of, and how it is run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from latentsr.autoencoders import load_autoencoder
from latentsr.autoencoders.protocol import CATALOGUE
from latentsr.autoencoders.store import find
from latentsr.bench import Screening, parse_candidates, plan_screening, screen
from latentsr.bench.evaluation import Comparison, compare
from latentsr.config import checked, layered, sha256_json
from latentsr.data.latents import fill_cache, open_cache
from latentsr.data.prepare import prepare, prepare_cases
from latentsr.data.recipes import RECIPES
from latentsr.data.records import read_dataset
from latentsr.degrade import parse_degradation
from latentsr.device import resolve_device
from latentsr.errors import InputError, LatentSRError, ModelError, OptionError, suggestion
from latentsr.provenance import PIXELS
from latentsr.study.design import Arm, Design
from latentsr.training.autoencoder import FitVaeConfig, fit_autoencoder
from latentsr.training.autoencoder import published_preset as adaptation_preset
from latentsr.training.denoiser import TrainConfig, published_preset
from latentsr.training.fit_denoiser import fit_denoiser
from latentsr.training.trainer import Progress
from latentsr.upscalers import UPSCALERS, Sampling, load_upscaler
from latentsr.upscalers.model import SuperResolver

STEPS = ("prepare", "fit-vae", "screen", "encode", "train", "measure")


@dataclass(frozen=True)
class Node:
    """One job of a study.

    Attributes:
        step: one of STEPS.
        name: what it makes, in words that name a folder; follows from the options and needs.
        options: all that decides its result, but for the results it needs; plain values.
        needs: the jobs whose results it takes.
    """

    step: str
    name: str
    options: Mapping[str, Any]
    needs: tuple["Node", ...] = ()

    @cached_property
    def key(self) -> str:
        """The digest of all that decides its result."""
        made_of = {"step": self.step, "options": self.options, "needs": [node.key for node in self.needs]}
        return sha256_json({**made_of, "pixels": PIXELS})

    @property
    def place(self) -> str:
        """Its folder below the study's; equal jobs of several arms, or of several designs, have one."""
        return f"{self.step}/{self.name}-{self.key[:10]}"

    def run(self, root: Path, *, device: str, progress: Progress) -> None:
        """Does the job in the study's folder `root`, or goes on with it; raises what the job raises."""
        options, out, where = self.options, root / self.place, resolve_device(device)
        data = [root / need.place for need in self.needs if need.step == "prepare"]
        autoencoder = str(options.get("autoencoder") or root / self.needs[-1].place) if "role" in options else ""
        if self.step == "fit-vae":
            own = {**options["options"], **({"init": autoencoder} if autoencoder else {})}
            datasets = [read_dataset(one) for one in data]
            config = layered(own, adaptation_preset(datasets) if options["preset"] else {})
            fit_autoencoder(datasets, out, checked(FitVaeConfig, config, self.name), device=device, progress=progress)
            return
        if self.step == "train":
            cache = open_cache(root / self.needs[0].place)
            fit_denoiser(cache, out, train_config(self, root), device=device, progress=progress)
            return
        with progress(self.step, resumes=self.step != "prepare") as report:
            if self.step == "prepare":
                recipe, source = RECIPES[options["recipe"]], Path(options["source"])
                if isinstance(recipe, type):
                    prepare_cases(options["recipe"], recipe(**options["options"]), source, out, progress=report)
                else:
                    name = str(options["name"])
                    prepare(options["recipe"], source, out, name=name, progress=report, **options["options"])
            elif self.step == "screen":
                candidates = parse_candidates([f"{options['role']}={autoencoder}"])
                asked = checked(Screening, {"split": options["split"], **options["options"]}, self.name)
                plan = plan_screening([read_dataset(one) for one in data], candidates, asked, device=where)
                screen(plan, out, device=where, progress=report)
            elif self.step == "encode":
                fill_cache(
                    [read_dataset(one) for one in data], load_autoencoder(autoencoder, device=where),
                    parse_degradation(options["degradation"]), out, conditions=options["conditions"], device=where,
                    draw=options["draw"], released=Path(options["released"]) if options["released"] else None,
                    progress=report,
                )  # fmt: skip
            else:
                compare(data, out, _comparison(self, root, device), progress=report)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.key == other.key


def nodes_of(design: Design) -> dict[str, tuple[Node, ...]]:
    """The last jobs of each arm, and of the screening under "screen"; the jobs before them are their needs.

    All options are checked now, and that sources and weights are there: OptionError, InputError or ModelError says
    which arm lacks what, before hours of work.
    """
    datasets = {}
    for name, own in design.datasets.items():
        parse_degradation(design.degradation_of(name))
        if own.recipe not in RECIPES:
            valid = ", ".join(RECIPES)
            raise OptionError(f"dataset {name}: recipe {own.recipe}, expected {valid}{suggestion(own.recipe, RECIPES)}")
        if own.source is None:
            raise OptionError(f"dataset {name}: no source; set the option source to {name}=FOLDER")
        if not own.source.exists():
            raise InputError(f"dataset {name}: no source {own.source}; set the option source to {name}=FOLDER")
        facts = {"name": name, "recipe": own.recipe, "source": str(own.source.resolve()), "options": own.options}
        datasets[name] = Node("prepare", name, facts)
    autoencoders: dict[str, Node | str] = {}
    for name in design.autoencoders:
        _resolve(name, design, datasets, autoencoders, ())
    ends = {name: tuple(_measured(name, arm, design, datasets, autoencoders)) for name, arm in design.arms.items()}
    if design.screen is not None:
        checked(Screening, design.screen, "screen")
        ends["screen"] = tuple(
            _with_autoencoder(
                "screen", f"{name}-{dataset}", {"options": design.screen, "split": design.datasets[dataset].split},
                (prepared,), name, autoencoders[name],
            )
            for name in design.autoencoders
            for dataset, prepared in datasets.items()
        )  # fmt: skip
    return ends


def before(nodes: Sequence[Node]) -> Iterator[Node]:
    """The nodes with all that they need, each once, what is needed before what needs it."""
    seen: set[Node] = set()

    def visit(node: Node) -> Iterator[Node]:
        if node not in seen:
            seen.add(node)
            for need in node.needs:
                yield from visit(need)
            yield node

    for node in nodes:
        yield from visit(node)


def jobs_of(ends: Mapping[str, Sequence[Node]]) -> list[Node]:
    """All jobs of some arms, of which the last of each are given, in an order in which they can be done."""
    return list(before([node for last in ends.values() for node in last]))


def measured_model(node: Node, root: Path) -> str:
    """The folder of the model, or the name of the upscaler, that a job measures."""
    return str(next((root / need.place for need in node.needs if need.step == "train"), node.options["upscaler"]))


def _resolve(
    name: str, design: Design, datasets: Mapping[str, Node], found: dict[str, Node | str], heirs: tuple[str, ...],
) -> Node | str:  # fmt: skip
    """The job that fits an autoencoder, or the name or folder of one that exists; `found` keeps it."""
    if name in found:
        return found[name]
    if name in heirs:
        raise OptionError(f"autoencoder {name}: begins with {heirs[-1]}, which begins with it; choose another init")
    own = design.autoencoders[name]
    if own.fit is None:
        found[name] = _existing(own.name or name, f"autoencoder {name}")
        return found[name]
    options = dict(own.fit)
    facts: dict[str, Any] = {"name": name, "preset": own.preset}
    checked(FitVaeConfig, options, f"autoencoder {name}")
    needs = tuple(datasets[dataset] for dataset in own.datasets)
    init = options.get("init")
    if init in design.autoencoders:
        start = _resolve(init, design, datasets, found, (*heirs, name))
        facts["options"] = options | {"init": None}
        found[name] = _with_autoencoder("fit-vae", name, facts, needs, "init", start)
    else:
        options |= {"init": _existing(init, f"autoencoder {name}: init")} if init else {}
        found[name] = Node("fit-vae", name, {**facts, "options": options}, needs)
    return found[name]


def _existing(name: str, what: str) -> str:
    """The name, or the folder's path, of an autoencoder that is on this machine; ModelError otherwise."""
    if Path(name).is_dir():
        return str(Path(name).resolve())
    try:
        if name not in CATALOGUE or find(name) is None:
            load_autoencoder(name)  # of code alone, or the error that says what is missing
    except ModelError as error:
        raise ModelError(f"{what}: {error}") from error
    return name


def _loads(name: str, what: str, load: Callable[..., object] = load_upscaler) -> None:
    """Raises what loading it raises, after `what` it is for."""
    try:
        load(name, device="cpu")
    except LatentSRError as error:
        raise type(error)(f"{what}: {error}") from error


def _with_autoencoder(
    step: str, name: str, options: Mapping[str, Any], needs: tuple[Node, ...], role: str, autoencoder: Node | str
) -> Node:
    """A job with an autoencoder: the last of its needs, or named by the option `autoencoder`."""
    if isinstance(autoencoder, Node):
        return Node(step, name, {**options, "role": role}, (*needs, autoencoder))
    return Node(step, name, {**options, "role": role, "autoencoder": autoencoder}, needs)


def _measured(
    name: str, arm: Arm, design: Design, datasets: Mapping[str, Node], autoencoders: Mapping[str, Node | str]
) -> Iterator[Node]:
    """The jobs that measure an arm, by dataset and seed, each over all samplings."""
    for sampling, options in arm.samplings.items():
        checked(Sampling, options, f"arm {name}: sampling {sampling}")
    if arm.upscaler is not None:
        _loads(arm.upscaler, f"arm {name}")
    base = {key: value for key, value in {**design.measure, **arm.measure}.items() if value is not None}
    references = {
        key: autoencoders.get(other) or _existing(other, f"arm {name}: {key}")
        for key in ("reference_autoencoder", "latent")
        if (other := base.pop(key, None))
    }
    fitted = {key: one for key, one in references.items() if isinstance(one, Node)}
    checked(Comparison, base, f"arm {name}: measure")
    if own := sorted({"methods", "split", "degradation"} & base.keys()):
        raise OptionError(f"arm {name}: measure has {', '.join(own)}, which the study sets; leave it out")
    models = _trained(name, arm, design, datasets, autoencoders) if arm.autoencoder else [(arm.datasets, None)]
    for on, model in models:
        label = model.name if model else Path(str(arm.upscaler)).stem
        for dataset in on:
            options = {
                "samplings": arm.samplings, "options": base, "split": design.datasets[dataset].split,
                "degradation": design.degradation_of(dataset), "upscaler": arm.upscaler,
                "references": {key: one for key, one in references.items() if key not in fitted},
                "fitted": list(fitted),
            }  # fmt: skip
            needs = (datasets[dataset], *([model] if model else []), *fitted.values())
            yield Node("measure", f"{label}-on-{dataset}", options, needs)


def _trained(
    name: str, arm: Arm, design: Design, datasets: Mapping[str, Node], autoencoders: Mapping[str, Node | str]
) -> Iterator[tuple[tuple[str, ...], Node]]:
    """(datasets that are measured, training) for each of an arm's trainings."""
    if arm.preset is None:
        checked(TrainConfig, arm.train, f"arm {name}: train")
    for key in arm.train.keys() - TrainConfig.model_fields.keys():  # which the preset's options do not decide
        valid = TrainConfig.model_fields
        raise OptionError(f"arm {name}: train has {key}; expected {', '.join(valid)}{suggestion(key, valid)}")
    vae, base, bases = str(arm.autoencoder), arm.train.get("base"), {}
    if base in design.arms:
        if base == name or design.arms[base].train.get("base") is not None:
            raise OptionError(f"arm {name}: base {base} refines a model itself; choose one that refines none")
        theirs = str(design.arms[base].autoencoder)
        # A job that fits an autoencoder, not yet done, loses something.
        both = [autoencoders.get(one) for one in (vae, theirs)]
        if theirs != vae and not all(isinstance(one, str) and load_autoencoder(one).spec.lossless for one in both):
            raise OptionError(
                f"arm {name}: base {base} is trained in the latents of {theirs}, not of {vae}; choose one that is, or "
                "two that lose nothing"
            )
        found = _trained(base, design.arms[base], design, datasets, autoencoders)
        bases = {(on, node.options["options"]["seed"]): node for on, node in found}
    elif base is not None:
        _loads(str(base), f"arm {name}: base", SuperResolver.load)
    for group in [arm.datasets] if arm.joint else [(one,) for one in arm.datasets]:
        encoded = _with_autoencoder(
            "encode", f"{vae}-{'-'.join(group)}",
            {"degradation": design.degradation_of(group[0]), **arm.encode.model_dump(mode="json")},
            tuple(datasets[one] for one in group), vae, autoencoders[vae],
        )  # fmt: skip
        for seed in arm.seeds:
            own = {**arm.train, "seed": seed}
            needs: tuple[Node, ...] = (encoded,)
            if bases:
                if (group, seed) not in bases:
                    raise OptionError(f"arm {name}: base {base} is not trained on {', '.join(group)} with seed {seed}")
                del own["base"]
                needs += (bases[group, seed],)
            yield group, Node("train", f"{encoded.name}-seed{seed}", {"preset": arm.preset, "options": own}, needs)


def train_config(node: Node, root: Path) -> TrainConfig:
    """The options of a training, whose cache is there."""
    preset = published_preset(open_cache(root / node.needs[0].place)) if node.options["preset"] else {}
    options = dict(node.options["options"])
    if len(node.needs) > 1:
        options["base"] = str(root / node.needs[1].place)
    return checked(TrainConfig, layered(options, preset), node.name)


def _comparison(node: Node, root: Path, device: str) -> Comparison:
    """The options of an evaluation, whose model and autoencoders are there."""
    options, model = node.options, measured_model(node, root)
    fitted = [need for need in node.needs if need.step == "fit-vae"]
    references = dict(options["references"])
    references |= {key: str(root / need.place) for key, need in zip(options["fitted"], fitted, strict=True)}
    methods = [f"{name}={model}?{urlencode(own)}".rstrip("?") for name, own in options["samplings"].items()]
    asked = {
        "methods": [model] if model in UPSCALERS else methods, "split": options["split"],
        "degradation": options["degradation"], "device": device, **references, **options["options"],
    }  # fmt: skip
    return checked(Comparison, asked, node.name)

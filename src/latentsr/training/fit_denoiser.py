"""Training of a denoiser on a latent cache to a model folder, with the calibration of its samples and a model card."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from latentsr import __version__
from latentsr.atomic import replacing
from latentsr.autoencoders import load_autoencoder
from latentsr.autoencoders.encoding import from_network
from latentsr.autoencoders.haar import WithoutFiles
from latentsr.config import manifest, write_json, write_yaml
from latentsr.data.latents import LatentCache
from latentsr.degrade import parse_degradation
from latentsr.device import resolve_device
from latentsr.diffusion.denoiser import Denoiser
from latentsr.diffusion.process import ONE_STEP
from latentsr.diffusion.published import PublishedSampling
from latentsr.errors import InputError, OptionError, StaleError
from latentsr.job import JobFolder, run_folder
from latentsr.provenance import RESEARCH_USE
from latentsr.training.crops import Flip, LatentCrops, OtherDegradations
from latentsr.training.denoiser import (
    DenoiserTraining,
    TrainConfig,
    ValidationImages,
    denoiser_spec,
    latent_space,
    refined_space,
    resolved,
)
from latentsr.training.generator import GeneratorTraining
from latentsr.training.trainer import Budget, Ema, LastCheckpoint, Progress, make_trainer, silent, train
from latentsr.upscalers import CONFIG, Sampling
from latentsr.upscalers.inputs import TrainedInputs
from latentsr.upscalers.model import BASE, SuperResolver, save_model
from latentsr.upscalers.restorer import AS_DRAWN, ModelConfig, Parent, Restorer, SpreadCalibration, fit_calibration

IMAGES = 32
REFINING_STEPS = 5  # of a sample that refines a base's estimate, that one included


def calibrated_spread(
    restorer: Restorer, cache: LatentCache, *, images: int = IMAGES, batch: int = 4, seconds: float = math.inf,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SpreadCalibration | None:  # fmt: skip
    """The calibration from training images spread evenly over the cache; None for a model without posterior mean.

    The truth is the decoded HR latent, so that a lossy autoencoder's own error is not taken for missing detail. No
    batch but the first is begun that would not end within `seconds`; each is spread over the whole cache.
    """
    if not restorer.has_mean:
        return None
    ids, hr, begin = cache.ids("train"), cache.array("train", "hr"), time.monotonic()
    rows = [int(i) for i in np.linspace(0, len(ids) - 1, min(images, len(ids)))]
    batches = -(-len(rows) // batch)
    errors: list[Tensor] = []
    distances: list[Tensor] = []
    for number in range(batches):
        progress(sum(map(len, errors)), len(rows))
        part = rows[number::batches]
        latents = torch.from_numpy(np.array(hr[part])).to(restorer.device)
        truth = from_network(restorer.autoencoder.decode(latents).cpu())
        lr = restorer.degradation.apply(truth)
        mean, drawn = restorer.mean_and_sample(lr, ids=[ids[row] for row in part], sampling=Sampling(realism=1))
        errors.append(truth - mean)
        distances.append(drawn - mean)
        if (time.monotonic() - begin) * (number + 2) / (number + 1) > seconds:
            break
    progress(sum(map(len, errors)), len(rows))
    return fit_calibration(torch.cat(errors), torch.cat(distances))


def calibration_seconds(restorer: Restorer, cache: LatentCache) -> float:
    """How long `calibrated_spread` will take, judged by one image; an eighth more for scores and files."""
    begin = time.monotonic()
    calibrated_spread(restorer, cache, images=1)
    return 1.125 * min(IMAGES, len(cache.ids("train"))) * (time.monotonic() - begin)


def model_card(model: ModelConfig, config: TrainConfig, facts: Mapping[str, Any]) -> str:
    """The card as Markdown; `facts` are the steps, minutes, images a dataset and validation scores of the run."""
    images = "\n".join(f"| {name} | {count} |" for name, count in facts["images"].items())
    scores = "\n".join(f"| {name} | {value:.2f} dB |" for name, value in facts["validation"].items())
    origins = "".join(
        f"\n| {what} | {one.name}, SHA-256 {one.hash} |"
        for what, one in (("fine-tuned from", model.parent), ("refines", model.base)) if one is not None
    )  # fmt: skip
    if config.degradations:
        origins += f"\n| LR of half of the crops | made by {', '.join(f'`{one}`' for one in config.degradations)} |"
    if model.band_gains != AS_DRAWN:
        origins += f"\n| gains of a sample's bands, coarse to fine | {', '.join(map(str, model.band_gains))} |"
    channels = ", ".join(map(str, model.denoiser.channels))
    if model.denoiser.family == "regression":
        what, validated = "A regression network", ""
        network, learns = f"EDSR, {config.layers} blocks of {channels} channels", f"pixels, {config.loss}"
        made_up = "It gives one estimate and makes nothing up at random; fine detail that it cannot know is smooth."
    else:
        what, mean = "A latent diffusion model", model.process.has_mean and model.base is None
        validated = "posterior mean, " if mean else "a sample of more than "
        network = f"UNet, channels {channels}, {config.layers} layers a block"
        learns = f"{config.objective} on the {config.schedule} schedule"
        if model.denoiser.family == "generator":
            what = "A generator"
            network = f"EDSR's body of noise and condition, {config.layers} blocks of {channels} channels"
            terms = {"a discriminator": config.adversarial, "the distance of patches": config.texture}
            weighed = "".join(f", {term} of weight {weight:g}" for term, weight in terms.items() if weight)
            learns = f"its base's error in one evaluation, by the local contrast and energy score of two draws{weighed}"
        made_up = "Part of what this model adds to an image is made up."
    return f"""# {model.name}

**{RESEARCH_USE}** {made_up}

{what} for medical image super-resolution, made by latentsr {__version__}.

| | |
|---|---|
| undoes | `{model.degradation}` |
| latent space | `{model.autoencoder}`, {model.denoiser.latent_channels} channels |
| network | {network} |
| learns | {learns}; target: {model.space.target} |
| condition | {", ".join(model.space.conditions)} |
| trained | {facts["steps"]} steps of {config.batch} crops of {config.crop} latent px, {facts["minutes"]} minutes |
| HR size | {model.size[0]} x {model.size[1]} px |{origins}

| training set | images |
|---|---|
{images}

Validation images at the end of training ({validated}one evaluation):

| measure | value |
|---|---|
{scores}

Not for: diagnosis; modalities, body parts, spacings or degradations other than those above; measuring lesions.
"""


VALIDATION_IMAGES, VALIDATION_BATCH = 16, 8
LEAST_CALIBRATION = 60.0  # seconds that a calibration may take after a short training
LIMITS, OPTIONS, CHECKPOINTS = ("steps", "minutes"), "train.yaml", "checkpoints"
State = Literal["new", "unfinished", "finished", "extended"]


def fit_denoiser(
    cache: LatentCache, out: Path, config: TrainConfig, *, device: str = "auto", devices: int = 1,
    modalities: tuple[str, ...] = (), validation_images: int = VALIDATION_IMAGES, progress: Progress = silent,
) -> Path:  # fmt: skip
    """The model folder `out`, made by training on `cache`; logs, pictures and checkpoint lie in `out`.run.

    A killed training goes on from its last checkpoint, a finished one if `steps` or `minutes`, which include the
    calibration, are more than before. StaleError for other options, scores or another cache than those of `out`,
    InputError for an altered array of the cache, or NaN in it. `modalities` are the DICOM codes of the images.
    """
    out, run = out.resolve(), run_folder(out)
    where = resolve_device(device)
    if config.adversarial and devices > 1:
        raise OptionError(f"adversarial with devices {devices}: its discriminator learns on one; set devices to 1")
    parent = None if config.init is None else SuperResolver.load(config.init, device="cpu")
    refined = config.base or (None if parent is None or parent.base is None else parent.folder / BASE)
    base = None if refined is None else SuperResolver.load(refined, device=where)
    config = resolved(config, cache, base)
    kind = GeneratorTraining if config.family == "generator" else DenoiserTraining
    facts = {"config": config.facts, "cache": cache.hash, **kind.scored()}
    facts |= {name: model.hash for name, model in (("parent", parent), ("base", base)) if model is not None}
    fix, decided_by = f"remove {out} and {run}", "options, cache or scores"
    folder = JobFolder(run, "training", "facts.json", frozenset(), decided_by, shared=True, fix=fix)
    state, earlier = training_state(folder, out, facts)
    if state == "finished":
        return out
    model = model_config(cache, config, out.name, modalities, parent, base)
    model = model.model_copy(update={"inputs": trained_inputs(cache, config, parent, base)})
    restorer = _restorer(model, config.seed, cache, where, parent, base)
    crops, valid = _samples(cache, restorer, config, validation_images)
    budget, ema = Budget(config.steps, config.minutes), Ema(config.ema)
    checkpoint = LastCheckpoint(run / CHECKPOINTS, facts, earlier=earlier)
    module = kind(restorer, config, budget, run / "pictures")
    with progress("train", unit="steps", resumes=True) as report:
        trainer = make_trainer(run, config, budget, ema, checkpoint, report=report, device=device, devices=devices)
        if state == "new":
            write_yaml(config, run / OPTIONS)
        if config.minutes is not None and config.calibrate:
            budget.reserve(calibration_seconds(restorer, cache))
        train(trainer, module.train(), crops, valid, checkpoint, config)
    if not trainer.is_global_zero:
        return out
    module.network.load_state_dict(ema.weights())
    module.network.to(restorer.device).eval()  # Lightning leaves it on the CPU
    if config.calibrate:
        with progress("calibrate") as report:  # never longer than a tenth of the training
            seconds = min(budget.left(), max(LEAST_CALIBRATION, budget.elapsed() / 10))
            spread = calibrated_spread(restorer, cache, seconds=seconds, progress=report)
            model = model.model_copy(update={"spread": spread})
    results: dict[str, Any] = {
        "steps": trainer.global_step, "minutes": round(budget.elapsed() / 60, 1), "cache": cache.hash,
        "images": dict(Counter(cache.datasets("train"))), "validation": module.mean_scores(valid),
    }  # fmt: skip
    seen = {*cache.digests}.union(*(one.training_images for one in (parent, base) if one is not None))
    _write_model(out, run, model, restorer, config, results, seen)
    write_yaml(config, run / OPTIONS)
    folder.finish(facts)
    return out


def trained_inputs(
    cache: LatentCache, config: TrainConfig, *earlier: SuperResolver | None, most: int = 2**24
) -> TrainedInputs | None:
    """What LR of a training looks like, by training set, with what the models that it began with were trained on.

    Of each set images of so many pixels at most are read. There are no statistics where the cache has no LR in pixels,
    or where the training makes LR by further degradations. None where nothing is known.
    """
    sets: dict[str, Tensor] = {}
    if cache.has("train", "pixels") and not config.degradations:
        names, lr = np.array(cache.datasets("train")), cache.array("train", "pixels")
        for name in dict.fromkeys(names.tolist()):
            rows = np.flatnonzero(names == name)
            images = max(1, min(len(rows), most // math.prod(lr.shape[-2:])))
            rows = rows[np.linspace(0, len(rows) - 1, images).round().astype(int)]
            sets[name] = from_network(torch.from_numpy(lr[rows]))
    scale, spacing = parse_degradation(cache.manifest["degradation"]).scale, cache.spacing
    own = TrainedInputs.of(sets, None if spacing is None else (spacing[0] * scale, spacing[1] * scale))
    made = own.with_earlier(one.inputs for one in earlier if one is not None)
    made = (
        made.model_copy(update={"kinds": {}}) if config.degradations else made
    )  # an earlier model's LR was of one kind
    return made if made.kinds or made.spacing else None


def _write_model(
    out: Path, run: Path, model: ModelConfig, restorer: Restorer, config: TrainConfig, results: Mapping[str, Any],
    seen: Iterable[str],
) -> None:  # fmt: skip
    """The manifest and the model folder, whole before an earlier one makes room; `seen`: digests of images."""
    finite = {name: value for name, value in results["validation"].items() if math.isfinite(value)}
    write_json(run / "manifest.json", manifest(**{**results, "validation": finite}))
    with replacing(out, over_folder=True) as fresh:
        save_model(
            fresh, model, restorer.denoiser.state_dict(), card=model_card(model, config, results),
            autoencoder=restorer.autoencoder.folder, dtype=getattr(torch, config.weights), training_images=seen,
            base=restorer.base.folder if isinstance(restorer.base, SuperResolver) else None,
        )  # fmt: skip


def training_state(folder: JobFolder, out: Path, facts: Mapping[str, Any]) -> tuple[State, dict[str, Any] | None]:
    """Where the training of these facts stands, and the facts of the finished training that it extends, if it does.

    It is "new" without a checkpoint, "unfinished" with one; "finished" if `out` is its model, and "extended" if `out`
    is the model of fewer `steps` or `minutes`. StaleError if `out` is something else, or the last checkpoint of a
    training to be extended is missing. The checkpoint of another training is refused when it is loaded.
    """
    begun = (folder.root / CHECKPOINTS / "last.ckpt").is_file()
    if not out.exists() or (begun and not folder.whole and (out / CONFIG).is_file()):  # killed before its record
        return "unfinished" if begun else "new", None
    earlier = folder.finished()
    asked, done = dict(facts["config"]), dict(earlier.get("config", {}))
    limits = [(asked.pop(name), done.pop(name, None)) for name in LIMITS]
    if {**facts, "config": asked} != {**earlier, "config": done}:
        raise folder.other()
    if not any(before is not None and (now is None or now > before) for now, before in limits):
        return "finished", None
    if not begun:
        raise StaleError(
            f"{folder.root}: its last checkpoint is missing, so that the finished training cannot be extended; "
            "choose another output folder to train anew"
        )
    return "extended", earlier


def _samples(
    cache: LatentCache, restorer: Restorer, config: TrainConfig, validation_images: int
) -> tuple[LatentCrops, DataLoader]:
    """The samples to train and to validate on; InputError unless their arrays are as `encode` wrote them."""
    flip: Flip = torch.flip  # the study flips latents as they are
    if isinstance(restorer.autoencoder, WithoutFiles) and not config.published:
        flip = restorer.autoencoder.flip
    others = None
    if config.degradations:
        others = OtherDegradations(
            config.degradations, restorer.degradation, restorer.roles, load_autoencoder(cache.autoencoder)
        )  # fmt: skip
    crops = LatentCrops(
        cache, restorer.config.space, crop=config.crop, pure_noise_share=config.pure_noise_share, seed=config.seed,
        flip=flip if config.flips else None, others=others, detail=config.detail,
    )  # fmt: skip
    images = ValidationImages(cache, validation_images)
    own = [("valid", role) for role in ("image", "lr") if images.ids and cache.has("valid", role)]
    cache.check([*(("train", role) for role in crops.arrays), *own])
    return crops, DataLoader(images, batch_size=VALIDATION_BATCH)


def _restorer(
    model: ModelConfig, seed: int, cache: LatentCache, device: str, parent: SuperResolver | None,
    base: SuperResolver | None,
) -> Restorer:  # fmt: skip
    """The network at the start of the training, with the weights of the seed or of the parent, ready to restore."""
    autoencoder = load_autoencoder(cache.autoencoder, device=device)
    if autoencoder.hash != cache.manifest["autoencoder"]:
        raise InputError(f"{cache.root}: its autoencoder is not that of its latents; run 'encode' again")
    of_pixels = {"family regression": model.denoiser.family == "regression", "one evaluation": model.solver == ONE_STEP}
    for what in (what for what, asked in of_pixels.items() if asked and not autoencoder.spec.lossless):
        raise OptionError(
            f"{what} on latents of {model.autoencoder}, which loses detail: encode with the autoencoder haar"
        )
    torch.manual_seed(seed)
    network = Denoiser(model.denoiser)
    if parent is not None:
        network.load_state_dict(parent.denoiser.state_dict())
    return Restorer(model, network, autoencoder, device, base=base)


def model_config(
    cache: LatentCache, config: TrainConfig, name: str, modalities: tuple[str, ...] = (),
    parent: SuperResolver | None = None, base: SuperResolver | None = None,
) -> ModelConfig:  # fmt: skip
    """What a training on `cache` makes, but for its weights.

    From a `parent` come the latent statistics, on which its weights depend, the names of its training sets, and the
    gains of bands unless the options have some; OptionError, which says what differs, unless autoencoder, conditions,
    target, objective, schedule and network agree. Conditions and degradation of a `base` must agree, too, and the
    autoencoder unless both lose nothing.
    """
    autoencoder = load_autoencoder(cache.autoencoder)
    if config.family == "generator" and base is None:
        raise OptionError(f"one evaluation with init {config.init}: that model has no base; give one that has")
    if base is not None:
        if not base.has_mean or base.base is not None:
            raise OptionError(f"base {base.name}: estimates no posterior mean of its own; choose a model that does")
        if config.crop % base.multiple:
            raise OptionError(f"crop {config.crop}: expected a multiple of {base.multiple}, as base {base.name} needs")
        own: dict[str, Any] = {"conditions": base.config.space.conditions, "degradation": base.config.degradation}
        kind: dict[str, Any] = {"conditions": config.conditions, "degradation": cache.manifest["degradation"]}
        if not (autoencoder.spec.lossless and base.autoencoder.spec.lossless):
            own["autoencoder"], kind["autoencoder"] = base.config.autoencoder_hash, autoencoder.hash
        elif autoencoder.spec.factor != base.autoencoder.spec.factor:
            own["factor"], kind["factor"] = base.autoencoder.spec.factor, autoencoder.spec.factor
        _check_form(f"base {base.name}: a model of another kind", own, kind)
    process: dict[str, Any] = {"solver": "euler" if config.schedule == "flow" else "dpm++"}
    if base is not None:
        process |= {"realism": 1.0, "steps": REFINING_STEPS}
    if config.family == "generator":
        gains = config.band_gains or (AS_DRAWN if parent is None else parent.config.band_gains)
        process |= {"solver": ONE_STEP, "steps": 2, "band_gains": gains}
    if config.published:
        published = PublishedSampling(table=config.schedule, zlr_init=config.zlr_init)
        process = {"solver": "published", "published": published, "realism": 1.0}
    model = ModelConfig(
        name=name, degradation=cache.manifest["degradation"], autoencoder=cache.manifest["autoencoder_name"],
        autoencoder_hash=cache.manifest["autoencoder"], denoiser=denoiser_spec(cache, config, base),
        space=latent_space(cache, config) if base is None else refined_space(cache, autoencoder, base, config),
        base=None if base is None else Parent(name=base.name, hash=base.hash), objective=config.objective,
        schedule=config.schedule, **process,
        trained_on=tuple(sorted({*cache.datasets("train"), *(base.config.trained_on if base else ())})),
        modalities=modalities, size=tuple(cache.manifest["size"]),
    )  # fmt: skip
    if parent is None:
        return model
    _check_form(f"init {parent.name}: a network of another form", _form(parent.config), _form(model))
    return model.model_copy(
        update={
            "space": parent.config.space,
            "parent": Parent(name=parent.name, hash=parent.hash),
            "trained_on": tuple(sorted({*model.trained_on, *parent.config.trained_on})),
        }
    )


def _form(model: ModelConfig) -> dict[str, Any]:
    """What two models must have in common for the weights of one to serve the other."""
    return {
        "autoencoder": f"{model.autoencoder} ({model.autoencoder_hash[:12]})",
        "conditions": model.space.conditions,
        "target": model.space.target,
        "objective": model.objective,
        "schedule": model.schedule,
        "published": model.published is not None,
        "one evaluation": model.solver == ONE_STEP,
        **dict(model.denoiser),
    }


def _check_form(what: str, own: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """OptionError, which says what differs, unless a model's own form is that which is asked for."""
    differing = [f"{name} is {asked[name]}, its own {own[name]}" for name in asked if asked[name] != own[name]]
    if differing:
        raise OptionError(
            f"{what} ({'; '.join(differing)}); set the model's own options and encode with its autoencoder and "
            "conditions, or train without it"
        )

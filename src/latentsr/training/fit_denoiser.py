"""Training of a denoiser on a latent cache to a model folder, with the calibration of its samples and a model card."""

import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from latentsr import __version__
from latentsr.autoencoders import Autoencoder, load_autoencoder
from latentsr.config import manifest, read_signed_json, signed, write_json, write_yaml
from latentsr.data.latents import LatentCache
from latentsr.device import resolve_device
from latentsr.diffusion.denoiser import Denoiser
from latentsr.diffusion.latents import LatentSpace
from latentsr.errors import InputError, OptionError, StaleError
from latentsr.provenance import RESEARCH_USE
from latentsr.training.crops import LatentCrops
from latentsr.training.denoiser import (
    DenoiserTraining,
    Score,
    TrainConfig,
    ValidationImages,
    denoiser_spec,
    latent_space,
)
from latentsr.training.trainer import Budget, Ema, LastCheckpoint, Progress, make_trainer, silent, train
from latentsr.upscalers import Sampling
from latentsr.upscalers.model import SuperResolver, save_model
from latentsr.upscalers.realism import SpreadCalibration, fit_calibration
from latentsr.upscalers.restorer import ModelConfig, Parent, Restorer

STEPS = 16
IMAGES = 32


def calibrated_spread(
    restorer: Restorer,
    cache: LatentCache,
    *,
    images: int = IMAGES,
    batch: int = 4,
    seconds: float = math.inf,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SpreadCalibration | None:
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
        truth = (restorer.autoencoder.decode(latents).cpu() + 1) / 2
        lr = restorer.degradation.apply(truth)
        mean, drawn = restorer.mean_and_sample(lr, ids=[ids[row] for row in part], sampling=Sampling(steps=STEPS))
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
    parent = f"\n| fine-tuned from | {model.parent.name}, SHA-256 {model.parent.hash} |" if model.parent else ""
    return f"""# {model.name}

**{RESEARCH_USE}** Part of what this model adds to an image is made up.

A latent diffusion model for medical image super-resolution, made by latentsr {__version__}.

| | |
|---|---|
| undoes | `{model.degradation}` |
| latent space | `{model.autoencoder}`, {model.denoiser.latent_channels} channels |
| network | UNet, channels {", ".join(map(str, model.denoiser.channels))}, {config.layers} layers a block |
| learns | {config.objective} on the {config.schedule} schedule; target: {model.space.target} |
| condition | {", ".join(model.space.conditions)} |
| trained | {facts["steps"]} steps of {config.batch} crops of {config.crop} latent px, {facts["minutes"]} minutes |
| HR size | {model.size[0]} x {model.size[1]} px |{parent}

| training set | images |
|---|---|
{images}

Validation images at the end of training (posterior mean, one evaluation):

| measure | value |
|---|---|
{scores}

Not for: diagnosis; modalities, body parts, spacings or degradations other than those above; measuring lesions.
"""


SOLVER = {"cosine": "dpm++", "linear": "dpm++", "flow": "euler"}
VALIDATION_BATCH = 8
LIMITS = ("steps", "minutes")


def fit_denoiser(
    cache: LatentCache,
    out: Path,
    config: TrainConfig,
    *,
    device: str = "auto",
    devices: int = 1,
    modalities: tuple[str, ...] = (),
    validation_images: int = 16,
    progress: Progress = silent,
) -> Path:
    """The model folder `out`, made by training on `cache`; logs, pictures and checkpoint of the run lie in `out`.run.

    A killed training goes on from its last checkpoint. A finished one is left as it is, or goes on and replaces its
    model if `steps` or `minutes` are more than they were. Other options or another cache for the same `out` raise
    StaleError, an array of the cache that was altered or holds NaN InputError. Minutes include the calibration at the
    end. `modalities` are the DICOM codes of the images, for the model's warnings.
    """
    out = out.resolve()
    run = out.with_name(f"{out.name}.run")
    parent = None if config.init is None else SuperResolver.load(config.init, device="cpu")
    facts, earlier = _facts(cache, config, parent), None
    if out.exists() and (earlier := _to_extend(out, run, facts)) is None:
        return out
    model = model_config(cache, config, out.name, modalities, parent)
    crops, images = _samples(cache, model.space, config, validation_images)
    where = resolve_device(device)
    autoencoder = _autoencoder(cache, where)
    score = Score(model, autoencoder, run / "pictures")
    budget, ema = Budget(config.steps, config.minutes), Ema(config.ema)
    checkpoint = LastCheckpoint(run / "checkpoints", facts, earlier=earlier)
    module = _module(model, config, budget, score, parent)
    with progress("train", unit="steps", resumes=True) as report:
        trainer = make_trainer(
            run, budget, [ema], checkpoint, report=report, clip=config.clip, device=device, devices=devices,
            precision=config.precision,
        )  # fmt: skip
        if checkpoint.found() is None:
            _note(run, config, facts)
        if config.minutes is not None:
            budget.reserve(calibration_seconds(Restorer(model, module.network, autoencoder, where), cache))
        train(
            trainer, module.train(), crops, DataLoader(images, batch_size=VALIDATION_BATCH), checkpoint,
            batch=config.batch, epoch_steps=config.validate_every, workers=config.workers,
        )  # fmt: skip
    module.network.load_state_dict(ema.weights())
    if trainer.is_global_zero:
        restorer = Restorer(model, module.network, autoencoder, where)  # Lightning leaves the network on the CPU
        scores = _validated(restorer.denoiser, images, score)
        with progress("calibrate") as report:
            spread = calibrated_spread(restorer, cache, seconds=budget.left(), progress=report)
        results = {
            "steps": trainer.global_step, "minutes": round(budget.elapsed() / 60, 1), "cache": cache.hash,
            "images": dict(Counter(cache.datasets("train"))), "validation": scores,
        }  # fmt: skip
        write_json(run / "manifest.json", manifest(**results))
        card, seen = model_card(model, config, results), {*cache.digests, *(parent.training_images if parent else ())}
        _save(out, run, model.model_copy(update={"spread": spread}), module.network, card, autoencoder, seen)
        _note(run, config, facts)  # last: until then an extension is unfinished
    return out


def _note(run: Path, config: TrainConfig, facts: dict[str, Any]) -> None:
    """Writes options and facts of the training into the run's folder."""
    write_yaml(config, run / "train.yaml")
    write_json(run / "facts.json", signed(facts))


def _facts(cache: LatentCache, config: TrainConfig, parent: SuperResolver | None) -> dict[str, Any]:
    """Everything that decides the model."""
    facts = {"config": config.model_dump(mode="json", exclude={"workers", "init"}), "cache": cache.hash}
    return facts if parent is None else {**facts, "parent": parent.hash}


def _to_extend(out: Path, run: Path, facts: dict[str, Any]) -> dict[str, Any] | None:
    """The facts of the finished training at `out`, if `facts` ask for more of the same; None if it is done.

    Raises:
        StaleError: it is another training's, or its last checkpoint is missing.
    """
    other = StaleError(
        f"{out}: exists, from other options or another cache; choose another output folder, or remove it and {run}"
    )
    try:
        finished = read_signed_json(run / "facts.json")
    except InputError as error:
        raise other from error
    if not isinstance(finished.get("config"), dict) or _without_limits(finished) != _without_limits(facts):
        raise other
    for name in LIMITS:
        asked, done = facts["config"][name], finished["config"][name]
        if done is not None and (asked is None or asked > done):
            break
    else:
        return None
    if not (run / "checkpoints" / "last.ckpt").is_file():
        raise StaleError(
            f"{out}: is finished and its last checkpoint in {run} is missing, so that it cannot be extended; "
            "choose another output folder to train anew"
        )
    return finished


def _without_limits(facts: dict[str, Any]) -> dict[str, Any]:
    return {**facts, "config": {name: value for name, value in facts["config"].items() if name not in LIMITS}}


def _samples(
    cache: LatentCache, space: LatentSpace, config: TrainConfig, validation_images: int
) -> tuple[LatentCrops, ValidationImages]:
    """The samples to train and to validate on; InputError unless their arrays are as `encode` wrote them."""
    crops = LatentCrops(cache, space, crop=config.crop, pure_noise_share=config.pure_noise_share, seed=config.seed)
    images = ValidationImages(cache, validation_images)
    cache.check([*(("train", role) for role in crops.arrays), *([("valid", "image")] if images.ids else [])])
    return crops, images


def _autoencoder(cache: LatentCache, device: str) -> Autoencoder:
    """The autoencoder of the cache's latents."""
    autoencoder = load_autoencoder(cache.autoencoder, device=device)
    if autoencoder.hash != cache.manifest["autoencoder"]:
        raise InputError(f"{cache.root}: its autoencoder is not that of its latents; run 'encode' again")
    return autoencoder


def _module(
    model: ModelConfig, config: TrainConfig, budget: Budget, score: Score, parent: SuperResolver | None
) -> DenoiserTraining:
    """The module at the start of the training, with the weights of the seed or of the parent."""
    torch.manual_seed(config.seed)
    module = DenoiserTraining(model.denoiser, model.space, config, budget, score)
    if parent is not None:
        module.network.load_state_dict(parent.denoiser.state_dict())
    return module


def _save(
    out: Path, run: Path, model: ModelConfig, network: Denoiser, card: str, autoencoder: Autoencoder, seen: set[str]
) -> None:
    """Writes the model folder, whole before an earlier one makes room for it; `seen` are digests of the images that it,
    or its parent, is known to be trained on.
    """
    fresh, earlier = run / "model", run / "earlier"
    for left in (fresh, earlier):  # of a run that was killed here
        shutil.rmtree(left, ignore_errors=True)
    weights = network.state_dict()
    save_model(fresh, model, weights, card=card, autoencoder=autoencoder.folder, training_images=seen)
    if out.exists():
        out.replace(earlier)
    fresh.replace(out)
    shutil.rmtree(earlier, ignore_errors=True)


def model_config(
    cache: LatentCache,
    config: TrainConfig,
    name: str,
    modalities: tuple[str, ...] = (),
    parent: SuperResolver | None = None,
) -> ModelConfig:
    """What a training on `cache` makes, but for its weights.

    From a `parent` come the latent statistics, on which its weights depend, and the names of its training sets;
    OptionError, which says what differs, unless autoencoder, conditions, target, objective, schedule and network agree.
    """
    model = ModelConfig(
        name=name,
        degradation=cache.manifest["degradation"],
        autoencoder=cache.manifest["autoencoder_name"],
        autoencoder_hash=cache.manifest["autoencoder"],
        denoiser=denoiser_spec(cache, config),
        space=latent_space(cache, config),
        objective=config.objective,
        schedule=config.schedule,
        solver=SOLVER[config.schedule],
        trained_on=tuple(sorted(set(cache.datasets("train")))),
        modalities=modalities,
        size=tuple(cache.manifest["size"]),
    )
    if parent is None:
        return model
    own, asked = _form(parent.config), _form(model)
    differing = [f"{name} is {asked[name]}, its own {own[name]}" for name in asked if asked[name] != own[name]]
    if differing:
        raise OptionError(
            f"init {parent.name}: a network of another form ({'; '.join(differing)}); set the model's own options and "
            "encode with its autoencoder and conditions, or train without init"
        )
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
        **dict(model.denoiser),
    }


def _validated(network: Denoiser, images: ValidationImages, score: Score) -> dict[str, float]:
    """Mean scores of the final network over all validation images; empty without any."""
    batches = [(score(network.eval(), batch), len(batch["id"])) for batch in DataLoader(images, VALIDATION_BATCH)]
    total = sum(count for _, count in batches)
    return {key: sum(s[key] * count for s, count in batches) / total for key in (batches[0][0] if batches else ())}

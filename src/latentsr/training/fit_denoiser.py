"""The training job: from a latent cache to a SuperResolver folder, resumed where it was interrupted."""

from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from latentsr.autoencoders import load_autoencoder
from latentsr.config import manifest, read_json, write_json, write_yaml
from latentsr.data.latents import LatentCache
from latentsr.device import resolve_device
from latentsr.diffusion.denoiser import Denoiser
from latentsr.errors import StaleError
from latentsr.restoration import ModelConfig, Restorer
from latentsr.superres import save_model
from latentsr.training.budget import Budget
from latentsr.training.calibration import calibrated_spread
from latentsr.training.card import model_card
from latentsr.training.checkpoint import LastCheckpoint
from latentsr.training.denoiser import DenoiserTraining, TrainConfig, denoiser_spec, latent_space
from latentsr.training.ema import Ema
from latentsr.training.latent_crops import LatentCrops
from latentsr.training.trainer import make_trainer, train
from latentsr.training.validation import Score, ValidationImages

SOLVER = {"cosine": "dpm++", "linear": "dpm++", "flow": "euler"}
VALIDATION_BATCH = 8


def fit_denoiser(
    cache: LatentCache,
    out: Path,
    config: TrainConfig,
    *,
    device: str = "auto",
    devices: int = 1,
    modalities: tuple[str, ...] = (),
    validation_images: int = 16,
) -> Path:
    """The model folder `out`, made by training on `cache`; logs, pictures and checkpoint of the run lie in `out`.run.

    A killed training goes on from its last checkpoint; a finished one is left as it is. Other options or another cache
    for the same `out` raise StaleError. `modalities` are the DICOM codes of the images, for the model's warnings.
    """
    out = out.resolve()
    run = out.with_name(f"{out.name}.run")
    facts = {"config": config.model_dump(mode="json", exclude={"workers"}), "cache": cache.hash}
    if out.exists():
        return _finished(out, run, facts)
    model = model_config(cache, config, out.name, modalities)
    crops = LatentCrops(
        cache, model.space, crop=config.crop, pure_noise_share=config.pure_noise_share, seed=config.seed
    )
    where = resolve_device(device)
    autoencoder = load_autoencoder(cache.autoencoder, device=where)
    images, score = ValidationImages(cache, validation_images), Score(model, autoencoder, run / "pictures")
    budget, ema = Budget(config.steps, config.minutes), Ema(config.ema)
    checkpoint = LastCheckpoint(run / "checkpoints", facts)
    trainer = make_trainer(
        run, budget, [ema], checkpoint, title="train", clip=config.clip, device=device, devices=devices,
        precision=config.precision,
    )  # fmt: skip
    if checkpoint.found() is None:
        write_yaml(config, run / "train.yaml")
        write_json(run / "facts.json", facts)
    torch.manual_seed(config.seed)  # the network's first weights
    module = DenoiserTraining(model.denoiser, model.space, config, budget, score)
    train(
        trainer, module, crops, DataLoader(images, batch_size=VALIDATION_BATCH), checkpoint,
        batch=config.batch, epoch_steps=config.validate_every, workers=config.workers,
    )  # fmt: skip
    module.network.load_state_dict(ema.weights())
    module.network.to(where)  # Lightning leaves it on the CPU
    if trainer.is_global_zero:
        told: dict[str, Any] = {
            "steps": trainer.global_step,
            "minutes": round(budget.elapsed() / 60, 1),
            "cache": cache.hash,
        }
        told["images"] = dict(Counter(cache.datasets("train")))
        told["validation"] = _validated(module.network, images, score)
        write_json(run / "manifest.json", manifest(**told))
        restorer = Restorer(model, module.network, autoencoder, where)
        model = model.model_copy(update={"spread": calibrated_spread(restorer, cache)})
        card = model_card(model, config, told)
        save_model(out, model, module.network.state_dict(), card=card, autoencoder=autoencoder.folder)
    return out


def _finished(out: Path, run: Path, facts: dict[str, Any]) -> Path:
    if not (run / "facts.json").is_file() or read_json(run / "facts.json") != facts:
        raise StaleError(f"{out}: is there already, from other options or another cache; give another -o, or remove it")
    return out


def model_config(cache: LatentCache, config: TrainConfig, name: str, modalities: tuple[str, ...] = ()) -> ModelConfig:
    """What a training on `cache` makes, but for its weights."""
    return ModelConfig(
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


def _validated(network: Denoiser, images: ValidationImages, score: Score) -> dict[str, float]:
    """Mean scores of the final network over all validation images; empty without any."""
    batches = [(score(network.eval(), batch), len(batch["id"])) for batch in DataLoader(images, VALIDATION_BATCH)]
    total = sum(count for _, count in batches)
    return {key: sum(s[key] * count for s, count in batches) / total for key in (batches[0][0] if batches else ())}

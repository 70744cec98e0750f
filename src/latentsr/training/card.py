"""The model card of a fresh training: what it was trained on, how long, how good, and for what not."""

from collections.abc import Mapping
from typing import Any

from latentsr import __version__
from latentsr.provenance import RESEARCH_USE
from latentsr.restoration import ModelConfig
from latentsr.training.denoiser import TrainConfig


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

"""What stands beside the SR quality to expect, measured on the same images: bicubic, and the shipped models."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latentsr.baselines import Method, bicubic
from latentsr.degrade import Degradation
from latentsr.metrics import METRICS
from latentsr.screening.apart import listed
from latentsr.screening.latent import latent_sums
from latentsr.screening.measure import Measured
from latentsr.superres import SuperResolver, shipped_models


@dataclass(frozen=True)
class Baseline:
    """A method, what it is in words, and the digest of the model that it uses ("" for none)."""

    method: Method
    about: str
    hash: str = ""

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.method.name


def find_baselines(degradation: Degradation, device: str) -> tuple[Baseline, ...]:
    """Bicubic enlargement, and each shipped model that was made for this very degradation: its posterior mean.

    A model that undoes another degradation would be measured on LR that it was not made for, so it is left out.
    """
    models = (SuperResolver.load(name, device=device) for name in shipped_models())
    return (
        Baseline(bicubic(degradation), "interpolation"),
        *(_shipped(model) for model in models if model.degradation.text == degradation.text),
    )


def _shipped(model: SuperResolver) -> Baseline:
    def restore(lr: Tensor, ids: Sequence[str]) -> Tensor:
        return model.restore(lr, ids=ids).image.to(lr.device)

    about = f"the posterior mean of the shipped model, trained on {listed(model.config.trained_on)}"
    return Baseline(Method(model.name, restore), about, model.hash)


@torch.inference_mode()
def measured_baseline(hr: Tensor, ids: Sequence[str], method: Method, degradation: Degradation) -> Measured:
    """The PSNR of the method's SR of images (batch, 1, rows, columns), clamped to [0, 1]; no latents, no seconds.

    Rows and columns beyond a multiple of the degradation's divisor are cut off; NaN for images under one multiple.
    """
    rows, columns = (side - side % degradation.divisor for side in hr.shape[-2:])
    values = hr.new_full((len(hr),), math.nan)
    if rows and columns:
        cut = hr[..., :rows, :columns]
        values = METRICS["psnr"](method.restore(degradation.apply(cut), ids).clamp(0, 1), cut)
    return Measured(("psnr",), values.double().cpu().numpy()[:, None], latent_sums(hr[:, :0]), (0.0, 0.0))

"""How a denoiser in training is scored: PSNR of its restored validation images beside bicubic's, and a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import Dataset

from latentsr.autoencoders.protocol import Autoencoder
from latentsr.data.latents import LatentCache
from latentsr.degrade import enlarge, parse_degradation
from latentsr.diffusion.denoiser import Denoiser
from latentsr.diffusion.objective import OBJECTIVES
from latentsr.io.raster import write_pixels
from latentsr.metrics.fidelity import psnr
from latentsr.restoration import ModelConfig, Restorer, Sampling

SHOWN = 4  # images in the picture
STEPS_WITHOUT_MEAN = 8  # for networks that give no posterior mean in one evaluation


class ValidationImages(Dataset[dict[str, Any]]):
    """HR images spread evenly over the validation split, with their ids; none where the cache has no such split."""

    def __init__(self, cache: LatentCache, images: int) -> None:
        self.ids = cache.ids("valid")
        self.rows = [int(i) for i in np.linspace(0, len(self.ids) - 1, min(images, len(self.ids)))]
        self.images = cache.array("valid", "image") if self.ids else None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, n: int) -> dict[str, Any]:
        """{"id": text, "image": float32 (1, rows, columns) in [0, 1]}."""
        if self.images is None:
            raise IndexError(n)
        return {"id": self.ids[self.rows[n]], "image": torch.from_numpy(np.array(self.images[self.rows[n]]))}


class Score:
    """PSNR of the posterior mean and of bicubic on a batch of ValidationImages; pictures go to `folder`."""

    def __init__(self, model: ModelConfig, autoencoder: Autoencoder, folder: Path) -> None:
        self.model, self.autoencoder, self.folder = model, autoencoder, folder
        one_step = OBJECTIVES[model.objective].one_step
        self.sampling = Sampling(steps=1 if one_step else STEPS_WITHOUT_MEAN)

    def __call__(
        self, network: Denoiser, batch: Mapping[str, Any], index: int = 0, trainer: Trainer | None = None
    ) -> dict[str, float]:
        """{"psnr", "psnr_bicubic"} in dB, means over the batch; the first batch of a validation is also drawn."""
        hr = batch["image"].cpu()
        degradation = parse_degradation(self.model.degradation)
        lr = degradation.apply(hr)
        bicubic = enlarge(lr, degradation.scale).clamp(0, 1)
        device = next(network.parameters()).device
        restorer = Restorer(self.model, network, self.autoencoder, str(device))
        with torch.autocast(device.type, enabled=False):  # in float32, as the finished model is applied
            image = restorer.restore(lr, ids=batch["id"], sampling=self.sampling).image.clamp(0, 1)
        if trainer is not None and trainer.is_global_zero and index == 0:
            self._draw(trainer, [bicubic, image, hr])
        return {"psnr": float(psnr(image, hr).mean()), "psnr_bicubic": float(psnr(bicubic, hr).mean())}

    def _draw(self, trainer: Trainer, columns: Sequence[Tensor]) -> None:
        """A PNG and a TensorBoard image: one row an image; bicubic, SR, HR."""
        picture = torch.cat([torch.cat(list(column[:SHOWN, 0]), dim=0) for column in columns], dim=1)
        pixels = (picture * 255).round().byte().numpy()
        write_pixels(self.folder / f"step-{trainer.global_step:06d}.png", pixels)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("bicubic, SR, HR", pixels[None], trainer.global_step)

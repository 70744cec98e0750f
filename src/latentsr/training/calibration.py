"""How large a sample's distance from the posterior mean should be, measured on training images."""

import numpy as np
import torch

from latentsr.data.latents import LatentCache
from latentsr.realism import SpreadCalibration, fit_calibration
from latentsr.restoration import Restorer, Sampling

STEPS = 16


def calibrated_spread(
    restorer: Restorer, cache: LatentCache, *, images: int = 32, batch: int = 4
) -> SpreadCalibration | None:
    """The calibration from training images spread evenly over the cache; None for a model without posterior mean.

    The truth is the decoded HR latent, so that a lossy autoencoder's own error is not taken for missing detail.
    """
    if not restorer.has_mean:
        return None
    ids, hr = cache.ids("train"), cache.array("train", "hr")
    rows = [int(i) for i in np.linspace(0, len(ids) - 1, min(images, len(ids)))]
    errors, distances = [], []
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        latents = torch.from_numpy(np.array(hr[part])).to(restorer.device)
        truth = (restorer.autoencoder.decode(latents).cpu() + 1) / 2
        lr = restorer.degradation.apply(truth)
        mean, drawn = restorer.mean_and_sample(lr, ids=[ids[row] for row in part], sampling=Sampling(steps=STEPS))
        errors.append(truth - mean)
        distances.append(drawn - mean)
    return fit_calibration(torch.cat(errors), torch.cat(distances))

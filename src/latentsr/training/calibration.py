"""How large a sample's distance from the posterior mean should be, measured on training images."""

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from latentsr.data.latents import LatentCache
from latentsr.realism import SpreadCalibration, fit_calibration
from latentsr.restoration import Restorer, Sampling

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

"""What one autoencoder does to one batch of images: the values of each image, sums over the latents, seconds."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsr.autoencoders import Autoencoder
from latentsr.data.batches import padded
from latentsr.errors import ModelError
from latentsr.metrics import Metric, measure
from latentsr.metrics.subbands import EMPTY as BAND_EMPTY
from latentsr.metrics.subbands import LOSSLESS as BAND_LOSSLESS
from latentsr.metrics.subbands import subband_psnr
from latentsr.screening.latent import LatentSums, latent_sums

EXACT = 100.0  # dB: what a lossless autoencoder reaches by rounding alone lies far above, at 120 and more


@dataclass(frozen=True)
class Measured:
    """`values` (images, measures) under `names`; `seconds` of the whole batch to encode and to decode."""

    names: tuple[str, ...]
    values: NDArray[np.float64]
    latents: LatentSums
    seconds: tuple[float, float]


@torch.inference_mode()
def measured(autoencoder: Autoencoder, hr: Tensor, metrics: Sequence[Metric]) -> Measured:
    """The measures of decode(encode(x)), clamped to [0, 1], against x.

    Where a lossless autoencoder gave an image back but for rounding, its values in dB are +inf, and so is that of any
    band that came back whole; a band that HR does not have, as in constant images, has no value (NaN).

    Args:
        autoencoder: the candidate.
        hr: images (batch, 1, rows, columns) in [0, 1], of any size.
        metrics: what to measure.
    """
    latents, encoding = _timed(lambda: autoencoder.encode(padded(2 * hr - 1, autoencoder.spec.factor)), hr)
    images, decoding = _timed(lambda: autoencoder.decode(latents), hr)
    decoded = _shown(images, hr, autoencoder.spec.name)
    values = measure(metrics, decoded, {"hr": hr})
    _mark_exact(values, metrics, decoded, hr, lossless=autoencoder.spec.lossless)
    names = tuple(values)
    columns = np.stack([values[name].double().cpu().numpy() for name in names], axis=1)
    return Measured(names, columns, latent_sums(latents), (encoding, decoding))


@torch.inference_mode()
def measured_hr(hr: Tensor, metrics: Sequence[Metric]) -> Measured:
    """What the measures that need no reference say of HR itself; no latents, no seconds."""
    values = measure(metrics, hr, {})  # of these, what needs nothing beside the image
    columns = np.stack([value.double().cpu().numpy() for value in values.values()], axis=1)
    return Measured(tuple(values), columns, latent_sums(hr[:, :0]), (0.0, 0.0))


@torch.inference_mode()
def reconstructed(autoencoder: Autoencoder, hr: Tensor) -> Tensor:
    """decode(encode(x)) of images (batch, 1, rows, columns) in [0, 1], clamped to [0, 1], of the same size."""
    latents = autoencoder.encode(padded(2 * hr - 1, autoencoder.spec.factor))
    return _shown(autoencoder.decode(latents), hr, autoencoder.spec.name)


def _shown(images: Tensor, hr: Tensor, name: str) -> Tensor:
    """Network output as [0, 1] images of the size of `hr`, padding cut off."""
    rows, columns = hr.shape[-2:]
    cut = images[..., :rows, :columns]
    if cut.shape != hr.shape:
        raise ModelError(f"{name}: decoded to {tuple(images.shape)}, expected {tuple(hr.shape)}; check its factor")
    if not cut.isfinite().all():
        raise ModelError(f"{name}: decoded images with NaN or infinity; check its weights")
    return ((cut + 1) / 2).clamp(0, 1).to(hr.dtype)


def _mark_exact(
    values: dict[str, Tensor], metrics: Sequence[Metric], decoded: Tensor, hr: Tensor, *, lossless: bool
) -> None:
    """Puts +inf for dB of images and bands that came back whole, and NaN for bands that HR does not have.

    The definition of subband PSNR says 100 and 0 there, which would weigh in a mean like any other number.
    """
    mse = (decoded.double() - hr.double()).square().mean(dim=(1, 2, 3))
    exact = (mse < 10 ** (-EXACT / 10)) & lossless
    for metric in metrics:
        for name in metric.names:
            found = values[name]
            if metric.function is subband_psnr:
                found = found.masked_fill(found == BAND_EMPTY, math.nan).masked_fill(found == BAND_LOSSLESS, math.inf)
            values[name] = found.masked_fill(exact, math.inf) if metric.unit == "dB" else found


def _timed(work: Callable[[], Tensor], like: Tensor) -> tuple[Tensor, float]:
    """What the work gives, and its seconds of wall time, the device's queue emptied before and after."""
    _wait(like.device)
    start = time.perf_counter()
    result = work()
    _wait(like.device)
    return result, time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

"""The roundtrip of images through an autoencoder, decode(encode(HR)): measures, sums of its latents, and its cost."""

import copy
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from latentsr.autoencoders import Autoencoder
from latentsr.autoencoders.encoding import decode_tiled, encode_tiled, from_network, to_network
from latentsr.autoencoders.network import Network
from latentsr.data.records import Dataset, padded
from latentsr.diffusion.denoiser import published_step
from latentsr.errors import ModelError
from latentsr.job import Part
from latentsr.metrics import Metric, measure
from latentsr.stats.table import sorted_table, tidy_rows

TILE = 144  # latent px: as a model itself encodes and decodes, so that large images fit into memory
EXACT = 100.0  # dB: what a lossless autoencoder reaches by rounding alone lies far above, at 120 and more

Arrays = dict[str, NDArray[np.generic]]  # of a part
Result = TypeVar("Result")


def encode(autoencoder: Autoencoder, images: Tensor) -> Tensor:
    """The latents of images (batch, 1, rows, columns) in [0, 1], padded to whole latent pixels, in tiles.

    ModelError for latents that are not finite.
    """
    factor, name = autoencoder.spec.factor, autoencoder.spec.name
    latents = encode_tiled(autoencoder, padded(to_network(images), factor), TILE)
    return _finite(latents, f"{name}: encoded latents").to(images.dtype)


def decode(autoencoder: Autoencoder, latents: Tensor, hr: Tensor) -> Tensor:
    """The decoded images, clamped to [0, 1], of the size and type of `hr`, in tiles.

    ModelError for images of another size, or that are not finite.
    """
    (rows, columns), name = hr.shape[-2:], autoencoder.spec.name
    decoded = decode_tiled(autoencoder, latents, TILE)
    images = decoded[..., :rows, :columns]
    if images.shape != hr.shape:
        raise ModelError(f"{name}: decoded to {tuple(decoded.shape)}, expected {tuple(hr.shape)}; check its factor")
    return from_network(_finite(images, f"{name}: decoded images").to(hr.dtype)).clamp(0, 1)


def decoded_channels(autoencoder: Autoencoder, latents: Tensor, hr: Tensor) -> Tensor:
    """The decoder's output of the size of `hr` in [0, 1], all channels, as the study scores it; in tiles."""
    rows, columns = hr.shape[-2:]
    images = decode_tiled(autoencoder, latents, TILE, grey=False)[..., :rows, :columns]
    return from_network(_finite(images, f"{autoencoder.spec.name}: decoded images").to(hr.dtype)).clamp(0, 1)


def roundtrip(autoencoder: Autoencoder, hr: Tensor) -> Tensor:
    """decode(encode(HR)) of images (batch, 1, rows, columns) in [0, 1], of the same size."""
    return decode(autoencoder, encode(autoencoder, hr), hr)


def _finite(values: Tensor, what: str) -> Tensor:
    if not values.isfinite().all():
        raise ModelError(f"{what} with NaN or infinity; check its weights")
    return values


# Terms of a correlation of neighbours a and b; below, the rows of `LatentSums.sums`.
PAIR = ("n", "a", "b", "aa", "bb", "ab")
FIELDS = ("n", "z", "zz", *(f"row_{term}" for term in PAIR), *(f"column_{term}" for term in PAIR))


@dataclass(frozen=True)
class LatentSums:
    """Sums over latent pixels, float64 (len(FIELDS), channels), and the number of images."""

    sums: NDArray[np.float64]
    images: int

    def __add__(self, other: "LatentSums") -> "LatentSums":
        return LatentSums(self.sums + other.sums, self.images + other.images)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Of each channel, over pixels and images."""
        return np.asarray(self._of("z") / self._of("n"))

    @property
    def sd(self) -> NDArray[np.float64]:
        """Population sd of each channel, over pixels and images."""
        return np.sqrt(np.maximum(self._of("zz") / self._of("n") - self.mean**2, 0))

    def correlation(self, axis: str) -> NDArray[np.float64]:
        """Pearson's r of neighbouring latent pixels, per channel: "row" along rows, "column" along columns.

        NaN where a channel is constant or a latent has but one pixel on that axis.
        """
        n, a, b, aa, bb, ab = (self._of(f"{axis}_{term}") for term in PAIR)
        with np.errstate(invalid="ignore", divide="ignore"):
            covariance = ab / n - a / n * (b / n)
            spread = np.maximum(aa / n - (a / n) ** 2, 0) * np.maximum(bb / n - (b / n) ** 2, 0)
            # Below this a "variance" is the rounding of a difference of large numbers.
            constant = spread <= (1e-12 * (aa / n) * (bb / n))
            return np.asarray(np.where(constant, np.nan, covariance / np.sqrt(spread)))

    def _of(self, field: str) -> NDArray[np.float64]:
        return self.sums[FIELDS.index(field)]


def latent_sums(latents: Tensor) -> LatentSums:
    """The sums of a batch (images, channels, rows, columns)."""

    def total(values: Tensor) -> Tensor:
        return values.sum(dim=(0, 2, 3))

    def count(values: Tensor) -> Tensor:
        return values.new_full((values.shape[1],), values.numel() / max(values.shape[1], 1))

    z = latents.cpu().double() if latents.device.type == "mps" else latents.double()
    rows = [count(z), total(z), total(z * z)]
    for a, b in ((z[..., :-1], z[..., 1:]), (z[..., :-1, :], z[..., 1:, :])):
        rows += [count(a), total(a), total(b), total(a * a), total(b * b), total(a * b)]
    return LatentSums(torch.stack(rows).cpu().numpy(), len(latents))


@torch.inference_mode()
def measured(autoencoder: Autoencoder, hr: Tensor, metrics: Sequence[Metric]) -> Arrays:
    """The measures of decode(encode(HR)) against HR, sums of latents, and seconds to encode and decode the batch.

    Where a lossless autoencoder gave an image back but for rounding, its values in dB are +inf, and so is that of any
    band that came back whole; a band that HR does not have, as in constant images, has no value (NaN).

    Args:
        autoencoder: the candidate.
        hr: images (batch, 1, rows, columns) in [0, 1], of any size.
        metrics: what to measure.
    """
    latents, encoding = timed(lambda: encode(autoencoder, hr), hr.device)
    decoded, decoding = timed(lambda: decode(autoencoder, latents, hr), hr.device)
    values = measure(metrics, decoded, {"hr": hr})
    exact = (decoded.double() - hr.double()).square().mean(dim=(1, 2, 3)) < 10 ** (-EXACT / 10)
    for metric in metrics:
        if metric.unit == "dB" and autoencoder.spec.lossless:
            values |= {name: values[name].masked_fill(exact, math.inf) for name in metric.names}
    return arrays_of(values, hr, latents, (encoding, decoding))


@torch.inference_mode()
def measured_hr(hr: Tensor, metrics: Sequence[Metric]) -> Arrays:
    """The measures of HR itself: those that need nothing beside the image."""
    return arrays_of(measure(metrics, hr, {}), hr)


def arrays_of(
    values: dict[str, Tensor], hr: Tensor, latents: Tensor | None = None, seconds: tuple[float, float] = (0.0, 0.0)
) -> Arrays:
    """The arrays of a batch to keep: `names`, `values` (images, measures), and what else is known of the images HR."""
    return {
        "constant": (hr.amax(dim=(1, 2, 3)) == hr.amin(dim=(1, 2, 3))).cpu().numpy(),
        "names": np.array(tuple(values)),
        "values": columns(values, len(hr)),
        "sums": latent_sums(hr[:, :0] if latents is None else latents).sums,
        "seconds": np.array(seconds),
    }


def columns(values: dict[str, Tensor], images: int) -> NDArray[np.float64]:
    """The values of measures, (images,) each, as (images, measures)."""
    found = [value.double().cpu().numpy() for value in values.values()]
    return np.stack(found, axis=1) if found else np.empty((images, 0))


def timed(work: Callable[[], Result], device: torch.device) -> tuple[Result, float]:
    """The result and its seconds of wall time, the device's queue emptied before and after."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    wait()
    start = time.perf_counter()
    result = work()
    wait()
    return result, time.perf_counter() - start


def device_name(device: torch.device) -> str:
    """`cpu`, or the kind and the maker's name."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def psnr_of(parts: Sequence[Part]) -> dict[str, float]:
    """The PSNR of each image in dB, by id."""
    return {
        name: float(value)
        for part in parts
        for name, value in zip(part.ids, part["values"][:, list(part["names"]).index("psnr")], strict=True)
    }


def rows(parts: Sequence[Part], dataset: Dataset, method: str) -> pd.DataFrame:
    """The tidy rows of the parts, sorted."""
    patients = {record.id: record.patient for record in dataset.records}
    return sorted_table(
        tidy_rows(
            dataset.name, {id: patients[id] for id in part.ids}, method, list(map(str, part["names"])), part["values"]
        )
        for part in parts
    )


def total(parts: Sequence[Part]) -> LatentSums:
    """The latents' sums over all parts."""
    return reduce(add, (LatentSums(part["sums"].astype(np.float64), len(part.ids)) for part in parts))


def setup_of(device: str | torch.device, batch: int, threads: int | None = None) -> Arrays:
    """The arrays of a part that say what its seconds were measured on: device, threads (torch's), images at a time."""
    setup = (threads or torch.get_num_threads(), batch)
    return {"device": np.array(device_name(torch.device(device))), "setup": np.array(setup)}


def median_seconds(parts: Iterable[Part], seconds: Callable[[Part], ArrayLike]) -> tuple[list[float], dict[str, Any]]:
    """Medians over the batches of the seconds an image, by `seconds` of a whole batch, and what they were measured on.

    If the job went on elsewhere, those of the device, threads and batch size that did most images.
    """
    images: Counter[tuple[str, int, int]] = Counter()
    each: dict[tuple[str, int, int], list[NDArray[np.float64]]] = {}
    for part in parts:
        setup = (str(part["device"]), int(part["setup"][0]), int(part["setup"][1]))
        images[setup] += len(part.ids)
        each.setdefault(setup, []).append(np.asarray(seconds(part), np.float64) / len(part.ids))
    chosen = max(images, key=lambda setup: (images[setup], setup))
    return np.median(each[chosen], axis=0).tolist(), dict(zip(("device", "threads", "batch"), chosen, strict=True))


HALF = {"float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Cost:
    """Computed, not measured, for one image of `rows` x `columns`; `shape` is that of its latent.

    FLOPs count a multiply-add as two; the denoiser is the published UNet at the latent's size. `nonfinite` is the share
    of latent values that are NaN or infinite when the network runs in that type, on `probed` images.
    """

    rows: int
    columns: int
    shape: tuple[int, int, int]
    parameters: int
    encode_flops: int
    decode_flops: int
    denoiser_parameters: int
    denoiser_flops: int
    nonfinite: dict[str, float]
    probed: int


@torch.inference_mode()
def cost_of(autoencoder: Autoencoder, hr: Tensor) -> Cost:
    """The cost at the size of `hr` (batch, 1, rows, columns) in [0, 1], images on which the half types are tried."""
    spec, (rows, columns) = autoencoder.spec, hr.shape[-2:]
    images = padded(to_network(hr), spec.factor)
    latents, encode_flops = _counted(lambda: autoencoder.encode(images[:1]))
    _, decode_flops = _counted(lambda: autoencoder.decode(latents))
    shape = latent_shape(spec.latent_channels, spec.factor, rows, columns)
    step, channels, nonfinite = published_step(*shape), spec.image_channels, {}
    for name, dtype in HALF.items():  # one image at a time; of an autoencoder without a network the latents are cast
        if (network := _network(autoencoder)) is None:
            tried = [autoencoder.encode(images).to(dtype)]
        else:
            half, device = cast(Network, copy.deepcopy(network).to(dtype)), next(network.parameters()).device
            tried = [half.mean(one.expand(-1, channels, -1, -1).to(device, dtype)) for one in images.split(1)]
        nonfinite[name] = sum(float((~one.isfinite()).double().mean()) for one in tried) / len(tried)
    return Cost(
        rows=rows,
        columns=columns,
        shape=shape,
        parameters=parameters_of(autoencoder),
        encode_flops=encode_flops,
        decode_flops=decode_flops,
        denoiser_parameters=step.parameters,
        denoiser_flops=step.flops,
        nonfinite=nonfinite,
        probed=len(hr),
    )


def latent_shape(channels: int, factor: int, rows: int, columns: int) -> tuple[int, int, int]:
    """(channels, rows, columns) of the latent of an image of that many pixels, padded to the factor."""
    return channels, -(-rows // factor), -(-columns // factor)


def parameters_of(autoencoder: Autoencoder) -> int:
    """How many numbers it learned: 0 for haar and identity."""
    network = _network(autoencoder)
    return 0 if network is None else sum(parameter.numel() for parameter in network.parameters())


def _network(autoencoder: Autoencoder) -> nn.Module | None:
    return cast(nn.Module | None, getattr(autoencoder, "network", None))


def _counted(work: Callable[[], Tensor]) -> tuple[Tensor, int]:
    """What the work gives, and its FLOPs."""
    with FlopCounterMode(display=False) as counter:
        result = work()
    return result, int(counter.get_total_flops())

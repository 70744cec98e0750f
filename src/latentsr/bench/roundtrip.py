"""What one autoencoder does to batches of images: values, sums of latents, and their parts on disk."""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsr.autoencoders import Autoencoder
from latentsr.data.records import Dataset, padded
from latentsr.errors import ModelError
from latentsr.job import Part
from latentsr.metrics import Metric, measure
from latentsr.stats.table import sorted_table, tidy_rows

# Terms of a correlation of neighbours a and b; below, the rows of `LatentSums.sums`.
PAIR = ("n", "a", "b", "aa", "bb", "ab")
FIELDS = ("n", "z", "zz", *(f"row_{term}" for term in PAIR), *(f"column_{term}" for term in PAIR))


@dataclass(frozen=True)
class LatentSums:
    """Sums over latent pixels, float64 (len(FIELDS), channels), and how many images went in."""

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
    z = latents.cpu().double() if latents.device.type == "mps" else latents.double()
    rows = [_count(z), _total(z), _total(z * z)]
    for a, b in ((z[..., :-1], z[..., 1:]), (z[..., :-1, :], z[..., 1:, :])):
        rows += [_count(a), _total(a), _total(b), _total(a * a), _total(b * b), _total(a * b)]
    return LatentSums(torch.stack(rows).cpu().numpy(), len(latents))


def _total(values: Tensor) -> Tensor:
    return values.sum(dim=(0, 2, 3))


def _count(values: Tensor) -> Tensor:
    """How many values a channel has, repeated for each channel."""
    return values.new_full((values.shape[1],), values.numel() / max(values.shape[1], 1))


EXACT = 100.0  # dB: what a lossless autoencoder reaches by rounding alone lies far above, at 120 and more


@dataclass(frozen=True)
class Roundtrip:
    """`values` (images, measures) under `names`; `seconds` of the whole batch to encode and to decode."""

    names: tuple[str, ...]
    values: NDArray[np.float64]
    latents: LatentSums
    seconds: tuple[float, float]


@torch.inference_mode()
def measured(autoencoder: Autoencoder, hr: Tensor, metrics: Sequence[Metric]) -> Roundtrip:
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
    # Put +inf for dB of images that came back whole.
    mse = (decoded.double() - hr.double()).square().mean(dim=(1, 2, 3))
    exact = (mse < 10 ** (-EXACT / 10)) & autoencoder.spec.lossless
    for metric in metrics:
        if metric.unit == "dB":
            values |= {name: values[name].masked_fill(exact, math.inf) for name in metric.names}
    names = tuple(values)
    columns = np.stack([values[name].double().cpu().numpy() for name in names], axis=1)
    return Roundtrip(names, columns, latent_sums(latents), (encoding, decoding))


@torch.inference_mode()
def measured_hr(hr: Tensor, metrics: Sequence[Metric]) -> Roundtrip:
    """What the measures that need no reference say of HR itself; no latents, no seconds."""
    values = measure(metrics, hr, {})  # of these, what needs nothing beside the image
    columns = np.stack([value.double().cpu().numpy() for value in values.values()], axis=1)
    return Roundtrip(tuple(values), columns, latent_sums(hr[:, :0]), (0.0, 0.0))


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


@dataclass(frozen=True)
class Timing:
    """Median seconds to encode and to decode one image, and on what: device, torch's threads, images at a time."""

    encode_seconds: float
    decode_seconds: float
    device: str
    threads: int
    batch: int


def arrays_of(measured: Roundtrip, hr: Tensor, batch: int) -> dict[str, NDArray[np.generic]]:
    """The arrays to keep of a batch of the images `hr`, of which `batch` were asked for at a time."""
    return {
        "constant": (hr.amax(dim=(1, 2, 3)) == hr.amin(dim=(1, 2, 3))).cpu().numpy(),
        "device": np.array(device_name(hr.device)),
        "setup": np.array((torch.get_num_threads(), batch)),
        "names": np.array(measured.names),
        "values": measured.values,
        "sums": measured.latents.sums,
        "seconds": np.array(measured.seconds),
    }


def device_name(device: torch.device) -> str:
    """`cpu`, or the kind and the maker's name."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def constant_ids(part: Part) -> frozenset[str]:
    """The part's images of one grey level."""
    return frozenset(name for name, constant in zip(part.ids, part["constant"], strict=True) if constant)


def psnr_of(parts: Sequence[Part]) -> dict[str, float]:
    """The PSNR of each image in dB, by id."""
    return {
        name: float(value)
        for part in parts
        for name, value in zip(part.ids, part["values"][:, _names(part).index("psnr")], strict=True)
    }


def _names(part: Part) -> list[str]:
    return [str(name) for name in part["names"]]


def rows(parts: Sequence[Part], dataset: Dataset, method: str) -> pd.DataFrame:
    """The tidy rows of the parts, sorted."""
    patients = {record.id: record.patient for record in dataset.records}
    return sorted_table(
        tidy_rows(dataset.name, {id: patients[id] for id in part.ids}, method, _names(part), part["values"])
        for part in parts
    )


def total(parts: Sequence[Part]) -> LatentSums:
    """The latents' sums over all parts."""
    return reduce(add, (LatentSums(part["sums"].astype(np.float64), len(part.ids)) for part in parts))


def timing(parts: Sequence[Part]) -> Timing:
    """Medians over the batches. If the job went on elsewhere, those of the device and batch that did most images."""
    images: Counter[tuple[str, int, int]] = Counter()
    for part in parts:
        images[_setup(part)] += len(part.ids)
    chosen = max(images, key=lambda setup: (images[setup], setup))
    each = [part["seconds"].astype(np.float64) / len(part.ids) for part in parts if _setup(part) == chosen]
    encoding, decoding = np.median(np.array(each), axis=0)
    return Timing(float(encoding), float(decoding), *chosen)


def _setup(part: Part) -> tuple[str, int, int]:
    """(device, threads, batch)."""
    threads, batch = part["setup"].tolist()
    return str(part["device"]), threads, batch

"""What was measured of a batch, as arrays of a part on disk and back, and what all parts of a method add up to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsr.data.records import Dataset
from latentsr.parts import Part
from latentsr.screening.latent import LatentSums
from latentsr.screening.measure import Measured
from latentsr.stats.table import sorted_table, tidy_rows


@dataclass(frozen=True)
class Timing:
    """Median seconds to encode and to decode one image, and on what: device, torch's threads, images at a time."""

    encode_seconds: float
    decode_seconds: float
    device: str
    threads: int
    batch: int


def arrays_of(measured: Measured, hr: Tensor, batch: int) -> dict[str, NDArray[np.generic]]:
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

"""What was measured of a batch, as arrays of a part on disk and back, and what all parts of a method add up to."""

from collections.abc import Sequence
from functools import reduce
from operator import add

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsr.data.records import Dataset
from latentsr.parts import Part
from latentsr.screening.latent import LatentSums
from latentsr.screening.measure import Measured
from latentsr.stats.table import COLUMNS


def arrays_of(measured: Measured) -> dict[str, NDArray[np.generic]]:
    """The arrays to keep of a batch."""
    return {
        "names": np.array(measured.names),
        "values": measured.values,
        "sums": measured.latents.sums,
        "seconds": np.array(measured.seconds),
    }


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
    wide = pd.concat([pd.DataFrame(part["values"], index=part.ids, columns=_names(part)) for part in parts])
    long = wide.rename_axis(index="id", columns="metric").stack(future_stack=True).rename("value").reset_index()
    long = long.assign(dataset=dataset.name, method=method, patient=long["id"].map(patients))
    return long[list(COLUMNS)].sort_values(list(COLUMNS[:-1]), ignore_index=True)


def total(parts: Sequence[Part]) -> LatentSums:
    """The latents' sums over all parts."""
    return reduce(add, (LatentSums(part["sums"].astype(np.float64), len(part.ids)) for part in parts))


def seconds_an_image(parts: Sequence[Part]) -> tuple[float, float]:
    """Median over the batches of the seconds to encode and to decode one image."""
    each = np.array([part["seconds"].astype(np.float64) / len(part.ids) for part in parts])
    encoding, decoding = np.median(each, axis=0)
    return float(encoding), float(decoding)

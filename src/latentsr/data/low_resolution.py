"""The LR images of a dataset as files: what a method outside this package restores, to be evaluated on it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from latentsr.atomic import replacing
from latentsr.data.records import Dataset, Record
from latentsr.degrade import Degradation
from latentsr.errors import StaleError
from latentsr.io.raster import write_pixels

TOP = np.iinfo(np.uint16).max

Progress = Callable[[int, int], None]


def write_low_resolution(
    dataset: Dataset, degradation: Degradation, split: str, out: Path, *, progress: Progress = lambda done, total: None
) -> int:
    """How many LR images were written to the new folder `out`, whole or not at all: 16-bit PNG, `ID.png`.

    HR in [0, 1] is degraded in float64, as `evaluate` does, clamped to [0, 1] and rounded to 16 bit: 1e-5 of the range.

    Raises:
        InputError: no such split, HR files that changed, sides that the scale does not divide.
        StaleError: `out` is there already.
    """
    if out.exists():
        raise StaleError(f"{out}: exists already; choose another output folder")
    records = dataset.select(split)
    dataset.check(records)
    with replacing(out) as partial:
        for done, record in enumerate(records, start=1):
            write_pixels(partial / f"{record.id}.png", _low_resolution(dataset, record, degradation))
            progress(done, len(records))
    return len(records)


def _low_resolution(dataset: Dataset, record: Record, degradation: Degradation) -> np.ndarray:
    hr = torch.from_numpy(dataset.image(record)).double()
    lr = degradation.apply(hr).clamp(0, 1)
    return np.round(lr.numpy() * TOP).astype(np.uint16)

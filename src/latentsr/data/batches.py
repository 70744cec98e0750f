"""Images of a dataset batch by batch: which are chosen, those of one size together, read, padded for a network."""

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from latentsr.data.records import Dataset, Record
from latentsr.errors import OptionError


def spread(records: Sequence[Record], limit: int | None) -> tuple[Record, ...]:
    """The records; with a limit so many of them, evenly spread over the ids and so over the patients."""
    if limit is not None and limit < 1:
        raise OptionError(f"the option limit is {limit}: expected 1 image or more")
    if limit is None or limit >= len(records):
        return tuple(records)
    return tuple(records[index * len(records) // limit] for index in range(limit))


def batches(records: Sequence[Record], size: int, done: Collection[str] = ()) -> Iterator[tuple[Record, ...]]:
    """Records of one image size, at most `size` at a time; those whose id is in `done` are left out."""
    left = sorted((record for record in records if record.id not in done), key=_shape)
    for _, group in groupby(left, key=_shape):
        alike = tuple(group)
        for start in range(0, len(alike), size):
            yield alike[start : start + size]


def commonest(records: Sequence[Record]) -> tuple[Record, ...]:
    """The records of the image size that most have, the larger one if two are as common."""
    sizes = [_shape(record) for record in records]
    size = max(set(sizes), key=lambda one: (sizes.count(one), one))
    return tuple(record for record in records if _shape(record) == size)


def loaded(dataset: Dataset, records: Sequence[Record], device: str | torch.device) -> Tensor:
    """The images (batch, 1, rows, columns) in [0, 1] of records of one size, on a device."""
    return stacked([torch.from_numpy(dataset.image(record)) for record in records], device)


def padded(images: Tensor, factor: int) -> Tensor:
    """`images` with the last row and column repeated until both sides are multiples of `factor`."""
    down, right = (-side % factor for side in images.shape[-2:])
    return F.pad(images, (0, right, 0, down), mode="replicate") if down or right else images


def stacked(images: Sequence[torch.Tensor], device: str | torch.device) -> Tensor:
    """Images (rows, columns) of one size as a batch (batch, 1, rows, columns) on a device."""
    return torch.stack(list(images))[:, None].to(device)


def _shape(record: Record) -> tuple[int, int]:
    return record.rows, record.columns

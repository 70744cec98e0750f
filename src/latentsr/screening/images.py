"""The images of a screening, batch by batch: those that are chosen, those of one size together, padded where needed."""

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from latentsr.data.records import Dataset, Record


def chosen(dataset: Dataset, split: str, limit: int | None) -> tuple[Record, ...]:
    """The split's records; with a limit so many of them, evenly spread over the ids and so over the patients."""
    records = dataset.select(split)
    if limit is None or limit >= len(records):
        return records
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
    shapes = [_shape(record) for record in records]
    shape = max(set(shapes), key=lambda one: (shapes.count(one), one))
    return tuple(record for record in records if _shape(record) == shape)


def stacked(dataset: Dataset, records: Sequence[Record], device: str) -> Tensor:
    """The images (batch, 1, rows, columns) in [0, 1] of records of one size."""
    return torch.stack([torch.from_numpy(dataset.image(record)) for record in records])[:, None].to(device)


def padded(images: Tensor, factor: int) -> Tensor:
    """`images` with the last row and column repeated until both sides are multiples of `factor`."""
    down, right = (-side % factor for side in images.shape[-2:])
    return F.pad(images, (0, right, 0, down), mode="replicate") if down or right else images


def latent_shape(channels: int, factor: int, rows: int, columns: int) -> tuple[int, int, int]:
    """(channels, rows, columns) of the latent of an image of that many pixels, padded to the factor."""
    return channels, -(-rows // factor), -(-columns // factor)


def _shape(record: Record) -> tuple[int, int]:
    return record.rows, record.columns

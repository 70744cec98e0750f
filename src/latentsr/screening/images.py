"""The images of a screening's dataset: those of the commonest size, batches of them, the shape of their latents."""

from collections.abc import Sequence

import torch
from torch import Tensor

from latentsr.data.batches import stacked
from latentsr.data.records import Dataset, Record


def commonest(records: Sequence[Record]) -> tuple[Record, ...]:
    """The records of the image size that most have, the larger one if two are as common."""
    shapes = [(record.rows, record.columns) for record in records]
    shape = max(set(shapes), key=lambda one: (shapes.count(one), one))
    return tuple(record for record in records if (record.rows, record.columns) == shape)


def loaded(dataset: Dataset, records: Sequence[Record], device: str) -> Tensor:
    """The images (batch, 1, rows, columns) in [0, 1] of records of one size."""
    return stacked([torch.from_numpy(dataset.image(record)) for record in records], device)


def latent_shape(channels: int, factor: int, rows: int, columns: int) -> tuple[int, int, int]:
    """(channels, rows, columns) of the latent of an image of that many pixels, padded to the factor."""
    return channels, -(-rows // factor), -(-columns // factor)

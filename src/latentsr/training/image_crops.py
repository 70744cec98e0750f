"""Training and validation images for autoencoders: training sample n is a function of (seed, n) alone."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as Samples

from latentsr.data.records import Dataset, Record
from latentsr.errors import InputError


class ImageCrops(Samples[dict[str, Tensor]]):
    """Random crops of `crop` pixels, flipped at random on both axes, and standard normal noise of the latent's shape.

    Images come from the split "train" and may differ in size; one smaller than the crop raises InputError.
    """

    def __init__(self, dataset: Dataset, *, crop: int, latent_shape: tuple[int, int, int], seed: int) -> None:
        self.dataset, self.crop, self.latent_shape, self.seed = dataset, crop, latent_shape, seed
        self.records = dataset.select("train")
        smallest = min(min(record.rows, record.columns) for record in self.records)
        if crop > smallest:
            raise InputError(f"{dataset.root}: an image has a side of {smallest} px; expected at least --crop {crop}")

    def __getitem__(self, n: int) -> dict[str, Tensor]:
        """Sample n: `image` (1, crop, crop) in [-1, 1] and `noise`."""
        generator = np.random.default_rng([self.seed, n])
        record = self.records[int(generator.integers(len(self.records)))]
        top, left = (int(generator.integers(side - self.crop + 1)) for side in (record.rows, record.columns))
        pixels = self.dataset.image(record)[top : top + self.crop, left : left + self.crop]
        pixels = pixels[:: int(generator.choice([-1, 1])), :: int(generator.choice([-1, 1]))]
        noise = torch.from_numpy(generator.standard_normal(self.latent_shape, dtype=np.float32))
        return {"image": _to_network(pixels), "noise": noise}


class WholeImages(Samples[Tensor]):
    """The images of the given records, (1, rows, columns) in [-1, 1]."""

    def __init__(self, dataset: Dataset, records: Sequence[Record]) -> None:
        self.dataset, self.records = dataset, records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, n: int) -> Tensor:
        """Image n."""
        return _to_network(self.dataset.image(self.records[n]))


def _to_network(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels))[None] * 2 - 1

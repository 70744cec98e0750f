"""Training and validation images for autoencoders: training sample n is a function of (seed, n) alone."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as Samples

from latentsr.data.records import Dataset, Record
from latentsr.errors import InputError

DatasetImage = tuple[Dataset, Record]


class ImageCrops(Samples[dict[str, Tensor]]):
    """Random crops of `crop` pixels, flipped at random on both axes, and standard normal noise of the latent's shape.

    Images come from the split "train" of all datasets, each image as often as any other, and may differ in size; one
    smaller than the crop raises InputError.
    """

    def __init__(
        self, datasets: Sequence[Dataset], *, crop: int, latent_shape: tuple[int, int, int], seed: int
    ) -> None:
        self.crop, self.latent_shape, self.seed = crop, latent_shape, seed
        self.images = images_of(datasets, "train")
        for dataset, record in self.images:
            if crop > (side := min(record.rows, record.columns)):
                raise InputError(f"{dataset.root}: an image has a side of {side} px; expected at least crop, {crop}")

    def __getitem__(self, n: int) -> dict[str, Tensor]:
        """Sample n: `image` (1, crop, crop) in [-1, 1] and `noise`."""
        generator = np.random.default_rng([self.seed, n])
        dataset, record = self.images[int(generator.integers(len(self.images)))]
        top, left = (int(generator.integers(side - self.crop + 1)) for side in (record.rows, record.columns))
        pixels = dataset.image(record)[top : top + self.crop, left : left + self.crop]
        pixels = pixels[:: int(generator.choice([-1, 1])), :: int(generator.choice([-1, 1]))]
        noise = torch.from_numpy(generator.standard_normal(self.latent_shape, dtype=np.float32))
        return {"image": _to_network(pixels), "noise": noise}


class WholeImages(Samples[Tensor]):
    """The images of the given records, (1, rows, columns) in [-1, 1]."""

    def __init__(self, images: Sequence[DatasetImage]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, n: int) -> Tensor:
        """Image n."""
        dataset, record = self.images[n]
        return _to_network(dataset.image(record))


def images_of(datasets: Sequence[Dataset], split: str) -> tuple[DatasetImage, ...]:
    """The images of a split of all datasets, set by set; InputError where one has no such split."""
    return tuple((dataset, record) for dataset in datasets for record in dataset.select(split))


def _to_network(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels))[None] * 2 - 1

"""Training samples as a function of (seed, n): crops of images and of cached latents, and whole validation images."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as Samples
from torch.utils.data import Sampler

from latentsr.autoencoders.encoding import to_network
from latentsr.data.latents import LatentCache
from latentsr.data.records import Dataset, DatasetImage
from latentsr.diffusion.latents import LatentSpace
from latentsr.diffusion.objective import TIMES
from latentsr.errors import InputError, OptionError


class StepBatches(Sampler[list[int]]):
    """The sample numbers of `steps` successive batches, from step `first()` on.

    Sample numbers never repeat: sample n belongs to step n // (batch x processes), and a dataset makes of it whatever
    a generator seeded by (seed, n) draws. Workers and number of epochs change nothing.
    """

    def __init__(self, first: Callable[[], int], *, steps: int, batch: int, rank: int = 0, processes: int = 1) -> None:
        self.first = first
        self.steps = steps
        self.batch = batch
        self.rank = rank
        self.processes = processes

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        begin = self.first()
        for step in range(begin, begin + self.steps):
            start = (step * self.processes + self.rank) * self.batch
            yield list(range(start, start + self.batch))


class ImageCrops(Samples[dict[str, Tensor]]):
    """Random crops of `crop` pixels, and standard normal noise of the latent's shape.

    With `flips` rows and columns are turned over at random. Images come from the split "train" of all datasets, each
    image as often as any other, and may differ in size; one smaller than the crop raises InputError.
    """

    def __init__(
        self, datasets: Sequence[Dataset], *, crop: int, latent_shape: tuple[int, int, int], seed: int,
        flips: bool = True,
    ) -> None:  # fmt: skip
        self.crop, self.latent_shape, self.seed, self.flips = crop, latent_shape, seed, flips
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
        if self.flips:
            pixels = pixels[:: int(generator.choice([-1, 1])), :: int(generator.choice([-1, 1]))]
        noise = torch.from_numpy(generator.standard_normal(self.latent_shape, dtype=np.float32))
        return {"image": _tensor(pixels), "noise": noise}


class WholeImages(Samples[Tensor]):
    """The images of the given records, (1, rows, columns) in [-1, 1]."""

    def __init__(self, images: Sequence[DatasetImage]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, n: int) -> Tensor:
        """Image n."""
        dataset, record = self.images[n]
        return _tensor(dataset.image(record))


def images_of(datasets: Sequence[Dataset], split: str) -> tuple[DatasetImage, ...]:
    """The images of a split of all datasets, set by set; InputError if one lacks the split."""
    return tuple((dataset, record) for dataset in datasets for record in dataset.select(split))


def _tensor(pixels: np.ndarray) -> Tensor:
    return to_network(torch.from_numpy(np.ascontiguousarray(pixels))[None])


Flip = Callable[[Tensor, list[int]], Tensor]


class LatentCrops(Samples[dict[str, Tensor]]):
    """Random crops of `crop` latent pixels, the same field of view in every role, with a time and noise each.

    A `pure_noise_share` of the samples has the noisiest time, at which the network learns the posterior mean.
    `flip(latents, axes)`, if given, turns rows and columns over at random, pixels and latents alike.
    """

    def __init__(
        self,
        cache: LatentCache,
        space: LatentSpace,
        *,
        crop: int,
        pure_noise_share: float,
        seed: int,
        flip: Flip | None = None,
    ) -> None:
        self.arrays: Mapping[str, np.ndarray] = {role: cache.array("train", role) for role in ("hr", *space.roles)}
        self.crop, self.pure_noise_share, self.seed, self.flip = crop, pure_noise_share, seed, flip
        self.side = min(self.arrays["hr"].shape[2:])
        self.grid = max(self.arrays["hr"].shape[-1] // min(array.shape[-1] for array in self.arrays.values()), 1)
        if crop % self.grid:
            raise OptionError(f"crop {crop}: expected a multiple of {self.grid}, a pixel of the coarsest condition")
        if crop > self.side:
            raise OptionError(f"crop {crop}: latents are {self.side} px wide; expected at most that")

    def __getitem__(self, n: int) -> dict[str, Tensor]:
        """Sample n: roles (channels, rows, columns), `noise` like `hr`, `time` 0..999."""
        generator = np.random.default_rng([self.seed, n])
        hr = self.arrays["hr"]
        image = int(generator.integers(len(hr)))
        corner = [self.grid * int(generator.integers((side - self.crop) // self.grid + 1)) for side in hr.shape[2:]]
        sample = {}
        for role, array in self.arrays.items():  # the part of each that covers the crop, whatever its own size
            ratio = array.shape[-1] / hr.shape[-1]
            top, left = (int(start * ratio) for start in corner)
            side = max(1, int(self.crop * ratio))
            sample[role] = torch.from_numpy(np.array(array[image, :, top : top + side, left : left + side]))
        sample["noise"] = torch.from_numpy(generator.standard_normal(sample["hr"].shape, dtype=np.float32))
        pure = generator.random() < self.pure_noise_share
        sample["time"] = torch.tensor(TIMES - 1 if pure else int(generator.integers(TIMES)))
        if self.flip is not None:
            axes = [axis for axis in (-2, -1) if generator.random() < 0.5]
            flips = {role: torch.flip if role == "pixels" else self.flip for role in self.arrays}
            sample |= {role: flip(sample[role], axes) for role, flip in flips.items()}
        return sample

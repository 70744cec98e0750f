"""Training samples as a function of (seed, n): crops of images and of cached latents, and whole validation images."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import laplace
from torch import Tensor
from torch.utils.data import Dataset as Samples
from torch.utils.data import Sampler

from latentsr.autoencoders.encoding import encode_roles, to_network
from latentsr.autoencoders.protocol import Autoencoder
from latentsr.data.latents import LatentCache
from latentsr.data.records import Dataset, DatasetImage
from latentsr.degrade import Degradation, parse_degradation, translated
from latentsr.diffusion.latents import LatentSpace
from latentsr.diffusion.objective import TIMES
from latentsr.errors import InputError, OptionError
from latentsr.names import NOISE_LEVEL


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


class OtherDegradations:
    """LR of a crop by one of several degradations, brought to the one that the cache's LR was made by.

    The latent must lose nothing. Noise has an sd of 0 to that of the degradation.
    """

    def __init__(
        self, texts: Sequence[str], into: Degradation, roles: Sequence[str], autoencoder: Autoencoder
    ) -> None:  # fmt: skip
        self.into, self.roles, self.autoencoder = into, roles, autoencoder
        self.degradations = [parse_degradation(text) for text in texts]
        if other := [one.text for one in self.degradations if one.scale != into.scale]:
            raise OptionError(f"degradations {', '.join(other)}: expected the scale of the cache's, {into.text}")
        if not autoencoder.spec.lossless:
            raise OptionError(
                f"degradations on latents of {autoencoder.spec.name}, which loses detail: encode with the autoencoder "
                "haar"
            )

    def __call__(self, hr: Tensor, generator: np.random.Generator) -> dict[str, Tensor]:
        """The roles of LR, and its noise level, for the latent of a crop (channels, rows, columns)."""
        made_by = self.degradations[int(generator.integers(len(self.degradations)))]
        lr, level = made_by.apply(self.autoencoder.decode(hr[None])), made_by.noise * float(generator.random())
        if level:  # pixels in [-1, 1] are twice as far apart
            lr = lr + 2 * level * torch.from_numpy(generator.standard_normal(lr.shape, dtype=np.float32))
        seen = encode_roles(
            self.roles, translated(lr, made_by, self.into), self.into.scale, self.autoencoder.encode
        )  # fmt: skip
        return {NOISE_LEVEL: torch.full((1, *hr.shape[1:]), level)} | {role: one[0] for role, one in seen.items()}


SMALLEST_DETAIL = 1e-9  # of a place: one without any detail is drawn, too


class LatentCrops(Samples[dict[str, Tensor]]):
    """Random crops of `crop` latent pixels, the same field of view in every role, with a time and noise each.

    A `pure_noise_share` of the samples has the noisiest time, at which the network learns the posterior mean.
    `flip(latents, axes)`, if given, turns rows and columns over at random, pixels and latents alike. With `others` half
    of the crops have another LR than the cache's. A share of `detail` is drawn in proportion to the squared Laplacian
    of LR in them, each dataset as often as before, so that rare strong detail, such as letters, is learned as well as
    what is everywhere. LR alone decides, so that what is learned for an LR stays what it was.
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
        others: OtherDegradations | None = None,
        detail: float = 0.0,
    ) -> None:
        self.others, self.conditions, self.detail = others, space.conditions, detail
        self.arrays: Mapping[str, np.ndarray] = {role: cache.array("train", role) for role in ("hr", *space.roles)}
        self.crop, self.pure_noise_share, self.seed, self.flip = crop, pure_noise_share, seed, flip
        self.side = min(self.arrays["hr"].shape[2:])
        self.grid = max(self.arrays["hr"].shape[-1] // min(array.shape[-1] for array in self.arrays.values()), 1)
        if crop % self.grid:
            raise OptionError(f"crop {crop}: expected a multiple of {self.grid}, a pixel of the coarsest condition")
        if crop > self.side:
            raise OptionError(f"crop {crop}: latents are {self.side} px wide; expected at most that")
        if detail:
            if len(self.arrays) == 1:
                raise OptionError("detail without a condition: expected LR, by which crops are drawn")
            found = np.array([self._details(image).sum() for image in range(len(self.arrays["hr"]))])
            datasets = np.array(cache.datasets("train"))
            for dataset in set(datasets):
                found[datasets == dataset] /= found[datasets == dataset].mean()
            self.images = found.cumsum()

    def _details(self, image: int) -> NDArray[np.float64]:
        """The squared Laplacian of an image's LR in the crop at each corner on the grid: (rows, columns)."""
        array = self.arrays["pixels" if "pixels" in self.arrays else list(self.arrays)[-1]]
        detail = np.sum([laplace(channel, mode="nearest") ** 2 for channel in array[image].astype(np.float64)], axis=0)
        rows, columns = ((side - self.crop) // self.grid + 1 for side in self.arrays["hr"].shape[2:])
        ratio = array.shape[-1] / self.arrays["hr"].shape[-1]
        side, step = max(1, int(self.crop * ratio)), self.grid * ratio
        sums = np.pad(detail, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)  # of all above and left
        top, left = (np.int64(np.arange(count) * step) for count in (rows, columns))
        high, low = sums[top + side], sums[top]
        return high[:, left + side] - high[:, left] - low[:, left + side] + low[:, left] + SMALLEST_DETAIL

    def _place(self, generator: np.random.Generator) -> tuple[int, list[int]]:
        """The image of a crop, and its corner in latent pixels."""
        if self.detail and generator.random() < self.detail:
            image = int(np.searchsorted(self.images, generator.random() * self.images[-1], side="right"))
            details = self._details(image)
            chosen = generator.choice(details.size, p=details.ravel() / details.sum())
            return image, [self.grid * int(place) for place in np.unravel_index(chosen, details.shape)]
        sides = self.arrays["hr"].shape[2:]
        image = int(generator.integers(len(self.arrays["hr"])))
        return image, [self.grid * int(generator.integers((side - self.crop) // self.grid + 1)) for side in sides]

    def __getitem__(self, n: int) -> dict[str, Tensor]:
        """Sample n: roles (channels, rows, columns), `noise` like `hr`, `time` 0..999."""
        generator = np.random.default_rng([self.seed, n])
        image, corner = self._place(generator)
        sample = {}
        for role, array in self.arrays.items():  # the part of each that covers the crop, whatever its own size
            ratio = array.shape[-1] / self.arrays["hr"].shape[-1]
            top, left = (int(start * ratio) for start in corner)
            side = max(1, int(self.crop * ratio))
            sample[role] = torch.from_numpy(np.array(array[image, :, top : top + side, left : left + side]))
        sample["noise"] = torch.from_numpy(generator.standard_normal(sample["hr"].shape, dtype=np.float32))
        pure = generator.random() < self.pure_noise_share
        sample["time"] = torch.tensor(TIMES - 1 if pure else int(generator.integers(TIMES)))
        if NOISE_LEVEL in self.conditions:
            sample[NOISE_LEVEL] = torch.zeros(1, self.crop, self.crop)
        if self.others is not None and generator.random() < 0.5:
            made = self.others(sample["hr"], generator)
            sample |= {role: one for role, one in made.items() if role in (*self.arrays, *self.conditions)}
        if self.flip is not None:
            axes = [axis for axis in (-2, -1) if generator.random() < 0.5]
            flips = {role: torch.flip if role == "pixels" else self.flip for role in self.arrays}
            sample |= {role: flip(sample[role], axes) for role, flip in flips.items()}
        return sample

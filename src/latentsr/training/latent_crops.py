"""Training samples from the latent cache: sample n is a function of (seed, n) alone."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from latentsr.data.latents import LatentCache
from latentsr.diffusion.latents import LatentSpace
from latentsr.diffusion.schedule import TIMES
from latentsr.errors import OptionError


class LatentCrops(Dataset[dict[str, Tensor]]):
    """Random crops of `crop` latent pixels, the same field of view in every role, with a time and noise each.

    A `pure_noise_share` of the samples has the noisiest time, at which the network learns the posterior mean.
    """

    def __init__(
        self, cache: LatentCache, space: LatentSpace, *, crop: int, pure_noise_share: float, seed: int
    ) -> None:
        self.arrays: Mapping[str, np.ndarray] = {role: cache.array("train", role) for role in ("hr", *space.roles)}
        self.crop, self.pure_noise_share, self.seed = crop, pure_noise_share, seed
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
        sample = {role: self._cut(array, image, corner) for role, array in self.arrays.items()}
        sample["noise"] = torch.from_numpy(generator.standard_normal(sample["hr"].shape, dtype=np.float32))
        pure = generator.random() < self.pure_noise_share
        sample["time"] = torch.tensor(TIMES - 1 if pure else int(generator.integers(TIMES)))
        return sample

    def _cut(self, array: np.ndarray, image: int, corner: list[int]) -> Tensor:
        """The part of a role that covers the latent crop at `corner`, whatever the role's own size."""
        ratio = array.shape[-1] / self.arrays["hr"].shape[-1]
        top, left = (int(start * ratio) for start in corner)
        side = max(1, int(self.crop * ratio))
        return torch.from_numpy(np.array(array[image, :, top : top + side, left : left + side]))

"""What a latent is like: per-channel mean and sd, and how alike neighbours are. Sums that add up over batches."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Terms of a correlation of neighbours a and b; below, the rows of `LatentSums.sums`.
PAIR = ("n", "a", "b", "aa", "bb", "ab")
FIELDS = ("n", "z", "zz", *(f"row_{term}" for term in PAIR), *(f"column_{term}" for term in PAIR))


@dataclass(frozen=True)
class LatentSums:
    """Sums over latent pixels, float64 (len(FIELDS), channels), and how many images went in."""

    sums: NDArray[np.float64]
    images: int

    def __add__(self, other: "LatentSums") -> "LatentSums":
        return LatentSums(self.sums + other.sums, self.images + other.images)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Of each channel, over pixels and images."""
        return np.asarray(self._of("z") / self._of("n"))

    @property
    def sd(self) -> NDArray[np.float64]:
        """Population sd of each channel, over pixels and images."""
        return np.sqrt(np.maximum(self._of("zz") / self._of("n") - self.mean**2, 0))

    def correlation(self, axis: str) -> NDArray[np.float64]:
        """Pearson's r of neighbouring latent pixels, per channel: "row" along rows, "column" along columns.

        NaN where a channel is constant or a latent has but one pixel on that axis.
        """
        n, a, b, aa, bb, ab = (self._of(f"{axis}_{term}") for term in PAIR)
        with np.errstate(invalid="ignore", divide="ignore"):
            covariance = ab / n - a / n * (b / n)
            spread = np.maximum(aa / n - (a / n) ** 2, 0) * np.maximum(bb / n - (b / n) ** 2, 0)
            # Below this a "variance" is the rounding of a difference of large numbers.
            constant = spread <= (1e-12 * (aa / n) * (bb / n))
            return np.asarray(np.where(constant, np.nan, covariance / np.sqrt(spread)))

    def _of(self, field: str) -> NDArray[np.float64]:
        return self.sums[FIELDS.index(field)]


def latent_sums(latents: Tensor) -> LatentSums:
    """The sums of a batch (images, channels, rows, columns)."""
    z = latents.cpu().double() if latents.device.type == "mps" else latents.double()
    rows = [_count(z), _total(z), _total(z * z)]
    for a, b in ((z[..., :-1], z[..., 1:]), (z[..., :-1, :], z[..., 1:, :])):
        rows += [_count(a), _total(a), _total(b), _total(a * a), _total(b * b), _total(a * b)]
    return LatentSums(torch.stack(rows).cpu().numpy(), len(latents))


def _total(values: Tensor) -> Tensor:
    return values.sum(dim=(0, 2, 3))


def _count(values: Tensor) -> Tensor:
    """How many values a channel has, repeated for each channel."""
    return values.new_full((values.shape[1],), values.numel() / max(values.shape[1], 1))

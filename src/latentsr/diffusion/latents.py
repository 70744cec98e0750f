"""The latent space that a network lives in: which condition, which target, and their normalisation per channel."""

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pixel_unshuffle

from latentsr.config import Config
from latentsr.device import resident
from latentsr.errors import InputError
from latentsr.names import NOISE_LEVEL, Condition

Target = Literal["latent", "residual"]


class Statistics(Config):
    """Mean and sd of each channel over the training images."""

    mean: tuple[float, ...]
    sd: tuple[float, ...]

    @property
    def rms(self) -> float:
        """The root mean square over all channels."""
        return math.sqrt(sum(mean**2 + sd**2 for mean, sd in zip(self.mean, self.sd, strict=True)) / len(self.mean))

    def normalise(self, values: Tensor) -> Tensor:
        """(values - mean) / sd, channels on the second axis."""
        mean, sd = self._like(values)
        return (values - mean) / sd

    def restore(self, values: Tensor) -> Tensor:
        """values * sd + mean: the inverse of `normalise`."""
        mean, sd = self._like(values)
        return values * sd + mean

    def _like(self, values: Tensor) -> tuple[Tensor, Tensor]:
        mean, sd = (resident(np.array, (v,), values.dtype, values.device) for v in (self.mean, self.sd))
        return mean[:, None, None], sd[:, None, None]


class LatentSpace(Config):
    """What the network sees and what it predicts.

    `target` is the HR latent, or its residual to the latent of the enlarged LR. `statistics` has an entry for `hr` or
    `residual` and one for each condition.
    """

    conditions: tuple[Condition, ...]
    target: Target
    statistics: dict[str, Statistics]

    @property
    def target_statistics(self) -> Statistics:
        """Those of what the network predicts."""
        return self.statistics["residual" if self.target == "residual" else "hr"]

    def condition(self, roles: Mapping[str, Tensor], size: tuple[int, int]) -> Tensor:
        """The condition on channels, normalised, at latent `size` (rows, columns); LR without a level has no noise."""
        given = dict(roles)
        if NOISE_LEVEL in self.conditions and NOISE_LEVEL not in roles:
            like = next(iter(roles.values()))
            given[NOISE_LEVEL] = like.new_zeros(len(like), 1, *size)
        parts = (self.statistics[name].normalise(given[name]) for name in self.conditions)
        return torch.cat([at_latent_size(part, size) for part in parts], dim=1)

    def to_target(self, hr: Tensor, up: Tensor | None) -> Tensor:
        """The normalised target of the HR latent `hr`; `up` is the latent of the enlarged LR, for residuals."""
        return self.target_statistics.normalise(hr if self.target == "latent" else hr - _needed(up))

    def from_target(self, target: Tensor, up: Tensor | None) -> Tensor:
        """The HR latent: the inverse of `to_target`."""
        latent = self.target_statistics.restore(target)
        return latent if self.target == "latent" else latent + _needed(up)

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles of LR that the network needs, the residual's base included, but not the noise level."""
        base = ("latent-up",) if self.target == "residual" and "latent-up" not in self.conditions else ()
        return (*(one for one in self.conditions if one != NOISE_LEVEL), *base)


def _needed(up: Tensor | None) -> Tensor:
    if up is None:
        raise ValueError("a residual without the latent of the enlarged LR: give `up`, see `LatentSpace.roles`")
    return up


def at_latent_size(values: Tensor, size: tuple[int, int]) -> Tensor:
    """`values` brought to latent size: larger ones by space-to-depth, smaller ones bilinearly."""
    if any(side > wanted and side % wanted for side, wanted in zip(values.shape[-2:], size, strict=True)):
        found, expected = tuple(values.shape[-2:]), tuple(size)
        raise InputError(
            f"condition of {found} px at a latent of {expected}: expected a multiple; choose other conditions"
        )
    if values.shape[-2] > size[0]:
        return pixel_unshuffle(values, values.shape[-2] // size[0])
    if values.shape[-2] < size[0]:
        return interpolate(values, size=size, mode="bilinear", align_corners=False)
    return values


def condition_channels(conditions: tuple[str, ...], latent_channels: int, pixels_per_latent: int) -> int:
    """How many channels the condition has; `pixels_per_latent` is LR side over latent side, 1 where it is less."""
    channels: dict[str, int] = {"pixels": pixels_per_latent**2, NOISE_LEVEL: 1}
    return sum(channels.get(name, latent_channels) for name in conditions)

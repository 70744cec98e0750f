"""Windows: the straight line between an image's physical values and [0, 1], and its exact inverse."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsr.errors import InputError

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """The physical values that become 0 (`low`) and 1 (`high`); values outside go below 0 or above 1, never clipped."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise InputError(f"window {self.low:g} to {self.high:g}: give two finite numbers, the low one first")

    @classmethod
    def of(cls, pixels: NDArray[Any], *, constant: bool = False) -> "Window":
        """The window from the least to the greatest pixel; InputError if constant, missing or not finite.

        `constant` lets constant pixels through, which then are 0 of their window.
        """
        if pixels.size == 0:
            raise InputError("the image has no pixels: give an image of at least 2 x 2 pixels")
        low, high = float(pixels.min()), float(pixels.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise InputError("the image holds NaN or infinite pixels: replace them with a number first")
        if low == high and constant:
            return cls(low, low + max(1.0, abs(low)))
        if low == high:
            raise InputError(f"all pixels are {low:g}: a constant image has nothing to enlarge, leave it out")
        return cls(low, high)

    def apply(self, pixels: NDArray[Any]) -> Pixels:
        """The pixels on the unit scale, float32; computed in float64, so that `invert` gives 16-bit values back."""
        unit = (np.asarray(pixels, np.float64) - self.low) / (self.high - self.low)
        return unit.astype(np.float32)

    def invert(self, unit: NDArray[Any]) -> Pixels:
        """The physical values of pixels on the unit scale, float32: the inverse of `apply`."""
        physical = np.asarray(unit, np.float64) * (self.high - self.low) + self.low
        return physical.astype(np.float32)

"""What turns the spread over samples into intervals with a guarantee, and the inputs that the guarantee is for."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentsr.config import Config
from latentsr.device import array
from latentsr.errors import InputError
from latentsr.upscalers.upscaler import Sampling

if TYPE_CHECKING:  # inputs are also compared where nothing else needs it
    from torch import Tensor

FLOOR = 1 / 255  # of the intensity range, a grey level of 8 bits: where samples agree, errors are not nothing
TRUSTED = 0.05  # of the intensity range: the half-width of an interval up to which a pixel is trusted
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MARGIN = 1.1  # on the farthest image of a calibration: rounded to 8 bits it is still inside
SMALLEST_SD = 0.02  # of an intensity quantile, or of a ring's log10 power
RINGS, SMALLEST_SIDE = 10, 16  # of the spectrum, and the px of a side under which rings are empty
COMPARED = ("samples", "steps", "realism", "consistency", "solver")  # options that decide what is calibrated


def raw_width(spread: "Tensor") -> "Tensor":
    """The width that a calibration scales, of images in [0, 1]: the root of squared spread and squared FLOOR.

    The floor was chosen on training images, so that no quartile of widths has much more pixels outside than another.
    """
    return (spread.square() + FLOOR**2).sqrt()


def stretched(lr: "Tensor | NDArray[Any]") -> NDArray[np.float64]:
    """Images (images, 1, rows, columns), each from 0 at its own smallest to 1 at its largest value."""
    images = array(lr).astype(np.float64)
    low, high = (of(images, axis=(1, 2, 3), keepdims=True) for of in (np.min, np.max))
    return np.asarray((images - low) / np.maximum(high - low, 1e-9))


def lr_features(lr: "Tensor | NDArray[Any]") -> dict[str, NDArray[np.float64]]:
    """What tells LR images (images, 1, rows, columns) apart: their `intensity` and `spectrum`, (images, features) each.

    Five quantiles, and log10 power a pixel in ten rings, of each image stretched to its own smallest and largest value,
    so that neither window nor contrast matters. NaN under 16 pixels a side.
    Source of the rings: arXiv 2604.12152, as `latentsr.metrics.frequency.radial_spectrum` has them.
    """
    unit = stretched(lr)
    flat, (rows, columns) = unit.reshape(len(unit), -1), unit.shape[-2:]
    places = [round(quantile * (flat.shape[1] - 1)) for quantile in QUANTILES]
    spectrum = np.full((len(unit), RINGS), np.nan)
    if min(rows, columns) >= SMALLEST_SIDE:
        # Half of the spectrum, as that of real images is symmetric: of mirrored bins there are two.
        power = np.log10(np.abs(np.fft.rfft2(unit[:, 0])) ** 2 + 1e-12).reshape(len(unit), -1)
        across, down = np.arange(columns // 2 + 1) / columns, np.fft.fftfreq(rows)
        ring = np.floor(np.hypot(down[:, None], across) / np.sqrt(0.5) * RINGS).ravel()
        bins = np.tile(1.0 + ((across > 0) & (2 * across < 1)), rows)[:, None] * (ring[:, None] == np.arange(RINGS))
        spectrum = power @ (bins / bins.sum(axis=0)) - np.log10(flat.shape[1])
    return {"intensity": np.sort(flat, axis=1)[:, places], "spectrum": spectrum}


def middle(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """The median of each feature over images (images, features), of an even number the lower of the two."""
    return np.asarray(np.quantile(features, 0.5, axis=0, method="lower"))


class InputRange(Config):
    """A kind of features of the calibration's LR images: their medians and sds, and the largest distance among them."""

    centre: tuple[float, ...]
    sd: tuple[float, ...]
    limit: float

    @classmethod
    def of(cls, features: NDArray[np.float64], share: float = 1.0) -> "InputRange":
        """The range of this share of the images; InputError where an image has none, being too small."""
        if not np.isfinite(features).all():
            raise InputError(f"LR images under {SMALLEST_SIDE} px a side have no spectrum: calibrate on larger ones")
        centre, sd = middle(features), np.maximum(features.std(axis=0), SMALLEST_SD)
        limit = np.quantile(np.abs((features - centre) / sd).max(axis=1), share)
        return cls(centre=tuple(centre.tolist()), sd=tuple(sd.tolist()), limit=float(limit))

    def outside(self, features: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which images, bool (images,), lie farther out than all of the n: 1 of n + 1 of the same kind."""
        distance = np.abs((features - self.centre) / np.array(self.sd)).max(axis=1)
        return np.asarray(~(distance <= self.limit * MARGIN))  # also of an image without features


class Calibration(Config):
    """Intervals image ± scale * `raw_width`, their guarantee, and what it holds for.

    With `delta` None: the share of a new patient's pixels outside is at most `alpha` in the mean (conformal risk
    control). Else: with probability 1 - `delta` over the calibration's patients (RCPS). `risk` is the mean share
    outside of those patients, `half_width` the mean half-width of their intervals; pixels in [0, 1]. `sampling` has the
    realism that was used, and `ranges` what LR images of the calibration look like. `left_out` counts the images that
    were not used because the model had been trained on them. `trusted` is the largest half-width in the trust mask.
    """

    alpha: float
    delta: float | None = None
    scale: float
    risk: float
    half_width: float
    patients: int
    images: int
    left_out: int = 0
    dataset: str
    dataset_hash: str
    split: str
    degradation: str
    sampling: Sampling
    ranges: dict[str, InputRange]
    trusted: float = TRUSTED

    def half_widths(self, spread: "Tensor") -> "Tensor":
        """Half the width of each pixel's interval, of the shape of the spread over samples."""
        return self.scale * raw_width(spread)

    def misfit(self, sampling: Sampling, realism: float) -> str:
        """Why results of these options have no guarantee, empty if they have; `realism`: the model's own."""
        given = sampling.model_copy(update={"realism": realism if sampling.realism is None else sampling.realism})
        pairs = {name: (getattr(given, name), getattr(self.sampling, name)) for name in COMPARED}
        other = [f"{name} {mine}, not {calibrated}" for name, (mine, calibrated) in pairs.items() if mine != calibrated]
        return f"not calibrated for these options: {'; '.join(other)}" if other else ""

    def outside(self, lr: "Tensor | NDArray[Any]") -> dict[str, int]:
        """How many of the LR images lie outside the range of the calibration's, by the test that they fail."""
        found = {name: int(self.ranges[name].outside(one).sum()) for name, one in lr_features(lr).items()}
        return {name: count for name, count in found.items() if count}

    @property
    def guarantee(self) -> dict[str, Any]:
        """What a record says of results with these intervals."""
        names = ("alpha", "delta", "patients", "images", "dataset", "degradation")
        return {**{name: getattr(self, name) for name in names}, "trusted_up_to": self.trusted}

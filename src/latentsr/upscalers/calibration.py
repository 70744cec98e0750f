"""What turns the spread over samples into intervals with a guarantee, and the inputs that the guarantee is for."""

import math
from typing import Any

import torch
from torch import Tensor

from latentsr.config import Config
from latentsr.errors import InputError
from latentsr.metrics.frequency import RADIAL_SIDE, radial_spectrum
from latentsr.upscalers.upscaler import Sampling

FLOOR = 1 / 255  # of the intensity range, a grey level of 8 bits: where samples agree, errors are not nothing
TRUSTED = 0.05  # of the intensity range: the half-width of an interval up to which a pixel is trusted
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MARGIN = 1.1  # on the farthest image of a calibration: rounded to 8 bits it is still inside
SMALLEST_SD = 0.02  # of an intensity quantile, or of a ring's log10 power
COMPARED = ("samples", "steps", "realism", "consistency", "solver")  # options that decide what is calibrated


def raw_width(spread: Tensor) -> Tensor:
    """The width that a calibration scales, of images in [0, 1]: the root of squared spread and squared FLOOR.

    The floor was chosen on training images, so that no quartile of widths has much more pixels outside than another.
    """
    return (spread.square() + FLOOR**2).sqrt()


def lr_features(lr: Tensor) -> dict[str, Tensor]:
    """What tells LR images (images, 1, rows, columns) apart: their `intensity` and `spectrum`, (images, features) each.

    Five quantiles, and log10 power a pixel in ten rings, of each image stretched to its own smallest and largest value,
    so that neither window nor contrast matters. NaN under 16 pixels a side.
    """
    flat = lr.flatten(1).double()
    low, high = flat.amin(dim=1, keepdim=True), flat.amax(dim=1, keepdim=True)
    unit = (flat - low) / (high - low).clamp_min(1e-9)
    places = [round(quantile * (flat.shape[1] - 1)) for quantile in QUANTILES]
    spectrum = radial_spectrum(unit.view(lr.shape)) - math.log10(flat.shape[1])
    return {"intensity": unit.sort(dim=1).values[:, places], "spectrum": spectrum}


class InputRange(Config):
    """A kind of features of the calibration's LR images: their medians and sds, and the largest distance among them."""

    centre: tuple[float, ...]
    sd: tuple[float, ...]
    limit: float

    @classmethod
    def of(cls, features: Tensor, share: float = 1.0) -> "InputRange":
        """The range of this share of the images; InputError where an image has none, being too small."""
        if not features.isfinite().all():
            raise InputError(f"LR images under {RADIAL_SIDE} px a side have no spectrum: calibrate on larger ones")
        centre, sd = features.median(dim=0).values, features.std(dim=0, correction=0).clamp_min(SMALLEST_SD)
        limit = torch.quantile(((features - centre) / sd).abs().amax(dim=1), share)
        return cls(centre=tuple(centre.tolist()), sd=tuple(sd.tolist()), limit=float(limit))

    def outside(self, features: Tensor) -> Tensor:
        """Which images, bool (images,), lie farther out than all of the n: 1 of n + 1 of the same kind."""
        centre, sd = features.new_tensor(self.centre), features.new_tensor(self.sd)
        distance = ((features - centre) / sd).abs().amax(dim=1)
        return ~(distance <= self.limit * MARGIN)  # also of an image without features


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

    def half_widths(self, spread: Tensor) -> Tensor:
        """Half the width of each pixel's interval, of the shape of the spread over samples."""
        return self.scale * raw_width(spread)

    def misfit(self, sampling: Sampling, realism: float) -> str:
        """Why results of these options have no guarantee, empty if they have; `realism`: the model's own."""
        given = sampling.model_copy(update={"realism": realism if sampling.realism is None else sampling.realism})
        pairs = {name: (getattr(given, name), getattr(self.sampling, name)) for name in COMPARED}
        other = [f"{name} {mine}, not {calibrated}" for name, (mine, calibrated) in pairs.items() if mine != calibrated]
        return f"not calibrated for these options: {'; '.join(other)}" if other else ""

    def outside(self, lr: Tensor) -> dict[str, int]:
        """How many of the LR images lie outside the range of the calibration's, by the test that they fail."""
        found = {name: int(self.ranges[name].outside(one).sum()) for name, one in lr_features(lr).items()}
        return {name: count for name, count in found.items() if count}

    @property
    def guarantee(self) -> dict[str, Any]:
        """What a record says of results with these intervals."""
        names = ("alpha", "delta", "patients", "images", "dataset", "degradation")
        return {**{name: getattr(self, name) for name in names}, "trusted_up_to": self.trusted}

"""The dial between the posterior mean and a sample: the finest detail first, and as large as the mean's errors are.

A sample's distance from the posterior mean should be as large as the truth's; that of a small network is not. And of
the detail that a sample invents, the coarse part costs most of the error while the fine part gives most of the
sharpness (the Laplacian weighs frequency to the fourth power). So the distance is taken apart into the sixteen bands of
a two-level Haar packet, each band is brought to the size that errors have, and the dial lets fine bands in first.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from latentsr.autoencoders.haar import Haar
from latentsr.config import Config

PACKET = Haar(4)
REALISM = 0.27  # where the dial stands unless told otherwise; chosen on training images, see the model card
BANDS = PACKET.spec.latent_channels
LARGEST_GAIN = 4.0  # beyond it a band has next to no spread to calibrate
SMALLEST_POWER = 1e-12


class SpreadCalibration(Config):
    """The expected squared error of the posterior mean in each band: exp(intercept) * spread^slope.

    `spread` is the mean square of a sample's distance from the mean in the band of an image; pixels in [0, 1].
    """

    slope: tuple[float, ...]
    intercept: tuple[float, ...]

    def gain(self, bands: Tensor) -> Tensor:
        """What to multiply each band of each image by, (images, 16, 1, 1), for the spread that its errors have."""
        slope, intercept = (bands.new_tensor(values) for values in (self.slope, self.intercept))
        spread = _log_power(bands)
        return torch.exp((intercept + (slope - 1) * spread) / 2).clamp(max=LARGEST_GAIN)[:, :, None, None]


def fit_calibration(errors: Tensor, distances: Tensor) -> SpreadCalibration:
    """The calibration from the mean's errors and a sample's distances, (images, 1, rows, columns) each.

    A line through log error against log spread in each band, shifted so that the mean error is met.
    """
    error, spread = _log_power(_bands(errors)), _log_power(_bands(distances))
    away = spread - spread.mean(dim=0)
    slope = (away * (error - error.mean(dim=0))).sum(dim=0) / away.square().sum(dim=0).clamp(min=SMALLEST_POWER)
    slope = slope.clamp(0, 1)
    predicted = slope * spread
    intercept = torch.logsumexp(error, dim=0) - torch.logsumexp(predicted, dim=0)
    return SpreadCalibration(slope=tuple(slope.tolist()), intercept=tuple(intercept.tolist()))


def between(mean: Tensor, sample: Tensor, realism: float, calibration: SpreadCalibration | None) -> Tensor:
    """The image at `realism` between mean and sample, (images, 1, rows, columns), pixels in [0, 1].

    0 is the mean. 1 is the calibrated sample, or the sample as drawn without a calibration.
    """
    bands = _bands(sample - mean)
    gain = 1.0 if calibration is None else calibration.gain(bands)
    distance = PACKET.decode(bands * gain * band_weights(realism).to(bands))
    return mean + distance[..., : mean.shape[-2], : mean.shape[-1]]


def band_weights(realism: float) -> Tensor:
    """The share of each band that the dial lets in, (16, 1, 1): min(1, realism / (1 - fineness)).

    A band's fineness is the larger of its two numbers of sign changes in a block of four pixels, over three.
    """
    side = range(math.isqrt(BANDS))
    fineness = [max(i, j) / (len(side) - 1) for i in side for j in side]
    return torch.tensor([realism / max(1 - f, realism) if realism else 0.0 for f in fineness])[:, None, None]


def _bands(images: Tensor) -> Tensor:
    below, right = (-side % PACKET.factor for side in images.shape[-2:])
    return PACKET.encode(pad(images, (0, right, 0, below), mode="replicate"))


def _log_power(bands: Tensor) -> Tensor:
    """Logarithm of the mean square of each band of each image, (images, 16)."""
    return bands.square().mean(dim=(-2, -1)).clamp(min=SMALLEST_POWER).log()

"""Real images that come with pydicom: an abdominal MR, a head MR and a CT, windowed to [0, 1]."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
import torch.nn.functional as F
from pydicom.data import get_testdata_file
from torch import Tensor

from latentsr.degrade import enlarge, parse_degradation
from latentsr.metrics.hallucination import noise_thresholds


def window(file: str) -> Tensor:
    """The image of a pydicom test file, float32 (1, 1, rows, columns), its own minimum and maximum at 0 and 1."""
    pixels = pydicom.dcmread(get_testdata_file(file, download=False)).pixel_array.astype(np.float64)
    return torch.from_numpy((pixels - pixels.min()) / np.ptp(pixels))[None, None].float()


@pytest.fixture(scope="session")
def hr() -> Tensor:
    """Three overlapping windows of an abdominal MR, (3, 1, 256, 256)."""
    image = window("examples_overlay.dcm")
    return torch.cat([image[..., top : top + 256, left : left + 256] for top, left in ((0, 0), (20, 100), (44, 228))])


@pytest.fixture(scope="session")
def sr(hr: Tensor) -> Tensor:
    """Their bicubic enlargements from a quarter of the side."""
    return enlarge(parse_degradation("bicubic:4").apply(hr), 4).clamp(0, 1)


@pytest.fixture(scope="session")
def grid_locked(hr: Tensor, sr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(planted, bicubic, HR), none near 0 or 1: planted is bicubic with 30 % of what it misses, and with noise in the
    finest Haar bands alone, which sums to zero in each block of 2x2 pixels from the first pixel on.
    """
    noise = torch.randn(hr.shape, generator=torch.Generator().manual_seed(3))
    noise -= F.avg_pool2d(noise, 2).repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)
    bicubic, true = 0.3 + 0.5 * sr, 0.3 + 0.5 * hr
    return torch.lerp(bicubic, true, 0.3) + 0.05 * noise, bicubic, true


@pytest.fixture(scope="session")
def pairs(hr: Tensor, sr: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """(SR, HR) of several sizes, odd and not square among them."""
    ct, mr = window("CT_small.dcm"), window("MR_small.dcm")
    noise = torch.randn(1, 1, 128, 128, generator=torch.Generator().manual_seed(1))
    return {
        "abdomen": (sr, hr),
        "odd": (sr[..., :201, :183], hr[..., :201, :183]),
        "ct with noise": ((ct + 0.05 * noise).clamp(0, 1), ct),
        "mr shifted": (mr.roll(1, dims=-1), mr),
    }


@pytest.fixture(scope="session")
def make_context() -> Callable[[Tensor, Tensor], dict[str, Any]]:
    """(sr, hr) -> all that a measure can need beside `sr`."""

    def make(sr: Tensor, hr: Tensor) -> dict[str, Any]:
        degradation = parse_degradation("bicubic:4")
        corner = torch.zeros_like(hr)
        corner[..., 20:150, 30:200] = 1
        return {
            "hr": hr,
            "lr": degradation.apply(hr),
            "degradation": degradation,
            "threshold": noise_thresholds(enlarge(parse_degradation("bicubic:2").apply(hr), 2).clamp(0, 1), hr),
            "mask": corner,
            "mean": 0.8 * enlarge(degradation.apply(hr), 4) + 0.2 * hr,
            "sr_latent": F.pixel_unshuffle(sr, 4),
            "hr_latent": F.pixel_unshuffle(hr, 4),
            "reconstruction": (sr + hr) / 2,
            "sr_decoded": sr.expand(-1, 3, -1, -1),
            "hr_decoded": hr.expand(-1, 3, -1, -1),
            "sampled": F.pixel_unshuffle(sr, 4),
            "encoded": F.pixel_unshuffle(hr, 4),
            "interval": 0.01 + 0.1 * hr,
            "following": sr.roll(1, dims=0),
        }

    return make


@pytest.fixture(scope="session")
def context(make_context: Callable, sr: Tensor, hr: Tensor) -> dict[str, Any]:
    """All that a measure of `sr` can need."""
    return make_context(sr, hr)

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from latentsr.errors import InputError
from latentsr.metrics.frequency import RADIAL_BINS, RADIAL_SIDE, radial_spectrum
from latentsr.stats.intervals import LARGEST
from latentsr.upscalers import Sampling
from latentsr.upscalers.calibration import (
    FLOOR,
    RINGS,
    SMALLEST_SIDE,
    Calibration,
    InputRange,
    lr_features,
    raw_width,
)  # fmt: skip


def smooth(images: int = 60, seed: int = 0) -> Tensor:
    """Images of slowly varying grey."""
    noise = torch.rand(images, 1, 6, 6, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(noise, size=(24, 32), mode="bicubic").clamp(0, 1)


def calibration(lr: Tensor, **changes: object) -> Calibration:
    ranges = {name: InputRange.of(one) for name, one in lr_features(lr).items()}
    given = {
        "alpha": 0.1, "scale": 2.0, "risk": 0.08, "half_width": 0.02, "patients": 60, "images": 60, "dataset": "set",
        "dataset_hash": "0", "split": "valid", "degradation": "bicubic:4", "ranges": ranges,
        "sampling": Sampling(samples=8, realism=0.3),
    }  # fmt: skip
    return Calibration(**{**given, **changes})


def test_the_width_is_the_spread_and_never_nothing() -> None:
    width = raw_width(torch.tensor([0.0, 0.5]))
    assert width.tolist() == pytest.approx([FLOOR, math.hypot(0.5, FLOOR)])
    assert 1 / FLOOR < LARGEST  # so that some scale covers any error


def test_features_know_neither_window_nor_size_of_an_image() -> None:
    lr = smooth(4)
    found, moved = lr_features(lr), lr_features(0.2 + 0.5 * lr)
    for name, one in found.items():
        np.testing.assert_allclose(one, moved[name], rtol=0, atol=1e-3)
    noise = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    small, large = lr_features(noise[..., :32, :32])["spectrum"], lr_features(noise)["spectrum"]
    np.testing.assert_allclose(small[:, 2:], large[:, 2:], rtol=0, atol=0.2)


@pytest.mark.parametrize("size", [(24, 32), (17, 40), (33, 21), (30, 40)])
def test_the_spectrum_of_the_features_is_that_of_the_measure(size: tuple[int, int]) -> None:
    images = torch.rand(3, 1, *size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    low, high = images.amin(dim=(1, 2, 3), keepdim=True), images.amax(dim=(1, 2, 3), keepdim=True)
    measured = radial_spectrum((images - low) / (high - low)) - math.log10(math.prod(size))
    np.testing.assert_allclose(lr_features(images)["spectrum"], measured.numpy(), rtol=0, atol=1e-9)
    assert (len(RADIAL_BINS), RADIAL_SIDE) == (RINGS, SMALLEST_SIDE)


def test_inputs_of_the_same_kind_are_inside_and_others_outside_by_the_right_test() -> None:
    made = calibration(smooth())
    again = smooth(200, seed=5)
    assert sum(made.outside(again).values()) <= 20  # a tenth; about 2 of 61 are expected
    noise = torch.randn(5, 1, 24, 32, generator=torch.Generator().manual_seed(2))
    assert made.outside(again[:5] + 0.3 * noise)["spectrum"] == 5
    assert made.outside(again[:5] ** 10)["intensity"] == 5
    assert made.outside(again[:1, :, :8, :8])["spectrum"] == 1  # too small to be told
    with pytest.raises(InputError, match="under 16 px"):
        calibration(again[..., :8, :8])


@pytest.mark.parametrize(
    ("options", "misfit"),
    [
        ({"samples": 8}, ""),
        ({"samples": 8, "seed": 5, "tile": 64}, ""),
        ({"samples": 8, "realism": 0.3}, ""),
        ({"samples": 4, "realism": 1.0}, "samples 4, not 8; realism 1.0, not 0.3"),
        ({"steps": 4}, "samples 1, not 8; steps 4, not None"),
        ({"samples": 8, "consistency": False}, "consistency False, not True"),
    ],
)
def test_other_options_than_the_calibrated_ones_are_named(options: dict, misfit: str) -> None:
    found = calibration(smooth(4)).misfit(Sampling(**options), 0.3)
    assert found == (misfit and f"not calibrated for these options: {misfit}")


def test_half_widths_are_scaled_and_the_record_survives_json() -> None:
    made = calibration(smooth(4))
    assert torch.equal(made.half_widths(torch.ones(1, 1, 4, 4)), 2 * raw_width(torch.ones(1, 1, 4, 4)))
    assert Calibration.model_validate_json(made.model_dump_json()) == made

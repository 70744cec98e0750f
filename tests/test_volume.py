"""Volume: shapes, spacing and scale of enlarged volumes."""

import numpy as np
import pytest

from latentsr.errors import InputError
from latentsr.intensity import Window
from latentsr.volume import Source, Volume, first_pixel_shift


def test_from_array_makes_slices_and_a_window() -> None:
    volume = Volume.from_array(np.arange(12, dtype=np.uint16).reshape(3, 4), spacing=(0.5, 0.25))
    assert volume.pixels.shape == (1, 3, 4)
    assert volume.pixels.dtype == np.float32
    assert volume.window == Window(0, 11)
    assert volume.source.kind == "memory"
    assert volume.scale == 1


def test_enlarged_divides_spacing_and_multiplies_scale() -> None:
    volume = Volume.from_array(np.arange(12.0).reshape(3, 4), spacing=(0.5, 0.25))
    fine = volume.enlarged(np.zeros((1, 6, 8)), 2).enlarged(np.zeros((1, 24, 32)), 4)
    assert fine.spacing == (0.0625, 0.03125)
    assert fine.scale == 8
    assert fine.source is volume.source
    assert fine.window == volume.window


def test_enlarged_refuses_a_wrong_shape_and_non_finite_pixels() -> None:
    volume = Volume.from_array(np.arange(12.0).reshape(3, 4))
    with pytest.raises(InputError, match="expected"):
        volume.enlarged(np.zeros((1, 6, 7)), 2)
    with pytest.raises(InputError, match="NaN"):
        volume.enlarged(np.full((1, 6, 8), np.nan), 2)


def test_pixels_of_another_type_or_shape_are_refused() -> None:
    for pixels in (np.zeros((3, 4), np.float32), np.zeros((1, 3, 4))):
        with pytest.raises(InputError):
            Volume(pixels, None, Window(0, 1), Source("memory"))


def test_the_first_pixel_moves_outwards() -> None:
    assert first_pixel_shift(1) == 0
    assert first_pixel_shift(4) == -0.375

"""Windows: exact inverse, and refusal of images without contrast."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentsr.errors import InputError
from latentsr.volume import Window


@given(st.lists(st.integers(-32768, 65535), min_size=2, max_size=64, unique=True))
def test_16_bit_values_come_back_after_the_window_and_its_inverse(values: list[int]) -> None:
    pixels = np.array(values, np.float32)
    window = Window.of(pixels)
    unit = window.apply(pixels)
    assert unit.dtype == np.float32
    assert unit.min() == 0
    assert unit.max() == 1
    np.testing.assert_array_equal(np.round(window.invert(unit)), pixels)


def test_values_outside_the_window_are_not_clipped() -> None:
    window = Window(0, 100)
    np.testing.assert_allclose(window.apply(np.array([-50.0, 150.0])), [-0.5, 1.5])
    np.testing.assert_allclose(window.invert(np.array([-0.5, 1.5])), [-50, 150])


@pytest.mark.parametrize(
    "pixels", [np.full((2, 2), 7.0), np.array([0, np.nan]), np.array([0, np.inf]), np.empty((0, 4))]
)
def test_pixels_without_a_window_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(InputError):
        Window.of(pixels)


@pytest.mark.parametrize("value", [0.0, -1024.0, 3e38])
def test_constant_pixels_that_are_let_through_are_0(value: float) -> None:
    pixels = np.full((2, 2), value, np.float32)
    assert (Window.of(pixels, constant=True).apply(pixels) == 0).all()
    assert Window.of(np.array([1.0, 3.0]), constant=True) == Window(1, 3)
    with pytest.raises(InputError, match="NaN"):
        Window.of(np.array([np.nan, np.nan]), constant=True)


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (float("nan"), 1), (0, float("inf"))])
def test_an_empty_or_infinite_window_is_refused(low: float, high: float) -> None:
    with pytest.raises(InputError):
        Window(low, high)

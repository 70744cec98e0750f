"""Values in words: decimals, signs, intervals that have as many decimals as their value, and no value."""

import math

import pytest

from latentsr.names import listed
from latentsr.report.text import counted, estimate, interval, number, p_value


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (27.789, "dB", "27.79"),
        (0.12345, "", "0.123"),
        (0.0012345, "", "0.00123"),
        (1234.5, "", "1234"),
        (1000.0, "dB", "1000"),
        (-999.5, "", "-999.50"),
        (10.0, "", "10.00"),
        (9.9994, "", "9.999"),
        (0.01, "", "0.010"),
        (0.00999, "", "0.00999"),
        (0.0, "", "0.000"),
        (1e-12, "", "0.000000000"),
    ],
)
def test_a_number_has_the_decimals_of_its_size_and_unit(value: float, unit: str, shown: str) -> None:
    assert number(value, unit) == shown


def test_a_zero_has_no_sign() -> None:
    assert [number(value, "dB", signed=signed) for value in (0.0, -0.0) for signed in (True, False)] == ["0.00"] * 4
    assert estimate(-0.0, -0.0, 0.0, "dB", signed=True) == "0.00 [0.00, 0.00]"
    assert [number(value, "dB", signed=True) for value in (-0.001, 0.004, -0.005001)] == ["0.00", "0.00", "-0.01"]
    assert [number(value, digits=3, signed=True) for value in (-0.0004, 0.0006)] == ["0.000", "+0.001"]


def test_no_value_is_a_dash_and_no_interval_is_nothing() -> None:
    assert number(math.nan) == number(None) == p_value(math.nan) == "–"
    assert interval(math.nan, 1.0) == interval(None, 1.0) == ""


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ((0.00834, 0.001, 0.019), "+0.008 [+0.001, +0.019]"),
        ((0.00042, -0.001, 0.002), "+0.00042 [-0.00100, +0.00200]"),
        ((-0.5, math.nan, math.nan), "-0.500"),
    ],
)
def test_a_value_and_its_interval_have_as_many_decimals(values: tuple[float, ...], shown: str) -> None:
    assert estimate(*values, signed=True) == shown


def test_the_end_farther_from_zero_decides_on_an_intervals_decimals() -> None:
    assert interval(-12.3456, 0.5) == "[-12.35, 0.50]"
    assert interval(-0.002, 0.0005) == "[-0.00200, 0.00050]"


def test_a_value_with_its_unit() -> None:
    assert estimate(1.5, 1.0, 2.0, "dB", unit_shown=True) == "1.50 dB [1.00, 2.00]"


def test_words() -> None:
    assert [p_value(0.0001), p_value(0.001), p_value(0.0123)] == ["< 0.001", "0.001", "0.012"]
    assert [counted(1, "image"), counted(2, "image")] == ["1 image", "2 images"]
    assert [listed(["a"]), listed(["a", "b", "c"])] == ["a", "a, b and c"]


def test_the_sign_of_a_p_and_digits_that_are_given() -> None:
    assert p_value(0.02, sign=True) == "= 0.020"
    assert interval(9.5, 10.5, digits=1, signed=True) == "[+9.5, +10.5]"

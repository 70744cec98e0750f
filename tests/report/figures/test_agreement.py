"""Bland-Altman: all points, bias and limits where the statistics put them, their intervals as bands."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentsr.errors import InputError
from latentsr.report.figures import bland_altman
from latentsr.stats import agreement

HR = np.random.default_rng(0).uniform(0.2, 0.4, 40)
SR = HR + np.random.default_rng(1).normal(0.002, 0.004, 40)
FOUND = agreement.bland_altman(SR, HR)


def _horizontals(axes: Axes) -> list[float]:
    return [line.get_ydata()[0] for line in axes.lines[:-1]]


def test_points_lines_and_bands_are_those_of_the_statistics(drawn: list[Figure]) -> None:
    picture = bland_altman({"medvae SR": FOUND}, unit="of the range")
    (axes,) = drawn[0].axes
    np.testing.assert_array_equal(axes.lines[-1].get_xydata(), np.stack([FOUND.means, FOUND.differences], axis=1))
    assert _horizontals(axes) == [0, FOUND.upper, FOUND.bias, FOUND.lower]
    bands = [(patch.get_y(), patch.get_y() + patch.get_height()) for patch in axes.patches]
    expected = [
        (FOUND.upper_low, FOUND.upper_high), (FOUND.bias_low, FOUND.bias_high), (FOUND.lower_low, FOUND.lower_high),
    ]  # fmt: skip
    np.testing.assert_allclose(bands, expected)
    assert axes.get_title("left") == "medvae SR"
    assert "Method minus HR" in drawn[0].get_supylabel()
    assert f"bias {FOUND.bias:+.4f}" in picture.alt
    assert "medvae SR minus HR, 40 differences" in picture.alt


def test_all_methods_share_axes_that_hold_everything(drawn: list[Figure]) -> None:
    wide = agreement.bland_altman(HR + np.linspace(-0.1, 0.1, 40), HR)
    bland_altman(dict(zip("abcd", (FOUND, wide, FOUND, FOUND), strict=True)))
    panels = [axes for axes in drawn[0].axes if axes.axison]
    assert [axes.get_title("left") for axes in panels] == list("abcd")
    (low, high), *others = [axes.get_ylim() for axes in panels]
    assert set(others) == {(low, high)}
    assert low < min(FOUND.lower_low, wide.lower_low)
    assert high > max(FOUND.upper_high, wide.upper_high)


@pytest.mark.parametrize("units", [2, 3, 5, 40])
def test_points_are_not_squeezed_by_wide_intervals(units: int, drawn: list[Figure]) -> None:
    found = agreement.bland_altman(SR[:units], HR[:units])
    bland_altman({"SR": found})
    low, high = drawn[0].axes[0].get_ylim()
    span = np.ptp([0, *found.differences, found.lower, found.upper])
    assert low < min(0, found.lower, *found.differences)
    assert high > max(0, found.upper, *found.differences)
    assert high - low < 4 * span


def test_one_unit_has_a_bias_and_no_limits(drawn: list[Figure]) -> None:
    bland_altman({"SR": agreement.bland_altman([0.3], [0.31])})
    assert _horizontals(drawn[0].axes[0]) == pytest.approx([0, -0.01])
    assert not drawn[0].axes[0].patches


@pytest.mark.parametrize("agreements", [{}, {"SR": agreement.bland_altman([np.nan], [1.0])}])
def test_no_unit_is_an_error(agreements: dict[str, agreement.Agreement]) -> None:
    with pytest.raises(InputError, match="at least one"):
        bland_altman(agreements)

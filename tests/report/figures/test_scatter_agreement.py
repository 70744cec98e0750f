"""Bland-Altman: a panel a method on one pair of axes; points, bias, limits and bands where the statistics put them."""

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
OTHER = agreement.bland_altman(HR + np.random.default_rng(2).normal(-0.02, 0.01, 40), HR)


def _panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.axison]


def _horizontals(axes: Axes) -> list[float]:
    """Where the lines across lie: zero, then the upper limit, the bias and the lower limit."""
    return [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() != "None"]


def test_points_lines_and_bands_are_those_of_the_statistics(drawn: list[Figure]) -> None:
    picture = bland_altman({"medvae SR": FOUND, "other": OTHER}, unit="of the range")
    panels = _panels(drawn[0])
    assert [axes.get_title(loc="left") for axes in panels] == ["medvae SR", "other"]
    for axes, found in zip(panels, (FOUND, OTHER), strict=True):
        points = axes.lines[-1].get_xydata()
        np.testing.assert_array_equal(points, np.stack([found.means, found.differences], axis=1))
        assert _horizontals(axes) == [0, found.upper, found.bias, found.lower]
        bands = [(patch.get_y(), patch.get_y() + patch.get_height()) for patch in axes.patches]
        expected = [
            (found.upper_low, found.upper_high), (found.bias_low, found.bias_high), (found.lower_low, found.lower_high),
        ]  # fmt: skip
        np.testing.assert_allclose(bands, expected)
    assert " ".join(drawn[0].get_supylabel().split()) == "Method minus HR (of the range)"
    assert f"medvae SR minus HR, 40 differences: upper limit {FOUND.upper:+.4f}" in picture.alt
    assert f"bias {OTHER.bias:+.4f}".replace("-", "−") in picture.alt


def test_all_panels_have_one_pair_of_axes_that_hold_everything(drawn: list[Figure]) -> None:
    bland_altman({"one": FOUND, "two": OTHER, "three": FOUND, "four": OTHER}, unit="%")
    panels = _panels(drawn[0])
    assert len(panels) == 4  # in rows of three: what is left of the last row is empty
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in panels}) == 1
    low, high = panels[0].get_ylim()
    assert low < OTHER.lower_low
    assert high > FOUND.upper_high


@pytest.mark.parametrize("units", [2, 3, 5, 40])
def test_points_are_not_squeezed_by_the_wide_intervals_of_few(units: int, drawn: list[Figure]) -> None:
    found = agreement.bland_altman(SR[:units], HR[:units])
    bland_altman({"one": found}, unit="%")
    low, high = _panels(drawn[0])[0].get_ylim()
    span = np.ptp([0, *found.differences, found.lower, found.upper])
    assert low < min(0, found.lower, *found.differences)
    assert high > max(0, found.upper, *found.differences)
    assert high - low < 4 * span


def test_marks_are_those_that_all_methods_have(drawn: list[Figure]) -> None:
    bland_altman({"two": FOUND}, unit="%", methods=("one", "two"))
    bland_altman({"one": OTHER, "two": FOUND}, unit="%")
    looks = [_panels(figure)[-1].lines[-1] for figure in drawn]
    assert len({(line.get_marker(), line.get_color()) for line in looks}) == 1


def test_equal_values_are_drawn(drawn: list[Figure]) -> None:
    bland_altman({"one": agreement.bland_altman(HR, HR)}, unit="%")
    assert _horizontals(_panels(drawn[0])[0]) == [0, 0, 0, 0]


def test_one_unit_has_a_bias_and_no_limits(drawn: list[Figure]) -> None:
    bland_altman({"one": agreement.bland_altman([0.3], [0.31])}, unit="%")
    assert _horizontals(_panels(drawn[0])[0]) == pytest.approx([0, -0.01])
    assert not _panels(drawn[0])[0].patches


@pytest.mark.parametrize("given", [{}, {"one": FOUND, "two": agreement.bland_altman([np.nan], [1.0])}])
def test_no_unit_is_an_error(given: dict[str, agreement.Agreement]) -> None:
    with pytest.raises(InputError, match="at least one"):
        bland_altman(given, unit="%")

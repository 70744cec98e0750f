"""Bland-Altman: all points, bias and limits where the statistics put them, their intervals as bands."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from latentsr.errors import InputError
from latentsr.report.figures import bland_altman
from latentsr.stats import agreement

HR = np.random.default_rng(0).uniform(0.2, 0.4, 40)
SR = HR + np.random.default_rng(1).normal(0.002, 0.004, 40)
FOUND = agreement.bland_altman(SR, HR)


def _horizontals(figure: Figure) -> list[float]:
    return [line.get_ydata()[0] for line in figure.axes[0].lines[1:]]


def test_points_lines_and_bands_are_those_of_the_statistics(drawn: list[Figure]) -> None:
    picture = bland_altman(FOUND, unit="of the range", first="medvae SR")
    axes = drawn[0].axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), np.stack([FOUND.means, FOUND.differences], axis=1))
    assert _horizontals(drawn[0]) == [0, FOUND.upper, FOUND.bias, FOUND.lower]
    bands = [(patch.get_y(), patch.get_y() + patch.get_height()) for patch in axes.patches]
    expected = [
        (FOUND.upper_low, FOUND.upper_high), (FOUND.bias_low, FOUND.bias_high), (FOUND.lower_low, FOUND.lower_high),
    ]  # fmt: skip
    np.testing.assert_allclose(bands, expected)
    assert axes.get_ylabel() == "medvae SR minus HR"
    assert f"bias {FOUND.bias:+.4f}" in picture.alt
    assert "40 differences" in picture.alt


def test_everything_lies_within_the_axes(drawn: list[Figure]) -> None:
    bland_altman(FOUND)
    low, high = drawn[0].axes[0].get_ylim()
    assert low < FOUND.lower_low
    assert high > FOUND.upper_high


def test_one_unit_has_a_bias_and_no_limits(drawn: list[Figure]) -> None:
    bland_altman(agreement.bland_altman([0.3], [0.31]))
    assert _horizontals(drawn[0]) == pytest.approx([0, -0.01])
    assert not drawn[0].axes[0].patches


def test_no_unit_is_an_error() -> None:
    with pytest.raises(InputError, match="at least one"):
        bland_altman(agreement.bland_altman([np.nan], [1.0]))

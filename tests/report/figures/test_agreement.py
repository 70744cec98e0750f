"""Bland-Altman: all points, bias and limits where the statistics put them, their intervals as bands."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from latentsr.errors import InputError
from latentsr.report.figures import bland_altman
from latentsr.report.figures.agreement import spread
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
    assert " ".join(axes.get_ylabel().split()) == "medvae SR minus HR (of the range)"
    assert f"bias {FOUND.bias:+.4f}" in picture.alt
    assert "40 differences" in picture.alt


def test_everything_lies_within_the_axes(drawn: list[Figure]) -> None:
    bland_altman(FOUND)
    low, high = drawn[0].axes[0].get_ylim()
    assert low < FOUND.lower_low
    assert high > FOUND.upper_high


@pytest.mark.parametrize("units", [2, 3, 5, 40])
def test_words_stay_apart_and_points_are_not_squeezed(units: int, drawn: list[Figure]) -> None:
    found = agreement.bland_altman(SR[:units], HR[:units])
    bland_altman(found)
    axes = drawn[0].axes[0]
    boxes = [Text.get_window_extent(text) for text in axes.texts]
    assert len(boxes) == 3
    assert not any(one.overlaps(other) for one, other in pairwise(boxes))
    assert all(axes.bbox.y0 <= box.y0 and box.y1 <= axes.bbox.y1 for box in boxes)
    low, high = axes.get_ylim()
    span = np.ptp([0, *found.differences, found.lower, found.upper])
    assert low < min(0, found.lower, *found.differences)
    assert high > max(0, found.upper, *found.differences)
    assert high - low < 4 * span


def test_words_of_equal_lines_stay_apart(drawn: list[Figure]) -> None:
    bland_altman(agreement.bland_altman(HR, HR))
    boxes = [Text.get_window_extent(text) for text in drawn[0].axes[0].texts]
    assert not any(one.overlaps(other) for one, other in pairwise(boxes))
    assert [text.get_text().split()[0] for text in drawn[0].axes[0].texts] == ["upper", "bias", "lower"]


@pytest.mark.parametrize(
    ("centres", "expected"),
    [
        ([80, 50, 20], [80, 50, 20]),
        ([52, 50, 48], [60, 50, 40]),
        ([99, 98, 97], [95, 85, 75]),
        ([3, 2, 1], [25, 15, 5]),
        ([97], [95]),
    ],
)
def test_spread_keeps_boxes_apart_and_inside(centres: list[float], expected: list[float]) -> None:
    found = spread(np.array(centres), np.full(len(centres), 10.0), 0, 100)
    assert found.tolist() == pytest.approx(expected)


def test_one_unit_has_a_bias_and_no_limits(drawn: list[Figure]) -> None:
    bland_altman(agreement.bland_altman([0.3], [0.31]))
    assert _horizontals(drawn[0]) == pytest.approx([0, -0.01])
    assert not drawn[0].axes[0].patches


def test_no_unit_is_an_error() -> None:
    with pytest.raises(InputError, match="at least one"):
        bland_altman(agreement.bland_altman([np.nan], [1.0]))

"""Intervals and bars: a mark a value, words for what has none, numbers beside the rows, nothing cut."""

import itertools
import math

import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from latentsr.errors import InputError
from latentsr.report.figures import Interval, intervals
from latentsr.report.figures.export import BEYOND

MINUS = "\N{MINUS SIGN}"
ROWS = [
    Interval("bicubic", 27.1, 26.5, 27.9, "brain"),
    Interval("medvae", 30.25, 29.5, 31.0, "brain"),
    Interval("haar", math.inf, group="brain"),
    ("bicubic", 32.0, math.nan, math.nan, "chest"),
    ("medvae", math.nan, math.nan, math.nan, "chest"),
]
LONG = [f"a_method_with_a_rather_long_name_{number}_and_words after it" for number in range(12)]


def _texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def _points(axes: Axes) -> list[float]:
    return [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]


def _assert_nothing_is_cut_or_overlaps(figure: Figure) -> None:
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    labels = [label for axes in figure.axes for label in (*axes.get_yticklabels(), *axes.texts, axes.xaxis.label)]
    boxes = {label: label.get_window_extent(renderer) for label in [*labels, *figure.texts] if label.get_text().strip()}
    for label, box in boxes.items():
        assert box.x0 >= 0, label
        assert box.x1 <= figure.bbox.x1, label
        assert box.y0 >= 0, label
        assert box.y1 <= figure.bbox.y1, label
    for (label, box), (other, second) in itertools.combinations(boxes.items(), 2):
        assert not box.overlaps(second), f"{label} on {other}"


def test_every_value_is_a_point_and_the_others_are_words(drawn: list[Figure]) -> None:
    intervals(ROWS, quantity="PSNR", unit="dB", better="higher")
    axes = drawn[0].axes[0]
    assert [x for x in _points(axes) if x < _scale_end(axes)] == [27.1, 30.25, 32.0]
    assert {"lossless", "no value", "brain", "chest"} <= set(_texts(axes))
    assert {"27.10 [26.50, 27.90]", "30.25 [29.50, 31.00]", "32.00"} <= set(_texts(axes))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["bicubic", "medvae", "haar", "bicubic", "medvae"]
    assert axes.get_xlabel() == "PSNR (dB), higher is better"
    whiskers = [line for line in axes.lines if list(line.get_xdata()) == [26.5, 27.9]]
    assert len(whiskers) == 1


def _scale_end(axes: Axes) -> float:
    """Where the scale ends and the column of infinite values begins."""
    (column,) = [patch for patch in axes.patches if patch.get_facecolor()[:3] == to_rgb(BEYOND)]
    return column.get_x()


def test_lossless_stands_right_of_every_number_behind_a_break(drawn: list[Figure]) -> None:
    """Further right is better: lossless at the left of such an axis reads as the worst of all."""
    intervals(ROWS, quantity="PSNR", unit="dB", better="higher")
    axes = drawn[0].axes[0]
    end, (low, high) = _scale_end(axes), axes.get_xlim()
    infinite = [line for line in axes.lines if len(line.get_xdata()) == 1 and line.get_xdata()[0] > end]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in infinite] == [
        (pytest.approx((end + high) / 2), axes.get_yticks()[2])
    ]
    assert end > 32.0
    assert all(low <= tick <= end for tick in axes.get_xticks())
    words = next(text for text in axes.texts if text.get_text() == "lossless")
    assert words.get_position()[0] > 1
    assert "\N{INFINITY}" in _texts(axes)
    intervals([row for row in ROWS if row[1] != math.inf])
    assert not [patch for patch in drawn[1].axes[0].patches if patch.get_facecolor()[:3] == to_rgb(BEYOND)]


def test_a_point_stands_within_the_axis_whatever_is_infinite(drawn: list[Figure]) -> None:
    intervals([("a", 1.0, -math.inf, math.inf), ("b", 2.0, 1.5, 2.5), ("c", -math.inf)])
    low, high = drawn[0].axes[0].get_xlim()
    assert 0 < low < 1
    assert 2.5 < high < 4
    assert _texts(drawn[0].axes[0]) == ["1.00", "2.00 [1.50, 2.50]", "no value"]


def test_the_same_method_has_the_same_mark_in_both_groups(drawn: list[Figure]) -> None:
    intervals(ROWS)
    markers = [line.get_marker() for line in drawn[0].axes[0].lines if line.get_marker() != "None"]
    assert markers[0] == markers[2] != markers[1]


def test_differences_bear_their_sign_and_a_line_at_the_reference(drawn: list[Figure]) -> None:
    picture = intervals([("a", 0.5, 0.2, 0.8), ("b", -0.25, -0.75, -0.001)], reference=0, unit="dB")
    texts = _texts(drawn[0].axes[0])
    assert texts == ["+0.50 [+0.20, +0.80]", f"{MINUS}0.25 [{MINUS}0.75, 0.00]"]
    assert any(list(line.get_xdata()) == [0, 0] for line in drawn[0].axes[0].lines)
    assert f"b: {MINUS}0.25" in picture.alt


def test_the_alt_text_has_the_numbers_and_is_short_with_many_rows() -> None:
    alt = intervals(ROWS, quantity="PSNR", unit="dB", better="higher").alt
    assert "PSNR (dB), higher is better" in alt
    assert "brain, bicubic: 27.10 [26.50, 27.90]; brain, medvae: 30.25 [29.50, 31.00]; brain, haar: lossless" in alt
    assert intervals([(str(n), float(n)) for n in range(16)]).alt.endswith("; and 4 more.")


def test_twelve_long_names_are_legible(drawn: list[Figure]) -> None:
    rows = [
        (name, 0.5 + 0.02 * n, 0.45, 0.8, group)
        for group in ("brain-mri", "chest " * 12)
        for n, name in enumerate(LONG)
    ]
    intervals(
        rows,
        quantity="HaarPSI",
    )
    _assert_nothing_is_cut_or_overlaps(drawn[0])


@pytest.mark.parametrize("value", [0.0, -3.25, 27.5, 1e-7, 1e9, math.inf, math.nan, -math.inf])
def test_one_row_is_drawn_whatever_its_value(value: float, drawn: list[Figure]) -> None:
    intervals([("only", value)], quantity="PSNR")
    _assert_nothing_is_cut_or_overlaps(drawn[0])


def test_no_rows_are_an_error() -> None:
    with pytest.raises(InputError, match="without rows"):
        intervals([])


def test_names_are_no_formulas_and_no_markup(drawn: list[Figure]) -> None:
    picture = intervals([("a$b_c$ <script>&", 1.0), ("tab\tand\nbreak", 2.0)])
    assert drawn[0].axes[0].get_yticklabels()[0].get_text() == "a$b_c$ <script>&"
    assert drawn[0].axes[0].get_yticklabels()[1].get_text() == "tab and break"
    assert "<script" not in picture.svg

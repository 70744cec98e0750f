"""One row per method: a mark per value, words for missing ones, numbers beside the rows, nothing cut off."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from latentsr.errors import InputError
from latentsr.report.figures import Interval, band_bars, intervals, rates, violins
from latentsr.report.figures.forest import BEYOND

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


INVENTED = [("medvae", 24.7, 23.0, 26.0, "MRNet"), ("sd-vae", 25.2, 24.0, 27.0, "MRNet")]
LOST = [("medvae", 27.1, 26.0, 28.0, "MRNet"), ("sd-vae", math.nan, math.nan, math.nan, "MRNet")]


def test_two_bars_a_method_and_words_where_one_is_missing(drawn: list[Figure]) -> None:
    picture = rates(INVENTED, LOST)
    axes = drawn[0].axes[0]
    assert [patch.get_width() for patch in axes.patches] == [24.7, 25.2, 27.1]
    assert len({patch.get_hatch() for patch in axes.patches}) == 2
    texts = [text.get_text() for text in axes.texts]
    assert {"MRNet", "24.70 [23.00, 26.00]", "no value"} <= set(texts)
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["hallucinated", "lost"]
    assert "MRNet, medvae: hallucinated 24.70, lost 27.10" in picture.alt
    assert axes.get_xlabel() == "Share of pixels (%), lower is better"


@pytest.mark.parametrize(("pair", "name"), [((INVENTED, []), "hallucinated"), (([], INVENTED), "lost")])
def test_one_of_both_is_drawn_alone(drawn: list[Figure], pair: tuple[list, list], name: str) -> None:
    picture = rates(*pair)
    axes = drawn[0].axes[0]
    assert [patch.get_width() for patch in axes.patches] == [24.7, 25.2]
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == [name]
    assert f"MRNet, medvae: {name} 24.70;" in picture.alt


def test_other_rows_are_an_error() -> None:
    with pytest.raises(InputError, match="other rows"):
        rates(INVENTED, LOST[::-1])
    with pytest.raises(InputError, match="without rows"):
        rates([], [])


VALUES = np.random.default_rng(0).normal(28, 2, (3, 60))


def test_a_violin_reaches_from_the_smallest_to_the_greatest_value(drawn: list[Figure]) -> None:
    picture = violins(pd.DataFrame(VALUES, index=["a", "b", "c"]), quantity="PSNR", unit="dB", better="higher")
    shapes = [band.get_paths()[0].get_extents() for band in drawn[0].axes[0].collections]
    assert [shape.x0 for shape in shapes] == pytest.approx(VALUES.min(axis=1))
    assert [shape.x1 for shape in shapes] == pytest.approx(VALUES.max(axis=1))
    quartiles = [list(line.get_xdata()) for line in drawn[0].axes[0].lines if line.get_linewidth() == 5]
    np.testing.assert_allclose(quartiles, np.percentile(VALUES, [25, 75], axis=1).T)
    assert f"a: mean {VALUES[0].mean():.2f}, median {np.median(VALUES[0]):.2f}" in picture.alt
    assert len({band.get_hatch() for band in drawn[0].axes[0].collections}) == 3


def test_few_or_equal_values_are_points(drawn: list[Figure]) -> None:
    frame = pd.DataFrame([[1.0, 2.0, np.nan, np.nan, np.nan], [3.0] * 5], index=["few", "equal"])
    violins(frame)
    assert not drawn[0].axes[0].collections
    assert [list(line.get_xdata()) for line in drawn[0].axes[0].lines] == [[1.0, 2.0], [3.0] * 5]


def test_what_is_left_out_is_counted(drawn: list[Figure]) -> None:
    values = VALUES.copy()
    values[0, :3], values[0, 3], values[1] = np.inf, np.nan, np.inf
    picture = violins(pd.DataFrame(values, index=["a", "b", "c"]))
    words = [text.get_text() for text in drawn[0].axes[0].texts]
    assert words[0].endswith("n = 56, 3 lossless, 1 no value")
    assert words[1] == "60 lossless"
    assert "b: 60 lossless" in picture.alt
    assert len(drawn[0].axes[0].collections) == 2
    marks = [line.get_xdata()[0] for line in drawn[0].axes[0].lines if len(line.get_xdata()) == 1]
    assert len(marks) == 2  # of a and b, in the column right of the scale
    assert min(marks) > VALUES.max()


def test_one_value_all_lossless_and_nothing() -> None:
    assert "n 1" in violins(pd.DataFrame([[1.0]], index=["a"])).alt
    assert "1 lossless" in violins(pd.DataFrame([[np.inf]], index=["a"])).alt
    with pytest.raises(InputError, match="without values"):
        violins(pd.DataFrame())


BANDS = ("LL3", "LH3", "HL3", "HH3", "LH2", "HL2", "HH2", "LH1", "HL1", "HH1")


def _frame(methods: int) -> pd.DataFrame:
    values = 30 - 2.0 * np.arange(10) + np.arange(methods)[:, None]
    return pd.DataFrame(values, index=[f"a method of number {number}" for number in range(methods)], columns=BANDS)


@pytest.mark.parametrize("methods", [1, 2, 4])
def test_bars_stand_side_by_side(methods: int, drawn: list[Figure]) -> None:
    frame = _frame(methods)
    band_bars(frame, better="higher")
    axes = drawn[0].axes[0]
    assert [patch.get_height() for patch in axes.patches] == pytest.approx(frame.to_numpy().ravel())
    assert [label.get_text() for label in axes.get_xticklabels()] == list(BANDS)
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == list(frame.index)
    lefts = sorted((patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches)
    assert all(one[1] <= other[0] + 1e-9 for one, other in itertools.pairwise(lefts))


@pytest.mark.parametrize("methods", [5, 12])
def test_many_methods_have_a_strip_each_with_the_firsts_outline(methods: int, drawn: list[Figure]) -> None:
    frame = _frame(methods)
    band_bars(frame)
    strips = drawn[0].axes
    assert [axes.get_title(loc="left") for axes in strips] == list(frame.index)
    assert len({axes.get_ylim() for axes in strips}) == 1
    outline = [patch.get_height() for patch in strips[-1].patches[10:]]
    assert outline == pytest.approx(frame.iloc[0].to_numpy())
    assert len(strips[0].patches) == 10


@pytest.mark.parametrize("methods", [3, 6])
def test_what_has_no_place_is_a_word(methods: int, drawn: list[Figure]) -> None:
    frame = _frame(methods)
    frame.iloc[1, 0], frame.iloc[1, 9], frame.iloc[2, :] = np.inf, np.nan, np.inf
    picture = band_bars(frame)
    words = [text.get_text().strip() for axes in drawn[0].axes for text in axes.texts]
    assert words.count("lossless") == 11
    assert words.count("no value") == 1
    assert "LL3 lossless" in picture.alt
    for axes in drawn[0].axes:  # lossless above the bars, where more is; no value at the axis
        for text in axes.texts:
            (_, y), inverse = text.get_transform().transform(text.get_position()), axes.transAxes.inverted()
            high = inverse.transform((0, y))[1] > 0.9
            assert high == ("lossless" in text.get_text())
    assert max(axes.get_ylim()[1] for axes in drawn[0].axes) < 50


def test_differences_go_below_zero(drawn: list[Figure]) -> None:
    band_bars(_frame(2) - 25)
    assert min(patch.get_height() for patch in drawn[0].axes[0].patches) == pytest.approx(-13)
    assert drawn[0].axes[0].get_ylim()[0] < -13


def test_all_lossless_is_drawn(drawn: list[Figure]) -> None:
    band_bars(_frame(2) + np.inf)
    assert len(drawn[0].axes[0].texts) == 20


def test_bad_frames_are_errors() -> None:
    with pytest.raises(InputError, match="without values"):
        band_bars(pd.DataFrame())
    with pytest.raises(InputError, match="twice in one figure: a"):
        band_bars(pd.DataFrame([[1.0], [2.0]], index=["a", "a"], columns=["LL3"]))

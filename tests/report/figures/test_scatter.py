"""Planes of two measures: all points with a place, lines with bands, labels that stay apart; Bland-Altman panels."""

import itertools
import math

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from latentsr.errors import InputError
from latentsr.report.figures import (
    Point,
    bland_altman,
    ceiling_models,
    ceiling_patients,
    perception_distortion,
    regression,
)
from latentsr.stats import paired
from latentsr.stats.regression import fit_line

POINTS = [
    Point("MRNet", 27.85, 25.26, "medvae"), Point("MRNet", 23.92, 22.34, "sd-vae"),
    Point("BraTS", 37.87, 26.42, "medvae"), Point("BraTS", 31.39, 23.51, "sd-vae"),
    Point("CXR", 36.93, 28.87, "medvae"), Point("CXR", 32.02, 25.58, "sd-vae"),
]  # fmt: skip
LINE = fit_line([point.x for point in POINTS], [point.y for point in POINTS])
XS = np.linspace(23, 39, 30)


def _points(figure: Figure) -> list[tuple[float, float]]:
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines]


def _labels(figure: Figure) -> list[Annotation]:
    return [text for text in figure.axes[0].texts if isinstance(text, Annotation) and text.get_text() != "better"]


def _legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_points_line_and_both_bands_are_drawn(drawn: list[Figure]) -> None:
    picture = regression(POINTS, XS, LINE.predict(XS))
    assert _points(drawn[0]) == [(point.x, point.y) for point in POINTS]
    line = next(line for line in drawn[0].axes[0].lines if len(line.get_xdata()) == 30)
    np.testing.assert_allclose(line.get_ydata(), LINE.predict(XS).centre)
    prediction, confidence = (band.get_paths()[0].get_extents() for band in drawn[0].axes[0].collections)
    assert prediction.y1 == pytest.approx(LINE.predict(XS).prediction_high.max())
    assert confidence.y0 == pytest.approx(LINE.predict(XS).confidence_low.min())
    legend = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert legend == ["medvae", "sd-vae", "least-squares line", "95% prediction band", "95% confidence band"]
    assert "medvae, MRNet: x 27.9, y 25.26" in picture.alt
    drawn[0].draw_without_rendering()  # which places the labels
    boxes = [Text.get_window_extent(label) for label in _labels(drawn[0])]
    assert len(boxes) == 6
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    border = drawn[0].axes[0].bbox
    assert all(border.x0 <= box.x0 and box.x1 <= border.x1 for box in boxes)


def test_levels_are_lines_across_within_the_axes(drawn: list[Figure]) -> None:
    picture = regression(POINTS, XS, LINE.predict(XS), levels={"bicubic, measured": 40.0}, methods=["bicubic"])
    axes = drawn[0].axes[0]
    (level,) = [line for line in axes.lines if line.get_label() == "bicubic, measured"]
    assert list(level.get_ydata()) == [40.0, 40.0]
    assert axes.get_ylim()[1] > 40.0
    assert "bicubic, measured" in [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert picture.alt.endswith("bicubic, measured: 40.00 at any ceiling.")


def test_a_lossless_ceiling_is_named_and_not_drawn(drawn: list[Figure]) -> None:
    points = [*POINTS, Point("this set", math.inf, math.nan, "haar"), Point("this set", 30.0, math.nan, "taef2")]
    picture = regression(points, XS, LINE.predict(XS))
    assert len(_points(drawn[0])) == 6
    assert drawn[0].axes[0].get_xlim()[1] < 45
    note = " ".join(" ".join(text.get_text() for text in drawn[0].texts).split())
    assert "Not drawn: haar, this set (lossless); taef2, this set (no value)." in note
    assert "haar, this set: lossless, not drawn" in picture.alt


def test_an_interval_of_y_is_a_whisker(drawn: list[Figure]) -> None:
    points = [Point("a", 30.0, 25.0, "new", 22.0, 28.0), Point("b", 31.0, 25.0, "new", math.nan, 28.0)]
    regression(points, XS, LINE.predict(XS))
    whiskers = [list(line.get_ydata()) for line in drawn[0].axes[0].lines if len(line.get_xdata()) == 2]
    assert whiskers == [[22.0, 28.0]]


def test_many_points_have_no_labels(drawn: list[Figure]) -> None:
    regression([(f"set {n}", 23 + n, 20 + n) for n in range(13)], XS, LINE.predict(XS))
    assert len(_points(drawn[0])) == 13
    assert not _labels(drawn[0])


def test_bands_of_two_points_are_left_out(drawn: list[Figure]) -> None:
    line = fit_line([1, 2], [1, 3])
    regression([("a", 1, 1), ("b", 2, 3)], [1, 2], line.predict([1, 2]))
    assert not drawn[0].axes[0].collections


def test_bands_of_another_length_are_an_error() -> None:
    with pytest.raises(InputError, match=r"shapes \(30,\).*expected five"):
        regression(POINTS, XS[:5], LINE.predict(XS))
    with pytest.raises(InputError, match="expected five"):
        regression(POINTS, XS, ())
    with pytest.raises(InputError, match="without points"):
        regression([], XS, LINE.predict(XS))


def test_twelve_methods_have_a_legend_and_marks_of_their_own(drawn: list[Figure]) -> None:
    names = [f"method {number} of a long name, 30 le" for number in range(12)]
    perception_distortion([(name, 25 + n / 10, 0.1) for n, name in enumerate(names)], y_label="LPIPS")
    assert [" ".join(name.split()) for name in _legend(drawn[0])] == names
    assert len({line.get_marker() for line in drawn[0].axes[0].lines}) == 12
    drawn[0].draw_without_rendering()  # which places the legend's words
    boxes = [text.get_window_extent() for text in drawn[0].legends[0].get_texts()]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_the_arrow_points_to_the_best_corner(drawn: list[Figure]) -> None:
    perception_distortion([("a", 1.0, 2.0), ("b", 2.0, 3.0)], y_label="LPIPS")
    arrow = next(text for text in drawn[0].axes[0].texts if text.get_text() == "better")
    assert arrow.xy == pytest.approx((1, 0), abs=0.02)
    assert drawn[0].axes[0].get_xlabel() == "PSNR (dB), higher is better"


def test_a_method_that_gives_hr_back_is_named_in_words(drawn: list[Figure]) -> None:
    picture = perception_distortion(
        [("a", 30.0, 2.0), ("same", math.inf, 0.0), ("none", 31.0, math.nan)], y_label="LPIPS"
    )
    note = " ".join(" ".join(text.get_text() for text in drawn[0].texts).split())
    assert "Not drawn: same (identical to HR); none (no value)." in note
    assert "same: identical to HR, not drawn" in picture.alt


@pytest.mark.parametrize("point", [("a", 1.0, 2.0), ("a", math.inf, 0.0), ("a", math.nan, math.nan)])
def test_one_point_is_drawn_or_named(point: tuple, drawn: list[Figure]) -> None:
    picture = perception_distortion([point], y_label="LPIPS")
    assert len(_points(drawn[0])) == math.isfinite(point[1])
    assert ("not drawn" in picture.alt) != math.isfinite(point[1])


MODELS = [
    Point("coarse", 30.0, 29.0, "", 28.0, 30.0, 29.5, 30.5),
    Point("middling", 31.0, 29.8, "", 29.0, 30.6, 30.2, 31.8),
    Point("fine", 35.0, 30.0),
]
MODEL_LINE = fit_line([30, 31, 35], [29, 29.8, 30])
MODEL_XS = np.linspace(30, 35, 20)


def _line_of(figure: Figure, label: str) -> tuple[list[float], list[float]]:
    line = next(line for line in figure.axes[0].lines if line.get_label() == label)
    return list(line.get_xdata()), list(line.get_ydata())


def test_models_whiskers_of_both_measures_and_lines_are_drawn(drawn: list[Figure]) -> None:
    picture = ceiling_models(
        MODELS, MODEL_XS, MODEL_LINE.predict(MODEL_XS), levels={"bicubic": 28.5}, methods=["bicubic", "coarse"]
    )
    lines = drawn[0].axes[0].lines
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines if len(line.get_xdata()) == 1]
    assert points == [(point.x, point.y) for point in MODELS]
    whiskers = [(list(line.get_xdata()), list(line.get_ydata())) for line in lines if line.get_label()[0] == "_"]
    assert ([30.0, 30.0], [28.0, 30.0]) in whiskers
    assert ([29.5, 30.5], [29.0, 29.0]) in whiskers
    assert _legend(drawn[0]) == [
        "coarse", "middling", "fine", "least-squares line", "95% prediction band", "95% confidence band",
        "result = ceiling", "bicubic",
    ]  # fmt: skip
    assert _line_of(drawn[0], "bicubic")[1] == [28.5, 28.5]
    assert "coarse: x 30.00, y 29.00" in picture.alt
    assert "bicubic: 28.50 at any ceiling" in picture.alt


def test_on_the_diagonal_result_and_ceiling_are_equal(drawn: list[Figure]) -> None:
    ceiling_models(MODELS)
    across, up = _line_of(drawn[0], "result = ceiling")
    assert across == up
    limits = drawn[0].axes[0].get_xlim(), drawn[0].axes[0].get_ylim()
    assert across == [max(low for low, _ in limits), min(high for _, high in limits)]


def test_a_diagonal_far_above_is_left_out_and_a_near_one_is_reached(drawn: list[Figure]) -> None:
    ceiling_models([("a", 45.0, 28.0), ("b", 46.0, 29.0)])
    ceiling_models([("a", 30.5, 28.0), ("b", 31.5, 29.8)])
    assert _legend(drawn[0]) == ["a", "b"]
    assert drawn[0].axes[0].get_ylim()[1] < 30
    assert "result = ceiling" in _legend(drawn[1])
    assert drawn[1].axes[0].get_ylim()[1] > 30.4


def test_wide_bands_do_not_squeeze_the_points(drawn: list[Figure]) -> None:
    bands = MODEL_LINE.predict(MODEL_XS)
    assert bands.prediction_high.max() > 38
    ceiling_models(MODELS, MODEL_XS, bands, levels={"bicubic": 28.5})
    assert drawn[0].axes[0].get_ylim() == pytest.approx((27.8, 31.6), abs=0.1)
    assert drawn[0].axes[0].get_xlim() == pytest.approx((29.1, 35.4), abs=0.2)


def test_levels_differ_in_dash_and_those_without_a_value_are_left_out(drawn: list[Figure]) -> None:
    ceiling_models(MODELS, levels={"bicubic": 28.5, "haar": 30.1, "identity": math.nan, "same": math.inf})
    axes = drawn[0].axes[0]
    levels = [line for line in axes.lines if line.get_label() in ("bicubic", "haar", "identity", "same")]
    assert [line.get_label() for line in levels] == ["bicubic", "haar"]
    assert len({str(line.get_linestyle()) + str(line._dash_pattern) for line in levels}) == 2


def test_a_model_without_a_finite_result_is_named_once(drawn: list[Figure]) -> None:
    ceiling_models([*MODELS, Point("perfect", 40.0, math.inf), Point("none", math.nan, 3.0)])
    note = " ".join(" ".join(text.get_text() for text in drawn[0].texts).split())
    assert "Not drawn: perfect (identical to HR); none (no value)." in note
    assert "perfect" not in _legend(drawn[0])


def test_one_model_and_no_spread_have_axes(drawn: list[Figure]) -> None:
    ceiling_models([("a", 30.0, 29.0)])
    assert len(drawn) == 1
    with pytest.raises(InputError, match="without points"):
        ceiling_models([])


def test_patients_of_two_methods_and_the_diagonal(drawn: list[Figure]) -> None:
    ceilings, results = np.array([30.0, 33.0, math.nan, 36.0]), np.array([29.5, 31.0, 30.0, math.inf])
    picture = ceiling_patients({"bicubic": (ceilings, [27.0, 28.0, 29.0, 30.0]), "mine": (ceilings, results)})
    lines = {line.get_label(): line for line in drawn[0].axes[0].lines}
    assert list(lines["mine"].get_xdata()) == [30.0, 33.0]
    assert list(lines["bicubic"].get_ydata()) == [27.0, 28.0, 30.0]
    assert _legend(drawn[0]) == ["bicubic", "mine", "result = ceiling"]
    assert "mine: 2 patients, means x 31.50, y 30.25" in picture.alt
    assert lines["mine"].get_marker() != lines["bicubic"].get_marker()


def test_patients_without_any_value_are_an_error() -> None:
    with pytest.raises(InputError, match="without patients"):
        ceiling_patients({"mine": ([math.nan], [1.0])})


HR = np.random.default_rng(0).uniform(0.2, 0.4, 40)
SR = HR + np.random.default_rng(1).normal(0.002, 0.004, 40)
FOUND = paired.bland_altman(SR, HR)
OTHER = paired.bland_altman(HR + np.random.default_rng(2).normal(-0.02, 0.01, 40), HR)


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
    found = paired.bland_altman(SR[:units], HR[:units])
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
    bland_altman({"one": paired.bland_altman(HR, HR)}, unit="%")
    assert _horizontals(_panels(drawn[0])[0]) == [0, 0, 0, 0]


def test_one_unit_has_a_bias_and_no_limits(drawn: list[Figure]) -> None:
    bland_altman({"one": paired.bland_altman([0.3], [0.31])}, unit="%")
    assert _horizontals(_panels(drawn[0])[0]) == pytest.approx([0, -0.01])
    assert not _panels(drawn[0])[0].patches


@pytest.mark.parametrize("given", [{}, {"one": FOUND, "two": paired.bland_altman([np.nan], [1.0])}])
def test_no_unit_is_an_error(given: dict[str, paired.Agreement]) -> None:
    with pytest.raises(InputError, match="at least one"):
        bland_altman(given, unit="%")

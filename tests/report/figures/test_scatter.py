"""The plane of two measures: all points with a place, the line with its bands, labels that stay apart."""

import itertools
import math

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from latentsr.errors import InputError
from latentsr.report.figures import Point, perception_distortion, regression
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

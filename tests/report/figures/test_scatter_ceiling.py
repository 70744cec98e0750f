"""Ceiling and result in one plane: points, lines, what the axes show, and what has no place."""

import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from latentsr.errors import InputError
from latentsr.report.figures import Point, ceiling_models, ceiling_patients
from latentsr.stats.regression import fit_line

MODELS = [
    Point("coarse", 30.0, 29.0, "", 28.0, 30.0, 29.5, 30.5),
    Point("middling", 31.0, 29.8, "", 29.0, 30.6, 30.2, 31.8),
    Point("fine", 35.0, 30.0),
]
LINE = fit_line([30, 31, 35], [29, 29.8, 30])
XS = np.linspace(30, 35, 20)


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def line_of(figure: Figure, label: str) -> tuple[list[float], list[float]]:
    line = next(line for line in figure.axes[0].lines if line.get_label() == label)
    return list(line.get_xdata()), list(line.get_ydata())


def test_models_whiskers_of_both_measures_and_lines_are_drawn(drawn: list[Figure]) -> None:
    picture = ceiling_models(MODELS, XS, LINE.predict(XS), levels={"bicubic": 28.5}, methods=["bicubic", "coarse"])
    lines = drawn[0].axes[0].lines
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines if len(line.get_xdata()) == 1]
    assert points == [(point.x, point.y) for point in MODELS]
    whiskers = [(list(line.get_xdata()), list(line.get_ydata())) for line in lines if line.get_label()[0] == "_"]
    assert ([30.0, 30.0], [28.0, 30.0]) in whiskers
    assert ([29.5, 30.5], [29.0, 29.0]) in whiskers
    assert legend(drawn[0]) == [
        "coarse", "middling", "fine", "least-squares line", "95% prediction band", "95% confidence band",
        "result = ceiling", "bicubic",
    ]  # fmt: skip
    assert line_of(drawn[0], "bicubic")[1] == [28.5, 28.5]
    assert "coarse: x 30.00, y 29.00" in picture.alt
    assert "bicubic: 28.50 at any ceiling" in picture.alt


def test_on_the_diagonal_result_and_ceiling_are_equal(drawn: list[Figure]) -> None:
    ceiling_models(MODELS)
    across, up = line_of(drawn[0], "result = ceiling")
    assert across == up
    limits = drawn[0].axes[0].get_xlim(), drawn[0].axes[0].get_ylim()
    assert across == [max(low for low, _ in limits), min(high for _, high in limits)]


def test_a_diagonal_far_above_is_left_out_and_a_near_one_is_reached(drawn: list[Figure]) -> None:
    ceiling_models([("a", 45.0, 28.0), ("b", 46.0, 29.0)])
    ceiling_models([("a", 30.5, 28.0), ("b", 31.5, 29.8)])
    assert legend(drawn[0]) == ["a", "b"]
    assert drawn[0].axes[0].get_ylim()[1] < 30
    assert "result = ceiling" in legend(drawn[1])
    assert drawn[1].axes[0].get_ylim()[1] > 30.4


def test_wide_bands_do_not_squeeze_the_points(drawn: list[Figure]) -> None:
    bands = LINE.predict(XS)
    assert bands.prediction_high.max() > 38
    ceiling_models(MODELS, XS, bands, levels={"bicubic": 28.5})
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
    assert "perfect" not in legend(drawn[0])


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
    assert legend(drawn[0]) == ["bicubic", "mine", "result = ceiling"]
    assert "mine: 2 patients, means x 31.50, y 30.25" in picture.alt
    assert lines["mine"].get_marker() != lines["bicubic"].get_marker()


def test_patients_without_any_value_are_an_error() -> None:
    with pytest.raises(InputError, match="without patients"):
        ceiling_patients({"mine": ([math.nan], [1.0])})

"""Band bars: a bar a band and method, words where there is none, strips where methods are many."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from latentsr.errors import InputError
from latentsr.report.figures import band_bars

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
    band_bars(_frame(2) - 25, quantity="Difference in subband PSNR")
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

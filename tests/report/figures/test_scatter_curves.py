"""Curves: a line a method with all its values, the reference in black, gaps where there is no value."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from latentsr.errors import InputError
from latentsr.report.figures import latent_curves, spectra
from latentsr.report.figures.scatter import REFERENCE
from latentsr.report.figures.style import COLOURS, mark


def _spectra(*methods: str) -> pd.DataFrame:
    values = 5 - 0.5 * np.arange(10) - 0.1 * np.arange(len(methods))[:, None] * np.arange(10)
    return pd.DataFrame(values, index=list(methods), columns=[f"{ring:02}" for ring in range(1, 11)])


def _curves(figure: Figure, axes: int = 0) -> list[np.ndarray]:
    return [line.get_ydata() for line in figure.axes[axes].lines if len(line.get_xdata()) > 2]


def test_a_line_a_method_with_all_its_values(drawn: list[Figure]) -> None:
    frame = _spectra("hr", "bicubic", "medvae")
    picture = spectra(frame)
    np.testing.assert_array_equal(_curves(drawn[0]), frame.to_numpy())
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["hr", "bicubic", "medvae"]
    assert drawn[0].axes[0].get_ylabel() == "log10 power"
    assert "bicubic: 5.00 at 01, \N{MINUS SIGN}0.40 at 10" in picture.alt


def test_a_reference_is_a_wide_line_of_no_methods_colour_and_what_others_differ_from(drawn: list[Figure]) -> None:
    frame = _spectra("bicubic", "hr", "medvae")
    spectra(frame, reference="hr", methods=["hr", "medvae", "bicubic"])
    assert len(drawn[0].axes) == 2
    differences = _curves(drawn[0], 1)
    np.testing.assert_allclose(differences[0], frame.loc["bicubic"] - frame.loc["hr"])
    assert differences[1] == pytest.approx(np.zeros(10))
    bicubic, hr, medvae = drawn[0].axes[0].lines[:3]
    assert (hr.get_color(), hr.get_marker()) == (REFERENCE["color"], "None")
    assert hr.get_color() not in COLOURS
    assert hr.get_linewidth() > 2 * medvae.get_linewidth()
    assert (medvae.get_marker(), bicubic.get_marker()) == (mark(0).marker, mark(1).marker)
    assert drawn[0].axes[1].get_ylabel() == "minus hr"


def test_gaps_and_infinite_values_are_told(drawn: list[Figure]) -> None:
    frame = _spectra("one", "two", "three")
    frame.iloc[0, 9], frame.iloc[1, 0] = np.nan, np.inf
    spectra(frame)
    assert np.isnan(_curves(drawn[0])[0][9])
    assert np.isnan(_curves(drawn[0])[1][0])
    note = " ".join(text.get_text() for text in drawn[0].texts)
    assert "Lossless, above the axis: two." in note
    assert "Without a value somewhere: one." in note


@pytest.mark.parametrize("methods", [1, 12])
def test_latent_curves_name_the_scales(methods: int, drawn: list[Figure]) -> None:
    names = [f"method number {number} with a name that is long" for number in range(methods)]
    frame = pd.DataFrame(np.linspace(0.5, 1, 7 * methods).reshape(methods, 7), names, [64, 32, 16, 8, 4, 2, 1])
    latent_curves(frame)
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["64", "32", "16", "8", "4", "2", "1"]
    assert axes.get_ylabel().replace("\n", " ") == "Cosine of SR and HR latent, higher is better"
    assert len(_curves(drawn[0])) == methods
    legend = drawn[0].legends[0].get_window_extent()
    assert legend.x1 <= drawn[0].bbox.x1


def test_nothing_to_draw_is_drawn_or_an_error() -> None:
    assert "no value at 1" in latent_curves(pd.DataFrame([[np.nan, np.nan]], index=["a"], columns=[2, 1])).alt
    with pytest.raises(InputError, match="without values"):
        spectra(pd.DataFrame())
    with pytest.raises(InputError, match="no row 'hr' among one"):
        spectra(_spectra("one"), reference="hr")

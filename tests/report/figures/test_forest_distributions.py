"""Violins: a shape a method, points where values are few, and what is left out counted in words."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from latentsr.errors import InputError
from latentsr.report.figures import violins

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

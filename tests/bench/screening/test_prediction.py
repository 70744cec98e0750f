import math
from pathlib import Path

import pandas as pd
import pytest

from latentsr.bench.prediction import expected_sr, read_points
from latentsr.errors import InputError
from latentsr.stats.regression import fit_line


def test_the_published_points_give_the_published_correlation() -> None:
    """Protocol section 2: r = 0.82, R2 = 0.67, six points."""
    points = read_points()
    line = fit_line(points["ceiling"], points["sr"])
    assert len(points) == 6
    assert round(line.r2**0.5, 2) == 0.82
    assert round(line.r2, 2) == 0.67


def test_prediction_is_statsmodels() -> None:
    statsmodels = pytest.importorskip("statsmodels.api")
    points = read_points()
    model = statsmodels.OLS(points["sr"], statsmodels.add_constant(points["ceiling"])).fit()
    frame = model.get_prediction([[1.0, 30.0]]).summary_frame(alpha=0.05)
    found = expected_sr(30.0, points)
    assert found.expected == pytest.approx(frame["mean"][0])
    assert (found.low, found.high) == pytest.approx((frame["obs_ci_lower"][0], frame["obs_ci_upper"][0]))
    assert found.note == ""
    assert expected_sr(25.0, points).note == "capped by the ceiling of 25.0 dB"


@pytest.mark.parametrize(("ceiling", "note"), [(20.0, "below the points' range of 23.9 to 37.9"), (45.0, "above")])
def test_beyond_the_points_is_said(ceiling: float, note: str) -> None:
    found = expected_sr(ceiling, read_points())
    assert note in found.note
    assert found.note.startswith("extrapolated")


def test_lossless_has_no_prediction() -> None:
    found = expected_sr(math.inf, read_points())
    assert "lossless" in found.note
    assert math.isnan(found.expected)


def test_own_studies_take_the_place_of_the_published(tmp_path: Path) -> None:
    pd.DataFrame({"name": list("abcd"), "ceiling": [30, 32, 34, 36], "sr": [25, 26, 27, 28]}).to_csv(tmp_path / "s.csv")
    found = expected_sr(33.0, read_points(tmp_path / "s.csv"))
    assert found.expected == pytest.approx(26.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ceiling,quality\n1,2\n", "lacks sr; expected columns ceiling and sr"),
        ("ceiling,sr\n1,2\n3,4\n5,7\n", "3 rows"),
        ("ceiling,sr\n1,2\n3,4\n5,x\n7,8\n", "4 rows, some perhaps no numbers"),
        ("ceiling,sr\n1,2\n1,4\n1,3\n2,8\n", "fewer than three different ceilings"),
        ("", "cannot be read as CSV"),
    ],
)
def test_a_studies_file_that_does_not_serve_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_points(tmp_path / "s.csv")
    with pytest.raises(InputError, match="cannot be read as CSV"):
        read_points(tmp_path / "missing.csv")

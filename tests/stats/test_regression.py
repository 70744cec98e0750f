import json
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from latentsr.errors import InputError, OptionError
from latentsr.stats.regression import fisher_interval, fit_line, pearson


@pytest.fixture
def points() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.uniform(20, 40, size=15)
    return x, 0.5 * x + 10 + rng.normal(size=15)


def test_the_published_interval(golden: Path) -> None:
    published = json.loads((golden / "metrics.json").read_text())["statistics"]
    np.testing.assert_allclose(fisher_interval(0.83, 15), published["fisher_z_ci_r0.83_n15"], rtol=1e-4)


def test_the_published_regression() -> None:
    # docs of the method: six autoencoder ceilings and SR PSNRs, r = 0.82, R2 = 0.67.
    ceilings, reached = [27.85, 23.92, 37.87, 31.39, 36.93, 32.02], [25.26, 22.34, 26.42, 23.51, 28.87, 25.58]
    assert round(fit_line(ceilings, reached).r2, 2) == 0.67


def test_correlation_equals_scipys(points: tuple[np.ndarray, np.ndarray]) -> None:
    found, scipys = pearson(*points), stats.pearsonr(*points)
    assert (found.r, found.p) == pytest.approx((scipys.statistic, scipys.pvalue))
    np.testing.assert_allclose((found.low, found.high), scipys.confidence_interval(), rtol=1e-10)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_line_and_bands_equal_statsmodels(points: tuple[np.ndarray, np.ndarray], level: float) -> None:
    x, y = points
    line, ols = fit_line(x, y), sm.OLS(y, sm.add_constant(x)).fit()
    at = np.array([15.0, 30.0, 50.0])
    frame = ols.get_prediction(sm.add_constant(at)).summary_frame(alpha=1 - level)
    bands = line.predict(at, level)
    np.testing.assert_allclose([line.intercept, line.slope], ols.params)
    np.testing.assert_allclose([line.r2, line.n], [ols.rsquared, ols.nobs])
    assert line.residual_sd == pytest.approx(np.sqrt(ols.mse_resid))
    np.testing.assert_allclose(bands.centre, frame["mean"])
    np.testing.assert_array_equal(list(bands)[3], bands.prediction_low)
    np.testing.assert_allclose(
        [bands.confidence_low, bands.confidence_high], frame[["mean_ci_lower", "mean_ci_upper"]].T
    )
    np.testing.assert_allclose([bands.prediction_low, bands.prediction_high], frame[["obs_ci_lower", "obs_ci_upper"]].T)


def test_the_prediction_band_holds_a_new_point() -> None:
    rng, x = np.random.default_rng(2), np.linspace(20, 40, 6)
    held = []
    for _ in range(1000):
        bands = fit_line(x, x + rng.normal(size=6)).predict(33.0)
        held.append(bands.prediction_low[0] < 33 + rng.normal() < bands.prediction_high[0])
    assert 0.93 < np.mean(held) < 0.97


def test_the_line_passes_through_the_centre_of_the_points(points: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = points
    line = fit_line(x, y)
    assert line.predict(x.mean()).centre[0] == pytest.approx(y.mean())


def test_points_without_a_value_are_left_out(points: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = points
    assert fit_line([*x, np.nan, 3.0], [*y, 1.0, np.nan]) == fit_line(x, y)


def test_few_or_flat_points_have_no_band_or_correlation() -> None:
    line = fit_line([1.0, 2.0], [3.0, 5.0])
    assert (line.slope, line.intercept) == pytest.approx((2, 1))
    assert np.isnan(line.predict([1.5]).prediction_low).all()
    assert np.isnan([pearson([1.0, 2.0], [3.0, 5.0]).r, pearson([1.0, 2.0], [3.0, 5.0]).p]).all()
    assert np.isnan(pearson([1.0, 2.0, 3.0], [4.0, 4.0, 4.0]).r)
    assert np.isnan(pearson([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]).low)
    assert fisher_interval(1.0, 10) == (1.0, 1.0)


def test_a_correlation_in_words_bears_its_interval_and_its_number() -> None:
    six = pearson([27.85, 23.92, 37.87, 31.39, 36.93, 32.02], [25.26, 22.34, 26.42, 23.51, 28.87, 25.58])
    assert six.words == "r = 0.82 [0.01, 0.98], n = 6"
    assert pearson([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]).words == "r = 0.98, n = 3"
    assert pearson([1.0, 2.0, 3.0], [4.0, 4.0, 4.0]).words == "r not defined, n = 3"


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="two points at different x"):
        fit_line([1.0, 1.0], [2.0, 3.0])
    with pytest.raises(InputError, match="lossless"):
        fit_line([1.0, np.inf], [2.0, 3.0])
    with pytest.raises(InputError, match="one y for each x"):
        pearson([1.0, 2.0], [1.0])
    with pytest.raises(OptionError, match="level 95"):
        fit_line([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]).predict([1.0], level=95)

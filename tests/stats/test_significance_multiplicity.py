import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from latentsr.errors import InputError
from latentsr.stats import holm


@pytest.mark.parametrize("tests", [1, 2, 7, 50])
def test_equals_statsmodels(tests: int) -> None:
    p = np.random.default_rng(tests).beta(0.5, 4, size=tests).round(3)  # rounded: with ties
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=1e-12)


def test_tests_that_could_not_be_made_are_left_out_of_the_family() -> None:
    adjusted = holm([0.04, np.nan, 0.01, np.nan])
    np.testing.assert_allclose(adjusted, [0.04, np.nan, 0.02, np.nan])
    assert np.isnan(holm([np.nan])).all()
    assert holm([]).shape == (0,)


def test_no_finding_in_pure_noise_in_95_of_100_families() -> None:
    families = np.random.default_rng(8).uniform(size=(2000, 12))
    found = np.mean([holm(family).min() < 0.05 for family in families])
    assert 0.035 < found < 0.065
    assert (families.min(axis=1) < 0.05).mean() > 0.4


def test_what_is_no_p_value_is_refused() -> None:
    with pytest.raises(InputError, match=r"expected \(tests,\) in \[0, 1\]"):
        holm([0.5, 1.5])
    with pytest.raises(InputError, match="shape"):
        holm([[0.5]])

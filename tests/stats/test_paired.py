import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import integrate, special, stats
from statsmodels.stats.proportion import proportion_effectsize

from latentsr.errors import InputError
from latentsr.stats.paired import cohen_d, cohen_dz, cohen_h, dz_interval, rank_biserial, wilcoxon

VALUES = arrays(np.float64, st.integers(2, 30), elements=st.floats(-50, 50, width=16))


@pytest.fixture
def published(golden: Path) -> dict:
    return json.loads((golden / "metrics.json").read_text())["statistics"]


def test_the_published_values(published: dict) -> None:
    a, b = np.array(published["a"]), np.array(published["b"])
    assert wilcoxon(a - b) == pytest.approx(published["wilcoxon_p_two_sided"], rel=1e-4)
    assert cohen_d(a, b) == pytest.approx(published["cohens_d_pooled"], rel=1e-4)
    assert cohen_dz(a - b) == pytest.approx(published["cohens_dz"], rel=1e-4)
    assert rank_biserial(a - b) == pytest.approx(published["rank_biserial"], rel=1e-4)


@pytest.mark.parametrize(
    ("pairs", "digits"),
    [(2, 0), (6, 15), (6, 0), (9, 0), (10, 1), (13, 15), (14, 0), (50, 15), (40, 15), (40, 0), (51, 15), (300, 1)],
)
def test_wilcoxon_equals_scipys_with_zeros_and_ties(pairs: int, digits: int) -> None:
    a, b = np.random.default_rng(pairs).normal(0.2, 2, size=(2, pairs)).round(digits)
    exact = np.round(a - b, 9)  # scipy ranks by the last bit too, ours has such differences tied
    assert wilcoxon(a - b) == pytest.approx(stats.wilcoxon(exact).pvalue, rel=1e-12)


def test_ties_are_exact_up_to_thirteen_pairs_and_normal_beyond() -> None:
    """All alike, to one side: 2 of 2^13 ways; then z = sqrt(14), as scipy's "auto" has it, which takes seconds here."""
    assert wilcoxon(np.ones(13)) == 2.0**-12
    assert wilcoxon(np.ones(14)) == pytest.approx(2 * stats.norm.sf(14**0.5), rel=1e-12)


def test_rounding_decides_no_tie_and_no_zero() -> None:
    """Without ties p would be that of other ranks: here .047 or .078 instead of .0625, by the last bit of a sum."""
    exact = np.array([3.0, -3.0, 3.0, 5.0, 7.0, 9.0, 11.0, 0.0])
    noise = np.array([1.0, 0.0, -1.0, 2.0, 0.0, 1.0, 0.0, 1.0]) * 1e-16
    for noisy in (exact / 10 + noise, exact / 10 - noise, np.array([0.1 + 0.2, -0.3, 0.3, 0.5, 0.7, 0.9, 1.1, 1e-17])):
        assert wilcoxon(noisy) == wilcoxon(exact)
        assert rank_biserial(noisy) == rank_biserial(exact)
    assert wilcoxon(exact) == pytest.approx(stats.wilcoxon(exact).pvalue)


def test_steps_of_more_than_rounding_are_no_ties() -> None:
    differences = np.array([1.0, -1 - 1e-8, 1 + 2e-8, 2.0, 3.0])
    assert rank_biserial(differences) == pytest.approx((1 - 2 + 3 + 4 + 5) / 15)
    assert rank_biserial(1e-12 * differences) == pytest.approx((1 - 2 + 3 + 4 + 5) / 15)


def test_no_difference_anywhere_is_no_finding() -> None:
    zeros = np.zeros(10)
    assert wilcoxon(zeros) == 1
    assert rank_biserial(zeros) == 0
    assert np.isnan(cohen_dz(zeros))
    assert cohen_d(np.arange(10.0), np.arange(10.0)) == 0


def test_a_difference_that_never_varies_has_no_standardised_effect() -> None:
    a = np.random.default_rng(1).normal(30, 2, size=20)
    assert np.isnan(cohen_dz((a + 0.1) - a))
    assert cohen_d(a + 0.1, a) == pytest.approx(0.1 / a.std(ddof=1))


@given(differences=VALUES)
def test_swapping_the_methods_turns_the_signs(differences: np.ndarray) -> None:
    assert wilcoxon(-differences) == pytest.approx(wilcoxon(differences))
    assert rank_biserial(-differences) == pytest.approx(-rank_biserial(differences))
    assert -1 <= rank_biserial(differences) <= 1
    np.testing.assert_allclose(cohen_dz(-differences), -cohen_dz(differences))


def test_rank_biserial_counts_the_pairs_won() -> None:
    # Ranks 1, 2, 3, 4 of which 4 is lost: (1 + 2 + 3 - 4) / 10.
    assert rank_biserial([1.0, 2.0, 3.0, -4.0, 0.0]) == pytest.approx(0.2)
    n = 25
    differences = np.random.default_rng(2).normal(0.3, size=n)
    won = stats.wilcoxon(differences, alternative="greater").statistic  # the sum of ranks of positive differences
    assert rank_biserial(differences) == pytest.approx(4 * won / (n * (n + 1)) - 1)


def test_d_is_dz_where_the_methods_are_independent_of_each_other() -> None:
    a, b = np.random.default_rng(3).normal([[0.5], [0]], size=(2, 200_000))
    assert cohen_dz(a - b) == pytest.approx(cohen_d(a, b) / np.sqrt(2), rel=0.02)


def test_cohen_h_equals_statsmodels() -> None:
    first, second = np.random.default_rng(4).uniform(size=(2, 20))
    np.testing.assert_allclose(cohen_h(first, second), proportion_effectsize(first, second), rtol=1e-12)
    assert cohen_h(1, 0) == pytest.approx(np.pi)
    assert np.isnan(cohen_h(np.nan, 0.5))


def test_pairs_without_a_value_are_left_out() -> None:
    a, b = np.array([1.0, 4.0, 2.0, np.nan, 7.0]), np.array([0.5, 1.0, 3.0, 1.0, np.nan])
    kept = a[:3] - b[:3]
    assert wilcoxon(a - b) == wilcoxon(kept)
    assert cohen_dz(a - b) == cohen_dz(kept)
    assert cohen_d(a, b) == cohen_d(a[:3], b[:3])


@pytest.mark.parametrize("values", [[], [2.0], [np.nan, 1.0]])
def test_too_few_pairs_have_no_value(values: list[float]) -> None:
    assert np.isnan([wilcoxon(values), cohen_dz(values), cohen_d(values, values)]).all()


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="finite"):
        wilcoxon([1.0, np.inf])
    with pytest.raises(InputError, match="pair by pair"):
        cohen_d([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match="percentages"):
        cohen_h(24.7, 25.2)


@pytest.mark.parametrize(("d_z", "n"), [(0.0, 2), (0.5, 2), (1.0, 10), (-2.3, 64), (8.0, 64), (3.0, 5000)])
def test_the_interval_of_dz_inverts_the_noncentral_t(d_z: float, n: int) -> None:
    low, high = dz_interval(d_z, n)
    tails = [stats.nct.cdf(d_z * n**0.5, n - 1, end * n**0.5) for end in (low, high)]
    np.testing.assert_allclose(tails, [0.975, 0.025], atol=1e-8)
    assert low < d_z < high
    assert dz_interval(-d_z, n) == pytest.approx((-high, -low), rel=1e-6)


@pytest.mark.parametrize("n", [2, 3, 5, 13, 31])
def test_the_interval_of_dz_is_there_for_large_effects_of_few_pairs(n: int) -> None:
    for d_z in (4.5, 9.0, 15.0, 40.0):
        low, high = dz_interval(d_z, n)
        below = [_share_below(d_z * n**0.5, n - 1, end * n**0.5) for end in (low, high)]
        np.testing.assert_allclose(below, [0.975, 0.025], atol=1e-6)
        assert dz_interval(-d_z, n) == pytest.approx((-high, -low), rel=1e-6)


def _share_below(t: float, freedom: int, centre: float) -> float:
    """P(T < t) of T = (Z + centre) / (S / sqrt(freedom)), Z normal and S chi: by numerical integration."""
    root = freedom**0.5
    parts = np.linspace(0, root + 12, 13)

    def density(s: float) -> float:
        return float(stats.chi.pdf(s, freedom) * stats.norm.cdf(t * s / root - centre))

    return sum(integrate.quad(density, *ends)[0] for ends in pairwise(parts))


def test_the_interval_of_dz_equals_another_implementation() -> None:
    ends = special.nctdtrinc(19, [0.975, 0.025], 0.8 * 20**0.5) / 20**0.5
    assert dz_interval(0.8, 20) == pytest.approx(tuple(ends), rel=1e-5)


def test_a_large_effect_is_less_sure_than_its_mean() -> None:
    """The sd is estimated too: an interval of mean over a fixed sd, 1.96 / sqrt(n) to both sides, is too narrow."""
    low, high = dz_interval(2.3, 64)
    assert high - low > 1.8 * 2 * 1.96 / 8


def test_no_interval_of_dz_without_pairs() -> None:
    assert np.isnan([*dz_interval(float("nan"), 10), *dz_interval(1.0, 1)]).all()

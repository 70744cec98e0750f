import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats
from statsmodels.stats.weightstats import DescrStatsW

from latentsr.errors import InputError
from latentsr.stats.paired import AGREEMENT_COLUMNS, bland_altman, compare_agreement
from latentsr.stats.table import COLUMNS


def test_the_published_values(golden: Path) -> None:
    published = json.loads((golden / "metrics.json").read_text())["statistics"]
    found = bland_altman(published["a"], published["b"])
    assert (found.bias, found.sd) == pytest.approx(tuple(published["bland_altman"].values()), rel=1e-4)
    assert (found.lower, found.upper) == pytest.approx((found.bias - 1.96 * found.sd, found.bias + 1.96 * found.sd))


def test_the_interval_of_the_bias_equals_statsmodels() -> None:
    a, b = np.random.default_rng(1).normal(size=(2, 17))
    found = bland_altman(a, b)
    np.testing.assert_allclose((found.bias_low, found.bias_high), DescrStatsW(a - b).tconfint_mean(0.05))
    np.testing.assert_array_equal(found.means, (a + b) / 2)
    np.testing.assert_array_equal(found.differences, a - b)


def test_the_intervals_of_the_limits_become_bland_and_altmans_own_for_many_units() -> None:
    n, differences = 2000, np.random.default_rng(2).normal(size=2000)
    found = bland_altman(differences, np.zeros(n))
    reach = stats.t.ppf(0.975, n - 1) * found.sd * np.sqrt(1 / n + 1.96**2 / (2 * (n - 1)))
    published = [found.upper - reach, found.upper + reach, found.lower - reach, found.lower + reach]
    np.testing.assert_allclose(
        [found.upper_low, found.upper_high, found.lower_low, found.lower_high], published, atol=5e-3
    )


@pytest.mark.parametrize("n", [5, 20])
def test_the_intervals_hold_the_true_bias_and_limits(n: int) -> None:
    rng, truth = np.random.default_rng(n), stats.norm(0.3, 2)
    limits, held = (0.3 - 1.96 * 2, 0.3, 0.3 + 1.96 * 2), []
    for _ in range(1000):
        found = bland_altman(truth.rvs(n, random_state=rng), np.zeros(n))
        lows, highs = (
            (found.lower_low, found.bias_low, found.upper_low),
            (found.lower_high, found.bias_high, found.upper_high),
        )
        held.append([low < limit < high for low, limit, high in zip(lows, limits, highs, strict=True)])
    assert ((np.mean(held, axis=0) > 0.93) & (np.mean(held, axis=0) < 0.97)).all()


@pytest.mark.parametrize("n", [2, 5, 20])
def test_the_ends_of_a_limit_are_exact_for_normal_differences(n: int) -> None:
    """Integrated over the sd's chi distribution, mean and sd being independent: 97.5 of 100 lie on either side."""
    found = bland_altman(np.random.default_rng(n).normal(size=n), np.zeros(n))

    def beyond(sd: float, factor: float) -> float:
        above = stats.norm.cdf(np.sqrt(n) * (factor * sd / np.sqrt(n - 1) - 1.96))
        return float(above * stats.chi.pdf(sd, n - 1))

    for end, share in ((found.upper_high, 0.975), (found.upper_low, 0.025)):
        factor = (end - found.bias) / found.sd
        assert integrate.quad(beyond, 0, 20, args=(factor,))[0] == pytest.approx(share, abs=1e-6)


def test_a_patient_counts_once() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, 10))
    once = bland_altman(a, b)
    often = bland_altman(a.repeat(6), b.repeat(6), patients=[f"p{n}" for n in np.arange(10).repeat(6)])
    assert (often.n, often.bias, often.upper_high) == pytest.approx((10, once.bias, once.upper_high))


def test_pairs_without_a_value_are_left_out_and_few_have_no_limits() -> None:
    found = bland_altman([1.0, np.nan, 3.0], [0.5, 1.0, np.nan])
    assert (found.n, found.bias) == (1, 0.5)
    assert np.isnan([found.sd, found.bias_low, found.upper, found.upper_high]).all()
    assert np.isnan(bland_altman([], []).bias)


def test_swapping_the_two_mirrors_the_limits() -> None:
    a, b = np.random.default_rng(5).normal(size=(2, 12))
    there, back = bland_altman(a, b), bland_altman(b, a)
    assert (there.upper_low, there.upper_high) == pytest.approx((-back.lower_high, -back.lower_low))


def test_methods_against_hr_on_the_table() -> None:
    rng, patients = np.random.default_rng(6), np.repeat([f"p{n}" for n in range(8)], 3)
    values = {name: 0.4 + 0.01 * rng.normal(size=24) for name in ("hr", "mine", "yours")}
    parts = [
        pd.DataFrame({"dataset": "set", "id": [f"i{n:02d}" for n in range(24)], "patient": patients}).assign(
            method=name, metric="mean_intensity", value=column
        )
        for name, column in values.items()
    ]
    table = pd.concat(parts)[list(COLUMNS)]
    found = compare_agreement(table, "mean_intensity", unit="both")
    assert tuple(found.columns) == AGREEMENT_COLUMNS
    assert list(zip(found["a"], found["unit"], found["n"], strict=True)) == [
        ("mine", "patient", 8), ("yours", "patient", 8), ("mine", "image", 24), ("yours", "image", 24)
    ]  # fmt: skip
    assert set(found["images"]) == {24}
    assert set(found["patients"]) == {8}
    assert found["bias"][2] == pytest.approx((values["mine"] - values["hr"]).mean())
    assert found["sd"][0] < found["sd"][2]
    with pytest.raises(InputError, match="no method hr"):
        compare_agreement(table[table["method"] != "hr"], "mean_intensity")
    with pytest.raises(InputError, match="no metric psnr in the table: it has mean_intensity"):
        compare_agreement(table, "psnr")


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="expected a, b, patients"):
        bland_altman([1.0, np.inf], [1.0, 2.0])
    with pytest.raises(InputError, match=r"shape \(1,\) and \(2,\)"):
        bland_altman([1.0], [1.0, 2.0])

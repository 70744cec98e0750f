"""The one rule: equal to the reference libraries, its error rates over simulated studies, no contradictions."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW, ttost_paired

from latentsr.errors import InputError, OptionError
from latentsr.stats.comparison import PRIMARY, compare_methods, summarise
from latentsr.stats.paired import wilcoxon
from latentsr.stats.significance import (
    EQUIVALENCE_COLUMNS,
    FEWEST,
    LEVEL,
    compare_equivalence,
    detectable,
    holm,
    judge,
    mean_test,
    tost,
)
from latentsr.stats.table import COLUMNS

STUDIES = 2000


def test_equals_scipy_column_by_column() -> None:
    values = np.random.default_rng(0).normal(0.3, 1, size=(12, 5))
    values[[0, 3], 1] = np.nan
    values[1:, 2] = np.nan
    values[:, 3] = np.nan
    values[2:, 4] = np.nan
    found = mean_test(values, level=0.9)
    assert found.n.tolist() == [12, 10, 1, 0, 2]
    for column in (0, 1, 4):
        expected = stats.ttest_1samp(values[:, column], 0, nan_policy="omit")
        assert found.p[column] == pytest.approx(expected.pvalue)
        assert (found.low[column], found.high[column]) == pytest.approx(tuple(expected.confidence_interval(0.9)))
        assert found.mean[column] == pytest.approx(np.nanmean(values[:, column]))
        assert found.sd[column] == pytest.approx(np.nanstd(values[:, column], ddof=1))
    assert found.mean[2] == values[0, 2]
    assert np.isnan([found.sd[2], found.low[2], found.high[2], found.p[2], found.mean[3], found.p[3]]).all()


def test_units_that_all_differ_alike_leave_no_doubt() -> None:
    found = mean_test(np.array([[0.1 + 0.2, 0.0], [0.3, 0.0], [0.3, 0.0]]))  # the first is another float
    assert found.p.tolist() == [0, 1]
    assert found.low == pytest.approx([0.3, 0])
    assert found.high == pytest.approx([0.3, 0])


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="finite or NaN"):
        mean_test([[1.0], [np.inf]])
    with pytest.raises(InputError, match=r"shape \(2,\)"):
        mean_test([1.0, 2.0])


@pytest.mark.parametrize("n", [2, 3, 6, 12, 100, 3000])
def test_what_can_be_detected_equals_statsmodels(n: int) -> None:
    assert detectable(n) == pytest.approx(TTestPower().solve_power(nobs=n, power=0.8, alpha=0.05), rel=1e-3)
    assert np.isnan([detectable(0), detectable(1)]).all()


def test_four_of_five_studies_find_what_is_detectable() -> None:
    for n in (6, 20):
        studies = np.random.default_rng(n).normal(detectable(n), 1, size=(n, 20_000))
        assert (mean_test(studies).p < LEVEL).mean() == pytest.approx(0.8, abs=0.01)


def test_the_fewest_are_those_of_whom_the_signed_rank_test_can_say_anything() -> None:
    assert wilcoxon(np.arange(1.0, FEWEST + 1)) < LEVEL <= wilcoxon(np.arange(1.0, FEWEST))


@pytest.mark.parametrize(
    ("change", "better", "finding"),
    [
        ({}, "higher", "better"), ({}, "lower", "worse"), ({"difference": -1.0}, "higher", "worse"),
        ({"p_holm": LEVEL}, "higher", "open"), ({"p_holm": 0.0499}, "higher", "better"),
        ({"n": FEWEST - 1}, "higher", "few"), ({"p_holm": np.nan}, "higher", "few"),
    ],
)  # fmt: skip
def test_the_rule(change: dict[str, float], better: str, finding: str) -> None:
    assert judge({"n": FEWEST, "p_holm": 0.001, "difference": 1.0} | change, better) == finding


def patients_means(rng: np.random.Generator, sizes: np.ndarray, truth: float, studies: int = STUDIES) -> np.ndarray:
    """(patients, studies) of mean differences: patients differ, and the more so the fewer images there are of them."""
    return truth + rng.normal(size=(len(sizes), studies)) * np.sqrt(0.5 + 0.5 / sizes)[:, None]


@pytest.mark.parametrize("patients", [6, 10, 20, 40])
def test_errors_coverage_and_power_with_unequal_patients(patients: int) -> None:
    """Type I error and coverage within binomial noise of 5 and 95 %; power at least Wilcoxon's less two points."""
    rng = np.random.default_rng(patients)
    sizes = rng.choice([1, 2, 5, 30], size=patients)
    null = mean_test(patients_means(rng, sizes, 0.0))
    assert 0.035 <= (null.p < 0.05).mean() <= 0.065
    assert 0.92 <= ((null.low < 0) & (null.high > 0)).mean() <= 0.98
    means = patients_means(rng, sizes, 2.6 / np.sqrt(patients), 500)
    power = (mean_test(means).p < 0.05).mean()
    wilcoxons = (stats.wilcoxon(means, axis=0).pvalue < 0.05).mean()
    assert 0.3 < power < 0.9
    assert power >= wilcoxons - 0.02


@pytest.mark.parametrize(
    ("draw", "truth", "covered"),
    [
        ("standard_normal", 0.0, {3: 0.95, 6: 0.95, 15: 0.95, 60: 0.95}),
        ("standard_exponential", 1.0, {15: 0.912, 60: 0.937}),
        ("lognormal", np.exp(0.5), {15: 0.855, 60: 0.904}),
    ],
)
def test_the_interval_covers_what_its_docstring_says(draw: str, truth: float, covered: dict[int, float]) -> None:
    for n, share in covered.items():
        found = mean_test(getattr(np.random.default_rng(n), draw)(size=(n, 20_000)))
        assert ((found.low < truth) & (truth < found.high)).mean() == pytest.approx(share, abs=0.007)


def test_of_heavy_tails_it_finds_less_than_the_signed_rank_test() -> None:
    """What its docstring says: t of 3 degrees of freedom, d_z 0.5, 20 units."""
    studies = np.random.default_rng(7).standard_t(3, size=(20, 2000)) / np.sqrt(3) + 0.5
    signed_rank = np.mean([wilcoxon(one) < LEVEL for one in studies.T])
    assert [(mean_test(studies).p < LEVEL).mean(), signed_rank] == pytest.approx([0.70, 0.78], abs=0.03)


def test_equivalence_errs_in_5_of_100_studies_that_differ_by_the_margin() -> None:
    rng = np.random.default_rng(5)
    sizes = rng.choice([1, 2, 5, 30], size=15)
    means = patients_means(rng, sizes, 1.0)
    assert 0.035 <= np.mean([(tost(one, 1.0).verdict == "equivalent") for one in means.T]) <= 0.065


def tidy(values: dict[tuple[str, str], np.ndarray], patients: np.ndarray) -> pd.DataFrame:
    frames = [
        pd.DataFrame({"id": [f"i{n:04d}" for n in range(len(patients))], "patient": patients, "value": column}).assign(
            dataset="set", method=method, metric=metric
        )
        for (method, metric), column in values.items()
    ]
    return pd.concat(frames, ignore_index=True)[list(COLUMNS)]


def studies(count: int, seed: int) -> Iterator[pd.DataFrame]:
    """Tables of two methods and bicubic in two measures: unequal patients, effects from none to large."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        patients = int(rng.integers(3, 20))
        members = np.repeat(np.arange(patients), rng.choice([1, 1, 2, 12], size=patients))
        base = rng.normal(30, 2, size=len(members))
        values = {}
        for metric in ("psnr", "gmsd"):
            values["bicubic", metric] = base
            for method, effect in zip("xy", rng.choice([0, 0.2, 0.5, 1.5], size=2), strict=True):
                spread = rng.normal(size=patients)[members] + rng.normal(size=len(members))
                values[method, metric] = base + effect + 0.7 * spread
        yield tidy(values, np.array([f"p{n:02d}" for n in members]))


def test_no_row_contradicts_another_or_itself() -> None:
    """Over simulated studies, a dataset each; tests/report has three hundred, and their words."""
    table = pd.concat(one.assign(dataset=f"d{number:03d}") for number, one in enumerate(studies(60, seed=7)))
    pairs = [("x", "bicubic"), ("y", "bicubic"), ("y", "x")]
    compared = compare_methods(table, pairs=pairs, primary=("x", "bicubic", "psnr"), draws=2)
    assert (np.sign(compared["difference"]) == np.sign(compared["d_z"])).all()
    np.testing.assert_allclose(compared["difference"], compared["mean_a"] - compared["mean_b"], atol=1e-9)
    excluded = (compared["low"] > 0) | (compared["high"] < 0)
    assert (excluded == (compared["p"] < LEVEL)).all()
    finding = pd.Series([judge(one, "higher") for one in compared.to_dict(orient="records")])
    assert {"better", "worse", "open", "few"} == set(finding)
    found, judged = finding.isin(["better", "worse"]), compared["n"] >= FEWEST
    assert (found == judged & (compared["p_holm"] < LEVEL)).all()
    assert excluded[found].all()
    primary = compared["family"] == PRIMARY
    assert primary.sum() == 60
    assert (found == judged & excluded)[primary].all()

    key = ["dataset", "metric", "a"]
    equal = compare_equivalence(table, {"psnr": 0.3}, pairs=pairs[:2]).set_index(key)
    own = compared[compared["b"] == "bicubic"].set_index(key).loc[equal.index]
    np.testing.assert_allclose(equal["difference"], own["difference"])
    assert ((own["low"] < equal["low"]) & (equal["high"] < own["high"])).all()
    inside = (equal["low"] > -0.3) & (equal["high"] < 0.3)
    assert ((equal["verdict"] == "equivalent") == inside & (equal["n"] >= FEWEST)).all()
    summary = summarise(table).rename(columns={"method": "a"}).set_index(key).loc[equal.index]
    for name, other in (("difference", "difference"), ("low", "low"), ("high", "high"), ("mean", "mean_a")):
        np.testing.assert_allclose(summary[name], own[other])


def test_by_image_the_same_studies_err_far_more_often() -> None:
    """500 studies without a difference in one table: 20 patients of 1 to 12 images, a patient's alike (ICC 0.5)."""
    rng = np.random.default_rng(11)
    members = np.repeat(np.arange(20), rng.integers(1, 12, size=20, endpoint=True))
    effects = rng.normal(size=(20, 500))[members] + rng.normal(size=(len(members), 500))
    values = {("a", f"m{n}"): effects[:, n] for n in range(500)}
    values |= {("b", f"m{n}"): np.zeros(len(members)) for n in range(500)}
    table = tidy(values, np.array([f"p{n:02d}" for n in members]))
    compared = compare_methods(table, pairs=[("a", "b")], unit="both", draws=2)
    errors = (compared["p"] < 0.05).groupby(compared["unit"]).mean()
    assert 0.03 <= errors["patient"] <= 0.07
    assert errors["image"] > 0.20


@pytest.mark.parametrize("tests", [1, 2, 7, 50])
def test_holm_equals_statsmodels(tests: int) -> None:
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


PATIENTS = np.repeat(np.arange(20), np.random.default_rng(1).integers(1, 15, size=20))
NAMES = [f"p{n:02d}" for n in PATIENTS]


def study(rng: np.random.Generator, truth: float) -> np.ndarray:
    """Differences of images, of which a patient's are alike (intraclass correlation 0.5)."""
    return truth + 0.2 * (rng.normal(size=20)[PATIENTS] + rng.normal(size=len(PATIENTS))) / np.sqrt(2)


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.3])
def test_equals_statsmodels(shift: float) -> None:
    a, b = np.random.default_rng(2).normal(size=(2, 25)) * 0.2 + [[shift], [0]]
    found = tost(a - b, 0.15)
    assert found.p == pytest.approx(ttost_paired(a, b, -0.15, 0.15)[0], rel=1e-10)
    np.testing.assert_allclose((found.low, found.high), DescrStatsW(a - b).tconfint_mean(0.1))


def test_it_holds_its_level_by_patient_and_not_by_image() -> None:
    rng = np.random.default_rng(3)
    studies = [study(rng, 0.1) for _ in range(1000)]  # methods that do differ by the margin
    by_patient = np.mean([(tost(one, 0.1, patients=NAMES).verdict == "equivalent") for one in studies])
    by_image = np.mean([(tost(one, 0.1).verdict == "equivalent") for one in studies])
    assert 0.035 <= by_patient <= 0.065
    assert by_image > 0.12


def test_methods_that_are_alike_are_found_to_be() -> None:
    rng = np.random.default_rng(4)
    assert np.mean([(tost(study(rng, 0.0), 0.15, patients=NAMES).verdict == "equivalent") for _ in range(200)]) > 0.8


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [([0.01, -0.01, 0.02, 0.0], "equivalent"), ([0.5, 0.52, 0.48], "not shown"), ([0.1, -0.2, 0.3], "not shown")],
)
def test_the_verdict_is_that_of_interval_and_p(differences: list[float], verdict: str) -> None:
    found = tost(differences, 0.15)
    assert found.verdict == verdict
    assert (found.verdict == "equivalent") == (found.p < 0.05) == (found.low > -0.15 and found.high < 0.15)
    assert tost(-np.array(differences), 0.15).p == pytest.approx(found.p)


def test_copies_of_a_patients_image_are_no_evidence() -> None:
    differences = np.random.default_rng(5).normal(0, 0.2, size=10)
    often = tost(differences.repeat(9), 0.15, patients=[f"p{n}" for n in np.arange(10).repeat(9)])
    assert (often.n, often.p) == pytest.approx((10, tost(differences, 0.15).p))


def test_few_units_or_none_that_vary() -> None:
    assert tost([0.0, 0.0, 0.0], 0.15).p == 0
    assert tost([0.2, 0.2], 0.15).verdict == "not shown"
    assert tost([0.0, np.nan], 0.15).verdict == "not shown"
    assert np.isnan([tost([], 0.15).p, tost([0.0], 0.15).p, tost([0.0, 0.1], 0.15, patients=["a", "a"]).low]).all()


@pytest.mark.parametrize(("patients", "verdict"), [(5, "not shown"), (6, "equivalent")])
def test_of_too_few_patients_nothing_is_shown(patients: int, verdict: str) -> None:
    """No page says that 5 patients are too few to judge a difference, and that they show equivalence."""
    rows = [("set", f"{n}", f"{n}", m, "psnr", 30 + 0.001 * n * (m == "a")) for n in range(patients) for m in "ab"]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    (found,) = compare_equivalence(table, {"psnr": 1.0}, pairs=[("a", "b")]).to_dict(orient="records")
    assert (found["n"], found["verdict"]) == (patients, verdict)
    assert found["p"] < 1e-6


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_difference_of_just_the_margin_is_not_within_it(sign: int) -> None:
    found = tost([sign * 0.5, sign * 0.5], 0.5)
    assert (found.p, found.verdict) == (1.0, "not shown")


def test_methods_on_the_table() -> None:
    rng, images = np.random.default_rng(6), len(NAMES)
    base = rng.normal(30, 2, size=images)
    values = {"steps-50": base, "steps-100": base + 0.02 * rng.normal(size=images), "worse": base - 1}
    values["steps-100"][0] = np.inf
    parts = [
        pd.DataFrame({"dataset": "set", "id": [f"i{n:03d}" for n in range(images)], "patient": NAMES}).assign(
            method=name, metric="psnr", value=column
        )
        for name, column in values.items()
    ]
    table = pd.concat(parts)[list(COLUMNS)]
    pairs = [("steps-100", "steps-50"), ("worse", "steps-50")]
    found = compare_equivalence(table, {"psnr": 0.15}, pairs=pairs, unit="both").set_index(["a", "unit"])
    assert tuple(found.reset_index()[list(EQUIVALENCE_COLUMNS)]) == EQUIVALENCE_COLUMNS
    assert found["verdict"]["steps-100", "patient"] == "equivalent"
    assert found["verdict"]["worse", "patient"] == "not shown"
    assert set(found.xs("image", level="unit")["verdict"]) == {""}  # images of a patient are no independent evidence
    assert found["infinite"]["steps-100", "image"] == 1
    assert found["n"]["worse", "patient"] == 20
    with pytest.raises(InputError, match="no metric ssim in the table: it has psnr"):
        compare_equivalence(table, {"ssim": 0.01}, pairs=pairs)


def test_a_margin_of_nothing_is_refused() -> None:
    with pytest.raises(OptionError, match="margin 0"):
        tost([0.1, 0.2], 0.0)
    with pytest.raises(InputError, match="finite"):
        tost([0.1, np.inf], 0.1)

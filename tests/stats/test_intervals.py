import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import bootstrap, norm
from scipy.stats import t as student

from latentsr.errors import InputError, OptionError
from latentsr.stats import intervals as module
from latentsr.stats.intervals import FEWEST_GROUPS, cluster_intervals, expanded_tail, jackknife_interval, patient_groups


def test_the_published_intervals(golden: Path) -> None:
    published = json.loads((golden / "metrics.json").read_text())["statistics"]
    values = np.array(published["a"])[:, None]
    low, high = cluster_intervals(values, [str(n) for n in range(len(values))])
    np.testing.assert_allclose([low[0], high[0]], published["bootstrap_mean_ci_a"], atol=0.05)


def test_images_alone_equal_scipys_bootstrap() -> None:
    values = np.random.default_rng(3).gamma(2.0, size=60)
    scipys = bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=1).confidence_interval
    low, high = cluster_intervals(values[:, None], [str(n) for n in range(60)])
    np.testing.assert_allclose([low[0], high[0]], scipys, atol=0.03)


def test_copies_of_an_image_do_not_narrow_the_interval() -> None:
    values = np.random.default_rng(4).normal(size=30)
    patients = [f"p{n}" for n in range(30)]
    once = cluster_intervals(values[:, None], patients)
    often = cluster_intervals(np.repeat(values, 5)[:, None], np.repeat(patients, 5).tolist())
    np.testing.assert_allclose(once, often)


def studies(patients: int, most: int, alike: float, seed: int, runs: int = 1000) -> tuple[np.ndarray, list[str]]:
    """(images, runs) values of mean 0 and the patient of each image: 1 to `most` images each, correlated by `alike`."""
    rng = np.random.default_rng(seed)
    members = np.repeat(np.arange(patients), rng.integers(1, most, size=patients, endpoint=True))
    shared, own = rng.normal(size=(patients, runs))[members], rng.normal(size=(len(members), runs))
    return np.sqrt(alike) * shared + np.sqrt(1 - alike) * own, [f"p{n:03d}" for n in members]


def coverage(values: np.ndarray, clusters: list[str]) -> float:
    low, high = cluster_intervals(values, clusters, draws=2000)
    return float(((low < 0) & (high > 0)).mean())


@pytest.mark.parametrize(
    ("patients", "most", "alike"),
    [(8, 5, 0.5), (15, 1, 0.5), (15, 20, 0.5), (15, 20, 0.05), (25, 40, 0.9), (60, 20, 0.5)],
)
def test_the_interval_holds_the_truth_in_95_of_100_studies(patients: int, most: int, alike: float) -> None:
    assert 0.92 <= coverage(*studies(patients, most, alike, seed=patients + most)) <= 0.98


@pytest.mark.parametrize(
    ("sizes", "low", "high"),
    [
        ([1] * 3, 0.72, 0.78), ([1] * 5, 0.90, 0.935), ([1] * 6, 0.92, 0.95), ([1] * 9 + [30], 0.965, 0.99),
        ([1] * 30 + [40] * 3, 0.98, 1.0),
    ],
)  # fmt: skip
def test_coverage_of_few_and_of_very_unequal_patients_is_as_described(
    sizes: list[int], low: float, high: float
) -> None:
    rng = np.random.default_rng(1)
    members = np.repeat(np.arange(len(sizes)), sizes)
    values = rng.normal(size=(len(sizes), 3000))[members] + rng.normal(size=(len(members), 3000))
    assert low <= coverage(values, [f"p{member:03d}" for member in members]) <= high


def test_taking_images_for_independent_does_not_cover() -> None:
    values, patients = studies(30, 20, 0.5, seed=5)
    assert coverage(values, [str(n) for n in range(len(patients))]) < 0.75


def test_the_plain_percentile_interval_of_few_patients_would_not_cover() -> None:
    values, patients = studies(8, 5, 0.5, seed=13)
    sizes = np.unique(patients, return_counts=True)[1][:, None]
    tail = expanded_tail(sizes, 0.95)[0]
    assert tail < 0.012
    plain = 1 - 2 * float(brentq(lambda level: expanded_tail(sizes, 1 - 2 * level)[0] - 0.025, 0.001, 0.4))
    low, high = cluster_intervals(values, patients, draws=2000, level=plain)
    assert ((low < 0) & (high > 0)).mean() < 0.9


def test_the_tail_of_many_equal_clusters_is_the_percentile_intervals() -> None:
    assert expanded_tail(np.ones((100_000, 1)), 0.95)[0] == pytest.approx(0.025, rel=1e-3)
    # Hesterberg 2015 for n = 10: normal(-sqrt(10 / 9) 2.262).
    assert expanded_tail(np.full((10, 1), 7), 0.95)[0] == pytest.approx(norm.cdf(-np.sqrt(10 / 9) * 2.26216), rel=1e-4)


def test_unequal_clusters_count_for_fewer() -> None:
    equal, unequal = np.full((12, 1), 5), np.array([[1]] * 11 + [[49]])
    assert expanded_tail(unequal, 0.95)[0] < expanded_tail(equal, 0.95)[0]
    n = 20**2 / 130  # of sizes 1, 2, 3, 4 and 10
    expected = norm.cdf(np.sqrt(n / (n - 1)) * student.ppf(0.025, n - 1))
    assert expanded_tail([[1], [2], [3], [4], [10]], 0.95)[0] == pytest.approx(expected, rel=1e-12)


def test_another_seed_draws_anew_and_one_seed_the_same() -> None:
    values, patients = np.random.default_rng(7).normal(size=(20, 1)), [f"p{n % 7}" for n in range(20)]
    one, other, again = (cluster_intervals(values, patients, draws=500, seed=seed) for seed in (1, 2, 1))
    assert one == again
    assert one != other


def test_the_order_of_images_changes_nothing() -> None:
    rng = np.random.default_rng(6)
    values, patients = rng.normal(size=(20, 3)), [f"p{n % 7}" for n in range(20)]
    order = rng.permutation(20)
    shuffled = cluster_intervals(values[order], [patients[n] for n in order], draws=1000)
    np.testing.assert_allclose(shuffled, cluster_intervals(values, patients, draws=1000), rtol=1e-12)


def test_images_without_value_are_left_out_and_one_patient_has_no_interval() -> None:
    values = np.array([[1.0, np.nan, 2.0], [3.0, np.nan, np.nan], [5.0, 7.0, 4.0]])
    low, high = cluster_intervals(values, ["a", "a", "b"], draws=1000)
    assert np.isnan([low[1], high[1]]).all()
    assert (low[2], high[2]) == (2.0, 4.0)
    assert (low[0], high[0]) == (2.0, 5.0)
    assert np.isnan(cluster_intervals(values, ["a", "a", "a"], draws=100)).all()


def test_columns_share_their_draws_but_not_their_gaps() -> None:
    values = np.random.default_rng(7).normal(size=(40, 300))
    values[:5, 7] = np.nan
    patients = [f"p{n % 9}" for n in range(40)]
    low, high = cluster_intervals(values, patients, draws=500)
    for column in (0, 7, 299):
        alone = cluster_intervals(values[:, [column]], patients, draws=500)
        np.testing.assert_allclose([low[column], high[column]], np.ravel(alone), rtol=1e-12)


def test_bad_options_are_refused() -> None:
    with pytest.raises(OptionError, match="level 95"):
        cluster_intervals([[1.0], [2.0]], ["a", "b"], level=95)
    with pytest.raises(OptionError, match="for 1 clusters"):
        cluster_intervals([[1.0], [2.0]], ["a"])
    with pytest.raises(InputError, match="infinite"):
        cluster_intervals([[1.0], [np.inf]], ["a", "b"])
    with pytest.raises(OptionError, match="0 draws"):
        cluster_intervals([[1.0], [2.0]], ["a", "b"], draws=0)


def test_blocks_of_draws_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eighths, whose sums are exact, so that the order in which a linear algebra library adds them is no matter."""
    values = np.round(np.random.default_rng(6).normal(size=(60, 300)) * 8) / 8
    patients = [f"p{n % 13}" for n in range(60)]
    blocks = cluster_intervals(values, patients, draws=2500)
    monkeypatch.setattr(module, "BLOCK", 2500)
    np.testing.assert_array_equal(blocks, cluster_intervals(values, patients, draws=2500))


def test_memory_does_not_grow_with_the_draws() -> None:
    values, images = np.zeros((2000, 2)), [str(n) for n in range(2000)]
    tracemalloc.start()
    cluster_intervals(values, images, draws=8000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6  # all draws at once: 128 MB and more


RUNS = 1000


def jackknife_studies(patients: int, most: int, alike: float, seed: int) -> tuple[np.ndarray, list[str]]:
    """(images, runs) values of mean 0 and the patient of each image: 1 to `most` images each, correlated by `alike`."""
    rng = np.random.default_rng(seed)
    members = np.repeat(np.arange(patients), rng.integers(1, most, size=patients, endpoint=True))
    shared, own = rng.normal(size=(patients, RUNS))[members], rng.normal(size=(len(members), RUNS))
    return np.sqrt(alike) * shared + np.sqrt(1 - alike) * own, [f"p{n:03d}" for n in members]


def interval_of(statistic, values: np.ndarray, clusters: list[str]) -> tuple[np.ndarray, np.ndarray]:
    groups = patient_groups(clusters)
    without = np.stack([statistic(values[groups != number]) for number in range(groups.max() + 1)])
    return jackknife_interval(statistic(values), without, np.bincount(groups).tolist())


def mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=0)


def sd(values: np.ndarray) -> np.ndarray:
    return values.std(axis=0, ddof=1)


@pytest.mark.parametrize("patients", [["b", "a", "b", "c"], [f"p{n}" for n in range(20)]])
def test_up_to_twenty_patients_are_a_group_each(patients: list[str]) -> None:
    groups = patient_groups(patients)
    assert len(set(groups)) == len(set(patients))
    assert len(set(zip(patients, groups.tolist(), strict=True))) == len(set(patients))


def test_many_patients_are_dealt_whole_into_groups_of_like_size() -> None:
    sizes = np.random.default_rng(0).integers(1, 9, size=130)
    patients = np.repeat([f"p{n}" for n in range(130)], sizes).tolist()
    groups = patient_groups(patients)
    assert len(set(zip(patients, groups.tolist(), strict=True))) == 130
    filled = np.bincount(groups)
    assert len(filled) == 20
    assert filled.max() - filled.min() <= 1
    assert (patient_groups(patients, seed=1) != groups).any()


def test_the_order_of_images_does_not_change_the_groups() -> None:
    patients = [f"p{n // 3}" for n in range(120)]
    order = np.random.default_rng(1).permutation(120)
    shuffled = patient_groups([patients[n] for n in order])
    np.testing.assert_array_equal(shuffled, patient_groups(patients)[order])


def test_of_a_mean_of_equal_groups_it_is_students_interval() -> None:
    values = np.random.default_rng(2).normal(size=12)
    low, high = interval_of(mean, values[:, None], [f"p{n:02d}" for n in range(12)])
    reach = student.ppf(0.975, 11) * values.std(ddof=1) / np.sqrt(12)
    np.testing.assert_allclose([low[0], high[0]], [values.mean() - reach, values.mean() + reach], rtol=1e-12)


def test_of_the_sd_it_is_the_jackknife_of_the_textbook() -> None:
    """The leave-one-out formula as Efron and Tibshirani 1993 give it (equation 11.5)."""
    values = np.random.default_rng(3).exponential(size=15)
    low, high = interval_of(sd, values[:, None], [f"p{n:02d}" for n in range(15)])
    left = np.array([np.delete(values, n).std(ddof=1) for n in range(15)])
    error = np.sqrt(14 / 15 * np.square(left - left.mean()).sum())
    np.testing.assert_allclose((high - low)[0], 2 * student.ppf(0.975, 14) * error, rtol=1e-12)


@pytest.mark.parametrize(
    ("statistic", "patients", "most", "alike"),
    [
        (mean, 5, 1, 0.5),
        (mean, 8, 5, 0.5),
        (mean, 19, 20, 0.8),
        (mean, 60, 8, 0.5),
        (mean, 130, 3, 0.9),
        (sd, 20, 20, 0.3),
        (sd, 60, 8, 0.5),
        (sd, 130, 3, 0.9),
    ],
)
def test_the_jackknife_holds_the_truth_in_95_of_100_studies(statistic, patients: int, most: int, alike: float) -> None:
    values, clusters = jackknife_studies(patients, most, alike, seed=patients + most)
    low, high = interval_of(statistic, values, clusters)
    truth = 0.0 if statistic is mean else sd(values).mean()
    assert 0.92 <= ((low <= truth) & (high >= truth)).mean() <= 0.98


def test_images_taken_for_patients_do_not_cover() -> None:
    values, clusters = jackknife_studies(30, 20, 0.5, seed=5)
    low, high = interval_of(mean, values, [str(n) for n in range(len(clusters))])
    assert ((low <= 0) & (high >= 0)).mean() < 0.75


def test_unequal_groups_count_for_fewer() -> None:
    """Five groups of sizes whose effective number is 400 / 130: Student's t of two degrees of freedom."""
    sizes, without = [1, 2, 3, 4, 10], np.array([[0.1], [0.3], [0.2], [0.5], [0.4]])
    low, high = jackknife_interval([0.3], without, sizes)
    reach = student.ppf(0.975, 400 / 130 - 1) * np.sqrt(4 / 5 * np.square(without - 0.3).sum())
    np.testing.assert_allclose((high - low)[0] / 2, reach, rtol=1e-12)


def test_few_patients_have_no_interval() -> None:
    values = np.arange(12.0)[:, None]
    few = [f"p{n % (FEWEST_GROUPS - 1)}" for n in range(12)]
    assert np.isnan(interval_of(mean, values, few)).all()
    assert np.isfinite(interval_of(mean, values, [f"p{n % FEWEST_GROUPS}" for n in range(12)])).all()


def test_what_no_patient_changes_is_sure() -> None:
    low, high = jackknife_interval([0.0], np.zeros((6, 1)), [1] * 6)
    assert (low[0], high[0]) == (0, 0)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="of 6 groups"):
        jackknife_interval([0.0], np.zeros((5, 1)), [1] * 6)

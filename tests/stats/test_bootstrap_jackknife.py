import numpy as np
import pytest
from scipy.stats import t as student

from latentsr.errors import InputError
from latentsr.stats.bootstrap import FEWEST_GROUPS, jackknife_interval, patient_groups

RUNS = 1000


def studies(patients: int, most: int, alike: float, seed: int) -> tuple[np.ndarray, list[str]]:
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
def test_the_interval_holds_the_truth_in_95_of_100_studies(statistic, patients: int, most: int, alike: float) -> None:
    values, clusters = studies(patients, most, alike, seed=patients + most)
    low, high = interval_of(statistic, values, clusters)
    truth = 0.0 if statistic is mean else sd(values).mean()
    assert 0.92 <= ((low <= truth) & (high >= truth)).mean() <= 0.98


def test_images_taken_for_patients_do_not_cover() -> None:
    values, clusters = studies(30, 20, 0.5, seed=5)
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

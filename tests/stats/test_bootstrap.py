import json
from pathlib import Path

import numpy as np
from scipy.stats import bootstrap

from latentsr.stats import cluster_intervals


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


def test_coverage_where_images_of_a_patient_are_alike() -> None:
    rng = np.random.default_rng(5)
    patients = np.repeat([f"p{n:02d}" for n in range(40)], 6)
    studies = rng.normal(size=(40, 1, 400)).repeat(6, axis=1).reshape(240, 400) + 0.5 * rng.normal(size=(240, 400))
    by_patient = cluster_intervals(studies, patients.tolist(), draws=1000)
    by_image = cluster_intervals(studies, [str(n) for n in range(240)], draws=1000)
    covered, naive = ((low < 0) & (high > 0) for low, high in (by_patient, by_image))
    assert 0.90 < covered.mean() < 0.98
    assert naive.mean() < 0.70


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

import math

import numpy as np
import pytest
from scipy.stats import binom

from latentsr.errors import InputError, OptionError
from latentsr.stats.intervals import (
    SCALES,
    controlled_scale,
    hoeffding_bentkus,
    patients_needed,
    resplit_risks,
    risk_curve,
)


def simulated(patients: int, seed: int, pixels: int = 400) -> np.ndarray:
    """Risk curves of exchangeable patients, whose errors have scales of their own beside the widths."""
    rng = np.random.default_rng(seed)
    scale = rng.lognormal(0, 0.5, patients)
    width = 0.05 * rng.uniform(0.5, 2, (patients, pixels))
    error = np.clip(rng.normal(0, 1, (patients, pixels)) * scale[:, None] * width, -1, 1)
    return np.stack([risk_curve(*pair) for pair in zip(error, width, strict=True)])


def test_the_risk_is_the_share_of_pixels_outside() -> None:
    curve = risk_curve([0.1, -0.2, 0.3, 0.4], [0.1, 0.1, 0.1, 0.1])
    for scale in (0.0, 0.5, 2.5, 3.5, 10.0):
        place = np.abs(SCALES - scale).argmin()
        expected = (np.array([1, 2, 3, 4]) > SCALES[place]).mean()
        assert curve[place] == pytest.approx(expected)
    assert curve[-1] == 0
    assert risk_curve([0.0, 0.0], [0.1, 0.1])[0] == 0  # the end belongs to the interval


def test_the_scale_is_that_of_the_closed_form() -> None:
    risks = simulated(40, seed=1)
    allowed = (41 * 0.1 - 1) / 40  # (n + 1) / n alpha - 1 / n
    expected = SCALES[[np.mean(risks[:, k]) <= allowed for k in range(len(SCALES))].index(True)]
    assert controlled_scale(risks, 0.1) == expected


@pytest.mark.parametrize(("alpha", "needed"), [(0.1, 9), (0.05, 19), (0.2, 4), (0.3, 3)])
def test_too_few_patients_are_told_how_many_it_takes(alpha: float, needed: int) -> None:
    none = np.zeros((needed, len(SCALES)))
    assert patients_needed(alpha) == needed
    assert controlled_scale(none, alpha) == 0
    with pytest.raises(InputError, match=f"{needed - 1} patients: alpha {alpha:g} need {needed} or more"):
        controlled_scale(none[1:], alpha)


def test_the_mean_risk_of_new_patients_is_at_most_alpha_and_not_far_below() -> None:
    alpha, patients, found = 0.1, 30, []
    for seed in range(300):
        risks = simulated(patients + 20, seed=1000 + seed, pixels=100)
        place = list(SCALES).index(controlled_scale(risks[:patients], alpha))
        found.append(risks[patients:, place].mean())
    error = np.std(found) / math.sqrt(len(found))
    assert np.mean(found) <= alpha + 2 * error
    assert np.mean(found) >= alpha - 1 / (patients + 1) - 2 * error  # half of what theorem 2 of the paper allows


def test_re_splits_of_one_set_keep_alpha() -> None:
    risks = simulated(60, seed=7)
    found = resplit_risks(risks, 0.1, splits=500)
    assert found.shape == (500,)
    assert 0.06 < found.mean() <= 0.1
    assert (found == resplit_risks(risks, 0.1, splits=500)).all()
    assert resplit_risks(risks[:9], 0.1).size == 0  # nine are needed, and none is left


def test_the_bound_of_rcps_is_that_of_its_formulas() -> None:
    patients, alpha = 50, 0.1
    for mean in (0.0, 0.013, 0.06, 0.0999):
        entropy = (mean * math.log(mean / alpha) if mean else 0) + (1 - mean) * math.log((1 - mean) / (1 - alpha))
        bentkus = math.e * sum(binom.pmf(k, patients, alpha) for k in range(math.ceil(patients * mean) + 1))
        expected = min(math.exp(-patients * entropy), bentkus, 1)
        assert hoeffding_bentkus(mean, alpha, patients) == pytest.approx(expected)
    assert hoeffding_bentkus([0.1, 0.4], alpha, patients).tolist() == [1, 1]


def test_rcps_exceeds_alpha_no_more_often_than_delta_and_is_the_wider() -> None:
    alpha, delta, patients, above = 0.1, 0.1, 60, []
    truth = simulated(4000, seed=99, pixels=100).mean(axis=0)
    for seed in range(200):
        risks = simulated(patients, seed=5000 + seed, pixels=100)
        scale = controlled_scale(risks, alpha, delta)
        assert scale > controlled_scale(risks, alpha)
        above.append(truth[list(SCALES).index(scale)] > alpha)
    assert np.mean(above) <= delta
    assert patients_needed(alpha, delta) == 22  # 0.9^22 is below 0.1, 0.9^21 above
    with pytest.raises(InputError, match=r"alpha 0\.1 and delta 0\.1 need 22 or more"):
        controlled_scale(np.zeros((21, len(SCALES))), alpha, delta)


@pytest.mark.parametrize(
    ("risks", "message"),
    [
        (np.zeros((20, 3)), "a column per scale"),
        (np.tile(np.linspace(0, 1, len(SCALES)), (20, 1)), "rise with the scale"),
        (np.full((20, len(SCALES)), 1.5), "leave"),
        (np.ones((20, len(SCALES))), "not 0 at the largest scale"),
    ],
)
def test_what_are_no_risks_is_refused(risks: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        controlled_scale(risks, 0.1)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_levels_lie_between_0_and_1(alpha: float) -> None:
    with pytest.raises(OptionError, match="alpha is"):
        patients_needed(alpha)

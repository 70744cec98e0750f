"""The scale of pixelwise intervals whose risk is controlled over patients: conformal risk control, and RCPS.

An interval is image ± scale * width in each pixel. The risk of a patient at a scale is the share of pixels whose true
value lies outside, averaged over the patient's images; it never rises with the scale and is at most 1. The patient is
the unit: patients must be exchangeable with those that the intervals are used on.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

from latentsr.errors import InputError, OptionError
from latentsr.stats.paired import Floats

LARGEST = 1000.0
# The scales that are tried, 0.8 % apart. At the last the risk is 0 where no error is above 1 and no width below 1/1000.
SCALES: Floats = np.concatenate([[0.0], np.geomspace(0.01, LARGEST, 1500)])
ROUNDING = 1e-12


def risk_curve(error: ArrayLike, width: ArrayLike) -> Floats:
    """The share of pixels outside the interval at each of SCALES: those whose absolute error is above scale * width."""
    scores = np.sort(np.abs(np.asarray(error, np.float64)) / np.asarray(width, np.float64), axis=None)
    return 1 - np.searchsorted(scores, SCALES, side="right") / scores.size


def patients_needed(alpha: float, delta: float | None = None) -> int:
    """The least number of patients for which there is a finite scale; OptionError for levels outside (0, 1)."""
    for name, level in (("alpha", alpha), ("delta", delta)):
        if level is not None and not 0 < level < 1:
            raise OptionError(f"the option {name} is {level:g}: expected a number between 0 and 1, such as 0.1")
    least = 1 / alpha - 1 if delta is None else math.log(delta) / math.log1p(-alpha)
    return max(1, math.ceil(least - 1e-9))


def controlled_scale(risks: ArrayLike, alpha: float, delta: float | None = None) -> float:
    """The smallest of SCALES that controls the risk of a new patient.

    Without `delta`: conformal risk control, the least scale with n/(n+1) R + 1/(n+1) <= alpha, where R is the mean risk
    of the n patients; the risk of a new patient, averaged over draws of all n + 1, is then at most alpha. With `delta`:
    a risk-controlling prediction set; with probability 1 - delta over the draw of the n patients the mean risk of new
    ones is at most alpha (Hoeffding-Bentkus bound).

    Args:
        risks: (patients, SCALES), each row a mean of `risk_curve` over the images of a patient.
        alpha: the mean risk that is allowed.
        delta: the probability with which it may be exceeded.

    Raises:
        InputError: too few patients for these levels, or risks that rise with the scale or leave [0, 1].

    Source: Angelopoulos et al. 2022 (arXiv 2208.02814), eq. 4; Bates et al. 2021 (arXiv 2101.02703), section 3.1.
    """
    checked = _checked(risks)
    if len(checked) < (needed := patients_needed(alpha, delta)):
        levels = f"alpha {alpha:g}" if delta is None else f"alpha {alpha:g} and delta {delta:g}"
        raise InputError(
            f"{len(checked)} patients: {levels} need {needed} or more for intervals of finite width; give more "
            "patients, or a larger alpha"
        )
    place = _controlled(checked.mean(axis=0), len(checked), alpha, delta)
    if place is None:
        raise InputError("the risk is not 0 at the largest scale: errors above 1, or widths below 1/1000")
    return float(SCALES[place])


def resplit_risks(
    risks: ArrayLike, alpha: float, delta: float | None = None, *, splits: int = 1000, seed: int = 0
) -> Floats:
    """(splits,): the mean risk of the other patients at the scale found on a random half, for each of many halves.

    The first half has at least as many patients as the levels need; no values where none would be left for the other.
    """
    checked = _checked(risks)
    half, rng = max(patients_needed(alpha, delta), len(checked) // 2), np.random.default_rng(seed)
    if half >= len(checked):
        return np.zeros(0)
    total, found = checked.sum(axis=0), []
    for _ in range(splits):
        first = checked[rng.permutation(len(checked))[:half]].sum(axis=0)
        place = _controlled(first / half, half, alpha, delta)
        found.append(np.nan if place is None else (total - first)[place] / (len(checked) - half))
    return np.array(found)


def hoeffding_bentkus(mean: ArrayLike, alpha: float, patients: int) -> Floats:
    """The p-value of "the expected risk is above alpha", given the mean risk of so many patients.

    The smaller of Hoeffding's and Bentkus' tail bounds for means of variables in [0, 1]; 1 where the mean is not below
    alpha. Source: Bates et al. 2021, section 3.1.1 and 3.1.2.
    """
    risk = np.minimum(np.asarray(mean, np.float64), alpha)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = np.where(risk > 0, risk * np.log(risk / alpha), 0) + (1 - risk) * np.log((1 - risk) / (1 - alpha))
    bentkus = math.e * binom.cdf(np.ceil(patients * risk - 1e-9), patients, alpha)
    return np.asarray(np.where(risk < alpha, np.minimum(np.exp(-patients * entropy), bentkus), 1.0).clip(max=1.0))


def _controlled(mean: Floats, patients: int, alpha: float, delta: float | None) -> int | None:
    """The first place of SCALES at which the risk is controlled; None where it is at no place."""
    fits: NDArray[np.bool_]
    if delta is None:
        fits = (patients * mean + 1) / (patients + 1) <= alpha + ROUNDING
    else:
        fits = hoeffding_bentkus(mean, alpha, patients) <= delta
    return int(fits.argmax()) if fits.any() else None


def _checked(risks: ArrayLike) -> Floats:
    found = np.asarray(risks, np.float64)
    if found.ndim != 2 or found.shape[1] != len(SCALES):
        raise InputError(f"risks of shape {found.shape}: expected (patients, {len(SCALES)}), a column per scale")
    if not ((found >= 0) & (found <= 1)).all() or (np.diff(found, axis=1) > ROUNDING).any():
        raise InputError("risks that leave [0, 1] or rise with the scale: expected those of `risk_curve`")
    return found

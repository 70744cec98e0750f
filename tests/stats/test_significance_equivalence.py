import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.weightstats import DescrStatsW, ttost_paired

from latentsr.errors import InputError, OptionError
from latentsr.stats.significance import EQUIVALENCE_COLUMNS, compare_equivalence, tost
from latentsr.stats.table import COLUMNS

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


def test_bad_input_is_refused() -> None:
    with pytest.raises(OptionError, match="margin 0"):
        tost([0.1, 0.2], 0.0)
    with pytest.raises(InputError, match="finite"):
        tost([0.1, np.inf], 0.1)

"""The verdicts on made tables, whose answers are known, and the published study as data."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from latentsr.bench.sets import SET_COLUMNS
from latentsr.errors import OptionError
from latentsr.study.claims import (
    FAILS,
    HOLDS,
    OPEN,
    POINT_COLUMNS,
    PRINTED,
    ceiling_lines,
    ceiling_points,
    judge_claims,
)
from latentsr.study.design import Design
from latentsr.study.published import (
    MADE,
    NOT_AT_HAND,
    NOT_MADE,
    PARTLY,
    Measured,
    Roles,
    compare_outputs,
    compare_values,
    publication,
)

SETS = pd.DataFrame(columns=["arm", *SET_COLUMNS])
GAP = "MedVAE 4_3 - SD-VAE"


def measured(
    values: Mapping[tuple[str, str], float], *, patients: int = 12, spread: float = 0.05, sets: pd.DataFrame = SETS
) -> Measured:
    """Two images a patient of each (method, measure) with a mean; each method is an arm of both protocols."""
    rng, methods = np.random.default_rng(0), list(dict.fromkeys(method for method, _ in values))
    arms = {method: f"arm{number}" for number, method in enumerate(methods)}
    parts: dict[str, list[pd.DataFrame]] = {method: [] for method in methods}
    for (method, metric), mean in values.items():
        numbers = range(2 * patients)
        rows = {
            "dataset": "brain",
            "id": [f"i{one}" for one in numbers],
            "patient": [f"p{one // 2}" for one in numbers],
        }
        rows |= {"method": "mean", "metric": metric, "value": mean + rng.normal(scale=spread, size=2 * patients)}
        parts[method].append(pd.DataFrame(rows))
    shown = {method: f"{arm}:mean" for method, arm in arms.items()}
    roles = Roles(datasets={"brats": "a", "cxr": "b"}, published=shown, corrected=shown)
    return Measured(roles, {arms[one]: pd.concat(parts[one]) for one in methods}, sets, {"brats": "brain"})


def verdicts(given: Measured, claim: str, protocol: str = "corrected") -> list[str]:
    claims = judge_claims(given, ceiling_points(given)).query("claim == @claim and dataset != 'cxr'")
    return list(claims[claims["protocol"].isin([protocol, "both"]) & (claims["n"] > 0)]["verdict"])


@pytest.mark.parametrize(("gap", "patients", "verdict"), [(1, 12, HOLDS), (-1, 12, FAILS), (0, 12, OPEN), (1, 4, OPEN)])
def test_a_gap_is_judged_by_its_interval_over_patients(gap: float, patients: int, verdict: str) -> None:
    given = measured({("MedVAE 4_3", "psnr"): 30 + gap, ("SD-VAE", "psnr"): 30}, patients=patients)
    assert verdicts(given, "gap") == [verdict]
    row = judge_claims(given, ceiling_points(given)).query("claim == 'gap' and protocol == 'corrected'").iloc[0]
    assert row["ours"] == pytest.approx(gap, abs=0.1)
    assert (row["n"], row["published"]) == (patients, "2.83")


@pytest.mark.parametrize(("difference", "spread", "verdict"), [(0, 0.05, HOLDS), (1, 0.05, FAILS), (0, 2, OPEN)])
def test_equality_is_judged_by_two_one_sided_tests(difference: float, spread: float, verdict: str) -> None:
    values = {("MedVAE 4_3, one evaluation", "psnr"): 30 + difference, ("MedVAE 4_3, 100 steps", "psnr"): 30}
    given = measured(values, spread=spread)
    assert verdicts(given, "near-noise") == [verdict]
    same = {("MedVAE 4_3", "psnr"): 30 + difference, ("kl-f4", "psnr"): 30}
    assert verdicts(measured(same, spread=spread), "equal-geometry") == [verdict]


@pytest.mark.parametrize(("steps", "verdict"), [((0.5, 0.7, 0.9), HOLDS), ((0.5, 0.9, 0.7), FAILS)])
def test_scales_rise_one_by_one(steps: tuple[float, ...], verdict: str) -> None:
    values = {("MedVAE 4_3", f"latent_cosine/{one}"): mean for one, mean in zip((64, 8, 1), steps, strict=True)}
    assert verdicts(measured(values), "coarse-scales") == [verdict]


def test_the_finest_band_is_held_against_the_best_other() -> None:
    base = {("SD-VAE", f"subband_psnr/{band}"): 20.0 for band in ("LL3", "HL1", "HH1")}
    gaps = {"LL3": 0.1, "HL1": 0.5, "HH1": 1.5}
    for verdict in (HOLDS, FAILS):
        values = base | {("MedVAE 4_3", f"subband_psnr/{band}"): 20 + gap for band, gap in gaps.items()}
        assert verdicts(measured(values), "finest-band") == [verdict]
        gaps["HL1"] = 2.5


def test_hallucination_is_independent_only_where_there_is_a_gap() -> None:
    def given(gap: float, share: float) -> Measured:
        pairs = {("MedVAE 4_3", "psnr"): 30 + gap, ("SD-VAE", "psnr"): 30.0}
        pairs |= {("MedVAE 4_3", "hallucinated/2sigma"): 0.1 + share, ("SD-VAE", "hallucinated/2sigma"): 0.1}
        return measured(pairs, spread=0.001)

    found = [verdicts(given(*one), "independent") for one in ((1, 0), (1, 0.1), (0, 0))]
    assert found == [[HOLDS], [FAILS], [OPEN]]


def test_a_ceiling_predicts_or_not_and_the_lossless_latent_counts_by_rank() -> None:
    def points(results: tuple[float, ...]) -> pd.DataFrame:
        rows = [
            ("corrected", "brats", f"latent{place}", ceiling, np.nan, np.nan, result, np.nan, np.nan)
            for place, (ceiling, result) in enumerate(zip((30, 31, 33, 34, 36, np.inf), results, strict=True))
        ]
        return pd.DataFrame(rows, columns=list(POINT_COLUMNS))

    given = measured({("MedVAE 4_3", "psnr"): 30})
    for results, verdict in (((25, 26, 27.5, 29, 30, 31), HOLDS), ((30, 29, 27.5, 26, 25, 24), FAILS)):
        rows = judge_claims(given, points(results)).query("claim == 'ceiling' and n > 3")
        assert list(rows["verdict"])[:1] == [verdict]
        assert list(rows["n"]) == [5, 5, 6]
    lines = ceiling_lines(points((25, 26, 27.5, 29, 30, 31)))
    assert len(lines) == 61
    assert lines["centre"].is_monotonic_increasing


def test_an_adapted_latent_is_no_point_of_the_regression() -> None:
    values = {
        (name, metric): 30.0 for name in ("kl-f4", "kl-f4 adapted", "haar") for metric in ("psnr", "ceiling_psnr")
    }
    assert set(ceiling_points(measured(values))["method"]) == {"kl-f4", "haar"}


def test_the_parts_of_the_gap_and_the_best_latent() -> None:
    values = {("MedVAE 4_3", "psnr"): 31.0, ("kl-f4", "psnr"): 30.5, ("SD-VAE", "psnr"): 29.0, ("haar", "psnr"): 32.0}
    values |= {("MedVAE 4_3", "ceiling_psnr"): 40.0, ("kl-f4", "ceiling_psnr"): 39.0, ("SD-VAE", "ceiling_psnr"): 35.0}
    assert verdicts(measured(values), "decomposition") == [HOLDS]
    assert verdicts(measured(values), "best-latent") == [HOLDS]
    assert verdicts(measured(values | {("haar", "psnr"): 28.0}), "best-latent") == [FAILS]


def test_realism_is_told_by_intervals_of_whole_sets() -> None:
    values = {("MedVAE 4_3, 16 steps", "psnr"): 30.0, ("MedVAE 4_3, 100 steps", "psnr"): 30.0}
    rows = [
        ("arm0", "brain", "mean", "swd", 24, 12, 40.0, 35.0, 45.0),
        ("arm1", "brain", "mean", "swd", 24, 12, 60.0, 50.0, 70.0),
    ]
    sets = pd.DataFrame(rows, columns=list(SETS))
    assert verdicts(measured(values, sets=sets), "realism") == [HOLDS]


def test_what_cannot_hold_as_printed_is_said_whatever_is_measured() -> None:
    nothing = Measured(Roles(), {}, SETS, {})
    claims = judge_claims(nothing, ceiling_points(nothing))
    assert set(claims["claim"]) == set(publication().claims)
    assert {one.claim for one in publication().cannot_hold} <= set(publication().claims)
    assert set(claims["verdict"]) == {OPEN, PRINTED}
    assert (claims["verdict"] == PRINTED).sum() == len(publication().cannot_hold)


def test_every_output_of_the_study_is_made_or_has_its_reason() -> None:
    tables = ["table-1", "table-2", *(f"table-S{number}" for number in range(1, 14))]
    figures = [*(f"figure-{number}" for number in range(1, 8)), *(f"figure-S{number}" for number in range(1, 7))]
    outputs = publication().outputs
    assert [name for name in outputs if not name.startswith("revision")] == tables + figures
    assert len(outputs) == len(tables + figures) + 8
    given = measured({("MedVAE 4_3", "ceiling_psnr"): 40, ("SD-VAE", "ceiling_psnr"): 39, ("bicubic", "psnr"): 30})
    for one in (given, Measured(Roles(), {}, SETS, {})):
        made = compare_outputs(compare_values(one)).set_index("output")
        assert ((made["state"] == MADE) | (made["reason"] != "")).all()
    assert set(made["state"]) == {NOT_MADE}
    made = compare_outputs(compare_values(given)).set_index("output")
    assert made.loc["table-S11", "state"] == PARTLY
    assert "no dataset stands for MRNet" in made.loc["table-S11", "reason"]


def test_published_values_stand_beside_ours_and_none_is_invented() -> None:
    given = measured({("MedVAE 4_3", "self_psnr"): 26, ("MedVAE 4_3", "psnr"): 25, ("SD-VAE", "psnr"): 23})
    values = compare_values(given).set_index(["output", "dataset", "method", "metric", "protocol"])
    row = values.loc[("table-1", "brats", "MedVAE 4_3", "self_psnr", "published")]
    assert (row["published"], row["published_sd"], row["n_patients"]) == (26.42, 2.10, 12)
    assert row["ours"] == pytest.approx(26, abs=0.1)
    corrected = values.loc[("table-1", "brats", "MedVAE 4_3", "self_psnr", "corrected")]
    assert (corrected["measure"], corrected["note"]) == ("psnr", "")
    gap = values.loc[("revision-gaps", "brats", GAP, "psnr", "corrected")]
    assert gap["ours"] == pytest.approx(2, abs=0.1)
    assert gap["low"] < gap["ours"] < gap["high"]
    assert gap["d"] > 10
    unknown = values.loc[("table-S9", "brats", "MedVAE 4_3", "truncated_bias", "published")]
    assert np.isnan(unknown["published"])
    assert NOT_AT_HAND in unknown["note"]


def test_a_role_of_no_published_method_is_named_with_the_nearest() -> None:
    arms = {"bicubic": {"datasets": ["a"], "upscaler": "bicubic"}}
    with pytest.raises(OptionError, match="SwinIR"):
        Design(name="x", datasets={"a": {}}, arms=arms, stands_for={"published": {"SwinR": "bicubic:mean"}})

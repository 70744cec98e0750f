import math

import pandas as pd
import pytest

from latentsr.autoencoders import SPECS, AutoencoderSpec
from latentsr.screening.candidates import Identified
from latentsr.screening.contrasts import contrasts
from latentsr.screening.prediction import expected_sr, read_points
from latentsr.screening.verdict import verdict, warnings

NAN = math.nan


def ceilings(*rows: tuple, patients: int = 20, missing: int = 0) -> pd.DataFrame:
    """(dataset, method, mean, lossless) as ceilings of PSNR."""
    columns = ["dataset", "method", "mean", "lossless"]
    facts = {"metric": "psnr", "images": 40, "patients": patients, "missing": missing}
    frame = pd.DataFrame(rows, columns=columns).assign(**facts)
    return frame.assign(low=frame["mean"] - 0.5, high=frame["mean"] + 0.5)


def differences(*rows: tuple) -> pd.DataFrame:
    """(dataset, a, b, difference, low, high) in PSNR."""
    columns = ["dataset", "a", "b", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=columns).assign(metric="psnr", n=20)


def frames(means: pd.DataFrame, pairs: pd.DataFrame, told_apart: pd.DataFrame | None = None) -> dict:
    expected = [
        {
            "dataset": row.dataset,
            "method": row.method,
            **vars(expected_sr(math.inf if row.lossless else row.mean, read_points())),
        }
        for row in means.itertuples()
    ]
    empty = contrasts([], pairs)
    cost = pd.DataFrame({"method": ["a"], "nonfinite_float16": [0.0], "nonfinite_bfloat16": [0.0]})
    return {
        "ceilings": means, "differences": pairs, "contrasts": empty if told_apart is None else told_apart,
        "expected": pd.DataFrame(expected), "cost": cost,
    }  # fmt: skip


def said(*arguments: object) -> list[str]:
    return verdict(frames(*arguments), read_points(), published=True)


def test_the_best_is_named_first_with_those_not_told_apart_from_it() -> None:
    means = ceilings(("d", "a", 30.0, False), ("d", "b", 30.1, False), ("d", "c", 25.0, False))
    pairs = differences(("d", "a", "b", -0.1, -0.4, 0.2), ("d", "c", "a", -5, -6, -4), ("d", "c", "b", -5.1, -6, -4))
    first, _, ranking, *_ = said(means, pairs)
    assert "on d b, 30.10 dB [29.60, 30.60], not told apart from a." in first
    assert "b 30.10, a 30.00, c 25.00" in ranking
    assert (
        "Not told apart (the 95 % interval of the difference holds zero, or there is none): b from a (0.10 dB"
        in ranking
    )
    assert "[-0.20, 0.40]" in ranking


def test_where_all_are_told_apart_the_closest_pair_is_named() -> None:
    means = ceilings(("d", "a", 30.0, False), ("d", "b", 29.0, False), ("d", "c", 25.0, False))
    pairs = differences(("d", "b", "a", -1, -1.2, -0.8), ("d", "c", "a", -5, -6, -4), ("d", "c", "b", -4, -5, -3))
    assert "the closest are a and b, 1.00 dB [0.80, 1.20] apart" in said(means, pairs)[2]


def test_without_an_interval_nothing_is_told_apart() -> None:
    means = ceilings(("d", "a", 30.0, False), ("d", "b", 20.0, False)).assign(low=NAN, high=NAN)
    first, _, ranking, *_ = said(means, differences(("d", "b", "a", -10, NAN, NAN)))
    assert "30.00 dB (no interval), not told apart from b" in first
    assert "a from b (10.00 dB, no interval)" in ranking


def test_lossless_is_neither_ranked_nor_predicted() -> None:
    means = ceilings(("d", "a", 30.0, False), ("d", "haar", NAN, True))
    text = " ".join(said(means, differences()))
    assert "haar is lossless" in text
    assert "for a on d" in text
    only = " ".join(said(ceilings(("d", "haar", NAN, True)), differences()))
    assert "Only lossless autoencoders were screened" in only
    assert "Expected SR" not in only


def test_extrapolation_is_said() -> None:
    assert (
        "Extrapolated beyond the points, so less sure still: a."
        in said(ceilings(("d", "a", 45.0, False)), differences())[-1]
    )
    assert "Extrapolated" not in said(ceilings(("d", "a", 30.0, False)), differences())[-1]


@pytest.mark.parametrize(("patients", "words"), [(1, "of one patient: no interval"), (5, "only 5 patients"), (20, "")])
def test_few_patients_are_a_warning(patients: int, words: str) -> None:
    means = ceilings(("d", "a", 30.0, False), patients=patients)
    found = " ".join(warnings(frames(means, differences())))
    assert words in found
    assert bool(found) == bool(words)
    assert "counts as a patient of its own" in " ".join(warnings(frames(means, differences()), ["d"]))


def test_missing_values_and_half_precision_are_warnings() -> None:
    told = frames(ceilings(("d", "a", 30.0, False), missing=3), differences())
    told["cost"] = pd.DataFrame({"method": ["a", "b"], "nonfinite_float16": [0.25, 0.0]})
    first, second = warnings(told)
    assert "psnr has no value for 3 of 40 images" in first
    assert second == "Latents with NaN or infinity in float16: a (25%). Encode with these in float32."


def made(name: str, domain: str, channels: int, factor: int) -> Identified:
    return Identified(name, AutoencoderSpec(name, "test", "none", domain, 1, channels, factor), name)


def test_domain_and_geometry_are_told_apart_by_what_agrees() -> None:
    identified = [
        made("med3", "medical", 3, 4), made("nat3", "natural", 3, 4), made("med1", "medical", 1, 4),
        Identified("haar", SPECS["haar"], "haar"),
    ]  # fmt: skip
    pairs = differences(
        ("d", "nat3", "med3", -1.0, -1.5, -0.5),
        ("d", "med1", "med3", -2.0, -2.5, -1.5),
        ("d", "med1", "nat3", -1.0, -2, 0.5),
    )
    found = contrasts(identified, pairs).to_dict(orient="records")
    assert [(row["kind"], row["a"], row["b"]) for row in found] == [
        ("domain", "med3", "nat3"),
        ("geometry", "med3", "med1"),
    ]
    assert (found[0]["difference"], found[0]["low"], found[0]["high"]) == (1.0, 0.5, 1.5)
    text = " ".join(said(ceilings(("d", "med3", 30.0, False)), pairs, contrasts(identified, pairs)))
    assert "Domain, at one geometry, medical minus natural, on d: +1.00 dB [0.50, 1.50]" in text
    assert "at 3 channels at 1/4 (med3 - nat3)." in text
    assert "Geometry, within one domain, on d: +2.00 dB [1.50, 2.50]" in text
    none = " ".join(said(ceilings(("d", "med3", 30.0, False)), pairs))
    assert "Domain and geometry cannot be told apart here" in none

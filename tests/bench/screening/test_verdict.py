import math

import numpy as np
import pandas as pd
import pytest

from latentsr.autoencoders import SPECS, AutoencoderSpec
from latentsr.bench.prediction import expected_sr, read_points
from latentsr.bench.screening_plan import Identified
from latentsr.bench.verdict import contrasts, unplaced, verdict, warnings

NAN = math.nan
BASELINES = (("bicubic", 28.0, 27.5, 28.5), ("small", 29.96, NAN, NAN))
SETUP = {"probed": 4, "device": "cpu", "threads": 1, "batch": 2}


def ceilings(*rows: tuple, patients: int = 20, missing: int = 0) -> pd.DataFrame:
    """(dataset, method, mean, lossless) as ceilings of PSNR."""
    columns = ["dataset", "method", "mean", "lossless"]
    facts = {"metric": "psnr", "images": 40, "patients": patients, "missing": missing, "excluded": 0}
    frame = pd.DataFrame(rows, columns=columns).assign(**facts)
    return frame.assign(low=frame["mean"] - 0.5, high=frame["mean"] + 0.5)


def differences(*rows: tuple) -> pd.DataFrame:
    """(dataset, a, b, difference, low, high) in PSNR, of 20 patients, with a p that agrees with the interval."""
    found = pd.DataFrame(rows, columns=["dataset", "a", "b", "difference", "low", "high"])
    p = np.where((found["low"] > 0) | (found["high"] < 0), 0.001, 0.4)
    return found.assign(metric="psnr", n=20, p_holm=np.where(found["low"].isna(), NAN, p))


def frames(means: pd.DataFrame, pairs: pd.DataFrame, told_apart: pd.DataFrame | None = None) -> dict:
    expected = [
        {
            "dataset": row.dataset,
            "method": row.method,
            **vars(expected_sr(math.inf if row.lossless else row.mean, read_points())),
        }
        for row in means.itertuples()
    ]
    beside = [(name, *values) for name in dict.fromkeys(means["dataset"]) for values in BASELINES]
    empty = contrasts([], pairs)
    cost = pd.DataFrame({"method": ["a"], "nonfinite_float16": [0.0], "nonfinite_bfloat16": [0.0], **SETUP})
    return {
        "ceilings": means, "differences": pairs, "contrasts": empty if told_apart is None else told_apart,
        "expected": pd.DataFrame(expected), "cost": cost,
        "baselines": pd.DataFrame(beside, columns=["dataset", "method", "mean", "low", "high"]),
    }  # fmt: skip


def said(*arguments: object) -> list[str]:
    return verdict(frames(*arguments), read_points(), published=True)


def test_the_best_is_named_first_with_those_not_told_apart_from_it() -> None:
    means = ceilings(("d", "a", 30.0, False), ("d", "b", 30.1, False), ("d", "c", 25.0, False))
    pairs = differences(("d", "a", "b", -0.1, -0.4, 0.2), ("d", "c", "a", -5, -6, -4), ("d", "c", "b", -5.1, -6, -4))
    first, _, ranking, *_ = said(means, pairs)
    assert "on d b, 30.10 dB [29.60, 30.60], not told apart from a." in first
    assert "b 30.10, a 30.00, c 25.00" in ranking
    assert ranking.endswith("Not told apart: b from a (0.10 dB [-0.20, 0.40]).")


def test_where_all_are_told_apart_the_closest_pair_is_named() -> None:
    means = ceilings(("d", "a", 30.0, False), ("d", "b", 29.0, False), ("d", "c", 25.0, False))
    pairs = differences(("d", "b", "a", -1, -1.2, -0.8), ("d", "c", "a", -5, -6, -4), ("d", "c", "b", -4, -5, -3))
    assert "the closest are a and b, 1.00 dB [0.80, 1.20] apart" in said(means, pairs)[2]


def test_of_one_autoencoder_nothing_is_ranked() -> None:
    first, second, *rest = said(ceilings(("d", "a", 30.0, False), ("e", "a", 31.0, False)), differences())
    assert first.startswith("One autoencoder that loses anything makes no ranking; its AE ceiling: on d a, 30.00 dB")
    assert "Told apart" not in second
    assert "dB with a (95 % prediction interval" in rest[0]
    assert rest[1].count("bicubic 28.0 dB [27.5, 28.5] (+") == 2
    assert not [word for word in ("at best", "Ranking", "Highest", "which is better") if word in " ".join(rest)]


def test_without_an_interval_nothing_is_told_apart() -> None:
    means = ceilings(("d", "a", 30.0, False), ("d", "b", 20.0, False)).assign(low=NAN, high=NAN)
    first, _, ranking, *_ = said(means, differences(("d", "b", "a", -10, NAN, NAN)))
    assert "30.00 dB (no interval), the differences not to be judged" in first
    assert "The differences cannot be judged: 20 patients." in ranking


def test_an_interval_without_zero_does_not_tell_apart_where_the_adjusted_p_is_large() -> None:
    means = ceilings(("d", "a", 30.0, False), ("d", "b", 29.0, False))
    pairs = differences(("d", "b", "a", -1, -1.2, -0.8))
    assert "told apart" not in said(means, pairs)[0]
    assert "not told apart from b" in said(means, pairs.assign(p_holm=0.06))[0]
    rule = said(means, pairs)[1]
    assert "p adjusted for all comparisons on the dataset (Holm) below 0.05" in rule


def test_few_patients_judge_no_difference() -> None:
    means = ceilings(("d", "a", 30.0, False), ("d", "b", 29.0, False), patients=5)
    first, _, ranking, *_ = said(means, differences(("d", "b", "a", -1, -1.2, -0.8)).assign(n=5))
    assert "the differences not to be judged" in first
    assert "The differences cannot be judged: 5 patients, fewer than 6." in ranking


def test_other_measures_agree_on_the_best_or_name_theirs() -> None:
    psnr = ceilings(("d", "a", 30.0, False), ("d", "b", 29.0, False))
    close = psnr.assign(metric="ms_ssim", mean=[0.99, 0.98])
    other = psnr.assign(metric="haarpsi", mean=[0.7, 0.8])
    pairs = differences(("d", "b", "a", -1, -1.2, -0.8))
    assert "a 30.00, b 29.00; MS-SSIM names the same best; HaarPSI is best for b." in " ".join(
        said(pd.concat([psnr, close, other]), pairs)
    )


def test_a_dataset_without_a_ceiling_is_named_beside_one_that_has_one() -> None:
    means = ceilings(("black", "a", NAN, False), ("d", "a", 30.0, False))
    first = said(means, differences())[0]
    assert "on d a, 30.00 dB" in first
    assert "No image of black can rank an autoencoder" in first


def test_lossless_is_neither_ranked_nor_predicted() -> None:
    means = ceilings(("d", "a", 30.0, False), ("d", "haar", NAN, True))
    text = " ".join(said(means, differences()))
    assert "haar is lossless" in text
    assert "on d 24.7 dB with a" in text
    only = " ".join(said(ceilings(("d", "haar", NAN, True)), differences()))
    assert "Only lossless autoencoders were screened" in only
    assert "Expected SR" not in only


def test_extrapolation_is_said() -> None:
    assert (
        "Extrapolated beyond the points, so less sure still: a."
        in said(ceilings(("d", "a", 45.0, False)), differences())[-3]
    )
    assert "Extrapolated" not in said(ceilings(("d", "a", 30.0, False)), differences())[-3]


def test_what_the_published_points_do_not_say_is_told() -> None:
    last = said(ceilings(("d", "a", 25.0, False), ("e", "a", 35.0, False)), differences())
    assert "2 autoencoders on 3 datasets, so not independent" in last[-1]
    assert "(r = 0.82 [0.01, 0.98], n = 6, R2 = 0.67): on d " in last[-3]
    assert "capped by its ceiling of 25.0 dB); on e " in last[-3]
    own = verdict(frames(ceilings(("d", "a", 30.0, False)), differences()), read_points(), published=False)
    assert "published" not in own[-1]


def test_the_published_points_lie_below_bicubic_as_is_said() -> None:
    """PUBLISHED: SR lay below bicubic interpolation on two of the three datasets, with SD-VAE on all."""
    below = read_points().assign(below=lambda points: points["sr"] < points["bicubic"])
    assert below.groupby("dataset")["below"].all().sum() == 2
    assert below.loc[below["autoencoder"] == "sd-vae", "below"].all()


def test_what_the_baselines_reach_stands_beside_the_best_that_is_expected() -> None:
    means = ceilings(("d", "a", 30.0, False), ("d", "b", 29.0, False))  # expected: 24.7 and less
    pairs = differences(("d", "b", "a", -1, -1.2, -0.8))
    assert said(means, pairs)[-2] == (
        "Measured on the same images, with the distance to that expectation: on d bicubic 28.0 dB [27.5, 28.5] "
        "(+3.3 dB) and the shipped model small 30.0 dB (+5.2 dB). So the line lies below what interpolation gives "
        "here: plan by what is measured, not by it."
    )
    told = frames(means, pairs)
    told["baselines"].loc[0, "mean"] = 20.0
    (sentence,) = [text for text in verdict(told, read_points(), published=True) if text.startswith("Measured")]
    assert "bicubic 20.0 dB [27.5, 28.5] (-4.7 dB)" in sentence
    assert "below what interpolation" not in sentence
    told["baselines"]["mean"] = NAN
    assert not [text for text in verdict(told, read_points(), published=True) if text.startswith("Measured")]


@pytest.mark.parametrize(("patients", "words"), [(1, "of one patient: no interval"), (5, "only 5 patients"), (20, "")])
def test_few_patients_are_a_warning(patients: int, words: str) -> None:
    means = ceilings(("d", "a", 30.0, False), patients=patients)
    found = " ".join(warnings(frames(means, differences())))
    assert words in found
    assert bool(found) == bool(words)
    assert "counts as a patient of its own" in " ".join(warnings(frames(means, differences()), ["d"]))


def test_missing_values_and_half_precision_are_warnings() -> None:
    told = frames(ceilings(("d", "a", 30.0, False), missing=3), differences())
    told["cost"] = pd.DataFrame({"method": ["a", "b"], "nonfinite_float16": [0.25, 0.0], **SETUP})
    first, second = warnings(told)
    assert "psnr has no value for 3 of 40 images" in first
    assert second == (
        "Latents with NaN or infinity in float16, tried on 4 images of a dataset: a (25%). "
        "Encode with these in float32."
    )


def test_images_left_out_and_times_of_two_devices_are_warnings() -> None:
    told = frames(ceilings(("d", "a", 30.0, False)).assign(excluded=4), differences())
    told["cost"] = pd.concat([told["cost"], told["cost"].assign(device="cuda (X)")])
    first, second = warnings(told)
    assert first.startswith("d: 4 of 40 images are constant, or came back exactly from a lossy autoencoder")
    assert "several devices" in second


def made(name: str, domain: str, channels: int, factor: int, source: str = "test") -> Identified:
    return Identified(name, AutoencoderSpec(name, source, "none", domain, 1, channels, factor), name)


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
    means = ceilings(("d", "med3", 30.0, False), ("d", "nat3", 29.0, False))
    text = " ".join(said(means, pairs, contrasts(identified, pairs)))
    assert "natural at one geometry): on d +1.00 dB [0.50, 1.50] (med3 over nat3, told apart). Geometry" in text
    assert "in one domain): on d +2.00 dB [1.50, 2.50] (med3 over med1, told apart). Only autoenc" in text
    none = " ".join(said(means, pairs))
    assert "Domain and geometry cannot be told apart here" in none


def test_ranges_are_of_one_source_and_others_are_named_apart() -> None:
    identified = [made("m3", "medical", 3, 4), made("n3", "natural", 3, 4), made("m1", "medical", 1, 4)]
    identified += [made("m4", "medical", 4, 8), made("far", "natural", 3, 4, source="elsewhere")]
    identified += [made("odd", "unknown", 3, 4), made("code", "none", 3, 4)]
    pairs = differences(
        ("d", "m3", "n3", 0.6, 0.1, 0.9), ("d", "m3", "far", 3.0, 2, 4), ("d", "m3", "m1", 5.0, 4, 6),
        ("d", "m3", "m4", 2.0, -1, 4), ("d", "m4", "m1", 0.5, 0.2, 0.9), ("d", "m3", "odd", 1.0, 0.5, 2),
    )  # fmt: skip
    found = contrasts(identified, pairs)
    assert unplaced(identified) == ["odd", "code"]
    assert not set(found["a"]) | set(found["b"]) > {"odd"}
    (same,) = found[found["as_many"]].to_dict(orient="records")
    assert (same["a"], same["b"], same["difference"]) == ("m1", "m4", -0.5)
    assert same["geometries"] == "1 channel at 1/4 - 4 channels at 1/8 (as many numbers, other shape)"
    means = ceilings(("d", "m3", 30.0, False), ("d", "n3", 29.0, False))
    text = " ".join(verdict(frames(means, pairs, found), read_points(), True, unplaced(identified)))
    assert "on d +0.60 dB [0.10, 0.90] (m3 over n3, told apart). Between sources: on d +3.00 dB" in text
    assert (
        "in one domain): on d +2.00 to +5.00 dB (1 of 2 pairs told apart). As many numbers in another shape: on d -0.50"
        in text
    )
    assert "In no contrast, their domain not known: odd and code." in text
    assert len(text) < 3000


def test_pairs_that_are_not_told_apart_or_cannot_be_judged_are_counted_as_such() -> None:
    identified = [made("m3", "medical", 3, 4), made("m2", "medical", 2, 4), made("m1", "medical", 1, 4)]
    rows = [("d", "m3", "m2", 0.5, -1, 2), ("d", "m3", "m1", 0.7, -1, 2)]
    found = contrasts(identified, differences(*rows))
    means = ceilings(("d", "m3", 30.0, False), ("d", "m1", 29.0, False))
    text = " ".join(said(means, differences(*rows), found))
    assert "on d +0.50 to +0.70 dB (none of 2 pairs told apart)" in text
    few = " ".join(said(means, differences(*rows), found.assign(n=3)))
    assert "on d +0.50 to +0.70 dB (2 pairs, not to be judged)" in few
    one_known = found.assign(n=[3, 40], low=0.1, p_holm=0.001)
    assert "(1 of 2 pairs told apart)" in " ".join(said(means, differences(*rows), one_known))

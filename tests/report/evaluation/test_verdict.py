import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from report_evaluations import HOSTILE, OPEN, SURE, TURNED, few, windows, with_all, with_comparison, with_means, without
from scipy.ndimage import gaussian_filter

from latentsr.bench.evaluation import Comparison, compare
from latentsr.io.raster import write_pixels
from latentsr.metrics.frequency import laplacian_variance
from latentsr.report.evaluation.data import Evaluation, read_evaluation
from latentsr.report.evaluation.tables import headline_table
from latentsr.report.evaluation.verdict import details, judgement, sharpness, verdict


def sentences(evaluation: Evaluation) -> tuple[str, ...]:
    """All that is said: doubts and answers, then what bears them out."""
    return (*verdict(evaluation), *details(evaluation))


class TestVerdict:
    def test_doubts_about_pairing_come_first(self, evaluation: Evaluation) -> None:
        doubted = without(evaluation, pairing=[{"method": "noisy", "dataset": "abdomen"}])
        assert sentences(doubted)[0].startswith("Do not rely on this yet: images of 'noisy' on 'abdomen'")

    def test_a_methods_doubts_on_several_datasets_are_told_together(self, evaluation: Evaluation) -> None:
        doubts = [
            {"method": method, "dataset": name} for method in ("noisy", "fine") for name in ("abdomen", "small<u>")
        ]
        told = sentences(without(evaluation, pairing=doubts))[0]
        assert "images of 'noisy' on 'abdomen' and 'small<u>', 'fine' on 'abdomen' and 'small<u>' do not agree" in told

    def test_the_primary_comparison_comes_first_where_nothing_is_doubted(self, evaluation: Evaluation) -> None:
        row = evaluation.compared("abdomen", "psnr", HOSTILE, "bicubic")
        assert row is not None
        assert (row["family"], row["p_holm"]) == ("primary", row["p"])
        ends = f"[{row['low']:.2f}, {row['high']:.2f}]"
        assert sentences(without(evaluation, pairing=[]))[0].startswith(
            "Primary comparison (the default, as none was named): on abdomen (6 patients) "
            f"{HOSTILE} is better than bicubic in PSNR "
            f"by {row['difference']:.2f} dB {ends}, p = {row['p']:.3f}; on small<u> (2 patients) {HOSTILE} "
            "differs from bicubic "
        )

    def test_the_primary_comparison_may_be_of_any_two_methods(self, evaluation: Evaluation) -> None:
        asked = {"a": "bicubic", "b": "noisy", "metric": "ssim"}
        changed = with_comparison(without(evaluation, primary=asked, pairing=[]), "ssim", **TURNED)
        first, *rest = sentences(changed)
        assert (
            "on abdomen (6 patients) bicubic is better than noisy in SSIM by 1.500 [1.200, 1.800], p = 0.001;" in first
        )
        assert not [one for one in rest if "Primary" in one]
        assert not [one for one in sentences(without(evaluation, primary=None)) if "Primary" in one]
        given = sentences(without(evaluation, primary_given=True, pairing=[]))[0]
        assert given.startswith("Primary comparison, fixed in advance: on abdomen")

    def test_the_truth_takes_no_part_in_the_primary_comparison(self, evaluation: Evaluation) -> None:
        truth = {"dataset": "abdomen", "method": HOSTILE, "images": 12, "exact": True}
        told = next(one for one in sentences(without(evaluation, truth=[truth])) if one.startswith("Primary"))
        assert told.startswith("Primary comparison (the default, as none was named): on small<u> (2 patients) ")

    @pytest.mark.parametrize("patients", [1, 2, 5])
    def test_few_patients_prove_nothing(self, evaluation: Evaluation, patients: int) -> None:
        told = " ".join(sentences(few(evaluation, patients)))
        count = "one patient cannot show" if patients == 1 else f"{patients} patients are too few to judge"
        assert f"which {count}" in told
        claims = ("is better than", "is worse than", "is best in", "told apart", "not found worse")
        assert not [claim for claim in claims if claim in told]

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (SURE, "noisy is better than bicubic in PSNR by 1.50 dB [1.20, 1.80], p = 0.001; on"),
            (TURNED, "noisy is worse than bicubic in PSNR by 1.50 dB [1.20, 1.80], p = 0.001; on"),
            (
                OPEN,
                "is not told apart from bicubic in PSNR by +0.10 dB [-0.20, +0.40], p = 0.600; unadjusted, 80 % "
                "power from 0.40 dB",
            ),
            (
                SURE | {"p_holm": 0.2, "detectable": 0.3},
                "PSNR by +1.50 dB [+1.20, +1.80], p = 0.200 adjusted for its family of tests; unadjusted, "
                "80 % power from 0.30 dB",
            ),
            (
                {"difference": 1.5, "low": np.nan, "high": np.nan, "p": np.nan, "p_holm": np.nan, "n": 1},
                "differs from bicubic in PSNR by +1.50 dB, which one patient cannot show; on",
            ),
        ],
    )
    def test_effects_in_words(self, evaluation: Evaluation, change: dict[str, float], expected: str) -> None:
        primary = {"a": "noisy", "b": "bicubic", "metric": "psnr"}
        changed = with_comparison(without(evaluation, primary=primary, pairing=[]), "psnr", **change)
        assert expected in sentences(changed)[0]

    @pytest.mark.parametrize(
        ("change", "finding"),
        [
            ({}, "better"),
            ({"low": 0.0, "high": 3.0}, "better"),  # one rule: p, of which the interval is none where p is adjusted
            ({"p_holm": 0.05}, "open"),
            ({"p_holm": 0.0499}, "better"),
            ({"n": 5}, "few"),
            ({"n": 6}, "better"),
        ],
    )
    def test_the_level_and_the_fewest_patients_decide(
        self, evaluation: Evaluation, change: dict[str, float], finding: str
    ) -> None:
        """The same of the pair turned round, but for better and worse."""
        changed = with_comparison(evaluation, "psnr", **SURE | change)
        there, back = (
            judgement(changed, "abdomen", "psnr", pair) for pair in (("noisy", "bicubic"), ("bicubic", "noisy"))
        )
        assert there is not None
        assert back is not None
        assert (there.finding, back.finding) == (finding, {"better": "worse"}.get(finding, finding))
        if finding == "better":
            assert there.amount == back.amount
            assert there.sentence("a", "b").startswith("a is better than b in PSNR by 1.50 dB [")
            assert back.sentence("b", "a").startswith("b is worse than a in PSNR by 1.50 dB [")
        else:
            assert there.amount.startswith("PSNR by +1.50 dB [+1.20, ")
            assert back.amount.startswith("PSNR by -1.50 dB [-1.80, ")

    def test_fifty_decibels_are_true_to_the_input(self, evaluation: Evaluation) -> None:
        table = evaluation.frames["table"].copy()
        chosen = (table["metric"] == "lr_psnr") & (table["method"] == "noisy")
        table.loc[chosen, "value"] = 50.0
        told = " ".join(details(replace(evaluation, frames={**evaluation.frames, "table": table})))
        assert "noisy 50.0 dB" in told.partition("abdomen: Before clamping")[2].partition("(true to ")[0]

    @pytest.mark.parametrize("metric", ["lr_psnr", "null_space", "null_space_share"])
    def test_what_has_no_better_side_is_not_tested(self, evaluation: Evaluation, metric: str) -> None:
        assert metric not in set(evaluation.frames["comparisons"]["metric"])
        assert metric in set(evaluation.frames["summary"]["metric"])

    @pytest.mark.parametrize(("metric", "title"), [("vif", "VIF"), ("hallucinated/2sigma", "Hallucinated share")])
    def test_what_is_surely_worse_is_named(self, evaluation: Evaluation, metric: str, title: str) -> None:
        sure = SURE if metric.startswith("hallucinated") else TURNED  # less is better, or more
        told = next(one for one in sentences(with_comparison(evaluation, metric, **sure)) if "abdomen: noisy" in one)
        assert title in told.partition("is worse than bicubic in ")[2]
        assert title not in " ".join(sentences(with_comparison(evaluation, metric, **sure | {"p_holm": 0.2})))

    def test_methods_that_got_worse_in_nothing_are_named(self, evaluation: Evaluation) -> None:
        told = "abdomen: {} not found worse than bicubic in any tested measure of the whole image."
        assert told.format(f"{HOSTILE} is") in sentences(evaluation)
        table = evaluation.frames["comparisons"].assign(p_holm=0.5)
        changed = replace(evaluation, frames={**evaluation.frames, "comparisons": table})
        assert told.format(f"{HOSTILE} and noisy are") in sentences(changed)

    def test_methods_that_are_the_same_differ_by_a_zero_without_a_sign(self, evaluation: Evaluation) -> None:
        same = {"difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0, "p_holm": 1.0, "d_z": 0.0, "detectable": 0.0}
        changed = with_all(evaluation, "psnr", "noisy", HOSTILE, **same)
        for pair in (("noisy", HOSTILE), (HOSTILE, "noisy")):
            found = judgement(changed, "abdomen", "psnr", pair)
            assert found is not None
            assert (found.finding, found.amount) == ("open", "PSNR by 0.00 dB [0.00, 0.00]")

    def test_the_worst_image_decides_on_agreement_with_lr(self, evaluation: Evaluation) -> None:
        table = evaluation.frames["table"].copy()
        chosen = (table["metric"] == "lr_psnr") & (table["method"] == "noisy") & (table["dataset"] == "abdomen")
        table.loc[chosen, "value"] = [170.0, 170.0, 170.0, 31.0, 170.0, np.nan] * 2
        told = " ".join(sentences(replace(evaluation, frames={**evaluation.frames, "table": table})))
        assert "abdomen: Before clamping and rounding, reduced again, the worst image matches LR to: " in told
        assert "noisy 31.0 dB" in told.partition("abdomen: Before clamping")[2].partition("(not wholly true to")[0]

    def test_identical_images_are_counted_and_named(self, evaluation: Evaluation) -> None:
        assert "is identical to HR in 1 of 12 images, which are left out of PSNR" in " ".join(sentences(evaluation))

    def test_a_method_that_is_hr_is_called_the_truth_and_takes_no_part(self, evaluation: Evaluation) -> None:
        truth = {"dataset": "abdomen", "method": HOSTILE, "images": 12, "exact": True}
        changed = without(evaluation, truth=[truth], pairing=[])
        first, *rest = sentences(changed)
        assert not [one for one in rest if one.startswith("Primary") and "abdomen" in one]
        words = "is the truth or made from it, not a restoration: left aside in this verdict."
        assert first == f"On abdomen, {HOSTILE} {words}"
        assert not [
            one for one in rest if "abdomen" in one and HOSTILE in one and "Within" not in one and "shift" not in one
        ]
        table = headline_table(changed, "abdomen")
        assert table is not None
        assert 1 not in {row for row, _ in table.strong}
        assert (0, 1) in table.strong

    def test_it_names_the_reference_and_says_what_is_not_adjusted(self, evaluation: Evaluation) -> None:
        told = " ".join(sentences(evaluation))
        assert "own error of reference autoencoder vae" in told
        assert "tests by patient, not adjusted" in told

    def test_a_lower_measure_that_fell_is_better(self, evaluation: Evaluation) -> None:
        changed = with_comparison(with_comparison(evaluation, "mae", **TURNED), "ssim", **TURNED)
        told = next(sentence for sentence in sentences(changed) if sentence.startswith("abdomen: noisy"))
        worse = told.partition("is worse than bicubic in ")[2]
        assert "SSIM" in worse
        assert " MAE" not in worse

    def test_equal_agreement_with_lr_is_told_once(self, evaluation: Evaluation) -> None:
        table = evaluation.frames["table"].copy()
        table.loc[(table["metric"] == "lr_psnr") & (table["dataset"] == "abdomen"), "value"] = 170.0
        told = sentences(replace(evaluation, frames={**evaluation.frames, "table": table}))
        assert next(one for one in told if one.startswith("abdomen: Before")).endswith(
            f"the worst image matches LR to: {HOSTILE} and noisy over 100 dB (true to their input)."
        )

    def test_what_holds_of_all_datasets_is_told_once(self, evaluation: Evaluation) -> None:
        told = details(evaluation)
        within = [one for one in told if "Within" in one]
        assert within == [
            "abdomen and small<u>: Within 1.00 dB in PSNR (two one-sided tests by patient, not adjusted), no two "
            "methods are shown to be equivalent."
        ]
        assert len(told) == len(set(told))

    @pytest.mark.parametrize(
        ("equivalent", "told"),
        [
            ([], "no two methods are shown to be equivalent."),
            ([0], f"equivalent: {HOSTILE} and bicubic; 2 other pairs are not shown to be."),
            ([0, 1], f"equivalent: {HOSTILE} and bicubic, noisy and bicubic; 1 other pair is not shown to be."),
            ([0, 1, 2], f"equivalent: {HOSTILE} and bicubic, noisy and bicubic, noisy and {HOSTILE}."),
        ],
    )
    def test_equivalent_pairs_are_named_and_the_others_counted(
        self, evaluation: Evaluation, equivalent: list[int], told: str
    ) -> None:
        frame = evaluation.frames["equivalence"].copy()
        by_patient = (frame["dataset"] == "abdomen") & (frame["unit"] == "patient")
        frame.loc[by_patient, "verdict"] = ["equivalent" if n in equivalent else "not shown" for n in range(3)]
        changed = replace(evaluation, frames={**evaluation.frames, "equivalence": frame})
        expected = f"Within 1.00 dB in PSNR (two one-sided tests by patient, not adjusted), {told}"
        where = "abdomen" if equivalent else "abdomen and small<u>"
        assert f"{where}: {expected}" in sentences(changed)


class TestAnswer:
    """The first sentence of a dataset: who is best in what, at what price."""

    @pytest.fixture
    def sure(self, evaluation: Evaluation) -> Evaluation:
        """The method of the hostile name before bicubic before noisy, in PSNR and HaarPSI, beyond doubt."""
        found = evaluation
        for metric in ("psnr", "haarpsi"):
            found = with_means(found, metric, good=33.0, bicubic=31.5, noisy=30.0)
            found = with_all(found, metric, HOSTILE, "bicubic", **SURE)
            found = with_all(found, metric, "noisy", "bicubic", **TURNED)
            found = with_all(found, metric, "noisy", HOSTILE, **TURNED)
        return without(found, pairing=[], primary=None)

    def test_it_stands_first_for_each_dataset(self, sure: Evaluation) -> None:
        told = sentences(without(sure, "sets"))  # which say that noisy is sharp but wrong
        assert [one.startswith("On ") for one in told] == [True, True] + [False] * (len(told) - 2)
        assert all(
            re.match(r"(abdomen|small<u>|abdomen and small<u>): ", one) or " px, " in one or ": blur " in one
            for one in told[2:]
        )

    def test_who_is_better_than_all_others_is_best(self, sure: Evaluation) -> None:
        assert sentences(sure)[0].startswith(
            f"On abdomen, {HOSTILE} is best in fidelity (PSNR 33.00 dB, bicubic 31.50 dB) and perceptual likeness "
            "(HaarPSI 33.00, bicubic 31.50); "
        )
        assert re.search(r" has \d{3} % of HR's sharpness, more than is there\.$", sentences(sure)[0])  # HR and noise

    def test_two_who_are_best_in_one_thing_each_pay(self, sure: Evaluation) -> None:
        changed = with_means(sure, "haarpsi", noisy=35.0)
        changed = with_all(changed, "haarpsi", "noisy", "bicubic", **SURE)
        changed = with_all(changed, "haarpsi", "noisy", HOSTILE, **SURE)
        told = sentences(changed)[0]
        assert f"{HOSTILE} is best in fidelity (PSNR 33.00 dB, bicubic 31.50 dB); noisy is best in perc" in told
        assert f"noisy pays with PSNR by 1.50 dB [1.20, 1.80] less than {HOSTILE}" in told
        assert "noisy is worse than bicubic in PSNR, SSIM, " in told
        level = with_all(changed, "psnr", "noisy", "bicubic", **OPEN)
        assert "noisy is worse than bicubic in SSIM, " in sentences(level)[0]

    def test_who_is_not_told_apart_from_one_is_not_best(self, sure: Evaluation) -> None:
        told = sentences(with_all(sure, "psnr", "noisy", HOSTILE, p_holm=0.2, detectable=0.7))[0]
        assert "best in fidelity" not in told
        assert (
            f"in fidelity {HOSTILE} has the best mean (PSNR 33.00 dB; unadjusted, 80 % power from 0.70 dB) and is not "
            "told apart from noisy;" in told
        )
        assert f"{HOSTILE} is best in perceptual likeness" in told

    def test_where_none_is_told_apart_none_is_named_best(self, sure: Evaluation) -> None:
        changed = sure
        for a, b in ((HOSTILE, "bicubic"), ("noisy", "bicubic"), ("noisy", HOSTILE)):
            changed = with_all(changed, "psnr", a, b, **OPEN)
        assert f"in fidelity no method is told apart from the best mean ({HOSTILE}, PSNR 33.00" in sentences(changed)[0]

    def test_a_best_mean_of_other_images_leads_nobody(self, sure: Evaluation) -> None:
        """Its own mean is of images that others do not have, as where the hardest are identical to HR."""
        told = sentences(with_all(sure, "psnr", "noisy", HOSTILE, **SURE))[0]
        assert (
            f"in fidelity {HOSTILE} has the best mean (PSNR 33.00 dB), but noisy is better on the images where both "
            "have a value" in told
        )
        assert "best in fidelity" not in told

    def test_what_few_patients_cannot_prove_is_said(self, sure: Evaluation) -> None:
        told = sentences(few(sure, 3))
        told_once = (
            f"the best means are those of {HOSTILE} in fidelity (PSNR 33.00 dB) and perceptual likeness (HaarPSI"
        )
        assert told_once in told[0]
        assert "which 3 patients are too few to judge" in told[0]
        assert "is better than" not in " ".join(told)

    def test_means_of_two_methods_that_few_patients_cannot_prove_are_told_of_each(self, sure: Evaluation) -> None:
        told = sentences(few(with_means(sure, "haarpsi", noisy=35.0), 3))[0]
        assert f"those of {HOSTILE} in fidelity (PSNR 33.00 dB) and noisy in perceptual likeness (HaarPSI 35.0" in told

    def test_few_are_those_that_were_compared(self, sure: Evaluation) -> None:
        """Images without a value leave fewer patients than the dataset has."""
        table = sure.frames["comparisons"].assign(n=4)
        told = sentences(replace(sure, frames={**sure.frames, "comparisons": table}))[0]
        assert "which 4 patients are too few to judge" in told

    @pytest.mark.parametrize(
        ("share", "words"),
        [
            (0.31, "keeps 31 % of HR's sharpness"),
            (1.004, "keeps 100 % of HR's sharpness"),
            (1.006, "has 101 % of HR's sharpness, more than is there"),
            (2.36, "has 236 % of HR's sharpness, more than is there"),
        ],
    )
    def test_more_sharpness_than_there_is_is_not_kept(self, sure: Evaluation, share: float, words: str) -> None:
        summary = sure.frames["summary"].copy()
        summary.loc[(summary["method"] == HOSTILE) & (summary["metric"] == "laplacian_variance"), "ratio_to_hr"] = share
        told = sentences(replace(sure, frames={**sure.frames, "summary": summary}))
        assert told[0].endswith(f"{HOSTILE} {words}.")
        assert f"{HOSTILE} {100 * share:.0f} %" in " ".join(told[1:])

    def test_one_dataset_and_two_methods_are_told_briefly(self, sure: Evaluation) -> None:
        facts = {"abdomen": sure.run["datasets"]["abdomen"]}
        told = sentences(without(sure, "equivalence", "sets", datasets=facts))
        assert (
            len(told) == 8
        )  # the answer; losses of both, who has none, costs, agreement with LR, two of what images are
        assert not [one for one in told[:-2] if "abdomen: " in one]

    def test_bicubic_alone_is_compared_with_nothing(self, evaluation: Evaluation) -> None:
        alone = without(
            evaluation, "comparisons", "equivalence", methods=[evaluation.run["methods"][0]], pairing=[],
            primary=None,
        )  # fmt: skip
        assert sentences(alone)[0] == (
            "On abdomen only bicubic was measured, on 12 images of 6 patients: there is nothing to compare."
        )


def grainy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image (0 to 255) blurred, with so much white noise that its Laplacian variance is 109 % of the image's."""

    def sharpness(pixels: np.ndarray) -> float:
        return float(laplacian_variance(torch.from_numpy(pixels / 255).float()[None, None]))

    blurred, noise = gaussian_filter(image, 2), rng.normal(size=image.shape)
    low, high = 0.0, 128.0
    for _ in range(20):
        middle = (low + high) / 2
        enough = sharpness((blurred + middle * noise).clip(0, 255)) > 1.09 * sharpness(image)
        low, high = (low, middle) if enough else (middle, high)
    return np.round(blurred + low * noise).clip(0, 255)


@pytest.fixture(scope="module")
def grain(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """A planted method: grain over a blurred truth, as sharp by the numbers as one could wish, and wrong."""
    root, rng = tmp_path_factory.mktemp("grain"), np.random.default_rng(0)
    dataset = windows(root / "mr", "abdomen", 64, 6)
    for record in dataset.records:
        pixels = grainy(np.round(dataset.image(record) * 255), rng)
        write_pixels(root / "grain" / f"{record.id}.png", pixels.astype(np.uint8))
    methods = (f"grain={root / 'grain'}", "bicubic+projection")
    asked = Comparison(methods=methods, metrics=("psnr", "haarpsi", "laplacian_variance"), device="cpu", workers=0)
    compare([dataset.root], root / "out", asked)
    return read_evaluation(root / "out")


class TestFalseSharpness:
    def test_it_is_called_wrong(self, grain: Evaluation) -> None:
        share = sharpness(grain, "abdomen")["grain"]
        assert 105 < share < 115
        told = next(one for one in verdict(grain) if "grain" in one and "sharper" in one)
        assert told.startswith(f"On abdomen, grain ({share} % of its Laplacian variance, distance ")
        assert "is sharper than HR, but its detail is unlike HR's: sliced Wasserstein distance above bicubic's" in told
        assert f"grain {share} % (detail unlike HR)" in " ".join(details(grain))

    def test_its_sharpness_is_not_the_best(self, grain: Evaluation) -> None:
        table = headline_table(grain, "abdomen")
        assert table is not None
        column = next(place for place, name in enumerate(table.columns) if name.startswith("Sharpness"))
        strong = {row for row, place in table.strong if place == column}
        assert grain.methods.index("grain") not in strong
        assert strong  # the best of those whose detail is no worse than bicubic's
        assert "fine detail further from HR's than bicubic's" in table.note

    def test_what_is_as_sharp_and_like_hr_is_not_called_wrong(self, grain: Evaluation) -> None:
        sets = grain.frames["sets"].copy()
        sets.loc[(sets["method"] == "grain") & sets["metric"].str.startswith("swd"), "value"] = 0.1
        assert not [one for one in verdict(replace(grain, frames={**grain.frames, "sets": sets})) if "unlike" in one]

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.data import get_testdata_file

from latentsr.autoencoders.kl import save_kl
from latentsr.autoencoders.small_kl import SmallKL
from latentsr.config import sha256
from latentsr.data.records import Dataset, Record, write_dataset
from latentsr.errors import InputError
from latentsr.evaluation.job import Comparison, compare
from latentsr.io.raster import write_pixels
from latentsr.report.evaluation_data import Evaluation, read_evaluation
from latentsr.report.evaluation_headline import headline_table
from latentsr.report.evaluation_page import PAGE, evaluation_page, write_report
from latentsr.report.evaluation_tables import (
    difference_table,
    equivalence_table,
    null_space_table,
    pair_table,
    rate_table,
)
from latentsr.report.evaluation_verdict import verdict
from latentsr.report.numbers import interval, number, p_value
from latentsr.stats.paired import cohen_h

PATIENT = "Doe^Jane-19610203"
HOSTILE = "fine <u>&'\"|*"


def windows(root: Path, name: str, side: int, images: int) -> Dataset:
    """Windows of an abdominal MR that comes with pydicom, two of each patient, whose names must not be seen."""
    pixels = pydicom.dcmread(get_testdata_file("examples_overlay.dcm", download=False)).pixel_array
    grey = np.round((pixels - pixels.min()) / np.ptp(pixels) * 255).astype(np.uint8)
    records = []
    for n in range(images):
        cut = np.ascontiguousarray(grey[12 * n + 40 : 12 * n + 40 + side, 16 * n + 60 : 16 * n + 60 + side])
        file = f"images/{n}.png"
        write_pixels(root / file, cut)
        digest = sha256(root / file)
        records.append(Record(f"{PATIENT}-{n}", f"{PATIENT}-{n // 2}", "valid", file, side, side, digest))
    return write_dataset(root, name, records, {})


def sr_folder(dataset: Dataset, folder: Path, noise: float) -> Path:
    """HR with noise, the first image identical to HR."""
    rng = np.random.default_rng(0)
    for place, record in enumerate(dataset.records):
        pixels = dataset.image(record) * 255 + (noise if place else 0) * rng.normal(size=(record.rows, record.columns))
        write_pixels(folder / dataset.name / f"{record.id}.png", np.round(pixels).clip(0, 255).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished evaluation of three methods on two datasets with everything there is."""
    root = tmp_path_factory.mktemp("evaluation")
    sets = [windows(root / "mr", "abdomen", 64, 6), windows(root / "small", "small<u>", 32, 4)]
    save_kl(SmallKL(width=4, blocks=1), root / "vae", domain="medical")
    for dataset in sets:
        sr_folder(dataset, root / "good", 2)
        sr_folder(dataset, root / "bad", 25)
        for record in dataset.records:
            mask = np.zeros((record.rows, record.columns), np.uint8)
            mask[8:24, 8:24] = 1
            write_pixels(root / "masks" / dataset.name / f"{record.id}.png", mask)
    asked = Comparison(
        (f"{HOSTILE}={root / 'good'}", f"noisy={root / 'bad'}"), device="cpu", mean="noisy", workers=0,
        reference_autoencoder=str(root / "vae"), latent=str(root / "vae"), masks=root / "masks",
        margins=(("psnr", 1.0),),
    )  # fmt: skip
    compare([dataset.root for dataset in sets], root / "out", asked)
    return root / "out"


@pytest.fixture(scope="module")
def evaluation(folder: Path) -> Evaluation:
    return read_evaluation(folder)


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    """Its page; the Markdown stands beside it."""
    write_report(folder)
    return folder / PAGE


def shown(page: Path) -> str:
    """The page's words, without styles, scripts, drawings and pictures."""
    text = re.sub(r"(?s)<(style|script|svg)\b.*?</\1>|data:[^\"')]*", " ", page.read_text(encoding="utf-8"))
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def without(evaluation: Evaluation, *tables: str, **run: object) -> Evaluation:
    """The evaluation with some tables missing and some facts changed."""
    frames = {name: frame for name, frame in evaluation.frames.items() if name not in tables}
    return replace(evaluation, frames=frames, run={**evaluation.run, **run})


SURE = {"low": 1.2, "high": 1.8, "p_holm": 0.001, "p_least": 0.001, "d_z": 1.0, "rank_biserial": 0.9}


TURNED = {
    "difference": -1.5, "low": -1.8, "high": -1.2, "p_holm": 0.001, "p_least": 0.001, "d_z": -1.0,
    "rank_biserial": -0.9,
}  # fmt: skip


def with_all(evaluation: Evaluation, metric: str, a: str, b: str, **values: float) -> Evaluation:
    """The evaluation with other numbers for one pair of methods in one measure, by patient, on abdomen."""
    table = evaluation.frames["comparisons"].copy()
    chosen = (table["a"] == a) & (table["b"] == b) & (table["metric"] == metric) & (table["dataset"] == "abdomen")
    assert chosen.any()
    table.loc[chosen, list(values)] = tuple(values.values())
    return replace(evaluation, frames={**evaluation.frames, "comparisons": table})


def with_means(evaluation: Evaluation, metric: str, **means: float) -> Evaluation:
    """The evaluation with other means on abdomen; `good` stands for the method of the hostile name."""
    table = evaluation.frames["summary"].copy()
    for name, mean in means.items():
        chosen = (table["method"] == {"good": HOSTILE}.get(name, name)) & (table["metric"] == metric)
        table.loc[chosen & (table["dataset"] == "abdomen"), "mean"] = mean
    return replace(evaluation, frames={**evaluation.frames, "summary": table})


def with_comparison(evaluation: Evaluation, metric: str, **values: float) -> Evaluation:
    """The evaluation with other numbers for noisy against bicubic in one measure."""
    table = evaluation.frames["comparisons"].copy()
    chosen = (table["a"] == "noisy") & (table["b"] == "bicubic") & (table["metric"] == metric)
    table.loc[chosen, list(values)] = tuple(values.values())
    return replace(evaluation, frames={**evaluation.frames, "comparisons": table})


class TestPage:
    @pytest.mark.parametrize("width", [1280, 390])
    def test_the_browser_finds_no_fault(self, page: Path, open_page: Callable, width: int) -> None:
        found = open_page(page, width)
        assert found.clean, found

    def test_it_prints(self, page: Path, open_page: Callable) -> None:
        found = open_page(page, 794, media="print")
        assert (found.errors, found.overflow) == ((), 0)

    def test_the_slider_moves(self, page: Path, open_page: Callable) -> None:
        found = open_page(page, scripts=("document.querySelectorAll('input[type=range]').length",))
        assert found.values == (2,)

    def test_it_is_self_contained(self, page: Path) -> None:
        text = page.read_text(encoding="utf-8")
        addresses = set(re.findall(r"(?:src|href)=\"([^\"#]+)", text))
        assert all(address.startswith("data:") for address in addresses)
        assert "http://" not in re.sub(r"http://www\.w3\.org/\S+", "", text)

    def test_it_says_everything(self, page: Path) -> None:
        text = shown(page)
        for words in (
            "Verdict", "Research use only", "Sliced Wasserstein", "95 % by patient", "95 % by image", "p (Holm)",
            "Hallucinated and lost pixels", "Latent fidelity", "PSNR in the region", "Null-space part", "SHA-256",
            "identical to HR", "No value for some images", "Equivalence within a margin",
            "Agreement of mean intensity", "Subband PSNR", "Radial spectra", "Best, median and worst",
            "Kc et al. 2026", "What could not be measured", "FID, KID",
        ):  # fmt: skip
            assert words in text, words

    def test_no_patient_id_or_path_is_told(self, page: Path, folder: Path) -> None:
        texts = [path.read_text(encoding="utf-8") for path in (page, folder / "run.json", folder / "report/report.md")]
        told = "\n".join([*texts, *(path.name for path in folder.rglob("*"))])
        assert "Doe" not in re.sub(r"data:[^\"')]*", "", told)
        assert str(folder.parent) not in told
        assert "/tmp" not in told  # noqa: S108

    def test_hostile_names_are_text(self, page: Path) -> None:
        assert "<u>" not in page.read_text(encoding="utf-8")

    def test_markdown_names_its_figures(self, page: Path, folder: Path) -> None:
        text = (folder / "report" / "report.md").read_text(encoding="utf-8")
        figures = re.findall(r"\]\((figures/[^)]+)\)", text)
        assert len(figures) > 20
        assert all((folder / "report" / figure).is_file() for figure in figures)

    def test_the_same_evaluation_gives_the_same_page(self, page: Path, folder: Path) -> None:
        before = page.read_bytes()
        write_report(folder)
        assert page.read_bytes() == before

    def test_a_folder_without_an_evaluation_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "run.json").write_text(json.dumps({"key": "old"}))
        with pytest.raises(InputError, match="holds no evaluation"):
            write_report(tmp_path)

    def test_an_evaluation_of_little_makes_a_page(self, evaluation: Evaluation) -> None:
        """Without comparisons, sets and pictures: sections that would be empty are left out."""
        bare = without(
            evaluation, "comparisons", "sets", "agreement", "equivalence", pictures={"cases": [], "chief": "noisy"}
        )
        titles = [section.title for section in evaluation_page(bare).sections]
        assert "The methods" in titles
        assert not [title for title in titles if title.startswith("Pictures")]


class TestVerdict:
    def test_doubts_about_pairing_come_first(self, evaluation: Evaluation) -> None:
        doubted = without(evaluation, pairing=[{"method": "noisy", "dataset": "abdomen"}])
        assert verdict(doubted)[0].startswith("Do not rely on this yet: images of 'noisy' on 'abdomen'")

    def test_few_patients_prove_nothing(self, evaluation: Evaluation) -> None:
        told = " ".join(verdict(evaluation))
        assert "patients cannot prove" in told
        assert not [claim for claim in ("is better than", "is worse than", "is best in") if claim in told]

    @pytest.mark.parametrize(
        ("difference", "low", "high", "p", "expected"),
        [
            (1.5, 1.2, 1.8, 0.001, "is better than bicubic in PSNR by 1.50 dB [1.20, 1.80]"),
            (-1.5, -1.8, -1.2, 0.001, "is worse than bicubic in PSNR by 1.50 dB [1.20, 1.80]"),
            (
                0.1,
                -0.2,
                0.4,
                0.6,
                "is not told apart from bicubic in PSNR (+0.10 dB [-0.20, +0.40]): the interval holds",
            ),
            (1.5, 1.2, 1.8, 0.2, "in PSNR (+1.50 dB [+1.20, +1.80]): not significant once adjusted, p 0.200"),
            (1.5, -0.1, 1.8, 0.01, "is not told apart from bicubic in PSNR (+1.50 dB [-0.10, +1.80]): the interval"),
            (1.5, np.nan, np.nan, np.nan, "differs from bicubic in PSNR by +1.50 dB, which one patient cannot test"),
        ],
    )
    def test_effects_in_words(
        self, evaluation: Evaluation, difference: float, low: float, high: float, p: float, expected: str
    ) -> None:
        changed = with_comparison(
            evaluation, "psnr", difference=difference, low=low, high=high, p_holm=p, d_z=difference,
            rank_biserial=np.sign(difference), p_least=0.001,
        )  # fmt: skip
        assert expected in " ".join(verdict(changed))

    @pytest.mark.parametrize("name", ["d_z", "rank_biserial"])
    def test_images_and_patients_that_point_to_different_sides_decide_nothing(
        self, evaluation: Evaluation, name: str
    ) -> None:
        told = " ".join(verdict(with_comparison(evaluation, "psnr", difference=1.5, **SURE | {name: -0.5})))
        assert "is not told apart from bicubic in PSNR (+1.50 dB [+1.20, +1.80]): by image and by patient" in told
        assert "is better than bicubic in PSNR by 1.50" not in told

    @pytest.mark.parametrize("metric", ["lr_psnr", "null_space", "null_space_share"])
    def test_what_has_no_better_side_is_not_tested(self, evaluation: Evaluation, metric: str) -> None:
        assert metric not in set(evaluation.frames["comparisons"]["metric"])
        assert metric in set(evaluation.frames["summary"]["metric"])

    @pytest.mark.parametrize(("metric", "title"), [("vif", "VIF"), ("hallucinated/2sigma", "Hallucinated share")])
    def test_what_is_surely_worse_is_named(self, evaluation: Evaluation, metric: str, title: str) -> None:
        up = metric.startswith("hallucinated")  # less is better
        sign = 1.0 if up else -1.0
        ends = {"low": 1.2, "high": 1.8} if up else {"low": -1.8, "high": -1.2}
        sure = SURE | ends | {"difference": 1.5 * sign, "d_z": sign, "rank_biserial": sign}
        told = next(one for one in verdict(with_comparison(evaluation, metric, **sure)) if "abdomen: noisy" in one)
        assert title in told.partition("is worse than bicubic in ")[2]
        assert title not in " ".join(verdict(with_comparison(evaluation, metric, **sure | {"p_holm": 0.2})))

    def test_methods_are_compared_with_each_other(self, evaluation: Evaluation) -> None:
        told = [one for one in verdict(evaluation) if one.startswith(f"abdomen: {HOSTILE} ") and "noisy" in one]
        assert len(told) == 1
        assert "HaarPSI" in told[0]
        back = evaluation.compared("abdomen", "psnr", "noisy", HOSTILE)
        assert back is not None
        assert f"{-back['difference']:+.2f} dB" in told[0] or f"{abs(back['difference']):.2f} dB" in told[0]

    def test_the_worst_image_decides_on_agreement_with_lr(self, evaluation: Evaluation) -> None:
        table = evaluation.frames["table"].copy()
        chosen = (table["metric"] == "lr_psnr") & (table["method"] == "noisy") & (table["dataset"] == "abdomen")
        table.loc[chosen, "value"] = [170.0, 170.0, 170.0, 31.0, 170.0, np.nan]
        told = " ".join(verdict(replace(evaluation, frames={**evaluation.frames, "table": table})))
        assert "abdomen: Before clamping and rounding, reduced again, the worst image matches LR to: " in told
        assert "noisy 31.0 dB" in told.partition("abdomen: Before clamping")[2].partition("(not wholly true to")[0]

    def test_identical_images_are_counted_and_named(self, evaluation: Evaluation) -> None:
        assert "is identical to HR in 1 of 6 images, which are left out of PSNR" in " ".join(verdict(evaluation))

    def test_a_method_that_is_hr_is_called_the_truth_and_takes_no_part(self, evaluation: Evaluation) -> None:
        truth = {"dataset": "abdomen", "method": HOSTILE, "images": 6, "exact": True}
        changed = without(evaluation, truth=[truth], pairing=[])
        first, *rest = verdict(changed)
        assert first == f"On abdomen, {HOSTILE} is the truth itself, not a restoration: left aside in this verdict."
        assert not [one for one in rest if "abdomen" in one and HOSTILE in one and "Within" not in one]
        table = headline_table(changed, "abdomen")
        assert table is not None
        assert 1 not in {row for row, _ in table.strong}
        assert (0, 1) in table.strong

    def test_it_names_the_reference_and_says_what_is_not_adjusted(self, evaluation: Evaluation) -> None:
        told = " ".join(verdict(evaluation))
        assert "own error of reference autoencoder vae" in told
        assert "tests by patient, not adjusted" in told

    def test_a_lower_measure_that_fell_is_better(self, evaluation: Evaluation) -> None:
        table = evaluation.frames["comparisons"].copy()
        chosen = table["metric"].isin(["mae", "ssim"]) & (table["a"] == "noisy")
        sure = ["difference", "low", "high", "p_holm", "p_least", "d_z", "rank_biserial"]
        table.loc[chosen, sure] = -0.1, -0.2, -0.05, 0.001, 0.001, -1.0, -0.9
        changed = replace(evaluation, frames={**evaluation.frames, "comparisons": table})
        told = next(sentence for sentence in verdict(changed) if sentence.startswith("abdomen: noisy"))
        worse = told.partition("is worse than bicubic in ")[2]
        assert "SSIM" in told
        assert "MAE" not in worse


class TestAnswer:
    """The first sentence of a dataset: who is best in what, at what price."""

    @pytest.fixture
    def sure(self, evaluation: Evaluation) -> Evaluation:
        """The method of the hostile name before bicubic before noisy, in PSNR and HaarPSI, beyond doubt."""
        found = evaluation
        for metric in ("psnr", "haarpsi"):
            found = with_means(found, metric, good=33.0, bicubic=31.5, noisy=30.0)
            found = with_all(found, metric, HOSTILE, "bicubic", difference=1.5, **SURE)
            found = with_all(found, metric, "noisy", "bicubic", **TURNED)
            found = with_all(found, metric, "noisy", HOSTILE, **TURNED)
        return without(found, pairing=[])

    def test_it_stands_first_for_each_dataset(self, sure: Evaluation) -> None:
        told = verdict(sure)
        assert [one.startswith("On ") for one in told] == [True, True] + [False] * (len(told) - 2)
        assert all(one.startswith(("abdomen: ", "small<u>: ")) for one in told[2:])

    def test_who_is_better_than_all_others_is_best(self, sure: Evaluation) -> None:
        assert verdict(sure)[0].startswith(
            f"On abdomen, {HOSTILE} is best in fidelity (PSNR 33.00 dB) and perceptual likeness (HaarPSI 33.00); "
        )
        assert f"{HOSTILE} keeps " in verdict(sure)[0]

    def test_two_who_are_best_in_one_thing_each_pay(self, sure: Evaluation) -> None:
        changed = with_means(sure, "haarpsi", noisy=35.0)
        changed = with_all(changed, "haarpsi", "noisy", "bicubic", difference=1.5, **SURE)
        changed = with_all(changed, "haarpsi", "noisy", HOSTILE, difference=1.5, **SURE)
        told = verdict(changed)[0]
        assert f"{HOSTILE} is best in fidelity (PSNR 33.00 dB); noisy is best in perceptual likeness (HaarPSI" in told
        assert f"noisy pays with PSNR by 1.50 dB [1.20, 1.80] less than {HOSTILE}" in told

    @pytest.mark.parametrize(
        "change", [{"p_holm": 0.2}, {"low": -0.1, "high": 3.0}, {"d_z": 1.0}, {"rank_biserial": 0.5}]
    )
    def test_who_is_not_told_apart_from_one_is_not_best(self, sure: Evaluation, change: dict[str, float]) -> None:
        changed = with_all(sure, "psnr", "noisy", HOSTILE, **change)
        told = verdict(changed)[0]
        assert "best in fidelity" not in told
        assert f"in fidelity {HOSTILE} and noisy lead and are not told apart (PSNR 33.00 dB)" in told

    def test_where_none_is_told_apart_none_is_named_best(self, sure: Evaluation) -> None:
        changed = sure
        for a, b in ((HOSTILE, "bicubic"), ("noisy", "bicubic"), ("noisy", HOSTILE)):
            changed = with_all(changed, "psnr", a, b, p_holm=0.5)
        assert f"in fidelity no method is told apart from the best mean ({HOSTILE}, PSNR 33.00" in verdict(changed)[0]

    def test_what_few_patients_cannot_prove_is_said(self, sure: Evaluation) -> None:
        table = sure.frames["comparisons"].assign(p_least=0.25, p_holm=0.25)
        told = verdict(replace(sure, frames={**sure.frames, "comparisons": table}))
        assert f"the best means are those of {HOSTILE} in fidelity (PSNR 33.00 dB) and {HOSTILE} in" in told[0]
        assert "which 3 patients cannot prove" in told[0]
        assert "differs from bicubic in PSNR by +1.50 dB [+1.20, +1.80]" in " ".join(told)
        assert "which no test of 3 patients can prove" in " ".join(told)
        assert "is better than" not in " ".join(told)

    def test_one_dataset_and_two_methods_are_told_briefly(self, sure: Evaluation) -> None:
        facts = {"abdomen": sure.run["datasets"]["abdomen"]}
        told = verdict(without(sure, "equivalence", datasets=facts))
        assert len(told) == 6
        assert not [one for one in told if "abdomen: " in one]

    def test_bicubic_alone_is_compared_with_nothing(self, evaluation: Evaluation) -> None:
        alone = without(evaluation, "comparisons", "equivalence", methods=[evaluation.run["methods"][0]], pairing=[])
        assert verdict(alone)[0] == (
            "On abdomen only bicubic was measured, on 6 images of 3 patients: there is nothing to compare."
        )


class TestTables:
    def test_the_best_is_bold_and_identical_images_are_counted_apart(self, evaluation: Evaluation) -> None:
        table = headline_table(evaluation, "abdomen")
        assert table is not None
        assert [row[0] for row in table.rows] == ["bicubic", HOSTILE, "noisy"]
        assert (1, 1) in table.strong
        assert "(+1 identical)" in table.rows[1][1]

    @pytest.mark.parametrize(
        ("metric", "means", "strong"),
        [
            ("psnr", (27.0, 30.0, 28.0), {1}),
            ("psnr", (27.0, 30.001, 30.004), {1, 2}),  # both print 30.00
            ("psnr", (30.001, 30.002, 30.003), set()),  # all print alike
            ("gmsd", (0.05, 0.0499, 0.10), {0, 1}),
            ("gmsd", (0.05, 0.048, 0.10), {1}),
            ("gmsd", (0.0502, 0.0499, 0.0501), set()),
            ("haarpsi", (0.91, np.nan, 0.90), {0}),
            ("lr_psnr", (38.0, 120.0, 90.0), set()),
        ],
    )
    def test_bold_is_the_best_as_printed(
        self, evaluation: Evaluation, metric: str, means: tuple[float, ...], strong: set[int]
    ) -> None:
        named = dict(zip(("bicubic", "good", "noisy"), means, strict=True))
        table = headline_table(with_means(evaluation, metric, **named), "abdomen")
        assert table is not None
        title = f"{evaluation.measures[metric]['title']} "
        column = next(number for number, head in enumerate(table.columns) if head.startswith(title))
        assert {row for row, at in table.strong if at == column} == strong

    @pytest.mark.parametrize(
        ("shares", "strong"),
        [((0.03, 0.45, 0.12), {1}), ((0.9, 1.1, 3.0), {0, 1}), ((1.002, 0.9, 1.3), {0}), ((0.981, 0.98, 1.02), set())],
    )
    def test_sharpness_is_best_near_hr(
        self, evaluation: Evaluation, shares: tuple[float, ...], strong: set[int]
    ) -> None:
        summary = evaluation.frames["summary"].copy()
        for name, share in zip(evaluation.methods, shares, strict=True):
            chosen = (summary["method"] == name) & (summary["metric"] == "laplacian_variance")
            summary.loc[chosen, "ratio_to_hr"] = share
        table = headline_table(replace(evaluation, frames={**evaluation.frames, "summary": summary}), "abdomen")
        assert table is not None
        column = next(number for number, head in enumerate(table.columns) if head.startswith("Sharpness"))
        assert {row for row, at in table.strong if at == column} == strong
        assert table.rows[0][column] == f"{100 * shares[0]:.0f} %"

    def test_differences_are_those_of_the_table(self, evaluation: Evaluation) -> None:
        table = difference_table(evaluation, "abdomen")
        assert table is not None
        row = evaluation.compared("abdomen", "ssim", "noisy", "bicubic")
        shown_row = next(cells for cells in table.rows if cells[:2] == ("SSIM ↑", "noisy"))
        assert row is not None
        assert shown_row[2] == f"{row['difference']:+.3f}"
        assert shown_row[-2:] == ("3", "whole image")
        assert "the primary family (HaarPSI and PSNR), 6 tests; other measures of the whole image" in table.note

    def test_all_pairs_are_told_in_the_primary_measures(self, evaluation: Evaluation) -> None:
        table = pair_table(evaluation, "abdomen")
        assert table is not None
        assert sorted({cells[1] for cells in table.rows}) == ["HaarPSI ↑", "PSNR (dB) ↑"]
        assert len(table.rows) == 6

    def test_small_equivalence_rows_keep_their_digits(self, evaluation: Evaluation) -> None:
        frame = evaluation.frames["equivalence"].assign(metric="ssim", difference=0.00042, low=-0.001, high=0.002)
        table = equivalence_table(replace(evaluation, frames={**evaluation.frames, "equivalence": frame}), "abdomen")
        assert table is not None
        assert table.rows[0][3:5] == ("+0.000420", "[-0.00100, +0.00200]")

    def test_shares_have_cohens_h(self, evaluation: Evaluation) -> None:
        table = rate_table(evaluation, "abdomen")
        row = evaluation.compared("abdomen", "lost/2sigma", "noisy", "bicubic")
        assert table is not None
        assert row is not None
        cells = dict(zip(table.columns, table.rows[7], strict=True))
        assert cells["method, threshold"] == "noisy, 2 sigma"
        assert cells["h lost"] == f"{float(cohen_h(row['mean_a'], row['mean_b'])):+.2f}"
        assert table.rows[0][3:5] == ("–", "–")

    def test_what_is_added_beyond_the_mean_is_described_not_judged(self, evaluation: Evaluation) -> None:
        tested = {cells[0] for cells in difference_table(evaluation, "abdomen").rows}  # type: ignore[union-attr]
        assert not [title for title in tested if title.startswith("Null-space")]
        table = null_space_table(evaluation, "abdomen")
        assert table is not None
        assert [row[0] for row in table.rows] == ["bicubic", HOSTILE]

    @pytest.mark.parametrize(
        ("value", "unit", "expected"),
        [
            (1.234, "dB", "1.23"),
            (0.9876, "", "0.988"),
            (0.00123, "", "0.00123"),
            (12345.6, "", "12346"),
            (4.3e-6, "", "0.00000430"),
        ],
    )
    def test_numbers(self, value: float, unit: str, expected: str) -> None:
        assert number(value, unit) == expected

    def test_no_number(self) -> None:
        assert (number(None), number(float("nan")), p_value(float("nan"))) == ("–", "–", "–")
        assert (p_value(0.0001), p_value(0.02)) == ("< 0.001", "0.020")
        assert (interval(float("nan"), 1.0), interval(None, 1.0), p_value(None)) == ("", "", "–")

    def test_both_ends_of_an_interval_have_as_many_decimals(self) -> None:
        assert interval(-0.0341, 0.00884, signed=True) == "[-0.034, +0.009]"
        assert interval(9.5, 10.5, digits=1) == "[9.5, 10.5]"


def test_tables_beside_the_page_are_whole(folder: Path) -> None:
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    for name in run["tables"]:
        assert len(pd.read_parquet(folder / f"{name}.parquet")) == len(pd.read_csv(folder / f"{name}.csv"))
    # Noise keeps an image from its own LR: rightly doubted, and nothing else is.
    assert run["warnings"]
    assert all("'noisy'" in warning and "fit their LR far worse" in warning for warning in run["warnings"])
    assert {one["name"] for one in run["measures"]} >= {"psnr", "lr_psnr", "hallucinated", "roi_psnr", "latent_mse"}

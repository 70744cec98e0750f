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
from latentsr.report.evaluation_data import Evaluation, number, p_value, read_evaluation
from latentsr.report.evaluation_page import PAGE, evaluation_page, write_report
from latentsr.report.evaluation_tables import (
    difference_table,
    equivalence_table,
    headline_table,
    null_space_table,
    rate_table,
)
from latentsr.report.evaluation_verdict import verdict
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
        assert "not significant once adjusted" in told or "not told apart" in told

    @pytest.mark.parametrize(
        ("difference", "low", "high", "p", "expected"),
        [
            (1.5, 1.2, 1.8, 0.001, "is better than bicubic in PSNR by 1.50 dB [1.20, 1.80]"),
            (-1.5, -1.8, -1.2, 0.001, "is worse than bicubic in PSNR by 1.50 dB [1.20, 1.80]"),
            (0.1, -0.2, 0.4, 0.6, "is not told apart from bicubic in PSNR (+0.10 dB, 95 % interval -0.20 to"),
            (1.5, 1.2, 1.8, 0.2, "+1.20 to +1.80; not significant once adjusted for all tests, p 0.200)"),
            (
                1.5,
                -0.1,
                1.8,
                0.01,
                "is not told apart from bicubic in PSNR (+1.50 dB, 95 % interval -0.10 to +1.80; the",
            ),
            (1.5, np.nan, np.nan, np.nan, "differs from bicubic in PSNR by +1.50 dB, which one patient cannot test"),
        ],
    )
    def test_effects_in_words(
        self, evaluation: Evaluation, difference: float, low: float, high: float, p: float, expected: str
    ) -> None:
        changed = with_comparison(
            evaluation, "psnr", difference=difference, low=low, high=high, p_holm=p, d_z=difference,
            rank_biserial=np.sign(difference),
        )  # fmt: skip
        assert expected in " ".join(verdict(changed))

    @pytest.mark.parametrize("name", ["d_z", "rank_biserial"])
    def test_images_and_patients_that_point_to_different_sides_decide_nothing(
        self, evaluation: Evaluation, name: str
    ) -> None:
        sure = {"difference": 1.5, "low": 1.2, "high": 1.8, "p_holm": 0.001, "d_z": 1.0, "rank_biserial": 0.9}
        told = " ".join(verdict(with_comparison(evaluation, "psnr", **sure | {name: -0.5})))
        assert "is not told apart from bicubic in PSNR (+1.50 dB, 95 % interval +1.20 to +1.80; by image and by" in told
        assert "is better than bicubic in PSNR by 1.50" not in told

    @pytest.mark.parametrize("metric", ["lr_psnr", "null_space", "null_space_share", "vif"])
    def test_only_what_has_a_direction_can_be_worse(self, evaluation: Evaluation, metric: str) -> None:
        sure = {"difference": -1.5, "low": -1.8, "high": -1.2, "p_holm": 0.001, "d_z": -1.0, "rank_biserial": -0.9}
        changed = with_comparison(evaluation, metric, **sure)
        if metric.startswith("null"):
            assert metric not in set(changed.frames["comparisons"]["metric"])
        told = next(one for one in verdict(changed) if one.startswith("On abdomen, noisy is") and "bicubic" in one)
        title = str(evaluation.measures[metric]["title"])
        assert (title in told.partition("is worse than bicubic in ")[2]) == (metric == "vif")

    def test_methods_are_compared_with_each_other(self, evaluation: Evaluation) -> None:
        told = [one for one in verdict(evaluation) if one.startswith(f"On abdomen, {HOSTILE} ") and "noisy" in one]
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
        assert "noisy on abdomen" in told
        assert "not wholly true to its input (before clamping and rounding" in told
        assert "its worst image matches LR to 31.0 dB" in told

    def test_identical_images_are_counted_and_named(self, evaluation: Evaluation) -> None:
        assert "is identical to HR in 1 of 6 images, which are left out of PSNR" in " ".join(verdict(evaluation))

    def test_a_method_that_is_hr_comes_first(self, evaluation: Evaluation) -> None:
        summary, comparisons = evaluation.frames["summary"].copy(), evaluation.frames["comparisons"].copy()
        chosen = (summary["method"] == "noisy") & (summary["metric"] == "psnr") & (summary["dataset"] == "abdomen")
        summary.loc[chosen, ["n", "infinite", "mean", "sd"]] = 0, 6, np.nan, np.nan
        touched = (comparisons[["a", "b"]] == "noisy").any(axis=1) & (comparisons["metric"] == "psnr")
        comparisons.loc[touched, ["difference", "low", "high", "p_holm"]] = np.nan
        changed = replace(evaluation, frames={**evaluation.frames, "summary": summary, "comparisons": comparisons})
        first = next(one for one in verdict(changed) if one.startswith("On abdomen"))
        assert first.startswith("On abdomen, noisy is identical to HR in all of its 6 images")
        table = headline_table(changed, "abdomen")
        assert table is not None
        assert table.rows[2][1] == "identical"
        assert {cell for cell in table.strong if cell[1] == 1} == {(2, 1)}

    def test_it_names_the_reference_and_says_what_is_not_adjusted(self, evaluation: Evaluation) -> None:
        told = " ".join(verdict(evaluation))
        assert "own error of reference autoencoder vae" in told
        assert "tests by patient, not adjusted" in told

    def test_a_lower_measure_that_fell_is_better(self, evaluation: Evaluation) -> None:
        table = evaluation.frames["comparisons"].copy()
        chosen = table["metric"].isin(["mae", "ssim"]) & (table["a"] == "noisy")
        sure = ["difference", "low", "high", "p_holm", "d_z", "rank_biserial"]
        table.loc[chosen, sure] = -0.1, -0.2, -0.05, 0.001, -1.0, -0.9
        changed = replace(evaluation, frames={**evaluation.frames, "comparisons": table})
        told = next(sentence for sentence in verdict(changed) if sentence.startswith("On abdomen, noisy"))
        worse = told.partition("is worse than bicubic in ")[2]
        assert "SSIM" in told
        assert "MAE" not in worse


class TestTables:
    def test_the_best_is_bold_and_identical_images_are_counted_apart(self, evaluation: Evaluation) -> None:
        table = headline_table(evaluation, "abdomen")
        assert table is not None
        assert [row[0] for row in table.rows] == ["bicubic", HOSTILE, "noisy"]
        assert (1, 1) in table.strong
        assert "(+1 identical)" in table.rows[1][1]

    def test_differences_are_those_of_the_table(self, evaluation: Evaluation) -> None:
        table = difference_table(evaluation, "abdomen")
        assert table is not None
        row = evaluation.compared("abdomen", "ssim", "noisy", "bicubic")
        shown_row = next(cells for cells in table.rows if cells[:2] == ("SSIM ↑", "noisy"))
        assert row is not None
        assert shown_row[2] == f"{row['difference']:+.3f}"
        assert shown_row[-1] == "3"

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


def test_tables_beside_the_page_are_whole(folder: Path) -> None:
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    for name in run["tables"]:
        assert len(pd.read_parquet(folder / f"{name}.parquet")) == len(pd.read_csv(folder / f"{name}.csv"))
    # Noise keeps an image from its own LR: rightly doubted, and nothing else is.
    assert run["warnings"]
    assert all("'noisy'" in warning and "fit their LR far worse" in warning for warning in run["warnings"])
    assert {one["name"] for one in run["measures"]} >= {"psnr", "lr_psnr", "hallucinated", "roi_psnr", "latent_mse"}

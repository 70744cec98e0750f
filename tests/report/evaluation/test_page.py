import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from report_evaluations import HOSTILE, only, without

from latentsr.errors import InputError
from latentsr.metrics import find_metrics
from latentsr.metrics.table import FOLLOWING
from latentsr.names import EVALUATION_PAGE
from latentsr.report.blocks import Page
from latentsr.report.evaluation import _blocks, evaluation_facts, evaluation_page, write_report
from latentsr.report.evaluation.data import Evaluation, read_evaluation
from latentsr.report.evaluation.figures import case_blocks
from latentsr.report.evaluation.tables import headline_table
from latentsr.report.page import render_page


@pytest.fixture(scope="module")
def file(page: Page, folder: Path) -> Path:
    """The page's file; the Markdown stands beside it."""
    assert page.sections
    return folder / EVALUATION_PAGE


# An evaluation with one method more, and all options too, is to stay below 4,000 words and 14 figures.
MOST_WORDS, MOST_FIGURES = 3_000, 12
SCREENS = [(1280, 900), (390, 844)]
VERDICT = """[...document.querySelectorAll(".verdict p")].map((one) => one.getBoundingClientRect().bottom)"""


class Unfolded(HTMLParser):
    """The words and figures that a page shows before anything is opened."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.figures = 0
        self._open: list[tuple[str, bool]] = []  # each element with whether what it holds is seen
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        seen = self._seen and tag not in ("style", "script", "svg", "option", "title")
        seen = seen and not (self._open and self._open[-1] == ("details", False))
        if tag == "summary":
            seen = len(self._open) < 2 or self._open[-2][1]
        folded = tag == "details" and "open" not in dict(attrs)
        self.figures += tag == "figure" and seen
        if tag not in ("meta", "link", "img", "input", "br"):
            self._open.append((tag, seen and not folded))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_data(self, data: str) -> None:
        self.words += data.split() if self._seen else []

    @property
    def _seen(self) -> bool:
        return self._open[-1][1] if self._open else True


def shown(file: Path) -> str:
    """The page's words, without styles, scripts, drawings and pictures."""
    text = re.sub(r"(?s)<(style|script|svg)\b.*?</\1>|data:[^\"')]*", " ", file.read_text(encoding="utf-8"))
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


class TestPage:
    @pytest.mark.parametrize(("width", "height"), SCREENS)
    def test_the_answer_stands_on_the_first_screen(
        self, file: Path, open_page: Callable, width: int, height: int
    ) -> None:
        """The doubt and the primary comparison; and on a wide one no table has to be scrolled."""
        found = open_page(file, width, height=height, scripts=[VERDICT])
        assert found.clean, found
        assert found.values[0][1] < height
        assert width == 390 or not found.clipped

    def test_it_is_short_before_anything_is_opened(self, file: Path) -> None:
        seen = Unfolded(file.read_text(encoding="utf-8"))
        assert 500 < len(seen.words) < MOST_WORDS
        assert 0 < seen.figures < MOST_FIGURES
        text = " ".join(seen.words)
        assert "Primary comparison (the default" in text
        assert "All differences and all pairs" in text
        assert "Differences to bicubic in all measures" not in text

    def test_tables_of_the_same_columns_are_one(self, page: Page) -> None:
        tables = {block.title: block for one in page.sections for block in one.blocks if block.kind == "table"}
        for title in ("The methods", "Differences", "How even the differences are", "Equivalence within a margin"):
            assert not [one for one in tables if one.startswith(f"{title} on")]
            rows = [row[0] for row in tables[title].rows]
            assert (rows[0], rows[-1]) == ("abdomen", "small<u>")
            assert tables[title].columns[0] == "dataset"
        main, half = tables["Differences"], len(tables["Differences"].rows) // 2
        assert main.strong == {(0, 2), (half, 2)}
        assert main.rows[0][2] == main.rows[half][2] == f"{HOSTILE} – bicubic"

    def test_tables_of_other_columns_stay_apart(self, evaluation: Evaluation) -> None:
        """Of one dataset, and where a measure has values on one alone."""
        summary = evaluation.frames["summary"]
        lacking = summary[(summary["dataset"] == "abdomen") | (summary["metric"] != "gmsd")]
        for changed, titles in (
            (only(evaluation, "psnr"), ["The methods on abdomen"]),
            (
                replace(evaluation, frames={**evaluation.frames, "summary": lacking}),
                ["The methods on abdomen", "The methods on small<u>"],
            ),
        ):
            assert [block.title for block in _blocks(changed, headline_table)] == titles

    def test_it_prints(self, file: Path, open_page: Callable) -> None:
        found = open_page(file, 794, media="print")
        assert (found.errors, found.overflow) == ((), 0)

    def test_the_slider_moves(self, file: Path, open_page: Callable) -> None:
        found = open_page(file, scripts=("document.querySelectorAll('input[type=range]').length",))
        assert found.values == (2,)

    def test_it_is_self_contained(self, file: Path) -> None:
        text = file.read_text(encoding="utf-8")
        addresses = set(re.findall(r"(?:src|href)=\"([^\"#]+)", text))
        assert all(address.startswith("data:") for address in addresses)
        assert "http://" not in re.sub(r"http://www\.w3\.org/\S+", "", text)

    def test_it_says_everything(self, file: Path) -> None:
        text = shown(file)
        for words in (
            "Verdict", "Research use only", "Sliced Wasserstein", "95 % interval", "mean over images",
            "80 % power from",
            "Hallucinated and lost pixels", "Latent fidelity", "PSNR in the region", "Null-space part", "SHA-256",
            "identical to HR", "No value for some images", "Equivalence within a margin", "Primary comparison",
            "Agreement of mean intensity", "Subband PSNR", "Radial spectra", "highest, middle and lowest PSNR",
            "Kc et al. 2026", "What could not be measured", "FID, KID", "Families of tests", "one patient left out",
            "least gain over bicubic", "MS-SSIM",
        ):  # fmt: skip
            assert words in text, words

    def test_no_patient_id_or_path_is_told(self, file: Path, folder: Path) -> None:
        texts = [path.read_text(encoding="utf-8") for path in (file, folder / "run.json", folder / "report/report.md")]
        told = "\n".join([*texts, *(path.name for path in folder.rglob("*"))])
        assert "Doe" not in re.sub(r"data:[^\"')]*", "", told)
        assert str(folder.parent) not in told
        assert "/tmp" not in told  # noqa: S108

    def test_hostile_names_are_text(self, file: Path) -> None:
        assert "<u>" not in file.read_text(encoding="utf-8")

    def test_markdown_names_its_figures(self, file: Path, folder: Path) -> None:
        text = (folder / "report" / "report.md").read_text(encoding="utf-8")
        figures = re.findall(r"\]\((figures/[^)]+)\)", text)
        assert len(figures) > 20
        assert all((folder / "report" / figure).is_file() for figure in figures)

    def test_the_same_evaluation_gives_the_same_page(self, file: Path, folder: Path) -> None:
        assert render_page(evaluation_page(read_evaluation(folder))) == file.read_text(encoding="utf-8")

    def test_a_folder_without_an_evaluation_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "run.json").write_text(json.dumps({"key": "old"}))
        with pytest.raises(InputError, match="no evaluation"):
            write_report(tmp_path)

    def test_an_evaluation_of_little_makes_a_page(self, evaluation: Evaluation) -> None:
        """Without comparisons, sets and pictures: sections that would be empty are left out."""
        bare = without(
            evaluation, "comparisons", "sets", "agreement", "equivalence", pictures={"cases": [], "chief": "noisy"}
        )
        titles = [section.title for section in evaluation_page(bare).sections]
        assert "The methods" in titles
        assert not [title for title in titles if title.startswith("Pictures")]


class TestFewMeasures:
    """What `--metric` was asked for decides what there is to tell: any choice must make a page."""

    @pytest.mark.parametrize(
        "metrics",
        [
            *((one.name,) for one in find_metrics() if not {"reconstruction", "interval", FOLLOWING} & set(one.needs)),
            ("hallucinated", "lost"),
            ("hallucinated", "hallucinated_magnitude"),
            ("lost", "lost_magnitude"),
        ],
    )
    def test_any_choice_makes_a_page(self, evaluation: Evaluation, metrics: tuple[str, ...]) -> None:
        assert set(metrics) <= set(evaluation.measures)
        chosen = only(evaluation, *metrics)
        page = evaluation_page(chosen)
        definitions = next(
            one for one in page.sections[-1].blocks if one.kind == "table" and one.columns[0] == "measure"
        )
        assert {row[1] for row in definitions.rows} == {*metrics, "lr_psnr"}

    @pytest.mark.parametrize(("name", "other"), [("hallucinated", "lost"), ("lost", "hallucinated")])
    def test_one_kind_of_wrong_pixels_is_told_without_the_other(
        self, evaluation: Evaluation, name: str, other: str
    ) -> None:
        page = evaluation_page(only(evaluation, name, f"{name}_magnitude"))
        told = next(one for one in page.details if one.startswith("Pixels"))
        assert told.startswith(f"Pixels {name}: bicubic ")
        assert other not in told
        section = next(one for one in page.sections if one.title.startswith("What was invented"))
        assert section.blocks[0].title == f"{name.capitalize()} pixels on abdomen"  # type: ignore[union-attr]
        folded = next(one for one in page.sections if one.title.startswith("Frequency, thresholds"))
        table = next(one for one in folded.blocks if one.kind == "table" and "threshold" in one.columns[0])
        mean = {"hallucinated": "mean excess", "lost": "mean deficit"}[name]
        assert table.columns == ("method, threshold", name, f"h {name}", mean)  # type: ignore[union-attr]


class TestFacts:
    def test_weights_of_learned_measures_and_features_are_told_by_hash(self, evaluation: Evaluation) -> None:
        learned = {"name": "lpips", "title": "LPIPS"}
        changed = without(
            evaluation, weights={"lpips": "ab" * 32, "features": "cd" * 32}, features="net",
            measures=[*evaluation.run["measures"], learned],
        )  # fmt: skip
        facts = evaluation_facts(changed)
        assert facts["weights of LPIPS"] == f"SHA-256 {'ab' * 32}"
        assert facts["weights of feature extractor net"] == f"SHA-256 {'cd' * 32}"

    def test_everything_that_decides_the_result_has_its_hash(self, evaluation: Evaluation) -> None:
        facts, run = evaluation_facts(evaluation), evaluation.run
        assert facts["dataset abdomen"].endswith(run["data"]["abdomen"])
        assert run["reference_autoencoder"]["hash"] in facts["reference autoencoder"]
        assert run["files"]["abdomen"]["noisy"] in facts["method noisy"]
        assert facts["masks of abdomen"].endswith(f", SHA-256 {run['masks']['abdomen']['hash']}")


def test_the_worst_image_of_each_method_is_pictured(evaluation: Evaluation) -> None:
    reasons = [reason for case in evaluation.cases("abdomen") for reason in case["reasons"]]
    assert {one["method"] for one in reasons if one["case"] == "loss"} == {HOSTILE, "noisy"}
    *_, slider = case_blocks(evaluation, "abdomen")
    labels = " ".join(view.label for view in slider.views)  # type: ignore[union-attr]
    assert all(re.search(f"east gain of [^:]*{re.escape(name)}", labels) for name in (HOSTILE, "noisy"))


def test_tables_beside_the_page_are_whole(folder: Path) -> None:
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    for name in run["tables"]:
        assert len(pd.read_parquet(folder / f"{name}.parquet")) == len(pd.read_csv(folder / f"{name}.csv"))
    # Noise keeps an image from its own LR: rightly doubted, and nothing else is.
    assert run["warnings"]
    assert all("'noisy'" in warning and "fit their LR far worse" in warning for warning in run["warnings"])
    assert {one["name"] for one in run["measures"]} >= {"psnr", "lr_psnr", "hallucinated", "roi_psnr", "latent_mse"}

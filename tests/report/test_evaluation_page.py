import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from report_evaluations import only, without

from latentsr.errors import InputError
from latentsr.metrics import find_metrics
from latentsr.report.evaluation_data import Evaluation
from latentsr.report.evaluation_facts import evaluation_facts
from latentsr.report.evaluation_page import PAGE, evaluation_page, write_report


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    """Its page; the Markdown stands beside it."""
    write_report(folder)
    return folder / PAGE


def shown(page: Path) -> str:
    """The page's words, without styles, scripts, drawings and pictures."""
    text = re.sub(r"(?s)<(style|script|svg)\b.*?</\1>|data:[^\"')]*", " ", page.read_text(encoding="utf-8"))
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


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
            "Verdict", "Research use only", "Sliced Wasserstein", "difference [95 % interval]", "by image",
            "80 % power from", "one patient left out",
            "Hallucinated and lost pixels", "Latent fidelity", "PSNR in the region", "Null-space part", "SHA-256",
            "identical to HR", "No value for some images", "Equivalence within a margin",
            "Agreement of mean intensity", "Subband PSNR", "Radial spectra", "Pictured images",
            "Primary comparison, fixed in advance",
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


class TestFewMeasures:
    """What `--metric` was asked for decides what there is to tell: any choice must make a page."""

    @pytest.mark.parametrize(
        "metrics",
        [
            *((one.name,) for one in find_metrics() if one.name != "ceiling_psnr"),
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
        table = next(one for one in section.blocks if one.kind == "table")
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


def test_tables_beside_the_page_are_whole(folder: Path) -> None:
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    for name in run["tables"]:
        assert len(pd.read_parquet(folder / f"{name}.parquet")) == len(pd.read_csv(folder / f"{name}.csv"))
    # Noise keeps an image from its own LR: rightly doubted, and nothing else is.
    assert run["warnings"]
    assert all("'noisy'" in warning and "fit their LR far worse" in warning for warning in run["warnings"])
    assert {one["name"] for one in run["measures"]} >= {"psnr", "lr_psnr", "hallucinated", "roi_psnr", "latent_mse"}

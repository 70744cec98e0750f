from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from latentsr.bench.sets import SET_COLUMNS
from latentsr.report.study import write_study_report
from latentsr.stats.table import write_table
from latentsr.study.claims import ceiling_lines, ceiling_points, judge_claims
from latentsr.study.published import Measured, Roles, compare_outputs, compare_values, publication

VALUES = {
    "good": {"psnr": 31.0, "self_psnr": 32.0, "ceiling_psnr": 40.0, "lpips": 0.1, "hallucinated/2sigma": 0.02,
             "lost/2sigma": 0.03, "subband_psnr/HH1": 21.0, "subband_psnr/LL3": 30.0, "latent_cosine/64": 0.5,
             "latent_cosine/1": 0.9},
    "plain": {"psnr": 30.0, "self_psnr": 31.0, "ceiling_psnr": 38.0, "lpips": 0.2, "hallucinated/2sigma": 0.02,
              "lost/2sigma": 0.03, "subband_psnr/HH1": 20.0, "subband_psnr/LL3": 29.9},
    "third": {"psnr": 29.5, "ceiling_psnr": 36.0, "lpips": 0.3},
}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables of a study of three arms on seven patients, with a name that LaTeX must not take as it is."""
    arms = {
        arm: pd.DataFrame(
            [
                ("s", f"i{n}", f"p{n}", "a_50%", metric, mean * (1 + 0.001 * n))
                for metric, mean in own.items()
                for n in range(7)
            ],
            columns=["dataset", "id", "patient", "method", "metric", "value"],
        )
        for arm, own in VALUES.items()
    }  # fmt: skip
    shown = {"MedVAE 4_3": "good:a_50%", "SD-VAE": "plain:a_50%", "kl-f4": "third:a_50%"}
    roles = Roles(datasets={"brats": "s"}, published=shown, corrected=shown)
    measured = Measured(roles, arms, pd.DataFrame(columns=["arm", *SET_COLUMNS]), {"brats": "s"})
    root, points, values = tmp_path_factory.mktemp("study"), ceiling_points(measured), compare_values(measured)
    tables = {
        "published": values, "outputs": compare_outputs(values), "ceilings": points, "lines": ceiling_lines(points),
        "claims": judge_claims(measured, points), "evaluations": pd.DataFrame(columns=["method", "folder"]),
    }  # fmt: skip
    for name, table in tables.items():
        write_table(table, root, name)
    write_study_report(root, "made")
    return root


def test_the_page_opens_and_fits(study: Path, open_page: Callable) -> None:
    assert open_page(study / "study.html", width=1200).clean


def test_each_output_that_is_made_is_drawn_and_all_others_are_named_with_a_reason(study: Path) -> None:
    text = (study / "report" / "report.md").read_text(encoding="utf-8")
    for output in publication().outputs.values():
        assert output.title in text.replace("\\", "")
    assert text.index("The claims") < text.index("Table 1: Super-resolution quality")
    assert "no dataset stands for MRNet" in text
    figures = {path.stem.split("-", 2)[2] for path in (study / "report" / "figures").glob("*.svg")}
    assert {
        "psnr-of-the-methods",
        "lpips-of-the-methods",
        "the-ceiling-against-super-resolution-pub",
        "hallucination-on-brats",
    } <= figures
    assert {"latent-fidelity-by-scale", "perception-and-distortion", "wavelet-bands-and-spectrum"} <= figures
    assert len(list((study / "report" / "figures").glob("*.pdf"))) == len(figures)


def test_latex_takes_names_as_they_are(study: Path) -> None:
    table = next((study / "report" / "tables").glob("*super-resolution-quality.tex")).read_text(encoding="utf-8")
    assert r"good:a\_50\%" in table
    assert "26.42" in table
    plain = pd.read_csv(next((study / "report" / "tables").glob("*super-resolution-quality.csv")), dtype=str)
    assert plain["published"].str.contains("26.42").any()
    assert plain["of"].str.contains("good:a_50%").any()

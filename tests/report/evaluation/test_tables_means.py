import numpy as np
import pytest
from report_evaluations import HOSTILE, only

from latentsr.report.evaluation import evaluation_page
from latentsr.report.evaluation.data import Evaluation
from latentsr.report.evaluation.tables import ELSEWHERE, mean_cell, mean_table, metric_title
from latentsr.report.page import Table


class TestMeans:
    @pytest.fixture
    def table(self, evaluation: Evaluation) -> Table:
        found = mean_table(evaluation, "abdomen")
        assert found is not None
        return found

    def test_every_measure_of_the_summary_has_its_row(self, evaluation: Evaluation, table: Table) -> None:
        summary = evaluation.frame("summary", "abdomen")
        known = summary[(summary["n"] > 0) | (summary["infinite"] > 0)]  # MS-SSIM and large scales: images too small
        whole = [name for name in known["metric"].unique() if name.partition("/")[0] not in ELSEWHERE]
        assert not [row for row in table.rows if set(row[1:]) == {"–"}]
        assert sorted(row[0] for row in table.rows) == sorted(metric_title(evaluation, name) for name in whole)
        titles = {row[0] for row in table.rows}
        assert {
            "High-pass spectrum (20 ln grey levels) → HR", "Latent MSE 1 (latent units^2) ↓", "Latent PSNR 1 (dB) ↑",
            "Intensity bias (intensity) → HR", "SSIM ↑", "sFRC rate 0.75 ↓", "PSNR in the region (dB) ↑",
        } <= titles  # fmt: skip

    def test_values_are_those_of_the_summary(self, evaluation: Evaluation, table: Table) -> None:
        rows = evaluation.summary("abdomen", "ssim")
        shown = next(row for row in table.rows if row[0] == "SSIM ↑")
        assert table.columns == ("measure", "bicubic", HOSTILE, "noisy", "HR")
        assert shown[3] == f"{rows.loc['noisy', 'mean']:.3f} ± {rows.loc['noisy', 'sd']:.3f}"
        assert shown[4] == "–"

    def test_hr_has_its_own_value_where_no_reference_is_needed(self, evaluation: Evaluation, table: Table) -> None:
        own = evaluation.summary("abdomen", "highpass_spectrum").loc["hr"]
        shown = next(row for row in table.rows if row[0].startswith("High-pass"))
        assert shown[4] == f"{own['mean']:.2f} ± {own['sd']:.2f}"

    def test_identical_images_are_counted_apart(self, evaluation: Evaluation, table: Table) -> None:
        assert next(row for row in table.rows if row[0] == "PSNR (dB) ↑")[2].endswith(" (+1 identical)")
        table_ = evaluation.frames["summary"].copy()
        table_.loc[table_["method"] == "noisy", ["mean", "sd", "infinite"]] = np.nan, np.nan, 6
        changed = Evaluation(evaluation.folder, evaluation.run, {"summary": table_})
        assert mean_cell(changed, "abdomen", "psnr", "noisy") == "identical"
        table_.loc[table_["method"] == "noisy", "infinite"] = 0
        changed = Evaluation(evaluation.folder, evaluation.run, {"summary": table_})
        assert mean_cell(changed, "abdomen", "psnr", "noisy") == "–"

    def test_they_are_folded_and_of_what_was_asked_for(self, evaluation: Evaluation) -> None:
        page = evaluation_page(only(evaluation, "mae"))
        section = next(one for one in page.sections if one.title == "All means")
        assert section.folded
        assert [row[0] for row in section.blocks[-1].rows] == ["MAE ↓", "LR PSNR (dB) ↑"]  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        ("mean", "sd", "shown"),
        [
            (-2.4e-6, 1.3e-5, "(-0.00240 ± 0.013) / 1000"),
            (-2.4e-6, 8.12e-4, "(-0.00240 ± 0.812) / 1000"),
            (2e-4, 1e-5, "(0.200 ± 0.010) / 1000"),
            (0.02, 1e-4, "0.020 ± 0.000"),
            (0.0, 0.0, "0.000 ± 0.000"),
            (-2.4e-4, 1.3e-3, "-0.00024 ± 0.00130"),
            (-4e-4, 0.013, "0.000 ± 0.013"),
        ],
    )
    def test_small_means_have_sensible_units_and_zeros_no_sign(
        self, evaluation: Evaluation, mean: float, sd: float, shown: str
    ) -> None:
        summary = evaluation.frames["summary"].copy()
        chosen = (summary["method"] == "noisy") & (summary["metric"] == "mae")
        summary.loc[chosen, ["mean", "sd"]] = mean, sd
        changed = Evaluation(evaluation.folder, evaluation.run, {"summary": summary})
        assert mean_cell(changed, "abdomen", "mae", "noisy") == shown

    def test_of_bands_alone_there_is_none_but_lr_psnr(self, evaluation: Evaluation) -> None:
        chosen = only(evaluation, "radial_spectrum")
        summary = chosen.frames["summary"]
        bare = Evaluation(
            chosen.folder, chosen.run, {**chosen.frames, "summary": summary[summary["metric"] != "lr_psnr"]}
        )
        assert mean_table(bare, "abdomen") is None

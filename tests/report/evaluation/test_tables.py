"""The tables of an evaluation's page: their cells are the numbers of its files."""

from dataclasses import replace

import numpy as np
import pytest
from report_evaluations import HOSTILE, OPEN, few, only, with_all, with_comparison, with_means, without

from latentsr.report.blocks import Table
from latentsr.report.evaluation import evaluation_page
from latentsr.report.evaluation.data import Evaluation
from latentsr.report.evaluation.tables import (
    ELSEWHERE,
    character_table,
    difference_table,
    equivalence_table,
    evenness_table,
    families_text,
    headline_table,
    main_table,
    mean_cell,
    mean_table,
    metric_title,
    null_space_table,
    pair_table,
    rate_table,
)
from latentsr.report.evaluation.verdict import details
from latentsr.report.text import number
from latentsr.stats.paired import cohen_h


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
        [((0.03, 0.45, 0.12), {1}), ((0.9, 1.1, 3.0), set()), ((1.002, 0.9, 1.3), {0}), ((0.981, 0.98, 1.02), set())],
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
        assert shown_row[-1] == "6"
        assert [cells[1] for cells in table.rows[:2]] == [HOSTILE, "noisy"]

    def test_families_are_counted(self, evaluation: Evaluation) -> None:
        text = families_text(evaluation)
        assert text.startswith(
            "Families of tests, adjusted by Holm each, on abdomen: main measures, 5 tests; other measures of the whole "
        )
        assert "on small<u>: main measures, 5 tests; other" in text
        assert families_text(without(evaluation, "comparisons")) == ""

    def test_all_pairs_are_told_in_the_main_measures(self, evaluation: Evaluation) -> None:
        table = pair_table(evaluation, "abdomen")
        assert table is not None
        pairs = [f"{HOSTILE} – bicubic", "noisy – bicubic", f"noisy – {HOSTILE}"]
        expected = [(measure, pair) for measure in ("PSNR (dB) ↑", "HaarPSI ↑") for pair in pairs]
        assert [cells[:2] for cells in table.rows] == expected

    def test_the_main_table_has_every_method_and_the_primary_comparison(self, evaluation: Evaluation) -> None:
        table = main_table(evaluation, "abdomen")
        assert table is not None
        pairs = [f"{HOSTILE} – bicubic", "noisy – bicubic"]
        expected = [(measure, pair) for measure in ("PSNR (dB) ↑", "HaarPSI ↑") for pair in pairs]
        assert [cells[:2] for cells in table.rows] == expected
        assert table.strong == {(0, 1)}
        row = evaluation.compared("abdomen", "psnr", "noisy", "bicubic")
        assert row is not None
        assert table.rows[1][2:] == (
            f"{row['difference']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]", "< 0.001", "worse",
            f"{row['detectable']:.2f}", f"{row['d_z']:.2f}", "6",
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("primary", "pairs", "strong"),
        [
            (("noisy", HOSTILE, "psnr"), [f"noisy – {HOSTILE}", f"{HOSTILE} – bicubic", "noisy – bicubic"], {(0, 1)}),
            ((HOSTILE, "noisy", "psnr"), [f"{HOSTILE} – noisy", f"{HOSTILE} – bicubic", "noisy – bicubic"], {(0, 1)}),
            (("bicubic", "noisy", "psnr"), ["bicubic – noisy", f"{HOSTILE} – bicubic"], {(0, 1)}),
            (None, [f"{HOSTILE} – bicubic", "noisy – bicubic"], set()),
        ],
    )
    def test_a_pair_is_one_way_round_in_all_tables(
        self, evaluation: Evaluation, primary: tuple[str, str, str] | None, pairs: list[str], strong: set
    ) -> None:
        table = evaluation.frames["comparisons"].copy()
        table["family"] = table["family"].replace("primary", "main measures")
        if primary:
            chosen = table["metric"].eq(primary[2]) & table["a"].isin(primary[:2]) & table["b"].isin(primary[:2])
            table.loc[chosen, "family"] = "primary"
        asked = None if primary is None else dict(zip(("a", "b", "metric"), primary, strict=True))
        changed = replace(without(evaluation, primary=asked), frames={**evaluation.frames, "comparisons": table})
        main, even, every = (make(changed, "abdomen") for make in (main_table, evenness_table, pair_table))
        assert [cells[1] for cells in main.rows[: len(pairs)]] == pairs
        assert [cells[1] for cells in even.rows] == [cells[1] for cells in main.rows]
        assert main.strong == strong
        differences = {cells[:2]: cells[2] for cells in every.rows}
        assert all(cells[2].startswith(f"{differences[cells[:2]]} [") for cells in main.rows)
        within = {cells[1]: cells[3] for cells in equivalence_table(changed, "abdomen").rows}
        assert within == {pair: shown for (measure, pair), shown in differences.items() if measure == "PSNR (dB) ↑"}

    def test_few_patients_are_called_few_in_the_table(self, evaluation: Evaluation) -> None:
        table = main_table(few(evaluation, 5), "abdomen")
        assert {cells[4] for cells in table.rows} == {"too few patients"}

    def test_the_least_difference_that_could_be_found_has_the_decimals_of_the_difference(
        self, evaluation: Evaluation
    ) -> None:
        change = OPEN | {"difference": 0.041, "low": -0.02, "high": 0.1, "detectable": 0.00817}
        table = main_table(with_comparison(evaluation, "haarpsi", **change), "abdomen")
        assert table.rows[3][2:6] == ("+0.041 [-0.020, +0.100]", "0.600", "not told apart", "0.008")

    def test_evenness_is_that_of_the_values(self, evaluation: Evaluation) -> None:
        rows = evaluation.frame("table", "abdomen")
        wide = rows[rows["metric"] == "psnr"].pivot(index=["patient", "id"], columns="method", values="value")
        images = (wide["noisy"] - wide["bicubic"]).where(np.isfinite(wide["noisy"])).dropna()
        units = images.groupby(level="patient").mean()
        left = [units.drop(one).mean() for one in units.index]
        table = evenness_table(evaluation, "abdomen")
        assert table is not None
        assert table.rows[1][2:6] == (
            f"{(units < 0).sum()}/6", f"{(images < 0).sum()}/11", f"{units.min():+.2f}",
            f"{min(left):+.2f} to {max(left):+.2f}",
        )  # fmt: skip
        assert table.rows[1][6].startswith(f"{images.mean():+.2f} [")

    def test_of_a_measure_of_which_less_is_better_the_greatest_difference_is_the_worst(
        self, evaluation: Evaluation
    ) -> None:
        asked = {"a": "noisy", "b": "bicubic", "metric": "gmsd"}
        table = evaluation.frames["comparisons"].assign(units_above=5, units_below=1, greatest=0.2, least=-0.1)
        table.loc[table["metric"] == "gmsd", "family"] = "main measures"
        changed = replace(without(evaluation, primary=asked), frames={**evaluation.frames, "comparisons": table})
        row = next(cells for cells in evenness_table(changed, "abdomen").rows if cells[0] == "GMSD ↓")
        assert row[:3] == ("GMSD ↓", "noisy – bicubic", "5/6")
        assert row[4].startswith("+0.20")

    def test_what_was_not_compared_has_no_row(self, evaluation: Evaluation) -> None:
        changed = with_all(evaluation, "haarpsi", "noisy", "bicubic", n=0)
        assert len(main_table(changed, "abdomen").rows) == len(evenness_table(changed, "abdomen").rows) == 3
        bare = without(evaluation, "comparisons")
        assert [make(bare, "abdomen") for make in (main_table, evenness_table, pair_table, difference_table)] == [
            None
        ] * 4

    def test_small_equivalence_rows_keep_their_digits(self, evaluation: Evaluation) -> None:
        frame = evaluation.frames["equivalence"].assign(metric="ssim", difference=0.00042, low=-0.001, high=0.002)
        table = equivalence_table(replace(evaluation, frames={**evaluation.frames, "equivalence": frame}), "abdomen")
        assert table is not None
        assert table.rows[0][3:5] == ("+0.00042", "[-0.00100, +0.00200]")

    def test_it_is_said_how_large_an_error_must_be_to_be_counted(self, evaluation: Evaluation) -> None:
        floor = evaluation.summary("abdomen", "noise_floor/2sigma")["mean"]
        assert floor.nunique() == 1  # one reference for all methods
        told = next(one for one in details(evaluation) if "hallucinated" in one)
        assert told.endswith(f"of reference autoencoder vae ({number(floor.iloc[0])} of the range on average).")

    def test_shares_have_cohens_h(self, evaluation: Evaluation) -> None:
        table = rate_table(evaluation, "abdomen")
        row = evaluation.compared("abdomen", "lost/2sigma", "noisy", "bicubic")
        assert table is not None
        assert row is not None
        cells = dict(zip(table.columns, table.rows[7], strict=True))
        assert cells["method, threshold"] == "noisy, 2 sigma"
        assert cells["h lost"] == f"{float(cohen_h(row['mean_a'], row['mean_b'])):+.2f}"
        assert table.rows[0][3:5] == ("–", "–")

    def test_it_is_told_what_kind_of_images_a_method_gives(self, evaluation: Evaluation) -> None:
        table = character_table(evaluation, "abdomen")
        assert table is not None
        assert [row[0] for row in table.rows] == evaluation.methods
        blur = evaluation.summary("abdomen", "blur")["mean"]
        assert [row[table.columns.index("blur (px)")] for row in table.rows] == [
            number(blur[name], digits=2) for name in evaluation.methods
        ]
        sharpness = evaluation.summary("abdomen", "laplacian_variance")["ratio_to_hr"]
        assert table.rows[1][table.columns.index("sharpness / HR's")] == number(sharpness[HOSTILE], digits=2)
        assert character_table(without(evaluation, character=[]), "abdomen") is None

    def test_what_is_added_beyond_the_mean_is_described_not_judged(self, evaluation: Evaluation) -> None:
        tested = {cells[0] for cells in difference_table(evaluation, "abdomen").rows}  # type: ignore[union-attr]
        assert not [title for title in tested if title.startswith("Null-space")]
        table = null_space_table(evaluation, "abdomen")
        assert table is not None
        assert [row[0] for row in table.rows] == ["bicubic", HOSTILE]


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

from dataclasses import replace

import numpy as np
import pytest
from report_evaluations import HOSTILE, TURNED, with_all, with_means, without

from latentsr.report.evaluation_data import Evaluation
from latentsr.report.evaluation_headline import headline_table
from latentsr.report.evaluation_tables import (
    difference_table,
    equivalence_table,
    evenness_table,
    main_table,
    null_space_table,
    pair_table,
    rate_table,
)
from latentsr.report.numbers import interval, number, p_value
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
        assert shown_row[-1] == "3"

    def test_the_main_table_has_the_primary_comparison_and_the_rule(self, evaluation: Evaluation) -> None:
        changed = with_all(evaluation, "haarpsi", "noisy", "bicubic", **TURNED)
        table = main_table(changed, "abdomen")
        assert table is not None
        assert [row[1] for row in table.rows] == [
            f"{HOSTILE} – bicubic (primary)", "noisy – bicubic", f"{HOSTILE} – bicubic", "noisy – bicubic",
        ]  # fmt: skip
        assert [row[4] for row in table.rows] == ["too few patients"] * 3 + ["worse"]
        assert table.rows[3][2:6] == ("-1.500 [-1.800, -1.200]", "< 0.001", "worse", "0.500")
        tests = evaluation.frame("comparisons", "abdomen").query("unit == 'patient'")["family"].value_counts()
        assert f"the main measures, {tests['main measures']} tests; other measures of the whole image, " in table.note
        assert tests["primary"] == 1

    def test_another_primary_comparison_stands_first(self, evaluation: Evaluation) -> None:
        asked = {"a": "noisy", "b": HOSTILE, "metric": "ssim"}
        comparisons = evaluation.frames["comparisons"].copy()
        chosen = comparisons["metric"].eq("ssim") & comparisons["a"].eq("noisy") & comparisons["b"].eq(HOSTILE)
        comparisons.loc[chosen, "family"] = "primary"
        changed = without(evaluation, primary=asked)
        table = main_table(replace(changed, frames={**changed.frames, "comparisons": comparisons}), "abdomen")
        assert table is not None
        ssim = [row[1] for row in table.rows if row[0].startswith("SSIM")]
        assert ssim == [f"noisy – {HOSTILE} (primary)", f"{HOSTILE} – bicubic", "noisy – bicubic"]

    def test_how_even_a_difference_is(self, evaluation: Evaluation) -> None:
        """Of a measure of which less is better, the worst patient is the greatest difference."""
        row = evaluation.compared("abdomen", "psnr", "noisy", "bicubic")
        assert row is not None
        table = evenness_table(evaluation, "abdomen")
        assert table is not None
        shown = next(cells for cells in table.rows if cells[:2] == ("PSNR (dB) ↑", "noisy – bicubic"))
        assert shown[2:4] == (f"{row['units_below']} of 3", f"{row['images_below']} of 5")  # one is identical to HR
        assert shown[4] == f"{row['least']:+.2f}"
        assert shown[5] == f"{row['loo_low']:+.2f} to {row['loo_high']:+.2f}"
        assert shown[6].startswith(f"{row['image_weighted']:+.2f}")
        frame = evaluation.frames["comparisons"]
        lower = frame.assign(metric=frame["metric"].replace({"psnr": "gmsd", "gmsd": "psnr"}))
        turned = evenness_table(replace(evaluation, frames={**evaluation.frames, "comparisons": lower}), "abdomen")
        assert turned is not None
        shown = next(cells for cells in turned.rows if cells[:2] == ("GMSD ↓", "noisy – bicubic"))
        assert shown[2] == f"{row['units_above']} of 3"
        assert shown[4].startswith(f"{row['greatest']:+.1f}")

    def test_all_pairs_are_shown_in_the_main_measures(self, evaluation: Evaluation) -> None:
        table = pair_table(evaluation, "abdomen")
        assert table is not None
        assert sorted({cells[1] for cells in table.rows}) == ["HaarPSI ↑", "PSNR (dB) ↑"]
        assert len(table.rows) == 6

    def test_small_equivalence_rows_keep_their_digits(self, evaluation: Evaluation) -> None:
        frame = evaluation.frames["equivalence"].assign(metric="ssim", difference=0.00042, low=-0.001, high=0.002)
        table = equivalence_table(replace(evaluation, frames={**evaluation.frames, "equivalence": frame}), "abdomen")
        assert table is not None
        assert table.rows[0][3:5] == ("+0.00042", "[-0.00100, +0.00200]")

    def test_the_note_of_wrong_pixels_says_how_large_an_error_must_be(self, evaluation: Evaluation) -> None:
        table = rate_table(evaluation, "abdomen")
        assert table is not None
        floor = evaluation.summary("abdomen", "noise_floor/2sigma")["mean"]
        assert floor.nunique() == 1  # one reference for all methods
        assert f"noise floor at 2 sigma: {number(floor.iloc[0])} on average" in table.note

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

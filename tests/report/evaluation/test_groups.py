"""Whole sets, subgroups and seeds on the page: the numbers of the tables, and what their notes say."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from latentsr.bench.sets import SET_COLUMNS, SET_COMPARISON_COLUMNS
from latentsr.report.blocks import Page
from latentsr.report.evaluation import evaluation_facts
from latentsr.report.evaluation.data import Evaluation
from latentsr.report.evaluation.groups import (
    seed_table,
    set_definitions,
    set_difference_table,
    set_table,
    subgroup_picture,
    subgroup_table,
)
from latentsr.report.evaluation.tables import SEEDS, headline_table, mean_cell, mean_table
from latentsr.report.page import write_page
from latentsr.report.text import number, p_value

VALUES = {"kid": (0.0043, 0.0021), "fid": (31.0, 12.0), "swd/x2": (4.0, 2.0), "swd/x1": (8.0, 6.0), "swd": (6.0, 4.0)}


def of_sets(reach: float = 0.001, images: int = 60) -> Evaluation:
    """Two methods on 60 images of 20 patients; `reach`: half the width of intervals, NaN for none; FID has none."""
    rows, differences = [], []
    for metric, (first, second) in VALUES.items():
        half = np.nan if metric == "fid" else reach
        rows += [
            ("abdomen", method, metric, images, 20, value, value - half, value + half)
            for method, value in (("bicubic", first), ("mine", second))
        ]
        change = second - first
        differences.append(("abdomen", "mine", "bicubic", metric, images, 20, change, change - half, change + half))
    frames = {
        "sets": pd.DataFrame(rows, columns=list(SET_COLUMNS)),
        "set_comparisons": pd.DataFrame(differences, columns=list(SET_COMPARISON_COLUMNS)),
    }
    methods = [{"name": "bicubic"}, {"name": "mine"}]
    run = {"datasets": {"abdomen": {}}, "methods": methods, "features": "encoder", "primary": None}
    return Evaluation(Path(), run, frames)


def test_measures_name_their_extractor_keep_their_digits_and_have_intervals() -> None:
    table = set_table(of_sets(), "abdomen")
    assert table is not None
    heads = ("method", "Sliced Wasserstein (x 1000)", "FID (encoder)", "KID (encoder)", "level x1")
    assert table.columns == (*heads, "level x2")
    assert table.rows[0][:4] == ("bicubic", "6.00 [6.00, 6.00]", "31.00", "0.00430 [0.00330, 0.00530]")
    assert table.rows[1][0] == "mine"


@pytest.mark.parametrize(
    ("images", "told"),
    [(60, "below 2048"), (2048, "FID of 2048 images; it has no"), (3000, "FID of 3000 images; it has no interval")],
)
def test_the_note_says_how_sure_the_measures_are(images: int, told: str) -> None:
    table = set_table(of_sets(images=images), "abdomen")
    assert table is not None
    assert told in table.note
    assert ("read KID instead" in table.note) == (images < 2048)
    assert "95 % intervals with the patient as the unit" in table.note


def test_few_patients_have_no_intervals_and_no_differences() -> None:
    few = of_sets(reach=np.nan)
    table = set_table(few, "abdomen")
    assert table is not None
    assert "No intervals: they need five patients or more." in table.note
    assert table.rows[0][1] == "6.00"
    assert set_difference_table(few, "abdomen") is None


def test_differences_to_bicubic_leave_out_what_has_no_interval() -> None:
    table = set_difference_table(of_sets(), "abdomen")
    assert table is not None
    assert [row[0] for row in table.rows] == ["Sliced Wasserstein (x 1000)", "KID (encoder)"]  # levels: in the file
    assert table.rows[1][1:] == ("mine – bicubic", "-0.00220", "[-0.00320, -0.00120]", "20")


def test_a_pair_is_the_way_round_that_was_asked_for_first() -> None:
    asked = {"a": "bicubic", "b": "mine", "metric": "psnr"}
    table = set_difference_table(replace(of_sets(), run={**of_sets().run, "primary": asked}), "abdomen")
    assert table is not None
    assert table.rows[1][1:] == ("bicubic – mine", "+0.00220", "[+0.00120, +0.00320]", "20")


def test_without_rows_there_is_no_table() -> None:
    nothing = Evaluation(Path(), of_sets().run, {})
    assert set_table(nothing, "abdomen") is None
    assert set_difference_table(nothing, "abdomen") is None


def test_definitions_name_what_was_measured_and_how_it_got_intervals() -> None:
    (told,) = set_definitions(of_sets())
    assert "FID, the Frechet distance of normal distributions of the features of encoder" in told
    assert "pairs of images of different patients: SR and HR" in told
    assert "delete-a-group jackknife over patients" in told
    assert list(set_definitions(Evaluation(Path(), of_sets().run, {}))) == []


def test_kid_of_one_patient_is_called_what_it_is() -> None:
    many = of_sets()
    one = replace(many, frames={**many.frames, "sets": many.frames["sets"].assign(patients=1)})
    (told,) = set_definitions(one)
    assert "different patients (of different images where there is but one patient): SR and HR" in told


GROUPS = ["F|<b>", "M", "X"]


def test_the_table_holds_each_group_with_its_interval_and_the_interaction(grouped: Evaluation) -> None:
    table, rows = subgroup_table(grouped, "abdomen"), grouped.frame("subgroups", "abdomen")
    assert table.columns[2] == "sex"
    assert [row[0] for row in table.rows] == ["PSNR (dB) ↑"] * 3 + ["HaarPSI ↑"] * 3
    assert [row[2] for row in table.rows] == GROUPS * 2
    assert [row[3:5] for row in table.rows] == [("14", "7"), ("14", "7"), ("4", "2")] * 2
    for cells, metric, group in zip(table.rows, ["psnr"] * 3 + ["haarpsi"] * 3, GROUPS * 2, strict=True):
        (row,) = rows[(rows["metric"] == metric) & (rows["group"] == group)].to_dict("records")
        ends = [number(row[name], "dB", signed=True) for name in ("difference", "low", "high")]
        if metric == "psnr":
            assert cells[5] == f"{ends[0]} [{ends[1]}, {ends[2]}]"
        assert cells[6] == p_value(row["p_interaction"])
    assert "1 image without a value of sex stand in no group" in table.note
    assert "Welch's analysis of variance" in table.note


def test_patients_of_several_groups_are_told_with_their_test(grouped: Evaluation) -> None:
    frame = grouped.frames["subgroups"].assign(shared=3)
    table = subgroup_table(replace(grouped, frames={**grouped.frames, "subgroups": frame}), "abdomen")
    assert "t tests of each two groups for partially overlapping samples" in table.note
    assert "3 patients with images of several groups count in each" in table.note
    assert "Welch" not in table.note


def test_the_forest_is_of_the_primary_measure(grouped: Evaluation) -> None:
    picture = subgroup_picture(grouped, "abdomen")
    assert picture.title == "PSNR by subgroup on abdomen"
    values = grouped.frame("subgroups", "abdomen").query("metric == 'psnr'")["difference"]
    for group, value in zip(GROUPS, values, strict=True):
        assert f"mine – bicubic, {group}: {value:.1f} [".replace("-", "−") in picture.drawing.alt
    other = replace(grouped, run={**grouped.run, "primary": {"a": "mine", "b": "bicubic", "metric": "haarpsi"}})
    assert subgroup_picture(other, "abdomen").title == "HaarPSI by subgroup on abdomen"


def test_the_section_is_folded_and_judges_nothing(grouped_page: Page, evaluation: Evaluation) -> None:
    (section,) = (one for one in grouped_page.sections if one.title == "Subgroups")
    assert section.folded
    assert section.note.startswith("Exploratory: no p is adjusted")
    words = " ".join(cell for block in section.blocks if block.kind == "table" for row in block.rows for cell in row)
    assert not {"better", "worse", "not told apart"} & set(words.split())
    told = " ".join((*grouped_page.verdict, *grouped_page.details, *grouped_page.warnings))
    assert GROUPS[0] not in told
    assert subgroup_table(evaluation, "abdomen") is subgroup_picture(evaluation, "abdomen") is None


def test_the_page_with_groups_seeds_and_checklist_has_no_fault_on_a_phone(
    grouped_page: Page, tmp_path: Path, open_page: Callable
) -> None:
    sections = tuple(replace(section, folded=False) for section in grouped_page.sections)
    opened = replace(grouped_page, sections=sections)
    found = open_page(write_page(opened, tmp_path / "page.html"), 390)
    assert found.clean, found


def test_the_sd_over_seeds_follows_that_over_patients(grouped: Evaluation, evaluation: Evaluation) -> None:
    rows = grouped.frame("seeds", "abdomen").set_index("metric")
    summary = grouped.summary("abdomen", "psnr").loc["mine"]
    apart = f" (+{summary['infinite']:.0f} identical)" if summary["infinite"] else ""
    expected = f"{summary['mean']:.2f} ± {summary['sd']:.2f} (± {rows.loc['psnr', 'sd']:.3f}){apart}"
    assert mean_cell(grouped, "abdomen", "psnr", "mine") == expected
    assert mean_cell(grouped, "abdomen", "psnr", "bicubic").count("±") == 1
    assert expected in headline_table(grouped, "abdomen").rows[1]
    for table in (headline_table, mean_table):
        assert table(grouped, "abdomen").note.endswith(SEEDS)
        assert SEEDS not in table(evaluation, "abdomen").note


def test_the_table_of_seeds_holds_those_of_the_first_table_and_of_sets(grouped: Evaluation) -> None:
    table = seed_table(grouped, "abdomen")
    assert [row[:3] for row in table.rows] == [
        (title, "mine", "2")
        for title in (
            "PSNR (dB) ↑", "HaarPSI ↑", "Laplacian variance (grey levels^2) → HR", "LR PSNR (dB) ↑",
            "Sliced Wasserstein (x 1000)",
        )
    ]  # fmt: skip
    row = grouped.frame("seeds", "abdomen").set_index("metric").loc["psnr"]
    assert table.rows[0][3:] == tuple(f"{row[name]:.3f}" for name in ("mean", "sd", "least", "greatest"))


def test_the_page_tells_of_each_seed_where_it_matters(
    grouped_page: Page, grouped: Evaluation, evaluation: Evaluation
) -> None:
    (section,) = (one for one in grouped_page.sections if one.title == "Seeds")
    assert section.folded
    assert seed_table(evaluation, "abdomen") is None
    (pictures,) = (one for one in grouped_page.sections if one.title.startswith("Pictures"))
    assert "Of a method of several seeds the first alone counts here (mine@0)." in pictures.blocks[0].paragraphs[0]
    facts = evaluation_facts(grouped)
    assert [name for name in facts if name.startswith("method")] == ["method bicubic", "method mine@0", "method mine@1"]
    assert facts["method mine@0"] != facts["method mine@1"]

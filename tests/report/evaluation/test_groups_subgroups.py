"""Subgroups on the page: the numbers of the table, exploratory, without a judgement."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from latentsr.report.evaluation import evaluation_page
from latentsr.report.evaluation.data import Evaluation
from latentsr.report.evaluation.groups import subgroup_picture, subgroup_table
from latentsr.report.page import write_page
from latentsr.report.text import number, p_value

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


def test_the_section_is_folded_and_judges_nothing(grouped: Evaluation, evaluation: Evaluation) -> None:
    page = evaluation_page(grouped)
    (section,) = (one for one in page.sections if one.title == "Subgroups")
    assert section.folded
    assert section.note.startswith("Exploratory: no p is adjusted")
    words = " ".join(cell for block in section.blocks if block.kind == "table" for row in block.rows for cell in row)
    assert not {"better", "worse", "not told apart"} & set(words.split())
    told = " ".join((*page.verdict, *page.details, *page.warnings))
    assert GROUPS[0] not in told
    assert subgroup_table(evaluation, "abdomen") is subgroup_picture(evaluation, "abdomen") is None


def test_the_page_with_groups_seeds_and_checklist_has_no_fault_on_a_phone(
    grouped: Evaluation, tmp_path: Path, open_page: Callable
) -> None:
    page = evaluation_page(grouped)
    opened = replace(page, sections=tuple(replace(section, folded=False) for section in page.sections))
    found = open_page(write_page(opened, tmp_path / "page.html"), 390)
    assert found.clean, found

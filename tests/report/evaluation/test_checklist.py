"""The checklist: every item of the guideline once, each decided from what the evaluation wrote, none by a constant."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from latentsr.report.blocks import Page
from latentsr.report.evaluation import COVERED, NOT_COVERED, NOT_POSSIBLE, TOP, checklist
from latentsr.report.evaluation.data import Evaluation
from latentsr.report.page import write_markdown


def rows(evaluation: Evaluation, page: Page) -> Mapping[str, tuple[str, ...]]:
    """The rows by item, of an evaluation whose page has the sections of another."""
    titles = [section.title for section in page.sections]
    return {row[0]: row for row in checklist(evaluation, titles).blocks[0].rows}


def changed(evaluation: Evaluation, *tables: str, **run: object) -> Evaluation:
    frames = {name: frame for name, frame in evaluation.frames.items() if name not in tables}
    return type(evaluation)(evaluation.folder, {**evaluation.run, **run}, frames)


def test_each_item_of_claim_2024_stands_there_once(evaluation: Evaluation, page: Page) -> None:
    numbers = [int(number) for row in rows(evaluation, page).values() for number in row[1].split(", ") if number]
    assert Counter(numbers) == Counter(range(1, 45))


def test_all_that_is_measured_is_covered_by_a_section_that_is_there(
    evaluation: Evaluation, grouped: Evaluation, page: Page, grouped_page: Page
) -> None:
    found, with_groups = rows(evaluation, page), rows(grouped, grouped_page)
    assert {name for name, row in found.items() if row[2] == NOT_COVERED} == {"Subgroups", "Seeds"}
    for own, one in ((found, page), (with_groups, grouped_page)):
        there = {TOP, "Facts", *(section.title for section in one.sections)}
        for _, _, state, place, told in own.values():
            assert told
            assert place in there if state == COVERED else place == "–"
    assert with_groups["Subgroups"][2:] == (COVERED, "Subgroups", "by sex, exploratory")
    assert with_groups["Seeds"][2:] == (COVERED, "Seeds", "2 of mine")
    for name in ("Equivalence", "Invented and lost detail", "Regions of interest"):
        assert (with_groups[name][2], found[name][2]) == (NOT_COVERED, COVERED)


def datasets(evaluation: Evaluation, **facts: object) -> dict[str, object]:
    return {name: {**own, **facts} for name, own in evaluation.run["datasets"].items()}


@pytest.mark.parametrize(
    ("item", "told", "tables", "run"),
    [
        ("Partitions and their level", "another split of the dataset too: 2 on abdomen", (), {"shared_patients": 2}),
        ("Partitions and their level", "each image counts as a patient", (), {"image_is_patient": True}),
        ("Unit of analysis", "each image counts as a patient", (), {"image_is_patient": True}),
        ("Partitions and their level", "blocks of files count as patients", (), {"block": 20}),
        ("Unit of analysis", "a block of files counts as a patient", (), {"block": 20}),
        ("Uncertainty, significance", "not two methods", ("comparisons",), {}),
        ("Sample size, power", "not two methods", ("comparisons",), {}),
        ("Multiplicity", "not two methods", ("comparisons",), {}),
        ("Robustness, sensitivity", "not two methods", ("comparisons",), {}),
        ("Primary comparison", "none was tested", (), {"primary": None}),
        ("Primary comparison", "none was tested", ("comparisons",), {}),
        ("Equivalence", "no margin was given", ("equivalence",), {"margins": {}}),
        ("Regions of interest", "there are no masks", (), {"masks": {}}),
        ("Failure analysis", "no image ranked by PSNR", (), {"pictures": {"cases": [], "chief": "noisy"}}),
    ],
)
def test_what_is_missing_is_not_covered(
    evaluation: Evaluation, page: Page, item: str, told: str, tables: tuple[str, ...], run: dict
) -> None:
    own = {"shared_patients", "image_is_patient", "block"} & run.keys()
    other = changed(evaluation, *tables, **({"datasets": datasets(evaluation, **run)} if own else run))
    assert rows(evaluation, page)[item][2] == COVERED
    found = rows(other, page)[item]
    assert found[2] == NOT_COVERED
    assert told in found[4]


def test_leakage_is_told_of_those_alone_of_whom_it_is_known(evaluation: Evaluation, page: Page) -> None:
    item, methods = "Leakage from training", evaluation.methods
    state, told = rows(evaluation, page)[item][2], rows(evaluation, page)[item][4]
    assert state not in (COVERED, NOT_COVERED)
    assert told.startswith("not known of ")
    assert "bicubic" not in told  # which was trained on nothing
    known = rows(changed(evaluation, training_known=methods), page)[item]
    assert (known[2], known[4]) == (COVERED, "none of these images was used to train a method")
    used = rows(changed(evaluation, training_known=methods, measured_in_training=True), page)[item]
    assert used[2] == NOT_COVERED
    assert "a method was trained on are measured" in used[4]


def test_an_item_without_its_section_is_not_covered(evaluation: Evaluation) -> None:
    found = {row[0]: row[2] for row in checklist(evaluation, ["The methods"]).blocks[0].rows}
    assert found["Comparison with other methods"] == COVERED
    assert found["Failure analysis"] == found["Measures and their definitions"] == NOT_COVERED


def test_what_is_told_follows_the_facts(evaluation: Evaluation, page: Page) -> None:
    found = rows(evaluation, page)
    assert found["Preprocessing"][4] == "LR by bicubic:4; no HR image was resized before"
    resized = rows(changed(evaluation, datasets=datasets(evaluation, resized=3)), page)["Preprocessing"][4]
    abdomen, small = evaluation.run["datasets"].items()
    told = [f"3 of {facts['images']} on {name}" for name, facts in (abdomen, small)]
    assert resized == f"LR by bicubic:4; HR resized before: {told[0]} and {told[1]}"
    assert (
        f"{abdomen[1]['images']} images of {abdomen[1]['patients']} patients on abdomen"
        in found["Numbers of patients and images, subsets"][4]
    )
    limited = rows(changed(evaluation, limit=2), page)["Numbers of patients and images, subsets"][4]
    assert limited.endswith("at most 2 of each dataset, evenly spread")
    summary = evaluation.frames["summary"]
    missing = int((summary["missing"] + summary["infinite"]).sum())
    assert found["Missing data"][4] == f"{missing} values of an image and measure left out and counted"
    none = changed(evaluation)
    none.frames["summary"] = summary.assign(missing=0, infinite=0)
    assert rows(none, page)["Missing data"][4] == "none is missing"


def test_the_section_is_folded_counts_its_rows_and_says_what_it_cannot(
    page: Page, grouped_page: Page, tmp_path: Path
) -> None:
    (section,) = (one for one in page.sections if one.title == "What this report covers")
    assert section.folded
    table, limits = section.blocks
    counts = Counter(row[2] for row in table.rows)
    assert f"{counts[COVERED]} covered, 2 not covered, {counts[NOT_POSSIBLE]} not possible here" in table.note
    told = " ".join(limits.items)
    assert "No reader looked at the images" in told
    assert "LR was made by bicubic:4" in told
    assert "one seed and one training" in told
    assert "Measures are of whole images" not in told  # there are masks
    (other,) = (one for one in grouped_page.sections if one.title == section.title)
    assert "seeds vary apart from them" in " ".join(other.blocks[1].items)
    lines = (write_markdown(page, tmp_path) / "report.md").read_text(encoding="utf-8")
    assert "What this report covers" in lines
    assert "| Failure analysis | 39 | covered | Pictures |" in lines

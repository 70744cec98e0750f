"""Seeds on the page: one method in all tables, the sd over its seeds beside it, and a table of the seeds."""

from latentsr.report.evaluation import evaluation_facts, evaluation_page
from latentsr.report.evaluation.data import Evaluation
from latentsr.report.evaluation.groups import seed_table
from latentsr.report.evaluation.tables import SEEDS, headline_table, mean_cell, mean_table


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


def test_the_page_tells_of_each_seed_where_it_matters(grouped: Evaluation, evaluation: Evaluation) -> None:
    page = evaluation_page(grouped)
    (section,) = (one for one in page.sections if one.title == "Seeds")
    assert section.folded
    assert seed_table(evaluation, "abdomen") is None
    (pictures,) = (one for one in page.sections if one.title.startswith("Pictures"))
    assert "Of a method of several seeds the first alone counts here (mine@0)." in pictures.blocks[0].paragraphs[0]
    facts = evaluation_facts(grouped)
    assert [name for name in facts if name.startswith("method")] == ["method bicubic", "method mine@0", "method mine@1"]
    assert facts["method mine@0"] != facts["method mine@1"]

"""The report of an evaluation: from what the job wrote to one page, and the same as Markdown."""

from pathlib import Path

from latentsr.config import read_json
from latentsr.report.page import Page, write_markdown, write_page


def write_report(folder: Path) -> Page:
    """The page of the evaluation in `folder`, written to report.html and report/report.md beside its tables."""
    run = read_json(folder / "run.json")
    page = Page("Evaluation", warnings=tuple(run["warnings"]))
    write_page(page, folder / "report.html")
    write_markdown(page, folder / "report")
    return page

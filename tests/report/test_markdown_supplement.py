"""The Markdown report: figures as files, tables that keep their columns, names that stay words."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentsr.provenance import RESEARCH_USE
from latentsr.report.markdown import escaped
from latentsr.report.page import Page, write_markdown


@pytest.fixture(scope="module")
def folder(sample_page: Page, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_markdown(sample_page, tmp_path_factory.mktemp("supplement") / "out")


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return (folder / "report.md").read_text(encoding="utf-8")


def test_every_figure_is_linked_and_there(folder: Path, text: str) -> None:
    linked = set(re.findall(r"\]\((figures/[^)]+)\)", text))
    files = {path.relative_to(folder).as_posix() for path in (folder / "figures").iterdir()}
    assert linked <= files
    assert files - linked == {name.replace(".svg", ".png") for name in linked if name.endswith(".svg")}
    assert all(re.fullmatch(r"figures/figure-\d+[a-z0-9-]*\.(svg|png)", name) for name in files)


def test_images_are_the_same_and_say_what_for(folder: Path, pixels: dict[str, np.ndarray]) -> None:
    with Image.open(folder / "figures" / "figure-4-two-methods-1-1.png") as image:
        assert np.array_equal(np.array(image), pixels["sr"])
        assert image.text == {"Description": RESEARCH_USE}


def test_tables_keep_their_columns(text: str) -> None:
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
    assert len(tables) == 5
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert "| :-- | --: | --: | :-- | :-- |" in tables[0]
    assert "**36.90**" in tables[0]


def test_names_stay_words(text: str) -> None:
    assert not re.search(r"(?<!\\)<[a-z/]", text)
    assert r"\<script>alert(1)\</script> & " in text
    assert r"\[a\](b)" in text


@pytest.mark.parametrize(
    ("plain", "marked"),
    [
        ("# head", r"\# head"),
        ("- item\nnext", r"\- item next"),
        ("1. one", r"1\. one"),
        ("27.79 dB [27.4, 28.1]", "27.79 dB [27.4, 28.1]"),
        ("a|b", r"a\|b"),
        ("subband_psnr _x_", r"subband_psnr \_x\_"),
        ("&lt; & $x$", r"\&lt; & \$x\$"),
        ("> quote", r"\> quote"),
        ("p < 0.001", "p < 0.001"),
        ("\\", "\\\\"),
    ],
)
def test_markup_is_escaped_only_where_it_would_count(plain: str, marked: str) -> None:
    assert escaped(plain) == marked


def test_research_use_stands_at_the_top_and_at_the_end(text: str) -> None:
    lines = [line for line in text.splitlines() if line]
    assert lines[1] == lines[-1] == f"**{RESEARCH_USE}**"


def test_a_paper_gets_every_table_as_latex_and_every_figure_as_pdf(
    sample_page: Page, folder: Path, text: str, tmp_path: Path
) -> None:
    paper = write_markdown(sample_page, tmp_path, paper=True)
    names = [name.lower().replace(" ", "-") for name in re.findall(r"^\*\*((?:Table|Figure) \d+)\.\*\*", text, re.M)]
    assert names.count("table-1") == names.count("figure-4") == 1
    for name in names:
        kind, end = ("tables", "tex") if name.startswith("table") else ("figures", "pdf")
        assert len(list((paper / kind).glob(f"{name}-*.{end}"))) == 1, name
    assert len(list(paper.rglob("*.tex"))) + len(list(paper.rglob("*.pdf"))) == len(names)
    assert all(path.read_bytes().startswith(b"%PDF") for path in paper.rglob("*.pdf"))
    assert not [path for path in folder.rglob("*") if path.suffix in (".tex", ".pdf")]
    tables = [path.read_text(encoding="utf-8") for path in sorted((paper / "tables").iterdir())]
    assert all(RESEARCH_USE in table.splitlines()[0] for table in tables)
    assert all(re.search(r"\\label\{tab:[a-z0-9-]+\}", table) for table in tables)


def test_images_of_a_grid_keep_their_pixels_in_the_pdf(sample_page: Page, tmp_path: Path) -> None:
    write_markdown(sample_page, tmp_path, paper=True)
    (pdf,) = (path.read_bytes() for path in (tmp_path / "figures").glob("figure-3-*.pdf"))
    sizes = set(re.findall(rb"/Width (\d+)\s*/Height (\d+)|/Height (\d+)\s*/Width (\d+)", pdf))
    assert {tuple(int(side) for side in size if side) for size in sizes} == {(128, 128), (32, 32)}


def test_the_same_page_gives_the_same_files(sample_page: Page, folder: Path, tmp_path: Path) -> None:
    again, paper = (write_markdown(sample_page, tmp_path / name, paper=True) for name in ("again", "paper"))
    for path in sorted(folder.rglob("*.*")):
        assert (again / path.relative_to(folder)).read_bytes() == path.read_bytes()
    for path in sorted(again.rglob("*.*")):
        assert (paper / path.relative_to(again)).read_bytes() == path.read_bytes()

"""The Markdown report and its LaTeX tables: files, columns, and names that stay words."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from latentsr.provenance import RESEARCH_USE
from latentsr.report.blocks import Page, Table
from latentsr.report.evaluation.data import Evaluation
from latentsr.report.evaluation.tables import definition_table
from latentsr.report.page import LONG, escaped, latex, latex_table, write_markdown


@pytest.fixture(scope="module")
def written(sample_page: Page, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_markdown(sample_page, tmp_path_factory.mktemp("supplement") / "out")


@pytest.fixture(scope="module")
def text(written: Path) -> str:
    return (written / "report.md").read_text(encoding="utf-8")


def test_every_figure_is_linked_and_there(written: Path, text: str) -> None:
    linked = set(re.findall(r"\]\((figures/[^)]+)\)", text))
    files = {path.relative_to(written).as_posix() for path in (written / "figures").iterdir()}
    assert linked <= files
    assert files - linked == {name.replace(".svg", ".png") for name in linked if name.endswith(".svg")}
    assert all(re.fullmatch(r"figures/figure-\d+[a-z0-9-]*\.(svg|png)", name) for name in files)


def test_images_are_the_same_and_say_what_for(written: Path, pixels: dict[str, np.ndarray]) -> None:
    with Image.open(written / "figures" / "figure-4-two-methods-1-1.png") as image:
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
    sample_page: Page, written: Path, text: str, tmp_path: Path
) -> None:
    paper = write_markdown(sample_page, tmp_path, paper=True)
    names = [name.lower().replace(" ", "-") for name in re.findall(r"^\*\*((?:Table|Figure) \d+)\.\*\*", text, re.M)]
    assert names.count("table-1") == names.count("figure-4") == 1
    for name in names:
        kind, end = ("tables", "tex") if name.startswith("table") else ("figures", "pdf")
        assert len(list((paper / kind).glob(f"{name}-*.{end}"))) == 1, name
    assert len(list(paper.rglob("*.tex"))) + len(list(paper.rglob("*.pdf"))) == len(names)
    assert all(path.read_bytes().startswith(b"%PDF") for path in paper.rglob("*.pdf"))
    assert not [path for path in written.rglob("*") if path.suffix in (".tex", ".csv", ".pdf")]
    files = sorted((paper / "tables").glob("*.tex"))
    assert [path.with_suffix(".csv") for path in files] == sorted((paper / "tables").glob("*.csv"))
    assert pd.read_csv(next(paper.rglob("table-1-*.csv"))).shape == (6, 5)
    tables = [path.read_text(encoding="utf-8") for path in files]
    assert all(RESEARCH_USE in table.splitlines()[0] for table in tables)
    assert all(re.search(r"\\label\{tab:[a-z0-9-]+\}", table) for table in tables)


def test_images_of_a_grid_keep_their_pixels_in_the_pdf(sample_page: Page, tmp_path: Path) -> None:
    write_markdown(sample_page, tmp_path, paper=True)
    (pdf,) = (path.read_bytes() for path in (tmp_path / "figures").glob("figure-3-*.pdf"))
    sizes = set(re.findall(rb"/Width (\d+)\s*/Height (\d+)|/Height (\d+)\s*/Width (\d+)", pdf))
    assert {tuple(int(side) for side in size if side) for size in sizes} == {(128, 128), (32, 32)}


def test_the_same_page_gives_the_same_files(sample_page: Page, written: Path, tmp_path: Path) -> None:
    again, paper = (write_markdown(sample_page, tmp_path / name, paper=True) for name in ("again", "paper"))
    for path in sorted(written.rglob("*.*")):
        assert (again / path.relative_to(written)).read_bytes() == path.read_bytes()
    for path in sorted(again.rglob("*.*")):
        assert (paper / path.relative_to(again)).read_bytes() == path.read_bytes()


SPECIAL = '50 % of a_b & c#d $x$ {y} \\z ~ ^ <tag> | "q" ± × – — − ≤ ≥ ≈ ∞ ↑ ↓ → µ ² … ünï --flag'
NUMBERS = Table(
    "Differences on small_set & more, 5 %",
    ("method_a", "difference, dB", "95 % interval", "remark"),
    (("[1] a&b", "−0.24", "[-0.53, 1.09]", SPECIAL), ("c_d", "lossless", "–", ""), ("e", "1e-5", "[0.1, 2-3]", "x-2")),
    "A note: 95 % of a_b.",
    frozenset({(1, 1)}),
)
MANY = Table("Many rows", ("name", "value"), tuple((f"row {n}", f"{n}.5") for n in range(LONG + 2)), "The last note.")


@pytest.mark.parametrize(
    ("plain", "set_"),
    [
        ("95 % of a_b & c", r"95 \% of a\_b \& c"),
        ("#1 $x$ {y}", r"\#1 \$x\$ \{y\}"),
        ("a\\b ~ ^", r"a\textbackslash{}b \textasciitilde{} \textasciicircum{}"),
        ("-0.24 [-0.53, 1.09]", "$-$0.24 [$-$0.53, 1.09]"),
        ("2-3 of 1e-5, x-2, −4", "2-3 of 1e-5, x-2, $-$4"),
        ("27.79 ± 1.66", r"27.79 $\pm$ 1.66"),
        ("p < 0.001", "p $<$ 0.001"),
        ("–", r"\textendash{}"),
        ("--flag", "-{}-flag"),
        ("two\nlines", "two lines"),
    ],
)
def test_text_is_set_as_it_stands(plain: str, set_: str) -> None:
    assert latex(plain) == set_


def _is_balanced(text: str) -> bool:
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text.replace(r"\\", "")):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0


def _rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.endswith(r"\tabularnewline")]


@pytest.mark.parametrize("table", [NUMBERS, MANY])
def test_the_file_is_whole_and_nothing_in_it_is_left_unescaped(table: Table) -> None:
    text = latex_table(table, "1-name", "Table 1 of a page.")
    assert _is_balanced(text)
    assert text.count(r"\begin{") == text.count(r"\end{")
    for line in _rows(text):
        assert len(re.findall(r"(?<!\\)&", line)) == len(table.columns) - 1
        assert not re.search(r"(?<!\\)[%_#]", line)
        assert not line.startswith(("[", "*"))  # after a row's end that would be a distance
    assert text.startswith("% Table 1 of a page.\n")
    assert r"\usepackage{array,booktabs,graphicx}" in text


def test_caption_units_note_numbers_and_strong_cells_are_there() -> None:
    text = latex_table(NUMBERS, "1-name", "x")
    assert r"\caption{Differences on small\_set \& more, 5 \%}\label{tab:1-name}" in text
    assert r"method\_a & difference, dB & 95 \% interval & remark \tabularnewline" in text
    assert r"{\footnotesize\raggedright A note: 95 \% of a\_b.\par}" in text
    assert r"c\_d & \textbf{lossless} & \textendash{} &  \tabularnewline" in text
    assert r"\begin{tabular}{lrr>{\raggedright\arraybackslash}p{0.60\linewidth}}" in text


def test_a_long_table_goes_on_in_a_second_float_with_its_head() -> None:
    text = latex_table(MANY, "1-name", "x")
    assert text.count(r"\begin{table}") == 2
    assert [line.split(" & ")[0] for line in _rows(text)].count("name") == 2
    assert len(_rows(text)) == LONG + 2 + 2
    assert "Many rows (part 1 of 2)" in text
    assert text.count(r"\label{") == text.count("The last note.") == 1
    assert text.index("row 41") < text.index("The last note.")


def test_letters_that_only_newer_engines_set_are_told() -> None:
    assert "LuaLaTeX or XeLaTeX" in latex_table(Table("T", ("a",), (("脑",),)), "1", "x")
    assert "LuaLaTeX" not in latex_table(NUMBERS, "1", "x")


def test_latex_takes_it(evaluation: Evaluation, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex")
    tables = [NUMBERS, MANY, Table("Empty", ("a", "b"), ()), definition_table(evaluation)]
    body = "\n".join(latex_table(table, str(number), RESEARCH_USE) for number, table in enumerate(tables))
    head = r"\documentclass{article}\usepackage{array,booktabs,graphicx}\begin{document}"
    (tmp_path / "paper.tex").write_text(f"{head}\n{body}\n\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, timeout=120)
    log = done.stdout.decode("utf-8", errors="replace")
    assert done.returncode == 0, log[-2000:]
    assert "Overfull" not in log

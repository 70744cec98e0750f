"""Tables as LaTeX: what is in a cell is set as it stands, the file is whole, and a LaTeX takes it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from latentsr.provenance import RESEARCH_USE
from latentsr.report.blocks import Table
from latentsr.report.evaluation.data import Evaluation
from latentsr.report.evaluation.tables import definition_table
from latentsr.report.markdown import LONG, latex, latex_table

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

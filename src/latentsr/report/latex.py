"""A table of a page as LaTeX in the manner of booktabs, to be input into a paper, with caption, label and note."""

import re
from collections.abc import Sequence

from latentsr.report.blocks import Table
from latentsr.report.naming import readable

LONG = 40  # rows of a page; a longer table goes on in a further float
SENTENCE = 36  # letters beyond which a column of words breaks into lines
BROKEN = 0.6  # of the line's width that all such columns share
LATIN = 0x17F  # the last letter that LaTeX sets without a Unicode engine
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$", '"': "''",
    "\u00a0": "~", "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "²": "$^2$", "µ": r"$\mu$", "–": r"\textendash{}",
    "—": r"\textemdash{}", "…": r"\dots{}", "\N{MINUS SIGN}": "$-$", "≤": r"$\leq$", "≥": r"$\geq$", "≈": r"$\approx$",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "→": r"$\rightarrow$",
    "∞": r"$\infty$", "‘": "`", "’": "'", "“": "``", "”": "''",
}  # fmt: skip
_ESCAPES = str.maketrans(_SPECIAL)
_MINUS = re.compile(r"(?<![\w.)\]}])-(?=\.?\d)")  # of a number, not of a range, a name or 1e-5


def latex(text: str) -> str:
    """The text on one line so that LaTeX sets it as it is: nothing in it is a command, numbers have a true minus."""
    words = _MINUS.sub("\N{MINUS SIGN}", " ".join(readable(text).split())).translate(_ESCAPES)
    return words.replace("--", "-{}-")  # no dash


def latex_table(table: Table, label: str, remark: str) -> str:
    """The table as the text of a .tex file: a float no wider than the line, or several of LONG rows at most.

    Args:
        table: as on the page; its title is the caption, its note stands below.
        label: after "tab:", letters, digits and hyphens.
        remark: a line for the file's head.
    """
    rows = [_row(_cells(row, number, table)) for number, row in enumerate(table.rows)]
    parts = [rows[start : start + LONG] for start in range(0, len(rows), LONG)] or [[]]
    floats = [_float(table, label, number, len(parts), part) for number, part in enumerate(parts, start=1)]
    text = "\n".join(floats)
    head = [f"% {' '.join(readable(remark).split())}", r"% \usepackage{array,booktabs,graphicx}"]
    if any(ord(letter) > LATIN for letter in text):
        head.append("% Letters beyond Latin ones: set it with LuaLaTeX or XeLaTeX.")
    return "\n".join([*head, text]) + "\n"


def _float(table: Table, label: str, number: int, count: int, rows: Sequence[str]) -> str:
    """Part `number` of `count`, with the label in the first and the note in the last."""
    part = f" (part {number} of {count})" * (count > 1)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex(table.title)}{part}}}" + rf"\label{{tab:{label}}}" * (number == 1),
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{_columns(table)}}}",
        *(r"\toprule", _row([latex(name) for name in table.columns]), r"\midrule", *rows, r"\bottomrule"),
        r"\end{tabular}}",
    ]
    if table.note and number == count:
        lines.append(rf"\par\smallskip{{\footnotesize\raggedright {latex(table.note)}\par}}")
    return "\n".join([*lines, r"\end{table}"])


def _columns(table: Table) -> str:
    """Numbers to the right, words to the left, sentences in columns that break."""
    longest = [max((len(row[place]) for row in table.rows), default=0) for place in range(len(table.columns))]
    sentences = [length > SENTENCE and not number for length, number in zip(longest, table.numeric, strict=True)]
    broken = rf">{{\raggedright\arraybackslash}}p{{{BROKEN / max(sum(sentences), 1):.2f}\linewidth}}"
    return "".join(
        "r" if number else broken if sentence else "l"
        for number, sentence in zip(table.numeric, sentences, strict=True)
    )


def _cells(row: Sequence[str], number: int, table: Table) -> list[str]:
    cells = [latex(cell) for cell in row]
    strong = [cell and (number, column) in table.strong for column, cell in enumerate(cells)]
    return [rf"\textbf{{{cell}}}" if bold else cell for cell, bold in zip(cells, strong, strict=True)]


def _row(cells: Sequence[str]) -> str:
    """A row; braces before its first cell, since a bracket after a row's end would be taken for a distance."""
    guard = "{}" if cells[0][:1] in ("[", "*") else ""
    return rf"{guard}{' & '.join(cells)} \tabularnewline"

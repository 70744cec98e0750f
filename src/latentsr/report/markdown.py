"""A report as files for a paper: Markdown, figures as SVG, PNG and PDF, tables as CSV and LaTeX."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from latentsr.atomic import replacing
from latentsr.report.blocks import Block, Images, Page, Picture, Slider, Table, Text, Tile, numbered, readable, titled
from latentsr.report.drawing import bare_png, standalone_svg
from latentsr.report.figures.tiles import tiles_pdf

LONG = 40  # rows of a page; a longer table goes on in a further float
SENTENCE = 36  # letters beyond which a column of words breaks into lines
BROKEN = 0.6  # of the line's width that all such columns share
LATIN = 0x17F  # the last letter that LaTeX sets without a Unicode engine
_LATEX_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$", '"': "''",
    "\u00a0": "~", "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "²": "$^2$", "µ": r"$\mu$", "–": r"\textendash{}",
    "—": r"\textemdash{}", "…": r"\dots{}", "\N{MINUS SIGN}": "$-$", "≤": r"$\leq$", "≥": r"$\geq$", "≈": r"$\approx$",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "→": r"$\rightarrow$",
    "∞": r"$\infty$", "‘": "`", "’": "'", "“": "``", "”": "''",
}  # fmt: skip
_ESCAPES = str.maketrans(_LATEX_SPECIAL)
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
    rows = [_latex_row(_cells(row, number, table)) for number, row in enumerate(table.rows)]
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
        *(r"\toprule", _latex_row([latex(name) for name in table.columns]), r"\midrule", *rows, r"\bottomrule"),
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


def _latex_row(cells: Sequence[str]) -> str:
    """A row; braces before its first cell, since a bracket after a row's end would be taken for a distance."""
    guard = "{}" if cells[0][:1] in ("[", "*") else ""
    return rf"{guard}{' & '.join(cells)} \tabularnewline"


FIGURES, TABLES = "figures", "tables"
# Backslashes before punctuation are undone by CommonMark, GitHub and pandoc alike. Where a character only means
# something beside certain others (`_` at a word's edge, `<` before a tag), it is left alone elsewhere: "[0.1, 0.7]".
_SPECIAL = re.compile(
    r"[\\`*|$~^@]|(?<![^\W_])_|_(?![^\W_])|<(?=[A-Za-z/!?])|&(?=#?\w+;)|\[(?![-+\u2212\d])|\](?=[(\[:{])"
)
_LINE_START = re.compile(r"^(\d*)([-+.)](?=\s|$)|[#=>]|--)")


def write_markdown(page: Page, folder: Path, *, paper: bool = False) -> Path:
    """The folder, in which `report.md` and `figures/*.svg|png` were written, the text last; same page, same bytes.

    With `paper` also `figures/*.pdf`, one a figure, and `tables/*.tex`, one a table.

    Raises:
        InputError: a picture that is no PNG, a drawing that is no SVG or refers to something outside
        LatentSRError: the disk refuses
    """
    lines, files = _render(page)
    for name, content in (files | (_paper(page) if paper else {})).items():
        with replacing(folder / name) as part:
            part.write_bytes(content)
    with replacing(folder / "report.md") as part:
        part.write_text("\n".join(lines).rstrip("\n") + "\n", encoding="utf-8", newline="\n")
    return folder


def _render(page: Page) -> tuple[list[str], dict[str, bytes]]:
    """The lines of the text, and the figures' bytes by file name."""
    lines = [f"# {escaped(page.title)}", "", f"**{escaped(page.note)}**", ""]
    lines += _paragraphs((page.subtitle,))
    if page.verdict:
        lines += ["## Verdict", "", f"**{escaped(page.verdict[0])}**", "", *_paragraphs(page.verdict[1:])]
    if page.warnings:
        lines += ["## Know before you rely on this", "", *_items(page.warnings)]
    if page.details:
        lines += ["## In detail", "", *_items(page.details)]
    files: dict[str, bytes] = {}
    folded = False
    for number, (section, blocks) in enumerate(numbered(page), start=1):
        lines += ["## Supplement", ""] if section.folded and not folded else []
        folded = section.folded
        heading = "###" if folded else "##"
        lines += [f"{heading} {number} {escaped(section.title)}", "", *_paragraphs((section.note,))]
        for name, block in blocks:
            lines += _block(name, block, page.note, files)
    lines += [*_facts(page.facts), f"**{escaped(page.note)}**"]
    return lines, files


def _paper(page: Page) -> dict[str, bytes]:
    """What a paper takes: tables as LaTeX and figures as PDF, by file name."""
    files: dict[str, bytes] = {}
    for name, block in (named for _, blocks in numbered(page) for named in blocks):
        if isinstance(block, Text):
            continue
        stem = _stem(name, block)
        if isinstance(block, Table):
            remark = f"{name} of '{page.title}', made by latentsr. {page.note}"
            files[f"{TABLES}/{stem}.tex"] = latex_table(block, stem.removeprefix("table-"), remark).encode()
        elif isinstance(block, Picture):
            files[f"{FIGURES}/{stem}.pdf"] = block.drawing.pdf()
        else:
            files[f"{FIGURES}/{stem}.pdf"] = tiles_pdf(_pair(block) if isinstance(block, Slider) else block)
    return files


def _stem(name: str, block: Table | Picture | Images | Slider) -> str:
    """The name of a block's files without their ends, such as "table-3-ceilings-on-brain"."""
    return f"{name.lower().replace(' ', '-')}-{_slug(block.title)}".rstrip("-")


def escaped(text: str) -> str:
    """The text on one line, so that Markdown shows it as it is: no markup, no HTML, no end of a table's cell."""
    text = " ".join(readable(text).split())
    return _LINE_START.sub(r"\1\\\2", _SPECIAL.sub(r"\\\g<0>", text))


def _block(name: str, block: Block, note: str, files: dict[str, bytes]) -> list[str]:
    if isinstance(block, Text):
        return _paragraphs(block.paragraphs) + _items(block.items)
    if isinstance(block, Table):
        caption = ["", *_paragraphs((block.note,))] if block.note else [""]
        return [_caption(name, block.title), "", *_table(block), *caption]
    stem = _stem(name, block)
    if isinstance(block, Picture):
        file = f"{FIGURES}/{stem}"
        files[f"{file}.svg"] = standalone_svg(block.drawing.svg, readable(block.drawing.alt), readable(note)).encode()
        files[f"{file}.png"] = bare_png(block.drawing.png, note)
        figure = [f"![{escaped(block.drawing.alt)}]({file}.svg)"]
    else:
        figure = _grid(stem, _pair(block) if isinstance(block, Slider) else block, note, files)
    return [*figure, "", _caption(name, titled(block), block.caption), ""]


def _grid(stem: str, block: Images, note: str, files: dict[str, bytes]) -> list[str]:
    """The images as a table, each a file of its own."""
    lines = [_row(["", *map(escaped, block.columns)]), _row([":--"] * (len(block.columns) + 1))]
    for number, (label, row) in enumerate(zip(block.labels, block.rows, strict=True), start=1):
        cells = [escaped(label)]
        for place, (column, tile) in enumerate(zip(block.columns, row, strict=True), start=1):
            file = f"{FIGURES}/{stem}-{number}-{place}.png"
            if tile is not None:
                files[file] = bare_png(tile.png, note)
            alt = escaped(f"{label} {column}")
            cells.append(f"![{alt}]({file}) {escaped(tile.note)}".rstrip() if tile else "")
        lines.append(_row(cells))
    return lines


def _pair(slider: Slider) -> Images:
    """The two images that the slider shows first side by side: all are files of the evaluation's own folder."""
    view = slider.views[0]
    names, row = zip(*((slider.names[place], Tile(view.images[place])) for place in slider.shown), strict=True)
    return Images(slider.title, names, (view.label,), (row,), slider.caption)


def _table(table: Table) -> Iterator[str]:
    yield _row([escaped(column) for column in table.columns])
    yield _row(["--:" if numeric else ":--" for numeric in table.numeric])
    for number, row in enumerate(table.rows):
        cells = [escaped(cell) for cell in row]
        strong = [cell and (number, column) in table.strong for column, cell in enumerate(cells)]
        yield _row([f"**{cell}**" if bold else cell for cell, bold in zip(cells, strong, strict=True)])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _caption(name: str, title: str, caption: str = "") -> str:
    return f"**{name}.** {escaped(title)} {escaped(caption)}".rstrip()


def _paragraphs(texts: tuple[str, ...]) -> list[str]:
    return [line for text in texts if text.strip() for line in (escaped(text), "")]


def _items(items: tuple[str, ...]) -> list[str]:
    return [*(f"- {escaped(item)}" for item in items), ""] if items else []


def _facts(facts: Mapping[str, str]) -> list[str]:
    if not facts:
        return []
    return ["## Facts", "", *(f"- {escaped(name)}: {escaped(value)}" for name, value in facts.items()), ""]


def _slug(title: str) -> str:
    """The title as part of a file name: small ASCII letters, digits and hyphens, 40 at most."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", errors="ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:40].strip("-")

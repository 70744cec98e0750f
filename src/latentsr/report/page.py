"""A report as one self-contained HTML file, and as files for a paper: Markdown, SVG, PNG, PDF, CSV and LaTeX."""

import base64
import csv
import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from latentsr import __version__
from latentsr.atomic import replacing
from latentsr.report.blocks import (
    Block,
    Images,
    Page,
    Picture,
    Slider,
    Table,
    Text,
    Tile,
    bare_png,
    numbered,
    readable,
    standalone_svg,
    titled,
)

MANY_ROWS = 30  # a longer table scrolls in its own box, under a head that stays
MANY_COLUMNS = 9  # a wider one is printed on a page turned on its side
HALF_WIDTH = 520  # CSS px up to which two drawings stand side by side on a wide screen
SORTED_ROWS = 6  # from this many rows on, a reader may want another order
# A number and its unit, and a p and its value, stay on one line.
_AMOUNT = re.compile(r"(?<=\d) (?=(?:%|dB|px|mm)(?!\w))|(?<=\bp) (?=[<=] \d)|(?<=\bp [<=]) (?=\d)")


def write_page(page: Page, path: Path) -> Path:
    """The path of the HTML file that was written, whole or not at all; the same page gives the same bytes.

    Raises:
        InputError: a picture that is no PNG, a drawing that is no SVG
        LatentSRError: the file cannot be written
    """
    text = render_page(page)
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
    return path


def render_page(page: Page) -> str:
    """The page as HTML."""
    sections = []
    for section, blocks in numbered(page):
        views = []  # of each block what its template needs beside the record
        for name, block in blocks:
            identifier = name.lower().replace(" ", "-")
            view: dict[str, Any] = {"name": name, "id": identifier, "kind": block.kind, "block": block}
            if not isinstance(block, Text):
                view["title"] = titled(block)
            if isinstance(block, Picture):
                view["size"] = block.drawing.size
                view["half"] = block.drawing.size[0] <= HALF_WIDTH
            if isinstance(block, Images):
                view["widest"] = max((tile.size[0] for tile in block.tiles), default=1)
            if isinstance(block, Table):
                view |= {
                    "letters": [max(map(len, column)) for column in zip(block.columns, *block.rows, strict=True)],
                    "long": len(block.rows) > MANY_ROWS,
                    "wide": len(block.columns) > MANY_COLUMNS,
                    "sortable": len(block.rows) >= SORTED_ROWS,
                    "keys": 2 if block.columns[0] == "dataset" else 1,  # how many columns name a row
                }
            views.append(view)
        sections.append({"section": section, "blocks": views})
    return render("page", page=page, sections=sections)


def render(name: str, **values: Any) -> str:
    """The HTML of a template of this folder and of the script of the same name, the only one that may run.

    A file that it becomes loads nothing but pictures that it holds and its own styles; texts in `values` are escaped.
    """
    environment = _environment()
    script = environment.get_template(f"{name}.js").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()  # by which a browser knows it
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    return environment.get_template(f"{name}.html").render(**values, script=script, policy=policy, version=__version__)


@cache
def _environment() -> Environment:
    def finalize(value: Any) -> Any:
        if hasattr(value, "__html__") or not isinstance(value, str):
            return value
        return _AMOUNT.sub("\u00a0", readable(value))

    environment = Environment(
        loader=PackageLoader("latentsr.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=finalize,
    )  # fmt: skip
    environment.filters["data"] = lambda png: f"data:image/png;base64,{base64.b64encode(bare_png(png)).decode()}"
    # Percent-encoded: a quarter smaller than base64, which the pictures within an SVG already are.
    environment.filters["svg"] = lambda svg: f"data:image/svg+xml,{quote(svg, safe=' /;=,+*!@$')}"
    return environment


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
    # Numbers to the right, words to the left, sentences in columns that break.
    longest = [max((len(row[place]) for row in table.rows), default=0) for place in range(len(table.columns))]
    sentences = [length > SENTENCE and not number for length, number in zip(longest, table.numeric, strict=True)]
    broken = rf">{{\raggedright\arraybackslash}}p{{{BROKEN / max(sum(sentences), 1):.2f}\linewidth}}"
    kinds = zip(table.numeric, sentences, strict=True)
    columns = "".join("r" if number else broken if sentence else "l" for number, sentence in kinds)

    head = _latex_row([latex(name) for name in table.columns])
    rows = [_latex_row(cells) for cells in _cells(table, latex, r"\textbf{%s}")]
    parts = [rows[start : start + LONG] for start in range(0, len(rows), LONG)] or [[]]
    lines = []
    for number, part in enumerate(parts, start=1):
        counted = f" (part {number} of {len(parts)})" * (len(parts) > 1)
        lines += [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex(table.title)}{counted}}}" + rf"\label{{tab:{label}}}" * (number == 1),
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}",
            *(r"\toprule", head, r"\midrule", *part, r"\bottomrule"),
            r"\end{tabular}}",
        ]
        if table.note and number == len(parts):
            lines.append(rf"\par\smallskip{{\footnotesize\raggedright {latex(table.note)}\par}}")
        lines.append(r"\end{table}")
    text = "\n".join(lines)
    start = [f"% {' '.join(readable(remark).split())}", r"% \usepackage{array,booktabs,graphicx}"]
    if any(ord(letter) > LATIN for letter in text):
        start.append("% Letters beyond Latin ones: set it with LuaLaTeX or XeLaTeX.")
    return "\n".join([*start, text]) + "\n"


def _cells(table: Table, write: Callable[[str], str], bold: str) -> Iterator[list[str]]:
    """The cells of each row as `write` returns them, the strong ones within `bold`."""
    for number, row in enumerate(table.rows):
        cells = enumerate(map(write, row))
        yield [bold % cell if cell and (number, column) in table.strong else cell for column, cell in cells]


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

    With `paper` also `figures/*.pdf`, one a figure, and `tables/*.tex|csv`, one a table.

    Raises:
        InputError: a picture that is no PNG, a drawing that is no SVG
        LatentSRError: a file cannot be written
    """
    from latentsr.report.figures.panels import tiles_pdf  # matplotlib takes a second, and a page needs none of it

    files: dict[str, bytes] = {}
    lines = [f"# {escaped(page.title)}", "", f"**{escaped(page.note)}**", "", *_paragraphs((page.subtitle,))]
    if page.verdict:
        lines += ["## Verdict", "", f"**{escaped(page.verdict[0])}**", "", *_paragraphs(page.verdict[1:])]
    if page.warnings:
        lines += ["## Know before you rely on this", "", *_items(page.warnings)]
    if page.details:
        lines += ["## In detail", "", *_items(page.details)]
    folded = False
    for number, (section, blocks) in enumerate(numbered(page), start=1):
        lines += ["## Supplement", ""] if section.folded and not folded else []
        folded = section.folded
        heading = "###" if folded else "##"
        lines += [f"{heading} {number} {escaped(section.title)}", "", *_paragraphs((section.note,))]
        for name, block in blocks:
            lines += _block(name, block, page.note, files)
            if not paper or isinstance(block, Text):
                continue
            stem = _stem(name, block)
            if isinstance(block, Table):
                remark = f"{name} of '{page.title}', made by latentsr. {page.note}"
                table = latex_table(block, stem.removeprefix("table-"), remark)
                files[f"{TABLES}/{stem}.tex"] = table.encode()
                cells = StringIO()
                csv.writer(cells, lineterminator="\n").writerows(
                    map(readable, row) for row in (block.columns, *block.rows)
                )
                files[f"{TABLES}/{stem}.csv"] = cells.getvalue().encode()
            else:
                pdf = block.drawing.render("pdf") if isinstance(block, Picture) else tiles_pdf(_grid(block))
                files[f"{FIGURES}/{stem}.pdf"] = pdf
    if page.facts:
        lines += ["## Facts", "", *(f"- {escaped(name)}: {escaped(value)}" for name, value in page.facts.items()), ""]
    lines.append(f"**{escaped(page.note)}**")
    files["report.md"] = ("\n".join(lines) + "\n").encode()
    for file, content in files.items():
        with replacing(folder / file) as part:
            part.write_bytes(content)
    return folder


def _stem(name: str, block: Table | Picture | Images | Slider) -> str:
    """The name of a block's files without their ends, such as "table-3-ceilings-on-brain": small ASCII letters."""
    plain = unicodedata.normalize("NFKD", block.title).encode("ascii", errors="ignore").decode().lower()
    title = re.sub(r"[^a-z0-9]+", "-", plain)[:40].strip("-")
    return f"{name.lower().replace(' ', '-')}-{title}".rstrip("-")


def escaped(text: str) -> str:
    """The text on one line, so that Markdown shows it as it is: no markup, no HTML, no end of a table's cell."""
    text = " ".join(readable(text).split())
    return _LINE_START.sub(r"\1\\\2", _SPECIAL.sub(r"\\\g<0>", text))


def _block(name: str, block: Block, note: str, files: dict[str, bytes]) -> list[str]:
    """The lines of a block; its figures are added to `files`."""
    if isinstance(block, Text):
        return _paragraphs(block.paragraphs) + _items(block.items)
    if isinstance(block, Table):
        lines = [f"**{name}.** {escaped(block.title)}", "", _row([escaped(column) for column in block.columns])]
        lines.append(_row(["--:" if numeric else ":--" for numeric in block.numeric]))
        lines += map(_row, _cells(block, escaped, "**%s**"))
        return [*lines, "", *_paragraphs((block.note,))]
    file = f"{FIGURES}/{_stem(name, block)}"
    if isinstance(block, Picture):
        files[f"{file}.svg"] = standalone_svg(block.drawing.svg, readable(block.drawing.alt), readable(note)).encode()
        files[f"{file}.png"] = block.drawing.png  # ours: it has the note and nothing else
        lines = [f"![{escaped(block.drawing.alt)}]({file}.svg)"]
    else:  # a table of images, each a file of its own
        grid = _grid(block)
        lines = [_row(["", *map(escaped, grid.columns)]), _row([":--"] * (len(grid.columns) + 1))]
        for number, (label, row) in enumerate(zip(grid.labels, grid.rows, strict=True), start=1):
            cells = [escaped(label)]
            for place, (column, tile) in enumerate(zip(grid.columns, row, strict=True), start=1):
                if tile is None:
                    cells.append("")
                    continue
                tile_file = f"{file}-{number}-{place}.png"
                files[tile_file] = bare_png(tile.png, note)
                cells.append(f"![{escaped(f'{label} {column}')}]({tile_file}) {escaped(tile.note)}".rstrip())
            lines.append(_row(cells))
    caption = f"**{name}.** {escaped(titled(block))} {escaped(block.caption)}".rstrip()
    return [*lines, "", caption, ""]


def _grid(block: Images | Slider) -> Images:
    """The images; of a slider the two that it shows first: all are files of the evaluation's own folder."""
    if isinstance(block, Images):
        return block
    view = block.views[0]
    names, row = zip(*((block.names[place], Tile(view.images[place])) for place in block.shown), strict=True)
    return Images(block.title, names, (view.label,), (row,), block.caption)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _paragraphs(texts: tuple[str, ...]) -> list[str]:
    return [line for text in texts if text.strip() for line in (escaped(text), "")]


def _items(items: tuple[str, ...]) -> list[str]:
    return [*(f"- {escaped(item)}" for item in items), ""] if items else []

"""A report as one self-contained HTML file: styles, pictures and the little script inside, nothing from elsewhere."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from latentsr import __version__
from latentsr.atomic import replacing
from latentsr.report.blocks import Block, Images, Page, Picture, Table, Text, numbered, readable, titled
from latentsr.report.drawing import bare_png

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
    environment = _environment()
    script = environment.get_template("page.js").render()
    sections = [
        {"section": section, "blocks": [_view(name, block) for name, block in blocks]}
        for section, blocks in numbered(page)
    ]
    # What the page may load: pictures that it holds, its own styles, and this one script, known by its hash.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    return environment.get_template("page.html").render(
        page=page, sections=sections, script=script, policy=policy, version=__version__
    )


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


def _view(name: str, block: Block) -> dict[str, Any]:
    """A block with its name ("Table 1"), an id made from it, and what its template needs beside the record."""
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
    return view

"""Drawings in a page: ids of their own, no metadata, no script, nothing from outside; and as files of their own."""

import io
import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from latentsr.errors import InputError
from latentsr.report.drawing import inline_svg, standalone_svg

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="10" height="10">'


@pytest.fixture(scope="module")
def plotted() -> str:
    """A matplotlib figure with clip paths, glyphs, markers and an image."""
    figure = Figure(figsize=(3, 2))
    axes = figure.add_subplot()
    axes.plot([0, 1, 2], [3, 1, 2], "o-", label="a < b & c")
    axes.imshow(np.eye(3), extent=(0, 1, 1, 2))
    axes.legend()
    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "fixed"}):
        figure.savefig(file, format="svg")
    return file.getvalue()


def test_a_plot_keeps_all_its_parts_under_new_names(plotted: str) -> None:
    markup, width = inline_svg(plotted, "figure-7", "alt <text>")
    assert width == pytest.approx(3 * 96, rel=0.01)
    assert markup.startswith("<svg ")
    root = ElementTree.fromstring(markup)  # noqa: S314
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids)) > 10
    assert all(name.startswith("figure-7") for name in ids)
    references = re.findall(r"url\(#([^)]+)\)", markup) + re.findall(r'href="#([^"]+)"', markup)
    assert len(references) > 10
    assert set(references) <= set(ids)
    kinds = {"path", "use", "image", "clipPath"}
    original = ElementTree.fromstring(plotted)  # noqa: S314
    for kind in kinds:
        assert len(list(root.iter(kind))) == len(list(original.iter(f"{{http://www.w3.org/2000/svg}}{kind}"))) > 0
    assert "data:image/png;base64," in markup
    assert root.get("aria-label") == "alt <text>"


def test_metadata_dates_and_addresses_go(plotted: str) -> None:
    assert "dc:date" in plotted
    markup, _ = inline_svg(plotted, "f", "alt")
    assert not re.search(r"<\?xml|DOCTYPE|metadata|dc:|://|\d{4}-\d\d-\d\dT", markup)


def test_styles_reach_no_further_than_their_drawing(plotted: str) -> None:
    rules = re.findall(r"<style[^>]*>(.*?)</style>", inline_svg(plotted, "f", "alt").markup)
    assert rules
    assert all(rule.startswith("#f {") for rule in rules)


def test_scripts_and_handlers_go() -> None:
    svg = HEAD + '<script>alert(1)</script><rect onclick="x()" width="1"/><a href="#b"/><foreignObject/></svg>'
    markup = inline_svg(svg, "f", "alt").markup
    assert not re.search(r"script|onclick|<a|foreignObject", markup)
    assert "<rect" in markup


@pytest.mark.parametrize(
    "content",
    [
        '<image xlink:href="https://example.org/a.png"/>',
        '<image href="file:///etc/passwd"/>',
        '<use href="other.svg#a"/>',
        '<rect style="fill: url(https://example.org/a)"/>',
        "<style>@import 'a.css';</style>",
        "<style>rect {fill: url(a.png)}</style>",
        '<image href="data:text/html;base64,AAAA"/>',
    ],
)
def test_what_lies_outside_is_refused(content: str) -> None:
    for use in (lambda svg: inline_svg(svg, "f", "alt"), lambda svg: standalone_svg(svg, "alt", "note")):
        with pytest.raises(InputError, match=r"refers to .*put it into the SVG"):
            use(HEAD + content + "</svg>")


@pytest.mark.parametrize(
    ("svg", "said"),
    [
        ("<svg", "is no SVG"),
        ("<html/>", "root element is <html>"),
        ('<svg xmlns="http://www.w3.org/2000/svg"/>', "neither width and height nor a view box"),
        ('<!DOCTYPE s [<!ENTITY a "b">]>' + HEAD + "</svg>", "entities"),
    ],
)
def test_what_is_no_drawing_is_refused(svg: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        inline_svg(svg, "f", "alt")


def test_as_a_file_it_says_what_it_shows_and_what_for(plotted: str) -> None:
    text = standalone_svg(plotted, "alt <text>", "Research use only.")
    root = ElementTree.fromstring(text)  # noqa: S314
    space = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{space}svg"
    assert root.findtext(f"{space}title") == "alt <text>"
    assert root.findtext(f"{space}desc") == "Research use only."
    assert "metadata" not in text
    assert text == standalone_svg(plotted, "alt <text>", "Research use only.")

"""Drawings: the same bytes again, words as outlines, nothing of the machine, room for title, note and legend."""

import io
import itertools
import re

import pytest
from matplotlib.lines import Line2D
from PIL import Image

from latentsr.errors import InputError
from latentsr.provenance import RESEARCH_USE
from latentsr.report.blocks import Drawing
from latentsr.report.figures.style import PNG_DPI, WIDTH, add_legend, drawing, house_style, lay_out, new_figure


def _drawing() -> Drawing:
    with house_style():
        figure = new_figure(2.0, note="A note.")
        axes = figure.subplots()
        axes.plot([1, 2], [1, 2], label="line")
        axes.set_xlabel("x")
        add_legend(figure, axes.lines)
        return drawing(figure, "Two  words\nand a break.")


def test_the_same_figure_has_the_same_bytes() -> None:
    assert _files(_drawing()) == _files(_drawing())


def _files(drawing: Drawing) -> list[bytes]:
    return [drawing.svg.encode(), drawing.png, drawing.render("pdf")]


def test_the_svg_holds_outlines_and_no_date() -> None:
    svg = _drawing().svg
    assert "<text" not in svg
    assert "<!-- A note. -->" in svg
    assert "date" not in svg.lower()
    assert not re.search(r"20\d\d-\d\d-\d\d|Matplotlib v", svg)
    assert f'width="{WIDTH * 72:g}pt"' in svg


def test_the_png_has_the_width_for_print_and_says_research_use() -> None:
    image = Image.open(io.BytesIO(_drawing().png))
    assert image.width == round(WIDTH * PNG_DPI)
    assert image.text == {"Description": RESEARCH_USE}


def test_the_pdf_is_vectors_with_true_type_fonts_and_no_date() -> None:
    pdf = _drawing().render("pdf")
    assert pdf.startswith(b"%PDF")
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"/Subtype /Image" not in pdf
    assert not re.search(rb"CreationDate|/Producer|/Creator|D:20\d\d", pdf)
    assert b"/Title (Two words and a break.)" in pdf
    assert f"/Subject ({RESEARCH_USE})".encode() in pdf
    assert float(re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ", pdf)[1]) == pytest.approx(WIDTH * 72)
    assert _drawing().render("pdf") == pdf


def test_a_form_is_the_same_after_the_others() -> None:
    drawn, forms = _drawing(), ("pdf", "png", "svg", "pdf")
    assert [drawn.render(form) for form in forms] == [_drawing().render(form) for form in forms]


def test_the_alt_text_is_one_line() -> None:
    assert _drawing().alt == "Two words and a break."


def test_no_alt_text_is_an_error() -> None:
    with pytest.raises(InputError, match="text alternative"), house_style():
        figure = new_figure(1.0)
        figure.subplots()
        drawing(figure, " ")


@pytest.mark.parametrize("entries", [1, 2, 12])
def test_axes_legend_and_note_do_not_overlap(entries: int) -> None:
    with house_style():
        figure = new_figure(2.0, note="A note that goes on and on. " * 8)
        axes = figure.subplots()
        axes.set_xlabel("x")
        add_legend(figure, [Line2D([], [], label=f"method {number}\nin two lines") for number in range(entries)])
        lay_out(figure)
        figure.draw_without_rendering()
        renderer = figure.canvas.get_renderer()
        note = next(text for text in figure.texts if text.get_text().startswith("A note"))
        boxes = [part.get_tightbbox(renderer) for part in (note, figure.legends[0], axes)]
        for below, above in itertools.pairwise(boxes):
            assert below.y1 <= above.y0
        assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)
        assert boxes[0].y0 >= 0
        assert boxes[-1].y1 <= figure.bbox.y1
        assert axes.bbox.height > 1.4 * figure.dpi

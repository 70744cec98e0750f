"""Drawings as SVG and PNG: their size, title and description; pixels stay, other metadata goes."""

import io
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image, PngImagePlugin

from latentsr.errors import InputError
from latentsr.report.blocks import Drawing, bare_png, png_size, standalone_svg
from latentsr.report.figures.style import drawing


def test_size_is_that_of_the_pixels(png: Callable[[int, int], bytes]) -> None:
    assert png_size(png(17, 5)) == (17, 5)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16", "LA"])
def test_pixels_stay_and_side_notes_go(mode: str) -> None:
    image = Image.fromarray((np.arange(256, dtype=np.uint8) * 7).reshape(16, 16))
    image = (
        Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16) * 200)
        if mode == "I;16"
        else image.convert(mode)
    )
    text = PngImagePlugin.PngInfo()
    text.add_text("Patient", "DOE^JOHN")
    text.add_itxt("Path", "/home/ward", zip=True)
    exif = Image.Exif()
    exif[0x010E] = "DOE"
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=text, exif=exif)
    bare = Image.open(io.BytesIO(bare_png(buffer.getvalue(), "Research use only.")))
    assert bare.mode == image.mode
    assert bare.tobytes() == image.tobytes()
    assert bare.info.get("Description") == "Research use only."
    assert not {"Patient", "Path", "exif"} & bare.info.keys()


@pytest.mark.parametrize(
    "spoil", [lambda data: b"GIF89a" + data, lambda data: data[:-30], lambda data: data[:20], lambda data: b""]
)
def test_what_is_no_whole_png_is_refused(png: Callable[[int, int], bytes], spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(InputError, match="PNG"):
        bare_png(spoil(png(8, 8)))


@pytest.fixture
def plotted() -> Drawing:
    """A matplotlib figure of 3 x 2 inches with markers, words and an image."""
    figure = Figure(figsize=(3, 2))
    axes = figure.add_subplot()
    axes.plot([0, 1, 2], [3, 1, 2], "o-", label="a < b & c")
    axes.imshow(np.eye(3), extent=(0, 1, 1, 2))
    axes.legend()
    return drawing(figure, "alt <text>")


def test_size_is_in_css_pixels(plotted: Drawing) -> None:
    assert plotted.size == pytest.approx((3 * 96, 2 * 96))


def test_no_date_no_version_and_nothing_from_outside(plotted: Drawing) -> None:
    root = ElementTree.fromstring(plotted.svg)  # noqa: S314
    assert not [element for element in root.iter() if element.tag.endswith(("metadata", "script"))]
    targets = [value for element in root.iter() for key, value in element.attrib.items() if key.endswith("href")]
    assert targets
    assert all(target.startswith(("#", "data:image/png;base64,")) for target in targets)


@pytest.mark.parametrize("svg", ["<html/>", '<svg xmlns="http://www.w3.org/2000/svg"/>', '<svg width="10pt"/>'])
def test_svg_without_a_size_is_refused(svg: str) -> None:
    with pytest.raises(InputError):
        Drawing("alt", lambda form: svg.encode()).size  # noqa: B018


def test_as_a_file_it_has_title_and_description(plotted: Drawing) -> None:
    text = standalone_svg(plotted.svg, "alt <text>", "Research use only.")
    root = ElementTree.fromstring(text)  # noqa: S314
    space = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{space}svg"
    assert root.findtext(f"{space}title") == "alt <text>"
    assert root.findtext(f"{space}desc") == "Research use only."
    assert text == standalone_svg(plotted.svg, "alt <text>", "Research use only.")

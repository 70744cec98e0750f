"""The page: one file that holds all it shows, escapes every name, and reads well at all widths, in print and by ear."""

import base64
import hashlib
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from latentsr.errors import InputError, LatentSRError
from latentsr.provenance import RESEARCH_USE
from latentsr.report.blocks import Page, Picture, Section, Slider, Table, Text, View
from latentsr.report.page import render_page, write_markdown, write_page

TEMPLATES = Path(__file__).parents[2] / "src" / "latentsr" / "report" / "templates"


class _Elements(HTMLParser):
    """Every element as (tag, attributes), and the text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements[-1:] and self.elements[-1][0] not in ("style", "script"):
            self.text += data

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture(scope="module")
def html(sample_page: Page) -> str:
    return render_page(sample_page)


@pytest.fixture(scope="module")
def elements(html: str) -> _Elements:
    return _Elements(html)


@pytest.fixture(scope="module")
def written(sample_page: Page, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(sample_page, tmp_path_factory.mktemp("page") / "report.html")


def test_it_asks_for_nothing_from_elsewhere(html: str, elements: _Elements) -> None:
    targets = [item[key] for _, item in elements.elements for key in ("src", "href", "srcset") if key in item]
    assert targets
    assert all(target.startswith(("#", "data:")) for target in targets)
    assert "://" not in html
    assert "@import" not in html


def test_its_policy_allows_this_script_and_no_other(html: str, elements: _Elements) -> None:
    policy = next(item["content"] for item in elements.all("meta") if item.get("http-equiv"))
    script = re.search(r"<script>(.*?)</script>", html, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'; ")
    assert f"script-src 'sha256-{digest}'" in policy


def test_names_are_escaped_wherever_they_stand(html: str, elements: _Elements) -> None:
    assert len(elements.all("script")) == 1
    assert "<script>alert" not in html
    assert elements.text.count("<script>alert(1)</script> & \"q\" 'x' |") > 50
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", html)
    assert not [key for _, item in elements.elements for key in item if key.startswith("on")]


def test_ids_are_unique_and_every_reference_has_its_target(html: str, elements: _Elements) -> None:
    ids = [item["id"] for _, item in elements.elements if item.get("id")]
    assert len(ids) == len(set(ids))
    references = {item["href"][1:] for item in elements.all("a")}
    references |= {item["aria-labelledby"] for _, item in elements.elements if item.get("aria-labelledby")}
    assert references <= set(ids)


def test_it_can_be_read_by_ear(elements: _Elements) -> None:
    assert elements.all("html")[0]["lang"] == "en"
    assert [tag for tag, _ in elements.elements if re.fullmatch(r"h\d", tag)] == ["h1"] + ["h2"] * 8
    assert all((item.get("alt") or "").strip() for item in elements.all("img"))
    assert all(item["scope"] in ("col", "row") for item in elements.all("th"))
    assert all(item["aria-label"] for item in elements.all("input") if item.get("type") != "checkbox")
    assert all(item["tabindex"] == "0" for item in elements.all("div") if item.get("role") == "region")


def test_research_use_stands_at_the_top_and_at_the_end(html: str) -> None:
    assert html.count(RESEARCH_USE) == 2
    assert html.index(RESEARCH_USE) < html.index("<h1>") < html.index("<main>") < html.rindex(RESEARCH_USE)


def test_the_verdict_stands_before_all_sections(html: str) -> None:
    places = [html.index(f'id="{name}"') for name in ("verdict", "warnings", "contents", "section-1", "facts")]
    assert places == sorted(places)


def test_pictures_are_carried_without_loss(html: str, pixels: dict[str, np.ndarray]) -> None:
    images = [base64.b64decode(data) for data in re.findall(r"data:image/png;base64,([^\"]+)", html)]
    shown = {np.array(Image.open(io.BytesIO(data))).tobytes() for data in images}
    assert shown == {image.tobytes() for image in pixels.values()}


def test_what_a_picture_says_of_its_origin_stays_out() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "/home/ward/DOE^JOHN")
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 7).save(buffer, "PNG", pnginfo=text)
    html = render_page(
        Page("p", sections=(Section("s", (Slider("t", ("a", "b"), (View("", (buffer.getvalue(),) * 2),)),)),))
    )
    images = [base64.b64decode(data) for data in re.findall(r"data:image/png;base64,([^\"]+)", html)]
    assert len(images) == 2
    assert not any(b"DOE" in data for data in images)
    assert b"DOE" in buffer.getvalue()


def test_the_same_page_gives_the_same_bytes(sample_page: Page, written: Path, tmp_path: Path) -> None:
    again = write_page(sample_page, tmp_path / "again" / "report.html")
    assert again.read_bytes() == written.read_bytes()
    assert [path.name for path in again.parent.iterdir()] == ["report.html"]


def test_an_empty_page_and_an_empty_table_are_pages_too() -> None:
    html = render_page(Page("Nothing", sections=(Section("s", (Table("none", ("a", "b"), ()), Text())),)))
    assert "<h1>Nothing</h1>" in html
    assert 'id="verdict"' not in html
    assert 'id="facts"' not in html
    assert "<nav" not in render_page(Page("Nothing"))


@pytest.mark.parametrize(
    ("cells", "numeric"),
    [
        (("27.79 ± 1.66", "lossless"), True),
        (("+0.4 [0.1, 0.7]", "−0.4 [−0.7, 0.1]"), True),
        (("< 0.001", "–"), True),
        (("1.2 GFLOP", "83 M"), True),
        (("4x32x32", "1e-3"), True),
        (("–", "lossless"), False),
        (("12", "haar"), False),
        (("3f2a9c01", "77b0e1d2"), False),
        (("1" * 5000 + "q",), False),
    ],
)
def test_a_column_of_numbers_is_set_to_the_right(cells: tuple[str, ...], numeric: bool) -> None:
    assert Table("t", ("name", "value"), tuple(("a", cell) for cell in cells)).numeric == (False, numeric)


def test_a_table_whose_rows_do_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="'t': row 1 has 1 cells, the columns are 2"):
        Table("t", ("a", "b"), (("1", "2"), ("3",)))


def test_images_of_other_proportions_are_no_slider(png: Callable[[int, int], bytes]) -> None:
    with pytest.raises(InputError, match="16x8 and 8x8 px show no common field of view"):
        Slider("t", ("a", "b"), (View("", (png(8, 8), png(8, 8))), View("", (png(16, 8), png(8, 8)))))


def test_a_page_that_cannot_be_written_is_one_line(sample_page: Page, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LatentSRError, match="cannot write") as error:
        write_page(sample_page, tmp_path / "file" / "report.html")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        ("ink", "paper"),
        ("soft", "paper"),
        ("accent", "paper"),
        ("accent", "wash"),
        ("warn", "paper"),
        ("warn", "warn-wash"),
    ],
)
def test_words_stand_out_from_their_ground(ink: str, paper: str) -> None:
    """WCAG 2.2 AA, 1.4.3: at least 4.5 to 1."""
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})\b", (TEMPLATES / "page.css").read_text(encoding="utf-8")))
    light, dark = sorted((_luminance(colours[ink]), _luminance(colours[paper])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def _luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.2."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


SLIDER = """(() => {
  const figure = document.querySelector(".slider"), range = figure.querySelector("input");
  range.value = 20; range.dispatchEvent(new Event("input"));
  const images = [...figure.querySelectorAll(".side:not([hidden]) img")];
  const [before, after] = images.map((image) => image.getBoundingClientRect());
  const style = getComputedStyle(figure.querySelector(".after"));
  const drawn = getComputedStyle(figure.querySelector("img")).imageRendering;
  return {left: [before.left, after.left], width: after.width, clip: style.clipPath,
          said: range.getAttribute("aria-valuetext"), drawn};
})()"""
CHOSEN = """((kind, value) => {
  const figure = document.querySelector(".slider"), select = figure.querySelector(`[data-kind=${kind}]`);
  select.value = value; select.dispatchEvent(new Event("change"));
  const seen = [...figure.querySelectorAll(".side")].filter((side) => side.getClientRects().length);
  const said = figure.querySelector("input").getAttribute("aria-valuetext").split("<")[0];
  const after = (side) => side.classList.contains("after");
  return [seen.map(({ dataset }) => dataset.view + dataset.name), seen.filter(after).length, said];
})"""
SORTED = """(() => {
  const table = document.querySelector(".sortable"), head = table.tHead.rows[0].cells[1];
  const column = () => [...table.tBodies[0].rows].map((row) => row.cells[1].textContent);
  head.querySelector("button").click(); const up = column();
  head.querySelector("button").click(); return [up, column(), head.getAttribute("aria-sort")];
})()"""


@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser_it_fits_and_fails_in_nothing(
    written: Path, tmp_path: Path, open_page: Callable, width: int
) -> None:
    found = open_page(written, width, tmp_path / "page.png", scripts=[SLIDER, SORTED])
    assert found.clean, found
    slider, (up, down, order) = found.values
    assert slider["left"][0] == slider["left"][1]
    assert slider["width"] % 128 == 0
    assert slider["clip"] == "inset(0px 0px 0px 20%)"
    assert slider["said"].startswith("20 % bicubic, 80 % <script>")
    assert slider["drawn"] == "pixelated"
    assert up == ["−1.2", "31.05", "34.12", "36.90", "lossless", "lossless"]
    assert down == up[::-1]
    assert order == "descending"
    with Image.open(tmp_path / "page.png") as image:
        assert image.width == width * (2 if width == 390 else 1)


def test_in_print_nothing_is_clipped_and_sliders_show_both_sides(
    written: Path, tmp_path: Path, open_page: Callable
) -> None:
    """680 px are A4's width between the margins, 1008 px its height: very wide tables are printed on turned pages."""
    upright = open_page(written, 680, media="print", scripts=[SLIDER, "document.querySelector('.wide').remove()"])
    turned = open_page(written, 1008, media="print", pdf=tmp_path / "page.pdf")
    for found in (upright, turned):
        assert found.clean, found
        assert found.clipped == ()
    assert upright.values[0]["left"][1] - upright.values[0]["left"][0] > 100
    assert upright.values[0]["clip"] == "none"
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_drawings_are_carried_as_svg_with_size_and_words(sample_page: Page, elements: _Elements) -> None:
    drawings = [block.drawing for part in sample_page.sections for block in part.blocks if isinstance(block, Picture)]
    shown = [item for item in elements.all("img") if item["src"].startswith("data:image/svg+xml,")]
    assert [unquote(item["src"].partition(",")[2]) for item in shown] == [one.svg for one in drawings]
    assert {(item["width"], item["height"]) for item in shown} == {("512", "240")}


def test_a_number_and_its_unit_stay_on_one_line() -> None:
    html = render_page(Page("t", verdict=("12 % of 1.5 dB in 3 images at 100 mm, p = 0.020, q < 1", "p < 0.001")))
    assert "12\u00a0% of 1.5\u00a0dB in 3 images at 100\u00a0mm, p\u00a0=\u00a00.020, q &lt; 1" in html
    assert "<p>p\u00a0&lt;\u00a00.001</p>" in html


@pytest.mark.parametrize(("width", "unfolded"), [(1280, True), (390, False)])
def test_details_are_folded_on_a_phone_alone(tmp_path: Path, open_page: Callable, width: int, unfolded: bool) -> None:
    path = write_page(Page("t", verdict=("v",), details=("bears it out",)), tmp_path / "page.html")
    found = open_page(path, width, scripts=["document.querySelector('details').open"])
    assert (found.clean, found.values) == (True, (unfolded,))


def test_folded_sections_open_by_their_link_and_on_paper(tmp_path: Path, open_page: Callable) -> None:
    sections = (Section("seen", (Text(("first",)),)), Section("more", (Text(("second",)),), "a note", folded=True))
    path = write_page(Page("t", sections=sections, facts={"a": "b"}), tmp_path / "page.html")
    opened = "[...document.querySelectorAll('details')].map((one) => one.open)"
    turned = "new Promise((done) => setTimeout(done, 50))"  # in which the page hears of the new address
    found = open_page(
        path,
        scripts=[
            opened,
            "location.hash = 'section-2'",
            turned,
            opened,
            "dispatchEvent(new Event('beforeprint'))",
            opened,
        ],
    )
    assert (found.clean, found.values[0]) == (True, [False, False])
    assert (found.values[3], found.values[5]) == ([True, False], [True, True])


def test_what_is_folded_is_the_supplement_of_the_supplement(tmp_path: Path) -> None:
    sections = (Section("seen"), Section("more", folded=True), Section("most", folded=True))
    write_markdown(Page("t", sections=sections, facts={"a": "b"}), tmp_path)
    heads = [line for line in (tmp_path / "report.md").read_text().splitlines() if line.startswith("#")]
    assert heads == ["# t", "## 1 seen", "## Supplement", "### 2 more", "### 3 most", "## Facts"]


def test_details_stand_in_the_supplement(tmp_path: Path) -> None:
    write_markdown(Page("t", verdict=("v",), details=("bears it out",)), tmp_path)
    assert "## In detail\n\n- bears it out\n" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize("width", [1280, 390])
def test_any_two_images_of_a_view_are_compared(written: Path, open_page: Callable, width: int) -> None:
    """Shown are `view` and `name` of each picture; of one and the same on both sides there is one."""
    choices = [("before", 0), ("after", 1), ("view", 1), ("before", 1), ("before", 2)]
    found = open_page(written, width, scripts=[f"{CHOSEN}('{kind}', {value})" for kind, value in choices])
    assert found.clean, found
    left, right, other, same, turned = found.values
    assert left == [["00", "02"], 1, "50 % LR, 50 % "]
    assert right == [["00", "01"], 1, "50 % LR, 50 % bicubic"]
    assert other == [["10", "11"], 1, "50 % LR, 50 % bicubic"]
    assert same == [["11"], 0, "50 % bicubic, 50 % bicubic"]
    assert turned == [["11", "12"], 1, "50 % "]


def test_without_a_script_two_images_are_shown_side_by_side(sample_page: Page, elements: _Elements) -> None:
    sides = [item for item in elements.all("div") if (item.get("class") or "").startswith("side")]
    shown = [(item["data-view"], item["data-name"], item["class"]) for item in sides if "hidden" not in item]
    assert shown == [("0", "1", "side"), ("0", "2", "side after"), ("0", "0", "side"), ("0", "1", "side after")]
    labels = [item["data-kind"] for item in elements.all("select")]
    assert labels == ["view", "before", "after"]  # of two images there is nothing to choose

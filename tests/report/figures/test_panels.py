"""Cases and maps: every image with its own pixels, one colour scale, the enlarged part, scale bar, nothing cut off."""

import io
import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar
from PIL import Image

from latentsr.errors import InputError
from latentsr.provenance import RESEARCH_USE
from latentsr.report.figures import Case, Panel, Region, mean_maps, panels

HR = np.linspace(0, 1, 64 * 64).reshape(64, 64)
REGION = Region(8, 16, 20, 16)


def _case(methods: int, title: str = "Worst PSNR: image 0b5f77aa", **options: object) -> Case:
    shown = [Panel("LR, 16 x 16 px", HR[::4, ::4])]
    shown += [
        Panel(
            f"a method of number {number} with a long name",
            HR,
            f"{30 - number}.00 dB, LPIPS 0.101",
            np.full((64, 64), number / 10),
        )
        for number in range(methods)
    ]
    return Case(title, (*shown, Panel("HR", HR)), **{"region": REGION, "spacing": 0.9, **options})


LOOK = {"window": "0 to 1", "greatest": 0.5, "unit": "%"}


def _texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def _scale_bars(figure: Figure) -> list[AnchoredSizeBar]:
    return [one for axes in figure.axes for one in axes.artists if isinstance(one, AnchoredSizeBar)]


def _length(bar: AnchoredSizeBar) -> str:
    return bar.txt_label.get_children()[0].get_text()


def _images(figure: Figure, cmap: str) -> list:
    found = [image for axes in figure.axes for image in axes.images if image.get_cmap().name == cmap]
    return [image for image in found if image.get_array().shape[0] > 1]


def _assert_nothing_is_cut_or_overlaps(figure: Figure) -> None:
    boxes = {text: text.get_window_extent() for text in figure.texts if text.get_text().strip()}
    for text, box in boxes.items():
        assert 0 <= box.x0 <= box.x1 <= figure.bbox.x1, text
        assert 0 <= box.y0 <= box.y1 <= figure.bbox.y1, text
    for (text, box), (other, second) in itertools.combinations(boxes.items(), 2):
        assert not box.overlaps(second), f"{text} on {other}"


@pytest.mark.parametrize("methods", [1, 7])
def test_every_panel_is_drawn_and_nothing_is_cut(methods: int, drawn: list[Figure]) -> None:
    panels([_case(methods), _case(methods, "Best PSNR")], **LOOK)
    figure = drawn[0]
    assert len(_images(figure, "gray")) == 2 * 2 * (methods + 2)
    assert len(_images(figure, "inferno")) == 2 * methods
    assert {"Window: 0 to 1", RESEARCH_USE, "Absolute error in %"} <= set(_texts(figure))
    assert [_length(bar) for bar in _scale_bars(figure)] == ["10 mm"] * 2 * (methods + 2)
    _assert_nothing_is_cut_or_overlaps(figure)


@pytest.mark.parametrize(("methods", "rows"), [(4, [6]), (5, [4, 3]), (11, [5, 5, 3])])
def test_rows_are_few_and_as_equal_as_can_be(methods: int, rows: list[int], drawn: list[Figure]) -> None:
    panels([_case(methods, region=None)], **LOOK)
    tops = [image.axes.get_position().y1 for image in _images(drawn[0], "gray")]
    assert [tops.count(top) for top in dict.fromkeys(tops)] == rows


def test_errors_share_one_scale(drawn: list[Figure]) -> None:
    panels([_case(3)], **LOOK)
    assert {image.get_clim() for image in _images(drawn[0], "inferno")} == {(0, 0.5)}


def test_the_region_is_framed_and_enlarged_in_all_images(drawn: list[Figure]) -> None:
    panels([_case(1)], **LOOK)
    enlarged = [axes for axes in drawn[0].axes if axes.get_xlim() == (16, 32) and axes.get_ylim() == (28, 8)]
    assert len(enlarged) == 3
    np.testing.assert_array_equal(enlarged[2].images[0].get_array(), HR[8:28, 16:32])
    np.testing.assert_array_equal(enlarged[0].images[0].get_array(), HR[::4, ::4][2:7, 4:8])
    assert tuple(enlarged[0].images[0].get_extent()) == (16, 32, 28, 8)
    frames = [patch.get_bbox().bounds for axes in drawn[0].axes for patch in axes.patches]
    assert set(frames) == {(16, 8, 16, 20)}


def test_pixels_of_an_image_are_whole_in_the_png(drawn: list[Figure]) -> None:
    picture = panels([Case("one", (Panel("HR", (np.indices((64, 64)).sum(0) % 2).astype(float)),))], **LOOK)
    pixels = np.array(Image.open(io.BytesIO(picture.png)).convert("L"))
    box = drawn[0].axes[0].get_window_extent()
    top, left = round(pixels.shape[0] - box.y1), round(box.x0)
    shown = pixels[top : top + 256, left : left + 256]
    assert set(np.unique(shown)) == {0, 255}
    np.testing.assert_array_equal(shown[::4, ::4] > 0, np.indices((64, 64)).sum(0) % 2 > 0)


@pytest.mark.parametrize(("spacing", "words"), [(0.9, "10 mm"), (0.3125, "5 mm"), (0.02, "0.2 mm"), (9.0, "100 mm")])
def test_the_scale_bar_is_as_long_as_it_says(spacing: float, words: str, drawn: list[Figure]) -> None:
    panels([Case("one", (Panel("HR", HR[:32]),), spacing=spacing)], **LOOK)
    (bar,) = _scale_bars(drawn[0])
    assert _length(bar) == words
    (drawn_bar,) = bar.size_bar.get_children()
    assert drawn_bar.get_width() * spacing == pytest.approx(float(words.split()[0]), rel=0.01)


def test_without_spacing_or_errors_nothing_is_claimed(drawn: list[Figure]) -> None:
    picture = panels([Case("one", (Panel("HR", HR),))], **LOOK)
    assert not [text for text in _texts(drawn[0]) if "error" in text]
    assert not _scale_bars(drawn[0])
    assert "Error" not in picture.alt


def test_the_alt_text_names_images_and_scores() -> None:
    alt = panels([_case(1)], **LOOK).alt
    assert "Worst PSNR: image 0b5f77aa: LR, 16 x 16 px, a method of number 0 with a long name (30.00 dB" in alt
    assert "Window: 0 to 1. Error maps reach from 0 to 0.5 %." in alt


@pytest.mark.parametrize(
    ("cases", "message"),
    [
        ([], "without cases"),
        ([Case("a", ())], "without panels"),
        ([Case("a", (Panel("HR", np.zeros((2, 2, 3))),))], "expected an image"),
        ([Case("a", (Panel("HR", HR, error=np.zeros(3)),))], "expected an image"),
        ([Case("a", (Panel("HR", HR),), Region(60, 0, 8, 8))], "beyond the image"),
        ([Case("a", (Panel("HR", HR),), Region(0, 0, 0, 8))], "beyond the image"),
    ],
)
def test_bad_cases_are_errors(cases: list[Case], message: str) -> None:
    with pytest.raises(InputError, match=message):
        panels(cases, **LOOK)


def test_maps_share_one_scale_and_keep_their_pixels(drawn: list[Figure]) -> None:
    maps = [(f"hallucinated, a long method name {number}", np.full((40, 30), float(number))) for number in range(6)]
    maps[1][1][0, 0] = np.nan
    picture = mean_maps(maps, greatest=5.0)
    images = [image for axes in drawn[0].axes for image in axes.images if image.get_array().shape == (40, 30)]
    assert len(images) == 6
    assert {image.get_clim() for image in images} == {(0, 5)}
    assert [float(image.get_array()[5, 5]) for image in images] == [0, 1, 2, 3, 4, 5]
    assert "5: mean 5.00" in picture.alt
    assert all(text.get_window_extent().x1 <= drawn[0].bbox.x1 for text in drawn[0].texts)


def test_a_scale_that_ends_below_the_greatest_value_says_so(drawn: list[Figure]) -> None:
    maps = [("a", np.linspace(0, 9, 64).reshape(8, 8))]
    for greatest in (4.0, 9.0):
        picture = mean_maps(maps, greatest=greatest)
        ticks = [label.get_text() for axes in drawn[-1].axes for label in axes.get_xticklabels()]
        assert ("4 and more" in ticks, "stand there for more too" in picture.alt) == (greatest < 9,) * 2
    assert "9" in ticks


def test_all_zero_maps_are_drawn() -> None:
    assert "from 0 to 1 %" in mean_maps([("nothing", np.zeros((8, 8)))], greatest=1.0).alt


@pytest.mark.parametrize(
    "maps",
    [
        [],
        [("a", np.zeros((2, 3))), ("b", np.zeros((3, 2)))],
        [("a", np.zeros(4))],
        [("a", -np.ones((2, 2)))],
        [("a", np.full((2, 2), np.inf))],
        [("a", np.full((2, 2), np.nan))],
    ],
)
def test_bad_maps_are_errors(maps: list) -> None:
    with pytest.raises(InputError, match="expected"):
        mean_maps(maps, greatest=1.0)

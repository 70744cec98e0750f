"""Rates and maps of what was invented and what was lost: pairs of bars, one colour scale, sizes checked."""

import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from latentsr.errors import InputError
from latentsr.report.figures import mean_maps, rates

INVENTED = [("medvae", 24.7, 23.0, 26.0, "MRNet"), ("sd-vae", 25.2, 24.0, 27.0, "MRNet")]
LOST = [("medvae", 27.1, 26.0, 28.0, "MRNet"), ("sd-vae", math.nan, math.nan, math.nan, "MRNet")]


def test_two_bars_a_method_and_words_where_one_is_missing(drawn: list[Figure]) -> None:
    picture = rates(INVENTED, LOST)
    axes = drawn[0].axes[0]
    assert [patch.get_width() for patch in axes.patches] == [24.7, 27.1, 25.2]
    assert len({patch.get_hatch() for patch in axes.patches}) == 2
    texts = [text.get_text() for text in axes.texts]
    assert {"MRNet", "24.70 [23.00, 26.00]", "no value"} <= set(texts)
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["hallucinated", "lost"]
    assert "MRNet, medvae: hallucinated 24.70, lost 27.10" in picture.alt
    assert axes.get_xlabel() == "Share of pixels (%), lower is better"


@pytest.mark.parametrize(("pair", "name"), [((INVENTED, []), "hallucinated"), (([], INVENTED), "lost")])
def test_one_of_both_is_drawn_alone(drawn: list[Figure], pair: tuple[list, list], name: str) -> None:
    picture = rates(*pair)
    axes = drawn[0].axes[0]
    assert [patch.get_width() for patch in axes.patches] == [24.7, 25.2]
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == [name]
    assert f"MRNet, medvae: {name} 24.70;" in picture.alt


def test_other_rows_are_an_error() -> None:
    with pytest.raises(InputError, match="other rows"):
        rates(INVENTED, LOST[::-1])
    with pytest.raises(InputError, match="without rows"):
        rates([], [])


def test_maps_share_one_scale_and_keep_their_pixels(drawn: list[Figure]) -> None:
    maps = [(f"hallucinated, a long method name {number}", np.full((40, 30), float(number))) for number in range(6)]
    maps[1][1][0, 0] = np.nan
    picture = mean_maps(maps)
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
    assert "from 0 to 1 %" in mean_maps([("nothing", np.zeros((8, 8)))]).alt


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
        mean_maps(maps)

"""Methods are told apart in grey and by colour-blind eyes; names of any length fit; user settings change nothing."""

import itertools

import matplotlib
import pytest
from matplotlib.colors import to_rgb

from latentsr.report.figures import Interval, intervals
from latentsr.report.figures.style import COLOURS, axis_label, house_style, mark, marks, wrapped

# Viénot, Brettel and Mollon 1999: what protanopes and deuteranopes see of linear RGB.
BLINDNESS = {
    "protanopia": ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0)),
    "deuteranopia": ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0)),
}


def _linear(colour: str) -> tuple[float, ...]:
    return tuple(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour))


def _lightness(colour: str) -> float:
    """CIE L*, 0 to 100: what is left of a colour in grey print."""
    luminance = sum(part * weight for part, weight in zip(_linear(colour), (0.2126, 0.7152, 0.0722), strict=True))
    return 116 * luminance ** (1 / 3) - 16 if luminance > 0.008856 else 903.3 * luminance


def test_twelve_methods_differ_without_colour_and_more_in_two_features() -> None:
    assert len({mark(number).marker for number in range(12)}) == len({mark(number).hatch for number in range(12)}) == 12
    assert len({(mark(number).marker, str(mark(number).dash)) for number in range(60)}) == 60
    assert len({(mark(number).colour, mark(number).hatch) for number in range(80)}) == 80


def test_colours_differ_from_white_and_neighbours_in_lightness() -> None:
    assert all(_lightness(colour) < 75 for colour in COLOURS)
    for first, second in itertools.pairwise([*COLOURS, COLOURS[0]]):
        assert abs(_lightness(first) - _lightness(second)) > 8, (first, second)


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_colours_differ_to_colour_blind_eyes(blindness: str) -> None:
    seen = {
        colour: [sum(w * c for w, c in zip(row, _linear(colour), strict=True)) for row in BLINDNESS[blindness]]
        for colour in COLOURS
    }
    for first, second in itertools.combinations(COLOURS, 2):
        distance = max(abs(a - b) for a, b in zip(seen[first], seen[second], strict=True))
        assert distance > 0.05, (first, second)


def test_a_method_keeps_its_mark_where_others_are_left_out() -> None:
    methods = ["bicubic", "medvae", "haar"]
    assert marks(["haar"], methods)["haar"] == marks(methods)["haar"] == mark(2)
    assert marks(["new"], methods)["new"] == mark(3)


def test_words_break_after_spaces_and_marks_and_where_they_must() -> None:
    assert wrapped("flow_16_steps_euler_medvae", 12) == "flow_16_\nsteps_euler_\nmedvae"
    assert wrapped("bicubic+projection", 14) == "bicubic+\nprojection"
    assert wrapped("abcdefghij", 4) == "abcd\nefgh\nij"
    assert wrapped("one two three four five", 5, lines=2) == "one\ntwo…"
    assert wrapped("  \n ", 5) == " "
    assert all(len(line) <= 9 for line in wrapped("a-b_c/d efghijklmnop qr" * 5, 9).split("\n"))


def test_axis_labels_say_unit_and_direction() -> None:
    assert axis_label("PSNR", "dB", "higher") == "PSNR (dB), higher is better"
    assert axis_label("LPIPS", "", "lower") == "LPIPS, lower is better"
    assert axis_label("", "dB") == "dB"


def test_a_users_settings_change_nothing_and_are_left_alone() -> None:
    plain = intervals([Interval("a", 1.0, 0.5, 1.5)])
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "none", "svg.hashsalt": "x"}):
        assert intervals([Interval("a", 1.0, 0.5, 1.5)]) == plain
        assert matplotlib.rcParams["font.size"] == 30
    with house_style():
        assert matplotlib.rcParams["svg.fonttype"] == "path"

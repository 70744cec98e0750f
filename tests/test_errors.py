"""Texts that a terminal and a log can take."""

import pytest

from latentsr.errors import InputError, printable


@pytest.mark.parametrize(("text", "expected"), [
    ("plain, ümlaut 漢字", "plain, ümlaut 漢字"),
    ("two\nlines\tand a tab", "two lines and a tab"),
    ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
    ("caf\udce9.dcm", "caf\\udce9.dcm"),
    ("\u202egnp.exe", "\\u202egnp.exe"),
])  # fmt: skip
def test_what_is_no_character_is_escaped(text: str, expected: str) -> None:
    assert printable(text) == expected
    assert printable(text).isprintable()
    assert str(InputError(text)) == expected


def test_a_long_text_is_cut() -> None:
    assert printable("x" * 65, 64) == "x" * 61 + "..."
    assert printable("x" * 64, 64) == "x" * 64

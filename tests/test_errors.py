"""Texts that a terminal and a log can take."""

import pytest

from latentsr.errors import InputError, printable, reason


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


@pytest.mark.parametrize(("error", "words"), [
    (ValueError("bad\n  magic"), "bad magic"),
    (OSError(28, "No space left on device", "/a/path"), "No space left on device"),
    (RuntimeError("Error(s) in loading Net:\n" + 400 * "x"), "Error(s) in loading Net"),
    (RuntimeError(400 * "x"), "RuntimeError"),
    (KeyError(), "KeyError"),
    (RecursionError("maximum depth"), "nested too deeply"),
])  # fmt: skip
def test_a_librarys_words_are_whole_or_left_out(error: Exception, words: str) -> None:
    assert reason(error) == words

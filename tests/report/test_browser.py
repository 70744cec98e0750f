"""The browser check can fail: what is wrong with a page is found out, what is right is not complained of."""

from collections.abc import Callable
from pathlib import Path

import pytest

HEAD = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>t</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
)


def _page(folder: Path, body: str) -> Path:
    path = folder / "page with space.html"
    path.write_text(HEAD + body, encoding="utf-8")
    return path


def test_a_sound_page_is_clean(tmp_path: Path, open_page: Callable) -> None:
    page = _page(tmp_path, '<p id="a">text</p><script>console.log("fine")</script>')
    found = open_page(
        page, 390, tmp_path / "a" / "page.png", scripts=["innerWidth", "Promise.resolve(matchMedia('print').matches)"]
    )
    assert found.clean
    assert found.values == (390, False)
    assert (tmp_path / "a" / "page.png").read_bytes().startswith(b"\x89PNG")


def test_errors_of_scripts_are_found(tmp_path: Path, open_page: Callable) -> None:
    found = open_page(_page(tmp_path, '<script>console.error("said", 7); setTimeout(() => { missing() }, 20)</script>'))
    assert not found.clean
    assert found.errors[0] == "said 7"
    assert "ReferenceError: missing is not defined" in found.errors[1]


def test_requests_are_found_whether_they_fail_or_not(tmp_path: Path, open_page: Callable) -> None:
    (tmp_path / "beside.css").write_text("p {color: red}")
    body = (
        '<link rel="stylesheet" href="beside.css"><img alt="" src="https://example.org/a.png"><img alt="" src="data:,">'
    )
    found = open_page(_page(tmp_path, body))
    assert not found.clean
    assert sorted(found.requests) == [(tmp_path / "beside.css").as_uri(), "https://example.org/a.png"]


def test_breaches_of_the_pages_own_policy_are_found(tmp_path: Path, open_page: Callable) -> None:
    policy = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">'
    found = open_page(_page(tmp_path, f"{policy}<script>document.title = 1</script>"))
    assert not found.clean
    assert "Content Security Policy" in found.errors[0]


def test_what_is_too_wide_is_found(tmp_path: Path, open_page: Callable) -> None:
    wide = '<div style="width: 500px; height: 9px"></div>'
    found = open_page(_page(tmp_path, f'<body style="margin: 0">{wide}'), 390)
    assert not found.clean
    assert found.overflow == pytest.approx(110, abs=2)  # a phone zooms out to a fraction of a pixel
    inside = open_page(
        _page(tmp_path, f'<body style="margin: 0"><div id="box" style="overflow: auto">{wide}</div>'), 390
    )
    assert inside.clean
    assert inside.clipped == ("div#box",)

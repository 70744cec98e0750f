"""What a headless Chromium says of a page on disk: console errors, requests, and what is wider than its window.

Tests take it as the fixture `open_page` of tests/report/conftest.py, which skips where there is no Chromium.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage

NAMES = ("chromium", "google-chrome", "chromium-browser", "google-chrome-stable")
FLAGS = ("--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND", "--force-color-profile=srgb")
SETTLING = 200  # ms after loading in which late messages are still taken
LAYOUT = """async () => {
  await document.fonts.ready;
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const mark = (sign, text) => text ? sign + text : "";
  const name = (node) => node.tagName.toLowerCase() + mark("#", node.id) + mark(".", node.className);
  const nodes = [...document.querySelectorAll("body *")];
  const cut = (node) => getComputedStyle(node).overflowX !== "visible" && node.scrollWidth > node.clientWidth + 1;
  return {
    width: document.documentElement.scrollWidth,
    clipped: nodes.filter((node) => node instanceof HTMLElement && cut(node)).map(name),
  };
}"""


@dataclass(frozen=True)
class Findings:
    """What was found out about a page at one width.

    `errors` are the console's errors, uncaught exceptions and breaches of the page's content policy; `requests` are
    the addresses asked for beside the page itself and data URIs, whether or not they were let through; `overflow` is
    by how many px the page is wider than the window; `clipped` are the elements that hide or scroll a part of their
    content sideways (welcome on a phone, not in print); `values` are what the `scripts` gave back.
    """

    errors: tuple[str, ...]
    requests: tuple[str, ...]
    overflow: int
    clipped: tuple[str, ...]
    values: tuple[Any, ...]

    @property
    def clean(self) -> bool:
        """Whether the page asks for nothing, fails in nothing and fits."""
        return not (self.errors or self.requests or self.overflow)


def find_browser() -> str | None:
    """The path of a Chromium, or None."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


def open_page(
    browser: Browser,
    path: Path,
    width: int = 1280,
    screenshot: Path | None = None,
    *,
    height: int = 900,
    media: str = "screen",
    scripts: Sequence[str] = (),
    pdf: Path | None = None,
) -> Findings:
    """What Chromium finds in the file at `path` in a window of `width` px, below 600 px a phone's.

    Args:
        browser: a running Chromium
        path: an HTML file
        width, height: of the window, in CSS pixels
        screenshot: where to write the whole page's picture (PNG)
        media: "screen" or "print"
        scripts: JavaScript expressions to evaluate, one after the other, once the page has loaded; promises are awaited
        pdf: where to write the page as printed on its own paper size
    """
    phone, address = width < 600, path.resolve().as_uri()
    errors: list[str] = []
    requests: list[str] = []

    def said(message: ConsoleMessage) -> None:
        errors.extend([message.text] if message.type in ("error", "assert") else [])

    with browser.new_context(
        viewport={"width": width, "height": height}, device_scale_factor=2 if phone else 1, is_mobile=phone
    ) as context:
        page = context.new_page()
        page.on("console", said)
        page.on("pageerror", lambda error: errors.append(f"{error.name}: {error.message}"))
        page.on("request", lambda request: requests.append(request.url))
        page.emulate_media(media=media)
        page.goto(address)
        values = tuple(page.evaluate(script) for script in scripts)
        layout = page.evaluate(LAYOUT)
        page.wait_for_timeout(SETTLING)
        if screenshot:
            page.screenshot(path=screenshot, full_page=True)
        if pdf:
            page.pdf(path=pdf, prefer_css_page_size=True)
    return Findings(
        errors=tuple(errors),
        requests=tuple(url for url in requests if url.partition("#")[0] != address and not url.startswith("data:")),
        overflow=max(0, layout["width"] - width),
        clipped=tuple(layout["clipped"]),
        values=values,
    )

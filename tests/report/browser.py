"""What a headless Chromium says of a page on disk: console errors, requests, and what is wider than its window.

Spoken to over a pipe in the DevTools protocol with the standard library alone: the command line's own --screenshot and
--dump-dom know neither windows narrower than 500 px nor print, and tell of failed requests only in passing.
Tests take it as the fixture `open_page` of tests/report/conftest.py, which skips where there is no Chromium.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAMES = ("chromium", "google-chrome", "chromium-browser", "google-chrome-stable")
PATIENCE = 60.0  # s for one answer; two shared cores are slow at times
SETTLING = 0.3  # s after loading in which late messages are still taken
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--remote-debugging-pipe", "--force-color-profile=srgb",
)  # fmt: skip
LAYOUT = """(async () => {
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
})()"""


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
        path: an HTML file
        width, height: of the window, in CSS pixels
        screenshot: where to write the whole page's picture (PNG)
        media: "screen" or "print"
        scripts: JavaScript expressions to evaluate, one after the other, once the page has loaded; promises are awaited
        pdf: where to write the page as printed on its own paper size
    """
    with _tab() as tab:
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.ask(f"{domain}.enable")
        phone = width < 600
        window = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        tab.ask("Emulation.setDeviceMetricsOverride", **window)
        tab.ask("Emulation.setEmulatedMedia", media=media)
        address = path.resolve().as_uri()
        tab.ask("Page.navigate", url=address)
        tab.wait_for("Page.loadEventFired")
        values = tuple(tab.evaluate(script) for script in scripts)
        layout = tab.evaluate(LAYOUT)
        tab.listen(SETTLING)
        if screenshot:
            size = tab.ask("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": width, "height": size["height"], "scale": 1}
            _write(screenshot, tab.ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip))
        if pdf:
            _write(pdf, tab.ask("Page.printToPDF", preferCSSPageSize=True, printBackground=False))
        return Findings(
            errors=tuple(_errors(tab.events)),
            requests=tuple(_requests(tab.events, address)),
            overflow=max(0, layout["width"] - width),
            clipped=tuple(layout["clipped"]),
            values=values,
        )


def _write(path: Path, answer: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(base64.b64decode(answer["data"]))


def _errors(events: list[dict[str, Any]]) -> Iterator[str]:
    for event in events:
        what = event["params"]
        if event["method"] == "Runtime.exceptionThrown":
            details = what["exceptionDetails"]
            yield details.get("exception", {}).get("description", details["text"])
        elif event["method"] == "Runtime.consoleAPICalled" and what["type"] in ("error", "assert"):
            yield " ".join(str(part.get("value", part.get("description", ""))) for part in what["args"])
        elif event["method"] == "Log.entryAdded" and what["entry"]["level"] == "error":
            yield what["entry"]["text"]


def _requests(events: list[dict[str, Any]], address: str) -> Iterator[str]:
    for event in events:
        if event["method"] == "Network.requestWillBeSent":
            url = event["params"]["request"]["url"]
            if url.partition("#")[0] != address and not url.startswith("data:"):
                yield url


class _Tab:
    """A browser's one tab: commands and their answers, and the `events` that came meanwhile."""

    def __init__(self, commands: int, answers: int) -> None:
        self.commands, self.answers = commands, answers
        self.events: list[dict[str, Any]] = []
        self.session: str | None = None
        self._number, self._rest = 0, b""

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a command; RuntimeError where the browser refuses, TimeoutError where it stays silent."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while True:
            for answer in self._receive(end):
                if answer.get("id") == self._number:
                    if "error" in answer:
                        raise RuntimeError(f"{method}: {answer['error']['message']}")
                    return answer["result"]
            if time.monotonic() > end:
                raise TimeoutError(f"Chromium did not answer {method} within {PATIENCE:.0f} s")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        result = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression[:80]}: {result['exceptionDetails']['exception'].get('description')}")
        return result["result"].get("value")

    def wait_for(self, method: str) -> None:
        """Listens until an event of this name has come."""
        end = time.monotonic() + PATIENCE
        while not any(event["method"] == method for event in self.events):
            if time.monotonic() > end:
                raise TimeoutError(f"Chromium sent no {method} within {PATIENCE:.0f} s")
            self._receive(end)

    def listen(self, seconds: float) -> None:
        """Takes in events for some time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._receive(end)

    def _receive(self, end: float) -> list[dict[str, Any]]:
        """Messages that are answers, waiting until `end` for the next one; events are kept in `events`."""
        ready, _, _ = select.select([self.answers], [], [], max(0.0, end - time.monotonic()))
        if ready:
            data = os.read(self.answers, 1 << 20)
            if not data:
                raise RuntimeError("Chromium has ended")
            self._rest += data
        *messages, self._rest = self._rest.split(b"\0")
        decoded = [json.loads(message) for message in messages]
        self.events += [message for message in decoded if "method" in message]
        return [message for message in decoded if "id" in message]


@contextmanager
def _tab() -> Iterator[_Tab]:
    """A new browser with an own, empty profile, ended with all its processes afterwards."""
    browser = find_browser()
    if browser is None:
        raise FileNotFoundError(f"none of {', '.join(NAMES)} is installed")
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as home:
        process, commands, answers = _start(browser, home)
        try:
            tab = _Tab(commands, answers)
            target = tab.ask("Target.createTarget", url="about:blank")["targetId"]
            tab.session = tab.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            yield tab
        finally:
            os.close(commands)
            os.close(answers)
            os.killpg(process, signal.SIGKILL)  # its own group, made below
            os.waitpid(process, 0)


def _start(browser: str, home: str) -> tuple[int, int, int]:
    """The process and our ends of its pipes; Chromium reads commands from descriptor 3 and answers on 4."""
    theirs_in, ours_out = (_high(descriptor) for descriptor in os.pipe())
    ours_in, theirs_out = (_high(descriptor) for descriptor in os.pipe())
    arguments = [browser, *FLAGS, f"--user-data-dir={home}/profile", "about:blank"]
    process = os.posix_spawn(
        browser, arguments, {**os.environ, "HOME": home, "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, theirs_in, 3),
            (os.POSIX_SPAWN_DUP2, theirs_out, 4),
        ],
        setpgroup=0,
    )  # fmt: skip
    os.close(theirs_in)
    os.close(theirs_out)
    return process, ours_out, ours_in


def _high(descriptor: int) -> int:
    """The same pipe under a number of 10 or more, out of the way of the 3 and 4 that Chromium wants."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved

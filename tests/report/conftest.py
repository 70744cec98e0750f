"""The browser that report pages are opened in."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


def _load_browser() -> ModuleType:
    """browser.py of this folder: tests are no package, so that it cannot be imported by name."""
    spec = importlib.util.spec_from_file_location("report_browser", Path(__file__).with_name("browser.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def open_page() -> Callable:
    """`open_page(path, width, screenshot=None, ...) -> Findings` of browser.py; skips where there is no Chromium."""
    browser = _load_browser()
    if browser.find_browser() is None:
        pytest.skip("no Chromium: " + ", ".join(browser.NAMES))
    return browser.open_page

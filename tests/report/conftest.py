"""The browser that report pages are opened in, what figures drew, and a page with every kind of block."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from playwright.sync_api import sync_playwright

from latentsr.report.blocks import Drawing, Images, Page, Picture, Section, Slider, Table, Text, Tile, View
from latentsr.report.evaluation import evaluation_page, write_report
from latentsr.report.evaluation.data import Evaluation, read_evaluation
from latentsr.report.figures import style

# Markup, a cell's end, writing turned around, a control character and half a character, as file names may hold them.
HOSTILE = "<script>alert(1)</script> & \"q\" 'x' | \u202ertl\u202c `c` *b* [a](b) \x07 \udc80 ünï"
SVG = """<?xml version="1.0"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="384pt" height="180pt"
 viewBox="0 0 384 180"><metadata><date>2026-11-21</date></metadata>
<defs><style type="text/css">*{stroke-linejoin: round}</style>
<clipPath id="c"><rect width="384" height="180"/></clipPath>
<path id="tick" d="M0 0L0 4" stroke="#222"/></defs>
<g clip-path="url(#c)"><rect x="60" y="40" width="40" height="100" fill="#0072b2"/>
<rect x="140" y="70" width="40" height="70" fill="#e69f00"/><use xlink:href="#tick" x="80" y="140"/></g>
<text x="10" y="24" font-size="12">PSNR / dB &lt;x&gt;</text></svg>
"""


def _load(name: str) -> ModuleType:
    """A module of this folder, in sys.modules as `report_NAME`: tests are no package, so it has no name of its own."""
    spec = importlib.util.spec_from_file_location(f"report_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


browser = _load("browser")
evaluations = _load("evaluations")
studies = _load("studies")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished evaluation of three methods on two datasets with everything there is; not to be changed."""
    return evaluations.evaluated(tmp_path_factory.mktemp("evaluation"))


@pytest.fixture(scope="session")
def evaluation(folder: Path) -> Evaluation:
    """That evaluation, read for its report."""
    return read_evaluation(folder)


@pytest.fixture(scope="session")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """An evaluation by a column of the dataset, of one method of two seeds, read for its report."""
    return read_evaluation(evaluations.grouped(tmp_path_factory.mktemp("grouped")))


@pytest.fixture(scope="session")
def page(folder: Path) -> Page:
    """Its page, written beside it with its Markdown."""
    return write_report(folder)


@pytest.fixture(scope="session")
def grouped_page(grouped: Evaluation) -> Page:
    """The page of the grouped one."""
    return evaluation_page(grouped)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Figure]]:
    """The figures that were drawn during the test, as they stood when they were laid out."""
    figures: list[Figure] = []
    original = style.lay_out

    def keep(figure: Figure) -> None:
        original(figure)
        if figure not in figures:
            figures.append(figure)

    monkeypatch.setattr(style, "lay_out", keep)
    return figures


@pytest.fixture(scope="session")
def open_page() -> Iterator[Callable]:
    """`open_page(path, width, screenshot=None, ...) -> Findings` of browser.py; skips where there is no Chromium."""
    if (program := browser.find_browser()) is None:
        pytest.skip("no Chromium: " + ", ".join(browser.NAMES))
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, args=browser.FLAGS) as one,
    ):
        yield partial(browser.open_page, one)


def encode_png(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def png() -> Callable[[int, int], bytes]:
    """A grey PNG of some width and height."""
    return lambda width, height: encode_png(np.full((height, width), 90, dtype=np.uint8))


@pytest.fixture(scope="session")
def pixels() -> dict[str, np.ndarray]:
    """Images (uint8) of one field of view: truth, sr (128 px), lr (32 px), and the error as RGB."""
    rows, columns = np.mgrid[:128, :128]
    truth = (127 + 90 * np.sin(rows / 7) * np.cos(columns / 9)).astype(np.uint8)
    sr = np.clip(truth + np.random.default_rng(0).normal(0, 9, truth.shape), 0, 255).astype(np.uint8)
    error = np.abs(sr.astype(int) - truth).astype(np.uint8) * 6
    return {"truth": truth, "sr": sr, "lr": truth[::4, ::4], "error": np.stack([error, error // 2, error // 4], -1)}


@pytest.fixture(scope="session")
def sample_page(pixels: dict[str, np.ndarray]) -> Page:
    """A page with every kind of block, hostile names, a long table and a wide one."""
    png = {name: encode_png(image) for name, image in pixels.items()}
    drawing = Drawing(f"Two bars: {HOSTILE}", {"svg": SVG.encode(), "png": png["truth"], "pdf": b"%PDF-"}.__getitem__)
    tiles = (
        Tile(png["truth"]),
        Tile(png["lr"], "32 px"),
        Tile(png["sr"], "28.1 dB"),
        Tile(png["error"], HOSTILE),
        None,
    )
    grid = Images(
        "Worst images", ("truth", "LR", HOSTILE, "error", "none"), ("3f2a9c01", HOSTILE), (tiles,) * 2, "By rule."
    )
    sections = (
        Section("Ceilings", (_ceilings(), Picture("Ceilings", drawing, f"Caption {HOSTILE}")), note=HOSTILE),
        Section(HOSTILE, (Text((HOSTILE, "Second."), (HOSTILE, "item")), Picture(HOSTILE, drawing), _many_rows())),
        Section("Images", (grid, _slider(png))),
        Section("LR", (Slider("LR and truth", ("LR", "truth"), (View("", (png["lr"], png["truth"])),)),)),
    )
    facts = {"latentsr": "0.1.0", "command": f"latentsr screen {HOSTILE}", "hash": "9f" * 32, HOSTILE: HOSTILE}
    return Page(HOSTILE, "All kinds of blocks", ("The first sentence.", HOSTILE), sections, facts, (HOSTILE,))


def _slider(png: dict[str, bytes]) -> Slider:
    """Three names and two images; at first the last two names of the first."""
    views = (View("Best", (png["truth"], png["sr"], png["truth"])), View("Worst", (png["lr"], png["lr"], png["sr"])))
    return Slider("Two methods", ("LR", "bicubic", HOSTILE), views, (1, 2), "No loss.")


def _ceilings() -> Table:
    names = ("haar", "medvae_4_3", "desk 3x64x64", "TAEF2", "identity", HOSTILE)
    values = ("lossless", "34.12", "31.05", "36.90", "lossless", "−1.2")
    rows = tuple(
        (name, value, "[30.1, 30.7]", "medical images", "–") for name, value in zip(names, values, strict=True)
    )
    columns = ("autoencoder", "PSNR / dB", "95 % interval", "training data", "nothing")
    return Table("Ceilings", columns, rows, f"Note: {HOSTILE}", frozenset({(3, 1)}))


def _many_rows() -> Table:
    columns = ("pair", *(f"measure {number} / dB" for number in range(13)))
    rows = tuple((f"{HOSTILE} {row}", *(f"{row + number}.25" for number in range(13))) for row in range(40))
    return Table(HOSTILE, columns, rows)

"""The page of an enhanced image: exact values, bounded size, harmless names; in a browser, on a desktop and a phone."""

import base64
import json
import re
import sys
import zlib
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from pydicom.data import get_testdata_file

from latentsr import io
from latentsr.commands.enhance import enhance
from latentsr.enhance import Job, Outcome, enhance_files
from latentsr.errors import InputError
from latentsr.io.dicom.pixels import stored_range
from latentsr.provenance import RESEARCH_USE, TRUST, UNCERTAINTY, WITHOUT_MODEL
from latentsr.report.viewer import packed_image, write_view
from latentsr.upscalers import Sampling, load_upscaler
from latentsr.upscalers.model import SuperResolver

BAD = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"  # of a header
BAD_NAME = "a'\"><img src=x onerror=alert(3)>&amp;.dcm"  # of a file
READY = """new Promise((done) => { const timer = setInterval(() => {
  if (document.documentElement.dataset.slice) { clearInterval(timer); done(document.documentElement.dataset.slice); }
}, 20); })"""


def unpacked(image: dict[str, Any]) -> np.ndarray:
    """The pixels of an image of a page, float32."""

    def numbers(text: str, columns: int) -> np.ndarray:
        planes = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(4, -1)
        folded = np.ascontiguousarray(planes.T).view("<u4").reshape(-1, columns)
        steps = (folded >> 1) ^ (0 - (folded & 1))
        return steps.cumsum(0, dtype=np.uint32).cumsum(1, dtype=np.uint32)

    different = len(zlib.decompress(base64.b64decode(image["values"]))) // 4
    values = numbers(image["values"], different).view(np.float32)[0]
    return values[numbers(image["ranks"], image["columns"])]


def data(page: Path) -> dict[str, Any]:
    """What a page holds for its script."""
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page.read_text("utf-8"))
    assert found
    return json.loads(found[1])


def viewed(path: Path, out: Path, **options: Any) -> tuple[Outcome, Path]:
    """The outcome of enlarging a file or folder two times, bicubic, and its page."""
    outcomes = enhance_files([path], Job(load_upscaler("bicubic", scale=2), Sampling(), out, view=True, **options))
    (outcome,) = (one for one in outcomes if one.status != "skipped")
    assert outcome.page == f"{outcome.output}.html", outcome
    return outcome, out / outcome.page


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A CT file with a name and a description that are markup."""
    header = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    header.SeriesDescription = BAD
    header.save_as(tmp_path / BAD_NAME)
    return tmp_path / BAD_NAME


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Five slices of an MR, each with its number in the first pixel, in reverse order of their names."""
    header = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    folder = tmp_path / "series"
    folder.mkdir()
    x, y, z = header.ImagePositionPatient
    for place in range(5):
        pixels = header.pixel_array.copy()
        pixels[:2, :2] = 100 * place
        header.PixelData, header.SOPInstanceUID = pixels.tobytes(), f"1.2.3.{place + 1}"
        header.ImagePositionPatient = [x, y, z + 5 * place]
        header.save_as(folder / f"{9 - place}.dcm")
    return folder


@pytest.mark.parametrize(
    "pixels",
    [
        np.arange(-6, 6).reshape(3, 4) % 5,
        np.random.default_rng(0).normal(0, 1e-3, (70, 81)),
        np.random.default_rng(0).integers(0, 65536, (300, 300)),
        np.array([[-np.float32(3.4e38), 1e-42], [0, 3.4e38]]),
        np.full((1, 3), -7.25),
    ],
)
def test_an_image_on_a_page_is_the_same_to_the_last_bit(pixels: np.ndarray) -> None:
    pixels = pixels.astype(np.float32)
    np.testing.assert_array_equal(unpacked(packed_image(pixels)), pixels)


def test_values_are_those_of_dicom_files(scan: Path, tmp_path: Path) -> None:
    outcome, page = viewed(scan, tmp_path / "out")
    held = data(page)
    (one,) = held["slices"]
    for image, path in ((one["before"], scan), (one["after"], tmp_path / "out" / outcome.output)):
        file = pydicom.dcmread(path)
        expected = file.pixel_array.astype(np.float64) * file.RescaleSlope + file.RescaleIntercept
        np.testing.assert_array_equal(unpacked(image), expected)
    assert held["unit"] == "HU"
    np.testing.assert_allclose(held["spacing"], [0.661468 / 2] * 2)
    assert page.read_text("utf-8").count(RESEARCH_USE) == 1


def test_monochrome1_is_shown_dark_on_bright_with_the_values_of_its_file(scan: Path, tmp_path: Path) -> None:
    header = pydicom.dcmread(scan)
    header.PhotometricInterpretation, header.RescaleSlope, header.RescaleIntercept = "MONOCHROME1", 2, -7
    header.WindowCenter, header.WindowWidth = [0, 50], [400, 100]
    header.save_as(scan)
    outcome, page = viewed(scan, tmp_path / "out")
    file, held = pydicom.dcmread(tmp_path / "out" / outcome.output), data(page)
    assert stored_range(file)[0] < 0
    np.testing.assert_array_equal(unpacked(held["slices"][0]["before"]), header.pixel_array * 2.0 - 7)
    np.testing.assert_array_equal(unpacked(held["slices"][0]["after"]), file.pixel_array * 2.0 - 7)
    assert held["inverted"]
    assert held["slices"][0]["window"] == [-200, 200]


def test_slices_of_a_series_are_paired_by_place(series: Path, tmp_path: Path) -> None:
    outcome, page = viewed(series, tmp_path / "out")
    slices = data(page)["slices"]
    assert [one["number"] for one in slices] == [1, 2, 3, 4, 5]
    for place, one in enumerate(slices):
        assert unpacked(one["before"])[0, 0] == 100 * place
        written = pydicom.dcmread(tmp_path / "out" / outcome.output / f"{9 - place}.dcm").pixel_array
        np.testing.assert_array_equal(unpacked(one["after"]), written)


@pytest.mark.parametrize("axis", [0, 2])
def test_values_are_those_of_nifti_files(axis: int, tmp_path: Path) -> None:
    source = Path(nibabel.__file__).parent / "tests" / "data" / "anatomical.nii"
    outcome, page = viewed(source, tmp_path / "out", axis=axis)
    slices = data(page)["slices"]
    for name, path in (("before", source), ("after", tmp_path / "out" / outcome.output)):
        expected = np.moveaxis(nibabel.load(path).get_fdata(dtype=np.float32), axis, 0).transpose(0, 2, 1)
        np.testing.assert_array_equal([unpacked(one[name]) for one in slices], expected)


@pytest.mark.parametrize("name", ["a.nii", "a.mha"])
def test_the_grid_of_a_slice_is_that_of_its_file(name: str, tmp_path: Path) -> None:
    affine = np.array([[0, 0, 2, -7], [-1, 0, 0, 5], [0, 3, 0, 9], [0, 0, 0, 1.0]])
    image = nibabel.Nifti1Image(np.arange(60, dtype=np.float32).reshape(3, 4, 5), affine)
    image.to_filename(tmp_path / "a.nii")
    io.write(io.read(tmp_path / "a.nii", axis=2), tmp_path / "in" / name, provenance=None)
    _, page = viewed(tmp_path / "in" / name, tmp_path / "out", axis=2)
    held = data(page)
    corner = affine @ [-0.25, -0.25, 4, 1]  # of the fifth slice, two times finer
    np.testing.assert_allclose(
        held["slices"][4]["grid"], [[0, 0.5, 0], [0, 0, 1.5], corner[:3] * [-1, -1, 1]], atol=1e-6
    )
    assert held["placed"]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_values_and_errors_are_those_of_png_and_tiff_files(suffix: str, tmp_path: Path, model_folder: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 60000, (12, 9), dtype=np.uint16)
    Image.fromarray(pixels).save(tmp_path / f"a{suffix}")
    resolver = SuperResolver.load(model_folder, device="cpu")
    job = Job(resolver, Sampling(samples=2, steps=2), tmp_path / "out", view=True)
    (outcome,) = enhance_files([tmp_path / f"a{suffix}"], job)
    held = data(tmp_path / "out" / outcome.page)
    (one,) = held["slices"]
    np.testing.assert_array_equal(unpacked(one["before"]), pixels)
    np.testing.assert_array_equal(unpacked(one["after"]), np.array(Image.open(tmp_path / "out" / f"a{suffix}")))
    np.testing.assert_array_equal(unpacked(one["map"]), tifffile.imread(tmp_path / "out" / "a_uncertainty.tif"))
    assert held["error"] == "spread over 2 samples"
    assert held["spacing"] is None


def test_frames_of_a_file_are_slices(shared: Path, tmp_path: Path) -> None:
    outcome, page = viewed(shared / "dicom" / "enhanced" / "siemens-xa10" / "XA10" / "6_1.dcm", tmp_path / "out")
    shown = [unpacked(one["after"]) for one in data(page)["slices"]]
    np.testing.assert_array_equal(shown, pydicom.dcmread(tmp_path / "out" / outcome.output).pixel_array)


@pytest.mark.parametrize("name", ["12-bit/12bitUnsigned.dcm", "mosaic-siemens"])
def test_tiles_of_mosaics_are_slices(name: str, shared: Path, tmp_path: Path) -> None:
    outcome, page = viewed(shared / "dicom" / name, tmp_path / "out")
    path, shown = tmp_path / "out" / outcome.output, [unpacked(one["after"]) for one in data(page)["slices"]]
    mosaics = [pydicom.dcmread(one).pixel_array for one in (sorted(path.iterdir()) if path.is_dir() else [path])]
    (rows, columns), tiles = shown[0].shape, len(shown) // len(mosaics)
    for number, mosaic in enumerate(mosaics):
        np.testing.assert_array_equal(shown[number * tiles], mosaic[:rows, :columns])
        np.testing.assert_array_equal(shown[number * tiles + 1], mosaic[:rows, columns : 2 * columns])


def test_a_page_is_bounded_and_says_which_slices_it_chose(series: Path, tmp_path: Path) -> None:
    outcome, page = viewed(series, tmp_path / "out")
    image, length = tmp_path / "out" / outcome.output, len(json.dumps(data(page)["slices"]))
    assert "evenly apart" not in page.read_text("utf-8")

    def shown(most: int) -> list[int]:
        write_view(page, io.read(series), image, provenance=WITHOUT_MODEL, most=most)
        assert len(json.dumps(data(page)["slices"])) < most + 5 * 200  # what else a slice has
        assert "of 5 slices, evenly apart; the output has all" in " ".join(page.read_text("utf-8").split())
        return [one["number"] for one in data(page)["slices"]]

    assert shown(length * 7 // 10) == [1, 3, 5]
    assert shown(length * 3 // 10) == [3]
    with pytest.raises(InputError, match="one slice takes 0 MB of a page"):
        shown(length // 10)


def test_names_and_descriptions_are_text(scan: Path, tmp_path: Path, open_page: Callable) -> None:
    outcome, page = viewed(scan, tmp_path / "out")
    html = page.read_text("utf-8")
    assert outcome.output == BAD_NAME
    assert "<img" not in html
    assert html.count("<script") == 2
    found = open_page(page, scripts=[READY, "document.querySelector('h1').textContent", "document.body.innerText"])
    assert found.clean, found
    assert found.values[1] == BAD_NAME
    assert BAD in found.values[2]


POINTED = """((column, row) => {
  const field = document.getElementById("field"), area = field.getBoundingClientRect();
  const canvas = document.getElementById("after");
  const at = { clientX: area.left + (column + .5) / canvas.width * area.width,
    clientY: area.top + (row + .5) / canvas.height * area.height };
  field.dispatchEvent(new PointerEvent("pointermove", at));
  const shown = ["place", "value-before", "value-after", "value-map", "value-trust", "position"];
  return shown.map((name) => document.getElementById(name)?.textContent);
})"""
KEY = 'document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "%s", bubbles: true }))'
SEEN = "document.getElementById('%s').toDataURL()"


@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser_values_under_the_cursor_are_the_files(
    width: int, series: Path, tmp_path: Path, open_page: Callable
) -> None:
    outcome, page = viewed(series, tmp_path / "out")
    made, source = tmp_path / "out" / outcome.output, io.read(series)
    spread = source.enlarged(np.full((5, 128, 128), 3, np.float32), 2)
    trusted = source.enlarged(np.broadcast_to((np.arange(128) < 64).astype(np.float32), (5, 128, 128)), 2)
    maps = {UNCERTAINTY: tmp_path / "spread", TRUST: tmp_path / "trust"}
    for kind, volume in ((UNCERTAINTY, spread), (TRUST, trusted)):
        io.write_uncertainty(volume, maps[kind], provenance=WITHOUT_MODEL, kind=kind)
    write_view(
        page, source, made, provenance=WITHOUT_MODEL, error="spread", error_map=maps[UNCERTAINTY], trust_map=maps[TRUST]
    )
    file = pydicom.dcmread(made / "5.dcm")
    written = file.pixel_array
    before = pydicom.dcmread(series / "5.dcm").pixel_array
    wait = "new Promise((done) => setTimeout(done, 300))"
    found = open_page(
        page, width, scripts=[
            READY, KEY % "ArrowRight", KEY % "ArrowRight", wait, READY, f"{POINTED}(0, 0)", f"{POINTED}(101, 37)",
            SEEN % "after", KEY % "w", "document.getElementById('bar').textContent",
            f"(() => {{ const width = document.getElementById('width'); width.value = 50;"
            f" width.dispatchEvent(new Event('input')); return {wait}; }})()", SEEN % "after",
            KEY % "t", "[...document.getElementById('trust').getContext('2d').getImageData(63, 9, 2, 1).data]",
            "document.getElementById('trust').hidden",
        ],
    )  # fmt: skip
    assert found.clean, found
    first, second = (found.values[number] for number in (5, 6))
    assert found.values[4] == "5"
    assert first[:3] == ["at column 0, row 0", "400", str(written[0, 0])]
    assert second[:3] == ["at column 101, row 37", str(before[18, 50]), str(written[37, 101])]
    assert (float(first[3]), first[4], second[4]) == (pytest.approx(3), "inside", "outside")
    rows = np.array(file.ImageOrientationPatient).reshape(2, 3) * np.array(file.PixelSpacing)[::-1, None]
    x, y, z = np.array(file.ImagePositionPatient) + [101, 37] @ rows
    assert second[5] == " ".join(
        f"{ends[int(value < 0)]}\u00a0{abs(value):.1f}"
        for ends, value in zip(("LR", "PA", "SI"), (x, y, z), strict=True)
    )
    assert found.values[9].endswith(" mm")
    assert found.values[7] != found.values[11]  # the window
    assert found.values[13:] == ([0, 0, 0, 0, 200, 60, 255, 144], False)  # inside and outside the trust mask


def test_a_page_follows_its_image(tmp_path: Path) -> None:
    source, out = tmp_path / "a.png", tmp_path / "out"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8), dtype=np.uint8)).save(source)
    outcome, page = viewed(source, out)
    assert outcome.status == "written"
    made = page.stat().st_mtime_ns
    outcome, _ = viewed(source, out)  # again: there already
    assert (outcome.status, page.stat().st_mtime_ns) == ("kept", made)
    image = (out / "a.png").stat().st_mtime_ns
    page.unlink()  # as after a kill between the two
    outcome, _ = viewed(source, out)
    assert (outcome.status, (out / "a.png").stat().st_mtime_ns, page.is_file()) == ("kept", image, True)
    enhance_files([source], Job(load_upscaler("bicubic", scale=2), Sampling(), out, overwrite=True))
    assert not page.exists()  # it would show another image
    page.mkdir()
    (outcome,) = enhance_files([source], Job(load_upscaler("bicubic", scale=2), Sampling(), out, view=True))
    assert (outcome.status, outcome.page) == ("kept", "")
    assert outcome.warnings[-1].startswith("no page was made: ")


def test_by_default_a_single_image_has_a_page_where_a_person_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    for name in ("a.png", "both/a.png", "both/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / name)
    monkeypatch.setattr(sys, "stdout", Terminal())
    enhance([tmp_path / "a.png"], tmp_path / "one", model="bicubic")
    enhance([tmp_path / "both"], tmp_path / "two", model="bicubic")
    enhance([tmp_path / "a.png"], tmp_path / "told", model="bicubic", view=False)
    enhance([tmp_path / "a.png"], tmp_path / "machine", model="bicubic", json=True)
    monkeypatch.setattr(sys, "stdout", StringIO())
    enhance([tmp_path / "a.png"], tmp_path / "pipe", model="bicubic")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.html")] == ["one/a.png.html"]

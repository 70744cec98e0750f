import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from latentsr.autoencoders.kl import save_kl
from latentsr.autoencoders.small_kl import SmallKL
from latentsr.data.records import Dataset, Record, write_dataset
from latentsr.errors import InputError
from latentsr.io.raster import write_pixels
from latentsr.report.screening_page import PAGE, write_screening_page
from latentsr.screening import Screening, make_plan, parse_candidates, screen

PATIENT = "Doe^Jane-19610203"


def windows(root: Path, name: str, side: int) -> Dataset:
    """Four windows of an abdominal MR that comes with pydicom, of two patients whose names must not be seen."""
    pixels = pydicom.dcmread(get_testdata_file("examples_overlay.dcm", download=False)).pixel_array
    grey = np.round((pixels - pixels.min()) / np.ptp(pixels) * 255).astype(np.uint8)
    records = []
    for number in range(4):
        id_ = f"{PATIENT}-{number}"
        cut = np.ascontiguousarray(grey[20 * number + 60 : 20 * number + 60 + side, 100 : 100 + side])
        records.append(Record(id_, f"{PATIENT}-{number // 2}", "valid", f"{number}.png", side, side, str(number)))
        write_pixels(root / f"{number}.png", cut)
    return write_dataset(root, name, records, {})


@pytest.fixture(scope="module")
def screening(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished screening of two datasets, three networks of random weights in two geometries, and haar."""
    root = tmp_path_factory.mktemp("screening")
    sets = [windows(root / "mr", "abdomen", 176), windows(root / "small", "small<b>", 64)]
    for name, domain, factor in (("medical", "medical", 4), ("natural", "natural", 4), ("medical-8", "medical", 8)):
        network = SmallKL(width=4, blocks=1, latent_channels=3, factor=factor)
        save_kl(network, root / name, domain=domain)
    folders = [str(root / name) for name in ("medical", "natural", "medical-8")]
    plan = make_plan(sets, parse_candidates([*folders, "haar"]), Screening())
    screen(plan, root / "out", batch=2)
    return root / "out"


@pytest.fixture(scope="module")
def page(screening: Path) -> Path:
    """Its page."""
    return write_screening_page(screening)


def shown(page: Path) -> str:
    """The page's words, without styles, scripts, drawings and pictures."""
    text = re.sub(r"(?s)<(style|script|svg)\b.*?</\1>|data:[^\"')]*", " ", page.read_text(encoding="utf-8"))
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def test_the_verdict_comes_first_and_all_sections_are_there(page: Path, screening: Path) -> None:
    words, told = shown(page), json.loads((screening / "screening.json").read_text())
    places = [words.index(title) for title in (
        "Which autoencoder?", told["verdict"][0].split("<")[0], "What the autoencoders keep", "Domain or geometry?",
        "What SR quality to expect", "Where in frequency it is lost", "The worst images", "The latent itself",
        "What it costs",
    )]  # fmt: skip
    assert places == sorted(places)
    assert "Research use only" in words


def test_lossless_is_a_word_and_never_100_db(page: Path) -> None:
    words = shown(page)
    assert "haar is lossless" in words
    assert "lossless" in words
    assert not re.search(r"100\.0(?!%)", words)


def test_numbers_are_those_of_the_tables(page: Path, screening: Path) -> None:
    words, told = shown(page), json.loads((screening / "screening.json").read_text())
    for row in told["ceilings"]:
        if row["metric"] == "psnr" and not row["lossless"]:
            assert f"{row['mean']:.2f} ± {row['sd']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" in words
    for row in told["cost"]:
        assert row["latent"] in words
    assert "r = 0.82, R2 = 0.67" in words


def test_no_patient_and_no_path_is_on_the_page(page: Path, screening: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert PATIENT not in text
    assert "Doe" not in shown(page)
    assert str(screening.parent) not in text


def test_names_are_words_and_no_markup(page: Path) -> None:
    assert "small<b>" not in page.read_text(encoding="utf-8")
    assert "small&lt;b&gt;" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [1280, 390])
def test_it_opens_from_disk_without_network_and_errors(page: Path, width: int, open_page: Callable) -> None:
    found = open_page(page, width)
    assert found.clean, found


def test_the_same_tables_give_the_same_bytes(page: Path, screening: Path) -> None:
    before = page.read_bytes()
    assert write_screening_page(screening) == screening / PAGE
    assert page.read_bytes() == before


def test_a_folder_without_a_screening_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"screening\.json: cannot be read as JSON"):
        write_screening_page(tmp_path)

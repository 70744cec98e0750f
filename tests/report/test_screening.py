import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.data import get_testdata_file

from latentsr.autoencoders.architectures import SmallKL
from latentsr.autoencoders.network import save_network
from latentsr.bench import Screening, parse_candidates, plan_screening, screen
from latentsr.config import sha256
from latentsr.data.records import Dataset, Record, write_dataset
from latentsr.errors import InputError
from latentsr.io.raster import write_pixels
from latentsr.names import SCREENING_PAGE
from latentsr.report.screening import (
    by_ceiling,
    ceiling_section,
    contrast_section,
    cost_section,
    expectation_section,
    latent_section,
    worst_section,
    write_screening_page,
)

PATIENT = "Doe^Jane-19610203"


def windows(root: Path, name: str, side: int) -> Dataset:
    """Four windows of an abdominal MR that comes with pydicom, of two patients whose names must not be seen."""
    pixels = pydicom.dcmread(get_testdata_file("examples_overlay.dcm", download=False)).pixel_array
    grey = np.round((pixels - pixels.min()) / np.ptp(pixels) * 255).astype(np.uint8)
    records = []
    for number in range(4):
        id_ = f"{PATIENT}-{number}"
        cut = np.ascontiguousarray(grey[20 * number + 60 : 20 * number + 60 + side, 100 : 100 + side])
        path = root / f"{number}.png"
        write_pixels(path, cut)
        records.append(Record(id_, f"{PATIENT}-{number // 2}", "valid", path.name, side, side, sha256(path)))
    return write_dataset(root, name, records, {})


@pytest.fixture(scope="module")
def screening(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished screening of two datasets, three networks of random weights in two geometries, and haar."""
    root = tmp_path_factory.mktemp("screening")
    sets = [windows(root / "mr", "abdomen", 176), windows(root / "small", "small<b>", 64)]
    for name, domain, factor in (("medical", "medical", 4), ("natural", "natural", 4), ("medical-8", "medical", 8)):
        network = SmallKL(width=4, blocks=1, latent_channels=3, factor=factor)
        save_network(network, root / name, facts={"domain": domain})
    folders = [str(root / name) for name in ("medical", "natural", "medical-8")]
    plan = plan_screening(sets, parse_candidates([*folders, "haar"]), Screening())
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


def test_every_correlation_bears_its_interval_and_its_number(page: Path, told: dict[str, Any]) -> None:
    words = shown(page)
    assert words.count("r = 0.82 [0.01, 0.98], n = 6, R2 = 0.67") == 2  # in the verdict and in its section
    assert "r = 0.83 [0.55, 0.94], n = 15, R2 = 0.69" in words
    assert len(re.findall(r"\br = ", words)) == len(re.findall(r"\br = \d\.\d\d \[[^\]]+\], n = \d+", words))
    own = {**told, "published_points": False}
    own["regression"] = {**told["regression"], "points": told["regression"]["points"][:4]}
    own["regression"]["correlation"] = {"r": 0.5, "low": -0.9, "high": 0.99, "p": 0.5, "n": 4}
    assert "r = 0.50 [-0.90, 0.99], n = 4" in expectation_section(own).blocks[0].paragraphs[0]


def test_no_patient_and_no_path_is_on_the_page(page: Path, screening: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert PATIENT not in text
    assert "Doe" not in shown(page) + (screening / "report" / "report.md").read_text(encoding="utf-8")
    assert str(screening.parent) not in text


def test_names_are_words_and_no_markup(page: Path) -> None:
    assert "small<b>" not in page.read_text(encoding="utf-8")
    assert "small&lt;b&gt;" in page.read_text(encoding="utf-8")


def test_what_bicubic_and_the_shipped_model_reach_stands_beside_what_is_expected(
    page: Path, told: dict[str, Any]
) -> None:
    """In the verdict, in the section's words, in its figure and in its table."""
    words = shown(page)
    section = expectation_section(told)
    for row in told["baselines"]:
        assert 20 < row["mean"] < 45
        value = f"{row['method']} {row['mean']:.1f} dB [{row['low']:.1f}, {row['high']:.1f}] ("
        assert value in words
    trained = "trained on brain-mri, chest-xray, marked, marked1, marked2 and natural"
    assert f"latentsr-tiny (the posterior mean of the shipped model, {trained})" in words
    for number, name in enumerate(told["datasets"]):
        means = {row["method"]: row["mean"] for row in told["baselines"] if row["dataset"] == name}
        alt = [block for block in section.blocks if block.kind == "picture"][number].drawing.alt
        assert all(f"{method}, measured: {mean:.2f} at any ceiling" in alt for method, mean in means.items())
        (table,) = tables(section, f"Expected SR PSNR on {name}")
        assert table.columns[3:5] == ("minus bicubic", "minus latentsr-tiny")
        for row in (row for row in told["expected"] if row["dataset"] == name and row["expected"] is not None):
            cells = next(cells for cells in table.rows if cells[0] == row["method"])
            assert cells[3:5] == tuple(f"{row['expected'] - mean:+.1f}" for mean in means.values())


@pytest.mark.parametrize("width", [1280, 390])
def test_it_opens_from_disk_without_network_and_errors(page: Path, width: int, open_page: Callable) -> None:
    found = open_page(page, width)
    assert found.clean, found


def test_the_same_tables_give_the_same_bytes(page: Path, screening: Path) -> None:
    before = page.read_bytes()
    assert write_screening_page(screening) == screening / SCREENING_PAGE
    assert page.read_bytes() == before


def test_a_folder_without_a_screening_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"screening\.json: cannot be read as JSON"):
        write_screening_page(tmp_path)


NULLS = {"mean", "sd", "low", "high", "difference", "d_z", "p_holm", "ceiling", "expected", "correlation_rows",
         "correlation_columns", "encode_seconds", "decode_seconds", "p"}  # fmt: skip


def without_values(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows as of images that are all constant: nothing to measure."""
    return [{key: None if key in NULLS else value for key, value in row.items()} for row in rows]


@pytest.fixture
def told(screening: Path) -> dict[str, Any]:
    """A finished screening's content, to be changed."""
    return json.loads((screening / "screening.json").read_text())


def tables(section: Any, title: str) -> list[Any]:
    """The section's tables whose title begins like that."""
    return [block for block in section.blocks if block.kind == "table" and block.title.startswith(title)]


def test_a_page_without_any_value_has_dashes(screening: Path, tmp_path: Path, told: dict[str, Any]) -> None:
    folder = tmp_path / "constant"
    shutil.copytree(screening, folder)
    for name in ("ceilings", "differences", "latents", "cost", "expected", "contrasts"):
        told[name] = without_values(told[name])
    told["verdict"] = []
    for image in told["worst"]:
        image["psnr"] = dict.fromkeys(image["psnr"])
    (folder / "screening.json").write_text(json.dumps(told))
    fingerprint = pd.read_parquet(folder / "fingerprint.parquet")
    numbers = [name for name in ("mean", "difference", "low", "high") if name in fingerprint]
    fingerprint.loc[fingerprint["metric"].str.startswith("subband_psnr"), numbers] = np.nan
    fingerprint.to_parquet(folder / "fingerprint.parquet")
    words = shown(write_screening_page(folder))
    assert "medical – natural domain the same –" in words
    assert "given back whole" in words
    assert not re.search(r"\b(nan|None|0\.00|-?inf)\b", words.split("Facts")[0])


def test_a_missing_difference_is_a_dash_and_stands_last(told: dict[str, Any]) -> None:
    chosen = [row for row in told["differences"] if row["dataset"] == "abdomen" and row["metric"] == "psnr"]
    chosen[0].update(difference=None, low=None, high=None)
    (table,) = tables(ceiling_section(told), "Paired differences in PSNR on abdomen")
    assert table.rows[-1][:3] == (f"{chosen[0]['a']} – {chosen[0]['b']}", "–", "–")
    assert len(table.rows) == 3


def test_a_null_ceiling_is_no_lossless_one(told: dict[str, Any]) -> None:
    row = next(row for row in told["expected"] if row["method"] == "natural" and row["dataset"] == "abdomen")
    row.update(ceiling=None, expected=None, low=None, high=None, note="no ceiling")
    (table,) = tables(expectation_section(told), "Expected SR PSNR on abdomen")
    cells = {cells[0]: cells[1:] for cells in table.rows}
    assert cells["natural"] == ("–", "–", "–", "–", "no ceiling")
    assert cells["haar"][0] == "lossless"


def test_without_a_mean_one_is_below_all_others_and_above_lossless_ones(told: dict[str, Any]) -> None:
    rows = {row["method"]: row for row in by_ceiling(told, "abdomen")}
    rows["medical"]["mean"], rows["natural"]["mean"] = None, -3.0
    order = [row["method"] for row in by_ceiling(told, "abdomen")]
    assert order == ["medical-8", "natural", "medical", "haar"]


@pytest.mark.parametrize(
    ("expected", "high", "remark"),
    [
        (21.0, 25.0, "expected above the ceiling: against the true HR hardly to be reached"),
        (18.0, 25.0, "the interval's top lies above the ceiling"),
        (15.0, 19.0, ""),
    ],
)
def test_what_lies_above_the_ceiling_is_said(told: dict[str, Any], expected: float, high: float, remark: str) -> None:
    row = next(row for row in told["expected"] if row["method"] == "natural" and row["dataset"] == "abdomen")
    others = [other for other in told["expected"] if other is not row]
    for other in others:
        other.update(ceiling=40.0, note="")
    row.update(ceiling=20.0, expected=expected, low=10.0, high=high, note="")
    (table,) = tables(expectation_section(told), "Expected SR PSNR on abdomen")
    assert ("remark" in table.columns) == bool(remark)  # no column without any
    assert not remark or next(cells for cells in table.rows if cells[0] == "natural")[-1] == remark


def test_the_points_say_where_they_come_from(page: Path, told: dict[str, Any]) -> None:
    words = shown(page)
    for said in ("against decode(encode(HR))", "public code run T = 1000", "not independent", "r = 0.83",
                 "below bicubic interpolation on BraTS (26.42 against 29.91 dB) and MIMIC-CXR (28.87 against 30.47 dB)",
                 "above bicubic interpolation on MRNet (25.26 against 23.79 dB)"):  # fmt: skip
        assert said in words
    own = expectation_section({**told, "published_points": False})
    assert "BraTS" not in str([block for block in own.blocks if block.kind == "text"])


def test_latents_of_one_size_and_another_shape_are_named_so(told: dict[str, Any]) -> None:
    def numbers() -> str:
        rows = tables(contrast_section(told), "Domain and geometry on abdomen")[0].rows
        return next(cells[2] for cells in rows if cells[0] == "medical – medical-8")

    assert numbers() == "4 times as many"
    told["methods"]["medical-8"]["latent_channels"] *= 4
    assert numbers() == "as many, other shape"


def test_times_bear_device_threads_and_batch(told: dict[str, Any]) -> None:
    for row in told["cost"]:
        row.update(device="cpu", threads=2, batch=1)
    assert "on cpu with 2 threads, 1 image at a time." in tables(cost_section(told), "Cost")[0].note
    told["cost"][0]["threads"] = 1
    assert "do not compare across devices" in tables(cost_section(told), "Cost")[0].note
    for row in told["cost"]:
        row["device"] = None
    assert "was not recorded" in tables(cost_section(told), "Cost")[0].note


def test_half_precision_says_on_how_many_images(told: dict[str, Any]) -> None:
    assert "on 1 image," in tables(latent_section(told), "Latents")[0].note
    told["cost"][0]["probed"] = 4
    assert "on 1 to 4 images," in tables(latent_section(told), "Latents")[0].note


def test_how_the_worst_were_chosen_is_said(told: dict[str, Any], screening: Path) -> None:
    text = worst_section(told, screening / "pictures").blocks[0]
    assert f"lowest PSNR under the reference autoencoder, {told['reference']}" in text.paragraphs[0]
    text = worst_section({**told, "reference": "haar"}, screening / "pictures").blocks[0]
    assert "haar, the reference autoencoder, is lossless" in text.paragraphs[0]
    assert "first images by id" in text.paragraphs[0]

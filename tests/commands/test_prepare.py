"""`latentsr prepare` as it is called: what it says of what was left out, of masks and splits; and hostile records."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from latentsr.data.records import read_dataset
from latentsr.io.raster import write_pixels


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Three images of one patient, who must not be named, and one that is black, each with a mask."""
    rng = np.random.default_rng(0)
    for number in range(4):
        pixels = rng.integers(0, 255, (16, 16), np.uint8, endpoint=True) * np.uint8(number > 0)
        write_pixels(tmp_path / "in" / f"Doe_{number}.png", pixels)
        write_pixels(tmp_path / "seg" / f"Doe_{number}.png", np.eye(16, dtype=np.uint8))
    return tmp_path


def test_constant_images_are_told_by_their_number(scans: Path, run: Callable) -> None:
    arguments = (scans / "in", "-o", scans / "out", "--split", "1,0,0")
    for _ in range(2):  # a dataset that is there already says it again
        said = run("prepare", "folder", *arguments, "--json")
        assert said.status == 0
        assert "warning: 1 constant image or slice was left out" in said.err
        assert "Doe" not in said.err
        assert json.loads(said.out)["splits"] == {"train": {"images": 3, "patients": 3}}
    assert json.loads((scans / "out" / "dataset.json").read_text())["constant_left_out"] == 1


def test_masks_go_into_the_dataset_or_are_one_line(scans: Path, run: Callable) -> None:
    arguments = ("prepare", "folder", scans / "in", "--masks", scans / "seg", "--split", "1,0,0")
    assert run(*arguments, "-o", scans / "out").status == 0
    assert len(list((scans / "out" / "masks").iterdir())) == 3
    (scans / "seg" / "Doe_2.png").unlink()
    said = run(*arguments, "-o", scans / "other")
    assert said.status == 2
    assert said.err.startswith("error: masks in")
    assert "missing: Doe_2.png" in said.err
    assert said.err.count("\n") == 1
    assert not (scans / "other").exists()


def test_columns_go_into_the_dataset_and_are_named(scans: Path, run: Callable) -> None:
    table = scans / "columns.csv"
    table.write_text("file,scanner\n" + "".join(f"Doe_{number}.png,A\n" for number in range(4)))
    arguments = ("prepare", "folder", scans / "in", "--split", "1,0,0", "--columns", table)
    pattern = ("--patient-pattern", r"(?P<patient>Doe)_(?P<number>\d)")
    said = run(*arguments, *pattern, "-o", scans / "out")
    assert said.status == 0
    assert "columns for evaluate --by: number, scanner" in said.out
    assert json.loads(run(*arguments, *pattern, "-o", scans / "out", "--json").out)["columns"] == ["number", "scanner"]
    assert "evaluate --by" not in run("prepare", "folder", scans / "in", "--split", "1,0,0", "-o", scans / "plain").out
    table.write_text("file,scanner\nDoe_0.png,A\nDoe_7.png,B\n")
    said = run(*arguments, "-o", scans / "other")
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert said.err.startswith("error: the option columns has rows of no file: Doe_7.png; expected")


def test_skipped_files_and_resized_images_are_told(tmp_path: Path, run: Callable) -> None:
    rng = np.random.default_rng(0)
    for name, shape in (("a", (40, 60)), ("b", (40, 60)), ("c", (18, 16)), ("tiny", (9, 9))):
        write_pixels(tmp_path / "in" / f"{name}.png", rng.integers(0, 255, shape, np.uint8))
    (tmp_path / "in" / "notes.txt").write_text("no image")
    arguments = ("prepare", "folder", tmp_path / "in", "--size", "16", "--split", "1,0,0")
    said = run(*arguments, "-o", tmp_path / "out")
    assert said.status == 0
    assert "resized 3 of 3 images as a whole to a long side of 16 px" in said.out
    assert "from 40x60 (2), 18x16 (1)" in said.out
    assert "warning: skipped: tiny.png: 9x9 px is smaller than the option size, 16" in said.err
    assert "warning: skipped: notes.txt " in said.err
    assert "2 of 5 files were skipped" in said.err
    told = json.loads(run(*arguments, "-o", tmp_path / "out", "--json").out)
    assert (told["files"], told["skipped"], told["resized"], told["split_by"]) == (5, 2, 3, "shares")
    stopped = run(*arguments, "-o", tmp_path / "other", "--strict")
    assert (stopped.status, stopped.err.count("\n")) == (2, 1)
    assert "notes.txt" in stopped.err
    assert not (tmp_path / "other").exists()
    assert "2 of 3 images to a short side of 16" in run(*arguments, "-o", tmp_path / "crop", "--resize", "crop").out
    assert "resized 3" not in run(*arguments, "-o", tmp_path / "cut", "--resize", "none").out
    assert run(*arguments, "-o", tmp_path / "no", "--resize", "fit").status == 2


def test_a_scanner_sized_x_ray_is_prepared_as_a_whole(tmp_path: Path, run: Callable) -> None:
    """The command of the README on 3056 x 2544 px with a marker in each corner, as PNG and as DICOM."""
    pixels = np.random.default_rng(0).integers(20, 60, (3056, 2544), np.uint8)
    pixels[:48, :48], pixels[:48, -48:], pixels[-48:, :48], pixels[-48:, -48:] = 255, 230, 210, 190
    write_pixels(tmp_path / "scans/chest.png", pixels)
    header = pydicom.dcmread(get_testdata_file("MR_small.dcm", download=False))
    header.Rows, header.Columns = pixels.shape
    header.PixelSpacing = [0.139, 0.139]
    header.PixelData = pixels.astype("<i2").tobytes()
    header.save_as(tmp_path / "scans/chest2.dcm")
    said = run("prepare", "folder", tmp_path / "scans", "-o", tmp_path / "dataset", "--size", "256", "--split", "1,0,0")
    assert said.status == 0
    assert "resized 2 of 2 images as a whole to a long side of 256 px" in said.out
    assert "3056x2544 (2)" in said.out
    assert json.loads((tmp_path / "dataset/dataset.json").read_text())["recipe"]["resize"] == "pad"
    dataset = read_dataset(tmp_path / "dataset")
    for record in dataset.records:
        image = dataset.image(record)
        left = (256 - 213) // 2
        assert image.shape == (256, 256)
        assert not image[:, :left].any()
        assert not image[:, left + 213 :].any()
        corners = [
            image[rows, columns].mean()
            for rows in (slice(3), slice(-3, None))
            for columns in (slice(left, left + 3), slice(left + 210, left + 213))
        ]
        low, high = (20, 255) if record.spacing else (0, 255)
        np.testing.assert_allclose(corners, [(v - low) / (high - low) for v in (255, 230, 210, 190)], atol=0.02)
        assert image[6:-6, left + 6 : left + 207].max() < 0.3
    assert dataset.records[1].spacing == pytest.approx((0.139 * 3056 / 256, 0.139 * 2544 / 213))


def test_folders_as_splits_are_told_in_one_line(tmp_path: Path, run: Callable) -> None:
    for number, split in enumerate(("train", "train", "valid", "test")):
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16), np.uint8)
        write_pixels(tmp_path / "in" / split / f"{number}.png", pixels)
    said = run("prepare", "folder", tmp_path / "in", "-o", tmp_path / "out")
    assert said.out.count("the folders train, valid and test are the splits") == 1
    assert "decide the split" not in said.err
    write_pixels(tmp_path / "in" / "5.png", np.eye(16, dtype=np.uint8))
    said = run("prepare", "folder", tmp_path / "in", "-o", tmp_path / "more")
    assert "are the splits" not in said.out
    assert "do not decide the split, since 1 of 5 images lie in none of them" in said.err


def test_images_in_two_splits_or_datasets_are_told(tmp_path: Path, run: Callable) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (32, 32), np.uint8) for _ in range(4)]
    near = images[1] ^ np.uint8(2)
    for name, pixels in (("train/a", images[0]), ("train/b", images[1]), ("train/c", images[1]), ("valid/d", near)):
        write_pixels(tmp_path / "in" / f"{name}.png", pixels)
    write_pixels(tmp_path / "in/valid/e.tif", images[0])
    arguments = ("prepare", "folder", tmp_path / "in", "-o", tmp_path / "out")
    said = run(*arguments)
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert "error: 1 image(s) stand in another split or dataset too (train/a.png = valid/e.tif): " in said.err
    assert not (tmp_path / "out").exists()
    for _ in range(2):  # a dataset that is there already says it again
        said = run(*arguments, "--duplicates", "drop", "--json")
        assert said.status == 0
        told = json.loads(said.out)
        assert told["splits"]["train"]["images"] == 2
        assert told["duplicates"] == {"dropped": 1, "repeated": 1, "near": 2}
        assert "1 image(s) left out that stand in another split or dataset too (train/a.png = valid/e.tif)" in said.err
        assert "1 image(s) are copies of others of their split (train/c.png = train/b.png)" in said.err
        assert "2 pair(s) of images in two splits or datasets are nearly the same" in said.err
        assert "train/b.png ~ valid/d.png (0.99" in said.err
    assert run(*arguments, "--duplicates", "keep").status == 2
    write_pixels(tmp_path / "new/x.png", images[1])
    write_pixels(tmp_path / "new/b.png", images[3])
    later = ("prepare", "folder", tmp_path / "new", "--split", "0,1,0", "--apart-from", tmp_path / "out")
    said = run(*later, "-o", tmp_path / "later")
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert "(x.png = images/train__b.png of dataset 'in')" in said.err
    said = run(*later, "-o", tmp_path / "later", "--duplicates", "drop", "--patient-pattern", "(?P<patient>.)")
    assert said.status == 0
    assert "left out that stand in another split or dataset too (x.png = " in said.err


def test_a_dataset_of_before_was_not_searched(scans: Path, run: Callable) -> None:
    arguments = ("prepare", "folder", scans / "in", "-o", scans / "out", "--split", "1,0,0")
    assert "older version" not in run(*arguments).err
    facts = json.loads((scans / "out/dataset.json").read_text())
    del facts["duplicates"]
    (scans / "out/dataset.json").write_text(json.dumps(facts))
    said = run(*arguments)
    assert said.status == 0
    assert "was prepared by an older version, which did not look for images in two splits" in said.err


@pytest.mark.parametrize(
    "command",
    [("prepare", "lr"), ("encode",), ("fit-vae",), ("screen", "--vae", "haar"), ("evaluate", "--method", "bicubic")],
)
@pytest.mark.parametrize("entry", ["../../../escaped", "/escaped/here"])
def test_hostile_records_lead_no_command_out_of_its_output(
    scans: Path, run: Callable, command: tuple[str, ...], entry: str
) -> None:
    assert run("prepare", "folder", scans / "in", "-o", scans / "set", "--split", "0.5,0.5,0").status == 0
    records = scans / "set" / "records.csv"
    good = records.read_text()
    before = {path.relative_to(scans) for path in scans.rglob("*")}
    for column in ("Doe_1,", "images/Doe_1.png,"):
        records.write_text(good.replace(column, f"{entry},", 1))
        said = run(*command, scans / "set", "-o", scans / "out" / "here")
        assert (said.status, said.err.count("\n")) == (2, 1)
        assert "records.csv: cannot be read as records (line 2: expected" in said.err
        assert {path.relative_to(scans) for path in scans.rglob("*")} == before

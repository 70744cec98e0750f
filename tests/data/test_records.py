import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentsr.config import sha256
from latentsr.data.records import COLUMNS, Dataset, Record, common_size, is_safe_path, read_dataset, write_dataset
from latentsr.errors import InputError
from latentsr.io.raster import write_pixels
from latentsr.stats.table import short_hash

RECORDS = [
    Record("b", "p,1", "valid", "b.png", 4, 6, "1" * 64),
    Record("a", 'p"2', "train", "a.png", 4, 6, "2" * 64),
]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return write_dataset(tmp_path / "made", "brain", RECORDS, {"key": "k"})


def test_what_was_written_is_read(dataset: Dataset) -> None:
    read = read_dataset(dataset.root)
    assert read == dataset
    assert read.name == "brain"
    assert [record.id for record in read.records] == ["a", "b"]
    assert read.records[1] == RECORDS[0]


OLD = "id,patient,split,file,rows,columns,sha256\n" + f"a,p,valid,a.png,4,6,{'1' * 64}\n"


def test_records_of_before_spacings_and_masks_are_read_and_written_alike(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"name": "old"}')
    (tmp_path / "records.csv").write_bytes(OLD.replace("\n", "\r\n").encode())  # as Python's csv ends lines
    old = read_dataset(tmp_path)
    assert old.records == (Record("a", "p", "valid", "a.png", 4, 6, "1" * 64),)
    assert write_dataset(tmp_path / "again", "old", old.records, {}).hash == old.hash


def test_places_of_slices_are_read_as_they_were_written(tmp_path: Path) -> None:
    slices = tuple(replace(RECORDS[0], id=f"v-s{place}", slice_mm=place) for place in (-2.5, 0.0, 1 / 8))
    assert read_dataset(write_dataset(tmp_path / "made", "brain", slices, {}).root).records == slices
    assert [one.volume for one in (*slices[1:], RECORDS[0])] == ["", "", ""]  # no ids of slices
    assert replace(RECORDS[0], id="v-s012", slice_mm=1.0).volume == "v"
    table = tmp_path / "made" / "records.csv"
    table.write_text(table.read_text().replace("0.125", "far"))
    with pytest.raises(InputError, match="slice_mm as a number"):
        read_dataset(tmp_path / "made")


def test_spacing_and_mask_are_read_as_they_were_written(tmp_path: Path) -> None:
    spaced = replace(RECORDS[0], spacing=(0.7, 1 / 3))
    masked = replace(RECORDS[1], mask="masks/a.png", mask_sha256="4" * 64)
    both = write_dataset(tmp_path / "both", "brain", [spaced, masked], {})
    assert read_dataset(both.root).records == (masked, spaced)
    header, first, second = (both.root / "records.csv").read_text().splitlines()
    assert header.endswith("sha256,row_mm,column_mm,mask,mask_sha256")
    assert first.endswith(f",,,masks/a.png,{'4' * 64}")
    assert second.endswith("0.7,0.3333333333333333,,")
    only = write_dataset(tmp_path / "spaced", "brain", [spaced], {})
    assert (only.root / "records.csv").read_text().splitlines()[0].endswith("sha256,row_mm,column_mm")
    assert read_dataset(only.root).records == (spaced,)


@pytest.mark.parametrize("values", ["0.7,", ",0.7", "0,1", "-1,1", "nan,1", "inf,1", "wide,1"])
def test_half_a_spacing_or_none_is_an_error(dataset: Dataset, values: str) -> None:
    lines = OLD.splitlines()
    (dataset.root / "records.csv").write_text(f"{lines[0]},row_mm,column_mm\n{lines[1]},{values}\n")
    with pytest.raises(InputError, match=r"records\.csv: cannot be read as records"):
        read_dataset(dataset.root)


GOOD = f"Doe_Jane,Doe,valid,a.png,4,6,{'1' * 64}"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([GOOD, GOOD.replace("_Jane", "_John"), GOOD], "lines 2 and 4 have the same id"),
        ([GOOD.replace("4,6", "Doe_Jane,6")], "line 2: expected rows and columns as two whole numbers above 0"),
        ([GOOD.replace("4,6", "4,-6")], "line 2: expected rows and columns"),
        ([GOOD.replace("4,6", "4,0")], "line 2: expected rows and columns"),
        ([GOOD.replace("4,6", "4,6.5")], "line 2: expected rows and columns"),
        (
            [GOOD, GOOD.replace("Jane", "John").replace("valid", "Doe")],
            "line 3: expected a split of train, valid, test",
        ),
        ([GOOD.replace("valid,", "valid,Doe,")], "line 2: expected as many values as there are columns"),
        ([GOOD.replace("valid,", "")], "line 2: expected as many values as there are columns"),
        ([f"x,{GOOD}"], "line 2: expected as many values"),
    ],
)
def test_a_faulty_line_is_named_and_no_value_is(dataset: Dataset, lines: list[str], told: str) -> None:
    """A value may be an id that stands in another column than its own."""
    (dataset.root / "records.csv").write_text("\n".join([OLD.splitlines()[0], *lines, ""]))
    with pytest.raises(InputError, match=rf"records\.csv: cannot be read as records \({told}") as caught:
        read_dataset(dataset.root)
    assert "Doe" not in f"{caught.value} {caught.value.__cause__}"


def test_a_spacing_that_is_an_id_is_not_told(dataset: Dataset) -> None:
    (dataset.root / "records.csv").write_text(f"{OLD.splitlines()[0]},row_mm,column_mm\n{GOOD},Doe_Jane,1\n")
    with pytest.raises(InputError, match=r"line 2: expected row_mm and column_mm as two positive numbers") as caught:
        read_dataset(dataset.root)
    assert "Doe" not in f"{caught.value} {caught.value.__cause__}"


def test_records_in_another_encoding_are_one_line(dataset: Dataset) -> None:
    (dataset.root / "records.csv").write_bytes(OLD.replace("a,p", "Dör,p").encode("latin-1"))
    with pytest.raises(InputError, match=r"cannot be read as records \(is no UTF-8 text\)"):
        read_dataset(dataset.root)


def test_hash_follows_the_records(dataset: Dataset, tmp_path: Path) -> None:
    assert dataset.hash == sha256(dataset.root / "records.csv")
    same = write_dataset(tmp_path / "same", "other name", reversed(RECORDS), {})
    altered = write_dataset(tmp_path / "altered", "brain", [RECORDS[0], replace(RECORDS[1], sha256="3" * 64)], {})
    assert same.hash == dataset.hash != altered.hash


def test_select_takes_a_split_or_says_which_there_are(dataset: Dataset) -> None:
    assert [record.id for record in dataset.select("train")] == ["a"]
    with pytest.raises(InputError, match=r"no images in split 'test'; there are train \(1\), valid \(1\)"):
        dataset.select("test")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_are_shares_of_their_own_depth(dataset: Dataset, dtype: type) -> None:
    top = np.iinfo(dtype).max
    write_pixels(dataset.root / "a.png", np.array([[0, top], [top // 5, 1]], dtype))
    image = dataset.image(replace(dataset.records[0], rows=2, columns=2))
    assert image.dtype == np.float32
    assert np.allclose(image, [[0, 1], [0.2, 1 / top]], atol=1e-7)


@pytest.mark.parametrize("content", [None, b"", b"no image", (4, 5), (6, 4), "colour"])
def test_an_image_that_cannot_be_had_is_named_by_its_hash(dataset: Dataset, content: object) -> None:
    record = dataset.records[0]
    path = dataset.root / record.file
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, tuple):
        write_pixels(path, np.zeros(content, np.uint8))
    elif content:
        Image.new("RGB", (6, 4), "red").save(path)
    with pytest.raises(InputError, match=f"'brain': image {short_hash('brain', 'a')} is missing, cut off") as caught:
        dataset.image(record)
    assert str(path) not in str(caught.value)


def test_files_that_are_not_those_prepared_are_counted_and_named_by_hash(tmp_path: Path) -> None:
    records = []
    for number in range(12):
        write_pixels(tmp_path / f"{number}.png", np.full((4, 6), number, np.uint8))
        digest = sha256(tmp_path / f"{number}.png")
        records.append(Record(f"Doe_{number}", "p", "valid", f"{number}.png", 4, 6, digest))
    dataset = write_dataset(tmp_path, "brain", records, {})
    dataset.check(records)
    write_pixels(tmp_path / "3.png", np.zeros((4, 6), np.uint8))
    hash = short_hash("brain", "Doe_3")
    with pytest.raises(InputError, match=rf"1 of 12 image files .* changed .*\({hash}\); prepare the dataset again"):
        dataset.check(records)
    for record in records:
        (tmp_path / record.file).unlink()
    with pytest.raises(InputError, match=r"12 of 12 image files are missing .* and 2 more") as caught:
        dataset.check(records)
    assert "Doe" not in str(caught.value)
    with pytest.raises(InputError, match=rf"10 of 10 image .*{short_hash('brain', 'Doe_9')}\)"):
        dataset.check(records[:10])


def test_a_mask_that_is_not_the_one_prepared_is_counted_too(tmp_path: Path) -> None:
    for name in ("image", "mask"):
        write_pixels(tmp_path / f"{name}.png", np.full((4, 6), 255, np.uint8))
    digest = sha256(tmp_path / "image.png")
    records = [Record(f"Doe_{n}", "p", "valid", "image.png", 4, 6, digest) for n in range(3)]
    records[1] = replace(records[1], mask="mask.png", mask_sha256=sha256(tmp_path / "mask.png"))
    dataset = write_dataset(tmp_path, "brain", records, {})
    dataset.check(records)
    (tmp_path / "mask.png").unlink()
    with pytest.raises(InputError, match=rf"1 of 1 mask files are missing .*\({short_hash('brain', 'Doe_1')}\)"):
        dataset.check(records)


def test_a_folder_that_is_no_dataset_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no dataset\.json; expected a folder made by 'latentsr prepare'"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("name", ["dataset.json", "records.csv"])
@pytest.mark.parametrize("text", ["", "{", "a,b\n1,2\n"])
def test_a_broken_dataset_is_an_error_that_names_the_file(dataset: Dataset, name: str, text: str) -> None:
    (dataset.root / name).write_text(text)
    with pytest.raises(InputError, match=name) as caught:
        read_dataset(dataset.root)
    assert "\n" not in str(caught.value)


def test_common_size_is_the_one_size_or_an_error_with_the_fix() -> None:
    assert common_size(RECORDS) == (4, 6)
    with pytest.raises(InputError, match=r"2 sizes: 4x6 \(2\), 8x6 \(1\).*with the option size"):
        common_size([*RECORDS, replace(RECORDS[0], rows=8)])


HOSTILE = [
    "../x",
    "a/../../x",
    "/etc/x",
    "",
    ".",
    "a//b",
    "a/",
    "a\\b",
    "C:x",
    "a\0b",
    "a\x1b[2J",
    "x" * 300,
    "d/" * 600 + "x",
]


@pytest.mark.parametrize("path", HOSTILE)
@pytest.mark.parametrize("column", ["id", "file", "mask"])
def test_a_path_that_could_lead_elsewhere_is_refused_by_its_line(dataset: Dataset, column: str, path: str) -> None:
    if column == "mask" and not path:
        return
    values = {"id": "Doe", "file": "a.png", "mask": "m.png"} | {column: path}
    with (dataset.root / "records.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "mask", "mask_sha256"])
        writer.writerow([values["id"], "p", "valid", values["file"], 4, 6, "1" * 64, values["mask"], "2" * 64])
    with pytest.raises(
        InputError, match=rf"line 2: expected an? {column} that is a relative path, without '\.\.'"
    ) as caught:
        read_dataset(dataset.root)
    assert str(caught.value).isprintable()
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize("path", ["a", "ä b/(1)", "..a", "a..", "1.2.840.1", "sub-01__ses-1_T1w-s000", "日本"])
def test_other_paths_are_safe(path: str) -> None:
    assert is_safe_path(path)


def test_ids_that_differ_only_in_case_are_one(dataset: Dataset) -> None:
    rows = [OLD.splitlines()[0], GOOD, GOOD.replace("Doe_Jane", "doe_jane"), ""]
    (dataset.root / "records.csv").write_text("\n".join(rows))
    with pytest.raises(InputError, match="lines 2 and 3 have the same id, whatever its case"):
        read_dataset(dataset.root)


@pytest.mark.parametrize(
    "line",
    [
        GOOD.replace("4,6", f"{'9' * 5000},6"),
        GOOD.replace("4,6", "4,99999999"),
        GOOD.replace("Doe,", "D\0e,"),
        GOOD.replace("Doe,", f"{'x' * 200_000},"),
        GOOD.replace("Doe,", '"D\ne",'),
    ],
)
def test_broken_or_huge_values_are_one_short_line(dataset: Dataset, line: str) -> None:
    (dataset.root / "records.csv").write_text(f"{OLD.splitlines()[0]}\n{line}\n")
    with pytest.raises(InputError, match="cannot be read as records") as caught:
        read_dataset(dataset.root)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["../x", "/etc", "a\nb", ""])
def test_a_name_that_could_lead_elsewhere_is_refused(dataset: Dataset, name: str) -> None:
    (dataset.root / "dataset.json").write_text(json.dumps({"name": name}))
    with pytest.raises(InputError, match=r"dataset\.json: has an unsafe name") as caught:
        read_dataset(dataset.root)
    assert str(caught.value).isprintable()


def test_images_may_lie_behind_a_link(tmp_path: Path) -> None:
    """As on another disk: a table makes no link, and what is read must have the record's SHA-256."""
    write_pixels(tmp_path / "disk/a.png", np.full((4, 6), 7, np.uint8))
    record = Record("a", "p", "valid", "images/a.png", 4, 6, sha256(tmp_path / "disk/a.png"))
    (tmp_path / "set").mkdir()
    (tmp_path / "set/images").symlink_to(tmp_path / "disk")
    dataset = read_dataset(write_dataset(tmp_path / "set", "brain", [record], {}).root)
    dataset.check(dataset.records)
    assert dataset.image(dataset.records[0])[0, 0] == np.float32(7 / 255)

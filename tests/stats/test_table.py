import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from latentsr.errors import InputError, StaleError
from latentsr.stats.table import (
    COLUMNS,
    check_table,
    read_table,
    short_hash,
    sorted_table,
    tidy_rows,
    write_table,
)


@pytest.fixture
def table() -> pd.DataFrame:
    rows = [
        ("set", name, f"p{name[-1]}", method, "psnr", value)
        for name, value in (("007", 30.0), ("008", np.inf), ("009", np.nan))
        for method in ("bicubic", "mine")
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_it_is_read_as_it_was_written(table: pd.DataFrame, tmp_path: Path) -> None:
    parquet, csv = write_table(table, tmp_path, "values")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["values.csv", "values.parquet"]
    pd.testing.assert_frame_equal(read_table(parquet), table)
    pd.testing.assert_frame_equal(pd.read_csv(csv, dtype={"id": str}), table)


def test_an_existing_table_is_kept(table: pd.DataFrame, tmp_path: Path) -> None:
    write_table(table, tmp_path, "values")
    with pytest.raises(StaleError, match="set the option overwrite"):
        write_table(table.head(1), tmp_path, "values")
    assert len(read_table(tmp_path / "values.parquet")) == len(table)
    write_table(table.head(1), tmp_path, "values", overwrite=True)
    assert len(read_table(tmp_path / "values.parquet")) == 1


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "values.parquet").write_text("no table")
    with pytest.raises(InputError, match="cannot be read as a Parquet table"):
        read_table(tmp_path / "values.parquet")


def test_a_whole_table_passes(table: pd.DataFrame) -> None:
    assert check_table(table) is table


def test_missing_double_and_torn_images_are_listed(table: pd.DataFrame) -> None:
    with pytest.raises(InputError, match=f"lacks 1 images: set / mine / psnr / image {short_hash('set', '009')}"):
        check_table(table.drop(index=5))
    with pytest.raises(InputError, match=f"images twice: set / bicubic / psnr / image {short_hash('set', '007')}"):
        check_table(pd.concat([table, table.head(1)]))
    with pytest.raises(InputError, match=f"images of two patients: set / image {short_hash('set', '007')}"):
        check_table(table.assign(patient=["other", *table["patient"][1:]]))
    with pytest.raises(InputError, match="lacks patient in 1 rows"):
        check_table(table.assign(patient=[None, *table["patient"][1:]]))
    with pytest.raises(InputError, match="expected numbers"):
        check_table(table.assign(value="30 dB"))
    with pytest.raises(InputError, match="without rows"):
        check_table(table.head(0))
    with pytest.raises(InputError, match="expected dataset, id, patient, method, metric, value"):
        check_table(table.drop(columns="patient"))


def test_errors_name_no_id(table: pd.DataFrame) -> None:
    named = table.assign(id="Miller-Anna-" + table["id"], patient="Miller-" + table["patient"])
    for broken in (named.drop(index=5), pd.concat([named, named]), named.assign(patient=["x", *named["patient"][1:]])):
        with pytest.raises(InputError) as raised:
            check_table(broken)
        assert "Miller" not in str(raised.value)


def test_rows_are_made_image_by_image_and_sorted() -> None:
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    rows = tidy_rows("set", {"b": "p2", "a": "p1"}, "m", ["psnr", "mae"], values)
    made = sorted_table([rows, rows.iloc[:0]])
    assert made.columns.tolist() == list(COLUMNS)
    assert made.to_numpy().tolist() == [
        ["set", "a", "p1", "m", "mae", 4.0], ["set", "a", "p1", "m", "psnr", 3.0],
        ["set", "b", "p2", "m", "mae", 2.0], ["set", "b", "p2", "m", "psnr", 1.0],
    ]  # fmt: skip


def test_the_first_digits_of_sha256() -> None:
    assert short_hash("brain", "p01/slice 3") == hashlib.sha256(b"brain/p01/slice 3").hexdigest()[:8]


def test_names_differ_between_images_and_datasets() -> None:
    names = {short_hash(dataset, str(number)) for dataset in ("brain", "chest") for number in range(1000)}
    assert len(names) == 2000
    assert all(len(name) == 8 and set(name) <= set("0123456789abcdef") for name in names)

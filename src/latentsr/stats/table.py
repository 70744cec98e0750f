"""The tidy table, one row per dataset, image, method and metric: its columns, checks and files; hashes and seeds."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsr.atomic import replacing
from latentsr.errors import InputError, StaleError

DIGITS = 8


def short_hash(dataset: str, id: str) -> str:
    """The first eight hexadecimal digits of SHA-256 of "dataset/id", which name image `id` in reports.

    Whoever holds the tidy table can find the image by hashing its ids. It is a pseudonym, not encryption: short ids,
    such as running numbers, can be guessed and tried.
    """
    return hashlib.sha256(f"{dataset}/{id}".encode()).hexdigest()[:DIGITS]


COLUMNS = ("dataset", "id", "patient", "method", "metric", "value")
NAMED = 5


def tidy_rows(
    dataset: str, images: Mapping[str, str], method: str, names: Sequence[str], values: NDArray[Any]
) -> pd.DataFrame:
    """The rows of some images under one method in COLUMNS: `values`, (images, metrics), under `names`.

    `images` gives each image's patient by its id, in the order of the values' rows.
    """
    return pd.DataFrame(
        {
            "dataset": dataset,
            "id": np.repeat(list(images), len(names)),
            "patient": np.repeat(list(images.values()), len(names)),
            "method": method,
            "metric": list(names) * len(images),
            "value": values.ravel(),
        }
    )


def sorted_table(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The tidy table of these rows, sorted by all columns but the value."""
    table = pd.concat([table for table in tables if len(table)], ignore_index=True)
    return table[list(COLUMNS)].sort_values(list(COLUMNS[:-1]), ignore_index=True)


def check_table(table: pd.DataFrame) -> pd.DataFrame:
    """`table` itself, if each method and metric has each image of the dataset exactly once; InputError otherwise.

    Otherwise means of different images could be compared.
    """
    if tuple(table.columns) != COLUMNS:
        raise InputError(f"table with columns {', '.join(map(str, table.columns))}: expected {', '.join(COLUMNS)}")
    if table.empty:
        raise InputError("table without rows: expected one row per image, method and metric")
    if (blank := table[list(COLUMNS[:-1])].isna().sum()).any():
        raise InputError(f"table lacks {blank.idxmax()} in {blank.max()} rows: only value may be missing")
    if not pd.api.types.is_numeric_dtype(table["value"]):
        raise InputError(f"table with values of type {table['value'].dtype}: expected numbers")
    key = ["dataset", "method", "metric", "id"]
    if (twice := table.duplicated(key)).any():
        raise InputError(f"table has images twice: {_named(table.loc[twice, key])}; keep one row each")
    images = table[["dataset", "id", "patient"]].drop_duplicates()
    if (torn := images.duplicated(["dataset", "id"])).any():
        raise InputError(f"table has images of two patients: {_named(images.loc[torn, ['dataset', 'id']])}")
    # Every method and metric of a dataset has all its images.
    cells = table[["dataset", "method", "metric"]].drop_duplicates()
    whole = cells.merge(images[["dataset", "id"]], on="dataset")[key]
    missing = whole.merge(table[key], how="left", indicator=True).query("_merge == 'left_only'")[key]
    if not missing.empty:
        raise InputError(f"table lacks {len(missing)} images: {_named(missing)}; measure every method on every image")
    return table


def _named(rows: pd.DataFrame) -> str:
    """The first few rows as text, an image by its hash: its id may be a patient's, and errors end in logs."""
    first = rows.head(NAMED).astype(str)
    first["id"] = [f"image {short_hash(*image)}" for image in zip(first["dataset"], first["id"], strict=True)]
    listed = [" / ".join(row) for row in first.itertuples(index=False)]
    return ", ".join(listed) + (f" and {len(rows) - NAMED} more" if len(rows) > NAMED else "")


def write_table(table: pd.DataFrame, folder: Path, name: str, *, overwrite: bool = False) -> tuple[Path, Path]:
    """Writes `folder`/`name`.parquet and .csv, atomically, and returns both paths; StaleError if one exists."""
    parquet, csv = folder / f"{name}.parquet", folder / f"{name}.csv"
    for path in (parquet, csv):
        if path.exists() and not overwrite:
            raise StaleError(f"{path} exists: set the option overwrite, or choose another folder")
    with replacing(parquet) as temporary:
        table.to_parquet(temporary, index=False)
    with replacing(csv) as temporary:
        table.to_csv(temporary, index=False)
    return parquet, csv


def read_table(path: Path) -> pd.DataFrame:
    """The table of a Parquet file that `write_table` wrote; InputError if it cannot be read.

    The CSV file beside it does not tell that an id such as 007 is text.
    """
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise InputError(
            f"{path}: cannot be read as a Parquet table; make it again with 'latentsr evaluate'"
        ) from error

from pathlib import Path

import numpy as np
import pytest
import torch

from latentsr.config import sha256
from latentsr.data.records import Dataset, Record, batches, commonest, loaded, padded, spread, write_dataset
from latentsr.errors import OptionError
from latentsr.io.raster import write_pixels


def records(sizes: str) -> tuple[Record, ...]:
    """One record a letter: a is 4 x 6, b is 6 x 4, c is 8 x 8 pixels."""
    shapes = {"a": (4, 6), "b": (6, 4), "c": (8, 8)}
    return tuple(Record(f"{n}", "p", "valid", f"{n}.png", *shapes[size], "0") for n, size in enumerate(sizes))


def ids(chosen: tuple[Record, ...]) -> str:
    return "".join(record.id for record in chosen)


def test_a_limit_is_spread_evenly() -> None:
    given = records("aaaaaaaaaa")
    assert ids(spread(given, 3)) == "036"
    assert ids(spread(given, 1)) == "0"
    assert spread(given, None) == spread(given, 10) == spread(given, 11) == given
    with pytest.raises(OptionError, match="the option limit is 0: expected 1 image or more"):
        spread(given, 0)


def test_batches_are_of_one_size_whole_and_without_what_is_done() -> None:
    given = records("abaabca")
    assert [ids(batch) for batch in batches(given, 2)] == ["02", "36", "14", "5"]
    assert [ids(batch) for batch in batches(given, 3, done={"0", "5"})] == ["236", "14"]
    assert not list(batches(given, 2, done={str(n) for n in range(7)}))


def test_the_commonest_size_and_the_larger_of_two_as_common() -> None:
    assert ids(commonest(records("cabba"))) == "23"
    assert ids(commonest(records("cabb"))) == "23"
    assert ids(commonest(records("ab"))) == "1"


def test_images_are_loaded_as_one_batch(tmp_path: Path) -> None:
    made = []
    for n in range(2):
        path = tmp_path / f"{n}.png"
        write_pixels(path, np.full((4, 6), 51 * (n + 1), np.uint8))
        made.append(Record(path.stem, "p", "valid", path.name, 4, 6, sha256(path)))
    dataset: Dataset = write_dataset(tmp_path, "d", made, {})
    images = loaded(dataset, made[::-1], "cpu")
    assert images.shape == (2, 1, 4, 6)
    assert images.dtype == torch.float32
    assert images[:, 0, 0, 0].tolist() == pytest.approx([0.4, 0.2])


def test_padding_repeats_the_last_row_and_column_and_only_these() -> None:
    images = torch.arange(6.0).reshape(1, 1, 2, 3)
    wide = padded(images, 4)
    assert wide.shape == (1, 1, 4, 4)
    assert torch.equal(wide[..., :2, :3], images)
    assert wide[0, 0, 3].tolist() == [3, 4, 5, 5]
    assert padded(wide, 4) is wide

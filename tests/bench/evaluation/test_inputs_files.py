"""Files paired with records: what is wrong with a file is told apart, and one that changes later is no longer taken."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from latentsr.bench.inputs import Naming, PairedFiles, Target, pair_files
from latentsr.data.records import Dataset
from latentsr.errors import InputError
from latentsr.io.raster import write_pixels
from latentsr.stats.table import short_hash


def paired(folder: Path, dataset: Dataset, *, show_ids: bool = True) -> PairedFiles:
    return pair_files(folder, Target(dataset.records, Naming("abdomen", show_ids)), what="method 'mine'")


def spoil(folder: Path) -> None:
    """One fault of each kind; the fixture's image of 011 stays as it is."""
    grey = np.zeros((176, 192), np.uint8)
    Image.fromarray(np.stack([grey] * 3, -1)).save(folder / "007.png")
    (folder / "008.png").unlink()
    tifffile.imwrite(folder / "008.tif", grey.astype(np.float32), photometric="minisblack")
    (folder / "009.png").write_bytes((folder / "009.png").read_bytes()[:200])
    (folder / "010.png").unlink()
    tifffile.imwrite(folder / "010.tif", np.stack([grey] * 2), photometric="minisblack")


def test_kinds_of_wrong_files_are_told_apart(dataset: Dataset, images: Path) -> None:
    spoil(images)
    write_pixels(images / "011.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(InputError) as caught:
        paired(images, dataset)
    told = str(caught.value)
    for fault in (
        "in colour: 007", "of another depth than 8 or 16 bit: 008", "no image, or cut off: 009",
        "of several pages: 010", "wrongly sized: 011",
    ):  # fmt: skip
        assert fault in told
    assert "missing" not in told
    assert "\n" not in told


def test_files_are_named_by_a_hash_with_the_way_to_the_id(dataset: Dataset, images: Path) -> None:
    spoil(images)
    with pytest.raises(
        InputError, match=rf"in colour: {short_hash('abdomen', '007')}; .*the option show_ids names them by id$"
    ):
        paired(images, dataset, show_ids=False)


@pytest.mark.parametrize("change", ["size", "content", "gone", "cut"])
def test_a_file_that_changes_later_is_not_taken(dataset: Dataset, images: Path, change: str) -> None:
    files = paired(images, dataset)
    path = images / "008.png"
    assert files.unit("008").shape == (176, 192)
    if change == "size":
        write_pixels(path, np.zeros((64, 64), np.uint8))
    elif change == "content":
        write_pixels(path, np.zeros((176, 192), np.uint8))
    elif change == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="image 008 of dataset 'abdomen' was removed or altered while") as caught:
        files.unit("008")
    assert str(images) not in str(caught.value)
    assert files.unit("009").shape == (176, 192)


def test_the_digest_follows_ids_and_contents(dataset: Dataset, images: Path) -> None:
    first = paired(images, dataset).hash
    assert paired(images, dataset).hash == first
    pixels = (images / "008.png").read_bytes()
    (images / "008.png").write_bytes((images / "009.png").read_bytes())
    assert paired(images, dataset).hash != first
    (images / "009.png").write_bytes(pixels)
    assert paired(images, dataset).hash != first  # the same files under other names
    one, other = (PairedFiles({}, {id: "0" * 64}, Naming("abdomen")).hash for id in ("a", "b"))
    assert one != other


def test_paths_are_not_part_of_what_a_run_records(dataset: Dataset, images: Path) -> None:
    files = paired(images, dataset)
    assert json.dumps(files.hash).strip('"').isalnum()
    moved = images.rename(images.parent / "elsewhere")
    assert paired(moved, dataset).hash == files.hash

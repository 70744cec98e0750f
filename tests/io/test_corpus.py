"""Every file of pydicom's own test set is read, or refused in one line; what is read can be written and read again."""

import contextlib
from pathlib import Path

import pydicom.data
import pytest

from latentsr import io
from latentsr.errors import InputError

CORPUS = Path(pydicom.data.__file__).parent / "test_files"
SKELETONS = "TINY_ALPHA"  # fifty files without pixels, all alike: one is enough
FILES = [path.relative_to(CORPUS) for path in sorted(CORPUS.rglob("*")) if path.is_file()]
FILES = [path for path in FILES if SKELETONS not in path.parts or path.name in ("IM000000", "DICOMDIR", "README")]


@pytest.mark.parametrize("name", FILES, ids=str)
def test_a_volume_or_one_line(name: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(InputError):
        volume = io.read(CORPUS / name)
        (out,) = io.write(volume, tmp_path / "out.dcm", provenance=None)
        assert io.read(out).pixels.shape == volume.pixels.shape
    assert capfd.readouterr() == ("", "")


def test_the_walk_over_the_corpus_finds_series_and_single_files() -> None:
    items = io.find([CORPUS])
    assert len(items) > 80
    assert {len(item.paths) for item in items} >= {1, 5}


def test_most_grey_images_are_read_and_all_refusals_are_one_line_with_the_path() -> None:
    refusals = [error for name in FILES if (error := _refusal(CORPUS / name))]
    assert len(FILES) - len(refusals) >= 45
    assert all(str(CORPUS) in error and "\n" not in error for error in refusals)


def _refusal(path: Path) -> str | None:
    try:
        io.read(path)
    except InputError as error:
        return str(error)
    return None

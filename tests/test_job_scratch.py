from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from latentsr.errors import LatentSRError
from latentsr.job import Scratch
from latentsr.volume import all_finite, let_go


@pytest.fixture(params=["memory", "disk"])
def scratch(request: pytest.FixtureRequest, tmp_path: Path) -> Scratch:
    return Scratch(tmp_path / "slices" if request.param == "disk" else None)


def _slices(first: int, count: int) -> np.ndarray:
    return np.arange(first * 6, (first + count) * 6, dtype=np.float32).reshape(count, 2, 3)


def test_what_was_put_is_there_as_a_whole(scratch: Scratch) -> None:
    scratch.put("image", 0, _slices(0, 2), 5)
    scratch.put("image", 2, _slices(2, 2), 5)
    scratch.put("image", 2, _slices(2, 2), 5)  # again, as after a kill before it was noted
    scratch.put("image", 4, _slices(4, 1), 5)
    array = scratch.array("image", (5, 2, 3))
    np.testing.assert_array_equal(array, _slices(0, 5))
    let_go(array)
    np.testing.assert_array_equal(array[3], _slices(3, 1)[0])
    assert all_finite(array)
    scratch.remove()


def test_another_finds_what_was_noted_and_nothing_without(tmp_path: Path) -> None:
    first = Scratch(tmp_path / "slices")
    assert first.state() == {}
    first.put("image", 0, _slices(0, 2), 4)
    first.note({"done": 2})
    again = Scratch(tmp_path / "slices")
    assert again.state() == {"done": 2}
    again.put("image", 2, _slices(2, 2), 4)
    np.testing.assert_array_equal(again.array("image", (4, 2, 3)), _slices(0, 4))
    again.note({"done": 4})
    (tmp_path / "slices" / "image.f32").write_bytes(b"cut")
    assert again.state() == {}
    (tmp_path / "slices" / "state.json").write_text("{")
    assert again.state() == {}
    again.remove()
    assert not (tmp_path / "slices").exists()


def test_pixels_that_are_not_finite_are_found_on_disk(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "slices")
    scratch.put("image", 0, np.array([[[1, np.nan]]], np.float32), 1)
    assert not all_finite(scratch.array("image", (1, 1, 2)))


def test_a_full_disk_is_one_line(tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]) -> None:
    scratch = Scratch(tmp_path / "slices")
    with full_disk(64), pytest.raises(LatentSRError, match=r"cannot write .*image\.f32"):
        scratch.put("image", 0, _slices(0, 40), 40)

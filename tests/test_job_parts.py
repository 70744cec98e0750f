from pathlib import Path

import numpy as np
import pytest

from latentsr.errors import StaleError
from latentsr.job import Parts


def test_what_is_written_is_read_back_in_the_order_of_ids(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "deep" / "parts")
    assert (parts.read(), parts.done()) == ((), frozenset())
    parts.write(["c", "d"], {"values": np.array([[1.0, np.nan], [np.inf, 2.0]]), "names": np.array(["x", "y"])})
    parts.write(["a"], {"values": np.array([[3.0, 4.0]]), "names": np.array(["x", "y"])})
    first, second = parts.read()
    assert (first.ids, second.ids) == (("a",), ("c", "d"))
    np.testing.assert_array_equal(second["values"], [[1.0, np.nan], [np.inf, 2.0]])
    assert second["names"].tolist() == ["x", "y"]
    assert parts.done() == {"a", "c", "d"}


def test_the_same_batch_is_one_part(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    for value in (1.0, 2.0):
        parts.write(["a", "b"], {"values": np.array([value])})
    (only,) = parts.read()
    assert only["values"].tolist() == [2.0]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", "half"])
def test_a_cut_part_is_named(tmp_path: Path, content: bytes | str) -> None:
    parts = Parts(tmp_path)
    parts.write(["a"], {"values": np.arange(100.0)})
    (path,) = tmp_path.glob("*.npz")
    path.write_bytes(path.read_bytes()[:300] if isinstance(content, str) else content)
    with pytest.raises(StaleError, match=rf"{path.name}: cut off or altered; remove this file"):
        parts.done()


def test_a_killed_write_leaves_no_part(tmp_path: Path) -> None:
    (tmp_path / ".abc.part-host-1.npz").write_bytes(b"half")
    assert Parts(tmp_path).read() == ()


def test_any_altered_byte_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    """Dates in the archive are read by nobody; all else has a checksum or is named twice."""
    parts = Parts(tmp_path)
    parts.write(["a", "b"], {"values": np.arange(6.0).reshape(2, 3), "device": np.array("cpu")})
    (path,), (told,) = tmp_path.glob("*.npz"), parts.read()
    whole, noticed = path.read_bytes(), 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        try:
            (part,) = parts.read()
        except StaleError:
            noticed += 1
            continue
        assert part.ids == told.ids
        assert {name: array.tolist() for name, array in part.arrays.items()} == {
            "values": [[0, 1, 2], [3, 4, 5]], "device": "cpu"
        }  # fmt: skip
    assert noticed > len(whole) / 2

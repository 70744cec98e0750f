import errno
import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from latentsr import io
from latentsr.atomic import append, refuse_existing, refuse_links, replacing, write_bytes
from latentsr.config import write_json
from latentsr.errors import LatentSRError, StaleError
from latentsr.volume import Volume


def test_file_takes_its_name_only_when_the_block_has_ended(tmp_path: Path) -> None:
    target = tmp_path / "new" / "image.nii.gz"
    with replacing(target) as temporary:
        temporary.write_bytes(b"pixels")
        assert not target.exists()
        assert temporary.parent == target.parent
        assert temporary.name.startswith(".")
        assert temporary.name.endswith(".nii.gz")
    assert target.read_bytes() == b"pixels"
    assert list(target.parent.iterdir()) == [target]


def test_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "image.png"
    target.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(target) as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_nothing_written_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(LatentSRError, match="cannot write"), replacing(tmp_path / "image.png"):
        pass
    assert not list(tmp_path.iterdir())


def test_existing_file_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "image.png"
    target.write_bytes(b"old")
    with replacing(target) as temporary:
        temporary.write_bytes(b"new")
    assert target.read_bytes() == b"new"


def test_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "failed") as temporary:
        temporary.mkdir()
        (temporary / "slice.dcm").write_bytes(b"1")
        raise ZeroDivisionError
    with replacing(tmp_path / "series") as temporary:
        temporary.mkdir()
        (temporary / "slice.dcm").write_bytes(b"1")
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["series", "slice.dcm"]


@pytest.mark.parametrize("name", ["1.2.840.10008.5.1", "x" * 250 + ".dcm", "no extension", "Ünïcode.png"])
def test_any_file_name_works(tmp_path: Path, name: str) -> None:
    with replacing(tmp_path / name) as temporary:
        temporary.write_bytes(b"1")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_a_killed_process_left_is_removed(tmp_path: Path, forked: Callable) -> None:
    target = tmp_path / "image.png"

    def killed() -> None:
        with replacing(target) as temporary:
            temporary.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)

    assert forked(killed) == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    with replacing(target) as temporary:
        temporary.write_bytes(b"whole")
    assert list(tmp_path.iterdir()) == [target]


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "image.png"
    with replacing(target) as temporary:
        temporary.write_bytes(b"1")
        other = temporary.with_name(temporary.name.replace(str(os.getpid()), str(os.getppid())))
        other.write_bytes(b"2")
        with replacing(tmp_path / "another.png") as second:
            second.write_bytes(b"3")
    with replacing(target) as temporary:
        temporary.write_bytes(b"4")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([other.name, "another.png", "image.png"])


def test_a_folder_is_searched_for_leftovers_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched, iterdir = [], Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: searched.append(self) or iterdir(self))
    for folder in ("a", "b", "a"):
        for number in range(3):
            with replacing(tmp_path / folder / f"{number}.png") as temporary:
                temporary.write_bytes(b"1")
    assert searched == [tmp_path / "a", tmp_path / "b"]


def test_what_is_appended_is_there_whole_or_not_at_all(tmp_path: Path, full_disk: Callable) -> None:
    append(tmp_path / "lines", b"first\n")
    with full_disk(20), pytest.raises(LatentSRError, match=r"cannot write .*lines: File too large; free the disk"):
        append(tmp_path / "lines", b"this does not fit\n")
    append(tmp_path / "lines", b"second\n")
    assert (tmp_path / "lines").read_bytes() == b"first\nsecond\n"
    with pytest.raises(LatentSRError, match="No such file or directory"):
        append(tmp_path / "missing" / "lines", b"1")


def test_a_link_below_the_output_is_not_followed(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "real").mkdir()
    out.symlink_to(tmp_path / "real")  # the output itself may be a link: the user named it
    (out / "plain").mkdir()
    refuse_links(out, out / "plain" / "new" / "a.png")
    (out / "sub").symlink_to(elsewhere)
    (out / "b.png").symlink_to(elsewhere / "missing.png")
    for path in (out / "sub" / "a.png", out / "sub" / "deep" / "a.png", out / "b.png", out / "sub"):
        with pytest.raises(LatentSRError, match="symbolic link inside the output folder") as caught:
            refuse_links(out, path)
        assert "\n" not in str(caught.value)
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("path", ["../x.png", "a/../../x.png", "/x.png"])
def test_a_path_outside_the_output_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(LatentSRError, match="outside the output folder"):
        refuse_links(tmp_path / "out", tmp_path / "out" / path)


@pytest.mark.parametrize(("code", "fix"), [
    (errno.ENOSPC, "free the disk"), (errno.EIO, "free the disk"), (errno.EACCES, "allow writing there"),
    (errno.EROFS, "allow writing there"),
])  # fmt: skip
def test_what_the_disk_refuses_is_one_line_with_the_fix(tmp_path: Path, code: int, fix: str) -> None:
    target = tmp_path / "a.csv"
    with pytest.raises(LatentSRError) as caught, replacing(target):
        raise OSError(code, os.strerror(code))
    assert str(caught.value) == f"cannot write {target}: {os.strerror(code)}; {fix} or choose another output folder"


def test_a_file_that_cannot_be_read_while_writing_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "copy.png") as temporary:
        temporary.write_bytes((tmp_path / "missing.png").read_bytes())


def test_bytes_that_do_not_all_reach_the_disk_name_their_file(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(OSError, match=r"No space left.*/dev/full"):
        write_bytes(Path("/dev/full"), b"1")


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LatentSRError, match="cannot write"), replacing(tmp_path / "file" / "a") as part:
        part.write_text("never")


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "series"
    for content in ("one", "two"):
        with replacing(target, over_folder=True) as part:
            part.mkdir()
            (part / content).write_text(content)
        assert [file.name for file in target.iterdir()] == [content]
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_with_files_is_replaced_only_if_asked(tmp_path: Path) -> None:
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "a").write_text("a")
    (tmp_path / ".old-series").mkdir()  # of a process that was killed
    (tmp_path / ".old-series" / "b").write_text("b")
    with pytest.raises(LatentSRError), replacing(tmp_path / "series") as part:
        part.mkdir()
    assert (tmp_path / "series" / "a").read_text() == "a"
    with replacing(tmp_path / "series", over_folder=True) as part:
        part.mkdir()
    assert [path.name for path in tmp_path.rglob("*")] == ["series"]


def test_a_folder_that_fails_keeps_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "series"
    with replacing(target, over_folder=True) as part:
        part.mkdir()
        (part / "a").write_text("a")
    with pytest.raises(ValueError, match="midway"), replacing(target, over_folder=True) as part:
        part.mkdir()
        raise ValueError("midway")
    assert [file.name for file in target.iterdir()] == ["a"]
    assert list(tmp_path.iterdir()) == [target]


def test_an_existing_output_needs_overwrite(tmp_path: Path) -> None:
    with pytest.raises(StaleError, match="the option overwrite"):
        refuse_existing(tmp_path, overwrite=False)
    refuse_existing(tmp_path, overwrite=True)
    refuse_existing(tmp_path / "none", overwrite=False)


def _written(path: Path, seed: int) -> Path:
    """Any kind of output at `path`, noise of a seed; the file that the disk cuts short."""
    values = np.random.default_rng(seed).integers(0, 4000, (2, 60, 50)).astype(np.float32)
    volume = Volume.from_array(values if path.name.startswith("series") else values[:1], (1.0, 1.0))
    if path.suffix == ".json":
        write_json(path, values[0, :5].tolist())
    elif path.stem == "map":
        io.write_uncertainty(volume, path, provenance=None, overwrite=True)
    elif path.stem == "derived":
        source = io.read(get_testdata_file("MR_small.dcm", download=False))
        io.write(source.enlarged(np.kron(source.pixels, np.ones((1, 2, 2))), 2), path, provenance=None, overwrite=True)
    else:
        io.write(volume, path, provenance=None, overwrite=True)
    return max(path.iterdir()) if path.is_dir() else path


@pytest.mark.parametrize("name", [
    "a.png", "a.tif", "map.tif", "a.nii", "a.nii.gz", "a.json", "a.dcm", "derived.dcm", "series",
])  # fmt: skip
@pytest.mark.parametrize("missing", [1, 1000])
def test_a_full_disk_leaves_the_old_file_and_says_what_to_do(
    tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]], name: str, missing: int
) -> None:
    size = _written(tmp_path / "out" / name, 0).stat().st_size
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with full_disk(size - missing), pytest.raises(LatentSRError) as caught:
        _written(tmp_path / "out" / name, 1)
    assert f"cannot write {tmp_path / 'out' / name}" in str(caught.value)
    assert "free the disk or choose another output folder" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before

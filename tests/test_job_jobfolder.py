import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from latentsr.atomic import remove
from latentsr.config import sha256
from latentsr.errors import LatentSRError, OptionError, StaleError
from latentsr.job import LOCK, JobFolder, check_room, check_writable, locked, run_folder


def of(root: Path) -> JobFolder:
    return JobFolder(root, "screening", "done.json", frozenset({"table.csv", "pictures"}), "data or options")


def interrupted(root: Path, key: str = "k") -> JobFolder:
    folder = of(root)
    folder.claim(key)
    folder.begin(key)
    folder.parts.mkdir(exist_ok=True)
    (folder.parts / "a.npz").write_bytes(b"1")
    return folder


def finished(root: Path) -> JobFolder:
    folder = interrupted(root)
    (root / "table.csv").write_text("1")
    (root / "pictures").mkdir()
    folder.finish({"key": "k"})
    folder.drop_parts()
    return folder


def names(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()}


def test_an_interrupted_job_goes_on_and_a_finished_one_is_left(tmp_path: Path) -> None:
    folder = interrupted(tmp_path / "out")
    folder.claim("k")
    assert names(folder.root) == {"done.partial.json", "parts"}
    assert not folder.whole
    folder = finished(tmp_path / "out")
    assert folder.whole
    folder.claim("k")
    assert names(folder.root) == {"done.json", "table.csv", "pictures"}


@pytest.mark.parametrize("make", [interrupted, finished])
def test_the_work_of_another_key_is_refused_or_replaced(tmp_path: Path, make: object) -> None:
    folder = make(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    before = names(tmp_path)
    with pytest.raises(
        StaleError,
        match="holds another screening, of other data or options: choose another output folder, or set the",
    ):
        folder.claim("other")
    assert names(tmp_path) == before
    folder.claim("other", overwrite=True)
    assert names(tmp_path) == {"notes.txt"}
    folder.begin("other")
    assert names(tmp_path) == {"done.partial.json", "notes.txt"}
    with pytest.raises(StaleError, match="of other data"):
        folder.claim("k")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_somebody_elses_is_refused_and_left(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "table.csv").write_text("1")
    (tmp_path / "Doe_Jane.png").write_text("1")
    with pytest.raises(StaleError, match="choose an output folder that is new or empty") as caught:
        of(tmp_path).claim("k", overwrite=overwrite)
    assert "Doe" not in str(caught.value)
    assert names(tmp_path) == {"table.csv", "Doe_Jane.png"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_names_of_results_make_no_folder_the_jobs_own(tmp_path: Path, overwrite: bool) -> None:
    """Without a record nothing says that they are not somebody's own table and pictures."""
    (tmp_path / "table.csv").write_text("1")
    (tmp_path / "parts").mkdir()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "holiday.jpg").write_text("1")
    with pytest.raises(StaleError, match="holds files but no screening; choose an output folder that is new or empty"):
        of(tmp_path).claim("k", overwrite=overwrite)
    assert names(tmp_path) == {"table.csv", "parts", "pictures"}
    assert names(tmp_path / "pictures") == {"holiday.jpg"}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("record", ["done.json", "done.partial.json"])
@pytest.mark.parametrize("text", ['{"job": "evaluation", "key": "k"}', '{"key": "k"}', "[]", "{", ""])
def test_a_record_of_another_job_or_of_none_is_refused(tmp_path: Path, text: str, record: str, overwrite: bool) -> None:
    (tmp_path / record).write_text(text)
    (tmp_path / "pictures").mkdir()
    with pytest.raises(
        StaleError, match=f"its {record} is of no screening; choose an output folder that is new or empty"
    ):
        of(tmp_path).claim("k", overwrite=overwrite)
    assert names(tmp_path) == {record, "pictures"}
    assert (tmp_path / record).read_text() == text


def test_a_folder_of_both_jobs_is_no_ones(tmp_path: Path) -> None:
    """An interrupted job's folder in which another command has put its own record since."""
    folder = interrupted(tmp_path)
    (tmp_path / "done.json").write_text("{}")
    with pytest.raises(StaleError, match=r"its done\.json is of no screening"):
        folder.claim("k", overwrite=True)
    assert names(tmp_path) == {"done.json", "done.partial.json", "parts"}


def test_both_records_say_whose_they_are(tmp_path: Path) -> None:
    interrupted(tmp_path)
    assert json.loads((tmp_path / "done.partial.json").read_text()) == {"job": "screening", "key": "k"}
    finished(tmp_path)
    told = json.loads((tmp_path / "done.json").read_text())
    assert {
        "job": "screening",
        "key": "k",
        "sha256": {"table.csv": sha256(tmp_path / "table.csv")},
    }.items() <= told.items()


@pytest.mark.parametrize("way", ["cut", "altered", "missing", "record"])
def test_a_table_or_record_that_is_not_as_it_was_written_is_stale(tmp_path: Path, way: str) -> None:
    folder, path = finished(tmp_path), tmp_path / ("done.json" if way == "record" else "table.csv")
    content = path.read_text()
    if way == "missing":
        path.unlink()
    else:
        path.write_text({"cut": "", "altered": "2"}.get(way, content.replace('"digest"', '"note": 1, "digest"')))
    named = path.name.replace(".", r"\.")
    with pytest.raises(StaleError, match=f"{named}: .*altered.*set the option overwrite to make all anew"):
        folder.claim("k")
    folder.claim("k", overwrite=True)
    assert not folder.whole


def test_a_removal_that_is_interrupted_leaves_no_parts_without_their_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(path: Path) -> None:
        raise KeyboardInterrupt

    folder = interrupted(tmp_path)
    monkeypatch.setattr("latentsr.job.shutil.rmtree", stop)
    with pytest.raises(KeyboardInterrupt):
        folder.claim("other", overwrite=True)
    assert names(tmp_path) == {"parts", "done.partial.json"}
    with pytest.raises(StaleError, match="holds another screening"):
        folder.claim("other")


@pytest.mark.parametrize("nth", [0, 1, 2, 3])
def test_a_removal_that_is_interrupted_anywhere_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    """Of a finished job: its folder still says whose it is, and is never taken for whole."""
    folder, removed = finished(tmp_path), []
    (tmp_path / "parts").mkdir()  # as where a job ended between its record and the removal of its parts
    whole = remove

    def stop(path: Path) -> None:
        if len(removed) == nth:
            raise KeyboardInterrupt
        removed.append(path)
        whole(path)

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr("latentsr.job.remove", stop)
        folder.claim("other", overwrite=True)
    assert not folder.whole
    with pytest.raises(StaleError, match="holds another screening, of other data or options"):
        folder.claim("other")
    folder.claim("k")
    folder.claim("other", overwrite=True)
    assert names(tmp_path) == set()


def test_a_shared_folder_may_hold_other_files_and_is_its_jobs_by_its_record_alone(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path, "cache", "done.json", frozenset({"table.csv"}), "data", shared=True, fix="remove it")
    (tmp_path / "notes.txt").write_text("mine")
    folder.claim("k")
    (tmp_path / "table.csv").write_text("1")
    with pytest.raises(StaleError, match=r"its table\.csv is of no cache"):
        folder.claim("k")
    folder.note({"key": "k", "done": 3})
    folder.claim("k")
    assert folder.noted() == {"key": "k", "done": 3}
    with pytest.raises(StaleError, match="holds another cache, of other data: choose another output folder, or remove"):
        folder.claim("other")
    partial = tmp_path / "done.partial.json"
    partial.write_text(partial.read_text().replace("3", "4"))
    with pytest.raises(StaleError, match=r"done\.partial\.json: altered; remove it"):
        folder.noted()
    folder.finish({"key": "k"})
    folder.drop_parts()
    assert folder.noted() is None
    assert folder.whole
    assert folder.finished()["key"] == "k"
    assert names(tmp_path) == {"notes.txt", "table.csv", "done.json"}
    (tmp_path / "done.json").write_text("[]")
    with pytest.raises(StaleError, match=r"its done\.json is of no cache"):
        folder.claim("k")


def test_a_link_to_somebodys_pictures_is_removed_and_they_are_not(tmp_path: Path) -> None:
    folder = finished(tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "pictures")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "holiday.jpg").write_text("1")
    (tmp_path / "out" / "pictures").symlink_to(tmp_path / "mine", target_is_directory=True)
    folder.claim("other", overwrite=True)
    assert names(tmp_path / "out") == set()
    assert names(tmp_path / "mine") == {"holiday.jpg"}


def test_hidden_files_and_no_folder_are_fine_and_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".DS_Store").write_bytes(b"")
    of(tmp_path / "out").claim("k")
    of(tmp_path / "deep" / "new").claim("k")
    (tmp_path / "file").write_text("")
    for overwrite in (False, True):
        with pytest.raises(StaleError, match="is a file, expected a new or empty folder"):
            of(tmp_path / "file").claim("k", overwrite=overwrite)


def test_a_run_lies_beside_its_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_folder(tmp_path / "out") == tmp_path / "out.run"
    monkeypatch.chdir(tmp_path)
    assert run_folder(Path()) == tmp_path.with_name(f"{tmp_path.name}.run")


HOLD = """
import sys, time
from pathlib import Path
from latentsr.job import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen]:
    """A process that works in the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "run"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_told_who_works_there(holder: subprocess.Popen, tmp_path: Path) -> None:
    expected = rf"run: process {holder.pid} on {re.escape(socket.gethostname())} since .* UTC works here; wait for it"
    for _ in range(2):
        with pytest.raises(StaleError, match=expected), locked(tmp_path / "run"):
            pass
    assert (tmp_path / "run" / LOCK).exists()


def test_a_killed_process_keeps_nothing(holder: subprocess.Popen, tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    with locked(tmp_path / "run"):
        assert f"process {os.getpid()} " in (tmp_path / "run" / LOCK).read_text()
    assert not (tmp_path / "run").exists()


def test_what_lies_in_a_locked_folder_stays(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), locked(tmp_path / "deep" / "run"):
        (tmp_path / "deep" / "run" / "run.json").write_text("{}")
        raise KeyboardInterrupt
    assert [path.name for path in (tmp_path / "deep" / "run").iterdir()] == ["run.json"]


@pytest.mark.parametrize("folder", ["file/run", "file"])
def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OptionError, match=r"cannot be written .*; check its disk and permissions"),
        locked(tmp_path / folder),
    ):
        pass
    with pytest.raises(OptionError, match=r"cannot be written .*choose another output folder"):
        check_writable(tmp_path / folder)


def test_a_disk_without_room_is_an_error(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    check_room(tmp_path, free // 2)
    with pytest.raises(
        LatentSRError, match=r"needs about [\d,]+ MB, [\d,]+ MB are free; free the disk or choose another"
    ):
        check_room(tmp_path, 2 * free)
    assert list(tmp_path.iterdir()) == []

"""What `enhance` does about its output folder: whose it is, whether it can be written, what it leaves and skips."""

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pydicom.data
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from latentsr import config, enhance
from latentsr.enhance import Job, Outcome, enhance_files
from latentsr.errors import InputError, OptionError, StaleError
from latentsr.upscalers import Sampling
from latentsr.upscalers.model import SuperResolver


@pytest.fixture(scope="module")
def resolver(model_folder: Path) -> SuperResolver:
    return SuperResolver.load(model_folder, device="cpu")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two grey images and one in colour, in two folders."""
    root = tmp_path / "in"
    (root / "sub").mkdir(parents=True)
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 255, (9, 14), dtype=np.uint8)).save(root / "a.png")
    Image.fromarray(random.integers(0, 255, (9, 14, 3), dtype=np.uint8)).save(root / "colour.png")
    Image.fromarray(random.integers(0, 60000, (12, 7), dtype=np.uint16)).save(root / "sub" / "b.tif")
    return root


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def statuses(outcomes: list[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def job(resolver: SuperResolver, out: Path, **options: Any) -> Job:
    return Job(resolver, Sampling(), out, **options)


def record(out: Path) -> list[dict]:
    return json.loads((out.with_name(f"{out.name}.run") / "run.json").read_text())["files"]


def test_files_without_an_image_are_skipped_and_stand_in_the_record(
    resolver: SuperResolver, tree: Path, tmp_path: Path
) -> None:
    (tree / "README").write_text("read me")
    (tree / "notes.json").write_text("{}")
    outcomes = enhance_files([tree], job(resolver, tmp_path / "out"))
    skipped = {outcome.input: outcome.reason for outcome in outcomes if outcome.status == "skipped"}
    assert skipped.keys() == {"README", "notes.json"}
    assert "README holds no image" in skipped["README"]
    assert sorted(one["status"] for one in record(tmp_path / "out")) == [
        "failed",
        "skipped",
        "skipped",
        "written",
        "written",
    ]
    assert files(tmp_path / "out") == ["a.png", "sub", "sub/b.tif"]


def test_an_output_that_cannot_be_written_is_found_before_an_image_is_computed(
    resolver: SuperResolver, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SuperResolver, "enhancing", lambda *_, **__: pytest.fail("an image was computed"))
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match=r"file: cannot be written \(Not a directory\)"):
        enhance_files([tree], job(resolver, tmp_path / "file" / "out"))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    (full,) = enhance_files([Path(get_testdata_file("MR_small.dcm"))], job(resolver, tmp_path / "out"))
    assert full.status == "failed"
    assert re.search(r"needs about .* are free; free the disk or choose another output folder", full.reason)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "in"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize(("mode", "place"), [(0o555, "closed"), (0o600, "closed/out")])  # not written, not searched
def test_an_output_that_permissions_forbid_is_found_before_an_image_is_computed(
    resolver: SuperResolver, tree: Path, tmp_path: Path, mode: int, place: str
) -> None:
    (tmp_path / "closed").mkdir(mode=mode)
    with pytest.raises(OptionError, match=rf"{place}: cannot be written \(Permission denied\)"):
        enhance_files([tree], job(resolver, tmp_path / place))


def test_places_that_cannot_be_are_found_before_an_image_is_computed(
    resolver: SuperResolver, tree: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "nowhere")
    for out in (tmp_path / "out", tmp_path / "out" / "below"):
        for dry_run in (False, True):
            with pytest.raises(OptionError, match="out: is a link to what does not exist; make that folder"):
                enhance_files([tree], job(resolver, out, dry_run=dry_run))
    with pytest.raises(OptionError, match=r"cannot be written \(File name too long\); check"):
        enhance_files([tree], job(resolver, tmp_path / ("x" * 300)))


def test_the_journal_grows_by_one_output_at_a_time(
    resolver: SuperResolver, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs begin in several threads; the facts of the run stand once, before them."""
    one = enhance._Record(job(resolver, tmp_path / "out"), [tree])
    one.journal.parent.mkdir()
    append, start = enhance.append, Barrier(4)

    def slowly(path: Path, content: bytes) -> None:
        time.sleep(0.05)  # the others arrive meanwhile
        append(path, content)

    def begin(name: str) -> None:
        start.wait()
        one.begin(Outcome(name, "begun", name))

    monkeypatch.setattr(enhance, "append", slowly)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(begin, "abcd"))
    facts, *lines = map(json.loads, one.journal.read_text().splitlines())
    assert "model_hash" in facts
    assert sorted(line["input"] for line in lines) == list("abcd")


def test_a_second_run_into_a_folder_is_told_who_works_there(
    resolver: SuperResolver, tree: Path, tmp_path: Path
) -> None:
    refused = []

    def again(_: Outcome) -> None:
        with pytest.raises(StaleError, match=rf"process {os.getpid()} on .* works here; wait for it"):
            enhance_files([tree], job(resolver, tmp_path / "out"))
        refused.append(True)

    enhance_files([tree], job(resolver, tmp_path / "out"), finished=again)
    assert len(refused) == 3
    assert files(tmp_path / "out.run") == ["run.json"]
    assert statuses(enhance_files([tree], job(resolver, tmp_path / "out"))) == ["kept", "failed", "kept"]


def test_equal_warnings_have_equal_words(resolver: SuperResolver, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for side in (10, 20):
        Image.fromarray(np.arange(side * side, dtype=np.uint16).reshape(side, side)).save(
            tmp_path / "in" / f"{side}.png"
        )
    first, second = enhance_files([tmp_path / "in"], job(resolver, tmp_path / "out"))
    assert first.warnings == second.warnings
    assert [one["warnings"] for one in record(tmp_path / "out")] == [list(first.warnings)] * 2


def test_a_link_below_the_output_is_not_followed(resolver: SuperResolver, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "sub").symlink_to(tmp_path / "elsewhere")
    outcomes = enhance_files([tree], job(resolver, tmp_path / "out"))
    assert statuses(outcomes) == ["written", "failed", "failed"]
    assert "is a symbolic link" in outcomes[2].reason
    assert files(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("options", [{"grey": True}, {"axis": 0}], ids=str)
def test_what_decides_pixels_decides_what_is_kept(
    resolver: SuperResolver, tree: Path, tmp_path: Path, options: dict
) -> None:
    enhance_files([tree / "a.png"], job(resolver, tmp_path / "out"))
    (outcome,) = enhance_files([tree / "a.png"], job(resolver, tmp_path / "out", **options))
    assert "was made from other input, model or options" in outcome.reason
    (outcome,) = enhance_files([tree / "a.png"], job(resolver, tmp_path / "out", max_pixels=10**6, parametric_map=True))
    assert outcome.status == "kept"


def test_a_broken_file_of_a_series_does_not_keep_the_others_back(resolver: SuperResolver, tmp_path: Path) -> None:
    source, scans = Path(pydicom.data.__file__).parent / "test_files/dicomdirtests/98892001/CT5N", tmp_path / "scans"
    shutil.copytree(source, scans / "series")
    paths = sorted((scans / "series").iterdir())
    paths[1].write_bytes(paths[1].read_bytes()[:-100])
    job = Job(resolver, Sampling(), tmp_path / "out")
    outcomes = enhance_files([scans], job)
    assert [(one.input, one.status) for one in outcomes] == [
        ("series", "written"), (f"series/{paths[1].name}", "failed"),
    ]  # fmt: skip
    assert len(list((tmp_path / "out" / "series").iterdir())) == len(paths) - 1
    assert statuses(enhance_files([scans], job)) == ["kept", "failed"]


def test_the_record_is_written_once_and_its_journal_once_an_output(
    resolver: SuperResolver, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the cost of a job grows with the square of its files."""
    written: list[int] = []
    append = enhance.append
    monkeypatch.setattr(enhance, "append", lambda path, content: written.append(len(content)) or append(path, content))
    monkeypatch.setattr(enhance, "write_json", lambda *content: written.append(0) or config.write_json(*content))
    for number in range(6):
        shutil.copy(tree / "a.png", tree / f"a{number}.png")
    enhance_files([tree], job(resolver, tmp_path / "out"))
    assert [size > 0 for size in written] == [True] * 8 + [False]
    assert max(written[2:7]) - min(written[2:7]) < 20  # digits of the seconds
    assert statuses(enhance_files([tree], job(resolver, tmp_path / "out"))).count("kept") == 8
    assert written[9:] == [0]


@pytest.fixture
def killed(resolver: SuperResolver, tree: Path, tmp_path: Path, forked: Callable) -> Path:
    """The journal of a job that was killed as soon as the last of three files was written."""

    def work() -> None:
        hashes = enhance._hashes

        def kill(paths: list[Path], out: Path) -> dict[str, str]:
            if paths[0].name == "b.tif":
                os.kill(os.getpid(), signal.SIGKILL)
            return hashes(paths, out)

        enhance._hashes = kill
        enhance_files([tree], job(resolver, tmp_path / "out"))

    assert forked(work) == -signal.SIGKILL
    assert files(tmp_path / "out.run") == [".lock", "run.partial.jsonl"]
    return tmp_path / "out.run" / "run.partial.jsonl"


def test_a_killed_jobs_journal_becomes_the_record_at_the_next_start(
    killed: Path, resolver: SuperResolver, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts, *lines = map(json.loads, killed.read_text().splitlines())
    assert [line["status"] for line in lines] == ["begun", "written", "failed", "begun"]
    before = killed.read_bytes()
    assert statuses(enhance_files([tree], job(resolver, tmp_path / "out", dry_run=True))) == ["kept", "failed", "kept"]
    assert killed.read_bytes() == before

    def refuse(*_: object) -> None:
        raise OptionError("a start that goes no further")

    with monkeypatch.context() as patched, pytest.raises(OptionError, match="goes no further"):
        patched.setattr(enhance, "_undone", refuse)
        enhance_files([tree], job(resolver, tmp_path / "out"))
    assert files(tmp_path / "out.run") == ["run.json"]
    assert json.loads((tmp_path / "out.run" / "run.json").read_text()) == {**facts, "files": lines[1:]}
    assert statuses(enhance_files([tree], job(resolver, tmp_path / "out"))) == ["kept", "failed", "kept"]
    assert [len(one["output_sha256"]) for one in record(tmp_path / "out")] == [1, 0, 1]


def test_the_facts_of_a_killed_job_are_kept(killed: Path, resolver: SuperResolver, tree: Path, tmp_path: Path) -> None:
    facts = json.loads(killed.read_text().splitlines()[0])
    enhance_files([tree], job(resolver, tmp_path / "out", grey=True))
    run = json.loads((tmp_path / "out.run" / "run.json").read_text())
    assert run["earlier"] == {facts["made_by"]: facts}
    assert run["made_by"] != facts["made_by"]


@pytest.mark.parametrize(("left", "expected"), [
    ("half of the last line", ["kept", "failed", "written"]), ("all but its end", ["kept", "failed", "written"]),
    ("half of the first line", ["written", "failed", "written"]), ("nothing", ["written", "failed", "written"]),
])  # fmt: skip
def test_a_line_that_the_kill_cut_off_names_no_output(
    killed: Path, resolver: SuperResolver, tree: Path, tmp_path: Path, left: str, expected: list[str]
) -> None:
    content = killed.read_bytes()
    last = content.rindex(b"\n", 0, -1)
    kept = {"half of the last line": last + 40, "all but its end": len(content) - 1, "half of the first line": 30}
    killed.write_bytes(content[: kept.get(left, 0)])
    (tmp_path / "out" / "sub" / "b.tif").unlink()  # a line is on the disk before its output is
    if expected[0] == "written":
        (tmp_path / "out" / "a.png").unlink()
    assert statuses(enhance_files([tree], job(resolver, tmp_path / "out"))) == expected
    assert files(tmp_path / "out.run") == ["run.json"]
    assert [one["status"] for one in record(tmp_path / "out")] == expected


@pytest.mark.parametrize("content", ["x\n", "3\n", "{}\n[]\n", "{}\n{}\n", "{}\n\n"])
def test_a_foreign_journal_is_an_error_on_one_line(
    resolver: SuperResolver, tree: Path, tmp_path: Path, content: str
) -> None:
    (tmp_path / "out.run").mkdir()
    (tmp_path / "out.run" / "run.partial.jsonl").write_text(content)
    with pytest.raises(InputError, match=r"run\.partial\.jsonl: is no record of an enhance job"):
        enhance_files([tree], job(resolver, tmp_path / "out"))
    assert (tmp_path / "out.run" / "run.partial.jsonl").read_text() == content

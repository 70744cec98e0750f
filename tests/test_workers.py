import multiprocessing
import os
import pickle
import signal
import socket
import sys
import threading
import time
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import psutil
import pytest

from latentsr.errors import InputError, LatentSRError, NotAnImageError, OptionError
from latentsr.io.raster import UnfitError
from latentsr.workers import Pool, Workers

DEEDS = """
import os, signal, time
from pathlib import Path

from latentsr.errors import InputError


class TwoWords(Exception):
    def __init__(self, first, second):  # pickle makes it anew with one argument
        super().__init__(f"{first} and {second}")


def do(model, item):
    what, *rest = item.split()
    if what == "refuse":
        raise InputError("an image that is none")
    if what == "odd":
        raise TwoWords("this", "that")
    if what == "wait":
        Path(rest[0], str(os.getpid())).touch()
        while not Path(rest[0], "go").exists():
            time.sleep(0.1)
    if what == "die" or (what == "once" and not Path(rest[0]).exists()):
        Path(*rest).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "write":
        try:
            Path(rest[0]).touch()
            time.sleep(100)
        finally:
            Path(rest[0]).unlink()
    return model, item, os.getpid(), os.environ.get("OMP_NUM_THREADS"), os.environ.get("OPENBLAS_NUM_THREADS")
"""


@pytest.fixture
def do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Some work, in a file that other processes find, too."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "deeds.py").write_text(DEEDS)
    monkeypatch.syspath_prepend(tmp_path / "code")
    import deeds

    yield deeds.do
    del sys.modules["deeds"]


def test_in_this_process_an_item_is_done_when_its_result_is_asked_for() -> None:
    made: list[int] = []
    found = Pool(Workers()).map(made.append, iter((1, 2)), name=str)
    item, result = next(found)
    assert (item, made) == (1, [])
    result()
    assert made == [1]
    assert [item for item, _ in found] == [2]


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_an_item_whose_process_died_is_done_again_by_a_new_one(do, tmp_path: Path) -> None:
    told: list[str] = []
    items = ["plain", f"once {tmp_path / 'mark'}", "refuse", "odd", "more", "still"]
    stages: list[str] = []
    with Workers(2, notice=told.append, stage=stages.append).pool() as pool:
        found = dict(pool.map(partial(do, "model"), items, name=lambda item: item.split()[0]))
        assert found.keys() == set(items)
        with pytest.raises(InputError, match="an image that is none"):
            found.pop("refuse")()
        with pytest.raises(LatentSRError, match=r"^TwoWords: this and that$"):  # which would break the pipe
            found.pop("odd")()
        values = {item: result() for item, result in found.items()}
        assert [values[item][:2] for item in values] == [("model", item) for item in values]
        assert {value[3:] for value in values.values()} == {("1", "1")}  # threads
        processes = {value[2] for value in values.values()}
        assert len(processes) in (2, 3)
        assert os.getpid() not in processes
        assert told == [
            "once: the process that worked on it died (killed, or out of memory); another one does it again"
        ]

        assert stages == ["starting 2 workers"]
        in_order = pool.in_order(partial(do, "other"), ["a", "b", "c"], name=str)
        assert [(item, result()[:2]) for item, result in in_order] == [(one, ("other", one)) for one in "abc"]
    assert not [pid for pid in processes if psutil.pid_exists(pid)]


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_an_item_that_kills_every_process_is_an_error_and_the_others_go_on(
    do, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("latentsr.workers.TRIES", 2)
    with Workers(1, notice=told.append).pool() as pool:
        found = dict(pool.map(partial(do, 1), [f"die {tmp_path}", "plain"], name=lambda item: item.split()[0]))
        assert found["plain"]()[1] == "plain"
        with pytest.raises(LatentSRError, match=r"^die: the process .* died .*, and so did 1 after it; give fewer"):
            found[f"die {tmp_path}"]()
    assert len(told) == 1


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_an_interruption_ends_the_processes_which_put_away_what_is_half_written(do, tmp_path: Path) -> None:
    half = tmp_path / "half"

    def interrupt(*_: object) -> None:
        if half.exists():
            raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt), Workers(1).pool() as pool:
            next(pool.map(partial(do, 1), [f"write {half}"], name=str))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert not half.exists()
    assert not [one for one in psutil.Process().children() if "spawn_main" in " ".join(one.cmdline())]


def test_workers_that_cannot_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="workers is 0: expected 1 process or more"):
        Workers(0)
    monkeypatch.setattr("latentsr.workers.util.find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"not installed: pip install 'latentsr\[ray\]'"):
        Workers(ray="local")
    assert not Workers().apart


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_does_not_answer_is_refused_at_once(scheme: str) -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    begin, stages = time.monotonic(), list[str]()
    with (
        Workers(ray=f"{scheme}127.0.0.1:{port}", stage=stages.append).pool() as pool,
        pytest.raises(OptionError, match=rf"ray is {scheme}127.* no cluster is reached \(Connection refused\); exp"),
    ):
        pool.connect()
    assert time.monotonic() - begin < 30  # Ray itself tries for minutes
    assert stages == [f"connecting to the Ray cluster {scheme}127.0.0.1:{port}"]


class Slot:
    """What a cluster was asked for."""

    def __init__(self) -> None:
        self.asked = time.monotonic()

    def stop(self) -> None: ...


def test_starts_that_fail_end_a_job_only_where_nothing_is_busy_and_one_follows_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("latentsr.workers.ROOM", 0.4)
    pool, busy = Pool(Workers(2)), Future[str]()

    def fail(at_work: dict[Future[str], int], after: float = 0.0) -> set[Future[str]]:
        coming = Future[None]()
        pool._coming[coming] = Slot()
        threading.Timer(after, coming.set_exception, [RuntimeError("no disk")]).start()
        return pool._ended(at_work)

    assert fail({busy: 1}) == set()  # after a second, which is more than ROOM
    assert fail({}, after=0.6) == set()  # the first of its kind, after it waited for room
    assert fail({}, after=0.6) == set()  # room was waited for in between
    with pytest.raises(LatentSRError, match="started no worker: no disk; see that"):
        fail({})
    monkeypatch.setattr("latentsr.workers.LONGEST", 3.0)  # of all that were asked for while nothing was busy
    with pytest.raises(LatentSRError, match="started no worker in 0 min"):
        fail({}, after=0.6)


@pytest.mark.cluster
@pytest.mark.skipif(os.name != "posix", reason="fork")
def test_a_cluster_that_loses_its_machines_goes_on_with_those_that_are_left(
    do, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # as `workers` does
    monkeypatch.setattr("latentsr.workers.ROOM", 10.0)
    monkeypatch.setattr("latentsr.workers.LONGEST", 15.0)

    told: list[str] = []

    def lose(cluster, machine, place: Path) -> None:
        """Removes a machine when all workers wait in `place`, and lets the others go on after two more notices."""
        before = len(told)
        while len(list(place.iterdir())) < len(cluster.worker_nodes):
            time.sleep(0.1)
        cluster.remove_node(machine, allow_graceful=False)
        while len(told) < before + 2:
            time.sleep(0.1)
        (place / "go").touch()

    def work() -> None:
        import ray
        from ray.cluster_utils import Cluster

        ray.cloudpickle.register_pickle_by_value(sys.modules["deeds"])
        quick = {f"health_check_{name}": 1000 for name in ("initial_delay_ms", "period_ms")}
        quick["health_check_failure_threshold"] = 2
        cluster = Cluster(initialize_head=True, connect=True, head_node_args={"num_cpus": 0, "_system_config": quick})
        machines = [cluster.add_node(num_cpus=1) for _ in range(2)]
        with Workers(ray=cluster.address, notice=told.append).pool() as pool:
            for machine, place in zip(machines, (tmp_path / "first", tmp_path / "last"), strict=True):
                place.mkdir()
                threading.Thread(target=lose, args=(cluster, machine, place), daemon=True).start()
                found = pool.map(partial(do, 1), [f"wait {place} {n}" for n in range(4)], name=str)
                if machine == machines[0]:
                    processes = [result()[2] for _, result in found]
                    assert len(processes) == 4
                    assert len({*processes}) == 1
                    continue
                with pytest.raises(LatentSRError, match=r"started no worker in .* no CPU is free on its machines that"):
                    dict(found)
        ends = ["does it again", "the job goes on with 1", "does it again", "the job waits 0 min at most"]
        assert [(one, end) for one, end in zip(told, ends, strict=True) if not one.endswith(end)] == []
        ray.shutdown()
        cluster.shutdown()

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(150)
    process.kill()
    assert process.exitcode == 0


@pytest.mark.parametrize("error", [UnfitError("a colour image", "in colour"), NotAnImageError("a text")])
def test_errors_come_back_from_another_process_as_they_were(error: LatentSRError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))

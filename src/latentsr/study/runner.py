"""The runner of a study: each job when what it needs is there, several at once, kept when done, resumed when killed.

Python's graphlib orders the jobs and concurrent.futures runs them. joblib, doit, Snakemake and Ray were looked at: the
jobs have keys, records and resume of their own, so that an engine would only add a second notion of what is done.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext, redirect_stderr
from dataclasses import dataclass
from graphlib import TopologicalSorter
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from typing import Any

import torch

from latentsr.config import manifest, read_signed_json, signed, write_json
from latentsr.device import peak_memory, resolve_device
from latentsr.errors import InputError, LatentSRError
from latentsr.job import locked
from latentsr.study.nodes import Node, jobs_of
from latentsr.training.trainer import Progress

NODES, LOGS = "nodes", "logs"
DONE, FAILED, SKIPPED = "done", "failed", "skipped"


@dataclass(frozen=True)
class Outcome:
    """How a job ended: `state` DONE, FAILED with the error's `message`, or SKIPPED since one that it needs failed."""

    node: Node
    state: str
    message: str = ""
    seconds: float = 0.0


def done_before(node: Node, root: Path) -> dict[str, Any] | None:
    """The record of a finished job in the study's folder, with its seconds and memory; None if it is not finished."""
    path = record_path(node, root)
    if not path.is_file() or not (root / node.place).exists():
        return None
    try:
        record = read_signed_json(path)
    except InputError:  # cut off by a kill: the job itself knows what it has done
        return None
    return record if record["state"] == DONE and record["key"] == node.key else None


def run_study(
    ends: Mapping[str, Sequence[Node]],
    root: Path,
    *,
    device: str = "auto",
    workers: int = 1,
    progress: Progress,
    notify: Callable[[Outcome, int, int], None] = lambda outcome, done, total: None,
) -> list[Outcome]:
    """The outcome of every job that was not done before, in the order of their ends; none of a finished study.

    A job that fails with an error that a user can mend leaves the others running; those that need it are skipped.

    Args:
        ends: the last jobs of each arm, as `nodes_of` gives them.
        root: the study's folder, which one runner at a time may have: StaleError for another that has a job to do.
        device: auto, cpu or cuda, for every job.
        workers: processes; 1: this one. Several share the cores, and the GPUs in turn where device is cuda.
        progress: shows a job's progress, such as `terminal.progress`; of several processes in files below `logs`.
        notify: called with each outcome and the numbers of jobs done and of all.
    """
    nodes = jobs_of(ends)
    if all(done_before(node, root) for node in nodes):
        return []
    with locked(root):
        done = {node for node in nodes if done_before(node, root)}
        open_nodes = [node for node in nodes if node not in done]
        total, outcomes = len(nodes), []
        gpus = torch.cuda.device_count() if device in ("auto", "cuda") else 0
        devices = [f"cuda:{worker % gpus}" if gpus > 1 else device for worker in range(workers)]
        pool = None  # one worker is this process; several are processes that share the cores
        if workers > 1:
            shared = (threads_of(workers), os.getpid())
            pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin_worker, initargs=shared)
        with pool or nullcontext():
            try:
                for outcome in _outcomes(open_nodes, done, root, devices, pool, progress):
                    outcomes.append(outcome)
                    done |= {outcome.node} if outcome.state == DONE else set()
                    notify(outcome, len(done), total)
            except BaseException:
                if pool is not None:
                    pool.shutdown(cancel_futures=True)
                raise
    return outcomes


def _outcomes(
    nodes: Sequence[Node], done: set[Node], root: Path, devices: list[str], pool: Executor | None, progress: Progress
) -> Iterator[Outcome]:
    """Runs the nodes in an order that their needs allow, as many at once as there are devices."""
    sorter = TopologicalSorter({node: [need for need in node.needs if need not in done] for node in nodes})
    sorter.prepare()
    lost: set[Node] = set()
    waiting: list[Node] = []
    running: dict[Future[Outcome], str] = {}
    while sorter.is_active():
        waiting += sorter.get_ready()
        ended: list[Outcome] = []
        while waiting and (devices or pool is None) and not ended:
            node = waiting.pop(0)
            if lost & set(node.needs):
                ended.append(Outcome(node, SKIPPED))
            elif pool is None:
                ended.append(_run(node, root, devices[0], progress))
            else:
                where = devices.pop(0)
                running[pool.submit(_run_logged, node, root, where, progress)] = where
        if not ended:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                devices.append(running.pop(future))
                try:
                    ended.append(future.result())
                except BrokenProcessPool as error:
                    raise LatentSRError(
                        "a worker was killed, perhaps for want of memory; run the command again with fewer workers"
                    ) from error
        for outcome in ended:
            lost |= {outcome.node} if outcome.state != DONE else set()
            sorter.done(outcome.node)
            yield outcome


def _run(node: Node, root: Path, device: str, progress: Progress) -> Outcome:
    """Does a job and keeps its record; an error that a user can mend is an outcome, any other ends the study."""
    try:  # what an interrupted or failed run of it took
        earlier = read_signed_json(record_path(node, root))
    except InputError:
        earlier = {"seconds": 0, "cpu_seconds": 0}
    begin, spent = _clocks(), (float(earlier["seconds"]), float(earlier["cpu_seconds"]))

    def record(state: str, message: str = "") -> Outcome:
        seconds, cpu = (round(old + now - then, 3) for old, now, then in zip(spent, _clocks(), begin, strict=True))
        facts = {"key": node.key, "step": node.step, "options": node.options, "message": message}
        memory = round(peak_memory(resolve_device(device)) / 1e6)
        content = manifest(state=state, seconds=seconds, cpu_seconds=cpu, memory_mb=memory, device=device, **facts)
        write_json(record_path(node, root), signed(content))
        return Outcome(node, state, message, seconds)

    record("begun")
    try:
        node.run(root, device=device, progress=progress)
    except LatentSRError as error:
        return record(FAILED, str(error))
    except BaseException:
        record("interrupted")
        raise
    return record(DONE)


def _run_logged(node: Node, root: Path, device: str, progress: Progress) -> Outcome:
    path = root / LOGS / f"{node.place}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as log, redirect_stderr(log):
        return _run(node, root, device, progress)


def _begin_worker(threads: int, runner: int) -> None:
    """Takes its share of the cores, and ends with the runner, however that ends: it would go on with its job.

    `runner` is told, not asked for here: a runner that was killed while this process started is no parent any more.
    """
    torch.set_num_threads(threads)

    def watch() -> None:
        while os.getppid() == runner:
            time.sleep(0.2)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def threads_of(workers: int) -> int:
    """How many threads each of several workers has; of one worker those of this process."""
    return torch.get_num_threads() if workers == 1 else max(1, (os.cpu_count() or 1) // workers)


def record_path(node: Node, root: Path) -> Path:
    """Where the record of a job lies once it has begun."""
    return root / NODES / f"{node.place}.json"


def _clocks() -> tuple[float, float]:
    """Seconds by the clock, and of processor time of this process and of those that it started and that ended."""
    return time.monotonic(), sum(os.times()[:4])

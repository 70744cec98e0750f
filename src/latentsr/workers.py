"""Work that is handed to other processes which hold a model: spawned ones, or Ray actors here and on other machines."""

import logging
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata, util
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from latentsr.atomic import look_again
from latentsr.errors import LatentSRError, OptionError, reason

LOCAL = "local"  # the address of a Ray cluster of this machine alone, for as long as the job lasts
TRIES = 3  # processes that an item gets, the first included
GRACE = 2.0  # seconds that a process has to remove what it left half written
ANSWER = 10.0  # seconds that a cluster has to answer
ROOM = 60.0  # seconds until it is told that a cluster has not started a worker
LONGEST = 600.0  # seconds that a job without any worker waits for one: a cluster that grows takes minutes
SAME = ("latentsr", "torch", "numpy")  # packages on whose versions results depend
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Item = TypeVar("Item")
Result = TypeVar("Result")


def unheard(text: str) -> None:
    """Shows a notice to nobody."""


@dataclass(frozen=True)
class Workers:
    """Which processes do the items of a job: this one, unless `number` or `ray` is set.

    Attributes:
        number: how many processes, each of which holds the model and computes with one thread; None: this one, or on a
            Ray cluster one for each CPU that is free, for each GPU where the model computes on one.
        ray: "local", or the address of a Ray cluster, whose machines have the same packages and see the same files
            under the same names; None: processes of this machine.
        notice: called with a sentence for each process that died, or that a cluster has no room for.
        stage: called with what is done before the first item: connecting, starting processes.

    Raises:
        OptionError: less than one process, or Ray without its package.
    """

    number: int | None = None
    ray: str | None = None
    notice: Callable[[str], None] = unheard
    stage: Callable[[str], None] = unheard

    def __post_init__(self) -> None:
        if self.number is not None and self.number < 1:
            raise OptionError(f"the option workers is {self.number}: expected 1 process or more")
        if self.ray is not None and util.find_spec("ray") is None:
            raise OptionError(
                f"the option ray is {self.ray}, and the package ray is not installed: pip install 'latentsr[ray]'"
            )

    @property
    def apart(self) -> bool:
        """Whether other processes do the work, with one thread each."""
        return self.number is not None or self.ray is not None

    @contextmanager
    def pool(self, device: str = "cpu") -> Iterator["Pool"]:
        """The processes, for as long as the block lasts; `device` is that of the model."""
        pool = Pool(self, device)
        try:
            yield pool
        finally:
            pool.stop()


class Pool:
    """Processes that hold the work of the latest `map`; none is started before there is an item."""

    def __init__(self, workers: Workers, device: str = "cpu") -> None:
        self.workers = workers
        self._gpu = device.startswith("cuda")
        self._number, self._own_cluster = 0, False
        self._alive: list[_Process | _Actor] = []
        self._idle: deque[_Process | _Actor] = deque()  # the next one to work is the last
        self._coming: dict[Future[Any], _Actor] = {}  # which a cluster has not started yet
        self._alone: float | None = None  # since when nothing is done, as no worker is left
        self._failing: float | None = None  # when of these the first failed, after which none waited for room
        self._told: bool | None = None  # that there is no room, and whether others were at work

    def map(
        self, work: Callable[[Item], Result], items: Iterable[Item], *, name: Callable[[Item], str]
    ) -> Iterator[tuple[Item, Callable[[], Result]]]:
        """Each item as soon as it is done, in no order that means anything, with what returns its result.

        In this process an item is done when that is called, one after the other. Items are taken when a process is
        free. One whose process died is done again: by a new one, or of a cluster by whichever is free first. A cluster
        that has no room for all the processes starts them when it has.

        Args:
            work: a function of an item that holds the model (`functools.partial`), pickled once for each process. What
                it writes appears whole, and is the same when it is done again.
            items: what `work` takes, none of them None.
            name: what an item is called in notices and errors.

        Raises:
            OptionError: what `connect` raises; from the result, a machine with other versions or without this folder.
            LatentSRError: from the result, where TRIES processes died over the item; a cluster that starts no process.
        """
        if not self.workers.apart:
            yield from ((item, partial(work, item)) for item in items)
            return
        waiting = iter(items)
        if (first := next(waiting, None)) is None:
            return
        self.connect()
        held = (_Process if self.workers.ray is None else _Actor).packed(work)
        taken = deque([(first, 1)])  # with the count of tries
        busy: dict[Future[Any], tuple[_Process | _Actor, Item, int]] = {}
        done: deque[tuple[Item, Callable[[], Result]]] = deque()
        while True:
            while len(busy) + len(taken) < self._number and (item := next(waiting, None)) is not None:
                taken.append((item, 1))
            self._start(len(taken) - len(self._idle) - len(self._coming))
            while taken and self._idle:
                worker, (item, tries) = self._idle.pop(), taken.popleft()
                busy[worker.ask(held, item, again=tries > 1)] = worker, item, tries
            if done:  # after the next items were handed out
                yield done.popleft()
                continue
            if not busy and not taken:
                return
            for future in self._ended(busy):
                worker, item, tries = busy.pop(future)
                if not worker.died(future.exception()):
                    self._idle.appendleft(worker)
                    done.append((item, partial(worker.result, future)))
                    continue
                worker.stop()
                text = f"{name(item)}: the process that worked on it died (killed, or out of memory)"
                if tries < TRIES:
                    self.workers.notice(f"{text}; another one does it again")
                    taken.appendleft((item, tries + 1))
                    self._start(1)
                else:
                    lost = Future[Result]()
                    fix = "give fewer workers, smaller tiles or batches, and run the same again"
                    lost.set_exception(LatentSRError(f"{text}, and so did {TRIES - 1} after it; {fix}"))
                    done.append((item, lost.result))

    def in_order(
        self, work: Callable[[Item], Result], items: Sequence[Item], *, name: Callable[[Item], str]
    ) -> Iterator[tuple[Item, Callable[[], Result]]]:
        """As `map`, in the order of the items, which differ; what is done too early waits in memory."""
        found, early = self.map(work, items, name=name), dict[Item, Callable[[], Result]]()
        for item in items:
            while item not in early:
                early |= [next(found)]
            yield item, early.pop(item)

    def connect(self) -> None:
        """Reaches the Ray cluster, if one is to do the work, unless that is done: before anything is written.

        Raises:
            OptionError: no cluster is reached, or it has too few CPUs or GPUs free.
        """
        address, asked = self.workers.ray, self.workers.number
        if self._number or address is None:
            self._number = self._number or asked or 1
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        if address == LOCAL:
            os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 is next to nothing on a busy machine
            options |= {"num_cpus": asked, "include_dashboard": False}
        else:
            os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")  # tries of 40 s, of which Ray has 20
        try:
            if not ray.is_initialized():  # by the program that calls
                self.workers.stage(f"connecting to the Ray cluster {address}")
                place = os.environ.get("RAY_ADDRESS", "") if address == "auto" else address
                parts = urlsplit(place if "://" in place else f"//{place}")
                if parts.scheme in ("", "ray") and parts.port:  # sooner than Ray's own try
                    socket.create_connection((parts.hostname, parts.port), ANSWER).close()
                handler = signal.getsignal(signal.SIGTERM)
                ray.init(address, **options)
                if handler not in (None, signal.SIG_DFL) and threading.current_thread() is threading.main_thread():
                    signal.signal(signal.SIGTERM, handler)  # in whose place Ray sets one that ends with another status
                self._own_cluster = True
        except Exception as error:  # Ray raises this very class where a machine is too busy to start one
            fix = "run the same again when the machine is less busy" if address == LOCAL else "expected local, auto, or"
            fix += "" if address == LOCAL else " the address of a cluster such as HOST:6379"
            raise OptionError(f"the option ray is {address}: no cluster is reached ({reason(error)}); {fix}") from error
        free = int(ray.available_resources().get(self._kind, 0))
        if not 1 <= (number := free if asked is None else asked) <= free:
            needed = f"{max(1, number)} {self._kind} needed, {free} free"
            raise OptionError(f"the option ray is {address}: {needed}; give fewer workers, or wait")
        self._number = number

    @property
    def _kind(self) -> str:
        """What a cluster gives each worker one of."""
        return "GPU" if self._gpu else "CPU"

    def _start(self, number: int) -> None:
        """Starts so many more processes, if any; those of a cluster come when it has room."""
        if number > 0 and not self._alive:
            self.workers.stage(f"starting {number} worker{'s' * (number > 1)}")
        for _ in range(number):
            if self.workers.ray is None:
                self._idle.append(_Process())  # the next to work: it removes what a dead one left half written
                self._alive.append(self._idle[-1])
            else:
                self._alive.append(actor := _Actor(self._gpu))
                self._coming[actor.ready()] = actor

    def _ended(self, busy: Mapping["Future[Any]", Any]) -> "set[Future[Any]]":
        """Those of `busy` that are done, as soon as there are some; none where a worker came."""
        begin, address = time.monotonic(), self.workers.ray
        self._alone = None if busy else self._alone or begin
        while True:
            found = wait([*busy, *self._coming], ROOM if self._coming else None, FIRST_COMPLETED).done
            for future in found & self._coming.keys():
                worker = self._coming.pop(future)
                if (error := future.exception()) is None:
                    self._idle.append(worker)
                    self._alone = self._failing = self._told = None
                    continue
                worker.stop()
                time.sleep(1.0)  # it is asked for again, perhaps of a machine that is not known to be lost yet
                if self._alone is None:
                    continue
                now = time.monotonic()
                self._failing = self._failing or now
                if now - self._failing > ROOM:
                    fix = "see that its machines have the same packages and memory, and run the same again"
                    raise LatentSRError(f"the Ray cluster {address} started no worker: {reason(error)}; {fix}")
            now = time.monotonic()
            late = [worker for worker in self._coming.values() if now - worker.asked >= ROOM]
            if late and self._told != bool(busy):
                then = f"the job goes on with {len(busy)}" if busy else f"the job waits {LONGEST / 60:.0f} min at most"
                text = f"{len(late)} of the workers not started by the Ray cluster {address}: no {self._kind} is free"
                self.workers.notice(f"{text}, or it is slow; {then}")
                self._told = bool(busy)
            if found:
                return found & busy.keys()
            self._failing = None
            if self._alone is not None and now - self._alone > LONGEST:
                why = f"no {self._kind} is free on its machines that are left; run the same again when one is, to go on"
                raise LatentSRError(f"the Ray cluster {address} started no worker in {LONGEST / 60:.0f} min: {why}")

    def stop(self) -> None:
        """Ends all processes, whatever they are at."""
        for again in (False, True):  # all are told before one is waited for
            for worker in self._alive:
                worker.stop(wait=again)
        if self._own_cluster:
            import ray

            ray.shutdown()


@dataclass(frozen=True)
class _Held:
    """What the processes of a `map` need: the folder in which paths begin, versions, and the pickled work."""

    folder: str
    versions: Mapping[str, str]
    work: bytes


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in SAME}


class _Desk:
    """Where a process of either kind does its items."""

    work: Callable[[Any], Any]
    busy = False

    @classmethod
    def ready(cls) -> None:
        """Returns as soon as there is the process."""

    @classmethod
    def answer(cls, held: _Held | None, item: Any, again: bool) -> Any:
        """What the work makes of an item; what is held comes with the first item of a `map`.

        `again`: a process died over the item. An error that pickle cannot make again becomes a LatentSRError.
        """
        cls.busy = True
        try:
            if held is not None:
                cls.take(held)
            if again:
                look_again()
            return cls.work(item)
        except Exception as error:  # one that fails on its way would be told as the death of this process
            try:
                pickle.loads(pickle.dumps(error))
            except Exception as lost:
                raise LatentSRError(f"{type(error).__name__}: {error}") from lost
            raise
        finally:
            cls.busy = False

    @classmethod
    def take(cls, held: _Held) -> None:
        """Takes in the work; OptionError where this machine has other versions, or does not see the folder."""
        host, own = socket.gethostname(), _versions()
        if own != held.versions:
            here, there = (", ".join(f"{name} {one[name]}" for name in SAME) for one in (own, held.versions))
            raise OptionError(f"{host} has {here}, the job was started with {there}: install the same versions")
        try:
            os.chdir(held.folder)
        except OSError as error:
            raise OptionError(f"{host} sees no folder {held.folder}: start the job in one that all share") from error
        cls.work = pickle.loads(held.work)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)


def _begin(pipe: Connection) -> None:
    """Prepares a spawned process before it imports anything large: one thread, and an end together with its driver."""
    os.environ |= dict.fromkeys(ONE_THREAD, "1")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the driver too, which ends this one

    def end(*_: object) -> None:
        if _Desk.busy:
            sys.exit(1)  # by way of all that is to be put away

    def watch() -> None:
        with suppress(EOFError, OSError):
            pipe.recv()  # nothing is sent: the driver closed its end, or is no more
        if _Desk.busy:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(1)

    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=watch, daemon=True).start()


class _Process:
    """A pool of one spawned process, so that it is known over which item one died; it ends as its pipe is closed."""

    def __init__(self) -> None:
        context = get_context("spawn")
        theirs, self._pipe = context.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(1, context, _begin, (theirs,))
        self._held: _Held | None = None

    @staticmethod
    def packed(work: Callable[[Any], Any]) -> _Held:
        return _Held(str(Path.cwd()), _versions(), pickle.dumps(work))

    def ask(self, held: _Held, item: Any, *, again: bool) -> "Future[Any]":
        sent, self._held = None if held is self._held else held, held
        try:
            return self._pool.submit(_Desk.answer, sent, item, again)
        except BrokenProcessPool as error:  # it died while it had nothing to do
            died = Future[Any]()
            died.set_exception(error)
            return died

    def died(self, error: BaseException | None) -> bool:
        return isinstance(error, BrokenProcessPool | SystemExit)

    def result(self, future: "Future[Any]") -> Any:
        return future.result()

    def stop(self, *, wait: bool = True) -> None:
        self._pipe.close()
        if wait:
            self._pool.shutdown(cancel_futures=True)


class _Actor:
    """A process of a Ray cluster."""

    def __init__(self, gpu: bool) -> None:
        import ray

        self._actor: Any = ray.remote(num_cpus=1, num_gpus=int(gpu))(_Desk).remote()
        self._held: Any = None
        self.asked = time.monotonic()

    @staticmethod
    def packed(work: Callable[[Any], Any]) -> Any:
        import ray

        return ray.put(_Held(str(Path.cwd()), _versions(), ray.cloudpickle.dumps(work)))

    def ask(self, held: Any, item: Any, *, again: bool) -> "Future[Any]":
        sent, self._held = None if held is self._held else held, held
        return self._actor.answer.remote(sent, item, again).future()

    def ready(self) -> "Future[Any]":
        return self._actor.ready.remote().future()

    def died(self, error: BaseException | None) -> bool:
        from ray.exceptions import RayError, RayTaskError

        return isinstance(error, RayError) and not isinstance(error, RayTaskError)

    def result(self, future: "Future[Any]") -> Any:
        from ray.exceptions import RayTaskError

        try:
            return future.result()
        except RayTaskError as error:
            raise error.cause from error

    def stop(self, **_: bool) -> None:
        import ray

        ray.kill(self._actor)

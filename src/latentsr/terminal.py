"""What the commands show: progress with the remaining time, tables, one line per error."""

import dataclasses
import json
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from latentsr.errors import printable

FIRST, EVERY = 10.0, 30.0  # seconds to the first line in a pipe, so that quick commands are silent, and from then on


class Report(Protocol):
    """Shows that `done` of `total` are done, with a note such as the loss."""

    def __call__(self, done: float, total: int, note: str = "") -> None: ...


@contextmanager
def progress(title: str, *, unit: str = "images", resumes: bool = False) -> Iterator[Report]:
    """A Report that moves a bar on standard error, or prints a line every half minute where that is no terminal.

    With `resumes`, an interruption prints that the same command continues the work, and a SIGTERM is one: all is put
    away, processes that were started included, and the exit status is 143 (130 of a training, which Lightning ends).
    """

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    heard = resumes and threading.current_thread() is threading.main_thread()
    heard = heard and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if heard:
        signal.signal(signal.SIGTERM, end)
    try:
        with _bar(title) if sys.stderr.isatty() else _lines(title, unit) as report:
            yield report
    except (KeyboardInterrupt, SystemExit):
        if resumes:
            print("interrupted: the same command goes on where it was", file=sys.stderr)
        raise
    finally:
        if heard:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _bar(title: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bars = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bars.add_task(title, total=None)

    def report(done: float, total: int, note: str = "") -> None:
        bars.start()  # at the first report: of several processes only one has anything to say
        bars.update(task, completed=done, total=total, description=f"{title}  {note}".rstrip())

    try:
        yield report
    finally:
        bars.stop()


@contextmanager
def _lines(title: str, unit: str) -> Iterator[Report]:
    begin: tuple[float, float] | None = None  # when the first report came, and how much was done already
    due, shown, last = time.monotonic() + FIRST, "", ""

    def report(done: float, total: int, note: str = "") -> None:
        nonlocal begin, due, shown, last
        now = time.monotonic()
        begin = begin or (now, done)
        left = (now - begin[0]) / (done - begin[1]) * (total - done) if begin[1] < done < total else 0.0
        parts = (title, f"{done:.0f}/{total} {unit}", note, f"{duration(left)} left" if left else "")
        last = "  ".join(part for part in parts if part)
        if now >= due:
            print(last, file=sys.stderr, flush=True)
            due, shown = now + EVERY, last

    yield report
    if shown != "" and last != shown:
        print(last, file=sys.stderr, flush=True)


def interactive() -> bool:
    """Whether standard output is a terminal: there is a person who looks."""
    return sys.stdout.isatty()


def duration(seconds: float) -> str:
    """A time in words: 45 s, 12 min or 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def show_stage(name: str) -> None:
    """Prints the stage that follows a finished bar, where standard error is a terminal."""
    if sys.stderr.isatty():
        print(f"{name} ...", file=sys.stderr, flush=True)


def show_error(message: str) -> None:
    """One printable line on standard error, whatever the message holds."""
    print(f"error: {' '.join(printable(message).split())}", file=sys.stderr)


def show(text: str) -> None:
    """One printable line on standard output, flushed."""
    print(printable(text), flush=True)


def show_json(content: object) -> None:
    """The result for machines, on standard output; NaN and infinity are null."""
    print(json.dumps(_finite(content), indent=2, allow_nan=False, default=str))


def _finite(content: Any) -> Any:
    if isinstance(content, float) and content - content != 0:
        return None
    if isinstance(content, Mapping):
        return {str(key): _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return content


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table with right-aligned numbers, 160 characters wide where standard output is no terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(printable, row))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def show_warning(message: str) -> None:
    """One printable line on standard error."""
    print(f"warning: {' '.join(printable(message).split())}", file=sys.stderr)


def show_summary(rows: Sequence[Mapping[str, Any]]) -> None:
    """One table per dataset, one row per measure and method: means and the paired difference to bicubic."""
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        chosen = sorted((row for row in rows if row["dataset"] == dataset), key=lambda row: row["metric"])
        title = f"dataset {dataset}: images {chosen[0]['images']}, patients {chosen[0]['patients']}"
        columns = ["measure", "method", "mean", "sd", "images", "minus bicubic", "95 % interval", "over HR's"]
        cells = []
        for row in chosen:
            mean, sd, difference, ratio = (_number(row[key]) for key in ("mean", "sd", "difference", "ratio_to_hr"))
            interval = f"{_number(row['low'])} to {_number(row['high'])}" if row["low"] == row["low"] else ""
            images = f"{row['n']} (+{row['infinite']} infinite)" if row["infinite"] else str(row["n"])
            cells.append([row["metric"], row["method"], mean, sd, images, difference, interval, ratio])
        show_table(title, columns, cells)


def _number(value: float | None) -> str:
    """Two decimals from ten on, else four; empty for None and NaN."""
    if value is None or value != value:
        return ""
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"


def show_records(title: str, records: Sequence[Any]) -> None:
    """A table of dataclass records: one column per field, one row per record."""
    columns = [field.name for field in dataclasses.fields(records[0])]
    values = [[getattr(record, column) for column in columns] for record in records]
    show_table(title, columns, [[v if isinstance(v, str) else _number(v) for v in row] for row in values])


def show_dataset(dataset: Any, *, json: bool, more: Mapping[str, Any]) -> None:
    """The images and patients of each split, as a table or with `more` as JSON."""
    splits = sorted({record.split for record in dataset.records})
    chosen = {split: [r for r in dataset.records if r.split == split] for split in splits}
    counts = {s: {"images": len(rs), "patients": len({r.patient for r in rs})} for s, rs in chosen.items()}
    if json:
        show_json({"name": dataset.name, "folder": str(dataset.root), "splits": counts, **more})
        return
    rows = [[split, str(count["images"]), str(count["patients"])] for split, count in counts.items()]
    show_table(f"dataset {dataset.name} in {dataset.root}", ["split", "images", "patients"], rows)


def quiet() -> None:
    """Silences the warnings of libraries, unless PYTHONWARNINGS is set."""
    if not os.environ.get("PYTHONWARNINGS"):
        warnings.simplefilter("ignore")

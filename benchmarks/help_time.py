"""Seconds that `latentsr --help` takes, beside a bare interpreter's start measured in the same run.

    .venv/bin/python benchmarks/help_time.py [RUNS]

Prints one JSON line. The exit status is 1 if the median of `latentsr --help` is not below LIMIT seconds.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

LIMIT = 0.5


def main(runs: int) -> int:
    """The exit status, after the figures have been printed."""
    commands = {"bare": [sys.executable, "-c", "pass"], "help": [*_latentsr(), "--help"]}
    for command in commands.values():
        _seconds(command)  # the first start reads the disk and writes bytecode
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):  # in turns, so that another job's load falls on both
        for name, command in commands.items():
            seconds[name].append(_seconds(command))
    bare, helped = (statistics.median(seconds[name]) for name in ("bare", "help"))
    figures = {
        "runs": runs,
        "bare_s": bare,
        "help_s": helped,
        "help_worst_s": max(seconds["help"]),
        "ratio": helped / bare,
    }
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))
    return int(helped >= LIMIT)


def _latentsr() -> list[str]:
    """The console script beside this interpreter, or the module where latentsr is run from its source."""
    script = Path(sys.executable).with_name("latentsr")
    return [str(script)] if script.is_file() else [sys.executable, "-c", "from latentsr.cli import main; main()"]


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))

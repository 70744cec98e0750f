"""Seconds of `latentsr enhance --workers N` on a folder of images, beside the same command without the option.

    python benchmarks/enhance_workers.py [FILES [WORKERS [ROUNDS]]]

Three commands in turn, start-up included: with the threads that torch takes, with one thread, and with WORKERS
processes (default: the cores). Prints one JSON line; the exit status is 1 if the workers are less than LIMIT times
faster than the first, or their bytes are not those of one thread.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from latentsr.io.raster import write_pixels

LIMIT = 1.4
SIDE = 128


def main(files: int, workers: int, rounds: int) -> int:
    """The exit status, after the figures have been printed."""
    ways = {
        "threads": ([], {}),
        "one_thread": ([], {"OMP_NUM_THREADS": "1"}),
        "workers": (["--workers", str(workers)], {}),
    }
    plain = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as place:
        folder, random = Path(place), np.random.default_rng(0)
        for number in range(files):
            write_pixels(folder / "in" / f"{number}.png", random.integers(0, 255, (SIDE, SIDE), np.uint8))
        for turn in range(rounds):
            for name, (options, environment) in ways.items():
                command = ["latentsr", "enhance", folder / "in", "-o", folder / f"{name}-{turn}", *options]
                command[0] = Path(sys.executable).with_name("latentsr")
                start = time.perf_counter()
                subprocess.run(command, env=plain | environment, check=True, capture_output=True)
                seconds[name].append(time.perf_counter() - start)
        one, several = (
            {p.name: p.read_bytes() for p in (folder / f"{n}-0").iterdir()} for n in ("one_thread", "workers")
        )
    found = {name: median(values) for name, values in seconds.items()}
    ratio = median(a / b for a, b in zip(seconds["threads"], seconds["workers"], strict=True))
    told = {"files": files, "workers": workers, "cores": os.cpu_count(), "same_bytes": one == several}
    print(
        json.dumps(told | {f"{name}_s": round(value, 2) for name, value in found.items()} | {"ratio": round(ratio, 2)})
    )
    return int(ratio < LIMIT or one != several)


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:4]]
    sys.exit(main(*(given + [200, os.cpu_count() or 1, 3][len(given) :])))

"""Peak memory of making a 2048 x 2048 image from 512 x 512 with `latentsr enhance`, beside that of an image of 64 x 64.

    .venv/bin/python benchmarks/enhance_memory.py [MODEL]

Prints one JSON line. The exit status is 1 if the peak is not below LIMIT GB (10^9 bytes).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

LIMIT = 4.0
SIDES = {"small": 64, "large": 512}


def main(model: str) -> int:
    """The exit status, after the figures have been printed."""
    with tempfile.TemporaryDirectory() as folder:
        figures = {name: _enhance(Path(folder), side, model) for name, side in SIDES.items()}
    peaks = {f"{name}_{key}": round(value, 2) for name, pair in figures.items() for key, value in pair.items()}
    print(json.dumps({"model": model, **peaks}))
    return int(figures["large"]["gb"] >= LIMIT)


def _enhance(folder: Path, side: int, model: str) -> dict[str, float]:
    """Peak resident memory in GB and seconds of one image in its own process."""
    pixels = np.random.default_rng(0).integers(0, 2**16, (side, side), dtype=np.uint16)
    Image.fromarray(pixels).save(folder / f"{side}.png")
    arguments = ["enhance", folder / f"{side}.png", "-o", folder / "out", "--model", model, "--device", "cpu"]
    command = [sys.executable, "-c", "from latentsr.cli import main; main()", *map(str, arguments)]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"enhance failed with status {os.waitstatus_to_exitcode(status)}: give a model folder")
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return {"gb": usage.ru_maxrss * unit / 1e9, "s": time.perf_counter() - begin}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "latentsr-tiny"))

"""Seconds that `latentsr --help` takes, or `latentsr enhance` on one image, beside other starts in the same run.

    .venv/bin/python benchmarks/help_time.py [RUNS [help|file]]

`help`: beside a bare interpreter. The exit status is 1 if the median of `latentsr --help` is not below LIMIT seconds.
`file`: one PNG of 64 x 64, by torch and by ONNX Runtime, whose file is made before, beside an interpreter that imports
torch and diffusers' UNet, as restoring did at first: seven tenths of its time then. The exit status is 1 if the medians
are above SHARES of this, so half and a fifth of that time. Prints one JSON line.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

LIMIT = 0.5
SHARES = {"torch": 0.7, "onnx": 0.28}
IMPORTS = "import torch; from diffusers import UNet2DModel, DDIMScheduler, AutoencoderKL"


def main(runs: int = 10, what: str = "help") -> int:
    """The exit status, after the figures have been printed."""
    script = Path(sys.executable).with_name("latentsr")  # or the module, where latentsr is run from its source
    latentsr = [str(script)] if script.is_file() else [sys.executable, "-c", "from latentsr.cli import main; main()"]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LATENTSR_HOME"] = folder
        image = Path(folder, "one.png")
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(image)
        commands = {"bare": [sys.executable, "-c", "pass"], "help": [*latentsr, "--help"]}
        if what == "file":
            commands = {"imports": [sys.executable, "-c", IMPORTS]}
            for name in SHARES:
                enhance = [*latentsr, "enhance", str(image), "-o", f"{folder}/{name}", "--overwrite"]
                commands[name] = [*enhance, "--backend", name]
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(runs + 1):  # in turns, so that another job's load falls on all
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
                if number:  # the first start reads the disk, writes bytecode and makes the ONNX file
                    seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    beside, *others = medians
    figures = {f"{name}_s": value for name, value in medians.items()}
    figures |= {f"{name}_ratio": medians[name] / medians[beside] for name in others}
    print(json.dumps({"runs": runs, **{name: round(value, 3) for name, value in figures.items()}}))
    if what == "help":
        return int(medians["help"] >= LIMIT)
    return int(any(figures[f"{name}_ratio"] > share for name, share in SHARES.items()))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2]), *sys.argv[2:]))

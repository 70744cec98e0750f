"""CPU seconds of `latentsr enhance` on 100, 400 and 1,600 tiny files: the network's, and all else.

    .venv/bin/python benchmarks/enhance_files.py [MODEL]

The files are 32 x 32 px, so that what grows with their number is not hidden by pixels. Prints one JSON line. The exit
status is 1 if from 400 to 1,600 files all else grows more than GROWTH times, or if of 1,600 files the network takes
less than SHARE of the CPU time after start-up.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from latentsr.enhance import Job, enhance_files
from latentsr.upscalers import Sampling
from latentsr.upscalers.model import SuperResolver

GROWTH, SHARE = 4.4, 0.75
COUNTS = 100, 400, 1600
SIDE = 32


def main(name: str) -> int:
    """The exit status, after the figures have been printed."""
    model = SuperResolver.load(name, device="cpu")
    spent, begun = 0.0, 0.0

    def begin(*_: object) -> None:
        nonlocal begun
        begun = time.process_time()

    def end(*_: object) -> None:
        nonlocal spent
        spent += time.process_time() - begun

    model.denoiser.register_forward_pre_hook(begin)
    model.denoiser.register_forward_hook(end)
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in (10, *COUNTS):  # ten, so that what happens once is not measured
            source, draw = Path(folder, f"{count}"), np.random.default_rng(0)
            source.mkdir()
            for number in range(count):
                pixels = draw.integers(0, 255, (SIDE, SIDE), dtype=np.uint8)
                Image.fromarray(pixels).save(source / f"{number:05}.png")
            spent, start = 0.0, time.process_time()
            enhance_files([source], Job(model, Sampling(), Path(folder, f"{count}-out")))
            figures[f"{count}"] = {"network": spent, "else": time.process_time() - start - spent}
    last = figures[f"{COUNTS[-1]}"]
    growth = last["else"] / figures[f"{COUNTS[-2]}"]["else"]
    share = last["network"] / (last["network"] + last["else"])
    seconds = {f"{key}_{part}_s": round(value, 2) for key, pair in figures.items() for part, value in pair.items()}
    print(json.dumps({"model": name, **seconds, "growth": round(growth, 2), "network_share": round(share, 3)}))
    return int(growth > GROWTH or share < SHARE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "latentsr-tiny"))

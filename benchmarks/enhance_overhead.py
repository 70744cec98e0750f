"""What `latentsr enhance` adds to the network's work: for each of many files, and for the tiles of a large image.

    .venv/bin/python benchmarks/enhance_overhead.py files|tiles [MODEL]

`files`: CPU seconds of 100, 400 and 1,600 images of 48 x 48, so small that what grows with their number shows. The exit
status is 1 if from 400 to 1,600 all but the network grows more than GROWTH times, or if of 1,600 the network takes less
than SHARE of the CPU time after start-up. `tiles`: CPU seconds of images of 256 x 256 and 512 x 512 in tiles as they
are, and in tiles of 128 latent px of which each has that side. The exit status is 1 if these are not as many times
slower as FASTER says, or by more than LESS dB nearer to the image in one piece. Prints one JSON line.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from latentsr.enhance import Job, enhance_files
from latentsr.metrics.fidelity import psnr
from latentsr.upscalers import Sampling
from latentsr.upscalers.model import SuperResolver

GROWTH, SHARE = 4.4, 0.75
COUNTS, SIDE = (100, 400, 1600), 48
FASTER, LESS = {256: 1.7, 512: 1.2}, 2.0
RUNS = 3


def files(model: SuperResolver) -> tuple[dict[str, float], bool]:
    """The figures of many files, and whether the bar is met."""
    spent, begun = 0.0, 0.0

    def begin(*_: object) -> None:
        nonlocal begun
        begun = time.process_time()

    def end(*_: object) -> None:
        nonlocal spent
        spent += time.process_time() - begun

    model.denoiser.register_forward_pre_hook(begin)
    model.denoiser.register_forward_hook(end)
    network, rest = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for count in (10, *COUNTS):  # ten, so that what happens once is not measured
            source, draw = Path(folder, f"{count}"), np.random.default_rng(0)
            source.mkdir()
            for number in range(count):
                pixels = draw.integers(0, 255, (SIDE, SIDE), dtype=np.uint8)
                Image.fromarray(pixels).save(source / f"{number:05}.png")
            spent, start = 0.0, time.process_time()
            enhance_files([source], Job(model, Sampling(), Path(folder, f"{count}-out")))
            network[count], rest[count] = spent, time.process_time() - start - spent
    growth, share = rest[1600] / rest[400], network[1600] / (network[1600] + rest[1600])
    figures = {
        f"{count}_{what}_s": part[count] for count in COUNTS for what, part in (("network", network), ("else", rest))
    }
    return {**figures, "growth": growth, "network_share": share}, growth <= GROWTH and share >= SHARE


def tiles(model: SuperResolver) -> tuple[dict[str, float], bool]:
    """The figures of large images in tiles, and whether the bar is met."""
    from skimage import data

    def alike(length: int, tile: int, overlap: int) -> tuple[list[int], int]:
        """All of the side that is allowed, as before they were balanced."""
        if tile >= length:
            return [0], length
        count = 1 + -(-(length - tile) // (tile - overlap))
        return [round(number * (length - tile) / (count - 1)) for number in range(count)], tile

    def restored(image: Tensor, sampling: Sampling) -> tuple[Tensor, float]:
        start = time.process_time()
        result = model.restore(image, ids=["a"], sampling=sampling).image.clamp(0, 1)
        return result, time.process_time() - start

    figures, met = {}, True
    for side, faster in FASTER.items():
        image = torch.from_numpy(data.camera()[None, None, :side, :side] / np.float32(255))
        whole, _ = restored(image, Sampling(tile=None))
        seconds: dict[str, list[float]] = {"balanced": [], "alike": []}
        near: dict[str, float] = {}
        for _ in range(RUNS):  # in turns, so that another job's load falls on both
            result, taken = restored(image, Sampling())
            seconds["balanced"].append(taken)
            near["balanced"] = float(psnr(result, whole))
            with patch("latentsr.tiling.balanced_tiles", alike):
                result, taken = restored(image, Sampling(tile=128))
            seconds["alike"].append(taken)
            near["alike"] = float(psnr(result, whole))
        ratio = statistics.median(seconds["alike"]) / statistics.median(seconds["balanced"])
        figures |= {f"{side}_{name}_s": statistics.median(times) for name, times in seconds.items()}
        figures |= {f"{side}_{name}_db": value for name, value in near.items()} | {f"{side}_ratio": ratio}
        met &= ratio >= faster and near["balanced"] >= near["alike"] - LESS
    return figures, met


def main(what: str, name: str = "latentsr-tiny") -> int:
    """The exit status, after the figures have been printed."""
    figures, met = {"files": files, "tiles": tiles}[what](SuperResolver.load(name, device="cpu"))
    print(json.dumps({"model": name, **{key: round(value, 2) for key, value in figures.items()}}))
    return int(not met)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

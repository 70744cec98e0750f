"""What a screening adds to encode and decode alone, for an autoencoder of SD-VAE's size, both timed in one run.

    .venv/bin/python benchmarks/screen_overhead.py [IMAGES [DEVICE]]

Random weights, noise images of 256 x 256, a batch of two. Timed in turns: what a screening does with each image (read
it, encode, decode, measure, keep the part), and encode and decode alone. What it does once, whatever the number of
images (loading, cost, pictures, tables), is left out; what is said of HR itself (its spectrum), done once and not for
each autoencoder, counts. Prints one JSON line: `ratio` is that of the two, on a CPU of the process's own time, so that
other jobs count for neither, on a GPU of the time that passes; `wall_ratio` is of the time that passes on either;
`ratio_within` is of the time that passes in a screening to the encode and decode in it, which knows no difference
between passes. The exit status is 1 if `ratio` or `ratio_within` is above LIMIT.
"""

import json
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray

from latentsr.autoencoders import load_autoencoder
from latentsr.autoencoders.protocol import Autoencoder
from latentsr.bench import Candidate, Screening, plan_screening
from latentsr.bench.roundtrip import measured, measured_hr, parameters_of
from latentsr.bench.screening import measure_images
from latentsr.config import sha256
from latentsr.data.records import Dataset, Record, batches, loaded, write_dataset
from latentsr.io.raster import write_pixels
from latentsr.job import Parts

Seconds = NDArray[np.float64]

LIMIT = 1.15
SIDE, BATCH, ROUNDS = 256, 2, 2
SD_VAE = {
    "in_channels": 3, "out_channels": 3, "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32,
    "block_out_channels": (128, 256, 512, 512), "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4, "sample_size": 256,
}  # fmt: skip


def main(images: int, device: str) -> int:
    """The exit status, after the figures have been printed."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = _dataset(Path(folder) / "data", images)
        AutoencoderKL(**SD_VAE).save_pretrained(Path(folder) / "vae")
        autoencoder = load_autoencoder(Path(folder) / "vae", device=device)
        # The first calls choose algorithms and load torchmetrics and piq.
        _screened(dataset, autoencoder, Path(folder) / "warm", device)
        bare, screen, within = np.zeros(2), np.zeros(2), []
        for turn in range(ROUNDS):
            bare += _bare(dataset, autoencoder, device)
            out = Path(folder) / str(turn)
            took = _screened(dataset, autoencoder, out, device)
            screen += took
            within.append(took[1] / sum(float(part["seconds"].sum()) for part in Parts(out / "vae").read()))
    figures = {
        "bare_s_an_image": bare[0] / (ROUNDS * images),
        "screen_s_an_image": screen[0] / (ROUNDS * images),
        "ratio": screen[0] / bare[0],
        "wall_ratio": screen[1] / bare[1],
        "ratio_within": sum(within) / ROUNDS,
    }
    told = {"images": images, "device": device, "parameters": parameters_of(autoencoder)}
    print(json.dumps(told | {name: round(value, 4) for name, value in figures.items()}))
    return int(max(figures["ratio"], figures["ratio_within"]) > LIMIT)


def _dataset(root: Path, images: int) -> Dataset:
    rng = np.random.default_rng(0)
    records = []
    for number in range(images):
        path = root / f"{number}.png"
        write_pixels(path, rng.integers(0, 255, (SIDE, SIDE), np.uint8))
        records.append(Record(path.stem, path.stem, "valid", path.name, SIDE, SIDE, sha256(path)))
    return write_dataset(root, "noise", records, {})


@torch.inference_mode()
def _bare(dataset: Dataset, autoencoder: Autoencoder, device: str) -> Seconds:
    """What it takes to encode and decode all images, which lie in memory."""
    ready = [2 * loaded(dataset, alike, device) - 1 for alike in batches(dataset.records, BATCH)]
    _wait(device)
    start = _clock(device)
    for image in ready:
        autoencoder.decode(autoencoder.encode(image))
    _wait(device)
    return _clock(device) - start


def _screened(dataset: Dataset, autoencoder: Autoencoder, out: Path, device: str) -> Seconds:
    """What it takes to do with them what a screening does with each image, HR's own measures among it."""
    plan = plan_screening([dataset], [Candidate("vae", lambda device: autoencoder)], Screening(), device=device)
    start = _clock(device)
    for name, work in (("hr", measured_hr), ("vae", partial(measured, autoencoder))):
        arrays = partial(work, metrics=plan.metrics)
        measure_images(plan, 0, Parts(out / name), lambda hr, ids, of=arrays: of(hr), batch=BATCH, device=device)
    _wait(device)
    return _clock(device) - start


def _clock(device: str) -> Seconds:
    """(seconds that `ratio` is of, seconds that pass)."""
    wall = time.perf_counter()
    return np.array((time.process_time() if device == "cpu" else wall, wall))


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 4, sys.argv[2] if len(sys.argv) > 2 else "cpu"))

"""The published network of 101 million parameters: 20 steps of training, killed and resumed, and how long it takes.

    python benchmarks/published_training.py OUT [--steps 20] [--kill 8]

Bar: trained, killed once, resumed and saved within 25 minutes on two cores.
"""

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from latentsr.autoencoders import load_autoencoder
from latentsr.autoencoders.architectures import SmallKL
from latentsr.autoencoders.network import save_network
from latentsr.config import sha256
from latentsr.data.latents import fill_cache
from latentsr.data.records import Record, write_dataset
from latentsr.degrade import parse_degradation
from latentsr.io.raster import write_pixels
from latentsr.upscalers.model import SuperResolver

LIMIT = 25  # minutes
IMAGES, SIDE = 32, 256


def main() -> None:
    """Prints the minutes and the network's parameters; exit status 1 beyond LIMIT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument(
        "--kill", type=int, default=8, help="checkpoints are written twice as often; killed at the first"
    )
    options = parser.parse_args()
    out, model = options.out, options.out / "model"
    cache = _cache(out)
    command = [
        sys.executable, "-c", "from latentsr.cli import main; main()", "train", str(cache), "--preset", "published",
        "--steps", str(options.steps), "--validate-every", str(max(1, options.kill // 2)), "-o", str(model),
    ]  # fmt: skip
    begin = time.monotonic()
    first = subprocess.Popen(command)
    checkpoint = out / "model.run" / "checkpoints" / "last.json"
    while not checkpoint.is_file() and first.poll() is None:
        time.sleep(1)
    first.send_signal(signal.SIGKILL)
    print(f"killed after {(time.monotonic() - begin) / 60:.1f} minutes, status {first.wait()}")
    subprocess.run(command, check=True)
    minutes = (time.monotonic() - begin) / 60
    network = SuperResolver.load(model, device="cpu").denoiser
    parameters = sum(parameter.numel() for parameter in network.parameters())
    print(f"{parameters:,} parameters, {options.steps} steps, killed and resumed: {minutes:.1f} minutes (bar {LIMIT})")
    sys.exit(minutes > LIMIT)


def _cache(out: Path) -> Path:
    """Latents of noise in a made-up space of three channels at a quarter of the side, 3x64x64."""
    torch.manual_seed(0)
    save_network(SmallKL(width=4, blocks=1, latent_channels=3), out / "vae")
    records = []
    for n in range(IMAGES):
        file = f"images/{n:03d}.png"
        write_pixels(out / "data" / file, np.random.default_rng(n).integers(0, 256, (SIDE, SIDE), dtype=np.uint8))
        split = "valid" if n < 2 else "train"
        records.append(Record(f"{n:03d}", f"p{n}", split, file, SIDE, SIDE, sha256(out / "data" / file)))
    dataset = write_dataset(out / "data", "noise", records, {})
    autoencoder, operator = load_autoencoder(out / "vae"), parse_degradation("bicubic:4")
    fill_cache([dataset], autoencoder, operator, out / "cache", conditions=("latent-native",))
    return out / "cache"


if __name__ == "__main__":
    main()

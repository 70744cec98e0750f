"""The published network in float32, in bfloat16 and compiled: images a second, and the share of the device's peak.

    python benchmarks/gpu_throughput.py [--device cpu] [--batch 64] [--side 64] [--rounds 5] [--no-compile]
        [--files 512] [--steps 100]

The network is that of 3 x side x side latents, its weights random; the peak is that of a large matrix product in
bfloat16 in the same run, and operations are torch's count (FlopCounterMode). Restored images, by four evaluations and
the decoder of kl-f4's form, are compared with those in float32.

Then `enhance` of a folder of so many PNGs of side x side, in batches, beside the bare loop: the same images as tensors,
in memory, restored in such batches. By the last of the variants with `steps` evaluations, and by the shipped model with
one, which a file takes longer to read and write than a GPU to restore.

Prints one JSON line. The exit status is 1 if images are less than PSNR dB from float32, or if, on a GPU, no variant
reaches SHARE of the peak, or the published network's folder FOLDER of its bare loop.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch

from latentsr.autoencoders.network import FrozenAutoencoder, make_network
from latentsr.autoencoders.protocol import AutoencoderSpec
from latentsr.autoencoders.published import full_size_config
from latentsr.device import resolve_device
from latentsr.diffusion.denoiser import Denoiser, published_spec, step_cost
from latentsr.diffusion.latents import LatentSpace, Statistics
from latentsr.diffusion.published import PublishedSampling
from latentsr.enhance import Job, enhance_files
from latentsr.io.raster import write_pixels
from latentsr.upscalers import Sampling, Upscaler, load_upscaler
from latentsr.upscalers.restorer import ModelConfig, Restorer

SHARE, PSNR, FOLDER = 0.4, 50.0, 0.8
STEPS, CHANNELS, RESTORED = 4, 3, 2
SHIPPED = "latentsr-tiny"


def seconds(call: Callable[[], object], device: str, rounds: int) -> float:
    """Median of `rounds` calls, after two that pay for what happens once."""
    taken = []
    for _ in range(rounds + 2):
        begin = time.perf_counter()
        call()
        if device != "cpu":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken[2:])


def of_folder(model: Upscaler, sampling: Sampling, batch: int, side: int, files: int) -> dict[str, float]:
    """Images a second of a folder and of the bare loop, and the first as a share of the second."""
    images = np.random.default_rng(0).integers(0, 256, (files, side, side), np.uint8)
    lr, ids = torch.from_numpy(images).float()[:, None] / 255, [str(number) for number in range(files)]
    with tempfile.TemporaryDirectory() as place:
        for name, image in zip(ids, images, strict=True):
            write_pixels(Path(place) / "in" / f"{name}.png", image)
        model.restore(lr[:batch], ids=ids[:batch], sampling=sampling)  # pays for what happens once
        start = time.perf_counter()
        for first in range(0, files, batch):
            part = slice(first, first + batch)
            model.restore(lr[part], ids=ids[part], sampling=sampling)
        bare = time.perf_counter() - start
        start = time.perf_counter()
        outcomes = enhance_files([Path(place) / "in"], Job(model, sampling, Path(place) / "out", batch=batch))
        folder = time.perf_counter() - start
    if any(outcome.status != "written" for outcome in outcomes):
        raise SystemExit("some files of the folder were not written")
    return {"bare_s": round(files / bare, 2), "folder_s": round(files / folder, 2), "share": round(bare / folder, 3)}


@torch.inference_mode()
def main(device: str, batch: int, side: int, rounds: int, compiled: bool, files: int, steps: int) -> int:
    """The exit status, after the figures have been printed."""
    torch.manual_seed(0)
    n = 8192 if device != "cpu" else 512
    square = torch.randn(n, n, device=device, dtype=torch.bfloat16)
    peak = 2 * n**3 / seconds(lambda: square @ square, device, rounds)
    spec, unit = published_spec(CHANNELS, side, side), Statistics(mean=(0.0,) * CHANNELS, sd=(1.0,) * CHANNELS)
    config = ModelConfig(
        name="published", degradation="bicubic:4", autoencoder="kl-f4", autoencoder_hash="random", denoiser=spec,
        space=LatentSpace(conditions=("latent-up",), target="latent", statistics={"hr": unit, "latent-up": unit}),
        objective="x0", schedule="linear", solver="ddim", published=PublishedSampling(table="linear"),
    )  # fmt: skip
    weights = Denoiser(spec)
    network = make_network("AutoencoderKL", full_size_config(factor=4, latent_channels=CHANNELS)).to(device)
    facts = AutoencoderSpec("kl-f4", "random", "MIT", "none", 3, CHANNELS, 4)
    z = torch.randn(batch, CHANNELS, side, side, device=device)
    times, lr = torch.full((batch,), 500, device=device), torch.rand(RESTORED, 1, side, side)
    flops = batch * step_cost(spec, side, side).flops
    variants = {"float32": ("float32", False), "bfloat16": ("bfloat16", False)}
    if compiled:
        variants |= {"float32_compiled": ("float32", True), "bfloat16_compiled": ("bfloat16", True)}
    found: dict[str, dict[str, float]] = {}
    exact: torch.Tensor | None = None
    for name, (precision, fused) in variants.items():
        autoencoder = FrozenAutoencoder(network, facts, "random", None)
        model = Restorer(config, deepcopy(weights), autoencoder, device, precision=precision, compiled=fused)
        taken = seconds(lambda evaluate=model.network: evaluate(z, times, z), device, rounds)
        image = model.restore(lr, ids=["a", "b"], sampling=Sampling(steps=STEPS)).image
        exact = image if exact is None else exact
        error = max((image - exact).square().mean().item(), 1e-20)
        found[name] = {
            "images_s": round(batch / taken, 3), "share_of_peak": round(flops / taken / peak, 4),
            "psnr_db": round(-10 * math.log10(error), 1),
        }  # fmt: skip
    model.hash = "random"
    folders = {
        "folder": of_folder(model, Sampling(steps=steps), batch, side, files),
        "folder_shipped": of_folder(load_upscaler(SHIPPED, device=device), Sampling(), batch, side, files),
    }
    where = torch.cuda.get_device_name(device) if device != "cpu" else "cpu"
    facts = {"device": where, "batch": batch, "side": side, "files": files, "steps": steps}
    print(json.dumps({**facts, "peak_tflops": round(peak / 1e12, 3), **found, **folders}))
    slow = max(one["share_of_peak"] for one in found.values()) < SHARE or folders["folder"]["share"] < FOLDER
    return int((device != "cpu" and slow) or min(one["psnr_db"] for one in found.values()) < PSNR)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-compile", dest="compiled", action="store_false")
    parser.add_argument("--files", type=int, default=512)
    parser.add_argument("--steps", type=int, default=100)
    asked = vars(parser.parse_args())
    sys.exit(main(**asked | {"device": resolve_device(asked["device"])}))

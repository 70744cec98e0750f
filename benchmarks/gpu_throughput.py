"""The published network in float32, in bfloat16 and compiled: images a second, and the share of the device's peak.

    python benchmarks/gpu_throughput.py [--device cpu] [--batch 64] [--side 64] [--rounds 5] [--no-compile]

The network is that of 3 x side x side latents, its weights random; the peak is that of a large matrix product in
bfloat16 in the same run, and operations are torch's count (FlopCounterMode). Restored images, by four evaluations and
the decoder of kl-f4's form, are compared with those in float32. Prints one JSON line. The exit status is 1 if images
are less than PSNR dB from float32, or if, on a GPU, no variant reaches SHARE of the peak.
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from copy import deepcopy

import torch

from latentsr.autoencoders.network import FrozenAutoencoder, make_network
from latentsr.autoencoders.protocol import AutoencoderSpec
from latentsr.autoencoders.published import full_size_config
from latentsr.device import resolve_device
from latentsr.diffusion.denoiser import Denoiser, published_spec, step_cost
from latentsr.diffusion.latents import LatentSpace, Statistics
from latentsr.diffusion.published import PublishedSampling
from latentsr.upscalers import Sampling
from latentsr.upscalers.restorer import ModelConfig, Restorer

SHARE, PSNR = 0.4, 50.0
STEPS, CHANNELS, RESTORED = 4, 3, 2


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


@torch.inference_mode()
def main(device: str, batch: int, side: int, rounds: int, compiled: bool) -> int:
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
    where = torch.cuda.get_device_name(device) if device != "cpu" else "cpu"
    print(json.dumps({"device": where, "batch": batch, "side": side, "peak_tflops": round(peak / 1e12, 3), **found}))
    slow = device != "cpu" and max(one["share_of_peak"] for one in found.values()) < SHARE
    return int(slow or min(one["psnr_db"] for one in found.values()) < PSNR)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-compile", dest="compiled", action="store_false")
    asked = parser.parse_args()
    sys.exit(main(resolve_device(asked.device), asked.batch, asked.side, asked.rounds, asked.compiled))

"""Seconds of the shipped model at both ends of its dial, beside the published method measured in the same run.

    python benchmarks/enhance_speed.py [ROUNDS]

The published method is its network at 3x64x64 latents, 100 evaluations, and the decoder of its autoencoder (kl-f4's
form; weights random, which changes no time): one evaluation and one decoding are timed, in turns with the model, on
one image of 64x64 px enlarged to 256x256. Prints one JSON line; the exit status is 1 if the model is less than
FIDELITY times faster at a realism of 0, or REALISM times at 1.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from latentsr.autoencoders.network import make_network
from latentsr.autoencoders.published import full_size_config
from latentsr.diffusion.denoiser import Denoiser, published_spec
from latentsr.upscalers import Sampling
from latentsr.upscalers.model import SuperResolver

FIDELITY, REALISM = 500, 200
EVALUATIONS, SIDE, LATENT = 100, 64, (3, 64, 64)


@torch.inference_mode()
def main(rounds: int) -> int:
    """The exit status, after the figures have been printed."""
    model = SuperResolver.load("latentsr-tiny", device="cpu")
    network = Denoiser(published_spec(*LATENT)).eval()
    decoder: Any = make_network("AutoencoderKL", full_size_config(factor=4, latent_channels=LATENT[0])).eval()
    image, latent = torch.rand(1, 1, SIDE, SIDE), torch.randn(1, *LATENT)
    timed: dict[str, Callable[[], object]] = {
        "mean": lambda: model.restore(image, ids=["a"], sampling=Sampling(realism=0)),
        "sample": lambda: model.restore(image, ids=["a"], sampling=Sampling(realism=1)),
        "published_evaluation": lambda: network(latent, torch.tensor([500]), latent),
        "published_decoder": lambda: decoder.reconstruct(latent),
    }
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for number in range(rounds + 1):
        for name, call in timed.items():
            start = time.perf_counter()
            call()
            if number:  # the first of each pays for what happens once
                seconds[name].append(time.perf_counter() - start)
    found = {name: statistics.median(values) for name, values in seconds.items()}
    published = EVALUATIONS * found["published_evaluation"] + found["published_decoder"]
    ratios = {f"{name}_times_faster": published / found[name] for name in ("mean", "sample")}
    print(json.dumps({"threads": torch.get_num_threads(), **{k: round(v, 4) for k, v in (found | ratios).items()}}))
    return int(ratios["mean_times_faster"] < FIDELITY or ratios["sample_times_faster"] < REALISM)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))

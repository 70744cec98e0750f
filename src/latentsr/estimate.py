"""What an enhance job would take: time and memory as measured on a patch, disk as the pixels say."""

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from latentsr.enhancement import Job, Outcome
from latentsr.restoration import OVERLAP, Sampling
from latentsr.superres import BATCH, SuperResolver
from latentsr.tiling import tile_starts

PATCH = 64  # side in LR pixels


@dataclass(frozen=True)
class Estimate:
    """About how many seconds, bytes of memory at the peak and bytes of disk; memory is 0 where the system is silent."""

    seconds: float
    memory: int
    disk: int


@dataclass(frozen=True)
class Pace:
    """What a patch took: seconds and bytes an LR pixel, the seconds for one evaluation, beside the `base` in bytes."""

    seconds: float
    grown: float
    base: int

    def estimate(self, outcomes: Sequence[Outcome], job: Job) -> Estimate:
        """What the planned ones of these outcomes would take."""
        resolver, several = job.resolver, job.sampling.samples > 1
        seconds, memory, disk = 0.0, 0, 0
        for outcome in outcomes:
            if outcome.status != "planned":
                continue
            slices, rows, columns = outcome.shape
            fine = rows * columns * resolver.scale**2
            tiles = [_tiles(side, job) for side in (rows, columns)]
            computed, at_once = (math.prod(sides) for sides in zip(*tiles, strict=True))
            seconds += slices * computed * self.seconds * resolver.restorer.evaluations(job.sampling)
            disk += slices * fine * ((4 if ".nii" in outcome.output else 2) + 4 * several)
            volumes = 4 * slices * fine * (3 + several)  # the result, what is written and its bytes
            images = min(BATCH, slices) * (self.grown * at_once + 8 * 3 * fine)  # by the network, and to project
            memory = max(memory, int(self.base + volumes + images))
        return Estimate(seconds, memory if self.base else 0, disk)


def _tiles(side: int, job: Job) -> tuple[float, float]:
    """LR pixels along a side that are computed, each as often as tiles hold it, and those that are so at a time."""
    latent = job.resolver.autoencoder.spec.factor / job.resolver.scale  # LR pixels in one of the latent
    tile = (job.sampling.tile or math.inf) * latent
    if tile >= side:
        return side, side
    return tile * len(tile_starts(side, math.ceil(tile), math.ceil(OVERLAP * latent))), tile


def measure(resolver: SuperResolver) -> Pace:
    """What one evaluation on a patch takes; to be called before images are read: the peak of memory never falls."""
    image = torch.zeros(1, 1, PATCH, PATCH)
    resolver.restore(image[..., :8, :8], ids=["black"])  # so that what happens once is not measured
    base, begin = _peak(resolver.restorer.device), time.perf_counter()
    steps = 1 if resolver.restorer.has_mean else 2
    resolver.restore(image, ids=["black"], sampling=Sampling(steps=steps, tile=None))
    seconds = (time.perf_counter() - begin) / steps
    return Pace(seconds / PATCH**2, (_peak(resolver.restorer.device) - base) / PATCH**2, base)


def _peak(device: str) -> int:
    """Bytes at the peak so far: of the GPU if it computes there, else of this process; 0 where the system is silent."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak

"""The published noise tables and samplers, as they are: models imported from the study's checkpoints walk them.

They are kept with what is wrong in them, to reproduce published numbers and to show what each defect costs; what is
trained here uses `latentsr.diffusion.process.NoiseProcess`. The table is in the order of the network's own time index:
cosine from noisy to clean, linear from clean to noisy. "T steps" are its first T entries and not T places spread over
it, so that a short walk along the cosine table ends in noise; the solver "respaced" mends this and nothing else. The
first state is half a standard normal. Latents are raw.

Source: arXiv 2604.12152 and its public code, described in words; written anew.
"""

# ruff: noqa: ARG002 (every process takes what one of them needs)

import math
from itertools import pairwise
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from latentsr.config import Config
from latentsr.diffusion.objective import TIMES, ScheduleName
from latentsr.diffusion.process import Generators, Network
from latentsr.errors import OptionError

START = 0.5  # standard deviation of the first state of the diffusion models
STABLE = 1e-4  # added to the noise share that the estimated noise is divided by
RESPACED = "respaced"  # the solver that spreads its steps over the whole table


class PublishedSampling(Config):
    """The process of a published model; see `latentsr.diffusion.process.Process`. The network predicts x, or x - noise.

    `table`: of the noise, or `flow` for a rectified flow. `timesteps`: entries of the table, and what a flow's time in
    [0, 1) is multiplied by. `zlr_init`: begin at the enlarged LR latent instead of noise.
    """

    table: ScheduleName
    timesteps: int = Field(1000, ge=2, le=100_000)
    zlr_init: bool = False

    has_mean: ClassVar = False
    has_samples: ClassVar = True

    def check(self, steps: int, solver: str | None = None) -> None:
        """OptionError for one step, for more than the table has entries, and for a solver but "respaced" of a table."""
        if solver and (solver != RESPACED or self.table == "flow"):
            instead = "" if self.table == "flow" else f", or choose {RESPACED}"
            raise OptionError(f"solver '{solver}': a published model keeps its own sampler; leave solver out{instead}")
        if not 2 <= steps <= self.timesteps:
            usual = "16" if self.table == "flow" else "1000, or 100"
            raise OptionError(
                f"the option steps is {steps}: a published model takes 2 to {self.timesteps}; set {usual}, as published"
            )

    def at(self, times: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(alpha, sigma, index) of the table, whose own order and length `index` has."""
        if self.table == "flow":
            share = times / TIMES
            alpha, index = share, (share * (self.timesteps - 1)).long()
            sigma = 1 - share
        else:
            index = times * self.timesteps // TIMES
            alphas = published_alphas(self.table, self.timesteps).to(times.device)[index]
            alpha, sigma = alphas.sqrt(), (1 - alphas).sqrt()
        return alpha[:, None, None, None], sigma[:, None, None, None], index

    def places(self, steps: int, solver: str | None = None) -> list[int]:
        """The table's entries that a walk takes: its first ones, or respaced, from the first to the last evenly."""
        last = self.timesteps - 1 if solver == RESPACED else steps - 1
        return [round(i * last / (steps - 1)) for i in range(steps)]

    def last_alpha(self, steps: int, solver: str | None = None) -> float:
        """The squared share of signal, in 1, of the table's entry that the last of `steps` evaluations is made at."""
        if self.table == "flow":
            share = (steps - 1) / steps
            return share**2 / (share**2 + (1 - share) ** 2)
        return float(published_alphas(self.table, self.timesteps)[self.places(steps, solver)[-1]])

    def target(self, x: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """The latent, or of a flow data minus noise."""
        return x - noise if self.table == "flow" else x

    def sample(
        self, network: Network, noise: Tensor, condition: Tensor, *, steps: int,
        solver: str | None = None, generators: Generators = (),
    ) -> Tensor:  # fmt: skip
        """The raw latent after `steps` evaluations, from the condition on where `zlr_init`; see `Process.sample`."""
        self.check(steps, solver)

        def predict(z: Tensor, time: int) -> Tensor:
            return network(z, torch.full((len(z),), time, device=z.device))

        if self.table == "flow":
            z = noise
            for i in range(steps):
                z = z + predict(z, int(i / steps * (self.timesteps - 1))) / steps
        else:
            alphas = published_alphas(self.table, self.timesteps).to(noise.device)
            signal, sigma = alphas.sqrt(), (1 - alphas).sqrt()
            z, places = condition if self.zlr_init else START * noise, self.places(steps, solver)
            for i, after in pairwise(places):
                x0 = predict(z, i)
                epsilon = (z - signal[i] * x0) / (sigma[i] + STABLE)
                z = z + (signal[after] - signal[i]) * x0 + (sigma[after] - sigma[i]) * epsilon
            z = predict(z, places[-1])
        return z


def published_alphas(table: str, timesteps: int = 1000) -> Tensor:
    """The squared share of signal at each of the network's time indices, float32 (timesteps,)."""
    if table == "linear":
        return torch.cumprod(1 - torch.linspace(1e-4, 2e-2, timesteps), dim=0)
    x = torch.linspace(0, timesteps + 1, timesteps + 1)
    alphas = torch.cos((x / (timesteps + 1) + 0.008) / 1.008 * math.pi / 2) ** 2
    return (alphas / alphas[0])[1:].flip(0)

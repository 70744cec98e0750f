"""What a network learns: noise schedules, and the targets that it predicts.

z_t = alpha_t x + sigma_t noise on 1000 times, t = 0 data and t = 1 (index 999) pure noise. The diffusion tables are
diffusers', shifted so that the last one holds no signal (Lin 2024, section 3.1): a sampler that starts in pure noise
then starts where training ended. An epsilon network keeps a little signal there, since its clean latent is
(z - sigma epsilon) / alpha.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor

from latentsr.errors import OptionError

TIMES = 1000
ObjectiveName = Literal["x0", "epsilon", "v", "flow"]
ScheduleName = Literal["cosine", "linear", "flow"]
SCHEDULES: tuple[ScheduleName, ...] = get_args(ScheduleName)


@lru_cache
def alphas_sigmas(name: str, terminal: float = 0.0) -> tuple[Tensor, Tensor]:
    """(alpha, sigma) of the schedule `name`, float32 tensors of 1000 values, index 999 the noisiest.

    `terminal` is alpha at index 999 of the diffusion schedules; in the flow, alpha is 1 - t.
    """
    if name not in SCHEDULES:
        raise OptionError(f"schedule '{name}': expected one of {', '.join(SCHEDULES)}")
    if name == "flow":
        sigma = torch.arange(1, TIMES + 1) / TIMES
        return 1 - sigma, sigma
    if name == "linear":  # Ho 2020, section 4
        noise = torch.linspace(1e-4, 0.02, TIMES)
    else:  # Nichol and Dhariwal 2021, eq. 17
        bar = [math.cos((time / TIMES + 0.008) / 1.008 * math.pi / 2) ** 2 for time in range(TIMES + 1)]
        noise = torch.tensor([min(1 - after / before, 0.999) for before, after in pairwise(bar)])
    table = (1 - noise).cumprod(0).double().sqrt()
    alpha = terminal + (table - table[-1]) * (table[0] - terminal) / (table[0] - table[-1])
    return alpha.float(), (1 - alpha**2).sqrt().float()


def betas(name: str, terminal: float = 0.0) -> list[float]:
    """The table as the betas that diffusers' solvers take: 1 - alpha_t^2 / alpha_(t-1)^2."""
    alpha = alphas_sigmas(name, terminal)[0].double() ** 2
    return [float(1 - alpha[0]), *(1 - alpha[1:] / alpha[:-1]).tolist()]


def at(name: str, times: Tensor, terminal: float = 0.0) -> tuple[Tensor, Tensor]:
    """(alpha, sigma) at integer `times` (batch,), shaped (batch, 1, 1, 1) on their device."""
    alpha, sigma = (table.to(times.device)[times] for table in alphas_sigmas(name, terminal))
    return alpha[:, None, None, None], sigma[:, None, None, None]


@dataclass(frozen=True)
class Objective:
    """`target(x, noise, alpha, sigma)`, `clean(z, prediction, alpha, sigma)`, which is x again, and diffusers' name.

    `terminal` is alpha at the noisiest time: 0, or a little signal for an epsilon network, which has no say without.
    """

    target: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    clean: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    prediction_type: str
    terminal: float = 0.0

    @property
    def one_step(self) -> bool:
        """Whether one evaluation in pure noise gives the clean latent."""
        return self.terminal == 0


OBJECTIVES: Mapping[str, Objective] = {
    "x0": Objective(lambda x, noise, alpha, sigma: x, lambda z, x, alpha, sigma: x, "sample"),
    "epsilon": Objective(  # Ho 2020, eq. 14
        lambda x, noise, alpha, sigma: noise, lambda z, noise, alpha, sigma: (z - sigma * noise) / alpha, "epsilon",
        terminal=0.01,
    ),
    "v": Objective(  # Salimans and Ho 2022, section 4
        lambda x, noise, alpha, sigma: alpha * noise - sigma * x, lambda z, v, alpha, sigma: alpha * z - sigma * v,
        "v_prediction",
    ),
    "flow": Objective(  # rectified flow, Liu 2023; noise minus data, the sign of diffusers
        lambda x, noise, alpha, sigma: noise - x, lambda z, flow, alpha, sigma: z - sigma * flow, "flow_prediction"
    ),
}  # fmt: skip

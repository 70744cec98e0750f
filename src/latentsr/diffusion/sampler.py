"""Samplers: diffusers' solvers with latent-safe settings, walked from pure noise to the clean latent."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from latentsr.diffusion.objective import OBJECTIVES, TIMES, betas
from latentsr.errors import InputError, OptionError

Network = Callable[[Tensor, Tensor], Tensor]

# Latents are not images: no clipping. Trailing spacing begins at index 999, in pure noise (Lin 2024, section 3.3).
# Without `rescale_betas_zero_snr` the multistep solvers would take the logarithm of no signal.
_SAFE: dict[str, Any] = {"num_train_timesteps": TIMES, "timestep_spacing": "trailing"}
_LAST: dict[str, Any] = {"final_sigmas_type": "zero", "solver_order": 2}

SOLVERS: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "ddpm": lambda options: DDPMScheduler(**_SAFE, clip_sample=False, **options),
    "ddim": lambda options: DDIMScheduler(**_SAFE, clip_sample=False, **options),
    "dpm++": lambda options: DPMSolverMultistepScheduler(**_SAFE, **_LAST, **options),
    "unipc": lambda options: UniPCMultistepScheduler(**_SAFE, **_LAST, predict_x0=True, **options),
    "euler": lambda options: FlowMatchEulerDiscreteScheduler(num_train_timesteps=TIMES),
}

DENSE = ("ddpm", "dpm++")  # solvers that take any times; the others space theirs evenly


def make_solver(name: str, schedule: str, objective: str) -> Any:
    """diffusers' scheduler of that name for a network trained on `schedule` with `objective`."""
    if name not in SOLVERS:
        raise OptionError(f"solver '{name}': expected one of {', '.join(SOLVERS)}")
    if (name == "euler") != (schedule == "flow"):
        fitting = "euler" if schedule == "flow" else ", ".join(key for key in SOLVERS if key != "euler")
        raise OptionError(f"solver '{name}' does not fit a model trained on the {schedule} schedule: use {fitting}")
    if name == "euler":
        return SOLVERS[name]({})
    goal = OBJECTIVES[objective]
    table = {"trained_betas": betas(schedule, goal.terminal), "rescale_betas_zero_snr": goal.one_step}
    return SOLVERS[name]({**table, "prediction_type": goal.prediction_type})


def sample(
    network: Network,
    noise: Tensor,
    *,
    steps: int,
    solver: str,
    schedule: str,
    objective: str,
    generators: Sequence[torch.Generator] = (),
) -> Tensor:
    """The clean normalised latent that the solver reaches from `noise` (batch, channels, rows, columns).

    `network(z, times)` is called `steps` times, `times` integers (batch,). One step of an x0, v or flow network
    is its estimate of the posterior mean. `generators`, one an image, feed the solvers that draw noise (ddpm).
    """
    check_steps(steps, objective)
    scheduler = make_solver(solver, schedule, objective)
    if solver == "euler":
        scheduler.set_timesteps(device=noise.device, sigmas=[1 - i / steps for i in range(steps)])
    elif solver in DENSE:
        scheduler.set_timesteps(device=noise.device, timesteps=dense_times(steps))
    else:
        scheduler.set_timesteps(device=noise.device, num_inference_steps=steps)
    options = {"generator": list(generators)} if solver == "ddpm" and generators else {}
    z = noise
    for time in scheduler.timesteps:
        index = time.round().long() - 1 if solver == "euler" else time  # Euler counts sigma x 1000, 1000 the noisiest
        times = index.expand(len(z))
        z = scheduler.step(network(z, times), time, z, **options).prev_sample
    if not torch.isfinite(z).all():
        raise InputError("the sampler gave non-finite latents; the model or the precision is not fit for this image")
    return z


def dense_times(steps: int) -> list[int]:
    """Falling integer times from 999, quadratically denser towards the data, no two alike.

    Fine detail is faint: of a normalised latent with an sd of 0.1, sixteen evenly spaced steps of DPM-Solver++ keep
    44 % of the variance and these all of it, since the last step then begins where noise is fainter than detail
    (measured with the exact network of a Gaussian; tests/diffusion/test_sampler.py).
    """
    wanted = (round((TIMES - 1) * (1 - i / steps) ** 2) for i in range(steps))
    return [max(time, steps - 1 - i) for i, time in enumerate(wanted)]


def check_steps(steps: int, objective: str) -> None:
    """OptionError unless a model of that objective can be sampled in so many steps."""
    if not 1 <= steps <= TIMES:
        raise OptionError(f"the option steps is {steps}: expected 1 to {TIMES}")
    if steps == 1 and not OBJECTIVES[objective].one_step:
        raise OptionError(
            f"the option steps is 1: a model trained on {objective} gives no estimate in pure noise; set 2 or more"
        )


def image_noise(shape: Sequence[int], generators: Sequence[torch.Generator], device: str | torch.device) -> Tensor:
    """Standard normal noise (images, *shape), each image from its own generator."""
    return torch.stack([torch.randn(tuple(shape), generator=generator) for generator in generators]).to(device)

"""Noise processes: how a latent is made noisy, what the network learns of it, and how it is sampled from pure noise.

A model has one `Process`: a NoiseProcess, walked by diffusers' solvers with latent-safe settings, the Regression, which
has no noise, or the PublishedSampling of `latentsr.diffusion.published`.
"""

# ruff: noqa: ARG002 (every process takes what one of them needs)

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from latentsr.diffusion.objective import OBJECTIVES, TIMES, at, betas
from latentsr.errors import InputError, OptionError

Network = Callable[[Tensor, Tensor], Tensor]  # (noisy latent, integer times (batch,)) -> prediction
Generators = Sequence[torch.Generator]
Mixture = Sequence[tuple[float, torch.Generator]]  # shares whose squares add up to one, each of a generator's noise


class Process(Protocol):
    """What a model's training and sampling must agree on; latents are (batch, channels, rows, columns)."""

    @property
    def has_mean(self) -> bool:
        """Whether one evaluation in pure noise gives the posterior mean."""

    @property
    def has_samples(self) -> bool:
        """Whether more evaluations draw samples; where not, there is one estimate."""

    def at(self, times: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(alpha, sigma, index) at integer `times` of 0 to 999 (batch,), as trainings draw them.

        z = alpha x + sigma noise, shares of shape (batch, 1, 1, 1); `index` is the time that the network is given.
        """

    def target(self, x: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """What the network learns to predict of z."""

    def check(self, steps: int, solver: str | None = None) -> None:
        """OptionError unless a model can be sampled in so many steps, and by this solver; None is the model's own."""

    def sample(
        self, network: Network, noise: Tensor, condition: Tensor, *, steps: int,
        solver: str | None = None, generators: Generators = (),
    ) -> Tensor:  # fmt: skip
        """The clean normalised latent after `steps` evaluations of the network, which start at standard normal `noise`.

        `condition` is what the network is given of LR, of the latent's rows and columns. `generators`, one an image,
        feed the solvers that draw noise of their own (ddpm). OptionError as of `check`. What comes back is not finite
        where the network's predictions are not, see `finite`; nothing here waits for a GPU.
        """


# Latents are not images: no clipping. Trailing spacing begins at index 999, in pure noise (Lin 2024, section 3.3).
# Without `rescale_betas_zero_snr` the multistep solvers would take the logarithm of no signal.
_SAFE: dict[str, Any] = {"num_train_timesteps": TIMES, "timestep_spacing": "trailing"}
_LAST: dict[str, Any] = {"final_sigmas_type": "zero", "solver_order": 2}

# diffusers' class of each solver and its settings.
SOLVERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "ddpm": ("DDPMScheduler", {**_SAFE, "clip_sample": False}),
    "ddim": ("DDIMScheduler", {**_SAFE, "clip_sample": False}),
    "dpm++": ("DPMSolverMultistepScheduler", {**_SAFE, **_LAST}),
    "unipc": ("UniPCMultistepScheduler", {**_SAFE, **_LAST, "predict_x0": True}),
    "euler": ("FlowMatchEulerDiscreteScheduler", {"num_train_timesteps": TIMES}),
}
ONE_STEP = "one-step"  # the solver of a network that draws a sample in one evaluation and takes no other
DENSE = ("ddpm", "dpm++")  # solvers that take any times; the others space theirs evenly


@dataclass(frozen=True)
class NoiseProcess:
    """An objective of OBJECTIVES on a schedule of SCHEDULES, sampled by a solver of SOLVERS unless told otherwise."""

    objective: str
    schedule: str
    solver: str

    has_samples = True

    @property
    def has_mean(self) -> bool:
        """Whether one evaluation in pure noise gives the posterior mean."""
        return OBJECTIVES[self.objective].one_step

    def at(self, times: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The schedule's (alpha, sigma), and the times themselves."""
        return *at(self.schedule, times, OBJECTIVES[self.objective].terminal), times

    def target(self, x: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """The objective's target."""
        return OBJECTIVES[self.objective].target(x, noise, alpha, sigma)

    def check(self, steps: int, solver: str | None = None) -> None:
        """OptionError for steps outside the schedule, one step of epsilon, and a solver of another schedule."""
        if not 1 <= steps <= TIMES:
            raise OptionError(f"the option steps is {steps}: expected 1 to {TIMES}")
        if steps == 1 and not self.has_mean:
            raise OptionError(
                f"the option steps is 1: a model trained on {self.objective} gives no estimate in pure noise; "
                "set 2 or more"
            )
        name = solver or self.solver
        if self.solver == ONE_STEP:
            if steps > 1 or solver:
                raise OptionError("a model of one evaluation beyond its base: leave solver out and set steps to 1 or 2")
            return
        if name not in SOLVERS:
            raise OptionError(f"solver '{name}': expected one of {', '.join(SOLVERS)}")
        if (name == "euler") != (self.schedule == "flow"):
            fitting = "euler" if self.schedule == "flow" else ", ".join(key for key in SOLVERS if key != "euler")
            raise OptionError(
                f"solver '{name}' does not fit a model trained on the {self.schedule} schedule: use {fitting}"
            )

    def sample(
        self, network: Network, noise: Tensor, condition: Tensor | None = None, *, steps: int,
        solver: str | None = None, generators: Generators = (),
    ) -> Tensor:  # fmt: skip
        """The latent that the solver reaches; of one step the estimate of the posterior mean. See `Process.sample`."""
        self.check(steps, solver)
        name, objective = solver or self.solver, OBJECTIVES[self.objective]
        if steps == 1:  # what every solver gives, without the seconds in which diffusers is imported
            alpha, sigma, last = self.at(torch.full((len(noise),), TIMES - 1, device=noise.device))
            return objective.clean(noise, network(noise, last), alpha, sigma)
        import diffusers

        kind, settings = SOLVERS[name]
        scheduler = getattr(diffusers, kind)(
            **settings,
            **{
                "trained_betas": betas(self.schedule, objective.terminal), "prediction_type": objective.prediction_type,
                "rescale_betas_zero_snr": objective.one_step,
            } if name != "euler" else {},
        )  # fmt: skip
        if name == "euler":
            scheduler.set_timesteps(sigmas=[1 - i / steps for i in range(steps)])
        elif name in DENSE:
            scheduler.set_timesteps(timesteps=dense_times(steps))
        else:
            scheduler.set_timesteps(num_inference_steps=steps)
        options = {"generator": list(generators)} if name == "ddpm" and generators else {}
        z = noise
        for time in scheduler.timesteps:  # on the CPU, as the scheduler's tables: it looks at them at every step
            index = round(float(time)) - (name == "euler")  # Euler counts sigma x 1000, 1000 the noisiest
            times = torch.full((len(z),), index, device=z.device)
            z = scheduler.step(network(z, times), time, z, **options).prev_sample
        return z


@dataclass(frozen=True)
class Regression:
    """No noise at all: the network estimates the latent from the condition, in one evaluation."""

    has_mean = True
    has_samples = False

    def at(self, times: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """No share of the latent, whatever the times."""
        alpha = torch.zeros_like(times, dtype=torch.float32)[:, None, None, None]
        return alpha, 1 - alpha, times

    def target(self, x: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """The latent."""
        return x

    def check(self, steps: int, solver: str | None = None) -> None:
        """OptionError for more than one step, or a solver."""
        if steps > 1 or solver:
            raise OptionError("a regression network draws no samples: leave samples, steps, realism and solver out")

    def sample(
        self, network: Network, noise: Tensor, condition: Tensor | None = None, *, steps: int = 1,
        solver: str | None = None, generators: Generators = (),
    ) -> Tensor:  # fmt: skip
        """The network's estimate, which does not depend on the noise."""
        self.check(steps, solver)
        return network(noise, torch.full((len(noise),), TIMES - 1, device=noise.device))


def finite(images: Tensor) -> Tensor:
    """The images, as they came from networks; InputError unless they are finite."""
    if not torch.isfinite(images).all():
        raise InputError("the network or the autoencoder gave non-finite values; it is not fit for this image")
    return images


def dense_times(steps: int) -> list[int]:
    """Falling integer times from 999, quadratically denser towards the data, no two alike.

    Fine detail is faint: of a normalised latent with an sd of 0.1, sixteen evenly spaced steps of DPM-Solver++ keep
    44 % of the variance and these all of it, since the last step then begins where noise is fainter than detail
    (measured with the exact network of a Gaussian; tests/diffusion/test_process.py).
    """
    wanted = (round((TIMES - 1) * (1 - i / steps) ** 2) for i in range(steps))
    return [max(time, steps - 1 - i) for i, time in enumerate(wanted)]


def image_noise(shape: Sequence[int], mixtures: Sequence[Mixture], device: str | torch.device) -> Tensor:
    """Standard normal noise (images, *shape), each image's a sum of shares of its own generators' noise."""
    drawn = [[share * torch.randn(tuple(shape), generator=one) for share, one in mixture] for mixture in mixtures]
    noise = torch.stack([torch.stack(parts).sum(dim=0) for parts in drawn])
    if torch.device(device).type != "cuda":
        return noise.to(device)
    return noise.pin_memory().to(device, non_blocking=True)  # so that it is drawn while the GPU is at what came before

"""Diffusion in a latent space: the network, what it learns, the noise schedule and the samplers."""

from latentsr.diffusion.denoiser import Denoiser, DenoiserSpec
from latentsr.diffusion.latents import LatentSpace, Statistics
from latentsr.diffusion.objective import OBJECTIVES
from latentsr.diffusion.sampler import SOLVERS, image_noise, sample
from latentsr.diffusion.schedule import SCHEDULES

__all__ = [
    "OBJECTIVES",
    "SCHEDULES",
    "SOLVERS",
    "Denoiser",
    "DenoiserSpec",
    "LatentSpace",
    "Statistics",
    "image_noise",
    "sample",
]

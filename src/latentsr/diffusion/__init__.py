"""Diffusion in a latent space: the network, what it learns, the noise schedule and the samplers."""

"""Datasets: records of prepared images, the recipes that prepare them, and the cache of their latents."""

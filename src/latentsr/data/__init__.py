"""Datasets: records of prepared images, the recipes that prepare them, and the cache of their latents."""

from latentsr.data.latents import LatentCache, fill_cache, open_cache
from latentsr.data.records import Dataset, Record, read_dataset

__all__ = ["Dataset", "LatentCache", "Record", "fill_cache", "open_cache", "read_dataset"]

"""Evaluation: methods over the records of a dataset, into the tidy table.

`parse_method` makes a method of its text (`bicubic`, NAME=FOLDER, NAME=MODEL?steps=16), `evaluate` measures methods in
memory, `compare` is the whole job with its files. What is said about the table afterwards (means, differences,
intervals) is `latentsr.stats`.
"""

from latentsr.evaluation.measure import HR, LR_PSNR, evaluate
from latentsr.evaluation.methods import from_images, from_model, parse_method
from latentsr.upscalers import Method

__all__ = ["HR", "LR_PSNR", "Method", "evaluate", "from_images", "from_model", "parse_method"]

"""The bench: methods over images (an evaluation), autoencoders over images (a screening), into tidy tables.

`parse_method` makes a method of its text (`bicubic`, NAME=FOLDER, NAME=MODEL?realism=1) and `measure_dataset` measures
methods in memory; `compare` in `bench.evaluation` is the whole job with its files. `plan_screening` checks a screening
and `screen` runs it. What is said about a table afterwards (means, differences, intervals) is `latentsr.stats`.
"""

from latentsr.bench.evaluation_plan import Comparison
from latentsr.bench.measure import measure_dataset
from latentsr.bench.methods import from_images, from_model, parse_method
from latentsr.bench.screening import screen
from latentsr.bench.screening_plan import Candidate, Screening, ScreeningPlan, parse_candidates, plan_screening
from latentsr.names import HR, LR_PSNR
from latentsr.upscalers import Method

__all__ = [
    "HR", "LR_PSNR", "Candidate", "Comparison", "Method", "Screening", "ScreeningPlan", "from_images", "from_model",
    "measure_dataset", "parse_candidates", "parse_method", "plan_screening", "screen",
]  # fmt: skip

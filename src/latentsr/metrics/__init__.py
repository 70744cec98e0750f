"""The measures of image quality, and the METRICS table that names them all with unit, direction and source.

Importing this loads torch and nothing heavier: torchvision and torch_fidelity come in when a learned measure is called.
"""

from latentsr.metrics.metric import CONTEXT, Metric, applicable, measure
from latentsr.metrics.set_table import SET_METRICS, SetMetric
from latentsr.metrics.table import METRICS, find_metrics
from latentsr.metrics.weights import learned_available

__all__ = [
    "CONTEXT",
    "METRICS",
    "SET_METRICS",
    "Metric",
    "SetMetric",
    "applicable",
    "find_metrics",
    "learned_available",
    "measure",
]

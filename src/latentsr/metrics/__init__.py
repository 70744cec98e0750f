"""The measures of image quality, and the METRICS table that names them all with unit, direction and source.

Importing this loads torch and nothing heavier: torchvision and torch_fidelity come in when a learned measure is called.
"""

from latentsr.metrics.table import CONTEXT, FOLLOWING, METRICS, SET_METRICS, Metric, applicable, find_metrics, measure

__all__ = ["CONTEXT", "FOLLOWING", "METRICS", "SET_METRICS", "Metric", "applicable", "find_metrics", "measure"]

"""The measures of image quality, and the METRICS table that names them all with unit, direction and source.

Importing this loads torch and nothing heavier: torchmetrics and piq come in when a measure of theirs is first called.
"""

from latentsr.metrics.metric import CONTEXT, Metric, applicable, measure
from latentsr.metrics.table import METRICS, find_metrics

__all__ = ["CONTEXT", "METRICS", "Metric", "applicable", "find_metrics", "measure"]

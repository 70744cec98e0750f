"""The SET_METRICS table: every measure of two whole sets with its unit, direction, range and source."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from latentsr.metrics.distribution import fid, sliced_wasserstein
from latentsr.metrics.left_out import paired_kid


@dataclass(frozen=True)
class SetMetric:
    """The facts of one measure of two sets: `function(sr, reference)` is one number.

    `takes` says of what: `features` of a network, or `descriptors` of patches, one pyramid level a value.
    """

    name: str
    title: str
    function: Callable[..., float]
    unit: str
    better: Literal["higher", "lower"]
    range: tuple[float, float]
    source: str
    takes: Literal["features", "descriptors"]


# fmt: off
SET_METRICS: Mapping[str, SetMetric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            SetMetric("fid", "FID", fid, "", "lower", (0.0, np.inf), "Heusel et al. 2017, eq. 6", "features"),
            SetMetric("kid", "KID", paired_kid, "", "lower", (-np.inf, np.inf),
                      "Binkowski et al. 2018; Gretton et al. 2012, lemma 6", "features"),
            SetMetric("swd", "SWD", sliced_wasserstein, "1e-3", "lower", (0.0, np.inf), "Karras et al. 2018",
                      "descriptors"),
        )
    }
)
# fmt: on

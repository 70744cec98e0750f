"""Rates, such as the shares of hallucinated and lost pixels, compared with Cohen's h."""

from collections.abc import Collection

import pandas as pd

from latentsr.errors import InputError
from latentsr.stats.paired import cohen_h


def rate_effects(comparison: pd.DataFrame, rates: Collection[str]) -> pd.DataFrame:
    """The rows of a comparison whose metric is one of `rates`, with `h`, Cohen's h of mean_a and mean_b.

    A rate is a share in [0, 1] of an image's pixels, and its mean over images the pooled rate where the images have one
    size. h puts a difference in proportion to what a rate can vary: 0.2 is small, 0.5 medium, 0.8 large (Cohen 1988).

    Args:
        comparison: what `compare_methods` gives.
        rates: names of metrics that are shares.

    Raises:
        InputError: a metric that was not compared, or values outside [0, 1].
    """
    if unknown := sorted(set(rates) - set(comparison["metric"])):
        raise InputError(f"no metric {', '.join(unknown)} in the comparison: expected metrics that were compared")
    rows = comparison[comparison["metric"].isin(list(rates))].reset_index(drop=True)
    return rows.assign(h=cohen_h(rows["mean_a"], rows["mean_b"]))

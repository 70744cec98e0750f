"""The images by which autoencoders are ranked: the same for all, whatever one of them gives back exactly."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from latentsr.screening.measure import EXACT

Excluded = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Judged:
    """A tidy table, and the ids of each dataset's images that rank nobody.

    `table` has NaN at these images, and where a lossy autoencoder has a finite value but another one has not: a mean
    of its finite values is of the same images for all lossy autoencoders.
    """

    table: pd.DataFrame
    excluded: Excluded

    @property
    def kept(self) -> pd.DataFrame:
        """The table's rows without the excluded images."""
        return self.table[~_among(self.table, self.excluded)]


def judged(table: pd.DataFrame, lossy: Collection[str], constant: Excluded) -> Judged:
    """The table as the ceilings need it.

    An image is excluded where HR is constant, or where a lossy autoencoder is above EXACT dB. A black image, say, comes
    back exactly from one autoencoder and at 150 dB from the next: neither says what is lost of an anatomy, and a mean
    without the first alone would rank the second too high.

    Args:
        table: tidy, all datasets and methods.
        lossy: the autoencoders that are ranked; if there are none, nothing is excluded.
        constant: the ids of each dataset's constant images.
    """
    own = table[table["method"].isin(lossy)]
    exact = own[(own["metric"] == "psnr") & ~(own["value"] <= EXACT)]
    excluded = {
        str(name): (constant.get(str(name), frozenset()) if len(own) else frozenset())
        | frozenset(exact.loc[exact["dataset"] == name, "id"])
        for name in table["dataset"].unique()
    }
    blank = _among(table, excluded) | _incomplete(table, own)
    return Judged(table.assign(value=table["value"].mask(blank)), excluded)


def _among(table: pd.DataFrame, excluded: Excluded) -> pd.Series:
    pairs = {(dataset, name) for dataset, names in excluded.items() for name in names}
    return pd.Series([pair in pairs for pair in zip(table["dataset"], table["id"], strict=True)], index=table.index)


def _incomplete(table: pd.DataFrame, own: pd.DataFrame) -> pd.Series:
    """Whether the row is a lossy autoencoder's, of an image and metric without a finite value of all of these."""
    finite = own.assign(value=np.isfinite(own["value"]))
    whole = finite.groupby(["dataset", "id", "metric"])["value"].transform("all")
    return ~whole.reindex(table.index, fill_value=True).astype(bool)

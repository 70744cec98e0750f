"""What a reader must know before believing a screening: few patients, images left out, what half precision breaks."""

from collections.abc import Collection, Iterator, Mapping

import pandas as pd

from latentsr.screening.apart import listed
from latentsr.stats.significance import FEWEST


def warnings(frames: Mapping[str, pd.DataFrame], lone: Collection[str] = ()) -> list[str]:
    """Sentences, of the `ceilings` and the `cost` of a screening, one dataset after the other.

    `lone` are the datasets in which no patient has two images.
    """
    found: list[str] = []
    for name, rows in frames["ceilings"].groupby("dataset", sort=False):
        images, excluded = int(rows["images"].iloc[0]), int(rows["excluded"].iloc[0])
        found += _excluded(str(name), images, excluded)
        found += _patients(str(name), int(rows["patients"].iloc[0]), images - excluded)
        if name in lone:
            found.append(
                f"{name}: each image counts as a patient of its own; if some share one, intervals are too narrow."
            )
        for metric, missing in _missing(rows):
            found.append(f"{name}: {metric} has no value for {missing} of {images} images (too small or constant).")
    return found + _half_precision(frames["cost"]) + _timed_alike(frames["cost"])


def _excluded(name: str, images: int, excluded: int) -> Iterator[str]:
    if excluded:
        yield (
            f"{name}: {excluded} of {images} images are constant, or came back exactly from a lossy autoencoder: left "
            "out of the ceilings, differences and bands of all."
        )


def _patients(name: str, patients: int, images: int) -> Iterator[str]:
    if patients == 1:
        yield f"{name}: all {images} images are of one patient: no interval can be given and nothing is told apart."
    elif 1 < patients < FEWEST:
        yield (
            f"{name}: only {patients} patients: intervals take their differences for normal, and differences are not "
            f"judged with fewer than {FEWEST}."
        )


def _missing(rows: pd.DataFrame) -> Iterator[tuple[str, int]]:
    for metric, own in rows.groupby("metric", sort=False):
        if missing := int(own["missing"].max()):
            yield str(metric), missing


def _half_precision(cost: pd.DataFrame) -> list[str]:
    found = []
    for column in (name for name in cost.columns if name.startswith("nonfinite_")):
        worst = cost.groupby("method", sort=False)[column].max()
        if names := [f"{name} ({share:.0%})" for name, share in worst.items() if share > 0]:
            kind, probed = column.removeprefix("nonfinite_"), int(cost["probed"].max())
            tried = f"{probed} image{'' if probed == 1 else 's'} of a dataset"
            found.append(
                f"Latents with NaN or infinity in {kind}, tried on {tried}: {listed(names)}. Encode with these in "
                "float32."
            )
    return found


def _timed_alike(cost: pd.DataFrame) -> list[str]:
    if len(cost[["device", "threads", "batch"]].drop_duplicates()) < 2:
        return []
    return ["Times were measured on several devices, thread counts or batch sizes: compare those of one only."]

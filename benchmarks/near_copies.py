"""Which images `latentsr prepare` takes for near-copies, on prepared datasets, and what the search for them takes.

    .venv/bin/python benchmarks/near_copies.py DATASET...
    .venv/bin/python benchmarks/near_copies.py --images 100000

Of each dataset: the highest correlation of thumbnails of two images of different patients in two splits, of different
patients, and of one patient, copies left out; then how many of the validation images, changed in each of some ways,
correlate above ALIKE with what they were. With --images, the seconds of processor and the most MB that the search
among so many images of noise takes beside their thumbnails, 80, 10 and 10 % of them in three splits. One JSON line
each. The exit status is 1 if two images of different patients are taken for near-copies, or one of a mild change (JPEG
at quality 30, noise of sd 10, moved by one pixel, reduced twice and enlarged again) is not.
"""

import argparse
import io
import json
import time
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from latentsr.data.duplicates import ALIKE, SIDE, Look, dataset_looks, near_copies, thumbnail
from latentsr.data.records import Dataset, read_dataset

Change = Callable[[NDArray[np.uint8]], NDArray[np.floating]]


def _jpeg(quality: int) -> Change:
    def change(pixels: NDArray[np.uint8]) -> NDArray[np.floating]:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer), np.float64)

    return change


def _resized(factor: int) -> Change:
    def change(pixels: NDArray[np.uint8]) -> NDArray[np.floating]:
        rows, columns = pixels.shape
        small = Image.fromarray(pixels).resize((columns // factor, rows // factor), Image.Resampling.BICUBIC)
        return np.asarray(small.resize((columns, rows), Image.Resampling.BICUBIC), np.float64)

    return change


def _noise(sd: float) -> Change:
    return lambda pixels: pixels + np.random.default_rng(0).normal(0, sd, pixels.shape)


def _moved(by: float) -> Change:
    return lambda pixels: ndimage.shift(pixels.astype(float), (by, 0), order=1, mode="nearest")


def _turned(degrees: float) -> Change:
    return lambda pixels: ndimage.rotate(pixels.astype(float), degrees, reshape=False, order=1, mode="nearest")


MILD: Mapping[str, Change] = {
    "JPEG 30": _jpeg(30), "noise 10": _noise(10), "moved 1 px": _moved(1), "reduced 2": _resized(2),
}  # fmt: skip
MORE: Mapping[str, Change] = {
    "JPEG 10": _jpeg(10), "noise 25": _noise(25), "reduced 4": _resized(4), "moved 2 px": _moved(2),
    "moved 4 px": _moved(4), "turned 1": _turned(1), "turned 3": _turned(3),
    "+30": lambda pixels: pixels + 30.0, "x 1.3": lambda pixels: 1.3 * pixels,
    "gamma 0.8": lambda pixels: 255 * (pixels / 255) ** 0.8, "gamma 0.6": lambda pixels: 255 * (pixels / 255) ** 0.6,
    "mirrored": lambda pixels: pixels[:, ::-1].astype(float),
}  # fmt: skip


def _highest(dataset: Dataset) -> dict[str, float]:
    """The highest correlation of each kind of pair."""
    looks = dataset_looks(dataset)
    thumbnails = np.stack([one.thumbnail for one in looks])
    digests, patients, splits = (
        np.array(values)
        for values in zip(
            *((a.digest, b.patient, b.split) for a, b in zip(looks, dataset.records, strict=True)), strict=True
        )
    )
    of_one, over_splits = patients[:, None] == patients, splits[:, None] != splits
    correlations = np.where(digests[:, None] == digests, -1, thumbnails @ thumbnails.T)
    kinds = {"other patients, splits": ~of_one & over_splits, "other patients": ~of_one, "one patient": of_one}
    return {name: round(float(correlations[chosen].max()), 4) for name, chosen in kinds.items() if chosen.any()}


def _found(dataset: Dataset) -> dict[str, float]:
    """The share of the validation images that are near-copies of what they were, by change."""
    shares = {}
    images = [dataset.pixels(record) for record in dataset.select("valid")]
    for name, change in (MILD | MORE).items():
        changed = [np.clip(np.round(change(pixels)), 0, 255).astype(np.uint8) for pixels in images]
        alike = [thumbnail(a) @ thumbnail(b) > ALIKE for a, b in zip(images, changed, strict=True)]
        shares[name] = round(float(np.mean(alike)), 3)
    return shares


def _cost(images: int) -> dict[str, float]:
    """Seconds of processor and the most MB that the search takes."""
    groups, rng = [], np.random.default_rng(0)
    for split, share in enumerate((0.8, 0.1, 0.1)):
        values = rng.normal(size=(round(share * images), SIDE**2)).astype(np.float32)
        values /= np.linalg.norm(values, axis=1, keepdims=True)
        groups.append([Look(f"{split}-{n}", f"{split}-{n}", row) for n, row in enumerate(values)])
    start = time.process_time()
    tracemalloc.start()
    near_copies(groups)
    peak = tracemalloc.get_traced_memory()[1]
    return {"images": images, "processor_s": round(time.process_time() - start, 1), "mb": round(peak / 1e6)}


def main() -> int:
    """The exit status, after the figures have been printed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="*", type=Path)
    parser.add_argument("--images", type=int, default=0)
    options, missed = parser.parse_args(), False
    for dataset in map(read_dataset, options.datasets):
        highest, found = _highest(dataset), _found(dataset)
        print(json.dumps({"dataset": dataset.name, "highest": highest, "found": found}))
        missed |= highest["other patients"] > ALIKE or any(found[name] < 1 for name in MILD)
    if options.images:
        print(json.dumps(_cost(options.images)))
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())

"""What the parts on disk of an evaluation add up to, by method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsr.atomic import replacing
from latentsr.evaluation.measure import THUMB, Measured, Work, sorted_table, tidy_rows
from latentsr.evaluation.plan import Plan
from latentsr.parts import Part, Parts

MAPS = "maps.npz"
GALLERY = "lr_thumbs"


@dataclass(frozen=True)
class Results:
    """What the parts of one dataset add up to, by method, HR's own among them; images in the order of the records."""

    work: Work
    parts: tuple[Part, ...]
    names: tuple[str, ...]
    gallery: tuple[Part, ...] = ()

    def other_thumbs(self) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """Ids and LR thumbnails (others, pixels) of the split's images that were not measured."""
        ids = tuple(id for part in self.gallery for id in part.ids)
        none = np.zeros((0, THUMB**2), np.float32)
        return ids, np.concatenate([none, *(part[GALLERY] for part in self.gallery)]).astype(np.float32)

    def table(self) -> pd.DataFrame:
        """The dataset's tidy rows."""
        records = {record.id: record for record in self.work.records}
        return sorted_table(
            [
                tidy_rows(self.work.dataset, [records[id] for id in part.ids], name, measured(part, number))
                for part in self.parts
                for number, name in enumerate(self.names)
            ]
        )

    def thumbs(self, method: str) -> NDArray[np.float32]:
        """LR thumbnails (images, pixels), in the order of the records."""
        number = self.names.index(method)
        found = {
            id: row for part in self.parts for id, row in zip(part.ids, measured(part, number).thumbs, strict=True)
        }
        return np.stack([found[record.id] for record in self.work.records])

    def sets(self, method: str) -> dict[str, NDArray[np.float32]]:
        """What the set measures need, of all images together; only what all of them have."""
        number = self.names.index(method)
        each = [measured(part, number).sets for part in self.parts]
        keys = [key for key in each[0] if all(key in one for one in each)]
        return {key: np.concatenate([one[key] for one in each]) for key in keys}

    def maps(self, method: str) -> NDArray[np.float64]:
        """(2, rows, columns): share of the images hallucinated and lost at each pixel, of the commonest image size."""
        number = self.names.index(method)
        each = [(len(part.ids), measured(part, number).maps) for part in self.parts]
        counts: dict[tuple[int, ...], int] = {}
        for images, one in each:
            counts[one.shape] = counts.get(one.shape, 0) + images
        shape = max(counts, key=lambda one: (counts[one], one))
        total = sum((one.astype(np.float64) for _, one in each if one.shape == shape), np.zeros(shape))
        return np.asarray(total / counts[shape])


def keep(parts: Parts, ids: Sequence[str], found: Mapping[str, Measured], names: Sequence[str]) -> None:
    """Writes a batch's measures as one part, whole or not at all."""
    arrays: dict[str, NDArray[Any]] = {}
    for number, name in enumerate(names):
        one = found[name]
        arrays |= {
            f"{number}.names": np.array(one.names, dtype=np.str_),
            f"{number}.values": one.values,
            f"{number}.thumbs": one.thumbs,
            f"{number}.maps": one.maps,
        } | {f"{number}.sets.{key}": values for key, values in one.sets.items()}
    parts.write(ids, arrays)


def measured(part: Part, number: int) -> Measured:
    """What a part holds of its method of that number."""
    names, values, thumbs, maps = (part[f"{number}.{key}"] for key in ("names", "values", "thumbs", "maps"))
    prefix = f"{number}.sets."
    sets = {key.removeprefix(prefix): value for key, value in part.arrays.items() if key.startswith(prefix)}
    return Measured(tuple(map(str, names)), values, thumbs, maps, sets)  # type: ignore[arg-type]


def write_maps(plan: Plan, found: Sequence[Results], out: Path) -> None:
    """Writes `maps.npz`: `DATASET NUMBER.METHOD NUMBER`, (2, rows, columns), where there is a reference autoencoder."""
    if plan.around.reference is None:
        return
    maps = {
        f"{dataset}.{number}": one.maps(name).astype(np.float32)
        for dataset, one in enumerate(found)
        for number, name in enumerate(plan.names)
    }
    with replacing(out / MAPS) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **maps)

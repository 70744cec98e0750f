"""What the parts on disk of an evaluation add up to, by method."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsr.atomic import replacing
from latentsr.bench.evaluation_plan import EvaluationPlan
from latentsr.bench.measure import THUMB, Measured, Work
from latentsr.bench.roundtrip import Arrays, median_seconds
from latentsr.bench.sets import REFERENCE, array_order
from latentsr.data.records import commonest
from latentsr.job import Part, Parts
from latentsr.names import HR, LATENTS, MAPS
from latentsr.stats.table import sorted_table, tidy_rows

GALLERY = "lr_thumbs"


@dataclass(frozen=True)
class Results:
    """What the parts of one dataset add up to, by method, HR's own among them; images in the order of the records.

    Each is read from the parts, one after the other, when it is asked for: all that was kept of a few thousand images
    (thumbnails, patches, features and maps of every method) would take gigabytes.
    """

    work: Work
    parts: Parts
    names: tuple[str, ...]
    gallery: Parts

    def table(self) -> pd.DataFrame:
        """The dataset's tidy rows."""
        patients, dataset = {record.id: record.patient for record in self.work.records}, self.work.dataset.name
        return sorted_table(
            tidy_rows(dataset, {id: patients[id] for id in part.ids}, name, *_values(part, number))
            for part in self._each("names", "values")
            for number, name in enumerate(self.names)
        )

    def thumbs(self) -> dict[str, NDArray[np.float32]]:
        """LR thumbnails (images, pixels) by method."""
        return self._by_record("thumbs")

    def other_thumbs(self) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """Ids and LR thumbnails (others, pixels) of the split's images that were not measured."""
        others = self.gallery.read()
        none = np.zeros((0, THUMB**2), np.float32)
        thumbs = np.concatenate([none, *(part[GALLERY] for part in others)]).astype(np.float32)
        return tuple(id for part in others for id in part.ids), thumbs

    def set_names(self) -> list[str]:
        """The names of what set measures need, as all images and every method have them, finer levels first."""
        prefix = _key(0, "sets.")
        names = (name.removeprefix(prefix) for name in self.parts.names() if name.startswith(prefix))
        return sorted((name for name in names if not name.startswith(REFERENCE)), key=array_order)

    def sets(self, name: str) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32]]:
        """What set measures need under that name, of all images together: by method, and what they are compared with.

        Patches of methods, HR among them, are compared with HR's at other places; features with HR's own.
        """
        methods = self._by_record(f"sets.{name}")
        if f"{_key(0, 'sets.')}{REFERENCE}/{name}" not in self.parts.names():
            return methods, methods[HR]
        return methods, self._by_record(f"sets.{REFERENCE}/{name}", (HR,))[HR]

    def maps(self) -> dict[str, NDArray[np.float64]]:
        """(2, rows, columns) by method: share of images, of the commonest size, hallucinated and lost at each pixel."""
        mapped = commonest(self.work.records)
        totals = np.zeros((len(self.names) - 1, 2, mapped[0].rows, mapped[0].columns))
        for part in self._each("maps"):
            maps = np.stack([part[_key(number, "maps")] for number in range(1, len(self.names))])
            if maps.shape == totals.shape:
                totals += maps
        return dict(zip(self.names[1:], totals / len(mapped), strict=True))

    def seconds(self) -> tuple[dict[str, float], dict[str, Any]]:
        """Median seconds an image by method, and what they were measured on; see `median_seconds`."""
        names, keys = self.names[1:], [_key(number, "seconds") for number in range(1, len(self.names))]
        parts = self.parts.each({"device", "setup", *keys}.__contains__)
        medians, setup = median_seconds(parts, lambda part: [float(part[key]) for key in keys])
        return dict(zip(names, medians, strict=True)), setup

    def _each(self, *kinds: str) -> Iterator[Part]:
        """The parts, one at a time, with these of their arrays alone."""
        wanted = {_key(number, kind) for number in range(len(self.names)) for kind in kinds}
        return self.parts.each(wanted.__contains__)

    def _by_record(self, kind: str, names: Sequence[str] | None = None) -> dict[str, NDArray[np.float32]]:
        """One array of each method, or of these, with a row a record."""
        rows = {record.id: row for row, record in enumerate(self.work.records)}
        found: dict[str, NDArray[np.float32]] = {}
        for part in self._each(kind):
            at = [rows[id] for id in part.ids]
            for name in names or self.names:
                values = part[_key(self.names.index(name), kind)]
                found.setdefault(name, np.empty((len(rows), *values.shape[1:]), np.float32))[at] = values
        return found


def _key(number: int, kind: str) -> str:
    """The name of an array of the method of that number in a part."""
    return f"{number}.{kind}"


def _values(part: Part, number: int) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """The names of a method's measures in a part, and their values (images, measures)."""
    names, values = (part[_key(number, kind)] for kind in ("names", "values"))
    return tuple(map(str, names)), values.astype(np.float64)


def keep(parts: Parts, ids: Sequence[str], found: Mapping[str, Measured], names: Sequence[str], setup: Arrays) -> None:
    """Writes a batch's measures as one part, whole or not at all; `setup` says on what they were timed."""
    arrays: dict[str, NDArray[Any]] = dict(setup)
    for number, name in enumerate(names):
        one = found[name]
        kept = {"names": np.array(one.names, dtype=np.str_), "values": one.values, "thumbs": one.thumbs}
        kept |= {"maps": one.maps, "seconds": np.array(one.seconds)}
        kept |= {f"sets.{key}": values for key, values in one.sets.items()}
        arrays |= {_key(number, kind): values for kind, values in kept.items()}
    parts.write(ids, arrays)


def keep_latents(folder: Path, dataset: str, ids: Sequence[str], found: Mapping[str, Measured]) -> None:
    """Writes the latents that samplers drew, `folder`/DATASET/METHOD/ID.npy, (channels, rows, columns), each whole."""
    for name, one in found.items():
        for id, latents in zip(ids, () if one.latents is None else one.latents, strict=one.latents is not None):
            with replacing(folder / dataset / name / f"{id}.npy") as temporary, temporary.open("wb") as file:
                np.save(file, latents, allow_pickle=False)


def latent_facts(plan: EvaluationPlan) -> dict[str, Any]:
    """What `keep_latents` wrote: the type of its numbers, and each method with its autoencoder's name and hash."""
    methods = {one.name: one.autoencoder for work in plan.works for one in work.methods if one.latents}
    about = {name: {"name": one.spec.name, "hash": one.hash} for name, one in methods.items() if one is not None}
    return {"dtype": "float32", "files": f"{LATENTS}/DATASET/METHOD/ID.npy", "methods": about}


def cost_rows(plan: EvaluationPlan, found: Sequence[Results]) -> pd.DataFrame:
    """One row per dataset and method: what it took to restore an image.

    `evaluations` of the network (for each tile), 0 without one, and `seconds` of wall time, the median over batches
    (and seeds), on `device` with `threads`, `batch` images at a time; both empty where the images are files. Seconds do
    not compare across machines, nor with those of another run: other threads measure meanwhile.
    """
    rows = []
    for one in found:
        seconds, setup = one.seconds()
        evaluations = {method.name: method.evaluations for method in one.work.methods}
        for name, seeds in plan.members.items():
            made = evaluations[seeds[0]]
            median = float(np.median([seconds[seed] for seed in seeds]))
            own = {"evaluations": made, "seconds": None if made is None else median}
            rows.append({"dataset": one.work.dataset.name, "method": name, **own, **setup})
    return pd.DataFrame(rows).astype({"evaluations": "Int64", "seconds": "float64"})


def write_maps(plan: EvaluationPlan, found: Sequence[Results], out: Path) -> None:
    """Writes `maps.npz`: `DATASET NUMBER.METHOD NUMBER`, (2, rows, columns), where there is a reference autoencoder."""
    if plan.around.reference is None:
        return
    maps = {
        f"{dataset}.{number}": np.mean([shares[seed] for seed in seeds], axis=0).astype(np.float32)
        for dataset, shares in enumerate(one.maps() for one in found)
        for number, seeds in enumerate(plan.members.values())
    }
    with replacing(out / MAPS) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **maps)

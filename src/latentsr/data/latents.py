"""The latent cache: one array per split and role, read by memory map, with a record of what it was made from.

Roles: `hr` (latent of the HR image), `latent-up` (latent of the bicubically enlarged LR), `latent-native` (latent of
the LR itself), `pixels` (the LR image, in [-1, 1]) and, outside the training split, `image` (the HR image, to score
against) and `lr` (the LR image in [0, 1], where it is a file of its own). Latents are unscaled posterior means, or
draws if asked for; per-channel means and sds of the training split stand in the manifest, with the SHA-256 of every
array and the manifest's own digest.
"""

import hashlib
import os
import tokenize
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from latentsr.atomic import replacing
from latentsr.autoencoders.encoding import encode_roles, to_network
from latentsr.autoencoders.network import FrozenAutoencoder
from latentsr.autoencoders.protocol import Autoencoder, AutoencoderSpec
from latentsr.config import manifest, read_json, read_signed_json, sha256_json
from latentsr.data.duplicates import pixel_digest
from latentsr.data.records import Dataset, DatasetImage, check_names, common_size, low_resolution
from latentsr.degrade import Degradation
from latentsr.device import image_generator
from latentsr.errors import InputError, OptionError, StaleError
from latentsr.job import JobFolder, Progress, silent
from latentsr.names import CONDITIONS, first_few
from latentsr.workers import Pool, Workers

Roles = Callable[[Sequence[DatasetImage], Tensor], dict[str, Tensor]]  # of records and their HR images
MANIFEST, PARTIAL, AUTOENCODER = "manifest.json", "manifest.partial.json", "autoencoder"
NAMED = 5  # rows in a message
# All that numpy raises at an array whose header is cut or altered.
BROKEN = (ValueError, EOFError, OverflowError, SyntaxError, tokenize.TokenError)
BLOCK = 2**24  # bytes that are read at a time


@dataclass(frozen=True)
class LatentCache:
    """A finished cache; arrays open in constant time."""

    root: Path
    manifest: Mapping[str, Any]

    def array(self, split: str, role: str) -> np.ndarray:
        """The read-only memory map (images, channels, rows, columns) of one role."""
        path = self.root / split / f"{role}.npy"
        if not path.is_file():
            raise InputError(
                f"{path}: not in the cache; run 'encode' with the condition {role} or on a set with '{split}'"
            )
        try:
            array = np.load(path, mmap_mode="r")
        except BROKEN as error:
            raise self._altered(path) from error
        if array.ndim != 4 or len(array) != len(self.ids(split)) or array.dtype != np.float32:
            raise self._altered(path)
        return array

    def has(self, split: str, role: str) -> bool:
        """Whether there is an array of this role."""
        return (self.root / split / f"{role}.npy").is_file()

    def check(self, arrays: Iterable[tuple[str, str]]) -> None:
        """Raises InputError unless these arrays, (split, role) each, have the SHA-256 of the manifest and are finite.

        Each array is read once: about two seconds a gigabyte on one core, if the disk is as fast.
        """
        for split, role in arrays:
            path, array = self.root / split / f"{role}.npy", self.array(split, role)
            hashed, spoilt = hashlib.sha256(_header(path)), []
            for start, block in _blocks(array):
                hashed.update(block.tobytes())
                spoilt += [start + int(row) for row in np.flatnonzero(~np.isfinite(block).all(axis=(1, 2, 3)))]
            if hashed.hexdigest() != self.manifest.get("sha256", {}).get(f"{split}/{role}"):
                raise self._altered(path)
            if spoilt:
                rows = first_few(list(map(str, spoilt)), NAMED)
                raise InputError(
                    f"{path}: NaN or infinity in {len(spoilt)} of {len(array)} rows ({rows}; their images stand in "
                    f"{MANIFEST} under ids.{split}); remove {self.root} and run 'encode' again, on a CPU in float32"
                )

    def _altered(self, path: Path) -> InputError:
        return InputError(f"{path}: cut off or altered since 'encode'; remove {self.root} and run 'encode' again")

    def ids(self, split: str) -> list[str]:
        """The image ids of a split, row by row."""
        return list(self.manifest["ids"].get(split, ()))

    def datasets(self, split: str) -> list[str]:
        """The dataset of each row of a split."""
        return list(self.manifest["datasets"].get(split, ()))

    @property
    def digests(self) -> tuple[str, ...]:
        """The `pixel_digest` of each training image; empty of caches made by older versions."""
        return tuple(self.manifest.get("digests", ()))

    @property
    def spacing(self) -> tuple[float, float] | None:
        """The smallest and largest pixel spacing of the HR training images in mm; None where no image says it."""
        return tuple(self.manifest["spacing"]) if "spacing" in self.manifest else None

    @property
    def statistics(self) -> Mapping[str, Mapping[str, list[float]]]:
        """Per role (and `residual`, hr minus latent-up): {"mean": [...], "sd": [...]}, one number per channel."""
        return dict(self.manifest["statistics"])

    @property
    def autoencoder(self) -> str | Path:
        """The argument of `load_autoencoder`: a name, or the folder of the copy in the cache."""
        name = str(self.manifest["autoencoder_name"])
        return self.root / AUTOENCODER if name == AUTOENCODER else name

    @property
    def hash(self) -> str:
        """The digest of autoencoder, data and degradation."""
        return str(self.manifest["key"])


def open_cache(root: str | Path) -> LatentCache:
    """The finished cache at `root`."""
    path = Path(root) / MANIFEST
    if not path.is_file():
        unfinished = (Path(root) / PARTIAL).is_file()
        raise InputError(
            f"{root}: {'unfinished; run the same' if unfinished else 'no cache; run'} 'encode'{' again' * unfinished}"
        )
    content = read_json(path)
    if not isinstance(content, dict) or not content.keys() >= {"key", "ids", "datasets", "statistics"}:
        raise InputError(f"{path}: is that of no latent cache; expected a folder made by 'latentsr encode'")
    return LatentCache(Path(root), read_signed_json(path))


def fill_cache(
    datasets: Sequence[Dataset],
    autoencoder: Autoencoder,
    degradation: Degradation,
    out: Path,
    *,
    conditions: Sequence[str] = ("latent-up", "pixels"),
    batch: int = 16,
    device: str = "cpu",
    draw: int | None = None,
    released: Path | None = None,
    workers: Workers = Workers(),
    progress: Progress = silent,
) -> LatentCache:
    """The cache of the datasets' latents at `out`; an interrupted one goes on, a finished one is returned.

    Of several `workers` each encodes batches, and this process writes them in their order.

    With `draw`, a seed, latents are one draw from the posterior each, as the study's of SD-VAE and MedVAE are. With
    `released`, they are read from a folder of the study's, see `released_latents`.

    StaleError for a cache of another autoencoder, data or degradation, and for an interrupted one whose finished rows
    were altered; InputError for HR files that changed since they were prepared.
    """
    if degradation.noise:
        raise OptionError(f"degradation {degradation.text}: a cache has no noise; name it among those of a training")
    if unknown := set(conditions) - set(CONDITIONS):
        raise OptionError(f"condition {', '.join(sorted(unknown))}: expected some of {', '.join(CONDITIONS)}")
    rows = _rows(datasets)
    facts = {
        "autoencoder": autoencoder.hash,
        "data": [dataset.hash for dataset in datasets],
        "degradation": degradation.text,
        "conditions": list(conditions),
        "size": list(common_size(datasets[0].records)),
        "format": 1,
    }
    facts |= {} if draw is None else {"draw": draw}
    roles: Roles = partial(
        _roles, autoencoder=autoencoder, degradation=degradation, conditions=conditions, device=device, draw=draw
    )
    if released is not None:
        roles, facts["released"] = released_latents(released, datasets, autoencoder, conditions)
    key = sha256_json(facts)
    folder = JobFolder(
        out, "latent cache", MANIFEST, frozenset(), "autoencoder, dataset, degradation or condition", shared=True,
        fix=f"remove the folder {out} and run 'encode' again",
    )  # fmt: skip
    folder.claim(key)
    if folder.whole:
        return open_cache(out)
    with workers.pool(device) as pool:
        hashes = _fill(rows, roles, folder, key, batch, pool, progress)
    folder.finish(_content(out, autoencoder, rows, conditions, {"key": key, **facts, "sha256": hashes}))
    folder.drop_parts()
    return open_cache(out)


def _content(
    out: Path,
    autoencoder: Autoencoder,
    rows: Mapping[str, Sequence[DatasetImage]],
    conditions: Sequence[str],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """The record of filled arrays; the autoencoder's files are written beside them."""
    # The autoencoder's files lie in the cache, so that a training and its model need nothing else.
    if autoencoder.spec.has_weights and not (out / AUTOENCODER).is_dir():
        with replacing(out / AUTOENCODER) as temporary:
            autoencoder.save(temporary)
    arrays = {role: np.load(out / "train" / f"{role}.npy", mmap_mode="r") for role in ("hr", *conditions)}
    statistics = {role: _moments(array) for role, array in arrays.items()}
    if "latent-up" in conditions:
        statistics["residual"] = _moments(arrays["hr"], arrays["latent-up"])
    spacings = [side for _, record in rows["train"] for side in record.spacing or ()]
    return manifest(
        **facts,
        **({"spacing": [min(spacings), max(spacings)]} if spacings else {}),
        spec=autoencoder.spec,
        autoencoder_name=AUTOENCODER if autoencoder.spec.has_weights else autoencoder.spec.name,
        ids={split: [record.id for _, record in own] for split, own in rows.items()},
        datasets={split: [dataset.name for dataset, _ in own] for split, own in rows.items()},
        digests=[pixel_digest(dataset.pixels(record)) for dataset, record in rows["train"]],
        statistics=statistics,
    )


def _rows(datasets: Sequence[Dataset]) -> dict[str, list[DatasetImage]]:
    """The images of each split; InputError for sets that make no cache together, or files that changed."""
    check_names(datasets)
    pairs = [(dataset, record) for dataset in datasets for record in dataset.records]
    common_size([record for _, record in pairs])
    rows = {split: [pair for pair in pairs if pair[1].split == split] for split in sorted({r.split for _, r in pairs})}
    if "train" not in rows:
        raise InputError(f"no images in split 'train'; there are {', '.join(rows)}: statistics need a training split")
    for dataset in datasets:
        dataset.check(dataset.records)
    return rows


def _fill(
    rows: Mapping[str, Sequence[DatasetImage]],
    roles: Roles,
    folder: JobFolder,
    key: str,
    batch: int,
    pool: Pool,
    progress: Progress,
) -> dict[str, str]:
    """Fills what is not filled; the SHA-256 of every array's file, by split/role.

    Rows are written batch by batch; after each, how many are finished and the SHA-256 up to them are noted.
    """
    state = folder.noted() or {"key": key, "done": {}, "sha256": {}}
    hashes = {name: _hash_of_finished(folder, name, state) for name in state["sha256"]}
    total = sum(map(len, rows.values()))
    for split, pairs in rows.items():
        starts = range(state["done"].get(split, 0), len(pairs), batch)
        work = partial(_encoded, pairs, roles, batch, split == "train")
        for start, made in pool.in_order(work, starts, name=f"{split}, images from {{}}".format):
            progress(sum(state["done"].values()), total)
            values = made()
            if not hashes:
                folder.note(state)  # before the first array, to claim the folder
            for role, written in values.items():
                path = folder.root / split / f"{role}.npy"
                if start == 0:
                    with replacing(path) as temporary:
                        shape = (len(pairs), *written.shape[1:])
                        open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape).flush()
                        # Take the disk space of a file with holes: a full disk under a memory map kills the process.
                        if hasattr(os, "posix_fallocate"):
                            with temporary.open("rb+") as file:
                                os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
                    hashes[f"{split}/{role}"] = hashlib.sha256(_header(path))
                array = open_memmap(path, mode="r+")
                array[start : start + len(written)] = written
                array.flush()
                hashes[f"{split}/{role}"].update(written.tobytes())
            state["done"][split] = min(start + batch, len(pairs))
            state["sha256"] = {name: hashed.hexdigest() for name, hashed in hashes.items()}
            folder.note(state)
    progress(total, total)
    return dict(state["sha256"])


def _encoded(
    pairs: Sequence[DatasetImage], roles: Roles, batch: int, training: bool, start: int
) -> dict[str, np.ndarray]:
    """The arrays to keep of the images from `start` on, by role."""
    part = pairs[start : start + batch]
    images = torch.from_numpy(np.stack([dataset.image(record) for dataset, record in part]))[:, None]
    values = roles(part, images) | ({} if training else {"image": images})
    if not training and all(record.lr for _, record in pairs):
        files = [dataset.lr_image(record) for dataset, record in part]
        values["lr"] = torch.from_numpy(np.stack(files))[:, None]
    return {role: np.ascontiguousarray(tensor.cpu().numpy()) for role, tensor in values.items()}


@torch.inference_mode()
def _roles(
    part: Sequence[DatasetImage],
    images: Tensor,
    autoencoder: Autoencoder,
    degradation: Degradation,
    conditions: Sequence[str],
    device: str,
    draw: int | None,
) -> dict[str, Tensor]:
    """The latents of HR images (batch, 1, rows, columns) in [0, 1] and of their LR images, by role."""
    generators = [image_generator(draw or 0, record.id) for _, record in part]

    def encode(images: Tensor) -> Tensor:
        if draw is None:
            latents = autoencoder.encode(images)
        elif isinstance(autoencoder, FrozenAutoencoder):
            latents = autoencoder.draw(images, generators)
        else:
            raise OptionError(f"{autoencoder.spec.name}: has no posterior to draw from; take its mean")
        if not torch.isfinite(latents).all():
            raise InputError(f"autoencoder {autoencoder.spec.name} gave non-finite latents in {latents.dtype}")
        return latents.float()

    hr = to_network(images.to(device))
    lr = degradation.apply(hr)
    if any(record.lr for _, record in part):
        each = zip(part, images.to(device).split(1), strict=True)
        lr = to_network(torch.cat([low_resolution(dataset, [one], degradation, unit) for (dataset, one), unit in each]))
    return {"hr": encode(hr), **encode_roles(conditions, lr, degradation.scale, encode)}


def released_latents(
    folder: Path, datasets: Sequence[Dataset], autoencoder: Autoencoder, conditions: Sequence[str]
) -> tuple[Roles, str]:
    """What reads the study's released latents of a batch by role, and a digest of their names and sizes.

    The folder holds {train,valid,test}_latent/ with hr_N.npy and lr_N.npy, (channels, rows, columns), and perhaps
    filenames.txt, whose line N (from 0) is the stem of pair N; without it N is the place of an id among the sorted ids
    of its split.

    Raises:
        OptionError: several datasets, or other conditions than `latent-native`.
        InputError: latents whose counts differ, images without a latent, or latents of another autoencoder's shape.
    """
    if len(datasets) != 1 or tuple(conditions) != ("latent-native",):
        raise OptionError("released latents belong to one dataset, and are of the condition latent-native: set both so")
    places: dict[str, tuple[Path, int]] = {}
    listing: list[tuple[str, int]] = []
    for split in sorted({record.split for record in datasets[0].records}):
        inner = folder / f"{split}_latent"
        counts = {role: len(list(inner.glob(f"{role}_*.npy"))) for role in ("hr", "lr")}
        ids = sorted(record.id for record in datasets[0].records if record.split == split)
        names = ids
        if (inner / "filenames.txt").is_file():
            names = (inner / "filenames.txt").read_text(encoding="utf-8").split("\n")
            names = [Path(name.strip()).stem for name in names if name.strip()]
        if not counts["hr"] or {*counts.values(), len(names)} != {counts["hr"]}:
            raise InputError(
                f"{inner}: {counts['hr']} files hr_N.npy, {counts['lr']} lr_N.npy and {len(names)} names; expected as "
                "many of each, as released"
            )
        if lacking := set(ids) - set(names):
            raise InputError(f"{inner}: no latents of {len(lacking)} of {len(ids)} images of split {split}")
        places |= {name: (inner, number) for number, name in enumerate(names)}
        files = sorted(inner.glob("*.npy"))
        listing += [(file.relative_to(folder).as_posix(), file.stat().st_size) for file in files]

    return partial(_released, folder, places, autoencoder.spec), sha256_json(listing)


def _released(
    folder: Path,
    places: Mapping[str, tuple[Path, int]],
    spec: AutoencoderSpec,
    part: Sequence[DatasetImage],
    images: Tensor,
) -> dict[str, Tensor]:
    """The latents of a batch from the files of a release; InputError for those that are no such files."""
    found: dict[str, Tensor] = {}
    for role, name in (("hr", "hr"), ("latent-native", "lr")):
        files = [places[record.id][0] / f"{name}_{places[record.id][1]}.npy" for _, record in part]
        try:
            arrays = [np.load(file, allow_pickle=False).astype(np.float32) for file in files]
            found[role] = torch.from_numpy(np.stack(arrays))
        except (OSError, *BROKEN) as error:
            raise InputError(f"{files[0].parent}: a latent is missing, cut off or of another shape") from error
    wanted = (spec.latent_channels, *(side // spec.factor for side in images.shape[-2:]))
    if tuple(found["hr"].shape[1:]) != wanted:
        raise InputError(f"{folder}: latents of {tuple(found['hr'].shape[1:])}, {spec.name} makes {wanted}")
    return found


def _hash_of_finished(folder: JobFolder, name: str, state: Mapping[str, Any]) -> Any:
    """The running SHA-256 of an array's finished rows, read from its file; StaleError if it is not that noted."""
    path = folder.root / f"{name}.npy"
    try:
        finished = np.load(path, mmap_mode="r")[: state["done"][name.partition("/")[0]]]
        hashed = hashlib.sha256(_header(path))
    except (OSError, IndexError, *BROKEN) as error:
        raise StaleError(f"{path}: missing or altered, and its rows are noted as finished; {folder.fix}") from error
    for _, block in _blocks(finished):
        hashed.update(block.tobytes())
    if hashed.hexdigest() != state["sha256"][name]:
        raise StaleError(f"{path}: altered, its finished rows are not those that were written; {folder.fix}")
    return hashed


def _header(path: Path) -> bytes:
    """The bytes of an array's file before its values."""
    with path.open("rb") as file:
        return file.read(np.load(path, mmap_mode="r").offset)


def _blocks(array: np.ndarray) -> Iterable[tuple[int, np.ndarray]]:
    """Successive rows in memory, some MB of them, with the number of the first."""
    rows = max(1, BLOCK // max(1, array[:1].nbytes))
    return ((start, np.array(array[start : start + rows])) for start in range(0, len(array), rows))


def _moments(array: np.ndarray, minus: np.ndarray | None = None) -> dict[str, list[float]]:
    """Mean and sd of each channel over a whole array, or over its difference to another; float64, bounded memory."""
    total, squares, count = np.zeros(array.shape[1]), np.zeros(array.shape[1]), 0
    for start, values in _blocks(array):
        block = values.astype(np.float64)
        if minus is not None:
            block -= minus[start : start + len(block)]
        total += block.sum(axis=(0, 2, 3))
        squares += np.square(block).sum(axis=(0, 2, 3))
        count += block.shape[0] * block.shape[2] * block.shape[3]
    mean = total / count
    sd = np.sqrt(np.maximum(squares / count - mean**2, 1e-12))
    return {"mean": mean.tolist(), "sd": sd.tolist()}

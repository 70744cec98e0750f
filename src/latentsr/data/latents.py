"""The latent cache: one array per split and role, read by memory map, with a record of what it was made from.

Roles: `hr` (latent of the HR image), `latent-up` (latent of the bicubically enlarged LR), `latent-native` (latent of
the LR itself), `pixels` (the LR image, in [-1, 1]) and, outside the training split, `image` (the HR image, to score
against). Latents are unscaled posterior means; per-channel means and sds of the training split stand in the manifest,
with the SHA-256 of every array and the manifest's own digest.
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
from latentsr.autoencoders.protocol import Autoencoder
from latentsr.config import manifest, read_json, read_signed_json, sha256_json
from latentsr.data.duplicates import pixel_digest
from latentsr.data.records import Dataset, DatasetImage, check_names, common_size, low_resolution
from latentsr.degrade import Degradation, enlarge
from latentsr.errors import InputError, OptionError, StaleError
from latentsr.job import JobFolder
from latentsr.names import first_few

Encode = Callable[[Tensor], Tensor]
Progress = Callable[[int, int], None]
MANIFEST, PARTIAL, AUTOENCODER = "manifest.json", "manifest.partial.json", "autoencoder"
NAMED = 5  # rows in a message
# All that numpy raises at an array whose header is cut or altered.
BROKEN = (ValueError, EOFError, OverflowError, SyntaxError, tokenize.TokenError)
BLOCK = 2**24  # bytes that are read at a time

_MAKERS: Mapping[str, Callable[[Tensor, int, Encode], Tensor]] = {
    "latent-up": lambda lr, scale, encode: encode(enlarge(lr, scale)),
    "latent-native": lambda lr, scale, encode: encode(lr),
    "pixels": lambda lr, scale, encode: lr,
}
CONDITIONS = tuple(_MAKERS)


def encode_roles(roles: Sequence[str], lr: Tensor, scale: int, encode: Encode) -> dict[str, Tensor]:
    """Each role of LR images (batch, 1, rows, columns) in [-1, 1], unscaled.

    `latent-native` is the published way of arXiv 2604.12152's code.
    """
    return {role: _MAKERS[role](lr, scale, encode) for role in roles}


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
    progress: Progress = lambda done, total: None,
) -> LatentCache:
    """The cache of the datasets' latents at `out`; an interrupted one goes on, a finished one is returned.

    StaleError for a cache of another autoencoder, data or degradation, and for an interrupted one whose finished rows
    were altered; InputError for HR files that changed since they were prepared.
    """
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
    key = sha256_json(facts)
    folder = JobFolder(
        out, "latent cache", MANIFEST, frozenset(), "autoencoder, dataset, degradation or condition", shared=True,
        fix=f"remove the folder {out} and run 'encode' again",
    )  # fmt: skip
    folder.claim(key)
    if folder.whole:
        return open_cache(out)
    roles = partial(_roles, autoencoder=autoencoder, degradation=degradation, conditions=conditions, device=device)
    hashes = _fill(rows, roles, folder, key, batch, progress)
    # The autoencoder's files lie in the cache, so that a training and its model need nothing else.
    if autoencoder.spec.has_weights and not (out / AUTOENCODER).is_dir():
        with replacing(out / AUTOENCODER) as temporary:
            autoencoder.save(temporary)
    arrays = {role: np.load(out / "train" / f"{role}.npy", mmap_mode="r") for role in ("hr", *conditions)}
    statistics = {role: _moments(array) for role, array in arrays.items()}
    if "latent-up" in conditions:
        statistics["residual"] = _moments(arrays["hr"], arrays["latent-up"])
    content = manifest(
        key=key,
        **facts,
        spec=autoencoder.spec,
        autoencoder_name=AUTOENCODER if autoencoder.spec.has_weights else autoencoder.spec.name,
        ids={split: [record.id for _, record in own] for split, own in rows.items()},
        datasets={split: [dataset.name for dataset, _ in own] for split, own in rows.items()},
        digests=[pixel_digest(dataset.pixels(record)) for dataset, record in rows["train"]],
        statistics=statistics,
        sha256=hashes,
    )
    folder.finish(content)
    folder.drop_parts()
    return open_cache(out)


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
    roles: Callable[[Sequence[DatasetImage], Tensor], dict[str, Tensor]],
    folder: JobFolder,
    key: str,
    batch: int,
    progress: Progress,
) -> dict[str, str]:
    """Fills what is not filled; the SHA-256 of every array's file, by split/role.

    Rows are written batch by batch; after each, how many are finished and the SHA-256 up to them are noted.
    """
    state = folder.noted() or {"key": key, "done": {}, "sha256": {}}
    hashes = {name: _hash_of_finished(folder, name, state) for name in state["sha256"]}
    total = sum(map(len, rows.values()))
    for split, pairs in rows.items():
        for start in range(state["done"].get(split, 0), len(pairs), batch):
            progress(sum(state["done"].values()), total)
            part = pairs[start : start + batch]
            images = torch.from_numpy(np.stack([dataset.image(record) for dataset, record in part]))[:, None]
            values = roles(part, images) | ({} if split == "train" else {"image": images})
            if not hashes:
                folder.note(state)  # before the first array, to claim the folder
            for role, tensor in values.items():
                path = folder.root / split / f"{role}.npy"
                if start == 0:
                    with replacing(path) as temporary:
                        shape = (len(pairs), *tensor.shape[1:])
                        open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape).flush()
                        # Take the disk space of a file with holes: a full disk under a memory map kills the process.
                        if hasattr(os, "posix_fallocate"):
                            with temporary.open("rb+") as file:
                                os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
                    hashes[f"{split}/{role}"] = hashlib.sha256(_header(path))
                written = np.ascontiguousarray(tensor.cpu().numpy())
                array = open_memmap(path, mode="r+")
                array[start : start + len(written)] = written
                array.flush()
                hashes[f"{split}/{role}"].update(written.tobytes())
            state["done"][split] = start + len(part)
            state["sha256"] = {name: hashed.hexdigest() for name, hashed in hashes.items()}
            folder.note(state)
    progress(total, total)
    return dict(state["sha256"])


@torch.inference_mode()
def _roles(
    part: Sequence[DatasetImage],
    images: Tensor,
    autoencoder: Autoencoder,
    degradation: Degradation,
    conditions: Sequence[str],
    device: str,
) -> dict[str, Tensor]:
    """The latents of HR images (batch, 1, rows, columns) in [0, 1] and of their LR images, by role."""

    def encode(images: Tensor) -> Tensor:
        latents = autoencoder.encode(images)
        if not torch.isfinite(latents).all():
            raise InputError(f"autoencoder {autoencoder.spec.name} gave non-finite latents in {latents.dtype}")
        return latents.float()

    hr = 2 * images.to(device) - 1
    lr = degradation.apply(hr)
    if any(record.lr for _, record in part):
        each = zip(part, images.to(device).split(1), strict=True)
        lr = 2 * torch.cat([low_resolution(dataset, [one], degradation, unit) for (dataset, one), unit in each]) - 1
    return {"hr": encode(hr), **encode_roles(conditions, lr, degradation.scale, encode)}


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

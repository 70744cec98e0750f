"""BraTS 2023 (GLI, SSA and sets of the same layout): brain MRI with tumour masks, one folder a case.

Source: synapse.org/brats2023. Layout: BraTS-GLI-PPPPP-TTT/BraTS-GLI-PPPPP-TTT-{t1c,t1n,t2f,t2w,seg}.nii.gz. PPPPP is
the patient and TTT the time point: patients, not cases, are split. Mirrors that nest the folder in itself, or hold
folders `...-t2w.nii/` with one .nii inside, are read too.
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from latentsr.data.recipes.recipe import Case, Recipe, Sample, evenly, split_by_shares, to_levels, truncated_levels
from latentsr.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CASE = re.compile(r"BraTS-[A-Za-z]+-\d{5}-\d{3}")  # set, patient, time point
DEPTH = (0.25, 0.75)  # of the volume, within which slices are drawn
# As the study has them: slices of a case, cases of train, valid and test, sides of HR and LR, seed.
SLICES, CASES, HR_SIDE, LR_SIDE, SEED = 20, (200, 35, 36), 256, 64, 42


@dataclass(frozen=True, kw_only=True)
class BraTS(Recipe):
    """BraTS 2023: brain MRI, axial slices of each case, with the tumour as mask."""

    example: ClassVar[str] = "ASNR-MICCAI-BraTS2023-GLI-Challenge-TrainingData/"
    decided: ClassVar[tuple[str, ...]] = ("slices", "choice", "window", "split", "seed", "patients")
    notes: ClassVar[tuple[str, ...]] = ("The patient is PPPPP of the case's name; its time points stay in one split.",)
    published_notes: ClassVar[tuple[str, ...]] = (
        "Cases are split, not patients, as published: time points of one patient may stand in several splits.",
    )
    published_degradation: ClassVar[str] = "lanczos:4"

    sequence: Annotated[Literal["t1c", "t1n", "t2f", "t2w"], "Sequence: t1c, t1n, t2f (FLAIR) or t2w."] = "t2w"
    slices: Annotated[int, "Slices of each case, drawn from the middle half of the volume."] = 20
    choice: Annotated[Literal["even", "random"], "Slices evenly spaced, or drawn with the seed."] = "even"
    window: Annotated[
        Literal["slice", "volume"], "Spread over 16 bits between the least and largest value of the slice or volume."
    ] = "volume"
    masks: Annotated[bool, "Keep the tumour (seg above 0) as mask, where the set has seg files."] = True
    split: Annotated[str, "Shares of the patients in train, valid and test."] = "0.8,0.1,0.1"
    seed: Annotated[int, "Seed of the split and of drawn slices."] = 0
    patients: Annotated[int | None, "At most so many patients, drawn with the seed."] = None
    as_published: Annotated[
        bool,
        "As the study arXiv 2604.12152: 200, 35 and 36 cases by seed 42 (a patient may be in two splits), 20 drawn "
        "slices, 8 bit by truncation, not turned, enlarged to 256, LR a file of 64.",
    ] = False

    def cases(self, source: Path) -> Sequence[Case]:
        """One case per folder, in the order of names; as published in that of the study's draw."""
        found = find_cases(source)
        images = {name: _file(folder, name, self.sequence) for name, folder in found.items()}
        if lacking := [name for name, path in images.items() if path is None]:
            raise InputError(
                f"{source}: {len(lacking)} of {len(found)} cases lack {self.sequence}, the first {lacking[0]}; fetch "
                f"its {lacking[0]}-{self.sequence}.nii.gz again, or remove the case"
            )
        names = sorted(found)
        if self.as_published:
            random.Random(SEED).shuffle(names)
            splits = [
                split for split, count in zip(("train", "valid", "test"), CASES, strict=True) for _ in range(count)
            ]
            chosen = dict(zip(names, splits, strict=False))  # fewer where the set is a part, the first where it is more
        else:
            patients = split_by_shares((_patient(name) for name in names), self.split, self.seed, self.patients)
            chosen = {name: patients[_patient(name)] for name in names if _patient(name) in patients}
        made = []
        for name, split in chosen.items():
            image, seg = images[name], _file(found[name], name, "seg") if self.masks else None
            if image is not None:
                samples = partial(self._samples, name, image, seg)
                files, time = (image, seg) if seg else (image,), name.rpartition("-")[2]
                made.append(Case(_patient(name), split, files, samples, {"time_point": time}))
        return made

    def _samples(self, name: str, image: Path, seg: Path | None) -> Iterator[Sample]:
        import numpy as np

        from latentsr.io import read

        volume = read(image, axis=2)
        inside = None if seg is None else read(seg, axis=2, constant=True).pixels > 0
        if inside is not None and inside.shape != volume.pixels.shape:
            raise InputError(f"{seg}: {inside.shape} voxels, its image has {volume.pixels.shape}; fetch both again")
        low, high, depth = float(volume.pixels.min()), float(volume.pixels.max()), len(volume.pixels)
        # Of the slices in the middle half those that hold more than background.
        bright = volume.pixels.mean() + volume.pixels.std()
        middle = range(int(DEPTH[0] * depth), int(DEPTH[1] * depth))
        usable = [z for z in middle if volume.pixels[z].max() > bright]
        chosen = evenly(usable, self.slices)
        if self.as_published or self.choice == "random":
            seed, count = (SEED, SLICES) if self.as_published else (self.seed, self.slices)
            chosen = sorted(random.Random(seed).sample(usable, min(count, len(usable))))
        for rank, index in enumerate(chosen):
            pixels, mask = volume.pixels[index], None if inside is None else inside[index]
            if self.as_published:
                yield published_sample(f"brats_{name}_z{rank:02d}", pixels, mask)
                continue
            if self.window == "slice":
                low, high = float(pixels.min()), float(pixels.max())
            region = None if mask is None else mask * np.uint8(255)
            yield Sample(f"{name}-z{index:03d}", to_levels(pixels, low, high), mask=region, spacing=volume.spacing)


def published_sample(id: str, pixels: "NDArray[np.float32]", mask: "NDArray[np.bool_] | None") -> Sample:
    """A slice as the study stores it: rows along x, 8 bit by truncation, Lanczos to 256, and from the source to 64."""
    import numpy as np

    from latentsr.io.raster import resized

    grey = truncated_levels(pixels.T)
    hr, lr = (resized(grey, (side, side), "lanczos") for side in (HR_SIDE, LR_SIDE))
    region = None
    if mask is not None:
        region = resized(mask.T * np.uint8(255), (HR_SIDE, HR_SIDE), "nearest")
    return Sample(id, hr, lr=lr, mask=region, resized_from=grey.shape)


def _patient(case: str) -> str:
    return case.split("-")[2]


def find_cases(source: Path) -> dict[str, Path]:
    """The folder of each case by its name, wherever it lies; of a folder nested in itself the inner one.

    InputError where there is none, or one stands in two places.
    """
    found: dict[str, Path] = {}
    for path in sorted(source.rglob("BraTS-*")) if source.is_dir() else ():
        if path.is_dir() and CASE.fullmatch(path.name):
            if (other := found.get(path.name)) not in (None, *path.parents):
                raise InputError(f"{path}: the same case as {other}; remove one of them")
            found[path.name] = path
    if not found:
        raise InputError(
            f"{source}: no folder BraTS-GLI-PPPPP-TTT; expected training or validation data of BraTS 2023 as unpacked"
        )
    return found


def _file(folder: Path, name: str, sequence: str) -> Path | None:
    """The image of a sequence in a case's folder; of a folder in its place the one image inside."""
    for suffix in (".nii.gz", ".nii"):
        path = folder / f"{name}-{sequence}{suffix}"
        if path.is_file():
            return path
        if path.is_dir() and len(inner := sorted([*path.glob("*.nii"), *path.glob("*.nii.gz")])) == 1:
            return inner[0]
    return None

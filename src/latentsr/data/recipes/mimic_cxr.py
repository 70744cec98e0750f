"""MIMIC-CXR-JPG 2.0.0 and 2.1.0: chest X-rays with their views, labels and official split.

Source: physionet.org/content/mimic-cxr-jpg. Layout: files/pSS/pSSSSSSSS/sTTTTTTTT/DICOM_ID.jpg, and beside `files` the
tables mimic-cxr-2.0.0-{split,metadata,chexpert}.csv, gzipped or not. A part of the tree is the rule: what is there is
prepared. Nothing of this credentialed set is copied but the derived images and their labels.
"""

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from latentsr.data.recipes.recipe import Case, Recipe, Sample, split_by_shares
from latentsr.errors import InputError, OptionError

VERSIONS = ("2.0.0", "2.1.0")
OFFICIAL = {"train": "train", "validate": "valid", "test": "test"}
LABELS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion",
    "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
DISEASES = ("Atelectasis", "Cardiomegaly", "Edema", "Pleural Effusion", "Pneumothorax")
# As the study has them: images of train, valid and test, sides of HR and LR, seed.
COUNTS, HR_SIDE, LR_SIDE, SEED = (8000, 1000, 1000), 256, 64, 42


@dataclass(frozen=True, kw_only=True)
class MimicCXR(Recipe):
    """MIMIC-CXR-JPG: chest X-rays, frontal views; labels and view become columns."""

    example: ClassVar[str] = "mimic-cxr-jpg/2.1.0/"
    decided: ClassVar[tuple[str, ...]] = ("views", "size", "resize", "split", "train", "valid", "test", "seed")
    notes: ClassVar[tuple[str, ...]] = ("The patient is the subject; all its studies stay in one split.",)
    published_notes: ClassVar[tuple[str, ...]] = (
        "Studies are split, not subjects, as published: studies of one subject may stand in several splits.",
    )
    published_degradation: ClassVar[str] = "lanczos:4"

    views: Annotated[str, "Views that are kept, joined by commas, or 'all'."] = "PA,AP"
    size: Annotated[int, "Side of the square that each image becomes."] = 256
    resize: Annotated[
        Literal["pad", "crop"],
        "pad: the long side is reduced to the size, black beside the short one; crop: the short side, and the centre "
        "is kept.",
    ] = "pad"
    split: Annotated[str, "The official split, or shares of the subjects, such as 0.8,0.1,0.1."] = "official"
    train: Annotated[int | None, "At most so many images of train, drawn with the seed."] = None
    valid: Annotated[int | None, "At most so many images of valid."] = None
    test: Annotated[int | None, "At most so many images of test."] = None
    seed: Annotated[int, "Seed of the split and of the draw."] = 0
    as_published: Annotated[
        bool,
        "As the study arXiv 2604.12152: the first image of each study, whatever its view, half with one of five "
        "diseases, 8000, 1000 and 1000 by seed 42 (subjects in several splits), Lanczos to 256 and, as LR, to 64.",
    ] = False

    def cases(self, source: Path) -> Sequence[Case]:
        """One case per image, by split and then path; as published in the order of the study's draw."""
        if not (source / "files").is_dir():
            raise InputError(f"{source}: no folder 'files'; expected MIMIC-CXR-JPG with files/pSS/pSSSSSSSS/")
        images: dict[str, Path] = {}
        for path in sorted((source / "files").glob("p??/p*/s*/*.jpg")):
            if (other := images.setdefault(path.stem, path)) != path:
                raise InputError(f"{path}: the same image as {other.relative_to(source)}; remove one of them")
        if not images:
            raise InputError(f"{source / 'files'}: no pSS/pSSSSSSSS/sTTTTTTTT/DICOM_ID.jpg; fetch some of the images")
        labels = {row["study_id"]: row for row in _rows(source, "chexpert", ("study_id",))}
        return self._published(images, labels) if self.as_published else self._corrected(source, images, labels)

    def _corrected(
        self, source: Path, images: Mapping[str, Path], labels: Mapping[str, Mapping[str, str]]
    ) -> list[Case]:
        import numpy as np

        view = _by_image(source, "metadata", "ViewPosition", images)
        kept = None if self.views == "all" else {one.strip() for one in self.views.split(",")}
        if unknown := sorted((kept or set()) - set(view.values())):
            known = ", ".join(sorted(filter(None, set(view.values()))))
            raise OptionError(f"the option views has {', '.join(unknown)}: expected some of {known}, or all")
        chosen = {id: path for id, path in images.items() if kept is None or view[id] in kept}
        if not chosen:
            known = ", ".join(sorted({view[id] or "none" for id in images}))
            raise InputError(f"{source}: no image of views {self.views} among {len(images)}; there are {known}")
        if self.split == "official":
            splits = {id: OFFICIAL.get(name, name) for id, name in _by_image(source, "split", "split", chosen).items()}
            if unknown := sorted(set(splits.values()) - set(OFFICIAL.values())):
                raise InputError(f"{source}: a split {unknown[0]} in the split's table; expected {', '.join(OFFICIAL)}")
        else:
            of = split_by_shares(map(_subject, chosen.values()), self.split, self.seed)
            splits = {id: of[_subject(path)] for id, path in chosen.items()}
        found = []
        for split, most in (("train", self.train), ("valid", self.valid), ("test", self.test)):
            ids = [id for id in chosen if splits[id] == split]
            if most is not None and most < len(ids):
                drawn = np.random.default_rng(self.seed).choice(len(ids), most, replace=False)
                ids = [ids[int(n)] for n in sorted(drawn)]
            for id in ids:
                path = chosen[id]
                study = labels.get(path.parent.name[1:])
                columns, unlisted = {"view": view[id], **_findings(study or {})}, () if study else ("chexpert",)
                found.append(Case(_subject(path), split, (path,), partial(self._samples, path, id), columns, unlisted))
        return found

    def _samples(self, path: Path, id: str) -> Iterator[Sample]:
        from latentsr.data.slices import square
        from latentsr.io.raster import read_pixels, resized

        pixels = read_pixels(path, grey=True)
        if not self.as_published:
            hr, before = square(pixels, self.size, self.resize, path)
            yield Sample(id, hr, resized_from=before)
            return
        # The centre square, by Lanczos from the original to 256 and to 64, in 8 bit.
        side = min(pixels.shape)
        top, left = ((length - side) // 2 for length in pixels.shape)
        centre = pixels[top : top + side, left : left + side]
        hr, lr = (resized(centre, (n, n), "lanczos") for n in (HR_SIDE, LR_SIDE))
        yield Sample(id, hr, lr=lr, resized_from=centre.shape)

    def _published(self, images: Mapping[str, Path], labels: Mapping[str, Mapping[str, str]]) -> list[Case]:
        firsts: dict[str, Path] = {}  # of each study the first file that its folder lists
        for path in images.values():
            firsts.setdefault(path.parent.name[1:], path)
        ill = [id for id in firsts if any(_is(labels.get(id, {}), name) for name in DISEASES)]
        well = [id for id in firsts if _is(labels.get(id, {}), "No Finding") and id not in set(ill)]
        draw = random.Random(SEED)
        draw.shuffle(ill)
        draw.shuffle(well)
        found: list[Case] = []
        for split, count in zip(("train", "valid", "test"), COUNTS, strict=True):
            half = count // 2
            chosen, ill, well = ill[:half] + well[:half], ill[half:], well[half:]
            draw.shuffle(chosen)
            for id in chosen:
                path, number = firsts[id], len(found)
                samples = partial(self._samples, path, f"cxr_{number:05d}")
                found.append(Case(_subject(path), split, (path,), samples, _findings(labels.get(id, {}))))
        return found


def _subject(path: Path) -> str:
    return path.parents[1].name[1:]


def _is(row: Mapping[str, str], label: str) -> bool:
    return row.get(label, "") in ("1.0", "1")


def _findings(row: Mapping[str, str]) -> dict[str, str]:
    """The labels that are known: 1 present, 0 absent, -1 uncertain."""
    return {name.lower().replace(" ", "_"): f"{float(row[name]):g}" for name in LABELS if row.get(name, "").strip()}


def _by_image(source: Path, name: str, column: str, images: Collection[str]) -> dict[str, str]:
    """A column of a table for each of these images; InputError for images that the table has no row of."""
    values = {row["dicom_id"]: row[column] for row in _rows(source, name, ("dicom_id", column))}
    if unknown := [id for id in images if id not in values]:
        raise InputError(
            f"{source}: {len(unknown)} of {len(images)} images are not in the table {name}; fetch it again"
        )
    return {id: values[id] for id in images}


def _rows(source: Path, name: str, needed: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a table of either version, gzipped or not."""
    from latentsr.data.patients import read_csv

    names = [f"mimic-cxr-{version}-{name}.csv{end}" for version in VERSIONS for end in ("", ".gz")]
    path = next((source / one for one in names if (source / one).is_file()), None)
    if path is None:
        raise InputError(f"{source}: no {names[0]} or {names[1]}; fetch that table into the folder above 'files'")
    return read_csv(path, name, needed=needed)[1]

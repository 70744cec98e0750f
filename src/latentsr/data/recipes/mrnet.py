"""MRNet v1.0: knee MRI exams, one .npy a plane.

Source: Bien et al. 2018, Deep-learning-assisted diagnosis for knee magnetic resonance imaging.
Layout: {train,valid}/{axial,coronal,sagittal}/NNNN.npy of (slices, 256, 256), {train,valid}-LABEL.csv without a header.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from latentsr.data.recipes.recipe import Case, Recipe, Sample, evenly, to_levels, truncated_levels
from latentsr.errors import InputError, reason

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LABELS = ("abnormal", "acl", "meniscus")


@dataclass(frozen=True, kw_only=True)
class MRNet(Recipe):
    """MRNet v1.0: knee MRI, slices of each exam; labels become columns."""

    example: ClassVar[str] = "MRNet-v1.0/"
    notes: ClassVar[tuple[str, ...]] = (
        "The exam counts as the patient: 1,130 exams are of 1,088 patients and 120 of 111, and who shares one is not "
        "published.",
    )
    decided: ClassVar[tuple[str, ...]] = ("plane", "slices", "window")
    published_notes: ClassVar[tuple[str, ...]] = notes
    published_degradation: ClassVar[str] = "blur:1,down:2,up:2"

    plane: Annotated[Literal["axial", "coronal", "sagittal"], "Plane of the series."] = "sagittal"
    slices: Annotated[int, "Slices of each exam: the middle one, or so many evenly spaced."] = 1
    window: Annotated[
        Literal["stored", "slice", "volume"],
        "Values as stored (8 bit), or spread over 16 bits between the least and largest of the slice or volume.",
    ] = "stored"
    train: Annotated[int | None, "At most so many exams of the split train, the first by number."] = None
    valid: Annotated[int | None, "At most so many exams of the split valid."] = None
    as_published: Annotated[
        bool,
        "As the study arXiv 2604.12152: sagittal middle slices, min-max of the slice to 8 bit by truncation, LR a file "
        "of HR's size: blur 1, down 2, up 2.",
    ] = False

    def cases(self, source: Path) -> Sequence[Case]:
        """One case per exam, train first; tables of labels may be missing."""
        from latentsr.data.patients import read_csv

        found = []
        for split, most in (("train", self.train), ("valid", self.valid)):
            folder = source / split / self.plane
            files = sorted(folder.glob("*.npy")) if folder.is_dir() else []
            labels: dict[str, dict[str, str]] = {}  # by label and exam the value, 0 or 1
            tables = {label: source / f"{split}-{label}.csv" for label in LABELS} if files else {}
            for label, table in tables.items():
                if not table.is_file():
                    continue
                values = labels[label] = {}
                for row in read_csv(table, "exams and labels", names=("exam", "value"))[1]:  # it has no header
                    exam, value = row["exam"].zfill(4), row["value"]
                    if not exam.isdigit() or value not in ("0", "1") or values.setdefault(exam, value) != value:
                        raise InputError(f"{table}: exam {exam}: expected one row NNNN,0 or NNNN,1")
            for file in files[:most]:
                own = {label: values[file.stem] for label, values in labels.items() if file.stem in values}
                unlisted = tuple(label for label in LABELS if label not in own)
                found.append(Case(file.stem, split, (file,), partial(self._samples, file), own, unlisted))
        if not found:
            raise InputError(
                f"{source}: no {{train,valid}}/{self.plane}/NNNN.npy; expected the folder MRNet-v1.0 as it is unpacked"
            )
        return found

    def _samples(self, file: Path) -> Iterator[Sample]:
        import numpy as np

        volume = read_npy(file)
        for index in evenly(range(len(volume)), self.slices):
            pixels = volume[index]
            middle = self.slices == 1
            id = f"{self.plane}_{file.stem}_{'middle' if middle else f's{index:03d}'}"
            if pixels.min() == pixels.max():
                continue
            if self.as_published:
                import torch  # slow to import, as degrade is

                from latentsr.degrade import parse_degradation

                # The study's refinement LR of HR's size in 8 bit: blur of sigma 1, down 2, up 2 (its text; no code).
                hr = truncated_levels(pixels)
                lr = parse_degradation("blur:1,down:2,up:2").apply(torch.from_numpy(hr / 255.0))
                yield Sample(id, hr, lr=np.asarray((lr.clamp(0, 1).numpy() * 255).astype(np.uint8)))
            elif self.window == "stored":
                yield Sample(id, pixels.astype(np.uint8))
            else:
                of = pixels if self.window == "slice" else volume
                yield Sample(id, to_levels(pixels, float(of.min()), float(of.max())))


def read_npy(file: Path) -> "NDArray[np.float64]":
    """The exam (slices, rows, columns); InputError for a file that is cut off, or of other shape or values."""
    import numpy as np

    try:
        volume = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{file}: not a whole .npy file ({reason(error)}); fetch it again") from error
    if volume.ndim != 3 or min(volume.shape) < 1 or volume.dtype.kind not in "uif":
        raise InputError(f"{file}: array {volume.shape} of {volume.dtype}; expected numbers (slices, rows, columns)")
    values = volume.astype(np.float64)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 255:
        raise InputError(f"{file}: values beyond 0 to 255, or not finite; expected the 8-bit range of MRNet")
    return values

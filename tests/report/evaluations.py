"""An evaluation of everything there is, and the same with other numbers in it, for the tests of its report."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file

from latentsr.autoencoders.architectures import SmallKL
from latentsr.autoencoders.network import save_network
from latentsr.bench.evaluation import Comparison, compare
from latentsr.config import sha256
from latentsr.data.records import Dataset, Record, write_dataset
from latentsr.io.raster import write_pixels
from latentsr.report.evaluation.data import Evaluation

PATIENT = "Doe^Jane-19610203"
HOSTILE = "fine <u>&'\"|*"


def windows(root: Path, name: str, side: int, images: int, step: tuple[int, int] = (12, 16)) -> Dataset:
    """Windows of an abdominal MR that comes with pydicom, two of each patient, whose names must not be seen."""
    pixels = pydicom.dcmread(get_testdata_file("examples_overlay.dcm", download=False)).pixel_array
    grey = np.round((pixels - pixels.min()) / np.ptp(pixels) * 255).astype(np.uint8)
    records = []
    for n in range(images):
        top, left = step[0] * n + 40, step[1] * n + 60
        cut = np.ascontiguousarray(grey[top : top + side, left : left + side])
        file = f"images/{n}.png"
        write_pixels(root / file, cut)
        digest = sha256(root / file)
        records.append(Record(f"{PATIENT}-{n}", f"{PATIENT}-{n // 2}", "valid", file, side, side, digest))
    return write_dataset(root, name, records, {})


def sr_folder(dataset: Dataset, folder: Path, noise: float) -> Path:
    """HR with noise, the first image identical to HR."""
    rng = np.random.default_rng(0)
    for place, record in enumerate(dataset.records):
        pixels = dataset.image(record) * 255 + (noise if place else 0) * rng.normal(size=(record.rows, record.columns))
        write_pixels(folder / dataset.name / f"{record.id}.png", np.round(pixels).clip(0, 255).astype(np.uint8))
    return folder


def evaluated(root: Path) -> Path:
    """A finished evaluation of three methods on two datasets, one of them of few patients, with all there is."""
    sets = [windows(root / "mr", "abdomen", 64, 12), windows(root / "small", "small<u>", 32, 4)]
    save_network(SmallKL(width=4, blocks=1), root / "vae", facts={"domain": "medical"})
    for dataset in sets:
        sr_folder(dataset, root / "good", 2.6)  # less noise would show that it was made from HR
        sr_folder(dataset, root / "bad", 25)
        for record in dataset.records:
            mask = np.zeros((record.rows, record.columns), np.uint8)
            mask[8:24, 8:24] = 1
            write_pixels(root / "masks" / dataset.name / f"{record.id}.png", mask)
    asked = Comparison(
        methods=(f"{HOSTILE}={root / 'good'}", f"noisy={root / 'bad'}"), device="cpu", mean="noisy", workers=0,
        reference_autoencoder=str(root / "vae"), latent=str(root / "vae"), masks=root / "masks",
        margins=(("psnr", 1.0),),
    )  # fmt: skip
    compare([dataset.root for dataset in sets], root / "out", asked)
    return root / "out"


GROUPED = "F|<b>"  # the name of a group


def grouped(root: Path) -> Path:
    """A finished evaluation of one method of two seeds, by a column: two groups of seven patients and one of two."""
    plain = windows(root / "mr", "abdomen", 32, 33, step=(5, 6))
    names = [*(GROUPED, "M") * 7, "X", "X", ""]
    records = [
        replace(record, attributes={"sex": names[int(record.patient[len(PATIENT) + 1 :])]}) for record in plain.records
    ]
    dataset = write_dataset(plain.root, plain.name, records, {})
    for seed, noise in enumerate((4, 8)):
        sr_folder(dataset, root / f"{seed}", noise)
    asked = Comparison(
        methods=tuple(f"mine@{seed}={root / str(seed)}" for seed in range(2)), device="cpu", workers=0, by="sex",
        metrics=("psnr", "ssim", "haarpsi", "laplacian_variance"),
    )  # fmt: skip
    compare([dataset], root / "out", asked)
    return root / "out"


def without(evaluation: Evaluation, *tables: str, **run: object) -> Evaluation:
    """The evaluation with some tables missing and some facts changed."""
    frames = {name: frame for name, frame in evaluation.frames.items() if name not in tables}
    return replace(evaluation, frames=frames, run={**evaluation.run, **run})


SURE = {"difference": 1.5, "low": 1.2, "high": 1.8, "p": 0.0001, "p_holm": 0.001, "d_z": 1.0}
TURNED = {"difference": -1.5, "low": -1.8, "high": -1.2, "p": 0.0001, "p_holm": 0.001, "d_z": -1.0}
OPEN = {"difference": 0.1, "low": -0.2, "high": 0.4, "p": 0.3, "p_holm": 0.6, "d_z": 0.1, "detectable": 0.4}


def with_all(evaluation: Evaluation, metric: str, a: str, b: str, **values: float) -> Evaluation:
    """The evaluation with other numbers for one pair of methods in one measure, by patient, on abdomen."""
    table = evaluation.frames["comparisons"].copy()
    chosen = (table["a"] == a) & (table["b"] == b) & (table["metric"] == metric) & (table["dataset"] == "abdomen")
    assert chosen.any()
    table.loc[chosen, list(values)] = tuple(values.values())
    return replace(evaluation, frames={**evaluation.frames, "comparisons": table})


def with_means(evaluation: Evaluation, metric: str, **means: float) -> Evaluation:
    """The evaluation with other means on abdomen; `good` stands for the method of the hostile name."""
    table = evaluation.frames["summary"].copy()
    for name, mean in means.items():
        chosen = (table["method"] == {"good": HOSTILE}.get(name, name)) & (table["metric"] == metric)
        table.loc[chosen & (table["dataset"] == "abdomen"), "mean"] = mean
    return replace(evaluation, frames={**evaluation.frames, "summary": table})


def with_comparison(evaluation: Evaluation, metric: str, **values: float) -> Evaluation:
    """The evaluation with other numbers for noisy against bicubic in one measure, on abdomen."""
    return with_all(evaluation, metric, "noisy", "bicubic", **values)


def few(evaluation: Evaluation, patients: int) -> Evaluation:
    """The evaluation with so many patients, in all of its comparisons and on all of its datasets."""
    table = evaluation.frames["comparisons"].assign(n=patients)
    datasets = {name: {**facts, "patients": patients} for name, facts in evaluation.run["datasets"].items()}
    changed = without(evaluation, datasets=datasets)
    return replace(changed, frames={**changed.frames, "comparisons": table})


def only(evaluation: Evaluation, *metrics: str) -> Evaluation:
    """The evaluation as if `--metric` had asked for these alone, on abdomen, without pictures; LR PSNR is always there.

    Tables without a row are missing, as the job does not write them.
    """
    there = {*metrics, "lr_psnr"}
    frames = {}
    for name, frame in evaluation.frames.items():
        chosen = frame if "metric" not in frame else frame[frame["metric"].str.partition("/")[0].isin(there)]
        if name.startswith("set") or len(chosen):
            frames[name] = frame if name.startswith("set") else chosen
    run = {
        **evaluation.run,
        "measures": [one for one in evaluation.run["measures"] if one["name"] in there],
        "datasets": {"abdomen": evaluation.run["datasets"]["abdomen"]},
        "primary": evaluation.run["primary"] if "psnr" in there else None,
        "pictures": {"cases": [], "chief": "noisy", "chosen_by": "psnr" if "psnr" in there else "id"},
    }
    return replace(evaluation, frames=frames, run=run)

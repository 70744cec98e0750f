"""`latentsr evaluate` as it is called: what it prints, what it leaves, and that it names no patient."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.data import get_testdata_file

from latentsr.config import sha256
from latentsr.data.records import Dataset, Record, read_dataset, write_dataset
from latentsr.io.raster import write_pixels
from latentsr.stats.table import short_hash

SECRETS = ("Doe^Jane", "Doe_", "SECRET-4711", "19700131", "ACC-0815", "planted")
BY_PATIENT = ("--split", "0,1,0")


Run = Callable[..., Any]  # gives the exit status, standard output and standard error


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Eight images of four patients, whose ids and patients are secret."""
    rng, records = np.random.default_rng(0), []
    for n in range(8):
        pixels = np.kron(rng.integers(40, 200, (8, 8)), np.ones((6, 6))) + rng.integers(0, 40, (48, 48))
        name = f"Doe_planted_{n}"
        path = tmp_path / "set" / "images" / f"{name}.png"
        write_pixels(path, pixels.astype(np.uint8))
        records.append(Record(name, f"SECRET-4711-{n // 2}", "valid", f"images/{name}.png", 48, 48, sha256(path)))
    return write_dataset(tmp_path / "set", "blocks", records, {})


def sr_folder(dataset: Dataset, folder: Path, *, noise: int = 9) -> Path:
    rng = np.random.default_rng(1)
    for record in dataset.records:
        pixels = dataset.image(record) * 255 + rng.integers(-noise, noise + 1, (record.rows, record.columns))
        write_pixels(folder / f"{record.id}.png", pixels.clip(0, 255).astype(np.uint8))
    return folder


def told_by(out: Path, said: Any) -> str:
    """Everything that a run shows or writes but for the tables, whose id and patient columns are their owner's."""
    texts = [path for path in out.rglob("*") if path.is_file() and path.suffix in (".html", ".md", ".json", ".svg")]
    pictures = [path for path in out.rglob("*.png") if path.is_file()]
    written = [path.read_text(encoding="utf-8") for path in texts]
    written += [path.read_bytes().decode("latin-1") for path in pictures]
    names = [path.relative_to(out).as_posix() for path in out.rglob("*")]
    return "\n".join([said.out, said.err, *written, *names])


def headers_of(out: Path) -> str:
    return " ".join(column for path in out.glob("*.parquet") for column in pd.read_parquet(path).columns)


def test_the_verdict_and_the_report_name_no_patient(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    """Ids, file names, patients and columns but the groups asked for stand nowhere but in the tables' own columns."""
    columns = [{"scanner": f"Acme{number % 2}", "clinic": f"Doe_clinic_{number % 2}"} for number in range(8)]
    records = [replace(record, attributes=own) for record, own in zip(dataset.records, columns, strict=True)]
    write_dataset(dataset.root, dataset.name, records, {})
    folder = sr_folder(dataset, tmp_path / "planted" / "sr", noise=40)  # of less it shows that it was made from HR
    given = (
        dataset.root,
        "-o",
        tmp_path / "out",
        "--method",
        f"mine={folder}",
        "--mean",
        "mine",
        "--margin",
        "psnr=50",
    )
    said = run("evaluate", *given, "--by", "scanner")
    assert said.status == 0
    assert "which 4 patients are too few to judge" in said.out
    assert (
        "Within 50.00 dB in PSNR (two one-sided tests by patient, not adjusted), no two methods are shown to be "
        "equivalent" in said.out
    )
    assert f"report in {tmp_path / 'out' / 'report.html'}" in said.out
    for name in ("report.html", "report/report.md", "table.csv", "comparisons.parquet", "sets.csv", "agreement.csv"):
        assert (tmp_path / "out" / name).is_file(), name
    assert "<title>" in (tmp_path / "out" / "report.html").read_text()
    told = told_by(tmp_path / "out", said) + headers_of(tmp_path / "out")
    assert short_hash("blocks", "Doe_planted_0")[:4] in told or "image" in told
    assert "Acme1" in told
    assert "clinic" not in told
    assert not [secret for secret in SECRETS if secret in told]
    assert "Doe_planted_0" in (tmp_path / "out" / "table.csv").read_text()
    assert "Acme1" in (tmp_path / "out" / "subgroups.csv").read_text()
    wrong = run("evaluate", *given, "--overwrite", "--by", "clinics")
    assert wrong.err == "error: the option by is clinics: no such column in the datasets; there are scanner, clinic\n"


def test_no_tag_of_dicom_files_is_told(run: Run, tmp_path: Path) -> None:
    for number, patient in enumerate(("SECRET-4711", "SECRET-4712")):
        image = pydicom.dcmread(get_testdata_file("MR_small.dcm", download=False))
        image.PatientName, image.PatientID, image.PatientBirthDate = "Doe^Jane", patient, "19700131"
        image.AccessionNumber, image.SOPInstanceUID = "ACC-0815", f"1.2.3.{number}"
        image.SeriesInstanceUID, image.StudyInstanceUID = f"1.2.4.{number}", f"1.2.5.{number}"
        (tmp_path / "scans" / f"Doe_planted_{number}").mkdir(parents=True)
        image.save_as(tmp_path / "scans" / f"Doe_planted_{number}" / "planted.dcm")
    prepared = run("prepare", "folder", tmp_path / "scans", "-o", tmp_path / "set", "--name", "mr", *BY_PATIENT)
    assert prepared.status == 0, prepared.err
    options = ("--method", "bicubic+projection", "--metric", "psnr", "--metric", "ssim")
    said = run("evaluate", tmp_path / "set", "-o", tmp_path / "out", *options)
    assert said.status == 0, said.err
    told = told_by(tmp_path / "out", said)
    assert not [secret for secret in (*SECRETS, "1.2.4.", "1.2.5.") if secret in told]


@pytest.mark.parametrize("fault", ["missing", "surplus", "cut", "size", "no_hr", "nan"])
def test_an_error_names_images_by_a_hash(
    run: Run, dataset: Dataset, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sr_folder(dataset, tmp_path / "sr")
    first = folder / "Doe_planted_0.png"
    if fault == "missing":
        first.unlink()
    elif fault == "surplus":
        shutil.copy(first, folder / "Doe_planted_99.png")
    elif fault == "cut":
        first.write_bytes(first.read_bytes()[:100])
    elif fault == "size":
        write_pixels(first, np.zeros((24, 24), np.uint8))
    elif fault == "no_hr":
        (dataset.root / dataset.records[0].file).unlink()
    else:
        values = np.full((48, 48), np.nan, np.float32)
        monkeypatch.setattr("latentsr.bench.inputs.PairedFiles.unit", lambda self, id: values)
    said = run("evaluate", dataset.root, "-o", tmp_path / "out", "--method", f"mine={folder}")
    assert said.status == 2
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert ("prepare the dataset again" if fault == "no_hr" else "show_ids") in said.err
    assert short_hash("blocks", "Doe_planted_99" if fault == "surplus" else "Doe_planted_0") in said.err
    assert not [secret for secret in SECRETS if secret in said.err]


def test_ids_are_shown_on_request(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    folder = sr_folder(dataset, tmp_path / "sr")
    (folder / "Doe_planted_3.png").unlink()
    options = ("--method", f"mine={folder}", "--show-ids")
    assert "missing: Doe_planted_3)" in run("evaluate", dataset.root, "-o", tmp_path / "out", *options).err


def test_methods_with_disjoint_ids_are_an_error(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    a, b = sr_folder(dataset, tmp_path / "a"), sr_folder(dataset, tmp_path / "b")
    for number, path in enumerate(sorted(b.iterdir())):
        path.rename(path.with_name(f"other_{number}.png"))
    said = run("evaluate", dataset.root, "-o", tmp_path / "out", "--method", f"a={a}", "--method", f"b={b}")
    assert said.status == 2
    assert "method 'b'" in said.err
    assert "missing" in said.err
    assert "surplus" in said.err


def test_shifted_and_identical_files_are_warned_of(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    """Shifted ones head the verdict, and one identical to HR poisons no mean."""
    folder = sr_folder(dataset, tmp_path / "sr", noise=4)
    paths = sorted(folder.iterdir())
    for path, after in pairwise(paths[3:]):
        path.write_bytes(after.read_bytes())
    shutil.copy(dataset.root / dataset.records[0].file, folder / f"{dataset.records[0].id}.png")
    options = ("--method", f"mine={folder}", "--metric", "psnr", "--json")
    said = run("evaluate", dataset.root, "-o", tmp_path / "out", *options)
    assert said.status == 0
    assert said.err.startswith("warning: 4 of 8 images of method 'mine' on 'blocks' look like other images")
    row = next(row for row in json.loads(said.out) if (row["method"], row["metric"]) == ("mine", "psnr"))
    assert (row["infinite"], row["n"]) == (1, 7)
    assert 20 < row["mean"] < 60
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Do not rely on this yet" in page
    assert "look like other images of the set" in page
    assert "1 image of method &#39;mine&#39; on &#39;blocks&#39; is identical to HR" in page
    assert not [secret for secret in SECRETS if secret in said.err + page]


def test_models_in_lossy_latents_have_a_ceiling_and_a_limit_takes_images_of_all_patients(
    run: Run, dataset: Dataset, tmp_path: Path, model_folder: Path, lossy_model_folders: tuple[Path, ...]
) -> None:
    methods = [f"kl{number}={folder}" for number, folder in enumerate(lossy_model_folders)]
    options = [word for text in (*methods, f"haar={model_folder}") for word in ("--method", text)]
    options += ["--metric", "psnr", "--metric", "ceiling_psnr", "--limit", "4"]
    said = run("evaluate", dataset.root, "-o", tmp_path / "out", *options)
    assert said.status == 0, said.err
    table = pd.read_parquet(tmp_path / "out" / "table.parquet")
    assert (table["id"].nunique(), table["patient"].nunique()) == (4, 4)
    assert len(read_dataset(dataset.root).records) == 8
    page = (tmp_path / "out" / "report.html").read_text()
    for words in ("Ceiling and result on blocks", "AE ceilings on blocks", "n = 3", "lossless"):
        assert words in page, words
    told = told_by(tmp_path / "out", said)
    assert not [
        secret for secret in (*SECRETS, str(tmp_path), str(model_folder)) if secret in told.replace(said.out, "")
    ]


@pytest.mark.parametrize("images", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_one_image_and_one_patient(run: Run, dataset: Dataset, tmp_path: Path, images: int) -> None:
    few = write_dataset(dataset.root, "few", dataset.records[:images], {})
    said = run("evaluate", few.root, "-o", tmp_path / "out", "--method", "bicubic+projection")
    assert said.status == 0, said.err
    assert "has one patient" in (tmp_path / "out" / "report.html").read_text()


def test_masks_make_regions(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    for number, record in enumerate(dataset.records):
        mask = np.zeros((48, 48), np.uint8)
        if number:  # the first image has no lesion
            mask[10:30, 8:24] = 255
        write_pixels(tmp_path / "masks" / f"{record.id}.png", mask)
    options = ("--method", "bicubic", "--masks", tmp_path / "masks", "--metric", "roi_psnr", "--metric", "roi_ssim")
    assert run("evaluate", dataset.root, "-o", tmp_path / "out", *options).status == 0
    table = pd.read_parquet(tmp_path / "out" / "table.parquet")
    roi = table[table["metric"] == "roi_psnr"].sort_values("id")["value"]
    assert roi.isna().tolist() == [True] + [False] * 7
    write_pixels(tmp_path / "masks" / f"{dataset.records[2].id}.png", np.zeros((24, 48), np.uint8))
    said = run("evaluate", dataset.root, "-o", tmp_path / "again", *options)
    assert said.status == 2
    assert "masks: expected" in said.err
    assert f"wrongly sized: {short_hash('blocks', dataset.records[2].id)}" in said.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--margin", "psnr"], ["margins is", "such as psnr=0.15"]),
        (["--margin", "psnrr=1"], ["the option margin has psnrr: will not be measured here; choose from"]),
        (["--margin", "roi_psnr=1"], ["the option margin has roi_psnr: will not be measured here"]),
        (
            ["--margin", "psnr=1", "--metric", "ssim"],
            ["the option margin has psnr: will not be measured here; choose from ssim"],
        ),
        (["--margin", "psnr=1", "--margin", "psnr=2"], ["the option margin has psnr twice"]),
        (["--margin", "lr_psnr=1"], ["the option margin has lr_psnr, which is not tested", "that is how it was made"]),
        (["--margin", "psnr=-1"], ["the option margin has psnr=-1: expected a positive number"]),
        (["--mean", "foo"], ["the option mean is foo: no such method; expected one of bicubic"]),
        (["--pictured", "foo"], ["the option pictured is foo: no such method"]),
        (["--primary", "foo:psnr"], ["the option primary is 'foo:psnr': expected METHOD:MEASURE"]),
        (["--primary", "bicubic:psnr"], ["the option primary is 'bicubic:psnr': expected METHOD:MEASURE"]),
        (
            ["--method", "bicubic+projection", "--primary", "bicubic+projection:lr_psnr"],
            ["no test of 'lr_psnr' here; choose from psnr, ssim"],
        ),
        (["--by", "foo"], ["the option by is foo: no such column in the datasets; there are none: prepare again"]),
        (["--reference-autoencoder", "haar"], ["haar", "loses nothing and has no noise floor"]),
        (["--reference-autoencoder", "nowhere"], ["nowhere"]),
        (["--masks", "nowhere"], ["the option masks is nowhere: no such folder"]),
        (["--limit", "0"], ["limit is 0; expected"]),
        (["--workers", "-1"], ["workers is -1; expected"]),
        (["--features", "nowhere"], ["nowhere"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_a_wrong_option_is_one_line(
    run: Run, dataset: Dataset, tmp_path: Path, options: list[str], words: list[str]
) -> None:
    said = run("evaluate", dataset.root, "-o", tmp_path / "out", "--method", "bicubic", *options)
    assert said.status == 2
    assert said.err.count("\n") == 1
    for word in words:
        assert word in said.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "data", "--method", "bicubic"),
        ("screen", "data", "--vae", "haar"),
        ("train", "cache"),
        ("fit-vae", "data"),
    ],
    ids=lambda command: command[0],
)
def test_a_seed_below_0_is_a_wrong_call(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    said = run(*command, "-o", tmp_path / "out", "--seed", "-1")
    assert said.status == 2
    assert "--seed" in said.err

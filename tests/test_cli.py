import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from latentsr import __version__
from latentsr.cli import THREADS
from latentsr.commands.options import MODEL
from latentsr.upscalers import shipped_models
from latentsr.upscalers.model import SuperResolver

BY_FOLDER = ("--patient-pattern", r"(?P<patient>p\d)", "--split", "0.34,0.33,0.33")
MR = Path(get_testdata_file("MR_small.dcm", download=False))


Run = Callable[..., Any]  # gives the exit status, standard output and standard error


@pytest.fixture
def dataset(tmp_path: Path, run: Run) -> Path:
    """Six prepared images of three patients, one in each split."""
    random = np.random.default_rng(0)
    for n in range(6):
        folder = tmp_path / "scans" / f"p{n // 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (32, 32), dtype=np.uint8)).save(folder / f"i{n}.png")
    said = run("prepare", "folder", tmp_path / "scans", "-o", tmp_path / "dataset", *BY_FOLDER)
    assert said.status == 0, said.err
    return tmp_path / "dataset"


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def one_line(said: Any, *words: str) -> None:
    """The command failed with one line that holds the words."""
    assert said.status == 2
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    for word in words:
        assert word in said.err


def test_the_command_line_imports_neither_torch_nor_pydantic() -> None:
    heavy = {"torch", "pydantic", "numpy", "pydicom", "pandas", "matplotlib"}
    code = f"import latentsr.cli, sys; print(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(("own", "wait", "blas"), [
    ({}, "passive", "1"), ({"OMP_WAIT_POLICY": "active"}, "active", "1"), ({"GOMP_SPINCOUNT": "9"}, None, "1"),
    ({"KMP_BLOCKTIME": "9"}, None, "1"), ({"OMP_NUM_THREADS": "3"}, "passive", None),
    ({"OPENBLAS_NUM_THREADS": "2"}, "passive", "2"),
])  # fmt: skip
def test_threads_that_wait_sleep_unless_the_user_decides(
    own: dict[str, str], wait: str | None, blas: str | None
) -> None:
    """Both variables are set before torch and numpy are imported, which read them once."""
    code = (
        "import json, os, sys; from latentsr import cli\n"
        "cli.app = lambda **_: print(json.dumps([dict(os.environ), sorted({'torch', 'numpy'} & set(sys.modules))]))\n"
        "cli.main()"
    )
    unset = {name for name, (_, others) in THREADS.items() for name in (name, *others)}
    environment = {key: value for key, value in os.environ.items() if key not in unset} | own
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    found, imported = json.loads(done.stdout)
    assert (found.get("OMP_WAIT_POLICY"), found.get("OPENBLAS_NUM_THREADS"), imported) == (wait, blas, [])
    assert own.items() <= found.items()


def test_the_benchmark_of_help_runs(repository: Path) -> None:
    script = repository / "benchmarks" / "help_time.py"
    done = subprocess.run([sys.executable, script, "1"], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["help_s"] > 0, done.stderr


@pytest.mark.parametrize(
    "command", [[], ["enhance"], ["prepare", "folder"], ["fit-vae"], ["encode"], ["train"], ["evaluate"], ["demo"]]
)
def test_help_says_what_it_does_with_an_example(run: Run, command: list[str]) -> None:
    said = run(*command, "--help")
    assert said.status == 0
    assert "Usage" in said.out
    assert not command or f"Example: latentsr {' '.join(command)}" in said.out


def test_the_version_says_research_use(run: Run) -> None:
    assert run("--version") == (0, f"latentsr {__version__}. Research use only. Not for diagnosis.\n", "")


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["enhance"], ["enhance", "a.png"], ["enhance", "a", "-o", "b", "--steps", "x"]]
)
def test_a_wrong_call_is_status_2(run: Run, arguments: list[str]) -> None:
    said = run(*arguments)
    assert said.status == 2
    assert "Traceback" not in said.err


class TestEnhance:
    def test_mr_small(self, run: Run, model_folder: Path, tmp_path: Path) -> None:
        """Bar 3: 256 x 256, finer spacing, shifted origin, new identity, reads in pydicom and highdicom."""
        said = run("enhance", MR, "-o", tmp_path / "out", "--model", model_folder)
        assert said.status == 0
        assert said.err == ""
        assert "1 of 1 done. Research use only." in said.out
        source, made = pydicom.dcmread(MR), pydicom.dcmread(tmp_path / "out" / "MR_small.dcm")
        assert (made.Rows, made.Columns, made.pixel_array.shape) == (256, 256, (256, 256))
        assert [float(value) for value in made.PixelSpacing] == [0.078125, 0.078125]
        self._shifted(source, made)
        assert made.SOPClassUID == source.SOPClassUID
        assert made.StudyInstanceUID == source.StudyInstanceUID
        assert made.SOPInstanceUID != source.SOPInstanceUID
        assert made.SeriesInstanceUID != source.SeriesInstanceUID
        assert (made.ImageType[0], made.SyntheticData) == ("DERIVED", "YES")
        assert "research use only" in made.SeriesDescription.lower()
        assert "Research use only" in made.DerivationDescription

    @staticmethod
    def _shifted(source: pydicom.Dataset, made: pydicom.Dataset) -> None:
        """The first pixel's centre moves by -0.375 source pixels along both axes."""
        across, down = np.array(source.ImageOrientationPatient, float).reshape(2, 3)
        row, column = (float(value) for value in source.PixelSpacing)
        expected = np.array(source.ImagePositionPatient, float) - 0.375 * (across * column + down * row)
        assert np.array(made.ImagePositionPatient, float) == pytest.approx(expected, abs=1e-6)

    def test_highdicom_reads_what_is_written(self, run: Run, model_folder: Path, tmp_path: Path) -> None:
        run("enhance", MR, "-o", tmp_path, "--model", model_folder)
        image = highdicom.imread(tmp_path / "MR_small.dcm")
        assert image.get_frame(1).shape == (256, 256)
        assert image.get_volume_geometry().spatial_shape[1:] == (256, 256)

    def test_the_shipped_model(self, run: Run, tmp_path: Path) -> None:
        if MODEL not in shipped_models():
            one_line(run("enhance", MR, "-o", tmp_path / "out"), "model 'latentsr-tiny': expected a model folder")
            return
        said = run("enhance", MR, "-o", tmp_path / "out")
        assert (said.status, said.err) == (0, "")
        assert pydicom.dcmread(tmp_path / "out" / "MR_small.dcm").Rows == 256

    def test_json_is_all_of_standard_output(self, run: Run, model_folder: Path, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        shutil.copy(MR, tmp_path / "in" / "a.dcm")
        (tmp_path / "in" / "b.txt").write_text("no image")
        said = run("enhance", tmp_path / "in", "-o", tmp_path / "out", "--model", model_folder, "--json")
        first, second = json.loads(said.out)
        assert (said.status, said.err) == (0, "")
        assert (first["status"], first["size"]) == ("written", "1 x 64 x 64 to 1 x 256 x 256")
        assert second["status"] == "skipped"

    def test_an_error_names_its_file_once(self, run: Run, model_folder: Path, tmp_path: Path) -> None:
        (tmp_path / "note.txt").write_text("no image")
        said = run("enhance", tmp_path / "note.txt", "-o", tmp_path / "out", "--model", model_folder)
        assert said.err.startswith("error: no image among 1 file: ")
        assert (said.status, said.err.count("note.txt"), said.err.count("\n")) == (2, 1, 1)
        assert said.out == "0 of 1 done, 1 skipped. Research use only. Not for diagnosis.\n"

    def test_some_failures_are_status_1_and_warnings_are_counted(
        self, run: Run, model_folder: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "in").mkdir()
        for name in ("a", "b"):
            Image.fromarray(np.arange(81, dtype=np.uint16).reshape(9, 9)).save(tmp_path / "in" / f"{name}.png")
        (tmp_path / "in" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        (tmp_path / "in" / "notes.txt").write_text("no image")
        said = run("enhance", tmp_path / "in", "-o", tmp_path / "out", "--model", model_folder)
        assert said.status == 1
        failure, warning = said.err.splitlines()
        assert failure.startswith("error: ")
        assert "broken.png" in failure
        assert warning.startswith("warning: output size unlike training (256 px): ")
        assert warning.endswith(": 2 files, the first a.png")
        assert "skipped  1 file without an image: notes.txt\n" in said.out
        assert "2 of 4 done, 1 skipped, 1 failed. Research use only." in said.out

    def test_a_dry_run_writes_nothing(self, run: Run, model_folder: Path, tmp_path: Path) -> None:
        said = run("enhance", MR, "-o", tmp_path / "out", "--model", model_folder, "--dry-run")
        assert said.status == 0
        assert said.out.startswith(f"planned  {tmp_path / 'out' / 'MR_small.dcm'}")
        assert re.search(r"would write 1 of 1: about \d+ s, \d+\.\d GB of memory, 0\.1 MB of disk\n$", said.out)
        assert names(tmp_path) == []

    def test_keeping_refusing_and_overwriting(self, run: Run, model_folder: Path, tmp_path: Path) -> None:
        common = ("enhance", MR, "-o", tmp_path, "--model", model_folder)
        run(*common)
        before = (tmp_path / "MR_small.dcm").read_bytes()
        assert run(*common).out.startswith("kept")
        refused = run(*common, "--steps", "2")
        assert refused.status == 2
        assert "set the option overwrite, or choose another output folder" in refused.err
        assert (tmp_path / "MR_small.dcm").read_bytes() == before
        assert run(*common, "--steps", "2", "--overwrite").status == 0
        assert (tmp_path / "MR_small.dcm").read_bytes() != before

    def test_samples_write_a_map_of_their_spread(self, run: Run, model_folder: Path, tmp_path: Path) -> None:
        options = ("--samples", "2", "--steps", "2")
        assert run("enhance", MR, "-o", tmp_path, "--model", model_folder, *options).status == 0
        assert "MR_small_uncertainty.dcm" in names(tmp_path)
        assert not [name for name in names(tmp_path) if ".nii" in name]
        image, shown = (pydicom.dcmread(tmp_path / f"MR_small{mark}.dcm") for mark in ("", "_uncertainty"))
        assert shown.SOPClassUID == image.SOPClassUID == pydicom.uid.MRImageStorage
        assert "x4 mean of 2 samples" in image.SeriesDescription
        assert "x4 uncertainty" in shown.SeriesDescription

    def test_colour_is_refused_unless_grey(self, run: Run, model_folder: Path, tmp_path: Path) -> None:
        pixels = np.random.default_rng(0).integers(0, 255, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "a.png")
        common = ("enhance", tmp_path / "a.png", "-o", tmp_path / "out", "--model", model_folder)
        refused = run(*common)
        assert refused.status == 2
        assert "the option grey" in refused.err
        assert run(*common, "--grey").status == 0

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--scale", "2"], ["scale 2: model small enlarges 4 times"]),
            (["--steps", "0"], ["steps is 0"]),
            (["--samples", "3", "--steps", "1"], ["leave steps out, or give more"]),
            (["--realism", "2"], ["realism is 2"]),
            (["--tile", "7"], ["tile is 7"]),
            (["--solver", "foo"], ["solver 'foo': expected one of"]),
            (["--device", "tpu"], ["device tpu: expected auto, cpu or cuda"]),
            (["--device", "cpu:zz"], ["expected auto, cpu or cuda"]),
            (["--model", "nowhere"], ["model 'nowhere': expected a model folder"]),
        ],
        ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
    )
    def test_a_wrong_option_is_one_line_and_nothing_is_written(
        self, run: Run, model_folder: Path, tmp_path: Path, options: list[str], words: list[str]
    ) -> None:
        one_line(run("enhance", MR, "-o", tmp_path / "out", "--model", model_folder, *options), *words)
        assert names(tmp_path) == []

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["-o", "file"], ["output file: is the name of a file"]),
            (["-o", "new.dcm", "--dry-run"], ["output new.dcm: is the name of a file"]),
            (["-o", "file/out", "--dry-run"], ["file: cannot be written (Not a directory)"]),
            (["-o", "/"], ["is the root of the disk"]),
            (["nowhere", "-o", "out"], ["nowhere does not exist"]),
            (["-o", "out", "--target-spacing", "1"], ["are of --through-plane"]),
            (["-o", "out", "--through-plane", "--slice-profile", "sinc"], ["slice profile 'sinc'"]),
            (["-o", "out", "--device", "tpu"], ["device tpu: expected"]),
            (["-o", "out", "--precision", "half"], ["precision half: expected"]),
        ],
    )
    def test_what_needs_no_model_is_refused_before_it_is_loaded(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], words: list[str]
    ) -> None:
        monkeypatch.setattr(SuperResolver, "load", lambda *_, **__: pytest.fail("the model was loaded"))
        monkeypatch.chdir(tmp_path)
        Path("file").touch()
        one_line(run("enhance", MR, *options), *words)
        assert names(tmp_path) == ["file"]

    @pytest.mark.parametrize("way", ["missing", "altered"])
    @pytest.mark.parametrize("name", ["denoiser.safetensors"])
    def test_a_model_with_a_wrong_file_is_one_line(
        self, run: Run, model_folder: Path, tmp_path: Path, way: str, name: str
    ) -> None:
        model = shutil.copytree(model_folder, tmp_path / "model")
        if way == "missing":
            (model / name).unlink()
        else:
            (model / name).write_bytes((model / name).read_bytes() + b"x")
        one_line(run("enhance", MR, "-o", tmp_path / "out", "--model", model), name, way, "again")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("path", ["empty", "nowhere"])
    def test_no_input_is_one_line(self, run: Run, model_folder: Path, tmp_path: Path, path: str) -> None:
        (tmp_path / "empty").mkdir()
        one_line(run("enhance", tmp_path / path, "-o", tmp_path / "out", "--model", model_folder), path)
        assert names(tmp_path) == ["empty"]

    def test_an_output_that_cannot_be_written_is_one_line_that_blames_it(
        self, run: Run, model_folder: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "file").touch()
        said = run("enhance", MR, "-o", tmp_path / "file" / "out", "--model", model_folder)
        one_line(said, "out", "cannot be written (Not a directory); check its disk and permissions")
        assert "MR_small" not in said.err

    def test_no_patient_is_named(self, run: Run, model_folder: Path, tmp_path: Path) -> None:
        """Neither in what is shown, nor in run.json, of images that go well, are warned of, refused or broken."""
        secrets = ("Doe^Jane", "SECRET-4711", "19700131", "ACC-0815")
        (tmp_path / "in").mkdir()
        for name in ("good", "annotated", "colour", "odd", "identity"):
            image = pydicom.dcmread(MR)
            image.PatientName, image.PatientID, image.PatientBirthDate, image.AccessionNumber = secrets
            if name == "annotated":
                image.BurnedInAnnotation = "YES"
            elif name == "colour":
                image.PhotometricInterpretation = "RGB"
            elif name == "odd":
                image.PixelSpacing = [0, 0]
            elif name == "identity":
                del image.SeriesInstanceUID
            image.save_as(tmp_path / "in" / f"{name}.dcm")
        paths = sorted((tmp_path / "in").iterdir())
        said = run("enhance", *paths, "-o", tmp_path / "out", "--model", model_folder, "--json")
        assert said.status == 1
        told = said.out + said.err + (tmp_path / "out.run" / "run.json").read_text()
        assert '"written"' in told
        assert not [secret for secret in secrets if secret in told]
        assert pydicom.dcmread(tmp_path / "out" / "good.dcm").PatientID == "SECRET-4711"  # the image itself keeps it


class TestDatasets:
    def test_encode_then_evaluate(self, run: Run, model_folder: Path, dataset: Path, tmp_path: Path) -> None:
        assert run("encode", dataset, "-o", tmp_path / "cache").status == 0
        options = ("--method", f"mine={model_folder}", "--metric", "psnr")
        said = run("evaluate", dataset, "-o", tmp_path / "eval", *options, "--json")
        assert (said.status, said.err) == (0, "")
        rows = json.loads(said.out)
        assert {(row["method"], row["metric"]) for row in rows} >= {("mine", "psnr"), ("bicubic", "psnr")}
        shown = run("evaluate", dataset, "-o", tmp_path / "eval", *options)  # which is finished
        assert "Research use only" in shown.out
        assert all(word in shown.out for word in ("bicubic", "mine", "psnr", "95 % interval"))
        made = names(tmp_path / "eval")
        assert {"run.json", "summary.csv", "table.parquet", "report.html", "report/report.md"} <= set(made)
        assert not [name for name in made if "part" in name and not name.endswith(".parquet")]

    def test_one_patient_for_three_splits(self, run: Run, dataset: Path, tmp_path: Path) -> None:
        pattern = ("--patient-pattern", "(?P<patient>i)")
        one_line(run("prepare", "folder", tmp_path / "scans", "-o", tmp_path / "one", *pattern), "patient")
        assert not (tmp_path / "one").exists()

    def test_mixed_sizes_and_images_below_one_lr_pixel(self, run: Run, dataset: Path, tmp_path: Path) -> None:
        for n, side in enumerate((33, 2, 40)):
            folder = tmp_path / "mixed" / f"p{n}"
            folder.mkdir(parents=True)
            pixels = np.random.default_rng(0).integers(0, 255, (side, side), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"i{n}.png")
        made = run("prepare", "folder", tmp_path / "mixed", "-o", tmp_path / "set", *BY_FOLDER)
        assert made.status == 0, made.err
        one_line(run("encode", tmp_path / "set", "-o", tmp_path / "cache"), "sizes", "the option size")
        assert not (tmp_path / "cache").exists()
        for split in ("train", "valid", "test"):
            said = run("evaluate", tmp_path / "set", "-o", tmp_path / split, "--method", "bicubic", "--split", split)
            if said.status:
                one_line(said)
            assert (tmp_path / split).exists() == (said.status == 0)
        one_line(
            run("prepare", "folder", tmp_path / "mixed", "-o", tmp_path / "cut", "--size", "32"), "the option size, 32"
        )
        assert not (tmp_path / "cut").exists()

    @pytest.mark.parametrize("command", ["encode", "evaluate", "fit-vae", "train"])
    def test_a_folder_that_is_no_dataset_is_one_line(self, run: Run, tmp_path: Path, command: str) -> None:
        (tmp_path / "empty").mkdir()
        options = ["--method", "bicubic"] if command == "evaluate" else []
        one_line(run(command, tmp_path / "empty", "-o", tmp_path / "out", *options), "empty")
        assert names(tmp_path) == ["empty"]

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--vae", "harr"], ["autoencoder 'harr': expected a folder, or one of"]),
            (["--degradation", "nearest:4"], ["nearest:4"]),
            (["--degradation", "bicubic:x"], ["bicubic:x"]),
            (["--condition", "colour"], ["condition colour"]),
            (["--device", "tpu"], ["device tpu"]),
        ],
        ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
    )
    def test_a_wrong_option_of_encode_is_one_line(
        self, run: Run, dataset: Path, tmp_path: Path, options: list[str], words: list[str]
    ) -> None:
        one_line(run("encode", dataset, "-o", tmp_path / "cache", *options), *words)
        assert not (tmp_path / "cache").exists()

    def test_a_finished_training_needs_options_that_are_known(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "o.yaml").write_text("stepz: 3\n")
        one_line(run("train", tmp_path, "-o", tmp_path / "m", "--config", tmp_path / "o.yaml"), "unknown key 'stepz'")
        one_line(run("train", tmp_path, "-o", tmp_path / "m", "--channels", "4,x"), "--channels 4,x")
        one_line(run("fit-vae", tmp_path, "-o", tmp_path / "m", "--factor", "3"), "--factor is 3")


def test_a_full_disk_at_the_end_is_one_line(
    run: Run, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("latentsr.bench.evaluation.write_table", full)
    one_line(run("evaluate", dataset, "-o", tmp_path / "out", "--method", "bicubic"), "No space left", "check disk")


def test_a_closed_pipe_leaves_no_traceback() -> None:
    command = f"{sys.executable} -c 'from latentsr.cli import main; main()' enhance --help | head -c 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True, env=os.environ)  # noqa: S602
    assert "Traceback" not in done.stderr

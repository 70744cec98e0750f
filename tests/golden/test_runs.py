"""Whole runs of the commands against what they gave before: tables, records, Markdown, DICOM headers and pixels.

Numbers may differ by a rounding of their last digit, or by 4e-3, p-values and effect sizes by 2e-2. Dates, versions,
timings, hashes of files, and measures of which only the last bits differ, which the processor decides, are left out.
After a change that is meant to be seen, write the expectation anew and read the difference:

    LATENTSR_GOLDEN=write .venv/bin/python -m pytest -n 0 tests/golden/test_runs.py && git diff tests/golden
"""

import gzip
import json
import math
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from safetensors.numpy import load_file

EXPECTED = Path(__file__).parent / "runs"
RELATIVE, ABSOLUTE = 4e-3, 1e-5
OF_TESTS, TESTS = 2e-2, re.compile(r"/(p|p_holm|p_wilcoxon|d|d_z\w*)/")
LAST_BITS = ("latent_cosine/", "lr_psnr")  # near 1; above 170 dB
OF_SD = 5e-3
LEFT_OUT = {
    "date", "versions", "python", "platform", "seconds", "created", "started", "memory", "threads", "device", "cost",
    "flops", "steps_per_second", "images_per_second", "peak_memory", "weights_sha256", "network_seconds",
}  # fmt: skip
_DAY = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:\+00:00)?)?"
_UNSTABLE = re.compile(rf"\b[0-9a-f]{{64}}\b|{_DAY}|\b\d+(?:\.\d+)? (?:s|min|ms)\b")
_NUMBER = re.compile(r"[-+−]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, lossy_model_folders: tuple[Path, Path, Path]) -> Path:
    """Scans of two datasets with masks and patients, and models of random weights."""
    root = tmp_path_factory.mktemp("golden")
    pixels = pydicom.dcmread(get_testdata_file("examples_overlay.dcm", download=False)).pixel_array
    grey = np.round((pixels - pixels.min()) / np.ptp(pixels) * 255).astype(np.uint8)
    for name, side, images in (("abdomen", 64, 24), ("small", 32, 6)):
        for number in range(images):
            top, left = 7 * number + 40, 9 * number + 60
            file = f"p{number // 2:02d}_{number:02d}.png"
            mask = np.zeros((side, side), np.uint8)
            mask[8:24, 8:24] = 1
            for folder, image in (("scans", grey[top : top + side, left : left + side]), ("masks", mask)):
                (root / folder / name).mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(root / folder / name / file)
    (root / "lossy").symlink_to(lossy_model_folders[1])
    for name in ("vae-3", "vae-8"):
        (root / name).symlink_to(lossy_model_folders[1].parent / name)
    return root


@pytest.fixture(scope="module")
def datasets(work: Path) -> Path:
    for name, split in (("abdomen", "0.5,0.5,0"), ("small", "0,1,0")):
        _command(
            "prepare", "folder", work / "scans" / name, "-o", work / "data" / name, "--split", split,
            "--patient-pattern", r"(?P<patient>p\d+)_", "--masks", work / "masks" / name,
        )  # fmt: skip
    return work / "data"


def _command(*arguments: object) -> None:
    import sys

    from latentsr import cli

    before, sys.argv = sys.argv, ["latentsr", *map(str, arguments)]
    try:
        with pytest.raises(SystemExit) as left:
            cli.main()
    finally:
        sys.argv = before
    assert not left.value.code, arguments


def test_prepare(work: Path, datasets: Path) -> None:
    _compare("prepare", work, datasets)


def test_train(work: Path, datasets: Path) -> None:
    _command("encode", datasets / "abdomen", "-o", work / "cache", "--vae", work / "vae-3", "--device", "cpu")
    _command(
        "train", work / "cache", "-o", work / "model", "--channels", "8,16", "--crop", 16, "--batch", 4, "--steps", 4,
        "--device", "cpu",
    )  # fmt: skip
    _compare("train", work, work / "model")


def test_evaluate(work: Path, datasets: Path) -> None:
    _command(
        "evaluate", datasets / "abdomen", datasets / "small", "-o", work / "evaluation", "--device", "cpu",
        "--method", f"posterior={work / 'lossy'}", "--method", f"sample={work / 'lossy'}?steps=2",
        "--method", "bicubic+projection", "--mean", "posterior", "--reference-autoencoder", work / "vae-3",
        "--latent", work / "vae-3", "--margin", "psnr=1", "--workers", 0,
    )  # fmt: skip
    _compare("evaluate", work, work / "evaluation")


def test_screen(work: Path, datasets: Path) -> None:
    _command(
        "screen", datasets / "abdomen", datasets / "small", "-o", work / "screening", "--device", "cpu",
        "--vae", "identity", "--vae", "haar", "--vae", work / "vae-3", "--vae", work / "vae-8", "--reference", "vae-3",
    )  # fmt: skip
    _compare("screen", work, work / "screening")


def test_enhance(work: Path) -> None:
    tree = work / "tree"
    (tree / "series").mkdir(parents=True)
    slices = pydicom.dcmread(get_testdata_file("MR_small.dcm", download=False))
    for number in range(3):
        slices.SOPInstanceUID = slices.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{number + 1}"
        slices.InstanceNumber, slices.ImagePositionPatient = number + 1, [0, 0, 3.0 * number]
        slices.PixelData = np.roll(slices.pixel_array, number, axis=1).tobytes()
        slices.save_as(tree / "series" / f"{number}.dcm")
    grey = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False)).pixel_array[:40, :48]
    volume = np.stack([grey, grey[::-1]], axis=2).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([2, 2, 3, 1])), tree / "volume.nii.gz")
    Image.fromarray((grey % 256).astype(np.uint8)).save(tree / "image.png")
    _command(
        "enhance", tree, "-o", work / "enhanced", "--model", work / "lossy", "--samples", 2, "--steps", 2,
        "--device", "cpu",
    )  # fmt: skip
    _compare("enhance", work, work / "enhanced", work / "enhanced.run")


def _compare(name: str, root: Path, *folders: Path) -> None:
    found = json.loads(json.dumps({text: value for folder in folders for text, value in _contents(root, folder)}))
    file = EXPECTED / f"{name}.json.gz"
    if os.environ.get("LATENTSR_GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(gzip.compress(json.dumps(found, indent=0, sort_keys=True).encode(), 9, mtime=0))
    expected = json.loads(gzip.decompress(file.read_bytes()))
    assert sorted(found) == sorted(expected)
    differences = list(_differences(found, expected, name))
    assert not differences, "\n".join(differences[:40])


def _contents(root: Path, folder: Path) -> Iterator[tuple[str, Any]]:
    """Each file's name and what it holds, in terms of JSON."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        read = READERS.get(path.suffix, lambda _: None)
        yield path.relative_to(root).as_posix(), _stable(read(path), str(root))


def _stable(value: Any, root: str) -> Any:
    if isinstance(value, dict):
        return {key: _stable(one, root) for key, one in value.items() if key not in LEFT_OUT}
    if isinstance(value, list):
        return [_stable(one, root) for one in value]
    if isinstance(value, str):
        return _UNSTABLE.sub("*", re.sub(r"/\S*/pytest-\S*?/(golden|lossy)\d+", "ROOT", value.replace(root, "ROOT")))
    return value


def _table(path: Path) -> dict[str, list[str]]:
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if "metric" in table:  # means of latents' cosines are compared, tests of them are not
        table = table[~table["metric"].str.startswith(LAST_BITS if "d_z" in table else LAST_BITS[1:])]
    return table[[name for name in table if "seconds" not in name and "memory" not in name]].to_dict("list")


def _markdown(path: Path) -> list[str]:
    """Its lines but for tables of times."""
    parts = path.read_text().split("\n\n")
    return [
        line
        for part in parts
        if not (part.startswith("|") and ("encode" in part or "seconds" in part))
        for line in part.splitlines()
        if "LR PSNR" not in line
    ]


def _dicom(path: Path) -> dict[str, Any]:
    dataset = pydicom.dcmread(path)
    header = {
        str(element.tag): str(element.value)
        for element in dataset
        if element.keyword not in ("PixelData", "SoftwareVersions") and element.VR not in ("DA", "TM", "DT")
    }
    return {"header": header, **_pixels(dataset.pixel_array)}


def _pixels(pixels: np.ndarray) -> dict[str, Any]:
    return {"shape": list(pixels.shape), "mean": float(pixels.mean()), "sd": float(pixels.std())}


READERS: dict[str, Callable[[Path], Any]] = {
    ".csv": _table,
    ".json": lambda path: json.loads(path.read_text()),
    ".md": _markdown,
    ".dcm": _dicom,
    ".png": lambda path: _pixels(np.asarray(Image.open(path))),
    ".gz": lambda path: _pixels(np.asarray(nibabel.load(path).dataobj)),
    ".safetensors": lambda path: {name: _pixels(one.astype(np.float64)) for name, one in load_file(path).items()},
}


def _differences(found: Any, expected: Any, where: str) -> Iterator[str]:
    if ".safetensors/" in where and {"shape", "mean", "sd"} == expected.keys() == found.keys():
        # Of their sd: small weights of a training differ by so much between processors.
        near = [abs(found[name] - expected[name]) <= OF_SD * max(expected["sd"], 1e-6) for name in ("mean", "sd")]
        if not all(near) or found["shape"] != expected["shape"]:
            yield f"{where}: {found}, expected {expected}"
    elif isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted({*found, *expected}):
            if key not in found or key not in expected:
                yield f"{where}/{key}: {'new' if key in found else 'missing'}"
            else:
                yield from _differences(found[key], expected[key], f"{where}/{key}")
    elif isinstance(expected, list) and isinstance(found, list):
        if len(found) != len(expected):
            yield f"{where}: {len(found)} items, expected {len(expected)}"
        for place, (mine, other) in enumerate(zip(found, expected, strict=False)):
            yield from _differences(mine, other, f"{where}/{place}")
    elif isinstance(expected, str) and isinstance(found, str):
        numbers = zip(_NUMBER.findall(found), _NUMBER.findall(expected), strict=False)
        if _NUMBER.sub("#", found) != _NUMBER.sub("#", expected) or not all(_near(*pair, where) for pair in numbers):
            yield f"{where}: {found!r}, expected {expected!r}"
    elif isinstance(expected, float) or isinstance(found, float):
        if found is None or expected is None or not _near(str(found), str(expected), where):
            yield f"{where}: {found}, expected {expected}"
    elif found != expected:
        yield f"{where}: {found!r}, expected {expected!r}"


def _near(found: str, expected: str, where: str) -> bool:
    if found == expected:
        return True
    mine, other = (float(text.replace("−", "-")) for text in (found, expected))
    last = 10.0 ** -len(expected.partition("e")[0].partition(".")[2]) if "." in expected else 0
    relative = OF_TESTS if TESTS.search(where) else RELATIVE
    return math.isclose(mine, other, rel_tol=relative, abs_tol=1.01 * max(last, ABSOLUTE))

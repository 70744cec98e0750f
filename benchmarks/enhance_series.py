"""Peak memory of `latentsr enhance` on a long series of 512 x 512 to 2048 x 2048, killed on the way and resumed.

    .venv/bin/python benchmarks/enhance_series.py [SLICES [MODEL [FORMAT]]]

1000 slices, bicubic and DICOM unless told otherwise: with a network the memory beside it is the same (that of one slice
is in `enhance_memory.py`), and only the time is not. FORMAT nii writes NIfTI. The series is killed once half of its
slices are made, and started again; then it is made in one run, and the SHA-256 of every file compared. The folder for
all, TMPDIR's, needs about 30 MB a slice. Prints one JSON line. The exit status is 1 if a peak is not below LIMIT GB
(10^9 bytes), or bytes differ.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from pydicom.data import get_testdata_file

LIMIT, SIDE = 3.0, 512
LATENTSR = [sys.executable, "-c", "from latentsr.cli import main; main()"]


def main(slices: int, model: str, kind: str) -> int:
    """The exit status, after the figures have been printed."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = _series(Path(folder, "in"), slices, kind), Path(folder, "out")
        killed, before = _enhance(source, out, model, until=slices // 2)
        peak, after = _enhance(source, out, model)
        resumed = _hashes(out)
        shutil.rmtree(out)  # two results at once would take half as much room again
        whole_peak, whole = _enhance(source, Path(folder, "whole"), model)
        same = resumed == _hashes(Path(folder, "whole"))
    figures = {"killed_gb": killed, "resumed_gb": peak, "whole_gb": whole_peak}
    figures |= {"killed_s": before, "resumed_s": after, "whole_s": whole}
    rounded = {name: round(value, 2) for name, value in figures.items()}
    print(json.dumps({"slices": slices, "model": model, "format": kind, **rounded, "same_bytes": same}))
    return int(max(killed, peak, whole_peak) >= LIMIT or not same)


def _series(folder: Path, slices: int, kind: str) -> Path:
    """A real MR image, enlarged, at so many places, with other noise at each."""
    one, random = pydicom.dcmread(get_testdata_file("MR_small.dcm")), np.random.default_rng(0)
    picture = np.kron(one.pixel_array, np.ones((SIDE // one.Rows,) * 2, np.int16))
    folder.mkdir()
    if kind == "nii":
        voxels = np.empty((SIDE, SIDE, slices), np.int16, order="F")
        for number in range(slices):
            voxels[..., number] = (picture + random.integers(0, 99, picture.shape)).T
        nibabel.Nifti1Image(voxels, np.diag([0.5, 0.5, 1, 1])).to_filename(folder / "long.nii")
        return folder
    (folder / "long").mkdir()
    one.Rows = one.Columns = SIDE
    for number in range(slices):
        one.SOPInstanceUID, one.InstanceNumber, one.ImagePositionPatient = f"1.2.{number}", number, [0, 0, number]
        one.PixelData = (picture + random.integers(0, 99, picture.shape)).astype(np.int16).tobytes()
        one.save_as(folder / "long" / f"{number:04d}.dcm")
    return folder


def _enhance(source: Path, out: Path, model: str, until: int | None = None) -> tuple[float, float]:
    """Peak resident memory in GB and seconds of a process of its own, killed once `until` slices are made."""
    arguments = ["enhance", source, "-o", out, "--model", model, "--device", "cpu", "--max-pixels", 2**31]
    begin = time.perf_counter()
    process = subprocess.Popen([*LATENTSR, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while until is not None and process.poll() is None:
        states = [json.loads(path.read_text()) for path in out.with_name("out.run").glob("slices-*/state.json")]
        if states and states[0]["done"] >= until:
            process.kill()
            break
        time.sleep(0.05)
    _, status, usage = os.wait4(process.pid, 0)
    if status and not (until is not None and os.WIFSIGNALED(status)):
        sys.exit(f"enhance failed with status {os.waitstatus_to_exitcode(status)}")
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return usage.ru_maxrss * unit / 1e9, time.perf_counter() - begin


def _hashes(folder: Path) -> dict[str, str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


if __name__ == "__main__":
    slices, model, kind = [*sys.argv[1:], *("1000", "bicubic", "dicom")[len(sys.argv) - 1 :]]
    sys.exit(main(int(slices), model, kind))

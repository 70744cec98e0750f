"""GDCM in its own process: the same pixels, and nothing that it does ends this process."""

import contextlib
import os
import signal
from pathlib import Path

import gdcm as library
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, get_frame

from latentsr import io
from latentsr.errors import InputError
from latentsr.io.dicom import gdcm


@pytest.fixture
def lossless_jpeg(tmp_path: Path) -> Path:
    """MR_small in lossless JPEG, which only GDCM decodes."""
    reader, writer, change = library.ImageReader(), library.ImageWriter(), library.ImageChangeTransferSyntax()
    reader.SetFileName(get_testdata_file("MR_small.dcm"))
    assert reader.Read()
    change.SetTransferSyntax(library.TransferSyntax(library.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(tmp_path / "lossless.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return tmp_path / "lossless.dcm"


def test_lossless_jpeg_gives_the_pixels_of_the_plain_file(lossless_jpeg: Path) -> None:
    plain = io.read(get_testdata_file("MR_small.dcm"))
    for _ in range(2):
        np.testing.assert_array_equal(io.read(lossless_jpeg).pixels, plain.pixels)


def test_a_process_that_hangs_or_dies_is_one_failure_and_the_next_image_is_read(
    lossless_jpeg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    io.read(lossless_jpeg)
    for harm in (signal.SIGSTOP, signal.SIGKILL):
        monkeypatch.setattr(gdcm, "SECONDS", 0.5 if harm == signal.SIGSTOP else 8)
        running = gdcm._process(os.getpid()).process
        assert running is not None
        running.send_signal(harm)
        with pytest.raises(InputError, match="cut off, corrupt or of a rare kind"):
            io.read(lossless_jpeg)
        monkeypatch.undo()
        assert io.read(lossless_jpeg).pixels.shape == (1, 64, 64)


def test_a_codestream_without_its_middle_is_a_volume_or_one_line(lossless_jpeg: Path) -> None:
    image = pydicom.dcmread(lossless_jpeg)
    frame = get_frame(image.PixelData, 0, number_of_frames=1)
    image.PixelData = encapsulate([frame[:200] + frame[-200:]])
    image.save_as(lossless_jpeg)
    with contextlib.suppress(InputError):
        io.read(lossless_jpeg)

"""PNG bytes on a page: the pixels stay, all that was written beside them goes."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from latentsr.errors import InputError
from latentsr.report.drawing import bare_png, png_size


def test_size_is_that_of_the_pixels(png: Callable[[int, int], bytes]) -> None:
    assert png_size(png(17, 5)) == (17, 5)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16", "LA"])
def test_pixels_stay_and_side_notes_go(mode: str) -> None:
    image = Image.fromarray((np.arange(256, dtype=np.uint8) * 7).reshape(16, 16))
    image = (
        Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16) * 200)
        if mode == "I;16"
        else image.convert(mode)
    )
    text = PngImagePlugin.PngInfo()
    text.add_text("Patient", "DOE^JOHN")
    text.add_itxt("Path", "/home/ward", zip=True)
    exif = Image.Exif()
    exif[0x010E] = "DOE"
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=text, exif=exif)
    bare = Image.open(io.BytesIO(bare_png(buffer.getvalue(), "Research use only.")))
    assert bare.mode == image.mode
    assert bare.tobytes() == image.tobytes()
    assert bare.info.get("Description") == "Research use only."
    assert not {"Patient", "Path", "exif"} & bare.info.keys()


@pytest.mark.parametrize(
    "spoil", [lambda data: b"GIF89a" + data, lambda data: data[:-30], lambda data: data[:20], lambda data: b""]
)
def test_what_is_no_whole_png_is_refused(png: Callable[[int, int], bytes], spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(InputError, match="PNG"):
        bare_png(spoil(png(8, 8)))

"""A fuzz of `read`: whatever was done to a file, a valid volume or one printable line, soon and in little memory.

The mutations come from seeds, so that a failure is seen again with the seed that it names:
`python tests/io/test_fuzz.py FOLDER 17 18` tries the file of seed 17. `LATENTSR_FUZZ=20000` tries more of them.
They run in a process of their own, so that one that aborts, hangs or takes memory fails the test and does not end it.
"""

import gzip
import os
import random
import re
import resource
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from latentsr import io
from latentsr.errors import LatentSRError
from latentsr.volume import MAX_PIXELS

MUTATIONS = int(os.environ.get("LATENTSR_FUZZ", "2000"))
SECONDS, MEGABYTES, CHARACTERS = 10, 2048, 400
IDENTITY = "ZZIDENTITYZZ"

DICOM = (
    "MR_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm", "CT_small.dcm", "JPEGLSNearLossless_08.dcm", "image_dfl.dcm", "nested_priv_SQ.dcm",
)  # fmt: skip
_LONG = (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF", b"UC", b"UR")
_NUMBERS = (b"0", b"-1", b"1e308", b"nan", b"inf", b"1,5", b"99999999999999", b"1\\2\\3", b"", IDENTITY.encode())
_WORDS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)


class Element(NamedTuple):
    """Where an element of an explicit little endian data set lies: its tag, the end of its head, its value."""

    start: int
    value: int
    end: int
    wide: bool


def elements(content: bytes) -> list[Element]:
    """The top elements of a DICOM file, as far as they can be followed; those of implicit files are not found."""
    found, at = [], 132
    while at + 12 <= len(content):
        kind, wide = content[at + 4 : at + 6], content[at + 4 : at + 6] in _LONG
        if not kind.isalpha():
            break
        length = struct.unpack_from("<I" if wide else "<H", content, at + (8 if wide else 6))[0]
        value = at + (12 if wide else 8)
        end = min(value + length, len(content))
        found.append(Element(at, value, end, wide))
        at = end
    return found


def flip(content: bytes, chance: random.Random) -> bytes:
    """Other bits in a few bytes, more often near the beginning."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        changed[int(len(changed) * chance.random() ** chance.choice((1, 3)))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def cut(content: bytes, chance: random.Random) -> bytes:
    """The first part."""
    return content[: chance.randrange(len(content))]


def move(content: bytes, chance: random.Random) -> bytes:
    """A range left out, doubled or put elsewhere."""
    first, second = sorted(chance.randrange(len(content)) for _ in range(2))
    second = min(second, first + chance.choice((2, 8, 64, 1024)))
    part, place = content[first:second], chance.randrange(len(content))
    if chance.random() < 0.5:
        return content[:first] + content[second:]
    return content[:place] + part + content[place:]


def number(content: bytes, chance: random.Random) -> bytes:
    """An extreme number in place of two or four bytes."""
    form = chance.choice(("<H", ">H", "<I", ">I", "<f", "<d"))
    value = (
        chance.choice((float("nan"), float("inf"), -1e300 if form == "<d" else -1e30)) if form in ("<f", "<d") else 0
    )
    if form not in ("<f", "<d"):
        value = chance.choice(_WORDS) & (0xFFFF if form[1] == "H" else 0xFFFFFFFF)
    word = struct.pack(form, value)
    place = int((len(content) - len(word)) * chance.random() ** chance.choice((1, 3)))
    return content[:place] + word + content[place + len(word) :]


def length(content: bytes, chance: random.Random) -> bytes:
    """An element of another length than its value's; any word where there are no elements."""
    if not (found := elements(content)):
        return number(content, chance)
    one, word = chance.choice(found), chance.choice((*_WORDS, chance.randrange(4096)))
    if one.wide:
        return content[: one.value - 4] + struct.pack("<I", word & 0xFFFFFFFF) + content[one.value :]
    return content[: one.value - 2] + struct.pack("<H", word & 0xFFFF) + content[one.value :]


def value(content: bytes, chance: random.Random) -> bytes:
    """An element with a number, a text, the value of another element or random bytes for its value."""
    if not (found := elements(content)):
        return flip(content, chance)
    one, other = chance.choice(found), chance.choice(found)
    new = chance.choice((
        chance.choice(_NUMBERS), content[other.value : other.end][:4096], chance.randbytes(chance.choice((2, 4, 16))),
        b"\x1b[2J\x07\n" + IDENTITY.encode(), struct.pack("<H", chance.choice(_WORDS) & 0xFFFF),
    ))  # fmt: skip
    new += b" " * (len(new) % 2)
    size = struct.pack("<I" if one.wide else "<H", len(new))
    return content[: one.value - len(size)] + size + new + content[one.end :]


def kind(content: bytes, chance: random.Random) -> bytes:
    """An element of another value representation."""
    if not (found := [one for one in elements(content) if not one.wide]):
        return flip(content, chance)
    one = chance.choice(found)
    new = chance.choice((b"DS", b"IS", b"US", b"LO", b"UI", b"FD", b"AT", b"PN", b"TM", b"XX", b"\0\0"))
    return content[: one.start + 4] + new + content[one.start + 6 :]


def nest(content: bytes, chance: random.Random) -> bytes:
    """A sequence in sequences, many levels deep, between two elements."""
    if not (found := elements(content)):
        return move(content, chance)
    inner, undefined = b"", chance.random() < 0.5
    for _ in range(chance.choice((3, 15, 30, 100, 400))):
        size = 0xFFFFFFFF if undefined else len(inner)
        item = b"\xfe\xff\x00\xe0" + struct.pack("<I", size) + inner
        item += b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0" if undefined else b""
        inner = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF if undefined else len(item)) + item
    place = chance.choice(found).start
    return content[:place] + inner + content[place:]


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flip,
    cut,
    move,
    number,
    length,
    value,
    value,
    kind,
    nest,
)


def originals(folder: Path) -> list[tuple[str, bytes]]:
    """The whole files: name and content, DICOM with a planted identity and small images of the other formats."""
    found = [(f"{index}.dcm", _planted(name, folder)) for index, name in enumerate(DICOM)]
    grey = np.arange(24 * 20, dtype=np.uint16).reshape(24, 20) * 100
    volume = nibabel.Nifti1Image(np.arange(6 * 5 * 4, dtype=np.int16).reshape(6, 5, 4), np.eye(4))
    packed = gzip.compress(volume.to_bytes(), mtime=0)
    found += [("a.nii", volume.to_bytes()), ("a.nii.gz", packed)]
    for name, pixels in (("a.png", grey), ("a.tif", grey), ("a.jpg", (grey >> 8).astype(np.uint8))):
        Image.fromarray(pixels).save(folder / name)
        found.append((name, (folder / name).read_bytes()))
    return found


def _planted(name: str, folder: Path) -> bytes:
    image = pydicom.dcmread(get_testdata_file(name))
    for keyword in ("PatientName", "PatientID", "PatientComments", "StudyDescription", "AccessionNumber"):
        setattr(image, keyword, IDENTITY)
    image.save_as(folder / "planted.dcm")
    return (folder / "planted.dcm").read_bytes()


def mutate(seed: int, files: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """The file of a seed: its name and content."""
    chance = random.Random(seed)
    name, content = chance.choice(files[: len(DICOM)]) if chance.random() < 0.7 else chance.choice(files[len(DICOM) :])
    inside = name.endswith(".gz") and chance.random() < 0.5  # else the archive itself is spoilt
    content = gzip.decompress(content) if inside else content
    for _ in range(chance.choice((1, 1, 2, 4))):
        content = chance.choice(CHANGES)(content or b"\0", chance)
    return name, gzip.compress(content, mtime=0) if inside else content


def fault(path: Path) -> str:
    """What is wrong with how `read` takes the file; empty where nothing is."""
    begin = time.perf_counter()
    try:
        volume = io.read(path)
    except LatentSRError as error:
        text = str(error).replace(str(path), "FILE")
        told = text.isprintable() and len(text) <= CHARACTERS and IDENTITY not in text
        wrong = "" if told else f"a message that should not be: {text!r}"
    except BaseException as error:  # noqa: BLE001 - every other one is what is looked for
        wrong = f"raised {error!r}"
    else:
        sound = volume.pixels.ndim == 3 and volume.pixels.size <= MAX_PIXELS and np.isfinite(volume.pixels).all()
        wrong = "" if sound and volume.pixels.dtype == np.float32 else "a volume that is none"
    if (seconds := time.perf_counter() - begin) > SECONDS:
        return f"took {seconds:.1f} s"
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return f"took {megabytes} MB" if megabytes > MEGABYTES else wrong


def main(folder: Path, first: int, last: int) -> None:
    """Tries the seeds from `first` to before `last`, says each before it and what is wrong after it."""
    resource.setrlimit(resource.RLIMIT_AS, (4 * MEGABYTES << 20, 4 * MEGABYTES << 20))
    files = originals(folder)
    for seed in range(first, last):
        name, content = mutate(seed, files)
        path = folder / f"seed-{name}"
        path.write_bytes(content)
        _say(f"seed {seed} {name}")
        if wrong := fault(path):
            _say(f"FAULT seed {seed} {name}: {wrong}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _lines(folder: Path, first: int) -> Iterator[str]:
    """What the process says of the seeds from `first` on; it is killed where it says nothing for long."""
    command = [sys.executable, __file__, str(folder), str(first), str(MUTATIONS)]
    with (folder / "said").open("w+b") as said, (folder / "complaints").open("w+b") as complaints:
        process = subprocess.Popen(command, stdout=said, stderr=complaints)
        size, waited = 0, time.monotonic()
        while process.poll() is None:
            time.sleep(0.1)
            if (now := said.seek(0, os.SEEK_END)) != size:
                size, waited = now, time.monotonic()
            if time.monotonic() - waited > 6 * SECONDS:
                process.kill()
        process.wait()
        said.seek(0)
        complaints.seek(0)
        yield from said.read().decode().splitlines()
        if process.returncode:
            yield f"FAULT exit status {process.returncode}"
        if heard := complaints.read().decode(errors="replace"):
            yield f"FAULT on standard error: {heard[-1000:]}"


@pytest.mark.slow
def test_a_spoilt_file_is_a_volume_or_one_line(tmp_path: Path) -> None:
    first, faults = 0, []
    while first < MUTATIONS:
        lines = list(_lines(tmp_path, first))
        seeds = [int(match[1]) for line in lines if (match := re.match(r"seed (\d+)", line))]
        faults += [
            line if "seed" in line else f"{line} at seed {max(seeds, default=first)}"
            for line in lines
            if "FAULT" in line
        ]
        first = max(seeds, default=MUTATIONS) + 1  # after one that ended the process
    assert not faults, f"{len(faults)} of {MUTATIONS}:\n" + "\n".join(faults[:20])


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    files = originals(tmp_path)
    assert all(mutate(seed, files) == mutate(seed, files) for seed in range(50))
    assert len({mutate(seed, files)[1] for seed in range(50)}) > 45


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

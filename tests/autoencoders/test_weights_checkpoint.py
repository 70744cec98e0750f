import os
import pickle
import random
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from latentsr.autoencoders.weights import read_tensors
from latentsr.errors import ModelError

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2, dtype=torch.float16)}


class Code:
    """An object whose pickle makes a folder when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("suffix", [".ckpt", ".pth", ".bin", ".safetensors"])
@pytest.mark.parametrize("nested", [False, True])
def test_tensors_come_back_from_every_form(tmp_path: Path, suffix: str, nested: bool) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(TENSORS, path)
    else:
        torch.save({"state_dict": TENSORS, "epoch": 7, "callbacks": {}} if nested else TENSORS, path)
    read = read_tensors(path)
    assert read.keys() == TENSORS.keys()
    assert all(torch.equal(read[name], TENSORS[name]) for name in TENSORS)


def test_the_old_torch_format_is_read(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(read_tensors(tmp_path / "old.pth")["a.weight"], TENSORS["a.weight"])


def lightning_1(path: Path) -> None:
    """A checkpoint that refers to Lightning's callback class by name, as CompVis' files do."""
    torch.save({"state_dict": TENSORS, "callbacks": {Code: {"best_model_path": "x"}}}, path)
    wanted = "pytorch_lightning.callbacks.model_checkpoint\nModelCheckpoint\n"
    torch.save({"state_dict": TENSORS, "callbacks": "PLACE"}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    short = b"X\x05\x00\x00\x00PLACE"
    assert content.count(short) == 1
    path.write_bytes(content.replace(short, b"c" + wanted.encode()))


def test_the_callbacks_of_old_lightning_checkpoints_are_passed_over(tmp_path: Path) -> None:
    lightning_1(tmp_path / "model.ckpt")
    assert torch.equal(read_tensors(tmp_path / "model.ckpt")["a.weight"], TENSORS["a.weight"])


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("beside", [True, False])
def test_a_pickle_with_code_is_refused_and_nothing_runs(tmp_path: Path, new: bool, beside: bool) -> None:
    path, mark = tmp_path / "evil.ckpt", tmp_path / "ran"
    content = {"state_dict": TENSORS, "extra": Code(mark)} if beside else Code(mark)
    torch.save(content, path, _use_new_zipfile_serialization=new)
    with pytest.raises(ModelError, match=r"evil\.ckpt: asks for code \(\w+\.mkdir\)") as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_a_bare_pickle_with_code_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    path, mark = tmp_path / "evil.pth", tmp_path / "ran"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps({"a.weight": Code(mark)}, protocol=protocol))
        with pytest.raises(ModelError, match=r"evil\.pth"):
            read_tensors(path)
        assert not mark.exists()


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_file_that_was_cut_off_is_named(tmp_path: Path, suffix: str, share: float) -> None:
    path, tensors = tmp_path / f"cut{suffix}", {"a": torch.randn(100, 100)}
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ModelError, match=rf"cut\{suffix}: not a whole") as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)


def written(path: Path, form: str) -> bytes:
    """The bytes of a small file of weights of that form, written to the path."""
    if form == "safetensors":
        save_file(TENSORS, path)
    else:
        torch.save({"state_dict": TENSORS}, path, _use_new_zipfile_serialization=form == "zip")
    return path.read_bytes()


def is_read(path: Path) -> bool:
    """Whether the file gives tensors; if not it must be an error of one line that names it, and nothing be printed."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            tensors = read_tensors(path)
        except ModelError as error:
            fault = str(error)
        else:
            return all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())
    assert str(path) in fault
    assert "\n" not in fault
    return False


@pytest.mark.parametrize("form", ["legacy", "zip", "safetensors"])
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, form: str) -> None:
    path = tmp_path / ("cut.safetensors" if form == "safetensors" else "cut.ckpt")
    whole = written(path, form)
    for length in range(0, len(whole), 1 if form == "legacy" else 7):
        path.write_bytes(whole[:length])
        assert not is_read(path), length


@pytest.mark.parametrize("form", ["legacy", "zip", "safetensors"])
def test_altered_bytes_give_tensors_or_one_error(tmp_path: Path, form: str) -> None:
    path = tmp_path / ("altered.safetensors" if form == "safetensors" else "altered.ckpt")
    whole, draw = written(path, form), random.Random(0)
    read = []
    for _ in range(600):
        content = bytearray(whole)
        for _ in range(draw.choice((1, 1, 2, 4, 8))):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content)
        read.append(is_read(path))
    assert {True, False} == set(read)


def test_a_name_of_two_lines_is_shown_on_one(tmp_path: Path) -> None:
    torch.save({"a\nb": 3}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match=r"'a\\nb' is no tensor"):
        read_tensors(tmp_path / "other.pth")


def test_the_pickle_protocol_of_a_whole_file_is_no_warning(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "new.pth", pickle_protocol=3)
    assert is_read(tmp_path / "new.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds no tensors by name"),
        ({}, "holds no tensors by name"),
        ({"state_dict": {}}, "holds no tensors by name"),
        ({"a": torch.zeros(1), "epoch": 3}, "'epoch' is no tensor"),
    ],
)
def test_what_is_no_state_dict_is_named(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ModelError, match=message):
        read_tensors(tmp_path / "other.pth")


def test_a_missing_file_and_a_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="missing"):
        read_tensors(tmp_path / "no.ckpt")
    (tmp_path / "page.ckpt").write_text("<html>404 Not Found</html>")
    with pytest.raises(ModelError, match=r"page\.ckpt: not a whole file of weights"):
        read_tensors(tmp_path / "page.ckpt")

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from latentsr.autoencoders import Autoencoder, load_autoencoder
from latentsr.bench import from_images, from_model, measure_dataset, parse_method
from latentsr.bench.inputs import Naming, Target
from latentsr.data.records import Dataset
from latentsr.degrade import Degradation, enlarge, parse_degradation
from latentsr.errors import InputError, ModelError, OptionError
from latentsr.io.raster import write_pixels
from latentsr.upscalers import Method, Restored, Sampling
from latentsr.upscalers.model import SuperResolver

X4 = parse_degradation("bicubic:4")


@dataclass
class MadeUpModel:
    """Stands for a SuperResolver: enlarges bicubically and keeps what it was called with."""

    degradation: Degradation = X4
    called_with: Sampling | None = None
    name: str = "made-up"
    hash: str = "0" * 64
    training_images: frozenset[str] = frozenset()
    autoencoder: Autoencoder = field(default_factory=lambda: load_autoencoder("haar"))

    @property
    def scale(self) -> int:
        return self.degradation.scale

    calibration: None = None

    def check(self, sampling: Sampling) -> None:
        """Takes all."""

    def undoing(self, degradation: Degradation) -> "MadeUpModel":
        return self

    def settled(self, sampling: Sampling) -> Sampling:
        return sampling.model_copy(update={"steps": sampling.steps or 1})

    def uncalibrated(self, sampling: Sampling) -> str:
        return "not calibrated"

    def evaluations(self, sampling: Sampling) -> int:
        return sampling.samples * sampling.steps

    def restore(self, lr: Tensor, *, ids: list[str], sampling: Sampling) -> Restored:
        self.called_with = sampling
        return Restored(enlarge(lr, self.scale), None)


def parse(text: str, dataset: Dataset) -> Method:
    return parse_method(text, degradation=X4, device="cpu").bind(
        Target(dataset.records, Naming("abdomen", show_ids=True))
    )[0]


def files(folder: Path, dataset: Dataset, *, show_ids: bool = True) -> Method:
    return from_images("mine", folder).bind(Target(dataset.records, Naming("abdomen", show_ids)))[0]


def test_baselines_by_name(dataset: Dataset) -> None:
    lr = torch.rand(2, 1, 8, 12)
    plain, projected = (parse(text, dataset) for text in ("bicubic", "bicubic+projection"))
    assert (plain.name, projected.name) == ("bicubic", "bicubic+projection")
    torch.testing.assert_close(plain.restore(lr, ["a", "b"]).image, enlarge(lr, 4))
    torch.testing.assert_close(X4.apply(projected.restore(lr, ["a", "b"]).image), lr, rtol=0, atol=1e-5)


def test_images_are_paired_by_name(dataset: Dataset, images: Path) -> None:
    (images / "deeper").mkdir()
    (images / "007.png").rename(images / "deeper" / "007.png")
    (images / ".hidden.png").write_bytes(b"")
    (images / "run.json").write_text("{}")
    table = measure_dataset(dataset, [parse(f"mine={images}", dataset)], X4, metrics=["mae"], batch=2)
    mae = table[table["metric"] == "mae"].set_index("id")["value"]
    expected = {record.id: 1 / 255 / (record.rows * record.columns) for record in dataset.records}
    assert mae.to_dict() == pytest.approx(expected, rel=1e-4)


def test_16_bit_images_have_the_same_scale(dataset: Dataset, images: Path) -> None:
    for record in dataset.records:
        pixels = np.round(dataset.image(record).astype(np.float64) * 65535).astype(np.uint16)
        (images / f"{record.id}.png").unlink()
        write_pixels(images / f"{record.id}.tif", pixels)
    table = measure_dataset(dataset, [files(images, dataset)], X4, metrics=["mae"])
    assert (table.loc[table["metric"] == "mae", "value"] < 1e-7).all()


def test_files_that_do_not_pair_are_listed(dataset: Dataset, images: Path) -> None:
    (images / "008.png").rename(images / "stranger.png")
    write_pixels(images / "again" / "009.png", np.zeros((176, 192), np.uint8))
    with pytest.raises(InputError, match=r"5 images.*missing: 008; surplus: stranger; duplicated: 009\)"):
        files(images, dataset)


def test_a_wrongly_sized_file_is_listed(dataset: Dataset, images: Path) -> None:
    write_pixels(images / "010.png", np.zeros((64, 64), np.uint8))
    with pytest.raises(InputError, match=r"wrongly sized: 010\)"):
        files(images, dataset)


def test_an_empty_folder_lists_what_is_missing(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing: 007, 008, 009, 010, 011"):
        parse(f"mine={tmp_path}", dataset)


def test_a_model_is_called_with_its_options(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = MadeUpModel(), []

    def load(name: str, *, device: str) -> MadeUpModel:
        asked.append((name, device))
        return model

    monkeypatch.setattr(SuperResolver, "load", load)
    method = parse("mine=some-model?steps=16&samples=4&consistency=false&tile=0", dataset)
    assert (method.evaluations, method.latents) == (64, False)
    method.restore(torch.rand(1, 1, 8, 8), ["a"])
    assert asked == [("some-model", "cpu")]
    assert model.called_with == Sampling(steps=16, samples=4, consistency=False, tile=None)
    parse("mine=some-model", dataset).restore(torch.rand(1, 1, 8, 8), ["a"])
    assert model.called_with == Sampling(steps=1)


def test_what_is_neither_a_folder_nor_a_model_is_told_so(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "nowhere", tmp_path / "file", f"{tmp_path}/nowhere?steps=2"):
        told = str(place).partition("?")[0]
        with pytest.raises(ModelError, match=rf"method 'mine': '{told}' is neither a folder nor .* realesrgan"):
            parse(f"mine={place}", dataset)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="get the whole model again"):
        parse(f"mine={tmp_path / 'model'}", dataset)


def test_a_model_of_another_scale_is_refused() -> None:
    with pytest.raises(
        OptionError, match=r"enlarges 2 times.*reduces 4 times: set the option degradation to bicubic:2"
    ):
        from_model("mine", MadeUpModel(parse_degradation("bicubic:2")), X4, Sampling())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bicubik", "expected bicubic, bicubic\\+projection, NAME=FOLDER"),
        ("=folder", "expected bicubic"),
        ("mine=", "expected bicubic"),
        ("mine=model?step=4", "unknown key 'step'; expected .*steps"),
        ("mine=model?steps=0", "steps"),
        ("mine=model?steps=many", "steps is 'many'"),
        ("mine=model?steps", "expected key=value"),
        ("mine=model?steps=1&steps=2", "option steps is given twice"),
        ("mine=.?steps=4", "options steps are for models"),
        ("b=bicubic", "bicubic is always called bicubic; give bicubic without a name"),
        ("b=bicubic+projection?steps=4", r"give bicubic\+projection without a name"),
    ],
)
def test_wrong_texts_are_refused(text: str, message: str, dataset: Dataset) -> None:
    with pytest.raises(OptionError, match=message):
        parse(text, dataset)

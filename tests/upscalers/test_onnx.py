"""The back end without torch: torch's pixels to rounding, a file that follows from the weights, refusals in words."""

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from pydicom.data import get_testdata_file

import latentsr
from latentsr import read
from latentsr.autoencoders import load_autoencoder
from latentsr.diffusion.denoiser import Denoiser, DenoiserSpec
from latentsr.diffusion.latents import LatentSpace, Statistics
from latentsr.errors import ModelError, OptionError
from latentsr.upscalers import Sampling, Upscaler, load_upscaler
from latentsr.upscalers.inputs import TrainedInputs
from latentsr.upscalers.model import save_model
from latentsr.upscalers.onnx import _network
from latentsr.upscalers.restorer import ModelConfig
from latentsr.upscalers.through_plane import ThroughPlane

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

TINY = "latentsr-tiny"
NOISY = "blur:0.5,bicubic:4,noise:0.02"


@pytest.fixture(autouse=True, scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which ONNX files are kept."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LATENTSR_HOME", str(home))
        yield home / "onnx"


@pytest.fixture(scope="module")
def both(kept: Path) -> tuple[Upscaler, Upscaler]:
    """The shipped model by torch and by ONNX Runtime."""
    return load_upscaler(TINY, device="cpu"), load_upscaler(TINY, backend="onnx")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """A real MR image, (1, 1, 64, 64), in [0, 1]."""
    return read(str(get_testdata_file("MR_small.dcm"))).unit()[:, None]


def regression(folder: Path, autoencoder: str, *, family: str = "regression", target: str = "latent") -> Path:
    """A model of random weights in the latents of that name, which enlarges twice and was trained on noise."""
    latent = load_autoencoder(autoencoder)
    channels = latent.spec.latent_channels
    statistics = {
        ("hr" if target == "latent" else "residual"): Statistics(mean=(0.1,) * channels, sd=(0.3,) * channels),
        "pixels": Statistics(mean=(-0.2,), sd=(0.5,)),
        "noise-level": Statistics(mean=(0.01,), sd=(0.05,)),
    }
    spec = DenoiserSpec(
        latent_channels=channels, condition_channels=2, channels=(8,), layers=2, groups=1, family=family
    )
    smooth = np.random.default_rng(0).random((50, 1, 20, 24)).cumsum(-1).cumsum(-2)
    config = ModelConfig(
        name=folder.name, degradation="bicubic:2", autoencoder=autoencoder, autoencoder_hash=latent.hash, denoiser=spec,
        space=LatentSpace(conditions=("pixels", "noise-level"), target=target, statistics=statistics),
        objective="x0", schedule="cosine", solver="dpm++", modalities=("MR",),
        inputs=TrainedInputs.of({"smooth": smooth}, (9, 9)),
    )  # fmt: skip
    torch.manual_seed(0)
    save_model(folder, config, Denoiser(spec).state_dict(), card=f"# {folder.name}\n")
    return folder


def difference(both: tuple[Upscaler, Upscaler], lr: np.ndarray, sampling: Sampling) -> float:
    """The PSNR in dB of ONNX Runtime's images against torch's."""
    ids = ["a"] * len(lr)
    expected = both[0].restore(torch.from_numpy(lr), ids=ids, sampling=sampling).image.numpy()
    found = both[1].restore(lr, ids=ids, sampling=sampling).image
    assert found.dtype == np.float32
    return float(-10 * np.log10(np.square(found - expected, dtype=np.float64).mean()))


@pytest.mark.parametrize(
    ("rows", "columns", "options"),
    [
        (64, 64, {}),
        (33, 50, {"consistency": False}),
        (70, 89, {"tile": 64}),
    ],
)
def test_pixels_are_torch_s(
    both: tuple[Upscaler, Upscaler], image: np.ndarray, rows: int, columns: int, options: dict[str, int]
) -> None:
    lr = np.tile(image, (1, 1, 2, 2))[..., :rows, :columns]
    lr = np.concatenate([lr, lr[..., ::-1]]) if rows < 64 else lr
    assert difference(both, lr, Sampling(**options)) > 125


def test_another_degradation_is_undone_as_torch_does(both: tuple[Upscaler, Upscaler], image: np.ndarray) -> None:
    one, other = (load_upscaler(TINY, degradation=NOISY, backend=name) for name in ("torch", "onnx"))
    assert difference((one, other), image, Sampling()) > 125
    assert difference((both[0], other), image, Sampling()) < 60


@pytest.mark.parametrize("target", ["latent", "residual"])
def test_a_model_of_one_s_own_at_another_scale(image: np.ndarray, tmp_path: Path, target: str) -> None:
    folder = regression(tmp_path / "mine", "haar-2", target=target)
    models = load_upscaler(folder, device="cpu"), load_upscaler(folder, backend="onnx")
    assert models[1].scale == 2
    unlike = [model.unlike(read(str(get_testdata_file("MR_small.dcm")))) for model in models]
    assert unlike[0] == unlike[1]
    assert any("pixel spacing unlike training" in text for text in unlike[1])
    assert difference(models, image, Sampling(consistency=False)) > 120


def test_another_process_can_be_handed_it(image: np.ndarray) -> None:
    model = load_upscaler(TINY, degradation=NOISY, backend="onnx")
    again = pickle.loads(pickle.dumps(model))
    assert (again.hash, again.degradation) == (model.hash, model.degradation)
    assert np.array_equal(again.restore(image, ids=["a"]).image, model.restore(image, ids=["a"]).image)


def test_slices_are_brought_closer_by_it_too(
    both: tuple[Upscaler, Upscaler], image: np.ndarray, tmp_path: Path
) -> None:
    slices = np.stack([image[0, 0, row : row + 24, :24] for row in range(4)], -1)
    nibabel.save(nibabel.Nifti1Image(slices, np.diag((1, 1, 3, 1))), tmp_path / "thick.nii")
    by_torch, by_onnx = (ThroughPlane(model).enhance(tmp_path / "thick.nii") for model in both)
    assert by_onnx.volume.pixels.shape == (12, 24, 24)
    assert np.abs(by_onnx.volume.pixels - by_torch.volume.pixels).max() < 1e-5
    assert by_onnx.provenance.model_hash == by_torch.provenance.model_hash
    assert json.loads(by_onnx.provenance.options)["backend"] == "onnx"


def test_results_say_which_back_end_made_them(both: tuple[Upscaler, Upscaler]) -> None:
    by_torch, by_onnx = (one.provenance(Sampling()) for one in both)
    assert by_onnx.model_hash == by_torch.model_hash  # the model is the same
    assert json.loads(by_onnx.options) == {**json.loads(by_torch.options), "backend": "onnx"}
    assert (by_onnx.image, by_onnx.model) == (by_torch.image, by_torch.model)
    assert both[0].hash != both[1].hash  # on which digests of finished work depend


def test_the_file_is_made_once_and_again_where_it_is_not_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LATENTSR_HOME", str(tmp_path))
    said: list[str] = []
    for _ in range(2):
        load_upscaler(TINY, backend="onnx", tell=said.append)
    assert said == [f"making the ONNX file of {TINY}, which is made once for a model"]
    (network,) = tmp_path.glob("onnx/*/network.onnx")
    whole = network.read_bytes()
    for harm in (whole[:-10], whole[:-10] + bytes(10), b""):
        network.write_bytes(harm)
        load_upscaler(TINY, backend="onnx", tell=said.append)
        assert network.read_bytes() == whole
    facts = network.with_name("facts.json")
    facts.write_text(facts.read_text().replace("bicubic:4", "bicubic:2"))
    assert load_upscaler(TINY, backend="onnx", tell=said.append).scale == 4
    assert said[1:] == [f"making the ONNX file of {TINY}, which was altered or cut off"] * 4
    assert list((tmp_path / "onnx").iterdir()) == [network.parent]


def test_other_weights_have_a_file_of_their_own(kept: Path, tmp_path: Path) -> None:
    said: list[str] = []
    before = set(kept.iterdir()) if kept.exists() else set()
    folder = regression(tmp_path / "model", "haar-2", target="residual")
    load_upscaler(folder, backend="onnx", tell=said.append)
    assert said == ["making the ONNX file of model, which is made once for a model"]
    assert len(set(kept.iterdir()) - before) == 1
    (folder / "denoiser.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"denoiser.safetensors was altered"):
        load_upscaler(folder, backend="onnx")


@pytest.mark.parametrize("options", [{"realism": 0.5}, {"samples": 2}, {"steps": 2}, {"solver": "ddim"}])
def test_what_makes_samples_is_refused(both: tuple[Upscaler, Upscaler], image: np.ndarray, options: dict) -> None:
    with pytest.raises(OptionError, match=r"onnx gives the posterior mean of latentsr-tiny alone.*the backend torch"):
        both[1].restore(image, ids=["a"], sampling=Sampling(**options))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "cuda"}, r"device cuda: the backend onnx computes on the CPU"),
        ({"backend": "onxx"}, r"backend onxx: expected torch or onnx; did you mean onnx"),
        ({"scale": 2}, r"scale 2: model latentsr-tiny enlarges 4 times"),
        ({"name_or_folder": "bicubic"}, r"backend onnx: bicubic has no network"),
    ],
)
def test_what_it_does_not_do_is_refused(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        load_upscaler(**{"name_or_folder": TINY, "backend": "onnx", **arguments})


def test_other_models_are_refused_in_words(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"here the posterior mean is a diffusion network's: choose the backend torch"):
        load_upscaler(model_folder, backend="onnx")
    with pytest.raises(ModelError, match=r"here latents are those of haar at 1/4"):
        load_upscaler(regression(tmp_path / "model", "haar"), backend="onnx")


@pytest.mark.parametrize("other", [torch.nn.LeakyReLU(), torch.nn.Conv2d(64, 64, 3, padding=2, dilation=2)])
def test_a_layer_that_it_does_not_know_is_refused(other: torch.nn.Module) -> None:
    mean = load_upscaler(f"{Path(latentsr.__file__).parent / 'models' / TINY / 'base'}", device="cpu")
    mean.denoiser.body[0] = other
    with pytest.raises(ModelError, match="the backend onnx knows no layer such as"):
        _network(mean)


def test_without_onnx_runtime_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(OptionError, match=r"needs ONNX Runtime: pip install 'latentsr\[onnx\]'"):
        load_upscaler(TINY, backend="onnx")


def test_a_folder_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LATENTSR_HOME", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"cannot write .*: set LATENTSR_HOME to a folder that can be written"):
        load_upscaler(regression(tmp_path / "model", "haar-2"), backend="onnx")


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_no_memory_is_told_as_torch_tells_it(both: tuple[Upscaler, Upscaler]) -> None:
    program = (
        "import resource, numpy as np\nfrom latentsr.upscalers import Sampling, load_upscaler\n"
        "model = load_upscaler('latentsr-tiny', backend='onnx')\n"
        "taken = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (taken + 2**28,) * 2)\n"
        "model.restore(np.zeros((1, 1, 1024, 1024), np.float32), ids=['a'], sampling=Sampling(tile=None))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "allocate memory" in done.stderr.partition("\nRuntimeError: ")[2]


def enhanced_without_torch(*arguments: object) -> None:
    """`latentsr enhance --backend onnx ARGUMENTS...` in a process of its own, which must not import torch."""
    program = (
        "import sys\nfrom latentsr.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    code = end.code\n"
        "sys.exit('torch is imported' if 'torch' in sys.modules else code)"
    )
    command = [sys.executable, "-c", program, "enhance", "--backend", "onnx", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_a_model_knows_of_its_training_is_compared_without_torch(tmp_path: Path) -> None:
    folder = regression(tmp_path / "mine", "haar-2")
    load_upscaler(folder, backend="onnx")  # makes the ONNX file, with torch
    enhanced_without_torch(get_testdata_file("MR_small.dcm"), "-o", tmp_path / "out", "--model", folder)
    (file,) = json.loads((tmp_path / "out.run" / "run.json").read_text())["files"]
    assert [text.partition(" unlike training")[0] for text in file["warnings"]] == [
        "pixel spacing",
        "noise",
        "intensity",
    ]


def test_a_folder_of_files_is_enhanced_without_torch(both: tuple[Upscaler, Upscaler], tmp_path: Path) -> None:
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    pixels = (read(str(get_testdata_file("MR_small.dcm"))).unit()[0, :24, :30] * 255).astype(np.uint8)
    Image.fromarray(pixels).save(scans / "a.png")
    nibabel.save(nibabel.Nifti1Image(np.stack([pixels, pixels[::-1]], -1), np.diag((1, 1, 3, 1))), scans / "b.nii")
    (scans / "c.dcm").write_bytes(Path(str(get_testdata_file("MR_small.dcm"))).read_bytes())
    for more in ([], ["--dry-run", "--overwrite"]):
        enhanced_without_torch(scans, "-o", out, "--view", "--json", *more)
    run = json.loads((tmp_path / "out.run" / "run.json").read_text())
    assert [one["status"] for one in run["files"]] == ["written"] * 3
    assert (run["backend"], run["model"], run["threads"] > 0) == ("onnx", TINY, True)
    assert (run["onnxruntime"], run["model_hash"]) == (onnxruntime.__version__, both[0].hash)
    assert json.loads(Image.open(out / "a.png").text["latentsr:options"])["backend"] == "onnx"
    by_torch = both[0].enhance(scans / "a.png").volume.pixels[0].clip(0, 255)
    assert np.abs(np.asarray(Image.open(out / "a.png"), float) - by_torch).max() < 0.501

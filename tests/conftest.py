"""What all tests share: one thread, fixed seeds, no network, and the folders of reference data."""

import json
import multiprocessing
import os
import random
import socket
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

# Before numpy and torch are imported: they read these once. The processes that tests start inherit them.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import numpy as np
import pytest
import yaml
from hypothesis import settings

# The same examples on every run, and no time limit an example: two shared cores are slow at times.
settings.register_profile("latentsr", deadline=None, derandomize=True, database=None, max_examples=50)
settings.load_profile("latentsr")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder with exact inputs and outputs of public implementations, part of the repository."""
    return REPOSITORY / "tests" / "golden"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real images beside the checkout; a test that asks for it is skipped where it is missing."""
    folder = REPOSITORY.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("no ../shared/data beside this checkout")
    return folder


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """The global generators start alike in every test, whatever ran before and in whatever worker."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - for the libraries that still draw from it
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test cuts the power: waiting for the disk shows nothing."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to anything but this machine fails the test that tries it."""
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError("a test tried to reach the network")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_here)


@pytest.fixture
def full_disk() -> Callable[[int], AbstractContextManager[None]]:
    """(bytes) -> a block in which no file grows beyond so many bytes: writing really fails, as on a full disk."""
    resource = pytest.importorskip("resource")

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


def exit_code(process: BaseProcess, seconds: float = 120) -> int:
    """The exit code of a process, which is killed and fails the test unless it ends in that time."""
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        pytest.fail(f"the process of its own had not ended after {seconds} s and was killed")
    return process.exitcode


@pytest.fixture(scope="session")
def forked() -> Callable[..., int]:
    """(work, fresh=False) -> the exit code of a process of its own that does the work, such as -9 where it is killed.

    A fork: a new interpreter would import torch for seconds. What the work changes in modules, it changes there alone.
    In a `fresh` process latentsr has not been imported yet, only what it imports.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("processes cannot be forked here")

    def run(work: Callable[[], object], fresh: bool = False) -> int:
        def target() -> None:
            for name in [name for name in sys.modules if fresh and name.partition(".")[0] == "latentsr"]:
                del sys.modules[name]
            work()

        return exit_code(multiprocessing.get_context("fork").Process(target=target))

    return run


@pytest.fixture(scope="session")
def untrained() -> Callable[..., int]:
    """(program, *arguments) -> the exit code of a process of its own that runs this text, and has trained nothing yet.

    torch refuses to train in a fork of a process that has trained. One server imports what trainings need, which takes
    ten seconds, and is forked for every program. The text finds its arguments in `arguments`.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("processes cannot be forked here")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["latentsr.training.autoencoder", "latentsr.training.fit_denoiser"])

    def run(program: str, *arguments: object) -> int:
        return exit_code(context.Process(target=exec, args=(program, {"arguments": tuple(map(str, arguments))})))

    return run


class Said(NamedTuple):
    """What a command left: exit status, standard output and standard error."""

    status: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """`latentsr ARGUMENTS...` in this process, as the console script calls it."""
    from latentsr import cli

    def command(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["latentsr", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        shown = capsys.readouterr()
        return Said(int(left.value.code or 0), shown.out, shown.err)

    return command


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., Any]:
    """(root, images, patients, name, split) -> a prepared dataset of these 8 or 16 bit images; ids are 000, 001, ..."""
    from latentsr.config import sha256
    from latentsr.data.records import Dataset, Record, write_dataset
    from latentsr.io.raster import write_pixels

    def make(
        root: Path, images: Sequence[np.ndarray], patients: Sequence[str], name: str = "abdomen", split: str = "valid"
    ) -> Dataset:
        records = []
        for number, (pixels, patient) in enumerate(zip(images, patients, strict=True)):
            file = f"images/{number:03d}.png"
            write_pixels(root / file, np.ascontiguousarray(pixels))
            records.append(Record(f"{number:03d}", patient, split, file, *pixels.shape, sha256(root / file)))
        return write_dataset(root, name, records, {})

    return make


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights in the Haar latent, x4, so small that an image takes milliseconds."""
    return save_small_model(tmp_path_factory.mktemp("model") / "small", "haar")


@pytest.fixture(scope="session")
def lossy_model_folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Three models like it, each in a latent of its own that loses something: of 1, 3 and 8 channels at 1/4."""
    from latentsr.autoencoders.architectures import SmallKL
    from latentsr.autoencoders.network import save_network

    root, made = tmp_path_factory.mktemp("lossy"), []
    for channels in (1, 3, 8):
        save_network(
            SmallKL(latent_channels=channels, width=4, blocks=1), root / f"vae-{channels}", facts={"domain": "medical"}
        )
        made.append(save_small_model(root / f"kl-{channels}", str(root / f"vae-{channels}")))
    return made[0], made[1], made[2]


@dataclass(frozen=True)
class Golden:
    """A golden autoencoder: its published files, and what goes in and comes out, as tensors."""

    weights: Path
    config: Path
    image: Any
    mean: Any
    sd: Any
    decoded: Any

    def change(self, edit: Callable[[dict[str, Any]], object]) -> Path:
        """The weights, written again after `edit`."""
        import torch

        tensors = torch.load(self.weights, weights_only=True)["state_dict"]
        edit(tensors)
        torch.save({"state_dict": tensors}, self.weights)
        return self.weights


@pytest.fixture
def golden_medvae(golden: Path, tmp_path: Path) -> Callable[[str], Golden]:
    """Writes the golden MedVAE of that shape ("4x3") as it is published, and says what it makes of an image."""
    import torch

    def write(shape: str) -> Golden:
        arrays = np.load(golden / f"medvae_{shape}.npz")
        meta = json.loads(str(arrays["meta"]))
        tensors = {name: torch.from_numpy(value) for name, value in _formula(meta["seed"], meta["shapes"]).items()}
        factor, channels = shape.split("x")
        weights, config = tmp_path / f"vae_{factor}x_{channels}c_2D.ckpt", tmp_path / f"medvae_{shape}.yaml"
        torch.save({"state_dict": tensors, "epoch": 3, "loops": {}}, weights)
        config.write_text(yaml.safe_dump(meta["config"]))
        given = (torch.from_numpy(arrays[key]) for key in ("image", "latent_mean", "latent_std", "decoded"))
        return Golden(weights, config, *given)

    return write


@pytest.fixture(scope="session")
def weights_of() -> Callable[[int, Mapping[str, list[int]]], dict[str, np.ndarray]]:
    """(seed, shapes) -> the made-up weights of the golden files."""
    return _formula


def _formula(seed: int, shapes: Mapping[str, list[int]]) -> dict[str, np.ndarray]:
    """The weights of section 5 of the published protocol, a function of seed and name."""
    arrays = {}
    for name, shape in shapes.items():
        draw = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(shape).astype(np.float32)
        if len(shape) >= 2:
            draw = draw * 0.7 / np.sqrt(np.prod(shape[1:]))
        elif "norm" in name and name.endswith("weight"):
            draw = 1 + 0.1 * draw
        else:
            draw = 0.1 * draw
        arrays[name] = draw.astype(np.float32)
    return arrays


def save_small_model(folder: Path, autoencoder: str) -> Path:
    """Writes a model of random weights in the latent of that name or folder, which must be at 1/4; its folder."""
    import torch

    from latentsr.autoencoders import load_autoencoder
    from latentsr.diffusion.denoiser import Denoiser, DenoiserSpec
    from latentsr.diffusion.latents import LatentSpace, Statistics
    from latentsr.upscalers.model import AUTOENCODER, save_model
    from latentsr.upscalers.restorer import ModelConfig

    latent = load_autoencoder(autoencoder, device="cpu")
    channels = latent.spec.latent_channels
    statistics = {
        "residual": Statistics(mean=(0.0,) * channels, sd=(0.1,) * channels),
        "pixels": Statistics(mean=(0.0,), sd=(0.5,)),
    }
    spec = DenoiserSpec(latent_channels=channels, condition_channels=1, channels=(8, 16), layers=1, groups=4)
    config = ModelConfig(
        name=folder.name, degradation="bicubic:4",
        autoencoder=autoencoder if latent.folder is None else AUTOENCODER,
        autoencoder_hash=latent.hash, denoiser=spec,
        space=LatentSpace(conditions=("pixels",), target="residual", statistics=statistics),
        objective="x0", schedule="cosine", solver="dpm++", modalities=("MR",), size=(256, 256),
    )  # fmt: skip
    torch.manual_seed(0)
    save_model(folder, config, Denoiser(spec).state_dict(), card=f"# {folder.name}\n", autoencoder=latent.folder)
    return folder

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydicom import dcmread
from pydicom.data import get_testdata_file
from torch import Tensor

from latentsr.autoencoders.architectures import SmallKL
from latentsr.autoencoders.network import FrozenAutoencoder
from latentsr.autoencoders.protocol import AutoencoderSpec
from latentsr.device import resident, resolve_precision
from latentsr.diffusion.denoiser import Compiled, Denoiser, DenoiserSpec
from latentsr.diffusion.latents import LatentSpace, Statistics
from latentsr.diffusion.published import PublishedSampling
from latentsr.enhance import Job
from latentsr.errors import InputError, OptionError
from latentsr.upscalers import Sampling, load_upscaler
from latentsr.upscalers.model import SuperResolver
from latentsr.upscalers.restorer import ModelConfig, Restorer

ENOUGH = 50.0  # dB to the same in float32


def psnr(one: Tensor, other: Tensor) -> float:
    return -10 * math.log10((one - other).square().mean().item())


def head() -> Tensor:
    pixels = torch.from_numpy(dcmread(str(get_testdata_file("MR_small.dcm"))).pixel_array.astype("float32"))
    return ((pixels - pixels.min()) / (pixels.max() - pixels.min()))[None, None]


def published(precision: str = "float32") -> Restorer:
    """The published form, small: a UNet with attention, walked as published, in the latents of a network."""
    torch.manual_seed(0)
    spec = AutoencoderSpec("small", "here", "Apache-2.0", "none", 1, 3, 4)
    autoencoder = FrozenAutoencoder(SmallKL(latent_channels=3, factor=4), spec, "small", None)
    unet = DenoiserSpec(
        latent_channels=3, condition_channels=3, channels=(16, 32), attention=(False, True), middle_attention=True
    )
    unit = Statistics(mean=(0.0,) * 3, sd=(1.0,) * 3)
    config = ModelConfig(
        name="small", degradation="bicubic:4", autoencoder="small", autoencoder_hash="small", denoiser=unet,
        space=LatentSpace(conditions=("latent-up",), target="latent", statistics={"hr": unit, "latent-up": unit}),
        objective="x0", schedule="linear", solver="ddim", published=PublishedSampling(table="linear"),
    )  # fmt: skip
    return Restorer(config, Denoiser(unet), autoencoder, precision=precision)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(realism=1)], ids=["mean", "sample"])
def test_the_shipped_model_in_bfloat16_gives_its_images_to_50_db(sampling: Sampling) -> None:
    models = [SuperResolver.load("latentsr-tiny", device="cpu", precision=one) for one in ("float32", "bfloat16")]
    wide, narrow = (model.restore(head(), ids=["head"], sampling=sampling) for model in models)
    assert narrow.image.dtype == torch.float32
    assert ENOUGH < psnr(wide.image, narrow.image) < 100
    assert next(models[1].denoiser.parameters()).dtype == torch.bfloat16
    assert models[1].base is not None
    assert next(models[1].base.denoiser.parameters()).dtype == torch.bfloat16


def test_the_published_form_in_bfloat16_gives_its_images_to_50_db() -> None:
    models = [published(one) for one in ("float32", "bfloat16")]
    wide, narrow = (one.restore(head(), ids=["head"], sampling=Sampling(steps=4, consistency=False)) for one in models)
    assert ENOUGH < psnr(wide.image, narrow.image) < 100
    decoded = [model.autoencoder.decode(wide.latents) for model in models if wide.latents is not None]
    assert ENOUGH < psnr(*decoded) < 100  # the decoder, too
    assert torch.equal(*(model.autoencoder.encode(2 * head() - 1) for model in models))  # and not the encoder


def test_results_name_how_they_were_computed(tmp_path: Path) -> None:
    wide, narrow = (load_upscaler("latentsr-tiny", device="cpu", precision=one) for one in ("float32", "bfloat16"))
    assert (wide.settings, narrow.settings) == ({}, {"precision": "bfloat16"})
    assert wide.hash == narrow.hash  # of the model
    assert Job(wide, Sampling(), tmp_path).made_by != Job(narrow, Sampling(), tmp_path).made_by
    assert '"precision":"bfloat16"' in narrow.provenance(Sampling()).options.replace(" ", "")


def test_what_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="precision half: expected float32 or bfloat16"):
        load_upscaler("latentsr-tiny", device="cpu", precision="half")
    with pytest.raises(OptionError, match="precision bfloat16: bicubic computes in float32, as it is"):
        load_upscaler("bicubic", precision="bfloat16")
    with pytest.raises(OptionError, match="compiled: bicubic computes"):
        load_upscaler("bicubic", compiled=True)
    with pytest.raises(OptionError, match="precision bfloat16: the backend onnx computes in float32"):
        load_upscaler("latentsr-tiny", backend="onnx", precision="bfloat16")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    with pytest.raises(OptionError, match="this GPU has no bfloat16; choose float32"):
        resolve_precision("bfloat16", "cuda")


def test_latents_that_are_not_finite_are_an_error_whatever_the_decoder_makes_of_them() -> None:
    model = published()
    model.network = lambda z, times, condition: z.masked_fill(z > 1, math.inf)
    model.autoencoder.decode = lambda latents, **_: torch.zeros(len(latents), 1, 256, 256)  # type: ignore[method-assign]
    with pytest.raises(InputError, match="non-finite"):
        model.restore(head(), ids=["head"], sampling=Sampling(steps=2))


def test_what_stays_on_a_device_is_made_once_and_a_training_can_use_it() -> None:
    made = []

    def ones(n: int) -> Tensor:
        made.append(n)
        return torch.ones(n)

    with torch.inference_mode():
        kept = resident(ones, (3,), torch.float64, torch.device("cpu"))
    assert resident(ones, (3,), torch.float64, torch.device("cpu")) is kept
    assert (made, kept.dtype) == ([3], torch.float64)
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    (kept * weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler on a CPU")
@torch.inference_mode()
def test_a_compiled_network_gives_the_same_and_smaller_batches_take_its_shape() -> None:
    network = published().denoiser
    compiled = Compiled(network)
    z, times = torch.randn(3, 3, 16, 16), torch.full((3,), 7)
    for n in (3, 1):
        given = z[:n], times[:n], z[:n]
        assert torch.allclose(compiled(*given), network(*given), atol=1e-5)
    assert compiled.largest == 3


@pytest.mark.slow
def test_the_benchmark_of_a_gpu_runs_on_a_cpu(repository: Path) -> None:
    script = repository / "benchmarks" / "gpu_throughput.py"
    asked = ["--device", "cpu", "--batch", "1", "--side", "16", "--rounds", "1", "--no-compile"]
    asked += ["--files", "2", "--steps", "2"]
    done = subprocess.run([sys.executable, script, *asked], capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert 0 < found["bfloat16"]["share_of_peak"] < 1.5, done.stderr
    assert ENOUGH < found["bfloat16"]["psnr_db"] < 100
    assert 0 < found["folder"]["share"] < 2  # of the bare loop
    assert 0 < found["folder_shipped"]["share"] < 2
    assert done.returncode == 0

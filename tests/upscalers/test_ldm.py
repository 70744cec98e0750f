"""Released diffusion checkpoints; golden files: outputs of the public code on made-up weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentsr.autoencoders import load_autoencoder
from latentsr.autoencoders.architectures import SmallKL
from latentsr.autoencoders.network import save_network
from latentsr.errors import LatentSRError, ModelError, OptionError, StaleError
from latentsr.upscalers.ldm import import_ldm
from latentsr.upscalers.model import SuperResolver

# Golden file and numbers of steps; the schedules differ in their tables, which few steps show as well as many.
GOLDEN = [
    ("ldm_cosine_3x32", (5,)), ("ldm_linear_4x32", (5,)), ("ldm_zlr_3x32", (5, 20)), ("flow_3x32", (4, 16)),
    pytest.param("ldm_cosine_3x32", (100,), marks=pytest.mark.slow),
    pytest.param("ldm_linear_4x32", (50,), marks=pytest.mark.slow),
]  # fmt: skip


@pytest.fixture
def vae(tmp_path: Path) -> Callable[[int], Any]:
    """(channels) -> an autoencoder of made-up weights with that many latent channels, a quarter of the image's side."""

    def make(channels: int) -> Any:
        torch.manual_seed(0)
        save_network(SmallKL(width=4, blocks=1, latent_channels=channels), tmp_path / f"vae{channels}")
        return load_autoencoder(tmp_path / f"vae{channels}")

    return make


@pytest.fixture
def checkpoint(golden: Path, tmp_path: Path, weights_of: Callable[..., Any]) -> Callable[..., tuple[Path, Any]]:
    """(name, edit) -> the checkpoint of a golden file in the released form, and the golden file's arrays."""

    def write(name: str, edit: Callable[[dict[str, Any]], object] = lambda content: None) -> tuple[Path, Any]:
        arrays = np.load(golden / f"{name}.npz")
        meta = json.loads(str(arrays["meta"]))
        state = {key: torch.from_numpy(value) for key, value in weights_of(meta["seed"], meta["shapes"]).items()}
        if "alphas" in arrays:
            state["alphas"] = torch.from_numpy(arrays["alphas"])
        content = {
            "epoch": 99, "global_step": 14100, "pytorch-lightning_version": "2.5.0", "state_dict": state,
            "hyper_parameters": dict(meta["hyper_parameters"]), "loops": {}, "callbacks": {},
            "optimizer_states": [], "lr_schedulers": [],
        }  # fmt: skip
        edit(content)
        torch.save(content, tmp_path / f"{name}.ckpt")
        return tmp_path / f"{name}.ckpt", arrays

    return write


def sampled(folder: Path, arrays: Any, steps: int) -> np.ndarray:
    model, noise = SuperResolver.load(folder, device="cpu"), torch.from_numpy(arrays["standard_normal"])
    roles = {"latent-native": torch.from_numpy(arrays["lr"])}
    condition = model.config.space.condition(roles, (noise.shape[-2], noise.shape[-1]))
    with torch.inference_mode():
        return model.process.sample(
            lambda z, times: model.denoiser(z, times, condition), noise, condition, steps=steps
        ).numpy()


@pytest.mark.parametrize(("name", "numbers"), GOLDEN)
def test_outputs_are_those_of_the_public_code(
    name: str, numbers: tuple[int, ...], checkpoint: Any, vae: Any, tmp_path: Path
) -> None:
    file, arrays = checkpoint(name)
    assert import_ldm(file, vae(arrays["lr"].shape[1]), tmp_path / "model") == []
    for steps in numbers:
        found = sampled(tmp_path / "model", arrays, steps)
        np.testing.assert_allclose(found, arrays[f"out_T{steps}"], atol=1e-4)


def with_average(content: dict[str, Any]) -> None:
    """The plain weights spoilt, the golden ones as their moving average, in names without dots."""
    state = content["state_dict"]
    plain = {name: value for name, value in state.items() if name.startswith("model.")}
    for name, value in plain.items():
        state[f"model_ema.{name.removeprefix('model.').replace('.', '')}"] = value
        state[name] = torch.zeros_like(value)
    state |= {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(14100)}
    content["hyper_parameters"]["use_ema"] = True


def test_averaged_weights_are_used_where_the_checkpoint_used_them(checkpoint: Any, vae: Any, tmp_path: Path) -> None:
    file, arrays = checkpoint("ldm_cosine_3x32", with_average)
    import_ldm(file, vae(3), tmp_path / "model")
    np.testing.assert_allclose(sampled(tmp_path / "model", arrays, 5), arrays["out_T5"], atol=1e-4)
    import_ldm(file, vae(3), tmp_path / "plain", weights="plain")
    assert not np.allclose(sampled(tmp_path / "plain", arrays, 5), arrays["out_T5"], atol=1e-2)


def test_attention_is_where_the_tensors_have_it(checkpoint: Any, vae: Any, tmp_path: Path) -> None:
    file, arrays = checkpoint("ldm_cosine_3x32", lambda it: it["hyper_parameters"].update(attention_resolutions=[8]))
    (note,) = import_ldm(file, vae(3), tmp_path / "model")
    assert "attention at 16" in note
    np.testing.assert_allclose(sampled(tmp_path / "model", arrays, 5), arrays["out_T5"], atol=1e-4)


def test_an_older_checkpoint_lacks_some_hyper_parameters(checkpoint: Any, vae: Any, tmp_path: Path) -> None:
    def older(content: dict[str, Any]) -> None:
        for name in ("zlr_init", "use_ema", "ema_decay", "use_snr_weighting"):
            del content["hyper_parameters"][name]

    file, arrays = checkpoint("ldm_cosine_3x32", older)
    import_ldm(file, vae(3), tmp_path / "model")
    np.testing.assert_allclose(sampled(tmp_path / "model", arrays, 5), arrays["out_T5"], atol=1e-4)


def test_it_restores_images_as_any_model(checkpoint: Any, vae: Any, tmp_path: Path) -> None:
    file, _ = checkpoint("flow_3x32")
    import_ldm(file, vae(3), tmp_path / "model")
    model = SuperResolver.load(tmp_path / "model", device="cpu")
    image = np.random.default_rng(0).random((20, 28), dtype=np.float32)
    result = model.enhance(image, steps=4, seed=1)
    assert result.volume.pixels.shape == (1, 80, 112)
    assert result.provenance.image != "interpolation"
    for wrong in ({"steps": 1}, {"steps": 2000}, {"steps": 4, "solver": "euler"}, {"steps": 4, "realism": 0.5}):
        with pytest.raises(OptionError):
            model.enhance(image, **wrong)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda it: it.pop("hyper_parameters"), "has no hyper_parameters"),
        (lambda it: it["hyper_parameters"].update(cross_attention=True), "cross_attention"),
        (lambda it: it["hyper_parameters"].pop("hr_channels"), "hr_channels"),
        (lambda it: it["hyper_parameters"].update(hr_size=64), "set the degradation"),
        (lambda it: it["state_dict"].pop("model.conv_in.bias"), "lacks tensor"),
        (lambda it: it["state_dict"].update({"model.more": torch.zeros(1)}), "has surplus tensor"),
        (lambda it: it["state_dict"].update({"model.conv_in.bias": torch.full((32,), torch.nan)}), "NaN"),
        (lambda it: it["state_dict"]["alphas"].mul_(0.5), "noise table"),
    ],
)
def test_other_checkpoints_are_refused_in_one_line(
    edit: Any, words: str, checkpoint: Any, vae: Any, tmp_path: Path
) -> None:
    file, _ = checkpoint("ldm_cosine_3x32", edit)
    with pytest.raises(LatentSRError, match=words) as error:
        import_ldm(file, vae(3), tmp_path / "model")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model").exists()


def test_the_command(checkpoint: Any, vae: Any, tmp_path: Path, run: Callable[..., Any]) -> None:
    file, arrays = checkpoint("ldm_cosine_3x32")
    vae(3), vae(4)
    wrong = run("models", "import-ldm", file, "--vae", tmp_path / "vae4", "-o", tmp_path / "model")
    assert wrong.status != 0
    done = run("models", "import-ldm", file, "--vae", tmp_path / "vae3", "-o", tmp_path / "model")
    assert done.status == 0
    assert "note" not in done.out
    with pytest.raises(StaleError):
        import_ldm(file, vae(3), tmp_path / "model")
    with pytest.raises(StaleError, match="choose an output folder that is new"):  # others' files stay
        import_ldm(file, vae(3), tmp_path / "vae4", overwrite=True)
    assert (tmp_path / "vae4").exists()
    with pytest.raises(ModelError, match="channels"):
        import_ldm(file, vae(4), tmp_path / "other")
    np.testing.assert_allclose(sampled(tmp_path / "model", arrays, 5), arrays["out_T5"], atol=1e-4)

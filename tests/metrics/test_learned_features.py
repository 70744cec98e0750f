import json
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from latentsr.errors import ModelError
from latentsr.metrics.learned import WEIGHTS, load_extractor

PREPROCESSING = {"size": 56, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.2, 0.2, 0.2]}


@pytest.fixture(scope="module")
def images(hr: Tensor) -> Tensor:
    return hr[:, :, :96, :96]


@pytest.fixture
def inception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """torch-fidelity's network with made-up weights, which lie in the weights folder."""
    from torch_fidelity import feature_extractor_inceptionv3 as module

    torch.manual_seed(2)
    with monkeypatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda *args, **options: torch.load(tmp_path / "made-up"))
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        torch.save({}, tmp_path / "made-up")
        network = module.FeatureExtractorInceptionV3("made-up", ["2048"])
    torch.save(network.state_dict(), tmp_path / WEIGHTS["inception"].file)
    monkeypatch.setenv("LATENTSR_WEIGHTS", str(tmp_path))
    return network


def test_inception_features_equal_torch_fidelity(inception: nn.Module, images: Tensor) -> None:
    features = load_extractor("inception")(images[:1])
    assert features.shape == (1, 2048)
    (expected,) = inception((images[:1] * 255).round().to(torch.uint8).expand(-1, 3, -1, -1))
    np.testing.assert_allclose(features, expected, rtol=1e-5)


def test_missing_inception_weights_say_what_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTSR_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(ModelError, match=r"fetch https://.*weights-inception-2015-12-05"):
        load_extractor("inception")


def vision_folder(folder: Path, config: object, tensors: dict[str, Tensor]) -> Path:
    """A folder as load_extractor takes it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING))
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    torch.manual_seed(4)
    return torchvision.models.resnet18(weights=None).eval()


@pytest.mark.parametrize("head", [True, False], ids=["with its classifier", "without"])
def test_a_torchvision_network_gives_what_its_classifier_sees(
    resnet: nn.Module, images: Tensor, tmp_path: Path, head: bool
) -> None:
    tensors = {key: value for key, value in resnet.state_dict().items() if head or not key.startswith("fc.")}
    folder = vision_folder(tmp_path / "mine", {"architecture": "resnet18"}, tensors)
    seen: list[Tensor] = []
    resized = nn.functional.interpolate(images, (56, 56), mode="bicubic", antialias=True).clamp(0, 1)
    with torch.no_grad(), resnet.fc.register_forward_pre_hook(lambda module, given: seen.append(given[0])):
        resnet((resized.expand(-1, 3, -1, -1) - 0.5) / 0.2)
    np.testing.assert_allclose(load_extractor(folder)(images), seen[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["densenet121", "efficientnet_b0", "vit_b_32", "swin_t", "convnext_tiny"])
def test_the_last_linear_layer_is_the_classifier(name: str) -> None:
    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None)
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    assert last.out_features == 1000


class Payload:
    """What would create a file if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return os.system, (f"touch '{self.path}'",)  # the classic: a pickle names any function


def planted_program(path: Path, payload: bytes) -> None:
    """A program of torch.export whose sample inputs, which torch.export.load unpickles, are the payload."""
    torch.export.save(torch.export.export(nn.Flatten(), (torch.zeros(2, 3, 4, 4),)), path.with_suffix(".whole"))
    with zipfile.ZipFile(path.with_suffix(".whole")) as whole, zipfile.ZipFile(path, "w") as planted:
        for name in whole.namelist():
            planted.writestr(name, payload if "sample_inputs" in name else whole.read(name))


@pytest.mark.parametrize("suffix", [".pt2", ".pt", ".pth", ".bin"])
def test_no_code_of_a_file_runs(tmp_path: Path, suffix: str) -> None:
    planted, ran = tmp_path / f"planted{suffix}", tmp_path / "ran"
    torch.save(Payload(ran), planted)
    if suffix == ".pt2":
        planted_program(planted, planted.read_bytes())
    with pytest.raises(ModelError, match=rf"'planted{suffix}' is a single file; .*run code .*: give a folder with"):
        load_extractor(planted)
    assert not ran.exists()


def test_no_code_of_a_folder_runs(tmp_path: Path, resnet: nn.Module) -> None:
    ran = tmp_path / "ran"
    folder = vision_folder(tmp_path / "mine", {"architecture": "resnet18"}, resnet.state_dict())
    torch.save(Payload(ran), folder / "model.safetensors")  # by a wrong name
    torch.save(Payload(ran), folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"model.safetensors cannot be read"):
        load_extractor(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model.safetensors not found"):
        load_extractor(folder)
    vision_folder(folder, {"model_type": "vit", "auto_map": {"AutoModel": "planted.Model"}}, {})
    (folder / "planted.py").write_text(f"open({str(ran)!r}, 'w')")
    with pytest.raises(ModelError, match=r"names auto_map: expected a network that is made of tensors alone"):
        load_extractor(folder)
    assert not ran.exists()


def test_planted_inception_weights_do_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(Payload(tmp_path / "ran"), tmp_path / WEIGHTS["inception"].file)
    monkeypatch.setenv("LATENTSR_WEIGHTS", str(tmp_path))
    with pytest.raises(ModelError, match="hold more than tensors"):
        load_extractor("inception")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architecture": "resnet19"}, "unknown architecture; choose from alexnet"),
        ({"architecture": ["resnet18"]}, "unknown architecture"),
        ({"architecture": "resnet34"}, r"does not fit architecture resnet34: \d+ tensors are missing, 0 unknown"),
        ({"architecture": "squeezenet1_0"}, "ends in no linear layer"),
        ([], "is no table"),
    ],
    ids=["unknown", "no name", "another", "no classifier", "list"],
)
def test_what_does_not_fit_is_one_line(resnet: nn.Module, tmp_path: Path, config: object, message: str) -> None:
    with pytest.raises(ModelError, match=message) as raised:
        load_extractor(vision_folder(tmp_path, config, resnet.state_dict()))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("change", [{"size": 0}, {"size": "big"}, {"image_mean": 0.5}, {"image_std": [0.1, "b", 1]}])
def test_preprocessing_is_checked(resnet: nn.Module, tmp_path: Path, change: dict[str, object]) -> None:
    folder = vision_folder(tmp_path, {"architecture": "resnet18"}, resnet.state_dict())
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING | change))
    with pytest.raises(ModelError, match=r"expected size \(1 to 2048 px\), and image_mean and"):
        load_extractor(folder)


def test_what_is_no_extractor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'nothing' is neither 'inception' nor a folder with .*: config.json, "):
        load_extractor(tmp_path / "nothing")


def test_a_hub_model_without_transformers_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match="need the package transformers: install it"):
        load_extractor(vision_folder(tmp_path, {"model_type": "dinov2"}, {}))


def test_a_hub_model_gives_its_pooled_features(tmp_path: Path, images: Tensor) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(3)
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14
    )
    network = transformers.Dinov2Model(config).eval()
    network.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps(PREPROCESSING | {"crop_size": {"height": 56, "width": 56}})
    )
    resized = nn.functional.interpolate(images, (56, 56), mode="bicubic", antialias=True).clamp(0, 1)
    with torch.no_grad():
        expected = network(pixel_values=(resized.expand(-1, 3, -1, -1) - 0.5) / 0.2).pooler_output
    np.testing.assert_allclose(load_extractor(tmp_path)(images), expected, rtol=1e-4, atol=1e-5)
    tensors = network.state_dict()
    vision_folder(tmp_path, config.to_dict(), {key: tensors[key] for key in list(tensors)[1:]})
    with pytest.raises(ModelError, match=r"lacks 1 of its model's tensors"):
        load_extractor(tmp_path)

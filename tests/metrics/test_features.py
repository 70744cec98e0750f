from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latentsr.errors import ModelError
from latentsr.metrics.features import load_extractor
from latentsr.metrics.weights import WEIGHTS


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


class Averages(nn.Module):
    """(batch, 3, rows, columns) -> (batch, 12): the averages of quarters."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    batch = torch.export.Dim("batch", min=1, max=64)
    example = torch.zeros(2, 3, 96, 96)
    program = torch.export.export(Averages(), (example,), dynamic_shapes={"images": {0: batch}})
    torch.export.save(program, tmp_path / "averages.pt2")
    return tmp_path / "averages.pt2"


def test_an_exported_program_gives_its_features(exported: Path, images: Tensor) -> None:
    features = load_extractor(exported)(images)
    np.testing.assert_allclose(features, Averages()(images.expand(-1, 3, -1, -1)), rtol=1e-6)


def test_what_is_no_extractor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'nothing' is neither 'inception', nor a .pt2 file"):
        load_extractor(tmp_path / "nothing")
    (tmp_path / "broken.pt2").write_bytes(b"no program")
    with pytest.raises(ModelError, match=r"broken.pt2 is no program of torch.export"):
        load_extractor(tmp_path / "broken.pt2")


def test_a_hub_model_without_transformers_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ModelError, match="need the package transformers: install it"):
        load_extractor(tmp_path)


def test_a_hub_model_gives_its_pooled_features(tmp_path: Path, images: Tensor) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(3)
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14
    )
    network = transformers.Dinov2Model(config).eval()
    network.save_pretrained(tmp_path, safe_serialization=True)
    with pytest.raises(ModelError, match=r"no preprocessor_config.json"):
        load_extractor(tmp_path)
    settings = '{"crop_size": {"height": 56, "width": 56}, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.2, 0.2, 0.2]}'
    (tmp_path / "preprocessor_config.json").write_text(settings)
    resized = nn.functional.interpolate(images, (56, 56), mode="bicubic", antialias=True).clamp(0, 1)
    with torch.no_grad():
        expected = network(pixel_values=(resized.expand(-1, 3, -1, -1) - 0.5) / 0.2).pooler_output
    np.testing.assert_allclose(load_extractor(tmp_path)(images), expected, rtol=1e-4, atol=1e-5)

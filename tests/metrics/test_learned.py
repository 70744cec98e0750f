"""LPIPS and DISTS with made-up weights of the published files' form, against lpips, torchmetrics and piq."""

from pathlib import Path

import lpips as lpips_package
import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchmetrics.functional.image import dists as torchmetrics_dists

from latentsr.errors import ModelError
from latentsr.metrics import METRICS, find_metrics
from latentsr.metrics.learned import WEIGHTS, dists, learned_available, lpips


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    """Networks whose convolutional layers have made-up weights, and whose classifiers take no memory."""
    generator = torch.Generator().manual_seed(1)
    with torch.device("meta"):
        made = {"lpips": torchvision.models.alexnet(weights=None), "dists": torchvision.models.vgg16(weights=None)}
    for network in made.values():
        network.features.to_empty(device="cpu")
        for weight in network.features.parameters():
            weight.data = torch.randn(weight.shape, generator=generator) * 1.4 / max(1, weight[0].numel()) ** 0.5
        network.features.requires_grad_(False)
    return made


@pytest.fixture(scope="module")
def folder(networks: dict[str, nn.Module], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The convolutional layers' weights; the classifiers' hundreds of MB are not read."""
    folder = tmp_path_factory.mktemp("weights")
    for name, network in networks.items():
        layers = {key: value for key, value in network.state_dict().items() if key.startswith("features.")}
        torch.save(layers, folder / WEIGHTS[name].file)
    return folder


@pytest.fixture(autouse=True)
def _local_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTSR_WEIGHTS", str(folder))


def test_lpips_equals_the_authors_package(
    networks: dict[str, nn.Module], sr: Tensor, hr: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lpips_package.pretrained_networks.tv, "alexnet", lambda **options: networks["lpips"])
    second = lpips_package.LPIPS(net="alex", pnet_rand=True, verbose=False)
    grey = [(2 * image - 1).expand(-1, 3, -1, -1) for image in (sr, hr)]
    with torch.no_grad():
        expected = second(*grey).flatten()
    np.testing.assert_allclose(lpips(sr, hr), expected, rtol=1e-5)
    assert lpips(hr, hr).tolist() == [0.0] * 3
    assert lpips(hr[..., :30, :], hr[..., :30, :]).isnan().all()


def test_dists_equals_torchmetrics(
    networks: dict[str, nn.Module], sr: Tensor, hr: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchmetrics_dists, "vgg16", lambda weights: networks["dists"])
    second = torchmetrics_dists.DISTSNetwork(load_weights=False)
    learned = torch.load(torchmetrics_dists._PATH_WEIGHT_DISTS, map_location="cpu", weights_only=True)
    second.alpha.data, second.beta.data = learned["alpha"].detach(), learned["beta"].detach()
    small = slice(0, 64)
    sr, hr = sr[..., small, small], hr[..., small, small]
    with torch.no_grad():
        expected = second(sr.expand(-1, 3, -1, -1), hr.expand(-1, 3, -1, -1))
    np.testing.assert_allclose(dists(sr, hr), expected, rtol=1e-4)
    np.testing.assert_allclose(dists(hr, hr), 0, atol=1e-5)


def test_no_image_is_outside_their_ranges(hr: Tensor) -> None:
    hr = hr[..., 60:124, 60:124]
    noise = torch.rand(hr.shape, generator=torch.Generator().manual_seed(3))
    for image in (hr.clone(), (hr + 4e-6 * (noise - 0.5)).clamp(0, 1), 1 - hr, noise, torch.zeros_like(hr)):
        for metric in find_metrics(["lpips", "dists"]):
            values = metric(image, hr)
            assert ((values >= metric.range[0]) & (values <= metric.range[1])).all(), metric.name


def test_dists_ends_where_all_structure_is_turned_around() -> None:
    learned = torch.load(torchmetrics_dists._PATH_WEIGHT_DISTS, map_location="cpu", weights_only=True)
    alpha, beta = (learned[name].double() for name in ("alpha", "beta"))
    assert min(alpha.min(), beta.min()) >= 0
    assert float(1 + beta.sum() / (alpha.sum() + beta.sum())) == pytest.approx(METRICS["dists"].range[1], abs=5e-4)
    assert float(1 + beta.sum() / (alpha.sum() + beta.sum())) <= METRICS["dists"].range[1]


def test_learned_measures_are_not_taken_unasked() -> None:
    assert METRICS["lpips"].group == METRICS["dists"].group == "learned"
    assert not {"lpips", "dists"} & {metric.name for metric in find_metrics()}
    assert [metric.name for metric in find_metrics(["lpips"])] == ["lpips"]


def test_missing_weights_say_what_to_fetch(
    sr: Tensor, hr: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert learned_available("lpips")
    monkeypatch.setenv("LATENTSR_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    assert not learned_available("lpips")
    with pytest.raises(ModelError, match=r"fetch https://\S+/alexnet-owt-7be5be79.pth .* LATENTSR_WEIGHTS"):
        lpips(sr, hr)


def test_weights_of_torchs_own_cache_are_found(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LATENTSR_WEIGHTS")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert not learned_available("dists")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / WEIGHTS["dists"].file).symlink_to(folder / WEIGHTS["dists"].file)
    assert learned_available("dists")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"features.0.weight": torch.zeros(3)}, "do not fit"),
        ({"features.0.weight": "text"}, "expected a table of tensors"),
        (Path, "hold more than tensors"),
    ],
)
def test_other_weights_are_refused(
    content: object, message: str, sr: Tensor, hr: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(content, tmp_path / WEIGHTS["lpips"].file)
    monkeypatch.setenv("LATENTSR_WEIGHTS", str(tmp_path))
    with pytest.raises(ModelError, match=message):
        lpips(sr, hr)

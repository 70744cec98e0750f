"""How an input is unlike the training images: blurred, noisy, interpolated, of another spacing; and like them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from latentsr.degrade import parse_degradation
from latentsr.upscalers.inputs import LrKind, TrainedInputs, noise_feature
from latentsr.volume import Volume

BICUBIC = parse_degradation("bicubic:4")


def pictures(count: int, seed: int, quiet: float = 0.0) -> Tensor:
    """HR images of discs with soft edges on black, and texture inside: (count, 1, 128, 128)."""
    generator = torch.Generator().manual_seed(seed)
    down, across = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    made = []
    for _ in range(count):
        image = torch.zeros(128, 128)
        for _ in range(12):
            centre, radius, value = (
                torch.rand(2, generator=generator) * 96 + 16,
                torch.rand(3, generator=generator),
                0.2,
            )
            distance = torch.hypot(down - centre[0], across - centre[1])
            image += (value + radius[1]) * torch.sigmoid(4 + 24 * radius[0] - distance)
        texture = torch.randn(128, 128, generator=generator).cumsum(0).cumsum(1)
        inside = (image > 0.1) * texture / texture.std() * 0.05
        made.append(image + inside + quiet * torch.randn(128, 128, generator=generator))
    return torch.stack(made)[:, None]


@pytest.fixture(scope="module")
def known() -> TrainedInputs:
    return TrainedInputs.of({"discs": BICUBIC.apply(pictures(120, 0))}, (1.0, 2.0))


def told(known: TrainedInputs, lr: Tensor) -> list[tuple[str, float]]:
    """The shares of the images of which each text speaks."""
    found = [known.unlike(Volume.from_array(one[0].numpy()), spacing_only=False) for one in lr]
    texts = sorted({text for one in found for text in one})
    return [(text.split(",")[0], sum(text in one for one in found) / len(found)) for text in texts]


def test_images_of_the_same_kind_are_told_nothing(known: TrainedInputs) -> None:
    assert sum(share for _, share in told(known, BICUBIC.apply(pictures(60, 7)))) <= 0.05


LESS, NOISE = "spectrum unlike training: less fine detail", "noise unlike training: more in the quietest parts"


@pytest.mark.parametrize(("change", "text"), [("blur", LESS), ("interpolated", LESS), ("noise", NOISE)])
def test_what_was_done_to_an_image_is_told(known: TrainedInputs, change: str, text: str) -> None:
    hr = pictures(20, 7)
    lr = BICUBIC.apply(hr)
    if change == "blur":
        lr = F.avg_pool2d(F.pad(lr, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    elif change == "interpolated":
        lr = F.interpolate(parse_degradation("bicubic:8").apply(hr), scale_factor=2, mode="bicubic")
    else:
        noise = torch.randn(lr.shape, generator=torch.Generator().manual_seed(1))
        lr = lr + 0.01 * lr.amax(dim=(-2, -1), keepdim=True) * noise
    shares = dict(told(known, lr))
    assert shares.pop(text) >= 0.9
    assert all(share <= 0.2 for share in shares.values())


def test_intensities_of_another_share_are_told(known: TrainedInputs) -> None:
    assert ("intensity unlike training: other shares of dark and bright pixels", 1.0) in told(
        known, 1 - BICUBIC.apply(pictures(5, 7))
    )


@pytest.mark.parametrize(("spacing", "warned"), [
    ((1, 1), False), ((0.7, 2.9), False), ((0.6, 1), True), ((1, 3.1), True), (None, False),
])  # fmt: skip
def test_a_spacing_far_from_the_training_s_is_told(
    known: TrainedInputs, spacing: tuple[float, float] | None, warned: bool
) -> None:
    volume = Volume.from_array(BICUBIC.apply(pictures(1, 7))[0].numpy(), spacing=spacing)
    assert [text.split(":")[0] for text in known.unlike(volume, spacing_only=True)] == (
        ["pixel spacing unlike training (1 to 2 mm)"] if warned else []
    )


def test_most_slices_decide_and_empty_and_small_ones_do_not_count(known: TrainedInputs) -> None:
    lr = BICUBIC.apply(pictures(5, 7))[:, 0].numpy()
    flat = np.stack([np.zeros_like(lr[0])] * 9)
    noisy = lr + 0.1 * np.random.default_rng(0).normal(size=lr.shape).astype(np.float32)
    for slices, warned in (([*lr[:2], *noisy[:3]], True), ([*noisy[:2], *lr[:3]], False)):
        found = known.unlike(Volume.from_array(np.stack([*flat, *slices])), spacing_only=False)
        assert any(text.startswith("noise") for text in found) == warned
    assert known.unlike(Volume.from_array(noisy[:, :15, :15]), spacing_only=False) == []


def test_an_input_that_is_like_one_of_the_sets_is_told_nothing(known: TrainedInputs) -> None:
    noisy = TrainedInputs.of({"noisy": BICUBIC.apply(pictures(120, 3, quiet=0.2))}, None)
    both = noisy.with_earlier([known, None])
    assert (list(both.kinds), both.spacing) == (["discs", "noisy"], (1.0, 2.0))
    for quiet in (0.0, 0.2):
        assert sum(share for _, share in told(both, BICUBIC.apply(pictures(20, 7, quiet)))) <= 0.05
    assert sum(share for _, share in told(known, BICUBIC.apply(pictures(20, 7, 0.2)))) >= 1


def test_noise_is_that_of_second_differences_in_the_quietest_blocks() -> None:
    lr = torch.rand(2, 1, 23, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    low, high = lr.amin(dim=(-2, -1), keepdim=True), lr.amax(dim=(-2, -1), keepdim=True)
    second = torch.tensor([1.0, -2.0, 1.0], dtype=torch.float64)
    energy = F.avg_pool2d(F.conv2d((lr - low) / (high - low), torch.outer(second, second)[None, None]).square(), 4)
    quiet = energy.flatten(1).sort(dim=1).values[:, round(0.1 * 34)]  # 5 x 7 blocks
    np.testing.assert_allclose(noise_feature(lr), torch.log10(quiet + 1e-8).numpy(), rtol=1e-9)


def test_few_and_small_images_say_nothing_and_the_record_survives_json(known: TrainedInputs) -> None:
    lr = BICUBIC.apply(pictures(50, 0))
    assert TrainedInputs.of({"few": lr[:49], "small": lr[..., :15]}, None) == TrainedInputs()
    assert TrainedInputs.model_validate_json(known.model_dump_json()) == known
    assert LrKind.of(lr).noise == pytest.approx(float(np.quantile(noise_feature(lr), 0.99)))

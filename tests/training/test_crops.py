from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from latentsr.autoencoders import load_autoencoder
from latentsr.degrade import enlarge, parse_degradation, translated
from latentsr.diffusion.latents import LatentSpace, Statistics
from latentsr.errors import OptionError
from latentsr.training.crops import LatentCrops, OtherDegradations, StepBatches

ONE = Statistics(mean=(0.0,), sd=(1.0,))


def numbered(images: int, rows: int, columns: int, stride: int) -> np.ndarray:
    """Each value says which image, row and column of the HR latent it lies at."""
    image, row, column = np.meshgrid(np.arange(images), np.arange(rows), np.arange(columns), indexing="ij")
    return np.float32(image * 10000 + row * stride * 100 + column * stride)[:, None]


@dataclass
class Arrays:
    """What a cache is to the crops."""

    arrays: dict[str, np.ndarray]

    def array(self, split: str, role: str) -> np.ndarray:
        assert split == "train"
        return self.arrays[role]

    def datasets(self, split: str) -> list[str]:
        assert split == "train"
        return ["a" if image < 3 else "b" for image in range(len(self.arrays["hr"]))]


CACHE = Arrays({
    "hr": numbered(5, 16, 24, 1),
    "latent-up": numbered(5, 16, 24, 1),
    "latent-native": numbered(5, 4, 6, 4),
    "pixels": np.repeat(np.repeat(numbered(5, 16, 24, 1), 2, axis=2), 2, axis=3),
})  # fmt: skip


def crops(*conditions: str, crop: int = 8, target: str = "latent", **options: float) -> LatentCrops:
    space = LatentSpace(conditions=conditions, target=target, statistics={})
    return LatentCrops(CACHE, space, crop=crop, **{"pure_noise_share": 0.25, "seed": 0, **options})


def test_every_role_covers_the_same_field_of_view() -> None:
    samples = crops("pixels", "latent-up", "latent-native")
    corners = set()
    for n in range(40):
        sample = samples[n]
        hr = sample["hr"]
        assert hr.shape == sample["noise"].shape == (1, 8, 8)
        assert torch.equal(hr[0], hr[0, 0, 0] + 100 * torch.arange(8.0)[:, None] + torch.arange(8.0))
        assert torch.equal(sample["latent-up"], hr)
        assert torch.equal(sample["pixels"][:, ::2, ::2], hr)
        assert torch.equal(sample["latent-native"], hr[:, ::4, ::4])
        corners.add(float(hr[0, 0, 0]))
    assert len(corners) > 20


def test_flips_turn_every_role_over_by_its_own_way() -> None:
    turned = set()
    for n in range(30):
        plain, sample = (crops("pixels", "latent-up", flip=flip)[n] for flip in (None, lambda z, axes: -z.flip(axes)))
        axes = next(a for a in ([], [-2], [-1], [-2, -1]) if torch.equal(sample["pixels"], plain["pixels"].flip(a)))
        assert torch.equal(sample["hr"], -plain["hr"].flip(axes))
        assert torch.equal(sample["latent-up"], -plain["latent-up"].flip(axes))
        turned.add(tuple(axes))
    assert len(turned) == 4


def images_of_crops(degradations: tuple[str, ...]) -> tuple[LatentCrops, LatentCrops]:
    """Crops of haar latents of smooth images, without and with other degradations."""
    haar, bicubic = load_autoencoder("haar"), parse_degradation("bicubic:4")
    noise = np.random.default_rng(0).random((4, 1, 128, 128))
    hr = torch.from_numpy(np.stack([gaussian_filter(one, (0, 2, 2)) for one in noise])).float() * 4 - 2
    lr = bicubic.apply(hr)
    roles = {"hr": haar.encode(hr), "latent-up": haar.encode(enlarge(lr, 4)), "pixels": lr}
    cache = Arrays({role: values.numpy() for role, values in roles.items()})
    conditions = ("pixels", "noise-level") if any("noise" in one for one in degradations) else ("pixels",)
    space = LatentSpace(conditions=conditions, target="residual", statistics={})
    others = OtherDegradations(degradations, bicubic, space.roles, haar)
    return tuple(LatentCrops(cache, space, crop=16, pure_noise_share=1, seed=0, others=one) for one in (None, others))


def test_half_of_the_crops_have_the_lr_of_another_degradation() -> None:
    plain, other = images_of_crops(("kspace:4", "area:4"))
    same = 0
    for n in range(60):
        one, two = plain[n], other[n]
        assert torch.equal(one["hr"], two["hr"])
        if torch.equal(one["pixels"], two["pixels"]):
            same += 1
        else:  # a crop is an image of its own, its LR made by one of them and brought to bicubic
            crop = load_autoencoder("haar").decode(one["hr"][None])
            made_by = [parse_degradation(text) for text in ("kspace:4", "area:4")]
            made = [translated(each.apply(crop), each, parse_degradation("bicubic:4"))[0] for each in made_by]
            assert any(torch.allclose(two["pixels"], each, atol=1e-5) for each in made)
            up = load_autoencoder("haar").encode(enlarge(two["pixels"][None], 4))[0]
            torch.testing.assert_close(two["latent-up"], up, atol=1e-5, rtol=0)
    assert 15 < same < 45


def test_crops_of_a_batch_have_the_same_roles() -> None:
    _, other = images_of_crops(("area:4",))
    assert {frozenset(other[n]) for n in range(20)} == {frozenset({"hr", "pixels", "latent-up", "noise", "time"})}


def test_a_crop_with_noise_says_how_much() -> None:
    _, other = images_of_crops(("bicubic:4,noise:0.1",))
    levels, found = [], []
    for n in range(60):
        sample = other[n]
        (level,) = sample["noise-level"].unique().tolist()
        clean = parse_degradation("bicubic:4").apply(load_autoencoder("haar").decode(sample["hr"][None]))[0]
        levels.append(level)
        found.append(float((sample["pixels"] - clean).std()) / 2)
    noisy = [n for n, level in enumerate(levels) if level]
    assert 15 < len(noisy) < 45
    assert all(found[n] == pytest.approx(levels[n], rel=0.25, abs=1e-3) for n in noisy)
    assert 0 < min(levels[n] for n in noisy) < max(levels) <= 0.1


def test_other_degradations_must_fit() -> None:
    with pytest.raises(OptionError, match="degradations bicubic:2: expected the scale of the cache's, bicubic:4"):
        OtherDegradations(("bicubic:2",), parse_degradation("bicubic:4"), ("pixels",), load_autoencoder("haar"))


def test_all_corners_and_images_are_drawn() -> None:
    samples = crops("pixels")
    corners = {float(samples[n]["hr"][0, 0, 0]) for n in range(2000)}
    assert len({c // 10000 for c in corners}) == 5
    assert {c % 10000 // 100 for c in corners} == set(range(9))
    assert {c % 100 for c in corners} == set(range(17))


def test_a_sample_is_a_function_of_seed_and_number() -> None:
    first, again, other = crops("pixels"), crops("pixels"), crops("pixels", seed=1)
    for n in (7, 3):
        assert all(torch.equal(first[n][key], again[n][key]) for key in first[n])
    assert not torch.equal(first[7]["noise"], first[3]["noise"])
    assert not torch.equal(first[7]["noise"], other[7]["noise"])


def test_noise_is_standard_and_times_have_their_share_of_pure_noise() -> None:
    samples = crops("pixels", pure_noise_share=0.25)
    times = torch.stack([samples[n]["time"] for n in range(1000)])
    noise = torch.stack([samples[n]["noise"] for n in range(200)])
    assert (times == 999).float().mean() == pytest.approx(0.25, abs=0.05)
    assert times[times < 999].float().mean() == pytest.approx(499, abs=35)
    assert times.min() >= 0
    assert noise.mean() == pytest.approx(0, abs=0.03)
    assert noise.std() == pytest.approx(1, abs=0.03)
    assert {int(crops("pixels", pure_noise_share=1.0)[n]["time"]) for n in range(20)} == {999}


def test_only_the_roles_of_the_space_are_read() -> None:
    assert set(crops("pixels")[0]) == {"hr", "pixels", "noise", "time"}
    assert set(crops("pixels", target="residual")[0]) == {"hr", "pixels", "latent-up", "noise", "time"}


def test_samples_do_not_share_memory_with_the_cache() -> None:
    sample = crops("pixels")[0]["hr"]
    sample += 1e6
    assert CACHE.arrays["hr"].max() < 1e6


def test_crops_that_do_not_fit_are_refused() -> None:
    with pytest.raises(OptionError, match="crop 24: latents are 16 px wide"):
        crops("pixels", crop=24)
    with pytest.raises(OptionError, match="crop 6: expected a multiple of 4"):
        crops("latent-native", crop=6)


def test_a_resumed_run_sees_the_samples_that_are_left() -> None:
    whole = list(StepBatches(lambda: 0, steps=6, batch=3))
    assert list(StepBatches(lambda: 4, steps=2, batch=3)) == whole[4:]


def test_processes_share_the_samples_without_overlap() -> None:
    parts = [list(StepBatches(lambda: 2, steps=2, batch=2, rank=rank, processes=2)) for rank in range(2)]
    seen = sorted(n for part in parts for batch in part for n in batch)
    assert seen == list(range(8, 16))


@pytest.mark.parametrize("condition", ["pixels", "latent-up", "latent-native"])
def test_crops_by_detail_lie_where_lr_has_it_and_datasets_count_alike(condition: str) -> None:
    stride = {"pixels": 0.5, "latent-up": 1, "latent-native": 4}[condition]
    lr = np.zeros((5, 1, round(16 / stride), round(24 / stride)), np.float32)
    for image, strength in ((1, 1.0), (4, 100.0)):  # a point in one image of each dataset, at latent row 4, column 20
        lr[image, 0, round(4 / stride), round(20 / stride)] = strength
    cache = Arrays({"hr": numbered(5, 16, 24, 1), condition: lr})
    space = LatentSpace(conditions=(condition,), target="latent", statistics={})
    samples = LatentCrops(cache, space, crop=8, pure_noise_share=1, seed=0, detail=0.75)
    images, seen = [], []
    for n in range(400):
        place = float(samples[n]["hr"][0, 0, 0])
        row, column = divmod(place % 10000, 100)
        images.append(int(place // 10000))
        seen.append(row <= 4 < row + 8 and column <= 20 < column + 8)
    among = np.bincount(images, minlength=5) / 400
    assert np.mean(seen) > 0.6  # 0.17 of those drawn evenly
    # Of each dataset its share: three fifths of the images are of one, two of the other; a quarter is drawn evenly.
    np.testing.assert_allclose(among, [0.05, 0.05 + 0.45, 0.05, 0.05, 0.05 + 0.3], atol=0.06)


def test_crops_by_detail_need_lr_and_are_drawn_evenly_where_it_has_none() -> None:
    with pytest.raises(OptionError, match="detail without a condition"):
        crops(detail=0.5)
    flat = Arrays({"hr": numbered(5, 16, 24, 1), "pixels": np.ones((5, 1, 16, 24), np.float32)})
    space = LatentSpace(conditions=("pixels",), target="latent", statistics={})
    samples = LatentCrops(flat, space, crop=8, pure_noise_share=1, seed=0, detail=1)
    assert len({float(samples[n]["hr"][0, 0, 0]) for n in range(100)}) > 80

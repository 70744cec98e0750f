import pytest
import torch
from diffusers import UNet2DModel

from latentsr.config import checked
from latentsr.diffusion.denoiser import Denoiser, DenoiserSpec, published_spec, published_step
from latentsr.errors import OptionError


def published(latent_channels: int, attention: tuple[bool, ...]) -> int:
    """Parameters of the published network, condition and latent of one size; built without memory."""
    spec = DenoiserSpec(
        latent_channels=latent_channels, condition_channels=latent_channels, channels=(128, 256, 512, 512),
        attention=attention, middle_attention=True, groups=32,
    )  # fmt: skip
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Denoiser(spec).parameters())


def test_the_published_networks_have_their_number_of_parameters() -> None:
    """Attention where the map is 16x16: the third level of 64x64 latents, the second of 32x32 (arXiv 2604.12152)."""
    assert published(3, (False, False, True, False)) / 1e6 == pytest.approx(101.1, abs=0.05)
    assert published(4, (False, True, False, False)) / 1e6 == pytest.approx(97.2, abs=0.05)


@pytest.mark.parametrize("attention", [(), (False, True)])
@pytest.mark.parametrize("middle", [False, True])
def test_any_small_network_runs_and_learns_from_all_its_inputs(attention: tuple[bool, ...], middle: bool) -> None:
    spec = DenoiserSpec(
        latent_channels=4,
        condition_channels=1,
        channels=(8, 16),
        layers=1,
        attention=attention,
        middle_attention=middle,
    )
    torch.manual_seed(0)
    network = Denoiser(spec)
    assert spec.multiple == 2
    z, condition = torch.randn(2, 4, 6, 10, requires_grad=True), torch.randn(2, 1, 6, 10, requires_grad=True)
    early = network(z, torch.tensor([3, 3]), condition)
    assert early.shape == z.shape
    assert not torch.allclose(early, network(z, torch.tensor([900, 900]), condition), atol=1e-4)
    early.square().sum().backward()
    assert z.grad.abs().min(dim=0).values.max() > 0
    assert condition.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("channels", "layers", "groups", "attention", "middle"),
    [
        ((8, 16), 1, 4, (), False),
        ((16,), 2, 4, (True,), False),
        ((16, 32, 32), 2, 8, (False, True, False), True),
        ((24, 16, 40), 3, 4, (True, False, True), True),
        ((9, 15), 1, 3, (True, True), True),
    ],
)
def test_the_unet_is_that_of_diffusers_tensor_by_tensor(
    channels: tuple[int, ...], layers: int, groups: int, attention: tuple[bool, ...], middle: bool
) -> None:
    spec = DenoiserSpec(
        latent_channels=3, condition_channels=4, channels=channels, layers=layers, groups=groups, attention=attention,
        middle_attention=middle,
    )  # fmt: skip
    there = attention or (False,) * len(channels)
    torch.manual_seed(0)
    network = Denoiser(spec)
    torch.manual_seed(0)
    reference = UNet2DModel(
        in_channels=7, out_channels=3, block_out_channels=channels, layers_per_block=layers, norm_num_groups=groups,
        down_block_types=tuple("AttnDownBlock2D" if one else "DownBlock2D" for one in there),
        up_block_types=tuple("AttnUpBlock2D" if one else "UpBlock2D" for one in reversed(there)),
        add_attention=middle,
    ).to(memory_format=torch.channels_last)  # fmt: skip
    own, theirs = network.unet.state_dict(), reference.state_dict()
    assert list(own) == list(theirs)  # optimisers count their states in this order
    assert all(torch.equal(own[name], theirs[name]) for name in own)  # the same draws of the same seed
    z, condition, times = torch.randn(2, 3, 16, 16), torch.randn(2, 4, 16, 16), torch.tensor([3, 999])
    joined = torch.cat([z, condition], dim=1).contiguous(memory_format=torch.channels_last)
    assert torch.equal(network(z, times, condition), reference(joined, times).sample)


def test_a_regression_network_sees_the_condition_alone_and_is_edsr_in_size() -> None:
    spec = DenoiserSpec(
        latent_channels=16, condition_channels=1, channels=(64,), layers=16, groups=1, family="regression"
    )
    network, (z, other, condition) = Denoiser(spec), torch.randn(3, 1, 16, 6, 7)
    estimate = network(z, torch.tensor([3]), condition[:, :1])
    assert estimate.shape == z.shape
    assert torch.equal(estimate, network(other, torch.tensor([900]), condition[:, :1]))
    convolutions = [(1, 64), *[(64, 64)] * 33, (64, 16)]  # first, two a block and one after them, last
    assert sum(p.numel() for p in network.parameters()) == sum(9 * a * b + b for a, b in convolutions)
    assert spec.multiple == 1


def test_a_generator_passes_noise_through_as_large_as_it_says_and_stays_finite() -> None:
    spec = DenoiserSpec(latent_channels=2, condition_channels=1, channels=(8,), layers=1, groups=1, family="generator")
    network, time = Denoiser(spec), torch.tensor([0])
    z, condition = torch.randn(1, 2, 6, 7), torch.randn(1, 1, 6, 7)
    last = network.body[-1]
    assert last.out_channels == 4
    torch.nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(torch.tensor([0.0, 0.5, 0.0, -2.0]))
        scale, shift = torch.tensor([0.0, -2.0]).exp()[:, None, None], torch.tensor([0.0, 0.5])[:, None, None]
        torch.testing.assert_close(network(z, time, condition), scale * (z + shift))
        last.bias.fill_(1e6)
        assert network(z, time, condition).isfinite().all()


def test_the_family_stands_in_a_config_only_where_it_is_another() -> None:
    plain = DenoiserSpec(latent_channels=4, condition_channels=1, channels=(8,))
    assert "family" not in plain.model_dump(mode="json")
    other = plain.model_copy(update={"family": "regression"})
    assert DenoiserSpec.model_validate(other.model_dump(mode="json")) == other


def test_each_image_has_its_own_time() -> None:
    torch.manual_seed(0)
    network = Denoiser(DenoiserSpec(latent_channels=1, condition_channels=1, channels=(8, 16), layers=1)).eval()
    z, condition = torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8)
    together = network(z, torch.tensor([10, 700]), condition)
    apart = [network(z[i : i + 1], torch.tensor([t]), condition[i : i + 1]) for i, t in enumerate((10, 700))]
    assert torch.allclose(together, torch.cat(apart), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 1_000_000}, "layers is 1000000; expected less than or equal to 64"),
        ({"channels": (8, 10**9)}, "channels.1 is 1000000000; expected less than or equal to 2048"),
        ({"channels": (8,) * 9}, "channels is .*; expected .*at most 8"),
        ({"channels": ()}, "channels is .*; expected .*at least 1"),
        ({"groups": 0}, "groups is 0; expected greater than or equal to 1"),
        ({"latent_channels": 10**4000}, "latent_channels is 1000.*; expected less than or equal to 1024"),
    ],
)
def test_a_network_that_would_fill_the_memory_is_refused_before_it_is_made(options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        checked(DenoiserSpec, {"latent_channels": 4, "condition_channels": 1, **options}, "model")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "options", [{"attention": (True, False)}, {"attention": (False, True)}, {"middle_attention": True}]
)
def test_attention_needs_the_channels_of_a_head(options: dict) -> None:
    small = {"latent_channels": 4, "condition_channels": 1, "channels": (4, 4), "groups": 4}
    assert checked(DenoiserSpec, small, "model").multiple == 2
    with pytest.raises(OptionError, match="8 or more where there is attention"):
        checked(DenoiserSpec, {**small, **options}, "model")


@pytest.mark.parametrize(("latent", "millions", "gigaflops"), [((3, 64, 64), 101.1, 70.5), ((4, 32, 32), 97.2, 17.8)])
def test_size_and_cost_are_the_published(latent: tuple[int, int, int], millions: float, gigaflops: float) -> None:
    """Protocol section 1 for the parameters; the FLOPs are torch's count, a multiply-add as two."""
    step = published_step(*latent)
    assert round(step.parameters / 1e6, 1) == millions
    assert round(step.flops / 1e9, 1) == gigaflops


def test_attention_stands_where_the_feature_map_is_16() -> None:
    assert published_spec(3, 64, 64).attention == (False, False, True, False)
    assert published_spec(4, 32, 32).attention == (False, True, False, False)
    assert published_spec(1, 256, 256).attention == (False, False, False, False)


def test_sides_are_rounded_up_to_what_the_network_needs() -> None:
    assert published_step(3, 17, 24) == published_step(3, 24, 24)


def test_attention_is_decided_at_the_rounded_side() -> None:
    """63 x 63 runs at 64 x 64, whose third level is 16 x 16."""
    assert published_spec(3, 63, 63).attention == published_spec(3, 64, 64).attention
    assert published_step(3, 63, 63) == published_step(3, 64, 64)

import pytest

from latentsr.diffusion.denoiser import published_spec, published_step


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

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from latentsr.diffusion.objective import OBJECTIVES, at, betas


@pytest.mark.parametrize("name", OBJECTIVES)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**31), time=st.integers(0, 999))
def test_the_clean_latent_of_the_target_is_the_latent(name: str, seed: int, time: int) -> None:
    objective = OBJECTIVES[name]
    x, noise = torch.randn(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(seed)).double()
    alpha, sigma = at("flow" if name == "flow" else "cosine", torch.tensor([time]), objective.terminal)
    z = alpha * x + sigma * noise
    assert torch.allclose(objective.clean(objective.target(x, noise, alpha, sigma), z, alpha, sigma), x, atol=1e-3)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_one_step_is_what_pure_noise_allows(name: str) -> None:
    """In pure noise an epsilon network says nothing of the latent; the others say it all."""
    objective = OBJECTIVES[name]
    assert objective.one_step == (name != "epsilon")
    x, noise = torch.randn(2, 1, 1, 4, 4)
    alpha, sigma = at("flow" if name == "flow" else "cosine", torch.tensor([999]), objective.terminal)
    if objective.one_step:
        assert torch.allclose(
            objective.clean(objective.target(x, noise, alpha, sigma), noise, alpha, sigma), x, atol=1e-5
        )


def test_v_is_that_of_diffusers() -> None:
    scheduler = DDPMScheduler(trained_betas=betas("cosine"))
    x, noise, times = torch.randn(5, 1, 4, 4), torch.randn(5, 1, 4, 4), torch.tensor([0, 10, 400, 800, 999])
    alpha, sigma = at("cosine", times)
    ours = OBJECTIVES["v"].target(x, noise, alpha, sigma)
    assert torch.allclose(ours, scheduler.get_velocity(x, noise, times), atol=1e-5)


@pytest.mark.parametrize("name", ["x0", "epsilon", "v"])
def test_clean_is_the_estimate_of_diffusers(name: str) -> None:
    objective = OBJECTIVES[name]
    table = betas("cosine", objective.terminal)
    scheduler = DDIMScheduler(trained_betas=table, clip_sample=False, prediction_type=objective.prediction_type)
    scheduler.set_timesteps(10)
    z, prediction = torch.randn(1, 1, 4, 4), torch.randn(1, 1, 4, 4)
    for time in scheduler.timesteps:
        alpha, sigma = at("cosine", time[None], objective.terminal)
        theirs = scheduler.step(prediction, time, z).pred_original_sample
        assert torch.allclose(objective.clean(prediction, z, alpha, sigma), theirs, rtol=1e-3, atol=1e-3)

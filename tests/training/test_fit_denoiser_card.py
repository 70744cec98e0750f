from latentsr.diffusion.denoiser import DenoiserSpec
from latentsr.diffusion.latents import LatentSpace
from latentsr.provenance import RESEARCH_USE
from latentsr.training.denoiser import TrainConfig
from latentsr.training.fit_denoiser import model_card
from latentsr.upscalers.restorer import ModelConfig


def test_the_card_says_on_what_how_long_how_good_and_for_what_not() -> None:
    model = ModelConfig(
        name="knee-x4", degradation="lanczos:4", autoencoder="haar", autoencoder_hash="h", objective="x0",
        denoiser=DenoiserSpec(latent_channels=16, condition_channels=1, channels=(24, 40)), schedule="cosine",
        solver="dpm++", size=(320, 256), space=LatentSpace(conditions=("pixels",), target="residual", statistics={}),
    )  # fmt: skip
    facts = {"steps": 1234, "minutes": 56.7, "images": {"knees": 89}, "validation": {"psnr": 31.239}}
    card = model_card(model, TrainConfig(batch=5, crop=24), facts)
    assert card.startswith("# knee-x4\n")
    for said in (
        RESEARCH_USE, "`lanczos:4`", "`haar`, 16 channels", "channels 24, 40", "1234 steps of 5 crops of 24",
        "56.7 minutes", "320 x 256 px", "| knees | 89 |", "| psnr | 31.24 dB |", "target: residual",
        "| condition | pixels |", "Not for: diagnosis",
    ):  # fmt: skip
        assert said in card

import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_effectsize

from latentsr.errors import InputError
from latentsr.stats import rate_effects


@pytest.fixture
def comparison() -> pd.DataFrame:
    # Published shares of hallucinated and lost pixels, MedVAE and SD-VAE, MRNet.
    rows = [("hallucinated", 0.247, 0.252), ("lost", 0.271, 0.269), ("psnr", 25.26, 22.34)]
    return pd.DataFrame(rows, columns=["metric", "mean_a", "mean_b"])


def test_rates_get_cohens_h(comparison: pd.DataFrame) -> None:
    found = rate_effects(comparison, ["lost", "hallucinated"])
    assert list(found["metric"]) == ["hallucinated", "lost"]
    assert found["h"][0] == pytest.approx(proportion_effectsize(0.247, 0.252))
    assert abs(found["h"]).max() < 0.02
    assert rate_effects(comparison, ["lost"])["h"][0] == pytest.approx(proportion_effectsize(0.271, 0.269))


def test_what_is_no_rate_is_refused(comparison: pd.DataFrame) -> None:
    with pytest.raises(InputError, match=r"outside \[0, 1\]"):
        rate_effects(comparison, ["psnr"])
    with pytest.raises(InputError, match="no metric invented"):
        rate_effects(comparison, ["invented"])

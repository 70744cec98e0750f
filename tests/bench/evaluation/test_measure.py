import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from latentsr.autoencoders import load_autoencoder
from latentsr.bench import measure_dataset
from latentsr.bench.measure import Measured, Surroundings, Work, measured_batches, other_thumbs
from latentsr.data.records import Dataset, Record, write_dataset
from latentsr.degrade import enlarge, parse_degradation
from latentsr.errors import InputError, OptionError
from latentsr.io.raster import write_pixels
from latentsr.metrics import METRICS, applicable, find_metrics, measure
from latentsr.metrics.hallucination import noise_thresholds
from latentsr.stats.table import COLUMNS, check_table
from latentsr.upscalers import Method, Restored, bicubic

X4 = parse_degradation("bicubic:4")
GIVEN = ({"hr": 0, "lr": 0, "degradation": 0}, {})


@pytest.fixture(scope="module")
def table(dataset: Dataset) -> pd.DataFrame:
    return measure_dataset(dataset, [bicubic(X4), bicubic(X4, projected=True)], X4, batch=2)


def values(table: pd.DataFrame, method: str, metric: str) -> pd.Series:
    return table[(table["method"] == method) & (table["metric"] == metric)].set_index("id")["value"]


def test_the_table_is_tidy_and_complete(table: pd.DataFrame, dataset: Dataset) -> None:
    assert tuple(table.columns) == COLUMNS
    check_table(table)
    assert set(table["method"]) == {"bicubic", "bicubic+projection", "hr"}
    of_pairs, own = ({name for metric in applicable(find_metrics(), given) for name in metric.names} for given in GIVEN)
    assert set(table["metric"]) == of_pairs | {"lr_psnr"}
    assert len(table) == len(dataset.records) * (2 * len(of_pairs | {"lr_psnr"}) + len(own))
    assert dict(zip(table["id"], table["patient"], strict=True)) == {r.id: r.patient for r in dataset.records}
    assert set(table["dataset"]) == {"abdomen"}


def test_values_are_those_of_the_measures(table: pd.DataFrame, dataset: Dataset) -> None:
    for record in dataset.records:
        hr = torch.from_numpy(dataset.image(record))[None, None]
        sr = enlarge(X4.apply(hr), 4).clamp(0, 1)
        for name, expected in measure(find_metrics(), sr, {"hr": hr}).items():
            found = values(table, "bicubic", name)[record.id]
            np.testing.assert_allclose(found, float(expected), rtol=1e-5, atol=1e-4, err_msg=name)
        for name, expected in measure(find_metrics(), hr, {}).items():
            assert values(table, "hr", name)[record.id] == pytest.approx(float(expected), rel=1e-5)


def test_an_image_too_small_has_no_ms_ssim(table: pd.DataFrame, dataset: Dataset) -> None:
    assert values(table, "bicubic", "ms_ssim").isna().tolist() == [r.rows < 161 for r in dataset.records]


def test_projection_makes_sr_true_to_lr_and_no_worse(table: pd.DataFrame) -> None:
    assert (values(table, "bicubic+projection", "lr_psnr") > 100).all()
    assert (values(table, "bicubic", "lr_psnr") < 55).all()
    assert (values(table, "bicubic+projection", "psnr") > values(table, "bicubic", "psnr")).all()


def test_what_is_made_of_hr_is_made_once_for_all_methods(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    transformed, transform = [], torch.fft.rfft2

    def counted(image: Tensor) -> Tensor:
        transformed.append(tuple(image.shape))
        return transform(image)

    monkeypatch.setattr(torch.fft, "rfft2", counted)
    names = ["shift", "contrast", "blur", "noise", "detail_frc", "sfrc", "vsi"]  # the first five share one transform
    methods = [bicubic(X4), bicubic(X4, projected=True)]
    measure_dataset(dataset, methods, X4, metrics=names, batch=1)
    assert len(transformed) == 3 * (1 + len(methods)) * len(dataset.records)


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_batches_change_nothing(batch: int, table: pd.DataFrame, dataset: Dataset) -> None:
    methods = [bicubic(X4, projected=True), bicubic(X4)]
    again = measure_dataset(dataset, methods, X4, batch=batch, metrics=["psnr", "haarpsi"])
    chosen = table[table["metric"].isin(["psnr", "haarpsi", "lr_psnr"]) & (table["method"] != "hr")]
    steady = chosen["metric"] != "lr_psnr"  # of a projected image it measures rounding alone
    chosen = chosen.reset_index(drop=True)
    steady = (again["metric"] != "lr_psnr") | (again["method"] == "bicubic")
    pd.testing.assert_frame_equal(again[steady], chosen[steady], rtol=1e-5)


def test_progress_counts_images_and_memory_holds_one_batch(dataset: Dataset) -> None:
    calls, sizes = [], []

    def restore(lr: Tensor, ids: list[str]) -> Restored:
        sizes.append(len(ids))
        return Restored(enlarge(lr, 4))

    measure_dataset(
        dataset,
        [Method("mine", restore)],
        X4,
        metrics=["psnr"],
        batch=2,
        progress=lambda done, n: calls.append((done, n)),
    )
    assert max(sizes) == 2
    assert calls[-1] == (5, 5)
    assert [done for done, _ in calls] == np.cumsum(sizes).tolist()


def test_methods_are_told_the_ids_of_their_images(dataset: Dataset) -> None:
    by_id = {record.id: torch.from_numpy(dataset.image(record)) for record in dataset.records}
    perfect = Method("perfect", lambda lr, ids: Restored(torch.stack([by_id[name] for name in ids])[:, None]))
    found = measure_dataset(dataset, [perfect], X4, metrics=["psnr"])
    assert values(found, "perfect", "psnr").tolist() == [math.inf] * 5


def test_a_method_of_another_size_is_refused(dataset: Dataset) -> None:
    with pytest.raises(InputError, match=r"'small' gave images of shape .* expected"):
        measure_dataset(dataset, [Method("small", lambda lr, ids: Restored(lr))], X4)


def test_values_that_are_not_finite_are_refused(dataset: Dataset) -> None:
    broken = Method("broken", lambda lr, ids: Restored(enlarge(lr, 4) * torch.nan))
    with pytest.raises(InputError, match="'broken' gave values that are not finite"):
        measure_dataset(dataset, [broken], X4)


@pytest.mark.parametrize(
    ("methods", "options", "message"),
    [
        ([bicubic(X4), bicubic(X4)], {}, "method name bicubic: expected names that differ"),
        ([Method("hr", lambda lr, ids: Restored(lr))], {}, "and not 'hr'"),
        ([bicubic(X4)], {"batch": 0}, "batch of 0"),
        ([bicubic(X4)], {"metrics": ["lpipz"]}, "'lpipz' is unknown"),
    ],
)
def test_wrong_options_are_refused(dataset: Dataset, methods: list[Method], options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        measure_dataset(dataset, methods, X4, **options)


def test_a_split_that_is_not_there_is_refused(dataset: Dataset) -> None:
    with pytest.raises(InputError, match="no images in split 'test'"):
        measure_dataset(dataset, [bicubic(X4)], X4, split="test")


def test_images_that_the_scale_does_not_divide_are_refused(dataset: Dataset) -> None:
    with pytest.raises(InputError, match="not a multiple of the scale 5"):
        measure_dataset(dataset, [bicubic(parse_degradation("bicubic:5"))], parse_degradation("bicubic:5"))


@pytest.fixture
def bright() -> Method:
    """Bicubic, brighter: many pixels lie above 1 until they are clamped."""
    return Method("bright", lambda lr, ids: Restored(enlarge(lr, 4) + 0.5))


class TestBatch:
    """What `measured_batches` gives of each method, against the measures on the images themselves."""

    def measured(self, dataset: Dataset, methods: Sequence[Method], **around: object) -> dict[str, Measured]:
        """The first two images, of one size, as one batch."""
        metrics = find_metrics(["psnr", "null_space", "latent_mse", "laplacian_variance"])
        work = Work(dataset, dataset.records[:2], tuple(methods), metrics, Surroundings(X4, **around))
        ((_, found),) = measured_batches(work, batch=2, device="cpu")
        return found

    def images(self, dataset: Dataset) -> tuple[Tensor, Tensor]:
        hr = torch.stack([torch.from_numpy(dataset.image(record)) for record in dataset.records[:2]])[:, None]
        return hr, X4.apply(hr.double()).float()

    def test_the_mean_is_restored_first_and_clamped(self, dataset: Dataset, bright: Method) -> None:
        found = self.measured(dataset, [bicubic(X4), bright], mean="bright")
        _, lr = self.images(dataset)
        shown, mean = enlarge(lr, 4).clamp(0, 1), (enlarge(lr, 4) + 0.5).clamp(0, 1)
        assert (mean == 1).any()
        expected = METRICS["null_space"](shown, mean=mean, degradation=X4)
        values = dict(zip(found["bicubic"].names, found["bicubic"].values.T, strict=True))
        np.testing.assert_allclose(values["null_space"], expected, rtol=1e-4)
        assert "null_space" not in found["bright"].names

    def test_latents_are_those_of_the_clamped_image(self, dataset: Dataset, bright: Method) -> None:
        haar = load_autoencoder("haar")
        found = self.measured(dataset, [bright], latent=haar)["bright"]
        hr, lr = self.images(dataset)
        pair = [haar.encode(2 * image - 1) for image in ((enlarge(lr, 4) + 0.5).clamp(0, 1), hr)]
        expected = METRICS["latent_mse"](None, sr_latent=pair[0], hr_latent=pair[1])
        columns = [found.names.index(name) for name in METRICS["latent_mse"].names]
        np.testing.assert_allclose(found.values[:, columns], expected, rtol=1e-4)

    def test_thumbnails_are_of_what_each_image_reduces_to(self, dataset: Dataset, bright: Method) -> None:
        found = self.measured(dataset, [bright])
        _, lr = self.images(dataset)
        for name, image in (("hr", lr), ("bright", X4.apply(enlarge(lr, 4) + 0.5))):
            expected = adaptive_avg_pool2d(image, 16).flatten(1)
            np.testing.assert_allclose(found[name].thumbs, expected, atol=1e-5)

    def test_maps_count_images_at_two_sigma_the_invented_first(
        self, dataset: Dataset, lossy_model_folders: tuple[Path, ...]
    ) -> None:
        hr, _ = self.images(dataset)
        reference = load_autoencoder(lossy_model_folders[0] / "autoencoder")
        method = Method("mine", lambda lr, ids: Restored(enlarge(lr, 4) + 0.02))
        found = self.measured(dataset, [method], reference=reference)["mine"]
        assert found.maps.shape == (2, *hr.shape[-2:])
        threshold = noise_thresholds(reference.decode(reference.encode(2 * hr - 1)).add(1).div(2).clamp(0, 1), hr)
        shown = (enlarge(X4.apply(hr), 4) + 0.02).clamp(0, 1)
        brighter = [float((shown - hr > threshold[:, k, None, None, None]).sum()) for k in range(3)]
        assert brighter[0] > 1.01 * brighter[1] > 1.02 * brighter[2]
        assert float(found.maps[0].sum()) == pytest.approx(brighter[1], rel=0.001)
        assert found.maps[0].max() == 2
        assert found.maps[0].sum() > 1.1 * found.maps[1].sum()

    def test_lr_is_neither_rounded_nor_clamped(self, tmp_path: Path) -> None:
        """Bicubic reduction overshoots at edges; methods see that."""
        edge = np.zeros((64, 64), np.uint8)
        edge[:, 30:] = 255
        records = [Record(name, name, "valid", f"{name}.png", 64, 64, sha256="") for name in "ab"]
        for record in records:
            write_pixels(tmp_path / record.file, edge)
        seen: list[Tensor] = []
        method = Method("mine", lambda lr, ids: seen.append(lr) or Restored(enlarge(lr, 4)))
        self.measured(write_dataset(tmp_path, "edges", records, {}), [method])
        torch.testing.assert_close(seen[0][0, 0], X4.apply(torch.from_numpy(edge / 255)[None, None])[0, 0].float())
        assert seen[0].max() > 1.01
        assert (seen[0] * 255 - (seen[0] * 255).round()).abs().max() > 0.1

    def test_hr_is_measured_where_no_reference_is_needed(self, dataset: Dataset) -> None:
        found = self.measured(dataset, [bicubic(X4)])["hr"]
        assert found.names == ("laplacian_variance",)

    def test_thumbnails_of_the_rest_leave_out_what_is_done(self, dataset: Dataset) -> None:
        rest = dataset.records[1:4]
        work = Work(dataset, dataset.records[:1], (), find_metrics(["psnr"]), Surroundings(X4), others=rest)
        found = {}
        for alike, thumbs in other_thumbs(work, batch=2, device="cpu", done={rest[0].id}):
            found |= dict(zip([record.id for record in alike], thumbs, strict=True))
        assert list(found) == [record.id for record in rest[1:]]
        for record in rest[1:]:
            lr = X4.apply(torch.from_numpy(dataset.image(record))[None, None])
            np.testing.assert_allclose(found[record.id], adaptive_avg_pool2d(lr, 16).flatten(), atol=1e-5)

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from simulated_rows import training_rows

from pipeline_assets.errors import ModelUnusable, NothingToTrainOn, SchemaMismatch
from pipeline_assets.training.model import weights
from pipeline_assets.training.model.feature_matrix import COLUMNS, CONTENT, NAMES
from pipeline_assets.training.model.popularity_model import Epoch, TrainedModel, train
from pipeline_assets.training.model.prediction import load
from pipeline_assets.training.model.scores import oracle_scores
from pipeline_assets.training.shards.staging import stage
from pipeline_assets.training.shards.staging_plan import plan

ROWS = training_rows(600, dim=200)


def staged(folder: Path, rows: pl.DataFrame) -> Path:
    stage(rows.lazy(), folder, plan(rows.lazy(), table_version=1, shard_rows=128))
    return folder


@pytest.fixture(scope="module")
def staging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return staged(tmp_path_factory.mktemp("staging"), ROWS)


@pytest.fixture(scope="module")
def model(staging: Path) -> TrainedModel:
    return train(staging, seed=1)


def test_it_beats_its_baselines_and_comes_near_the_oracle(model: TrainedModel) -> None:
    oracle = oracle_scores(model.predictions, ROWS)
    assert oracle is not None
    assert -0.2 < model.baselines["mean"].r2 <= 0
    assert model.baselines["mean"].spearman is None
    assert model.baselines["metadata"].r2 > 0.3
    assert model.scores.r2 > model.baselines["metadata"].r2 + 0.2
    assert model.scores.r2 > model.baselines["ridge"].r2
    assert oracle.r2 - 0.08 < model.scores.r2 < oracle.r2 + 0.02
    assert model.scores.spearman == pytest.approx(oracle.spearman, abs=0.06)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_whatever_the_threads(staging: Path, model: TrainedModel) -> None:
    threads, random = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(threads + 1)
    try:
        again = train(staging, seed=1)
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)
    assert again.weights == model.weights
    assert again.weights_sha256 == hashlib.sha256(model.weights).hexdigest() == model.weights_sha256
    assert_frame_equal(again.predictions, model.predictions)
    assert_frame_equal(again.importance, model.importance)
    assert torch.equal(torch.get_rng_state(), random)
    assert train(staging, seed=2).weights != model.weights


def test_the_report_counts_rows_epochs_and_progress(staging: Path, model: TrainedModel) -> None:
    counts = dict(ROWS.group_by("split").len().iter_rows())
    assert model.rows == counts
    assert model.predictions.height == counts["test"]
    epochs: list[Epoch] = []
    short = train(staging, seed=1, max_epochs=3, on_epoch=epochs.append)
    assert short.epochs == 3
    assert [epoch.number for epoch in epochs] == [0, 1, 2, 3]
    assert {epoch.max_epochs for epoch in epochs} == {3}


@pytest.mark.skipif(torch.cuda.is_available(), reason="auto takes the CUDA device")
def test_without_cuda_auto_and_mps_train_on_the_cpu(staging: Path) -> None:
    found = [train(staging, seed=1, max_epochs=1, device=device).weights for device in ("cpu", "auto", "mps")]
    assert found[0] == found[1] == found[2]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_the_scores_are_those_of_the_cpu(staging: Path, model: TrainedModel) -> None:
    found = train(staging, seed=1, device="cuda")
    assert found.scores.r2 == pytest.approx(model.scores.r2, abs=0.02)
    assert found.baselines["ridge"].r2 == pytest.approx(model.baselines["ridge"].r2, abs=1e-3)


def test_the_test_split_changes_the_scores_and_never_the_weights(tmp_path: Path, model: TrainedModel) -> None:
    test = pl.col("split") == "test"
    spoiled = ROWS.with_columns(
        pl.when(test).then(pl.col(column) * 50).otherwise(column).cast(ROWS.schema[column])
        for column in ("colourfulness", "logins_7d", "followers_at_post", "popularity")
    ).with_columns(embedding=pl.when(test).then(pl.col("embedding").list.reverse()).otherwise("embedding"))
    other = train(staged(tmp_path, spoiled), seed=1)
    assert other.weights == model.weights
    assert other.scores != model.scores


def test_standardisation_is_that_of_the_training_rows(model: TrainedModel) -> None:
    tensors, _ = weights.from_bytes(model.weights)
    rows = ROWS.filter(pl.col("split") == "train")
    column = NAMES.index("brightness")
    assert tensors["feature_mean"][column] == pytest.approx(rows["brightness"].mean(), rel=1e-5)
    assert 1 / tensors["feature_scale"][column] == pytest.approx(rows["brightness"].std(ddof=0), rel=1e-4)
    assert tensors["feature_scale"][NAMES.index("followers_at_post_missing")] == 0


@pytest.mark.slow
def test_the_hidden_layers_learn_what_a_straight_line_cannot(tmp_path: Path) -> None:
    rows = training_rows(1500, dim=16, interaction=0.8)
    found = train(staged(tmp_path, rows), seed=1)
    assert found.scores.r2 > found.baselines["ridge"].r2 + 0.1


def test_predictions_offline_one_by_one_and_of_the_training_run_are_equal(model: TrainedModel) -> None:
    predictor = load(model.weights)
    rows = ROWS.filter(pl.col("split") == "test").drop("popularity").sort("photo_id")
    offline = predictor.predict(rows, batch_rows=17)
    online = pl.concat([predictor.predict(rows[i]) for i in range(rows.height)])
    trained = model.predictions.sort("photo_id").select("photo_id", "prediction")
    assert_frame_equal(offline, online, abs_tol=1e-5)
    assert_frame_equal(offline, trained, abs_tol=1e-5)
    assert predictor.predict(rows.clear()).schema == offline.schema


def test_predictions_are_finite_and_not_negative_far_from_the_training_rows(model: TrainedModel) -> None:
    odd = ROWS.head(40).with_columns(
        followers_at_post=pl.Series([None, 10**9] * 20, dtype=pl.Int64),
        embedding=pl.col("embedding").list.eval(pl.element() * 1e4),
        mean_popularity_30d=pl.lit(None, pl.Float32),
    )
    prediction = load(model.weights).predict(odd)["prediction"]
    assert prediction.is_finite().all()
    assert prediction.min() >= 0


def test_a_value_that_never_varied_in_training_changes_no_prediction(model: TrainedModel) -> None:
    rows = ROWS.head(20).with_columns(followers_at_post=pl.lit(0, pl.Int64))
    without = rows.with_columns(followers_at_post=pl.lit(None, pl.Int64))
    predictor = load(model.weights)
    assert_frame_equal(predictor.predict(rows), predictor.predict(without))


def test_another_classifiers_embeddings_are_refused(model: TrainedModel) -> None:
    with pytest.raises(SchemaMismatch, match=r"resnet.*reads those of efficientnet-lite0"):
        load(model.weights).predict(ROWS.with_columns(model_id=pl.lit("resnet")))


def test_importance_finds_the_inputs_that_matter(model: TrainedModel) -> None:
    importance = model.importance
    assert set(importance["feature"]) == {CONTENT, *COLUMNS}
    assert set(importance["feature"].head(3)) == {CONTENT, "followers_at_post", "posted_hour"}
    assert importance["r2_drop"].is_sorted(descending=True)
    idle = importance.filter(~pl.col("feature").is_in([CONTENT, "followers_at_post", "posted_hour"]))
    assert idle["r2_drop"].abs().max() < 0.05
    assert importance.filter(pl.col("feature") == CONTENT)["source"].item() == "content"


@pytest.mark.parametrize("missing", ["train", "validation", "test"])
def test_an_empty_split_is_named(tmp_path: Path, missing: str) -> None:
    staging = staged(tmp_path, ROWS.filter(pl.col("split") != missing))
    with pytest.raises(NothingToTrainOn, match=f"split {missing} .*longer window"):
        train(staging, seed=1)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_handful_of_rows_still_trains(tmp_path: Path, rows: int) -> None:
    few = ROWS.filter(pl.int_range(pl.len()).over("split") < rows)
    found = train(staged(tmp_path, few), seed=1)
    assert found.rows == {"train": rows, "validation": rows, "test": rows}
    assert (found.scores.spearman is None) == (rows == 1)
    assert found.predictions["prediction"].is_finite().all()
    assert found.importance["r2_drop"].is_finite().all()


def test_weights_come_back_as_they_were_and_their_order_does_not_matter() -> None:
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor(1.5), "empty": torch.zeros(0, 4)}
    data = weights.to_bytes(tensors, {"format": "x", "é": "ü"})
    back, metadata = weights.from_bytes(data)
    assert metadata == {"format": "x", "é": "ü"}
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)
    assert weights.to_bytes(dict(sorted(tensors.items())), {"é": "ü", "format": "x"}) == data


def test_the_layout_is_that_of_safetensors() -> None:
    data = weights.to_bytes({"w": torch.tensor([1.0, -2.0])}, {"k": "v"})
    length = int.from_bytes(data[:8], "little")
    assert length % 8 == 0
    assert json.loads(data[8 : 8 + length]) == {
        "__metadata__": {"k": "v"},
        "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
    }
    assert data[8 + length :] == bytes.fromhex("0000803f000000c0")


def broken_weights(data: bytes) -> Iterator[bytes]:
    header = int.from_bytes(data[:8], "little")
    yield from (b"", b"\0" * 7, data[:100], data[:-1], data + b"\0", b"\xff" * len(data), b"PK\x03\x04" + data)
    for old, new in (
        (b'"F32"', b'"F64"'),
        (b"darkroom-popularity/1", b"darkroom-popularity/9"),
        (b"has_location", b"has_hospital"),
        (b"projection", b"projectile"),
        (b'"shape":[200,32]', b'"shape":[100,64]'),
        (b'"data_offsets"', b'"data-offsets"'),
        (b"{", b"["),
    ):
        yield data[:8] + data[8 : 8 + header].replace(old, new, 1) + data[8 + header :]
    yield data[:8] + b"[1]".ljust(header) + data[8 + header :]


def test_broken_weights_of_many_kinds_are_refused(model: TrainedModel) -> None:
    assert load(model.weights).model_id == "efficientnet-lite0"
    for data in broken_weights(model.weights):
        assert data != model.weights
        with pytest.raises(ModelUnusable, match="again"):
            load(data)

import pickle
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from simulated_rows import training_rows

from pipeline_assets.errors import StagingCorrupt
from pipeline_assets.training.model.feature_matrix import features
from pipeline_assets.training.shards.dataset import ShuffledBatches, StagedRows, ordered_batches, shuffled_loader
from pipeline_assets.training.shards.staging import stage
from pipeline_assets.training.shards.staging_plan import plan

ROWS = training_rows(300)
TRAIN = ROWS.filter(pl.col("split") == "train").sort("day", "photo_id")


@pytest.fixture(scope="module")
def staging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("staging")
    stage(ROWS.lazy(), folder, plan(ROWS.lazy(), table_version=1, shard_rows=24))
    return folder


def test_the_dataset_equals_the_frame(staging: Path) -> None:
    rows = StagedRows(staging, "train")
    batch = rows.__getitems__(range(len(rows)))
    assert batch["photo_id"].tolist() == TRAIN["photo_id"].to_list()
    assert batch["label"].tolist() == TRAIN["popularity"].to_list()
    assert batch["embedding"].tolist() == TRAIN["embedding"].to_list()
    np.testing.assert_array_equal(batch["features"].numpy(), features(TRAIN))
    assert [value.dtype for value in batch.values()] == [torch.float32, torch.float32, torch.float32, torch.int64]


def test_rows_come_in_the_order_asked_for_across_shards_and_repeated(staging: Path) -> None:
    rows, wanted = StagedRows(staging, "train"), [150, 3, 24, 23, 3]
    assert rows.__getitems__(wanted)["photo_id"].tolist() == TRAIN["photo_id"].gather(wanted).to_list()
    assert rows[24]["embedding"].shape == (1, 48)


@pytest.mark.parametrize("index", [-1, 10_000])
def test_a_row_outside_the_split_is_an_index_error(staging: Path, index: int) -> None:
    with pytest.raises(IndexError):
        StagedRows(staging, "train")[index]


def test_writing_to_a_batch_leaves_the_staging_as_it_was(staging: Path) -> None:
    rows = StagedRows(staging, "train")
    rows[0]["embedding"].zero_()
    assert rows[0]["embedding"].abs().sum() > 0


def test_a_pickled_dataset_maps_the_files_again(staging: Path) -> None:
    rows = StagedRows(staging, "test")
    rows[0]
    data = pickle.dumps(rows)
    assert len(data) < 10_000
    again = pickle.loads(data)  # noqa: S301
    assert torch.equal(again[5]["embedding"], rows[5]["embedding"])


def test_ordered_batches_give_every_row_once(staging: Path) -> None:
    photos = [batch["photo_id"] for batch in ordered_batches(StagedRows(staging, "train"), 50)]
    assert {len(part) for part in photos[:-1]} == {50}
    assert torch.cat(photos).tolist() == TRAIN["photo_id"].to_list()


@pytest.mark.parametrize("window", [1, 3, 16])
def test_a_shuffled_epoch_has_every_row_once_and_depends_on_seed_and_epoch_alone(window: int) -> None:
    offsets = np.cumsum([0, 24, 24, 24, 24, 24, 7])

    def epoch(seed: int, number: int) -> list[list[int]]:
        batches = ShuffledBatches(offsets, 10, seed=seed, window_shards=window)
        batches.epoch = number
        assert len(batches) == 13
        return list(batches)

    batches = epoch(1, 0)
    assert [len(batch) for batch in batches] == [10] * 12 + [7]
    assert sorted(row for batch in batches for row in batch) == list(range(127))
    assert batches == epoch(1, 0)
    assert batches != epoch(1, 1) != epoch(2, 1)


def test_a_small_window_touches_few_shards_at_a_time() -> None:
    offsets = np.arange(0, 2001, 100)
    batches = list(ShuffledBatches(offsets, 100, seed=0, window_shards=2))
    assert max(len({row // 100 for row in batch}) for batch in batches) == 2


@pytest.mark.slow
def test_workers_change_nothing_in_what_the_loader_gives(staging: Path) -> None:
    here, there = (list(shuffled_loader(StagedRows(staging, "train"), 32, seed=4, workers=workers)) for workers in (0, 2))
    assert len(here) == len(there) == 7
    for one, other in zip(here, there, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_the_loader_leaves_torchs_global_random_state_alone(staging: Path) -> None:
    before = torch.get_rng_state()
    list(shuffled_loader(StagedRows(staging, "train"), 32, seed=4))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_shard_cut_short_and_another_features_staging_are_named(staging: Path, tmp_path: Path) -> None:
    stage(ROWS.lazy(), tmp_path, plan(ROWS.lazy(), table_version=1, shard_rows=24))
    path = tmp_path / "train-00001.arrow"
    path.write_bytes(path.read_bytes()[:100])
    rows = StagedRows(tmp_path, "train")
    assert len(rows[0]["label"]) == 1
    with pytest.raises(StagingCorrupt, match="train-00001"):
        rows[24]
    manifest = tmp_path / "manifest.json"
    manifest.write_text(manifest.read_text().replace("has_location", "has_place"))
    with pytest.raises(StagingCorrupt, match="other features"):
        StagedRows(tmp_path, "train")

"""The asset of slices: a night's model, judged on users whom it never saw."""

from datetime import timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from pipeline_assets.catalog import slices as assets
from pipeline_assets.classify.schemas import PhotoStyles
from pipeline_assets.errors import ModelUnusable
from pipeline_assets.exploration.slices import held_out
from pipeline_assets.framework.partitions import daily
from pipeline_assets.training.model.popularity_model import train
from pipeline_assets.training.schemas import PopularityModel, TrainingTable
from pipeline_assets.training.shards.staging import stage
from pipeline_assets.training.shards.staging_plan import plan
from resources.database import ledger
from resources.database.contract import Database
from resources.lake.lake import Lake
from resources.lake.lake_io import LakeIO
from resources.objects.resource import Objects
from tests.training.simulated_rows import FIRST_DAY, training_rows

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated")]

NIGHT = FIRST_DAY + timedelta(days=10)
DIM = 8


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    """Photos of 300 users, whose labels are noisier where a photo has a location."""
    random = np.random.default_rng(5)
    made = training_rows(4_000, dim=DIM).with_columns(user_id=pl.Series(random.integers(1, 300, 4_000)))
    noise = pl.Series(random.normal(0, 1.5, 4_000)) * pl.col("has_location")
    return made.with_columns(
        popularity=(pl.col("popularity") + noise).clip(0).cast(pl.Float32),
        split=pl.when(pl.col("user_id") % 2 == 0).then(pl.lit("train")).otherwise(pl.lit("test")),
        top_class=pl.lit("it's"),
        top_probability=pl.lit(0.5, pl.Float32),
        posted_at=pl.datetime(2026, 5, 1, time_zone="UTC"),
        views_7d=pl.lit(9, pl.Int64),
    )


@pytest.fixture(scope="module")
def weights(rows: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("staging")
    with_validation = rows.with_columns(
        split=pl.when(pl.col("user_id") % 3 == 0).then(pl.lit("validation")).otherwise("split")
    )
    stage(with_validation.lazy(), folder, plan(with_validation.lazy(), table_version=1))
    return train(folder, seed=0, max_epochs=2).weights


def styles_of(rows: pl.DataFrame) -> pl.DataFrame:
    """A natural look of each photo."""
    types = PhotoStyles.create_empty().schema
    known = rows.with_columns(look=pl.lit("natural")).unique(["day", "sha256"], maintain_order=True)
    return known.select(
        (pl.col(name) if name in known.columns else pl.lit(None)).cast(dtype).alias(name) for name, dtype in types.items()
    )


def others(rows: pl.DataFrame) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Looks and clusters of all photos but the sixth."""
    photos = rows.filter(pl.int_range(pl.len()) != 5).select("day", "sha256", "model_id").unique()
    looks = photos.with_columns(look=pl.when(pl.col("sha256").str.head(1) < "8").then(pl.lit("sepia")))
    # Of a photo that was uploaded under two keys, the map has two rows.
    return looks.lazy(), pl.concat([photos, photos]).with_columns(cluster=pl.lit(3, pl.Int32)).lazy()


def test_only_mature_photos_of_held_out_users_are_predicted(rows: pl.DataFrame, weights: bytes) -> None:
    broken = rows["embedding"].to_list()
    broken[0], broken[1], broken[4] = [float("nan")] * DIM, None, [None, *broken[4][1:]]
    changed = rows.with_columns(
        embedding=pl.Series(broken, dtype=pl.List(pl.Float32)),
        model_id=pl.when(pl.int_range(pl.len()) == 2).then(pl.lit("another")).otherwise("model_id"),
        popularity=pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise("popularity"),
        split=pl.when(pl.int_range(pl.len()) < 10).then(pl.lit("test")).otherwise("split"),
    )
    found = held_out.predicted(changed.lazy(), weights, *others(changed))
    assert set(rows["photo_id"][:10].to_list()) - set(found["photo_id"]) == set(rows["photo_id"][:5].to_list())
    assert found["prediction"].is_finite().all()
    assert found.height == found["photo_id"].n_unique()
    is_sixth = found["photo_id"] == rows["photo_id"][5]
    assert found.filter(is_sixth).select("look", "cluster").rows() == [(None, None)]
    assert found.filter(~is_sixth)["cluster"].unique().to_list() == [3]
    assert set(found.filter(look="sepia")["sha256"].str.head(1)) <= set("01234567")
    assert not set(found["photo_id"]) & set(rows.filter(split="train")["photo_id"][10:].to_list())
    assert held_out.predicted(changed.clear().lazy(), weights, *others(changed)).is_empty()
    with pytest.raises(ModelUnusable):
        held_out.predicted(changed.lazy(), b"no weights", *others(changed))


def test_a_nights_slices_are_a_table_and_a_night_without_a_model_has_none(
    tmp_path: Path, database: Database, rows: pl.DataFrame, weights: bytes
) -> None:
    (tmp_path / "lake").mkdir()
    lake = Lake(url=(tmp_path / "lake").as_uri())
    objects = Objects(url=(tmp_path / "objects").as_uri())
    stored = objects.store.put_if_absent(weights)
    model = dict.fromkeys(PopularityModel.column_names()) | {"day": NIGHT, "weights_sha256": stored.sha256}
    tables = {
        "training_table": rows.select(TrainingTable.column_names()),
        "popularity_model": pl.DataFrame([model], schema=PopularityModel.create_empty().schema),
        "photo_styles": styles_of(rows),
    }
    empty_night = NIGHT + timedelta(days=1)
    for name, table in tables.items():
        days = sorted({*table["day"], NIGHT, empty_night})
        version = lake.replace(name, days, table)
        counts = [(day, table.filter(day=day).height) for day in days]
        entries = [
            ledger.Materialization(name, day, "0" * 32, rows, 0, "1", "", {}, version, None, "test") for day, rows in counts
        ]
        ledger.record(database, entries)
    for night in (NIGHT, empty_night):
        done = dg.materialize(
            [assets.slices, *(dg.AssetSpec(name, partitions_def=daily) for name in (*tables, "embedding_map"))],
            selection=["slices"],
            partition_key=str(night),
            resources={"lake": lake, "io_manager": LakeIO(lake=lake), "database": database, "objects": objects},
        )
        assert done.success
    found = lake.scan("slices").collect()
    assert found["day"].unique().to_list() == [NIGHT]
    assert found["weights_sha256"].unique().to_list() == [stored.sha256]
    weak = found.filter("is_weak")
    assert weak["slice"].to_list() == ["has_location = true"]
    assert weak["is_of_training_table"].to_list() == [True]
    held_out_rows = rows.filter(split="test")
    assert weak["rows"].item() == held_out_rows.filter(pl.sql_expr(weak["slice"].item())).height

"""Profiles and drift through the framework: a folder, SQLite, and tables as runs leave them."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from pipeline_assets.catalog import DECLARED
from pipeline_assets.classify.schemas import PhotoStyles
from pipeline_assets.exploration.profiles.assets import drift, table_profiles
from pipeline_assets.exploration.profiles.columns import TABLES
from pipeline_assets.features.schemas import UserFeatures
from pipeline_assets.framework.partitions import daily
from pipeline_assets.framework.planning import plan_days
from resources.database import ledger
from resources.database.sqlite import Sqlite
from resources.lake.lake import Lake
from resources.lake.lake_io import LakeIO

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated"),
]
FIRST, LAST = date(2026, 2, 1), date(2026, 2, 10)
DAYS = [FIRST + timedelta(number) for number in range(10)]


def styles(day: date, brightness: float = 0.5) -> pl.DataFrame:
    """Forty photos."""
    generator = np.random.default_rng(day.day)
    empty = PhotoStyles.create_empty().schema
    values = {name: generator.random(40) for name, dtype in empty.items() if dtype == pl.Float32}
    values["brightness"] = brightness + values["brightness"] / 10
    texts = {"sha256": [f"{number:064x}" for number in range(40)], "styles_id": ["styles-1"] * 40, "look": ["natural"] * 40}
    return pl.DataFrame({"day": [day] * 40, **texts, **values, "look_model_id": [None] * 40}, schema_overrides=empty).select(
        empty.names()
    )


class World:
    """A lake and a ledger with what lies above."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lake = Lake(url=(folder / "lake").as_uri())
        (folder / "lake").mkdir()
        self.database = Sqlite(url=f"sqlite:///{folder / 'darkroom.db'}")
        self.database.migrate()
        self.instance = dg.DagsterInstance.ephemeral()

    def write(self, table: str, rows: pl.DataFrame, days: Sequence[date], digest: str = "1") -> None:
        """Rows of these days, as a run leaves them."""
        version = self.lake.replace(table, list(days), rows)
        counts = dict(rows.group_by("day").len().iter_rows())
        ledger.record(
            self.database,
            [
                ledger.Materialization(
                    table, day, f"{digest} {day}", counts.get(day, 0), 0, "1", "", {}, version, None, "test"
                )
                for day in days
            ],
        )

    def run(self) -> dg.ExecuteInProcessResult:
        """Compute all days of both assets."""
        upstream = [dg.AssetSpec(name, partitions_def=daily) for name in TABLES]
        resources = {"lake": self.lake, "database": self.database, "io_manager": LakeIO(lake=self.lake)}
        result = dg.materialize(
            [table_profiles, drift, *upstream],
            selection=["table_profiles", "drift"],
            resources=resources,
            instance=self.instance,
            tags={"dagster/asset_partition_range_start": str(FIRST), "dagster/asset_partition_range_end": str(LAST)},
        )
        assert result.success
        return result

    def rows(self, table: str) -> pl.DataFrame:
        return self.lake.scan(table).collect()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.write("photo_styles", pl.concat([styles(day, 0.8 if day == LAST else 0.5) for day in DAYS]), DAYS)
    yield made
    made.instance.dispose()


def observed(result: dg.ExecuteInProcessResult, table: str) -> dict[str, dg.MetadataValue]:
    """What a run says on the page of another asset."""
    found: dict[str, dg.MetadataValue] = {}
    for event in result.all_events:
        if event.event_type_value == "ASSET_OBSERVATION" and event.asset_key == dg.AssetKey(table):
            found |= event.asset_observation_data.asset_observation.metadata
    return found


def test_a_day_is_profiled_from_the_tables_that_it_has_and_its_drift_is_found(world: World) -> None:
    result = world.run()
    profiled = world.rows("table_profiles")
    assert set(profiled["table"]) == {"photo_styles"}
    assert profiled.filter(column="brightness")["rows"].to_list() == [40] * 10
    found = world.rows("drift").filter("is_alarm")
    assert found.select("day", "table", "column").rows() == [(LAST, "photo_styles", "brightness")]
    checks = {check.check_name: check for check in result.get_asset_check_evaluations() if check.asset_key == drift.key}
    assert not checks["like_before"].passed
    shown = observed(result, "photo_styles")
    assert set(shown) == {"profile", "distributions", "drift"}
    assert "brightness" in str(shown["profile"].value)
    assert "**alarm**" in str(shown["drift"].value)
    assert str(shown["distributions"].value).startswith("![photo")


def test_a_second_run_has_nothing_to_do_and_a_new_table_leaves_the_profiles_of_others_as_they_are(world: World) -> None:
    world.run()
    resources = {"lake": world.lake, "database": world.database}
    assert plan_days(DECLARED["table_profiles"], world.lake, world.database, DAYS, resources).changed == ()
    before = world.rows("table_profiles").filter(table="photo_styles").sort("day", "column")
    at = datetime(2026, 2, 3, tzinfo=UTC)
    user = dict.fromkeys(UserFeatures.column_names(), 1) | {"day": DAYS[1], "as_of": at, "mean_popularity_30d": None}
    world.write("user_features", pl.DataFrame([user], schema=UserFeatures.create_empty().schema), DAYS[:3])
    for path in (world.folder / "lake" / "tables" / "photo_styles").rglob("*.parquet"):
        path.unlink()  # what is not read again is not missed
    assert plan_days(DECLARED["table_profiles"], world.lake, world.database, DAYS, resources).changed == tuple(DAYS[:3])
    world.run()
    after = world.rows("table_profiles")
    assert after.filter(table="photo_styles").sort("day", "column").equals(before)
    users = after.filter(table="user_features", column="logins_1d").sort("day")
    assert users["rows"].to_list() == [0, 1, 0]


def test_days_without_any_table_have_no_profile_and_no_drift(tmp_path: Path) -> None:
    empty = World(tmp_path)
    empty.run()
    assert not empty.lake.exists("table_profiles") or empty.rows("table_profiles").is_empty()
    assert not empty.lake.exists("drift") or empty.rows("drift").is_empty()
    empty.instance.dispose()

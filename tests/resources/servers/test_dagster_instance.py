"""The instance of commands with Dagster's SQLite files: connections are kept, and what it stores is there for others."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import psutil
import pytest

from resources.servers.dagster_home import write_dagster_home
from resources.servers.dagster_instance import open_instance
from resources.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = Settings(
        home=tmp_path / "home",
        database_url=f"sqlite:///{tmp_path / 'darkroom.db'}",
        uploads_url=f"file://{tmp_path / 'uploads'}",
        lake_url=f"file://{tmp_path / 'lake'}",
    )
    write_dagster_home(found)
    return found


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
def one() -> None: ...


def opened(home: Path) -> list[str]:
    return [file.path for file in psutil.Process().open_files() if file.path.startswith(str(home)) and ".db" in file.path]


def test_runs_are_there_for_an_instance_that_keeps_nothing(settings: Settings) -> None:
    with open_instance(settings) as instance:
        done = [dg.materialize([one], partition_key=key, instance=instance) for key in ("a", "b", "a")]
        assert instance.get_materialized_partitions(one.key) == {"a", "b"}
        assert {Path(name).name.partition(".db")[0] for name in opened(settings.home)} == {"index", done[-1].run_id}
        found = [[entry.message for entry in instance.all_logs(run.run_id)] for run in done]
    assert opened(settings.home) == []
    with dg.DagsterInstance.from_config(str(settings.dagster_home), "cli.yaml") as plain:
        assert [[entry.message for entry in plain.all_logs(run.run_id)] for run in done] == found
        assert plain.get_latest_materialization_event(one.key) is not None


def test_threads_store_at_once_and_beside_an_instance_that_keeps_nothing(settings: Settings) -> None:
    with (
        open_instance(settings) as kept,
        dg.DagsterInstance.from_config(str(settings.dagster_home), "cli.yaml") as plain,
        ThreadPoolExecutor(4) as pool,
    ):

        def report(number: int) -> None:
            instance = plain if number % 2 else kept
            instance.report_runless_asset_event(dg.AssetMaterialization("one", partition=str(number)))

        list(pool.map(report, range(60)))
        assert kept.get_materialized_partitions(one.key) == plain.get_materialized_partitions(one.key)
        assert len(kept.get_materialized_partitions(one.key)) == 60


def test_an_event_that_cannot_be_stored_leaves_the_storage_usable(settings: Settings) -> None:
    with open_instance(settings) as instance:
        done = dg.materialize([one], partition_key="a", instance=instance)
        with pytest.raises(ZeroDivisionError), instance.event_log_storage.index_connection():
            _ = 1 / 0
        assert instance.get_materialized_partitions(one.key) == {"a"}
        assert done.success

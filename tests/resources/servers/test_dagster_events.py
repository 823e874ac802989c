"""Events that are stored together in PostgreSQL are those that Dagster stores one by one, and reads the same."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy

from resources import dagster_private
from resources.dagster_private import stored_together
from resources.servers.dagster_home import write_dagster_home
from resources.servers.dagster_instance import open_instance
from resources.settings import Settings

DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-08")
KEYS = DAYS.get_partition_keys()
pytestmark = pytest.mark.slow


@pytest.fixture
def settings(tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DARKROOM_DAGSTER_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
    found = Settings(home=tmp_path / "home", database_url=postgres_url, dagster_postgres_url=postgres_url)
    write_dagster_home(found)
    return found


def asset_of(fails_at: str = "", *, together: bool) -> dg.AssetsDefinition:
    """An asset that reports each day and its check, and an odd event between."""

    @dg.asset(
        name="reported",
        code_version="1",
        partitions_def=DAYS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[dg.AssetCheckSpec("holds", asset="reported", partitions_def=DAYS)],
    )
    def reported(context: dg.AssetExecutionContext) -> Iterator[Any]:
        yield dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True, check_name="holds")])
        with stored_together(context.instance.event_log_storage) if together else nullcontext():
            for key in context.partition_keys:
                if key == fails_at:
                    raise ValueError("broken")
                yield dg.AssetMaterialization("reported", partition=key, tags={"dagster/data_version": f"v-{key}"})
                if key == KEYS[3]:
                    context.log.info("half of them")
        with stored_together(context.instance.event_log_storage) if together else nullcontext():
            for key in context.partition_keys:
                yield dg.AssetCheckEvaluation(
                    asset_key=dg.AssetKey("reported"), check_name="holds", passed=key != KEYS[1], partition=key
                )

    return reported


def run_of(instance: dg.DagsterInstance, asset: dg.AssetsDefinition) -> dg.ExecuteInProcessResult:
    tags = {"dagster/asset_partition_range_start": KEYS[0], "dagster/asset_partition_range_end": KEYS[-1]}
    return dg.materialize([asset], instance=instance, tags=tags, raise_on_error=False)


def stored(url: str, run_id: str) -> list[list[tuple[Any, ...]]]:
    """The rows of a run: its events in order, its tags of events, its results of checks."""
    engine = sqlalchemy.create_engine(url)
    statements = (
        "select dagster_event_type, step_key, asset_key, partition from event_logs where run_id = :run and id not in "
        "(select id from event_logs where dagster_event_type in ('ENGINE_EVENT', 'ASSET_CHECK_EVALUATION_PLANNED')) order by id",
        "select e.dagster_event_type, e.partition, t.asset_key, t.key, t.value from asset_event_tags t "
        "join event_logs e on e.id = t.event_id where e.run_id = :run and t.key = 'dagster/data_version' order by e.id",
        "select c.asset_key, c.check_name, c.partition, c.execution_status, e.dagster_event_type, e.partition "
        "from asset_check_executions c join event_logs e on e.id = c.evaluation_event_storage_id "
        "where c.run_id = :run order by c.partition, c.id",
    )
    try:
        with engine.connect() as connection:
            return [[tuple(row) for row in connection.execute(sqlalchemy.text(one), {"run": run_id})] for one in statements]
    finally:
        engine.dispose()


def test_the_rows_of_a_run_are_those_of_events_stored_one_by_one(settings: Settings, postgres_url: str) -> None:
    with dg.DagsterInstance.from_config(str(settings.dagster_home), "cli.yaml") as plain:
        one_by_one = run_of(plain, asset_of(together=False))
        newest = plain.get_latest_materialization_event(dg.AssetKey("reported"))
    with open_instance(settings) as instance:
        together = run_of(instance, asset_of(together=True))
        assert "store_event" not in vars(instance.event_log_storage)
    rows = stored(postgres_url, one_by_one.run_id)
    assert stored(postgres_url, together.run_id) == rows
    reports = [row for row in rows[0] if row[0] == "ASSET_MATERIALIZATION"]
    assert [len(reports), len(rows[2])] == [2 * len(KEYS), 1 + len(KEYS)]
    assert rows[1][-1][1:] == (KEYS[-1], '["reported"]', "dagster/data_version", f"v-{KEYS[-1]}")
    with dg.DagsterInstance.from_config(str(settings.dagster_home), "cli.yaml") as plain:
        last = plain.get_latest_materialization_event(dg.AssetKey("reported"))
        assert newest and last
        assert (newest.run_id, last.run_id) == (one_by_one.run_id, together.run_id)
        assert last.asset_materialization and last.asset_materialization.partition == KEYS[-1]
        assert plain.get_materialized_partitions(dg.AssetKey("reported")) == set(KEYS)


@pytest.mark.parametrize("waiting_at_most", [1, 3, 500])
def test_an_error_loses_no_event_before_it(
    settings: Settings, waiting_at_most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dagster_private, "STORED_TOGETHER", waiting_at_most)
    with open_instance(settings) as instance:
        done = run_of(instance, asset_of(fails_at=KEYS[6], together=True))
        entries = [entry.dagster_event for entry in instance.all_logs(done.run_id)]
        found = [
            event.partition for event in entries if event and event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION
        ]
    assert not done.success
    assert found == [*KEYS, *KEYS[:6]]
    failures = [event.event_type_value for event in entries if event and event.is_failure]
    assert failures == ["STEP_FAILURE", "PIPELINE_FAILURE"]

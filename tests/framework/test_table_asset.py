"""The seam: which days are computed, what is written, what Dagster and the ledger then know. Real runs, real tables."""

import base64
import io
import json
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import psycopg2
import pytest
import toy_assets
from PIL import Image

from pipeline_assets.framework.declaration import DECLARATIONS, RunOfDays, Table
from pipeline_assets.framework.planning import plan_days
from pipeline_assets.framework.run_executor import run_executor
from pipeline_assets.framework.table_asset import table_asset
from pipeline_assets.nightly import dagster_runs
from pipeline_assets.nightly.night import Launch
from resources.database import ledger
from resources.database.postgres import Postgres
from resources.lake.lake import Lake
from resources.lake.lake_io import LakeIO

# Dagster's own call, for a resource (the lake) inside another (its IO manager).
pytestmark = pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated")

FIRST = date(2026, 2, 1)
ALL = ("notes", "totals", "copies")


def day(number: int) -> date:
    """A day of February 2026, by its number."""
    return FIRST + timedelta(days=number - 1)


class Bench:
    """The toy assets on a folder and a fresh database, with all that a test does with them."""

    def __init__(self, folder: Path, postgres_url: str, instance: dg.DagsterInstance) -> None:
        self.world = toy_assets.World(path=str(folder / "world.json"))
        self.lake = Lake(url=(folder / "lake").as_uri())
        self.postgres = Postgres(url=postgres_url)
        self.instance = instance
        self.there: dict[str, list[list[Any]]] = {}
        self.code = "1"

    def tell(self, notes: Mapping[int, list[list[Any]]]) -> None:
        """Set what lies outside on these days of February."""
        self.there |= {str(day(number)): found for number, found in notes.items()}
        Path(self.world.path).write_text(json.dumps(self.there))

    def run(
        self, first: int, last: int, *names: str, force: bool = False, after: Sequence[str] = ()
    ) -> dg.ExecuteInProcessResult:
        defs = toy_assets.definitions(self.world, self.lake, self.postgres, self.code)
        return toy_assets.execute(defs, self.instance, day(first), day(last), *(names or ALL), force=force, after=after)

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """A table's rows as (day of February, the rest), volatile and personal columns left out."""
        found = self.lake.scan(table).drop("took_s", "author", "kept_at", strict=False).collect()
        return sorted((row[0].day, *row[1:]) for row in found.iter_rows())

    def current(self, asset: str) -> set[int]:
        """The days that Dagster counts as materialized."""
        return {date.fromisoformat(key).day for key in self.instance.get_materialized_partitions(dg.AssetKey(asset))}


@pytest.fixture
def bench(tmp_path: Path, postgres_url: str) -> Iterator[Bench]:
    with dg.DagsterInstance.ephemeral() as instance:
        made = Bench(tmp_path, postgres_url, instance)
        made.postgres.migrate()
        yield made


def days_of(result: dg.ExecuteInProcessResult, asset: str, *, computed: bool) -> set[int]:
    """The days of February that a run computed, or found unchanged."""
    return {
        date.fromisoformat(event.partition).day
        for event in result.asset_materializations_for_node(asset)
        if event.partition and "unchanged" in event.metadata and event.metadata["unchanged"].value is not computed
    }


def computed(result: dg.ExecuteInProcessResult) -> dict[str, set[int]]:
    """What a run computed, by asset."""
    return {asset: days_of(result, asset, computed=True) for asset in ALL}


def failure_of(result: dg.ExecuteInProcessResult, step: str) -> str:
    """What a failed step said."""
    (event,) = [event for event in result.all_events if event.is_step_failure and event.step_key == step]
    told = event.step_failure_data.user_failure_data
    assert told is not None
    assert told.description is not None
    return told.description


def versions_of(bench: Bench, asset: str) -> dict[int, str]:
    """The data version of each materialized day, as the UI shows it."""
    found = {}
    for number in bench.current(asset):
        record = bench.instance.get_latest_data_version_record(dg.AssetKey(asset), partition_key=str(day(number)))
        assert record is not None
        assert record.asset_materialization is not None
        found[number] = (record.asset_materialization.tags or {})["dagster/data_version"]
    return found


NOTES: dict[int, list[list[Any]]] = {1: [["a", 1]], 2: [["a", 2], ["b", 20]], 3: [["a", 3]], 4: [["a", 4]]}


def test_a_range_of_days_is_computed_in_one_commit_a_table(bench: Bench) -> None:
    bench.tell(NOTES)
    result = bench.run(1, 4)
    assert result.success
    assert bench.rows("notes") == [(1, "a", 1), (2, "a", 2), (2, "b", 20), (3, "a", 3), (4, "a", 4)]
    assert bench.rows("totals") == [(1, 1), (2, 23), (3, 25), (4, 7)] == bench.rows("copies")
    assert [bench.lake.version(name) for name in ALL] == [1, 1, 1]
    assert computed(result) == dict.fromkeys(ALL, {1, 2, 3, 4})


def test_what_has_not_changed_is_neither_computed_nor_written_again(bench: Bench) -> None:
    bench.tell(NOTES)
    bench.run(1, 4)
    entries = bench.postgres.read("select count(*) as n from materializations").item()
    result = bench.run(1, 4)
    assert result.success
    assert computed(result) == dict.fromkeys(ALL, set())
    assert {asset: days_of(result, asset, computed=False) for asset in ALL} == dict.fromkeys(ALL, {1, 2, 3, 4})
    assert [bench.lake.version(name) for name in ALL] == [1, 1, 1]
    assert bench.postgres.read("select count(*) as n from materializations").item() == entries


def test_a_changed_source_recomputes_its_day_and_the_days_that_read_it(bench: Bench) -> None:
    bench.tell(NOTES)
    bench.run(1, 4)
    bench.tell({2: [["a", 200]]})
    result = bench.run(1, 4)
    assert computed(result) == {"notes": {2}, "totals": {2, 3}, "copies": {2, 3}}
    assert bench.rows("copies") == [(1, 1), (2, 201), (3, 203), (4, 7)]


def test_a_source_that_changed_without_changing_the_rows_stops_there(bench: Bench) -> None:
    bench.tell(NOTES)
    bench.run(1, 4)
    bench.tell({2: [["b", 20], ["a", 2]]})  # the same notes in another order
    result = bench.run(1, 4)
    assert computed(result) == {"notes": {2}, "totals": set(), "copies": set()}
    assert bench.lake.version("notes") == 1


def test_new_code_recomputes_every_day_and_downstream_only_if_rows_changed(bench: Bench) -> None:
    bench.tell(NOTES)
    bench.run(1, 4)
    bench.code = "2"
    assert computed(bench.run(1, 4)) == {"notes": {1, 2, 3, 4}, "totals": set(), "copies": set()}


def test_force_recomputes_what_has_not_changed(bench: Bench) -> None:
    bench.tell(NOTES)
    bench.run(1, 4)
    assert computed(bench.run(2, 3, "notes", force=True))["notes"] == {2, 3}
    assert bench.rows("notes") == [(1, "a", 1), (2, "a", 2), (2, "b", 20), (3, "a", 3), (4, "a", 4)]


def test_force_commits_equal_rows_too(bench: Bench) -> None:
    bench.tell(NOTES)
    bench.run(1, 4)
    first, versions = bench.lake.scan("copies").sort("day").collect(), versions_of(bench, "copies")
    bench.run(2, 3, "notes", "totals", "copies", force=True)
    after = bench.lake.scan("copies").sort("day").collect()
    assert (after["kept_at"] != first["kept_at"]).to_list() == [False, True, True, False]
    assert versions_of(bench, "copies") == versions
    assert [bench.lake.version(name) for name in ALL] == [2, 2, 2]
    named = ledger.latest(bench.postgres, ["totals"], day(1), day(4)).sort("day")
    assert named["delta_version"].to_list() == [1, 2, 2, 1]


def test_the_plan_says_why_a_day_is_not_current(bench: Bench) -> None:
    bench.tell({1: NOTES[1], 2: NOTES[2]})
    bench.run(1, 2)
    bench.tell({2: [["a", 5]]})
    notes, totals, copies = toy_assets.build("1")[1]
    world = {"world": bench.world}
    days = [day(1), day(2), day(3)]
    assert plan_days(notes, bench.lake, bench.postgres, days, world).reasons == {day(2): "data", day(3): "new"}
    assert plan_days(copies, bench.lake, bench.postgres, days, {}).reasons == {day(3): "waiting"}
    assert plan_days(totals, bench.lake, bench.postgres, days, {}).reasons == {day(3): "new"}
    changed = toy_assets.build("2")[1][0]
    assert set(plan_days(changed, bench.lake, bench.postgres, days, world).reasons.values()) == {"code", "new"}


def test_rows_that_break_the_schema_are_kept_aside_with_their_reason(bench: Bench) -> None:
    bench.tell({1: [["good", 1], ["negative", -1], ["odd", 5]], 2: [["good", 2]]})
    assert bench.run(1, 2).success
    assert bench.rows("notes") == [(1, "good", 1), (2, "good", 2)]
    aside = bench.lake.scan("notes_rejected").sort("reason").collect()
    assert aside.select("day", "source", "reason", "detail").rows() == [
        (day(1), "odd", "odd", "an odd note"),
        (day(1), "2026-02-01 negative", "schema", "breaks the table's schema: value|min"),
    ]
    assert json.loads(aside["raw"][1])["value"] == -1
    known = ledger.latest(bench.postgres, ["notes"], day(1), day(2)).sort("day")
    assert known.select("rows", "rejected").rows() == [(1, 2), (1, 0)]


def test_a_mended_day_leaves_the_quarantine(bench: Bench) -> None:
    bench.tell({1: [["negative", -1]], 2: [["negative", -2]]})
    bench.run(1, 2, "notes")
    bench.tell({1: [["negative", 1]]})
    bench.run(1, 2, "notes")
    assert bench.rows("notes") == [(1, "negative", 1)]
    assert bench.lake.scan("notes_rejected").select("day").collect()["day"].to_list() == [day(2)]


def test_rows_that_break_the_schema_fail_their_day_where_nothing_is_quarantined(bench: Bench) -> None:
    bench.tell({1: [["a", 1]], 2: [["a", 700]], 3: []})
    result = bench.run(1, 2)
    assert "1 of 2 days were not written" in failure_of(result, "copies")
    assert "2026-02-02: schema: 1 rows break the schema (total|max)" in failure_of(result, "copies")
    assert bench.rows("copies") == [(1, 1)]


def test_a_day_that_fails_a_blocking_check_keeps_its_old_rows_while_good_days_are_written(bench: Bench) -> None:
    bench.tell(NOTES)
    bench.run(1, 3)
    before = versions_of(bench, "totals")
    bench.tell({2: [["a", 5000]], 4: NOTES[4]})
    result = bench.run(1, 4)
    assert not result.success
    told = failure_of(result, "totals")
    assert told.startswith("2 of 4 days were not written and keep their old version: 2026-02-02: below_1000")
    assert "2026-02-03: below_1000: the largest total is 5003" in told
    assert bench.rows("totals") == [(1, 1), (2, 23), (3, 25), (4, 7)]
    assert days_of(result, "totals", computed=True) == {4}
    assert bench.current("totals") == {1, 2, 3, 4}
    after = versions_of(bench, "totals")
    assert {number: after[number] for number in before} == before
    verdicts = {
        (event.check_name, date.fromisoformat(event.partition or "").day): event.passed
        for event in result.get_asset_check_evaluations()
        if event.asset_key == dg.AssetKey("totals") and event.partition
    }
    assert verdicts["below_1000", 2] is verdicts["below_1000", 3] is False
    assert verdicts["below_1000", 4] is verdicts["schema", 2] is True


def test_a_new_day_that_fails_is_not_marked_as_materialized(bench: Bench) -> None:
    bench.tell({1: [["a", 1]], 2: [["a", 5000]], 3: [["a", 3]]})
    result = bench.run(1, 3)
    assert not result.success
    assert bench.current("notes") == {1, 2, 3}
    assert bench.current("totals") == {1}
    assert bench.rows("totals") == [(1, 1)]
    assert ledger.latest(bench.postgres, ["totals"], day(1), day(3))["day"].to_list() == [day(1)]


def test_the_good_days_of_a_failed_step_reach_what_reads_them_in_the_same_run(bench: Bench) -> None:
    bench.tell({1: [["a", 1]], 2: [["a", 5000]], 4: [["a", 4]]})
    result = bench.run(1, 4)
    assert not result.success
    assert bench.instance.get_run_by_id(result.run_id).status is dg.DagsterRunStatus.FAILURE
    assert bench.rows("totals") == [(1, 1), (4, 4)] == bench.rows("copies")
    assert bench.current("totals") == {1, 4} == bench.current("copies")
    assert failure_of(result, "totals").startswith("2 of 4 days were not written")
    told = failure_of(result, "copies")
    assert "2 of 4 days were not written and keep their old version: 2026-02-02: waits for totals of this day" in told


def test_a_day_waits_for_its_failed_input_though_it_could_be_computed_from_the_old_rows(bench: Bench) -> None:
    bench.tell({1: [["a", 1]], 2: [["a", 2]], 3: [["a", 3]]})
    bench.run(1, 3)
    bench.tell({3: [["a", 5000]]})
    result = bench.run(1, 3, force=True)
    assert computed(result) == {"notes": {1, 2, 3}, "totals": {1, 2}, "copies": {1, 2}}
    assert bench.rows("copies") == [(1, 1), (2, 3), (3, 5)]
    observed = {
        (event.asset_observation_data.asset_observation.asset_key.to_user_string(), str(event.partition))
        for event in result.all_events
        if event.event_type is dg.DagsterEventType.ASSET_OBSERVATION
    }
    assert observed == {("totals", str(day(3))), ("copies", str(day(3)))}
    assert not [event for event in result.asset_materializations_for_node("copies") if event.partition == str(day(3))]


def test_a_run_of_the_same_command_waits_for_what_failed_in_those_before_it(bench: Bench) -> None:
    bench.tell({1: [["a", 1]], 2: [["a", 2]]})
    bench.run(1, 2)
    bench.tell({2: [["a", 5000]]})
    first = bench.run(1, 2, "notes", "totals")
    second = bench.run(1, 2, "copies", force=True, after=[first.run_id])
    assert computed(second)["copies"] == {1}
    assert dagster_runs.is_safe(first)
    assert dagster_runs.is_safe(second)


def test_a_step_that_fails_as_a_whole_ends_what_reads_it(bench: Bench) -> None:
    bench.tell({1: [["a", 1]], 2: [["unreadable", 2]]})
    result = bench.run(1, 2)
    assert failure_of(result, "notes") == "DarkroomError: a note is unreadable: mend it"
    assert not dagster_runs.is_safe(result)
    assert [event.step_key for event in result.all_events if event.is_step_start] == ["notes"]


@pytest.mark.parametrize("is_signal", [True, False], ids=["signal", "exception"])
def test_ctrl_c_in_a_step_ends_the_run_without_a_retry(bench: Bench, is_signal: bool) -> None:
    calls = []

    @table_asset(schema=toy_assets.Totals, group="toys")
    def interrupted(run: RunOfDays) -> pl.DataFrame:
        """Interrupted as by Ctrl-C, on the main thread or beside it."""
        calls.append(run)
        if is_signal:
            signal.raise_signal(signal.SIGINT)
        raise KeyboardInterrupt

    DECLARATIONS.pop("interrupted")
    resources = {"lake": bench.lake, "database": bench.postgres, "io_manager": LakeIO(lake=bench.lake)}
    defs = dg.Definitions([interrupted], resources=resources, executor=run_executor)
    with pytest.raises(KeyboardInterrupt):
        dagster_runs.execute(defs, bench.instance, Launch(("interrupted",), day(1), day(2)))
    assert len(calls) == 1


def test_a_mended_day_reaches_what_waits_for_it_by_the_next_run(bench: Bench) -> None:
    bench.tell({1: [["a", 1]], 2: [["a", 5000]], 3: []})
    bench.run(1, 3)
    bench.tell({2: [["a", 5]]})
    result = bench.run(1, 3)
    assert result.success
    assert computed(result) == {"notes": {2}, "totals": {2, 3}, "copies": {2, 3}}
    assert bench.rows("copies") == [(1, 1), (2, 6), (3, 5)]


def test_a_failed_day_is_computed_again_once_it_is_mended(bench: Bench) -> None:
    bench.tell({1: [["a", 1]], 2: [["a", 5000]]})
    bench.run(1, 2)
    bench.tell({2: [["a", 5]]})
    result = bench.run(1, 2)
    assert result.success
    assert computed(result) == {"notes": {2}, "totals": {2}, "copies": {2}}
    assert bench.rows("copies") == [(1, 1), (2, 6)]


def test_a_check_that_does_not_block_warns_and_names_the_day(bench: Bench) -> None:
    bench.tell({1: [["a", 1]], 2: [], 3: []})
    result = bench.run(1, 3)
    assert result.success
    of_the_run, *of_days = [event for event in result.get_asset_check_evaluations() if event.check_name == "not_zero"]
    assert not of_the_run.passed
    assert of_the_run.severity is dg.AssetCheckSeverity.WARN
    assert of_the_run.description == "2026-02-03: 1 totals are zero"
    assert {event.partition: event.passed for event in of_days} == {
        "2026-02-01": True,
        "2026-02-02": True,
        "2026-02-03": False,
    }
    assert bench.rows("totals") == [(1, 1), (2, 1), (3, 0)]


def test_a_missing_day_upstream_is_named_and_the_others_go_on(bench: Bench) -> None:
    bench.tell(NOTES)
    bench.run(1, 2)
    result = bench.run(1, 3, "copies")
    assert not result.success
    assert "1 of 3 days were not written" in failure_of(result, "copies")
    assert "2026-02-03: totals of this day does not exist yet, materialize it first" in failure_of(result, "copies")
    assert bench.current("copies") == {1, 2}


def test_bad_data_is_not_tried_again_and_says_its_error(bench: Bench) -> None:
    bench.tell({1: [["unreadable", 1]]})
    result = bench.run(1, 1)
    assert failure_of(result, "notes") == "DarkroomError: a note is unreadable: mend it"
    assert not [event for event in result.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"]
    assert not bench.lake.exists("notes")


def test_each_day_has_a_data_version_of_its_own_that_follows_its_rows(bench: Bench) -> None:
    bench.tell(NOTES)
    bench.run(1, 4)
    first = versions_of(bench, "notes")
    assert len(set(first.values())) == 4
    bench.run(1, 4, "notes", force=True)  # another value in the volatile column
    assert versions_of(bench, "notes") == first
    bench.tell({2: [["a", 200]]})
    bench.run(1, 4)
    after = versions_of(bench, "notes")
    assert {number for number in first if after[number] != first[number]} == {2}


def test_the_materialization_shows_rows_inputs_and_a_preview_without_personal_columns(bench: Bench) -> None:
    bench.tell({1: [["a|b", 1], ["negative", -1]]})
    result = bench.run(1, 1)
    (event,) = [found for found in result.asset_materializations_for_node("notes") if "unchanged" in found.metadata]
    shown = {name: value.value for name, value in event.metadata.items()}
    assert shown["dagster/row_count"] == shown["keys"] == 1
    assert shown["rejected"] == 1
    assert shown["delta_version"] == 1
    assert shown["dagster/uri"] == bench.lake.uri("notes")
    assert shown["digest"] == (event.tags or {})["dagster/data_version"]
    assert shown["code"] == "1"
    assert shown["preview"].splitlines()[0] == "| day | value | took_s |"
    assert shown["preview"].splitlines()[2].startswith("| 2026-02-01 | 1 | ")
    assert "Ann" not in str(shown)
    assert "a|b" not in str(shown)


def test_a_picture_of_a_run_is_kept_once_with_its_newest_day(bench: Bench) -> None:
    bench.tell({1: [["a", 1]], 2: [["a", 2]], 3: [["a", 3]]})
    result = bench.run(1, 3)
    events = [event for event in result.asset_materializations_for_node("notes") if "unchanged" in event.metadata]
    shown = {str(event.partition): str(event.metadata["dot"].value) for event in events}
    newest = shown.pop(str(day(3)))
    assert set(shown.values()) == {f"one picture for the whole run, shown with {day(3)}"}
    before, _, data = newest.removesuffix(")").partition("base64,")
    assert before == "![dot](data:image/webp;"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        red, green, blue = image.convert("RGB").resize((1, 1)).getpixel((0, 0))
    assert red > 170 > 60 > max(green, blue)


def test_an_unchanged_day_links_the_run_that_shows_it_however_often_it_is_found_unchanged(bench: Bench) -> None:
    bench.tell({1: [["a", 1]], 2: [["a", 2]]})
    first = bench.run(1, 2)
    bench.tell({2: [["a", 3]]})
    second = bench.run(1, 2)
    for _ in range(3):
        third = bench.run(1, 2)
    shown = {
        event.partition: event.metadata["preview and pictures"].value
        for event in third.asset_materializations_for_node("notes")
        if "unchanged" in event.metadata
    }
    assert shown == {str(day(1)): first.run_id, str(day(2)): second.run_id}
    previews = {
        event.partition: str(event.metadata["preview"].value)
        for event in second.asset_materializations_for_node("notes")
        if "preview" in event.metadata
    }
    assert "| 3 |" in previews[str(day(2))]


def test_a_column_that_changed_its_type_is_refused_before_anything_is_computed(bench: Bench) -> None:
    bench.tell({1: [["a", 1]]})
    bench.run(1, 1, "notes")
    narrow = pl.DataFrame({"day": [day(1)], "total": [1]}, schema={"day": pl.Date, "total": pl.Int32})
    bench.lake.replace("totals", [day(1)], narrow)
    result = bench.run(1, 1, "totals", "copies")
    assert failure_of(result, "totals").startswith("TypesChanged: The table totals keeps the types that it began with")
    assert bench.rows("totals") == [(1, 1)]


def test_a_day_without_rows_is_materialized_as_empty(bench: Bench) -> None:
    bench.tell({1: [["a", 1]], 2: []})
    bench.run(1, 2)
    assert bench.current("notes") == {1, 2}
    assert ledger.latest(bench.postgres, ["notes"], day(2), day(2))["rows"].to_list() == [0]


HOLD = """
create function hold() returns trigger language plpgsql as $$
begin
    if new.digest <> '' then perform pg_advisory_xact_lock(7); end if;
    return new;
end $$;
create trigger hold before insert on materializations for each row execute function hold();
select pg_advisory_lock(7);
"""
"""While the connection that ran this lives, what a run computed can't be recorded."""


def kill_between_commit_and_ledger(bench: Bench, first: int, last: int) -> None:
    """Compute the notes in a process of its own; kill -9 it when they are committed and the ledger does not know it yet."""
    before = bench.lake.version("notes")
    told = {
        "world": bench.world.path,
        "lake": bench.lake.url,
        "postgres": bench.postgres.url,
        "first": str(day(first)),
        "last": str(day(last)),
        "assets": ["notes"],
        "code": bench.code,
    }
    connection = psycopg2.connect(bench.postgres.url)
    connection.autocommit = True
    try:
        connection.cursor().execute(HOLD)
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        process = subprocess.Popen([sys.executable, toy_assets.__file__, json.dumps(told)], env=environment)
        while bench.lake.version("notes") <= max(before, 0):  # version 0 is the table's creation
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.02)
        process.kill()
        process.wait()
        connection.cursor().execute("drop function hold cascade")
    finally:
        connection.close()


def test_a_run_killed_between_commit_and_ledger_is_made_good_by_the_next(bench: Bench) -> None:
    bench.tell(NOTES)
    kill_between_commit_and_ledger(bench, 1, 4)
    assert ledger.latest(bench.postgres, ["notes"], day(1), day(4)).is_empty()
    committed = bench.rows("notes")
    result = bench.run(1, 4)
    assert result.success
    assert computed(result) == dict.fromkeys(ALL, {1, 2, 3, 4})
    assert bench.rows("notes") == committed == [(1, "a", 1), (2, "a", 2), (2, "b", 20), (3, "a", 3), (4, "a", 4)]
    assert computed(bench.run(1, 4)) == dict.fromkeys(ALL, set())


def test_what_a_killed_run_wrote_is_not_taken_for_what_was_there_before(bench: Bench) -> None:
    """The inputs go back to what they were, so that the ledger's last record of the day would fit them again."""
    bench.tell(NOTES)
    bench.run(1, 4)
    bench.tell({2: [["a", 666]]})
    kill_between_commit_and_ledger(bench, 1, 4)
    assert (2, "a", 666) in bench.rows("notes")
    bench.tell({2: NOTES[2]})
    result = bench.run(1, 4)
    assert computed(result)["notes"] == {2}
    assert bench.rows("notes") == [(1, "a", 1), (2, "a", 2), (2, "b", 20), (3, "a", 3), (4, "a", 4)]
    assert bench.rows("copies") == [(1, 1), (2, 23), (3, 25), (4, 7)]


def test_an_entry_keeps_what_it_was_made_of_how_long_it_took_and_since_when_its_rows_are_there(bench: Bench) -> None:
    bench.tell({1: NOTES[1], 2: NOTES[2]})
    bench.run(1, 2, "notes", "totals")
    first = ledger.latest(bench.postgres, ["notes", "totals"], day(1), day(2)).sort("asset", "day")
    assert first["seconds"].min() > 0
    assert first["since_id"].to_list() == first["id"].to_list()
    assert set(json.loads(first["parts"][0])["code"]) == {"function notes", "schema", "text 2"}
    assert json.loads(first["parts"][2])["config"] == {"days of notes": "-1..0"}
    bench.code = "2"
    bench.tell({2: [["a", 5]]})
    bench.run(1, 2, "notes")
    again = ledger.latest(bench.postgres, ["notes"], day(1), day(2)).sort("day")
    assert again["since_id"].to_list() == [first["id"][0], again["id"][1]]
    assert again["parts"][0] != first["parts"][0]


def test_days_that_are_made_one_at_a_time_are_judged_and_written_as_those_that_come_together(bench: Bench) -> None:
    @table_asset(schema=toy_assets.Notes, group="toys", quarantines=True)
    def notes(run: RunOfDays) -> Iterator[Table]:
        """A Table a day, which nobody holds when the next is made."""
        before = None
        for number, of in enumerate(run.days):
            assert before is None or before() is None, "the day before is still held"
            rows = pl.DataFrame(
                [(of, f"k{n}", n - 1 if number == 1 else n, "Ann", 0.5) for n in range(20)],
                schema=toy_assets.Notes.create_empty().schema,
                orient="row",
            )
            table = Table(rows if number != 2 else rows.clear())
            del rows
            before = weakref.ref(table)
            yield table
            del table

    DECLARATIONS.pop("notes")
    resources = {"lake": bench.lake, "database": bench.postgres, "io_manager": LakeIO(lake=bench.lake)}
    result = toy_assets.execute(
        dg.Definitions([notes], resources=resources, executor=dg.in_process_executor),
        bench.instance,
        day(1),
        day(4),
        "notes",
    )
    assert result.success
    found = bench.lake.scan("notes").group_by("day").len().sort("day").collect()
    assert found.rows() == [(day(1), 20), (day(2), 19), (day(4), 20)]
    assert bench.lake.scan("notes_rejected").collect()["day"].to_list() == [day(2)]
    entries = ledger.latest(bench.postgres, ["notes"], day(1), day(4)).sort("day")
    assert entries.select("rows", "rejected").rows() == [(20, 0), (19, 1), (0, 0), (20, 0)]
    shown = [event for event in result.asset_materializations_for_node("notes") if "unchanged" in event.metadata]
    counts = {event.partition: event.metadata["dagster/row_count"].value for event in shown}
    assert [counts[str(day(n))] for n in (1, 2, 3, 4)] == [20, 19, 0, 20]
    assert bench.lake.version("notes") == 1, "one commit for all of its days"


@pytest.mark.parametrize(
    ("made_of", "told"), [([1, 1], "has rows of another day"), ([1], "yielded no table for 2026-02-02")]
)
def test_a_table_of_one_day_with_rows_of_another_or_none_at_all_is_refused(
    bench: Bench, made_of: list[int], told: str
) -> None:
    """What the ledger would say of the other day is untrue otherwise, and its rows would be there twice."""

    @table_asset(schema=toy_assets.Notes, group="toys")
    def notes(run: RunOfDays) -> Iterator[Table]:
        """A Table a day, as it ought to be; these are not."""
        for number in made_of:
            rows = [(day(number), "a", 1, "Ann", 0.5)]
            yield Table(pl.DataFrame(rows, schema=toy_assets.Notes.create_empty().schema, orient="row"))

    DECLARATIONS.pop("notes")
    resources = {"lake": bench.lake, "database": bench.postgres, "io_manager": LakeIO(lake=bench.lake)}
    defs = dg.Definitions([notes], resources=resources, executor=dg.in_process_executor)
    result = toy_assets.execute(defs, bench.instance, day(1), day(2), "notes")
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert told in str(event.step_failure_data.error)
    assert ledger.latest(bench.postgres, ["notes"], day(1), day(2)).is_empty()

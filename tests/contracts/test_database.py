"""The contract of Database, kept by PostgreSQL and SQLite alike."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline_assets.features.assets import users_joined
from pipeline_assets.ingestion.assets import PHOTO_METADATA_SQL, _photos_changed
from pipeline_assets.labeling import annotation_rows
from pipeline_assets.labeling.assets import ANNOTATIONS_SQL
from pipeline_assets.labeling.assets import _changed as _annotations_changed
from resources.database import seen_objects
from resources.database.contract import MIGRATIONS, Database
from resources.database.postgres import Postgres
from resources.database.sqlite import Sqlite
from resources.errors import DatabaseUnusable

ROOT = Path(__file__).parents[2]
DAY = date(2026, 2, 1)
JOINED = datetime(2026, 1, 1, tzinfo=UTC)
FIRST, LAST = datetime(1, 1, 3), datetime(9999, 12, 29)  # noqa: DTZ001  their zone comes later
USERS = ["user_id", "joined_at", "name"]
INSERT_USERS = "insert into users (user_id, joined_at, name) values %s returning user_id"


def tables(database: Database) -> list[str]:
    of_postgres = "select table_name::text from information_schema.tables where table_schema = 'public' order by 1"
    of_sqlite = "select name from sqlite_master where type = 'table' and name not like 'sqlite!_%%' escape '!' order by 1"
    return [name for (name,) in database.rows(of_postgres if isinstance(database, Postgres) else of_sqlite)]


def types(database: Database, table: str) -> dict[str, pl.DataType]:
    """The columns as they are read; JSON and decimals, which polars has as text of a kind of its own, as text."""
    schema = database.read(f"select * from {table}").schema  # noqa: S608
    return {name: pl.String() if "Extension" in str(dtype) else dtype for name, dtype in schema.items()}


# Migrations.


def test_migrations_apply_once(empty_database: Database) -> None:
    assert empty_database.migrate() == sorted(file.name for file in MIGRATIONS.glob("*.sql"))
    assert empty_database.migrate() == []
    assert {"users", "photos", "objects", "materializations", "results", "imports"} <= set(tables(empty_database))


def test_starts_at_once_migrate_once(empty_database: Database) -> None:
    barrier = threading.Barrier(6)

    def start() -> list[str]:
        barrier.wait()
        return empty_database.migrate()

    with ThreadPoolExecutor(6) as pool:
        applied = [found for future in [pool.submit(start) for _ in range(6)] for found in future.result()]
    assert applied == sorted(file.name for file in MIGRATIONS.glob("*.sql"))


def test_migrations_that_fail_leave_nothing_behind(empty_database: Database) -> None:
    if isinstance(empty_database, Sqlite):
        empty_database.path.touch()
    empty_database.execute("create table import_runs (already int)")  # the last statement of the first one meets it
    with pytest.raises(Exception, match="already exists"):
        empty_database.migrate()
    assert tables(empty_database) == ["import_runs"]


def test_a_database_of_a_newer_darkroom_is_refused_and_left_as_it_is(database: Database) -> None:
    database.execute("insert into migrations (name) values ('9999_from_the_future.sql')")
    with pytest.raises(DatabaseUnusable, match=r"newer Darkroom \(9999_from_the_future.sql\): update"):
        database.migrate()


def test_both_databases_end_with_the_same_tables_columns_and_indexes(postgres_url: str, tmp_path: Path) -> None:
    postgres, sqlite = Postgres(url=postgres_url), Sqlite(url=f"sqlite:///{tmp_path / 'darkroom.db'}")
    postgres.migrate()
    sqlite.migrate()
    assert tables(postgres) == tables(sqlite)
    for table in tables(postgres):
        ours, theirs = (types(database, table) for database in (sqlite, postgres))
        assert ours == theirs, table
    required = (
        "select table_name || '.' || column_name from information_schema.columns "
        "where table_schema = 'public' and is_nullable = 'NO' order by 1"
    )
    not_null = (
        "select t.name || '.' || c.name from sqlite_master t, pragma_table_info(t.name) c where t.type = 'table' and (c.\"notnull\" or c.pk) "
        "and t.name not like 'sqlite!_%%' escape '!' order by 1"
    )
    assert sorted(sqlite.rows(not_null)) == sorted(postgres.rows(required))
    named = "select indexname::text from pg_indexes where schemaname = 'public' and indexname not like '%%!_%%key' escape '!' order by 1"
    made = "select name from sqlite_master where type = 'index' and sql is not null order by 1"
    assert sqlite.rows(made) == postgres.rows(named)


# Values.


def test_values_come_back_with_their_types(database: Database) -> None:
    at = datetime(2026, 2, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    photo = (7_000_000_000, 1, "é", DAY, at, "it's", None, '{"followers": 3}')
    columns = ["photo_id", "user_id", "key", "day", "posted_at", "title", "location", "details"]
    with database.connect() as transaction:
        transaction.insert_into("users", USERS, [(1, JOINED, "x")])
        transaction.insert_into("photos", columns, [photo])
        transaction.insert_into("simulated_truth", ["photo_id", "expected_views_7d"], [(photo[0], 0.1)])
    found = database.read(
        "select photo_id, user_id, key, day, posted_at, title, location, expected_views_7d "
        "from photos join simulated_truth using (photo_id)"
    )
    expected = pl.DataFrame(
        [(*photo[:4], datetime(2026, 2, 1, 10, 0, 0, 123456, tzinfo=UTC), *photo[5:7], 0.1)],
        schema={
            "photo_id": pl.Int64,
            "user_id": pl.Int64,
            "key": pl.String,
            "day": pl.Date,
            "posted_at": pl.Datetime("us", "UTC"),
            "title": pl.String,
            "location": pl.String,
            "expected_views_7d": pl.Float64,
        },
        orient="row",
    )
    assert_frame_equal(found, expected)
    assert database.rows("select day, posted_at, location from photos") == [(DAY, at, None)]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.datetimes(FIRST, LAST, timezones=st.just(UTC) | st.just(timezone(timedelta(hours=-9)))),
        min_size=1,
        max_size=20,
    )
)
def test_times_round_trip_to_the_microsecond_and_sort_as_times(database: Database, times: list[datetime]) -> None:
    database.execute("delete from users")
    database.insert(INSERT_USERS, [(n, at, "x") for n, at in enumerate(times)])
    found = database.read("select user_id, joined_at from users order by joined_at, user_id")
    assert found["joined_at"].to_list() == sorted(times)
    assert found["user_id"].to_list() == sorted(range(len(times)), key=lambda n: (times[n], n))
    assert database.rows("select count(*) from users where joined_at >= %s", (times[0],)) == [
        (sum(at >= times[0] for at in times),)
    ]


def test_a_time_that_the_database_gives_is_now(database: Database) -> None:
    before = datetime.now(UTC)
    seen_objects.add_objects(database, [seen_objects.SeenObject("b", "k", "v", "e", 1, before, DAY)])
    (seen_at,) = database.read("select seen_at from objects")["seen_at"]
    assert before - timedelta(milliseconds=1) <= seen_at <= datetime.now(UTC)
    assert database.rows("select is_dry_run from reconciliations") == []
    (walk,) = database.insert(
        "insert into reconciliations (bucket, is_dry_run) values %s returning is_dry_run", [("b", True)]
    )
    assert walk == (True,)


def test_a_read_of_nothing_keeps_its_columns(database: Database) -> None:
    assert dict(database.read("select user_id, joined_at from users").schema) == {
        "user_id": pl.Int64,
        "joined_at": pl.Datetime("us", "UTC"),
    }


@pytest.mark.parametrize(
    "text", ["'; drop table users; --", "a\nb\tc", "%s %% $1 ?1 :p", "\\", "日本", "", "values %s", "2026-02-01", "12"]
)
def test_parameters_are_values_and_nothing_else(database: Database, text: str) -> None:
    database.insert(INSERT_USERS, [(1, JOINED, text)])
    assert database.read("select user_id from users where name = $1", (text,))["user_id"].to_list() == [1]
    assert database.execute("update users set followers = 3 where name = %s", (text,)) == 1
    assert database.rows("select name, followers from users") == [(text, 3)]


# Transactions.


def test_many_rows_go_in_at_once_or_not_at_all(database: Database) -> None:
    assert database.insert(INSERT_USERS, [(n, JOINED, "x") for n in range(25_000)]) == [(n,) for n in range(25_000)]
    assert database.insert(INSERT_USERS, []) == []
    with pytest.raises(Exception, match=r"(?i)unique"):
        database.insert(INSERT_USERS, [(n, JOINED, "x") for n in range(50_000, 20_000, -1)])
    assert database.read("select count(*) as n from users").item() == 25_000


def test_an_error_rolls_a_transaction_back(database: Database) -> None:
    class Stop(Exception):
        pass

    with pytest.raises(Stop), database.connect() as transaction:
        transaction.insert_into("users", USERS, [(1, JOINED, "x")])
        raise Stop
    with database.connect() as transaction:
        transaction.insert_into("users", USERS, [(2, JOINED, "x")])
        transaction.rollback()
    assert database.read("select * from users").is_empty()


def test_rows_whose_key_is_there_already_are_left(database: Database) -> None:
    for rows in ([(1, JOINED, "first")], [(1, JOINED, "again"), (2, JOINED, "second")]):
        with database.connect() as transaction:
            transaction.insert_into("users", USERS, rows)
    assert database.read("select user_id, name from users order by 1").rows() == [(1, "first"), (2, "second")]


def test_a_row_must_refer_to_one_that_is_there(database: Database) -> None:
    with pytest.raises(Exception, match=r"(?i)foreign key"), database.connect() as transaction:
        transaction.insert_into("simulated_truth", ["photo_id", "expected_views_7d"], [(1, 1.0)])


def test_what_is_not_committed_is_seen_by_nobody_and_keeps_nobody_from_reading(database: Database) -> None:
    with database.connect() as transaction:
        transaction.insert_into("users", USERS, [(1, JOINED, "x")])
        assert transaction.rows("select count(*) from users") == [(1,)]
        assert database.read("select user_id from users").is_empty()
        assert database.rows("select user_id from users") == []


def test_a_named_lock_is_held_by_one_and_free_right_after(database: Database) -> None:
    for _ in range(3):
        with database.lock("walk") as first, database.lock("walk") as second, database.lock("other") as other:
            assert (first, second, other) == (True, False, True)


# Processes.

WORKER = """
import sys, time
from datetime import UTC, date, datetime
from pipeline_assets.labeling.assets import ANNOTATIONS_SQL
from pipeline_assets.labeling.assets import _changed as _annotations_changed
from resources.database import seen_objects
from resources.database.postgres import Postgres
from resources.database.sqlite import Sqlite
kind, url, what = sys.argv[1:]
database = {"Postgres": Postgres, "Sqlite": Sqlite}[kind](url=url)
at = datetime(2026, 2, 1, tzinfo=UTC)
objects = [seen_objects.SeenObject("b", f"{n:04}", "v", "e", 1, at, date(2026, 2, 1 + n % 3)) for n in range(1000)]
print("ready", flush=True)
if what == "stay":
    with database.connect() as transaction:
        seen_objects.add_in(transaction, objects)
        print("written", flush=True)
        time.sleep(600)
sys.stdin.readline()
new = []
for start in range(0, 1000, 50):
    part = objects[start : start + 50]
    new += seen_objects.add_objects(database, part if what == "up" else part[::-1])
print(*(key for key, *_ in new), flush=True)
"""


@pytest.fixture
def worker(database: Database) -> Callable[[str], Any]:
    """Starts a process that enters the same thousand objects: from the first `up`, each batch `down`, or to `stay`."""

    def start(what: str) -> Any:
        command = [sys.executable, "-c", WORKER, type(database).__name__, database.url, what]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        return process

    return start


@pytest.mark.slow
def test_of_processes_that_enter_the_same_objects_one_is_told_of_each(
    database: Database, worker: Callable[[str], Any]
) -> None:
    with ThreadPoolExecutor(2) as pool:
        processes = list(pool.map(worker, ["up", "down"]))
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [key for process in processes for key in process.communicate(timeout=120)[0].split()]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(told) == [f"{n:04}" for n in range(1000)]
    assert seen_objects.object_days(database, "b")["objects"].to_list() == [334, 333, 333]


@pytest.mark.slow
def test_a_process_killed_in_a_transaction_leaves_nothing_and_keeps_nobody_waiting(
    database: Database, worker: Callable[[str], Any]
) -> None:
    process = worker("stay")
    assert process.stdout.readline() == "written\n"
    assert seen_objects.object_days(database, "b").is_empty()
    process.kill()
    process.communicate()
    assert seen_objects.add_objects(database, [seen_objects.SeenObject("b", "0001", "v", "e", 1, JOINED, DAY)]) == [
        ("0001", "v", DAY)
    ]
    assert seen_objects.object_days(database, "b")["objects"].to_list() == [1]


# What assets ask.

DETAILS = r"""{"followers": 12.9, "_session": "secret", "tags": ["a", "b"], "device": {"name": "it's"}, "ok": true, "no": false,
 "none": null, "text": "\"quoted\" é", "n": 3, "x": 0.5}"""


@pytest.fixture
def photos(database: Database) -> Database:
    """Three photos on two days, of two users."""
    rows = [(n, 1 + n % 2, f"uploads/{n}", DAY + timedelta(days=n // 3), JOINED, "t", None, DETAILS) for n in (1, 2, 3)]
    columns = ["photo_id", "user_id", "key", "day", "posted_at", "title", "location", "details"]
    with database.connect() as transaction:
        transaction.insert_into("users", USERS, [(1, JOINED, "x"), (2, JOINED + timedelta(days=40, hours=23), "y")])
        transaction.insert_into("photos", columns, rows)
    return database


def test_the_metadata_of_photos_leave_out_what_is_the_applications_own(photos: Database) -> None:
    found = photos.read(PHOTO_METADATA_SQL, (DAY, DAY)).sort("photo_id")
    assert found["photo_id"].to_list() == [1, 2]
    assert found["followers"].to_list() == ["12", "12"]
    (text, _) = found["details_json"]
    own = {"followers", "_session"}
    assert json.loads(text) == {name: value for name, value in json.loads(DETAILS).items() if name not in own}


def test_a_days_photos_have_changed_when_a_row_of_it_has(photos: Database) -> None:
    days = [DAY, DAY + timedelta(days=1)]
    before = _photos_changed(days, photos)
    assert set(before) == set(days)
    assert _photos_changed(days, photos) == before
    photos.execute("update photos set title = 'new' where photo_id = 3")
    after = _photos_changed(days, photos)
    assert [before[day] == after[day] for day in days] == [True, False]
    photos.execute("update users set followers = 9, name = 'z'")
    assert _photos_changed(days, photos) == after


def test_annotations_of_the_days_come_with_their_json_and_a_day_has_changed_when_one_of_it_has(photos: Database) -> None:
    days = [DAY, DAY + timedelta(days=1)]
    assert _annotations_changed(days, photos) == {}
    columns = ["key", "target", "day", "labels", "annotator", "annotated_at"]
    rows = [(f"uploads/{n}", "upload", DAY + timedelta(days=n // 3), '{"boxes": []}', None, JOINED) for n in (1, 2, 3)]
    with photos.connect() as transaction:
        transaction.insert_into("annotations", columns, rows)
    found, rejected = annotation_rows.judge(photos.read(ANNOTATIONS_SQL, (DAY, DAY)))
    assert rejected.is_empty()
    assert found.columns == ["day", "key", "target", "labels_json", "annotator", "annotated_at"]
    assert sorted(found["key"]) == ["uploads/1", "uploads/2"]
    assert [json.loads(text) for text in found["labels_json"]] == [{"boxes": []}] * 2
    assert found["annotated_at"].to_list() == [JOINED] * 2
    before = _annotations_changed(days, photos)
    photos.execute("update annotations set labels = %s where key = 'uploads/3'", ("{}",))
    after = _annotations_changed(days, photos)
    assert [before[day] == after[day] for day in days] == [True, False]


def test_one_item_has_one_annotation_and_only_known_targets(photos: Database) -> None:
    add = "insert into annotations (key, target, day, labels) values (%s, %s, %s, '{}')"
    photos.execute(add, ("uploads/1", "upload", DAY))
    photos.execute(add, ("uploads/1", "title", DAY))
    for row in (("uploads/1", "title", DAY), ("uploads/1", "owner", DAY)):
        with pytest.raises(Exception, match=r"(?i)unique|check"):
            photos.execute(add, row)
    assert photos.read(ANNOTATIONS_SQL, (DAY, DAY)).height == 2


def test_a_days_users_are_those_who_had_joined_by_its_end(photos: Database) -> None:
    days = [
        JOINED.date() - timedelta(days=1),
        JOINED.date(),
        JOINED.date() + timedelta(days=39),
        JOINED.date() + timedelta(days=40),
    ]
    before = users_joined(days, photos)
    assert list(before) == days[1:]
    assert before[days[1]] == before[days[2]] != before[days[3]]
    photos.insert(INSERT_USERS, [(3, JOINED + timedelta(days=40), "z")])
    after = users_joined(days, photos)
    assert [after[day] == before[day] for day in days[1:]] == [True, True, False]

"""PostgreSQL: migrations, transactions, and reads through Arrow with their types."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from urllib.parse import urlsplit, urlunsplit

import polars as pl
import psycopg2
import pytest
from polars.testing import assert_frame_equal

from resources.errors import StoreUnavailable
from resources.postgres import MIGRATIONS, Postgres


@pytest.fixture
def postgres(postgres_url: str) -> Postgres:
    """A fresh, migrated database."""
    made = Postgres(url=postgres_url)
    made.migrate()
    return made


def test_migrations_apply_once(postgres_url: str) -> None:
    postgres = Postgres(url=postgres_url)
    assert postgres.migrate() == sorted(file.name for file in MIGRATIONS.glob("*.sql"))
    assert postgres.migrate() == []
    tables = postgres.read("select table_name::text as name from information_schema.tables where table_schema = 'public'")
    assert {"users", "photos", "objects", "materializations", "results", "imports"} <= set(tables["name"])


def test_starts_at_once_migrate_once(postgres_url: str) -> None:
    barrier = threading.Barrier(6)

    def start() -> list[str]:
        barrier.wait()
        return Postgres(url=postgres_url).migrate()

    with ThreadPoolExecutor(6) as pool:
        applied = [found for future in [pool.submit(start) for _ in range(6)] for found in future.result()]
    assert applied == sorted(file.name for file in MIGRATIONS.glob("*.sql"))


def test_a_migration_that_fails_leaves_nothing_behind(postgres_url: str) -> None:
    postgres = Postgres(url=postgres_url)
    postgres.execute("create table import_runs (already int)")  # the last statement of the first migration meets it
    with pytest.raises(psycopg2.errors.DuplicateTable):
        postgres.migrate()
    assert postgres.read("select to_regclass('users') is null and to_regclass('migrations') is null as n").item()


def test_reads_come_through_arrow_with_their_types(postgres: Postgres) -> None:
    found = postgres.read(
        "select 1::bigint as n, 2::integer as i, 0.5::real as share, 'é'::text as t, null::text as missing, true as ok, "
        "date '2026-02-01' as day, timestamptz '2026-02-01 12:00:00.123456+02' as at, array[1, null]::bigint[] as list"
    )
    expected = pl.DataFrame(
        {
            "n": [1],
            "i": [2],
            "share": [0.5],
            "t": ["é"],
            "missing": [None],
            "ok": [True],
            "day": [date(2026, 2, 1)],
            "at": [datetime(2026, 2, 1, 10, 0, 0, 123456, tzinfo=UTC)],
            "list": [[1, None]],
        },
        schema={
            "n": pl.Int64,
            "i": pl.Int32,
            "share": pl.Float32,
            "t": pl.String,
            "missing": pl.String,
            "ok": pl.Boolean,
            "day": pl.Date,
            "at": pl.Datetime("us", "UTC"),
            "list": pl.List(pl.Int64),
        },
    )
    assert_frame_equal(found, expected)


def test_a_read_of_nothing_keeps_its_columns(postgres: Postgres) -> None:
    assert dict(postgres.read("select user_id, joined_at from users").schema) == {
        "user_id": pl.Int64,
        "joined_at": pl.Datetime("us", "UTC"),
    }


@pytest.mark.parametrize("text", ["'; drop table users; --", "a\nb\tc", "%s %% $1", "\\", "日本", ""])
def test_parameters_are_values_and_nothing_else(postgres: Postgres, text: str) -> None:
    postgres.insert("insert into users (user_id, joined_at, name) values %s", [(1, datetime(2026, 1, 1, tzinfo=UTC), text)])
    assert postgres.read("select user_id from users where name = $1", (text,))["user_id"].to_list() == [1]
    assert postgres.execute("update users set followers = 3 where name = %s", (text,)) == 1


def test_many_rows_go_in_at_once_or_not_at_all(postgres: Postgres) -> None:
    joined = datetime(2026, 1, 1, tzinfo=UTC)
    statement = "insert into users (user_id, joined_at, name) values %s returning user_id"
    assert postgres.insert(statement, [(n, joined, "x") for n in range(4500)]) == [(n,) for n in range(4500)]
    with pytest.raises(psycopg2.errors.UniqueViolation):
        postgres.insert(statement, [(n, joined, "x") for n in range(7000, 2000, -1)])
    assert postgres.read("select count(*) as n from users").item() == 4500


def test_an_error_rolls_a_transaction_back_and_closes_the_connection(postgres: Postgres) -> None:
    class Stop(Exception):
        pass

    with pytest.raises(Stop), postgres.connect() as connection:
        rows = [(1, datetime(2026, 1, 1, tzinfo=UTC), "x")]
        postgres.insert_into(connection, "users", ["user_id", "joined_at", "name"], rows)
        raise Stop
    assert connection.closed
    assert postgres.read("select * from users").is_empty()


def test_rows_whose_key_is_there_already_are_left(postgres: Postgres) -> None:
    first, second = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    columns = ["user_id", "joined_at", "name"]
    for rows in ([(1, first, "first")], [(1, second, "again"), (2, second, "second")]):
        with postgres.connect() as connection:
            postgres.insert_into(connection, "users", columns, rows)
    assert postgres.read("select user_id, name from users order by 1").rows() == [(1, "first"), (2, "second")]


def test_a_server_that_does_not_answer_says_what_to_do_and_no_password(free_port: int) -> None:
    postgres = Postgres(url=f"postgresql://darkroom:hunter2@127.0.0.1:{free_port}/darkroom")
    for ask in (lambda: postgres.read("select 1"), postgres.migrate):
        with pytest.raises(StoreUnavailable, match="darkroom up") as found:
            ask()
        assert "hunter2" not in str(found.value)


def test_a_wrong_password_is_not_repeated(postgres_url: str) -> None:
    parts = urlsplit(postgres_url)
    wrong = urlunsplit(parts._replace(netloc=f"{parts.username}:hunter2@{parts.hostname}:{parts.port}"))
    for ask in (lambda: Postgres(url=wrong).read("select 1"), lambda: Postgres(url=wrong).execute("select 1")):
        with pytest.raises(StoreUnavailable) as found:
            ask()
        assert "hunter2" not in str(found.value)


def test_a_named_lock_is_held_by_one_session_and_free_right_after(postgres_url: str) -> None:
    postgres = Postgres(url=postgres_url)
    for _ in range(3):
        with postgres.lock("walk") as first, postgres.lock("walk") as second, postgres.lock("other") as other:
            assert (first, second, other) == (True, False, True)


def test_few_rows_come_as_tuples(postgres_url: str) -> None:
    assert Postgres(url=postgres_url).rows("select n, %s::text from generate_series(1, 2) n", ("x",)) == [(1, "x"), (2, "x")]

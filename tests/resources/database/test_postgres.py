"""PostgreSQL alone: reads through Arrow with its own types, and servers that refuse. What it shares is in contracts/."""

import secrets
from collections.abc import Iterator
from datetime import UTC, date, datetime
from urllib.parse import urlsplit, urlunsplit

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from resources.database.postgres import Postgres
from resources.errors import DatabaseUnusable, StoreUnavailable


@pytest.fixture
def postgres(postgres_url: str) -> Postgres:
    """A fresh, migrated database."""
    made = Postgres(url=postgres_url)
    made.migrate()
    return made


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


def test_a_server_that_does_not_answer_says_what_to_do_and_no_password(free_port: int) -> None:
    postgres = Postgres(url=f"postgresql://darkroom:hunter2@127.0.0.1:{free_port}/darkroom")
    for ask in (lambda: postgres.read("select 1"), postgres.migrate):
        with pytest.raises(StoreUnavailable, match="darkroom up") as found:
            ask()
        assert "hunter2" not in str(found.value)


def test_a_wrong_password_is_not_repeated(postgres_url: str) -> None:
    parts = urlsplit(postgres_url)
    wrong = urlunsplit(parts._replace(netloc=f"{parts.username}:hunter2@"))
    for ask in (lambda: Postgres(url=wrong).read("select 1"), lambda: Postgres(url=wrong).execute("select 1")):
        with pytest.raises(StoreUnavailable) as found:
            ask()
        assert "hunter2" not in str(found.value)


def test_few_rows_come_as_tuples(postgres_url: str) -> None:
    assert Postgres(url=postgres_url).rows("select n, %s::text from generate_series(1, 2) n", ("x",)) == [(1, "x"), (2, "x")]


def test_a_named_lock_outlives_the_servers_timeouts_of_idle_transactions(postgres: Postgres) -> None:
    name = urlsplit(postgres.url).path[1:]
    postgres.execute(f'alter database "{name}" set idle_in_transaction_session_timeout = 100')
    with postgres.lock("walk") as first:
        postgres.rows("select pg_sleep(0.3)")
        with postgres.lock("walk") as second:
            assert (first, second) == (True, False)


@pytest.fixture
def reader(postgres_url: str) -> Iterator[str]:
    """The address of the database for a role that may make nothing."""
    role, owner, parts = f"reader_{secrets.token_hex(6)}", Postgres(url=postgres_url), urlsplit(postgres_url)
    owner.execute(f"create role {role} login password 'x'")
    owner.execute("revoke create on schema public from public")
    yield urlunsplit(parts._replace(netloc=f"{role}:x@"))
    owner.execute(f"drop owned by {role}")
    owner.execute(f"drop role {role}")


def test_a_role_that_may_make_nothing_will_do_where_nothing_is_pending(postgres_url: str, reader: str) -> None:
    owner, role = Postgres(url=postgres_url), urlsplit(reader).username
    owner.migrate()
    owner.execute(f"grant select, insert, update, delete on all tables in schema public to {role}")
    assert Postgres(url=reader).migrate() == []


def test_a_role_that_may_not_migrate_is_told_what_to_grant(postgres_url: str, reader: str) -> None:
    with pytest.raises(DatabaseUnusable, match=r"permission denied for schema public.*grant usage, create on schema"):
        Postgres(url=reader).migrate()
    owner, role = Postgres(url=postgres_url), urlsplit(reader).username
    owner.migrate()
    with pytest.raises(DatabaseUnusable, match=r"permission denied for table migrations.*grant select"):
        Postgres(url=reader).migrate()
    owner.execute(f"grant all on all tables in schema public to {role}")
    owner.execute("delete from migrations where name like '0004%%'")
    with pytest.raises(DatabaseUnusable, match="Migrations are pending"):
        Postgres(url=reader).migrate()

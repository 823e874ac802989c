"""Names in settings and URLs that look like SQL, options or files: they stay names, and nothing else is touched."""

import shlex
import sqlite3
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg2
import pytest
from psycopg2 import sql

from resources.database.contract import Database
from resources.database.postgres import Postgres
from resources.database.sqlite import Sqlite
from resources.settings import Settings, plain, shell_lines

EVIL = [
    'x"; drop table victims; --',
    "x'; drop table victims; --",
    "%s %(a)s {} {0} $1 :a ?",
    "a,b;c\\d",
    "-csearch_path=elsewhere",
    "Ünï cødé",
]
JOINED = datetime(2026, 1, 1, tzinfo=UTC)


def statement(url: str, *parts: sql.Composable | str) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(sql.Composed([sql.SQL(part) if isinstance(part, str) else part for part in parts]))
    connection.close()


def use(database: Database) -> None:
    """All that a name could reach: migrations, locks, inserts, reads on both ways."""
    database.migrate()
    with database.connect() as transaction:
        transaction.insert_into("users", ["user_id", "joined_at", "name"], [(1, JOINED, "x'; drop table users; --")])
    for name in EVIL:
        with database.lock(name) as is_held:
            assert is_held
    assert database.read("select name from users").item() == "x'; drop table users; --"
    assert database.read("select user_id from users where name = $1", ["x'; drop table users; --"]).item() == 1
    assert database.rows("select count(*) from migrations")[0][0] > 0


@pytest.fixture
def victim(postgres_url: str) -> Iterator[str]:
    """The URL of a database with a table that must stay."""
    statement(postgres_url, "create table victims (a int)")
    yield postgres_url
    statement(postgres_url, "select * from victims")


@pytest.mark.parametrize("name", EVIL)
def test_a_schema_in_the_urls_options_is_a_name(victim: str, name: str) -> None:
    statement(victim, "create schema ", sql.Identifier(name))
    path = '"' + name.replace('"', '""') + '"'
    options = "-csearch_path=" + path.replace("\\", "\\\\").replace(" ", "\\ ")
    further = "&" if urlsplit(victim).query else "?"
    settings = Settings(database_url=f"{victim}{further}options={quote(options, safe='')}")  # type: ignore[arg-type]
    database = Postgres(url=plain(settings.database_url))
    use(database)
    assert database.read("select current_schema()::text as s").item() == name
    assert database.rows("select to_regclass('public.users') is null")[0][0]


@pytest.mark.parametrize("name", EVIL)
def test_a_database_in_the_url_is_a_name(victim: str, name: str) -> None:
    statement(victim, "create database ", sql.Identifier(name))
    try:
        database = Postgres(url=urlunsplit(urlsplit(victim)._replace(path="/" + quote(name, safe=""))))
        use(database)
        assert database.read("select current_database()::text as d").item() == name
    finally:
        statement(victim, "drop database ", sql.Identifier(name), " with (force)")


@pytest.mark.parametrize("name", [*EVIL, "a?mode=memory&cache=shared", "a#b", "a%41b", "file:a?vfs=x", "a?mode=ro"])
def test_a_file_of_sqlite_is_a_name(tmp_path: Path, name: str) -> None:
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("create table victims (a int)")
    other.commit()
    file = tmp_path / name
    settings = Settings(database_url=f"sqlite:///{quote(str(file))}", lake_url=f"file://{tmp_path}/lake")  # type: ignore[arg-type]
    database = Sqlite(url=plain(settings.database_url))
    use(database)
    assert file.is_file()
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(name)} == {"other.db"}
    assert other.execute("select count(*) from victims").fetchone() == (0,)
    other.close()


@pytest.mark.parametrize("text", [*EVIL, "$(touch pwned)", "`touch pwned`", "a\nexport PATH=/evil", "'; touch pwned; '"])
def test_lines_for_a_shell_hold_settings_as_text(tmp_path: Path, text: str) -> None:
    settings = Settings(home=tmp_path, s3_region=text, s3_endpoint=f"http://127.0.0.1/{text}")
    script = "\n".join([*shell_lines(settings), 'printf %s "$AWS_REGION"'])
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == text
    assert shlex.split(next(line for line in shell_lines(settings) if "AWS_REGION" in line))[1] == f"AWS_REGION={text}"
    assert not list(tmp_path.iterdir())

"""What the registry of places covers: every column of the database, and the page that is made from it."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline_assets.framework.personal import NOBODY
from pipeline_assets.privacy.databases import NOBODYS, TABLES
from pipeline_assets.privacy.places import PLACES, inventory
from pipeline_assets.versioning.checkout import register
from resources.database.sqlite import Sqlite

PAGE = Path(__file__).parents[2] / "docs" / "privacy.md"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def uncovered(database: Path) -> set[str]:
    """Columns of texts and ids that are declared neither as personal nor as nobody's."""
    found = set()
    with closing(sqlite3.connect(database)) as connection:
        for (table,) in connection.execute("select name from sqlite_master where type = 'table'").fetchall():
            declared = {*TABLES.get(table, ()), *NOBODYS.get(table, "").split()}
            for _, name, kind, *_ in connection.execute(f"pragma table_info({table})").fetchall():
                is_text = not kind or kind.lower() in ("text", "json", "jsonb", "blob")
                if (is_text or name.endswith("_id")) and name not in declared and not table.startswith("sqlite_"):
                    found.add(f"{table}.{name}")
    return found


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A migrated database file."""
    path = tmp_path / "darkroom.db"
    Sqlite(url=f"sqlite:///{path}").migrate()
    return path


def test_every_text_and_id_of_the_database_is_declared(database: Path) -> None:
    assert {name for name in uncovered(database) if not name.endswith(("_at", ".day"))} == set()


def test_a_planted_column_of_the_database_is_found(database: Path) -> None:
    before = uncovered(database)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("create table friends (friend_id integer, nickname text, likes integer)")
        connection.execute("alter table photos add column caption text")
    assert uncovered(database) - before == {"friends.friend_id", "friends.nickname", "photos.caption"}


def test_no_column_is_declared_both_ways() -> None:
    assert all(set(TABLES.get(table, ())).isdisjoint(names.split()) for table, names in NOBODYS.items())
    assert all(mark != NOBODY for marks in TABLES.values() for mark in marks.values())


def test_the_page_has_the_registry() -> None:
    assert inventory() in PAGE.read_text(encoding="utf-8"), "write the result of inventory() into docs/privacy.md"
    assert len({place.name for place in PLACES}) == len(PLACES)


def test_the_register_has_the_newest_checkout_of_each_folder_that_is_there(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        register.enter(home, tmp_path / name, "popularity", "1", NOW)
    register.enter(home, tmp_path / "a", "popularity", "2", NOW)
    assert [(Path(one["folder"]).name, one["identity"]) for one in register.read(home)] == [("b", "1"), ("a", "2")]
    register.enter(home, tmp_path / "of a moment later", "popularity", "3", NOW)
    register.enter(home, tmp_path / "a", "popularity", "2", NOW)
    (tmp_path / "of a moment later").mkdir()
    assert [one["identity"] for one in register.read(home)] == ["1", "3", "2"]
    (tmp_path / "of a moment later").rmdir()
    (tmp_path / "b").rmdir()
    assert [Path(one["folder"]).name for one in register.read(home)] == ["a"]
    assert (home / register.REGISTER).stat().st_mode & 0o077 == 0
    assert list(register.files(tmp_path / "a")) == []

"""SQLite alone: how its file is named, and what is said of one that can't serve."""

import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from resources.database import seen_objects
from resources.database.contract import Twin
from resources.database.sqlite import Sqlite, path_of
from resources.errors import DatabaseUnusable, StoreUnavailable

DAY = date(2026, 2, 1)
JOINED = datetime(2026, 1, 1, tzinfo=UTC)
NOBODY = 65_534


@pytest.fixture
def database(tmp_path: Path) -> Sqlite:
    made = at(tmp_path / "darkroom.db")
    made.migrate()
    return made


def at(path: Path, **options: float) -> Sqlite:
    return Sqlite(url=f"sqlite:///{path}", **options)


def ask(database: Sqlite) -> None:
    database.read("select * from users")


def write(database: Sqlite) -> None:
    database.insert("insert into users (user_id, joined_at, name) values %s", [(1, JOINED, "x")])


EVERYTHING = pytest.mark.parametrize("do", [ask, write, Sqlite.migrate])


# The file.


def test_three_slashes_begin_in_the_present_folder_and_four_at_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert path_of("sqlite:///a/b.db") == tmp_path / "a" / "b.db"
    assert path_of("sqlite:////a/b.db") == Path("/a/b.db")
    assert path_of("sqlite:///~/b.db") == Path("/home/me/b.db")
    assert path_of("sqlite:////a/with%20space.db") == path_of("sqlite:////a/with space.db") == Path("/a/with space.db")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:a.db", "file:///a.db", ""])
def test_a_url_that_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(DatabaseUnusable, match=r"names no file: write sqlite:///darkroom\.db"):
        path_of(url)


@pytest.mark.parametrize("name", ["with space.db", "per%cent.db", "who?.db", "hash#.db", "ünïcode.db"])
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    database = Sqlite(url=f"sqlite:///{str(tmp_path / name).replace('%', '%25')}")
    database.migrate()
    write(database)
    assert (tmp_path / name).is_file()


def test_the_file_is_its_owners_alone(database: Sqlite) -> None:
    write(database)
    modes = {stat.S_IMODE(file.stat().st_mode) for file in database.path.parent.iterdir()}
    assert modes == {0o600}


def test_other_programs_read_it_and_enter_users_without_our_functions(database: Sqlite) -> None:
    with closing(sqlite3.connect(database.path)) as connection, connection:
        connection.execute("insert into users (user_id, joined_at, name) values (1, datetime('now'), 'x')")
        connection.execute("insert into imports (source, sha256, name, key) values ('s', 'h', 'n', 'k')")
    joined_at, imported_at = database.read("select joined_at, imported_at from users, imports").row(0)
    assert abs((joined_at - imported_at).total_seconds()) < 60
    assert joined_at.tzinfo is not None


# Types.


def test_what_is_computed_has_the_type_that_its_alias_names(database: Sqlite) -> None:
    empty = database.read('select max(day) as "newest [date]", count(*) as n, sum(user_id) as "ids [bigint]" from photos')
    assert empty.schema == {"newest": pl.Date(), "n": pl.Int64(), "ids": pl.Int64()}
    assert empty.row(0) == (None, 0, None)
    assert database.rows("select '2026-02-01' as \"day [date]\"") == [(DAY,)]


def test_of_twins_its_own_is_asked(database: Sqlite) -> None:
    assert database.read(Twin(postgres="select 1 as n", sqlite="select $1 + 1 as n"), (2,))["n"].to_list() == [3]
    assert database.rows(Twin(postgres="select 1", sqlite="select %s + 1"), (2,)) == [(3,)]


@pytest.mark.parametrize("value", ["yesterday", "2026-02-01T12:00:00Z", "1738411200"])
def test_a_time_that_is_none_is_told_with_its_column(database: Sqlite, value: str) -> None:
    database.execute("insert into users (user_id, joined_at, name) values (1, %s, 'x')", (value,))
    with pytest.raises(DatabaseUnusable, match=r"column 'joined_at' holds what is no timestamptz: correct the rows"):
        ask(database)


def test_a_number_that_is_none_is_told_with_its_column(database: Sqlite) -> None:
    database.execute("insert into users (user_id, joined_at, name, followers) values (1, %s, 'x', 'many')", (JOINED,))
    with pytest.raises(DatabaseUnusable, match="column 'followers' holds what is no bigint"):
        ask(database)


def test_a_time_without_a_zone_is_refused(database: Sqlite) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        database.rows("select %s", (datetime(2026, 1, 1),))  # noqa: DTZ001


# A file that can't serve.


@EVERYTHING
def test_a_missing_folder_is_told_with_how_a_path_begins(tmp_path: Path, do: Callable[[Sqlite], object]) -> None:
    with pytest.raises(DatabaseUnusable, match=r"folder .*/none of the database does not exist: make it.*four at the root"):
        do(at(tmp_path / "none" / "darkroom.db"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_gone_is_not_replaced_by_an_empty_one(database: Sqlite) -> None:
    database.path.unlink()
    for do in (ask, write):
        with pytest.raises(DatabaseUnusable, match=r"does not exist \(any more\): restore it"):
            do(database)
    assert not database.path.exists()


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that any user can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def whom_modes_bind() -> Iterator[None]:
    """As a user for whom the modes of files count: for root they don't."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_file_or_folder_that_may_not_be_written_is_told(shared: Path, what: str) -> None:
    database = at(shared / "darkroom.db")
    database.migrate()
    database.path.chmod(0o444 if what == "file" else 0o666)
    shared.chmod(0o777 if what == "file" else 0o555)
    with whom_modes_bind(), pytest.raises(DatabaseUnusable, match="must be writable for this user"):
        write(database)
    with whom_modes_bind(), pytest.raises(DatabaseUnusable, match="must be writable for this user"):
        database.migrate()


@EVERYTHING
@pytest.mark.parametrize("content", [b"This is not a database. " * 100, b"\x00" * 5000])
def test_a_file_that_is_no_database_is_told_and_left(tmp_path: Path, content: bytes, do: Callable[[Sqlite], object]) -> None:
    (tmp_path / "darkroom.db").write_bytes(content)
    with pytest.raises(DatabaseUnusable, match="is damaged, or no SQLite database: restore a backup"):
        do(at(tmp_path / "darkroom.db"))
    assert (tmp_path / "darkroom.db").read_bytes() == content


def test_a_damaged_page_is_told(database: Sqlite) -> None:
    rows = [seen_objects.SeenObject("b", f"{n}", "v", "e", 1, JOINED, DAY) for n in range(2000)]
    seen_objects.add_objects(database, rows)
    content = bytearray(database.path.read_bytes())
    for page in range(8192, len(content), 4096):
        content[page : page + 64] = b"\xff" * 64
    database.path.write_bytes(content)
    with pytest.raises(DatabaseUnusable, match="is damaged"):
        seen_objects.objects_of_days(database, "b", [DAY])


def test_a_writer_that_waits_too_long_says_so_and_has_changed_nothing(database: Sqlite) -> None:
    hurried = at(database.path, busy_s=0.05)
    with database.connect() as transaction:
        transaction.execute("insert into users (user_id, joined_at, name) values (2, %s, 'y')", (JOINED,))
        with pytest.raises(StoreUnavailable, match=r"Another process has been writing.*run again"):
            write(hurried)
        ask(hurried)
    assert database.rows("select user_id from users") == [(2,)]


def test_a_python_with_an_sqlite_that_is_too_old_is_told(database: Sqlite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(DatabaseUnusable, match=r"3\.35 is needed, or a PostgreSQL"):
        ask(database)


def test_a_file_in_which_processes_left_a_log_is_opened_with_all_that_was_committed(database: Sqlite) -> None:
    """The log of a process that was killed lies beside the file."""
    with closing(sqlite3.connect(database.path)) as connection:
        connection.execute("insert into users (user_id, joined_at, name) values (1, '2026-01-01 00:00:00', 'x')")
        connection.commit()
        for name in ("", "-wal"):
            shutil.copy(f"{database.path}{name}", f"{database.path.parent / 'copy.db'}{name}")
    assert at(database.path.parent / "copy.db").read("select joined_at from users")["joined_at"].to_list() == [JOINED]

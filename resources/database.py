"""The application's database: one contract, kept by PostgreSQL (`postgres.py`) and, in small projects, SQLite (`sqlite.py`).

SQL that both speak is written once, as PostgreSQL has it. Where they differ, a statement is a `Twin`: its two forms lie
side by side, with their asker. The tables are in `migrations/`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import dagster as dg
import polars as pl

from resources.errors import DatabaseUnusable

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 0x6461726B
"""Key of the lock under which migrations run: two starts at once migrate once."""


@dataclass(frozen=True)
class Twin:
    """One statement in both dialects. Parameters are the same, in the same order."""

    postgres: str
    sqlite: str


Statement = str | Twin


class Transaction(Protocol):
    """What can be asked within one transaction. Parameters are `%s`."""

    def execute(self, statement: Statement, parameters: Sequence[Any] = ()) -> int:
        """Run one statement. Returns the number of rows that it touched."""

    def rows(self, statement: Statement, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement. Returns its rows, or what its `returning` gave."""

    def insert(self, statement: Statement, rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Insert many rows: `statement` holds `values %s` once. Returns what `returning` gave."""

    def insert_into(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Insert many rows; those whose key is there already are left."""

    def run_script(self, script: str) -> None:
        """Run many statements that take no parameters."""

    def hold(self, key: int) -> None:
        """Wait until no other transaction holds this key, and hold it to the end of this one."""

    def rollback(self) -> None:
        """Undo all of it."""


class Database(dg.ConfigurableResource, ABC):  # type: ignore[type-arg]
    """The application's database: users, photos, the upload ledger and the ledger of materializations.

    Every statement is parameterized. Which class serves a URL is `assembly`'s choice.
    """

    url: str

    @abstractmethod
    def connect(self) -> AbstractContextManager[Transaction]:
        """A transaction: committed at the end, rolled back on an error.

        Raises StoreUnavailable if the database does not answer, DatabaseUnusable or NoSpace: nothing is committed then.
        """

    @abstractmethod
    def lock(self, name: str) -> AbstractContextManager[bool]:
        """Hold a lock by name for the length of a block, unless another holds it. Yields whether it is held."""

    @abstractmethod
    def read(self, query: Statement, parameters: Sequence[Any] = ()) -> pl.DataFrame:
        """The rows of a query as a frame, with their types. Parameters are `$1`, `$2` ..."""

    def execute(self, statement: Statement, parameters: Sequence[Any] = ()) -> int:
        """Run one statement in a transaction of its own. Returns the number of rows that it touched."""
        with self.connect() as transaction:
            return transaction.execute(statement, parameters)

    def insert(self, statement: Statement, rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Insert many rows in one transaction: `statement` holds `values %s` once. Returns what `returning` gave."""
        with self.connect() as transaction:
            return transaction.insert(statement, rows)

    def rows(self, query: Statement, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query that gives few, asked often. Parameters are `%s`."""
        with self.connect() as transaction:
            return transaction.rows(query, parameters)

    def migrate(self) -> list[str]:
        """Apply the migrations that this database has not had, all or none. Returns their names.

        Raises DatabaseUnusable if it has had one that is not known here.
        """
        files = {file.name: file for file in sorted(MIGRATIONS.glob("*.sql"))}
        with self.connect() as transaction:
            transaction.hold(MIGRATION_LOCK)
            transaction.run_script(
                "create table if not exists migrations (name text primary key, applied_at timestamptz default now());"
            )
            done = {name for (name,) in transaction.rows("select name from migrations")}
            if unknown := sorted(done - set(files)):
                raise DatabaseUnusable(
                    f"The database was migrated by a newer Darkroom ({', '.join(unknown)}): update this one, or restore the "
                    "backup that was made before that."
                )
            applied = [name for name in files if name not in done]
            for name in applied:
                transaction.run_script(self._script(files[name]))
                transaction.execute("insert into migrations (name) values (%s)", (name,))
        return applied

    def _script(self, migration: Path) -> str:
        """A migration as this database has it."""
        return migration.read_text()

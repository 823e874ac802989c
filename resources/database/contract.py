"""The interface of the application's database, with PostgreSQL (`postgres.py`) and SQLite (`sqlite.py`) behind it.

SQL that both understand is written once, in PostgreSQL's dialect. Otherwise a statement is a `Twin` with both forms, in the
module that uses it. The tables are in `migrations/`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import dagster as dg
import polars as pl
from pydantic import Field

from resources.errors import DatabaseUnusable

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 0x6461726B
"""Key of the lock for migrations: two concurrent starts migrate once."""


@dataclass(frozen=True)
class Twin:
    """One statement in both dialects. Parameters are the same, in the same order."""

    postgres: str
    sqlite: str


Statement = str | Twin
_HAS_MIGRATIONS = Twin(
    postgres="select to_regclass('migrations') is not null",
    sqlite="select exists (select 1 from sqlite_master where type = 'table' and name = 'migrations')",
)


class Transaction(Protocol):
    """The statements of one transaction. Parameters are `%s`."""

    def execute(self, statement: Statement, parameters: Sequence[Any] = ()) -> int:
        """Run one statement. Returns the number of affected rows."""

    def rows(self, statement: Statement, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement. Returns its rows, or those of its `returning` clause."""

    def insert(self, statement: Statement, rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Insert many rows; `statement` contains `values %s` once. Returns the rows of its `returning` clause."""

    def insert_into(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Insert many rows; existing keys are skipped."""

    def run_script(self, script: str) -> None:
        """Run many statements without parameters."""

    def hold(self, key: int) -> None:
        """Take the lock with this key until the end of the transaction; wait while another transaction has it."""

    def rollback(self) -> None:
        """Undo all changes of the transaction."""


class Database(dg.ConfigurableResource, ABC):  # type: ignore[type-arg]
    """The application's database: users, photos, the upload ledger and the ledger of materializations.

    Every statement is parameterized. `assembly` chooses the class for a URL.
    """

    url: str = Field(repr=False)  # it has a password

    @abstractmethod
    def connect(self) -> AbstractContextManager[Transaction]:
        """A transaction: committed at the end, rolled back on an error.

        Raises StoreUnavailable if the database does not answer, DatabaseUnusable or NoSpace; nothing is committed then.
        """

    @abstractmethod
    def lock(self, name: str) -> AbstractContextManager[bool]:
        """Try to take a named lock while the block runs. Yields whether it was free."""

    @abstractmethod
    def read(self, query: Statement, parameters: Sequence[Any] = ()) -> pl.DataFrame:
        """The rows of a query as a frame, with their types. Parameters are `$1`, `$2` ..."""

    def execute(self, statement: Statement, parameters: Sequence[Any] = ()) -> int:
        """Run one statement in its own transaction. Returns the number of affected rows."""
        with self.connect() as transaction:
            return transaction.execute(statement, parameters)

    def insert(self, statement: Statement, rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Insert many rows in one transaction; `statement` contains `values %s` once. Returns the `returning` rows."""
        with self.connect() as transaction:
            return transaction.insert(statement, rows)

    def rows(self, query: Statement, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query with few rows, as tuples. Parameters are `%s`."""
        with self.connect() as transaction:
            return transaction.rows(query, parameters)

    def migrate(self) -> list[str]:
        """Apply all pending migrations in one transaction. Returns their names.

        Without pending ones nothing is changed, so that a role without the right to create tables suffices. Raises
        DatabaseUnusable if the database has a migration that this version does not know.
        """
        files = {file.name: file for file in sorted(MIGRATIONS.glob("*.sql"))}
        with self.connect() as transaction:
            transaction.hold(MIGRATION_LOCK)
            is_new = not transaction.rows(_HAS_MIGRATIONS)[0][0]
            done = set() if is_new else {name for (name,) in transaction.rows("select name from migrations")}
            if unknown := sorted(done - set(files)):
                raise DatabaseUnusable(
                    f"The database was migrated by a newer Darkroom ({', '.join(unknown)}): update this one, or restore the "
                    "backup that was made before that."
                )
            applied = [name for name in files if name not in done]
            if is_new:
                transaction.run_script(
                    "create table migrations (name text primary key, applied_at timestamptz default now());"
                )
            for name in applied:
                transaction.run_script(self._script(files[name]))
                transaction.execute("insert into migrations (name) values (%s)", (name,))
        return applied

    def _script(self, migration: Path) -> str:
        """The script of a migration in this database's dialect."""
        return migration.read_text()

"""The result of comparing two versions, as typed models for text, JSON and the page."""

from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Side(_Part):
    """One of the two data sets. told: the name on the command line (`main:pop`)."""

    told: str
    identity: str
    asset: str | None
    commit: str | None
    clean: bool
    rows: int | None
    first_day: date | None
    last_day: date | None
    files: int
    bytes: int


class Example(_Part):
    """A row whose value in one column changed, by its key."""

    key: dict[str, Any]
    before: Any
    after: Any


class ColumnChange(_Part):
    """rows: the number of rows whose value in this column changed. Examples of a bulk column show hashes of its values."""

    column: str
    rows: int
    examples: list[Example]


class LabelChange(ColumnChange):
    """appeared: null before (a label that matured); vanished: null now; moved: another value."""

    appeared: int
    vanished: int
    moved: int


class Rows(_Part):
    """Rows by the schema's key. days: days whose stored files differ; only these were read.

    columns, labels: columns that both versions have with the same type; added_keys, removed_keys: the first few.
    """

    before: int
    after: int
    added: int
    removed: int
    changed: int
    days: list[date]
    columns: list[ColumnChange]
    labels: list[LabelChange]
    added_keys: list[dict[str, Any]]
    removed_keys: list[dict[str, Any]]


class Columns(_Part):
    """Changes of the schema: {column: type}, and for a retyped column the types before and after."""

    added: dict[str, str]
    removed: dict[str, str]
    retyped: dict[str, tuple[str, str]]


class Drift(_Part):
    """How one column's values have moved. before, after: shares of `bins`; missing values are in none of them.

    psi: population stability index, on deciles of the values before or on categories, missing values a bin of their own.
    ks: the largest distance between the two distribution functions; None for categories.
    """

    column: str
    psi: float
    ks: float | None
    missing_before: float
    missing_after: float
    mean_before: float | None
    mean_after: float | None
    bins: list[str]
    before: list[float]
    after: list[float]


class Files(_Part):
    """Files of the manifests by path. Each example is a path."""

    added: int
    removed: int
    changed: int
    added_bytes: int
    removed_bytes: int
    added_paths: list[str]
    removed_paths: list[str]
    changed_paths: list[str]


class TableChange(_Part):
    """An upstream table, from the references alone. None: that side pins no such table."""

    table: str
    version_before: int | None
    version_after: int | None
    rows_before: int | None
    rows_after: int | None
    is_same: bool


class CodeChange(_Part):
    """files: those that differ between the two commits; None where this repository lacks one of them."""

    before: str | None
    after: str | None
    commits: int | None
    files: list[str] | None


class Comparison(_Part):
    """A against B. rows, columns and drift are None for folders, which have files alone."""

    a: Side
    b: Side
    rows: Rows | None
    columns: Columns | None
    drift: list[Drift] | None
    files: Files
    tables: list[TableChange]
    code: CodeChange
    models: dict[str, tuple[str | None, str | None]]

    @property
    def is_empty(self) -> bool:
        """Whether the data are the same: rows, columns, files. Code, versions and places may still differ."""
        rows, columns, files = self.rows, self.columns, self.files
        return (
            (rows is None or not (rows.added or rows.removed or rows.changed))
            and (columns is None or not (columns.added or columns.removed or columns.retyped))
            and not (files.added or files.removed or files.changed)
        )

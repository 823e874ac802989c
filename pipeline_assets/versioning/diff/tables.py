"""Compares two pinned versions of one table, reading only the days that differ.

A day with the same files in both versions has the same rows: Delta never changes a file. So only the other days are read
for changed rows, a few at a time, with bulk columns as hashes, and for drift only columns in which a value has changed.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from itertools import islice
from typing import Any

import polars as pl

from pipeline_assets.errors import NotComparable
from pipeline_assets.framework.declaration import Declaration
from pipeline_assets.versioning.diff.comparison import ColumnChange, Columns, Drift, Example, LabelChange, Rows
from pipeline_assets.versioning.diff.drift import ColumnMove, of_categories, of_numbers
from pipeline_assets.versioning.diff.row_changes import RowChanges, compare
from pipeline_assets.versioning.pin.contents import Pinned
from pipeline_assets.versioning.pin.reference import Selection

ROWS_AT_ONCE = 30_000
"""Limit of rows in memory per version, unless one day alone has more."""
BYTES_AT_ONCE = 24 * 1024**2
"""Limit of a version's columns in memory while drift is measured."""
MAX_CATEGORIES = 200
"""A text column with more distinct values is no category."""
FIRST_LOOK = 2_000
MAX_TEXT = 120


@dataclass(frozen=True)
class Version:
    """One side: a pinned table's files by day, and its rows."""

    pinned: Pinned
    asset: str

    @cached_property
    def files(self) -> dict[date, dict[str, int]]:
        """{day: {file: rows}} of the pinned days."""
        table = self.pinned.reference.tables[self.asset]
        added = pl.DataFrame(self.pinned.delta(self.asset).get_add_actions(flatten=True))
        inside = added.filter(pl.col("partition.day").is_between(table.first_day, table.last_day))
        files: dict[date, dict[str, int]] = {}
        for day, path, rows in inside.select("partition.day", "path", "num_records").iter_rows():
            files.setdefault(day, {})[path] = rows or 0
        return files

    @cached_property
    def rows(self) -> pl.LazyFrame:
        """All pinned rows, lazily, of the pinned asset those that are selected."""
        return self.pinned.rows(None if self.selection else self.asset)

    @property
    def selection(self) -> Selection | None:
        """What selects rows of this table; None if all are pinned."""
        return self.pinned.reference.selection if self.asset == self.pinned.reference.asset else None

    @property
    def total(self) -> int:
        """Number of all pinned rows."""
        return self.selection.rows if self.selection else self.count(self.files)

    @cached_property
    def schema(self) -> pl.Schema:
        """The columns at this version."""
        return self.rows.collect_schema()

    def count(self, days: Iterable[date]) -> int:
        """Number of rows of these days, from the files' statistics."""
        return sum(sum(self.files.get(day, {}).values()) for day in days)

    def of(self, days: Sequence[date], columns: Sequence[str]) -> pl.LazyFrame:
        """Some columns of some days, lazily; files of other days are not opened."""
        return self.rows.filter(pl.col("day").is_in(pl.Series(days, dtype=pl.Date).implode())).select(columns)

    def hashed(self, days: Sequence[date], columns: Sequence[str], bulk: Sequence[str]) -> pl.DataFrame:
        """The same in memory, bulk columns as 64-bit hashes."""
        return self.of(days, columns).with_columns(_hashed(name) for name in bulk).collect(engine="streaming")


def _hashed(name: str) -> pl.Expr:
    return pl.when(pl.col(name).is_not_null()).then(pl.col(name).hash())


@dataclass
class TableDiff:
    """The comparison of one asset's table in two data sets. examples: limit of example rows per kind of change.

    Raises NotComparable if the tables have no common key.
    """

    asset: Declaration
    a: Version
    b: Version
    examples: int = 5
    _counts: dict[str, int] = field(default_factory=dict)
    _shown: dict[str, list[Example]] = field(default_factory=dict)
    _labels: dict[str, list[int]] = field(default_factory=dict)
    _moved: dict[str, tuple[list[pl.Series], list[pl.Series]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if lacking := [name for name in self.asset.key if name not in self.common]:
            raise NotComparable(
                f"The key of {self.asset.name} is {', '.join(self.asset.key)}, and {', '.join(lacking)} is not in both "
                "versions with the same type: compare each with a version made by the same code."
            )

    @cached_property
    def common(self) -> list[str]:
        """Columns that both versions have with the same type, except volatile ones."""
        other_schema = self.b.schema
        return [
            name
            for name, dtype in self.a.schema.items()
            if other_schema.get(name) == dtype and name not in self.asset.volatile
        ]

    @cached_property
    def days(self) -> list[date]:
        """Days whose files differ, ascending; with other selections, all days."""
        a, b = self.a.files, self.b.files
        wheres = [side.selection and side.selection.where for side in (self.a, self.b)]
        if wheres[0] != wheres[1]:
            return sorted(a.keys() | b.keys())
        return sorted(day for day in a.keys() | b.keys() if a.get(day, {}).keys() != b.get(day, {}).keys())

    def columns(self) -> Columns:
        """Changes of the schema."""
        a, b = self.a.schema, self.b.schema
        return Columns(
            added={name: str(b[name]) for name in b if name not in a},
            removed={name: str(a[name]) for name in a if name not in b},
            retyped={name: (str(a[name]), str(b[name])) for name in a if name in b and a[name] != b[name]},
        )

    @cached_property
    def rows(self) -> Rows:
        """Rows added, removed and changed; changes by column, labels separately."""
        bulk = [name for name in self.asset.bulk if name in self.common]
        added, removed, changed = 0, 0, 0
        added_keys: list[dict[str, Any]] = []
        removed_keys: list[dict[str, Any]] = []
        for before, after in self._read(bulk):
            changes = compare(before, after, self.asset.key)
            added, removed = added + changes.added.height, removed + changes.removed.height
            changed += changes.before.height
            added_keys += self._keys(changes.added, self.examples - len(added_keys))
            removed_keys += self._keys(changes.removed, self.examples - len(removed_keys))
            self._note(changes)
        return Rows(
            before=self.a.total,
            after=self.b.total,
            added=added,
            removed=removed,
            changed=changed,
            days=self.days,
            columns=[self._column(name) for name in self.common if name in self._counts and name not in self.asset.labels],
            labels=[self._label(name) for name in self.common if name in self._counts and name in self.asset.labels],
            added_keys=added_keys,
            removed_keys=removed_keys,
        )

    def drift(self) -> list[Drift]:
        """Drift of numeric and categorical columns, the largest first.

        Unchanged columns are not read; of the others only the version before is, each column once. Identifiers (`*_id`)
        and texts with many values have no drift.
        """
        _ = self.rows  # fills self._moved
        changed = [name for name in self._measured if name in self._moved]
        texts = [name for name in changed if not self.a.schema[name].is_numeric()]
        with ThreadPoolExecutor(1, "diff") as pool:
            category_counts = pool.submit(lambda: list(self._category_counts(texts)))
            drifts = []
            for names in self._column_groups([name for name in changed if name not in texts]):
                before = self.a.rows.select(names).collect(engine="streaming")
                drifts += [of_numbers(name, self._values(name, before[name])) for name in names]
            drifts += [one for name, counts in category_counts.result() if (one := self._drift_of_categories(name, counts))]
        return sorted(drifts, key=lambda one: (-one.psi, -(one.ks or 0), one.column))

    @cached_property
    def _measured(self) -> list[str]:
        """Numeric, text and boolean columns that are not part of the key."""
        types = {name: self.a.schema[name] for name in self.common if name not in self.asset.key}
        return [
            name
            for name, dtype in types.items()
            if (dtype.is_numeric() and not name.endswith("_id")) or dtype in (pl.String, pl.Boolean)
        ]

    def _read(self, bulk: Sequence[str]) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """Both versions' rows of the days that differ, in groups; the next group is read while one is compared."""
        with ThreadPoolExecutor(2, "diff") as pool:

            def submit(days: Sequence[date]) -> list[Future[pl.DataFrame]]:
                return [pool.submit(side.hashed, days, self.common, bulk) for side in (self.a, self.b)]

            groups = self._groups()
            futures = [submit(days) for days in islice(groups, 1)]
            while futures:
                before, after = (future.result() for future in futures.pop())
                futures += [submit(days) for days in islice(groups, 1)]
                yield before, after

    def _groups(self) -> Iterator[list[date]]:
        group: list[date] = []
        for day in self.days:
            if group and max(self.a.count([*group, day]), self.b.count([*group, day])) > ROWS_AT_ONCE:
                yield group
                group = []
            group.append(day)
        if group:
            yield group

    def _keys(self, rows: pl.DataFrame, count: int) -> list[dict[str, Any]]:
        return [_plain_row(row) for row in rows.select(self.asset.key).head(max(count, 0)).iter_rows(named=True)]

    def _note(self, changes: RowChanges) -> None:
        """Add a group's changes to the counts, the moved values and, up to the limit, the examples."""
        if changes.added.height or changes.removed.height:
            for name in self._measured:
                self._move(name, changes.removed[name], changes.added[name])
        for name, mask in changes.masks.items():
            self._counts[name] = self._counts.get(name, 0) + int(mask.sum())
            old, new = changes.before.filter(mask), changes.after.filter(mask)
            if name in self.asset.labels:
                counts = self._labels.setdefault(name, [0, 0])
                counts[0] += old[name].null_count()
                counts[1] += new[name].null_count()
            self._move(name, old[name], new[name])
            examples = self._shown.setdefault(name, [])
            room = max(self.examples - len(examples), 0)
            keys = old.select(changes.key).head(room).iter_rows(named=True)
            examples += [
                Example(key=_plain_row(key), before=_plain(value_before), after=_plain(value_after))
                for key, value_before, value_after in zip(keys, old[name].head(room), new[name].head(room), strict=True)
            ]

    def _column(self, name: str) -> ColumnChange:
        return ColumnChange(column=name, rows=self._counts[name], examples=self._shown[name])

    def _label(self, name: str) -> LabelChange:
        rows, (appeared, vanished) = self._counts[name], self._labels[name]
        moved = rows - appeared - vanished
        return LabelChange(
            column=name, rows=rows, examples=self._shown[name], appeared=appeared, vanished=vanished, moved=moved
        )

    def _move(self, name: str, removed: pl.Series, added: pl.Series) -> None:
        if name in self._measured:
            before, after = self._moved.setdefault(name, ([], []))
            before.append(removed)
            after.append(added)

    def _values(self, name: str, before: pl.Series) -> ColumnMove:
        removed, added = (pl.concat([before.clear(), *parts]) for parts in self._moved[name])
        return ColumnMove(before, removed, added)

    def _column_groups(self, names: Sequence[str]) -> Iterator[list[str]]:
        group: list[str] = []
        group_bytes = 0
        for name in names:
            size = self.rows.before * pl.Series(dtype=self.a.schema[name]).to_numpy().itemsize
            if group and group_bytes + size > BYTES_AT_ONCE:
                yield group
                group, group_bytes = [], 0
            group.append(name)
            group_bytes += size
        if group:
            yield group

    def _category_counts(self, names: Sequence[str]) -> Iterator[tuple[str, dict[str | None, int]]]:
        """Counts of each value before; without columns of many values, nearly all of which the first rows reveal."""
        head = self.a.rows.select(pl.col(names).cast(pl.String)).head(FIRST_LOOK).collect()
        categorical = [name for name in names if head[name].n_unique() <= MAX_CATEGORIES]
        if categorical:
            counts = self.a.rows.select(pl.col(name).cast(pl.String).value_counts().implode() for name in categorical)
            for column in counts.collect(engine="streaming"):
                yield column.name, dict(column.explode().struct.unnest().iter_rows())

    def _drift_of_categories(self, name: str, before: Mapping[str | None, int]) -> Drift | None:
        """Drift of a text column; None if it has more than MAX_CATEGORIES values."""
        moved = self._values(name, pl.Series(name, [], dtype=self.a.schema[name]))
        after = Counter(before)
        after.subtract(Counter(moved.removed.cast(pl.String)))
        after.update(Counter(moved.added.cast(pl.String)))
        if max(len(before), len(after)) > MAX_CATEGORIES:
            return None
        return of_categories(name, before, after)


def _plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    """A value for JSON; other types as short text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)  # JSON has neither NaN nor infinity
    if isinstance(value, date | datetime):
        return value.isoformat()
    text = value.hex() if isinstance(value, bytes) else str(value.to_list()) if isinstance(value, pl.Series) else str(value)
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 4]} ..."

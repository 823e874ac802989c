"""Two pinned versions of one table held against each other, reading little and holding less.

A day whose files are the same in both versions has the same rows: Delta never changes a file. So only the other days are
read for changed rows, a few at a time, with bulk columns as digests; and for drift a few columns at a time.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from itertools import chain
from typing import Any

import polars as pl

from pipeline_assets.errors import NotComparable
from pipeline_assets.table_asset import Declaration
from pipeline_assets.versioning import drift
from pipeline_assets.versioning.comparison import ColumnChange, Columns, Drift, Example, LabelChange, Rows
from pipeline_assets.versioning.contents import Pinned
from pipeline_assets.versioning.digest import condense
from pipeline_assets.versioning.row_changes import RowChanges, compare

ROWS_AT_ONCE = 60_000
"""Of each version, unless one day alone has more."""
BULK_ROWS_AT_ONCE = 4_096
VALUES_AT_ONCE = 3_000_000
"""Of each version, while drift is measured: 24 MB of numbers."""
MAX_CATEGORIES = 200
"""A column of texts with more distinct values names things; its shares mean nothing."""
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
        found: dict[date, dict[str, int]] = {}
        for day, path, rows in inside.select("partition.day", "path", "num_records").iter_rows():
            found.setdefault(day, {})[path] = rows or 0
        return found

    @cached_property
    def rows(self) -> pl.LazyFrame:
        """All pinned rows, lazily."""
        return self.pinned.rows(self.asset)

    @cached_property
    def schema(self) -> pl.Schema:
        """Its columns at this version."""
        return self.rows.collect_schema()

    def count(self, days: Iterable[date]) -> int:
        """Rows of these days, as the files' own statistics have them."""
        return sum(sum(self.files.get(day, {}).values()) for day in days)

    def of(self, days: Sequence[date], columns: Sequence[str]) -> pl.LazyFrame:
        """Some columns of some days; other days' files are not opened."""
        return self.rows.filter(pl.col("day").is_in(pl.Series(days, dtype=pl.Date).implode())).select(columns)

    def condensed(self, days: Sequence[date], columns: Sequence[str], bulk: Sequence[str]) -> pl.DataFrame:
        """The same in memory, each value of a bulk column as a digest of it."""
        wanted = self.of(days, columns)
        if not bulk:
            return wanted.collect(engine="streaming")
        empty = wanted.head(0).collect()
        parts = wanted.collect_batches(chunk_size=BULK_ROWS_AT_ONCE, engine="streaming", lazy=True)
        return pl.concat([condense(part, bulk) for part in chain([empty], parts)])


@dataclass
class TableDiff:
    """The comparison of one asset's table in two data sets. examples: how many rows are shown of each kind.

    Raises NotComparable where the tables have no common key.
    """

    asset: Declaration
    a: Version
    b: Version
    examples: int = 5
    _counts: dict[str, int] = field(default_factory=dict)
    _shown: dict[str, list[Example]] = field(default_factory=dict)
    _labels: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if lost := [name for name in self.asset.key if name not in self.common]:
            raise NotComparable(
                f"{self.asset.name} names its rows by {', '.join(self.asset.key)}, and {', '.join(lost)} is not in both "
                "versions, or not of one type: compare each with a version made by the same code."
            )

    @cached_property
    def common(self) -> list[str]:
        """Columns of both versions with one type, but for those that differ between identical runs."""
        theirs = self.b.schema
        return [
            name for name, dtype in self.a.schema.items() if theirs.get(name) == dtype and name not in self.asset.volatile
        ]

    @cached_property
    def days(self) -> list[date]:
        """Those whose files differ, ascending."""
        a, b = self.a.files, self.b.files
        return sorted(day for day in a.keys() | b.keys() if a.get(day, {}).keys() != b.get(day, {}).keys())

    def columns(self) -> Columns:
        """What has become of the schema."""
        a, b = self.a.schema, self.b.schema
        return Columns(
            added={name: str(b[name]) for name in b if name not in a},
            removed={name: str(a[name]) for name in a if name not in b},
            retyped={name: (str(a[name]), str(b[name])) for name in a if name in b and a[name] != b[name]},
        )

    @cached_property
    def rows(self) -> Rows:
        """Rows added, removed and changed, by column, labels apart."""
        bulk = [name for name in self.asset.bulk if name in self.common]
        added, removed, changed = 0, 0, 0
        added_keys: list[dict[str, Any]] = []
        removed_keys: list[dict[str, Any]] = []
        for days in self._groups():
            found = compare(
                self.a.condensed(days, self.common, bulk), self.b.condensed(days, self.common, bulk), self.asset.key
            )
            added, removed = added + found.added.height, removed + found.removed.height
            changed += found.before.height
            added_keys += self._keys(found.added, self.examples - len(added_keys))
            removed_keys += self._keys(found.removed, self.examples - len(removed_keys))
            self._note(found)
        every = self.a.files.keys() | self.b.files.keys()
        return Rows(
            before=self.a.count(every),
            after=self.b.count(every),
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
        """The columns of numbers and categories by how far they have moved, the farthest first.

        Where rows have neither come nor gone, a column in which none has changed is the same and is not read. A number
        that names something (`*_id`) and a text with many values have no drift.
        """
        rows = self.rows
        stays = not (rows.added or rows.removed)
        wanted = [name for name in self.common if name not in self.asset.key and not (stays and name not in self._counts)]
        numbers = [name for name in wanted if self.a.schema[name].is_numeric() and not name.endswith("_id")]
        found = [one for group in self._column_groups(numbers) for one in self._drift_of_numbers(group)]
        texts = [name for name in wanted if self.a.schema[name] in (pl.String, pl.Boolean)]
        found += [one for name in texts if (one := self._drift_of_categories(name))]
        return sorted(found, key=lambda one: (-one.psi, -(one.ks or 0), one.column))

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

    def _note(self, found: RowChanges) -> None:
        """Add a group's changes to the counts, and to the examples while there is room."""
        for name, mask in found.masks.items():
            self._counts[name] = self._counts.get(name, 0) + int(mask.sum())
            old, new = found.before.filter(mask), found.after.filter(mask)
            if name in self.asset.labels:
                counts = self._labels.setdefault(name, [0, 0])
                counts[0] += old[name].null_count()
                counts[1] += new[name].null_count()
            shown = self._shown.setdefault(name, [])
            few = max(self.examples - len(shown), 0)
            keys = old.select(found.key).head(few).iter_rows(named=True)
            shown += [
                Example(key=_plain_row(key), before=_plain(one), after=_plain(other))
                for key, one, other in zip(keys, old[name].head(few), new[name].head(few), strict=True)
            ]

    def _column(self, name: str) -> ColumnChange:
        return ColumnChange(column=name, rows=self._counts[name], examples=self._shown[name])

    def _label(self, name: str) -> LabelChange:
        rows, (appeared, vanished) = self._counts[name], self._labels[name]
        moved = rows - appeared - vanished
        return LabelChange(
            column=name, rows=rows, examples=self._shown[name], appeared=appeared, vanished=vanished, moved=moved
        )

    def _column_groups(self, names: Sequence[str]) -> Iterator[list[str]]:
        size = max(VALUES_AT_ONCE // max(self.rows.before, self.rows.after, 1), 1)
        yield from (list(names[start : start + size]) for start in range(0, len(names), size))

    def _drift_of_numbers(self, names: list[str]) -> Iterator[Drift]:
        both = sorted((self.a.files.keys() & self.b.files.keys()) - set(self.days))
        shared = self.b.of(both, names).collect(engine="streaming")
        old = self.a.of(self.days, names).collect(engine="streaming")
        new = self.b.of(self.days, names).collect(engine="streaming")
        for name in names:
            yield drift.of_numbers(name, pl.concat([shared[name], old[name]]), pl.concat([shared[name], new[name]]))

    def _drift_of_categories(self, name: str) -> Drift | None:
        if self.b.rows.select(name).head(2_000).collect()[name].n_unique() > MAX_CATEGORIES:
            return None
        counts = [self._categories(side, name) for side in (self.a, self.b)]
        if max(len(side) for side in counts) > MAX_CATEGORIES:
            return None
        return drift.of_categories(name, *counts)

    @staticmethod
    def _categories(side: Version, name: str) -> Mapping[str | None, int]:
        found = side.rows.group_by(pl.col(name).cast(pl.String)).len().collect(engine="streaming")
        return dict(found.iter_rows())


def _plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    """A value as JSON has it; what it has no word for, as a short text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)  # JSON has neither NaN nor infinity
    if isinstance(value, date | datetime):
        return value.isoformat()
    told = value.hex() if isinstance(value, bytes) else str(value.to_list()) if isinstance(value, pl.Series) else str(value)
    return told if len(told) <= MAX_TEXT else f"{told[: MAX_TEXT - 4]} ..."

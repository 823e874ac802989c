"""Two pinned versions of one table held against each other, reading little and holding less.

A day whose files are the same in both versions has the same rows: Delta never changes a file. So only the other days are
read for changed rows, a few at a time, with bulk columns as hashes; and for drift only columns in which a value has changed.
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
from pipeline_assets.table_asset import Declaration
from pipeline_assets.versioning.comparison import ColumnChange, Columns, Drift, Example, LabelChange, Rows
from pipeline_assets.versioning.contents import Pinned
from pipeline_assets.versioning.drift import Moved, of_categories, of_numbers
from pipeline_assets.versioning.row_changes import RowChanges, compare

ROWS_AT_ONCE = 30_000
"""Of each version, unless one day alone has more."""
BYTES_AT_ONCE = 24 * 1024**2
"""Of a version's columns, held while drift is measured."""
MAX_CATEGORIES = 200
"""A column of texts with more distinct values names things; its shares mean nothing."""
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

    def hashed(self, days: Sequence[date], columns: Sequence[str], bulk: Sequence[str]) -> pl.DataFrame:
        """The same in memory, each value of a bulk column as 64 bits that tell it from another."""
        return self.of(days, columns).with_columns(_hashed(name) for name in bulk).collect(engine="streaming")


def _hashed(name: str) -> pl.Expr:
    return pl.when(pl.col(name).is_not_null()).then(pl.col(name).hash())


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
    _moved: dict[str, tuple[list[pl.Series], list[pl.Series]]] = field(default_factory=dict)

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
        for before, after in self._read(bulk):
            found = compare(before, after, self.asset.key)
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

        A column in which no value has gone or come is the same and is not read; of the others only the version before is,
        each column once. A number that names something (`*_id`) and a text with many values have no drift.
        """
        _ = self.rows  # it finds out what has moved
        wanted = [name for name in self._measured if name in self._moved]
        texts = [name for name in wanted if not self.a.schema[name].is_numeric()]
        with ThreadPoolExecutor(1, "diff") as pool:
            counted = pool.submit(lambda: list(self._counted(texts)))
            found = []
            for names in self._column_groups([name for name in wanted if name not in texts]):
                before = self.a.rows.select(names).collect(engine="streaming")
                found += [of_numbers(name, self._values(name, before[name])) for name in names]
            found += [one for name, counts in counted.result() if (one := self._drift_of_categories(name, counts))]
        return sorted(found, key=lambda one: (-one.psi, -(one.ks or 0), one.column))

    @cached_property
    def _measured(self) -> list[str]:
        """Columns of numbers, texts and booleans that do not name the row."""
        types = {name: self.a.schema[name] for name in self.common if name not in self.asset.key}
        return [
            name
            for name, dtype in types.items()
            if (dtype.is_numeric() and not name.endswith("_id")) or dtype in (pl.String, pl.Boolean)
        ]

    def _read(self, bulk: Sequence[str]) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """Both versions' rows of the days that differ, a group at a time; the next is read while one is compared."""
        with ThreadPoolExecutor(2, "diff") as pool:

            def ask(days: Sequence[date]) -> list[Future[pl.DataFrame]]:
                return [pool.submit(side.hashed, days, self.common, bulk) for side in (self.a, self.b)]

            groups = self._groups()
            asked = [ask(days) for days in islice(groups, 1)]
            while asked:
                before, after = (one.result() for one in asked.pop())
                asked += [ask(days) for days in islice(groups, 1)]
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

    def _note(self, found: RowChanges) -> None:
        """Add a group's changes to the counts, to what has moved, and to the examples while there is room."""
        if found.added.height or found.removed.height:
            for name in self._measured:
                self._move(name, found.removed[name], found.added[name])
        for name, mask in found.masks.items():
            self._counts[name] = self._counts.get(name, 0) + int(mask.sum())
            old, new = found.before.filter(mask), found.after.filter(mask)
            if name in self.asset.labels:
                counts = self._labels.setdefault(name, [0, 0])
                counts[0] += old[name].null_count()
                counts[1] += new[name].null_count()
            self._move(name, old[name], new[name])
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

    def _move(self, name: str, gone: pl.Series, come: pl.Series) -> None:
        if name in self._measured:
            before, after = self._moved.setdefault(name, ([], []))
            before.append(gone)
            after.append(come)

    def _values(self, name: str, before: pl.Series) -> Moved:
        gone, come = (pl.concat([before.clear(), *parts]) for parts in self._moved[name])
        return Moved(before, gone, come)

    def _column_groups(self, names: Sequence[str]) -> Iterator[list[str]]:
        group: list[str] = []
        held = 0
        for name in names:
            size = self.rows.before * pl.Series(dtype=self.a.schema[name]).to_numpy().itemsize
            if group and held + size > BYTES_AT_ONCE:
                yield group
                group, held = [], 0
            group.append(name)
            held += size
        if group:
            yield group

    def _counted(self, names: Sequence[str]) -> Iterator[tuple[str, dict[str | None, int]]]:
        """How often each value was there before; not of columns with many, which the first rows nearly always tell."""
        first = self.a.rows.select(pl.col(names).cast(pl.String)).head(FIRST_LOOK).collect()
        few = [name for name in names if first[name].n_unique() <= MAX_CATEGORIES]
        if few:
            counts = self.a.rows.select(pl.col(name).cast(pl.String).value_counts().implode() for name in few)
            for column in counts.collect(engine="streaming"):
                yield column.name, dict(column.explode().struct.unnest().iter_rows())

    def _drift_of_categories(self, name: str, before: Mapping[str | None, int]) -> Drift | None:
        """None where there are more than MAX_CATEGORIES."""
        moved = self._values(name, pl.Series(name, [], dtype=self.a.schema[name]))
        after = Counter(before)
        after.subtract(Counter(moved.gone.cast(pl.String)))
        after.update(Counter(moved.come.cast(pl.String)))
        if max(len(before), len(after)) > MAX_CATEGORIES:
            return None
        return of_categories(name, before, after)


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

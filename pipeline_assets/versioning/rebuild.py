"""Rebuilds a pinned table from its pinned inputs with the code beside this file, and compares the rows.

    python -P -m pipeline_assets.versioning.rebuild REFERENCE.json RESULT.json

`darkroom reproduce` runs it in a work tree of the pinned commit. It writes no table and nothing into the ledger; what an
asset keeps by content (weights, results) it may keep again.
"""

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from pipeline_assets.catalog import DECLARATIONS
from pipeline_assets.errors import NotReproducible
from pipeline_assets.framework.declaration import Declaration, RunOfDays, Table
from pipeline_assets.framework.digest import condense, rows_digest
from pipeline_assets.framework.validation import PART_ROWS, validate
from pipeline_assets.versioning.diff.row_changes import compare
from pipeline_assets.versioning.pin.day_digests import digest_of_days
from pipeline_assets.versioning.pin.reference import Reference, TableVersion
from pipeline_assets.versioning.reproduce.rebuilt import Day, Rebuilt
from resources.assembly import resolve
from resources.database import ledger
from resources.filesystem import Filesystem
from resources.lake.lake import Lake
from resources.settings import load_settings

DAYS_AT_ONCE = 30


class PinnedLake(Lake):
    """The lake at pinned versions: a pinned table is read at its pinned version by default."""

    versions: dict[str, int]

    def version(self, name: str) -> int:
        """The pinned version; for a table that is not pinned, the newest."""
        return self.versions[name] if name in self.versions else super().version(name)

    def scan(self, name: str, days: Sequence[date] | None = None, version: int | None = None) -> pl.LazyFrame:
        """As `Lake.scan`, at the pinned version by default."""
        return super().scan(name, days, self.versions.get(name) if version is None else version)

    def replace(self, *_: Any, **__: Any) -> int:
        """Raises NotReproducible: a rebuild writes nothing."""
        raise NotReproducible("This asset writes to the lake while it is computed, so it can't be rebuilt.")


class Rebuild:
    """One pinned table, its asset and its resources. scratch: a folder for temporary files."""

    def __init__(self, reference: Reference, resources: Mapping[str, Any], scratch: Path) -> None:
        self.reference = reference
        self.asset = _declaration(reference)
        self.table: TableVersion = reference.tables[self.asset.name]
        self.database = resources["database"]
        lake = resources["lake"]
        versions = {name: table.version for name, table in reference.tables.items()}
        plain = {name: getattr(lake, name) for name in type(lake).model_fields}
        self.lake = PinnedLake(**plain, versions=versions)
        folders = {"local_disk": Filesystem(root=str(scratch)), "map_files": Filesystem(root=str(scratch / "map"))}
        self.resources = {**resources, "lake": self.lake, **folders}
        self.until = reference.created_at + timedelta(seconds=1)  # created_at has whole seconds

    def run(self) -> Iterator[Day]:
        """Rebuild and compare each day, ascending."""
        days = self.days()
        for start in range(0, len(days), DAYS_AT_ONCE):
            yield from self._compared(tuple(days[start : start + DAYS_AT_ONCE]))

    def days(self) -> list[date]:
        """The days that were materialized when the table was pinned, including days without rows."""
        first, last = self.table.first_day, self.table.last_day
        entries = ledger.as_of(self.database, self.asset.name, self.table.version, self.until, first, last)
        inside = pl.col("day").is_between(first, last)
        days_with_rows = self.lake.scan(self.asset.name).filter(inside).select(pl.col("day").unique()).collect()
        return sorted({*entries["day"], *days_with_rows["day"]})

    def _compared(self, days: tuple[date, ...]) -> Iterator[Day]:
        rebuilt_rows = self._rebuilt(days)
        pinned = self._pinned(days)
        for day in days:
            rows, pinned_rows = (frame.filter(pl.col("day") == day) for frame in (rebuilt_rows, pinned))
            digests = [rows_digest(frame, self.asset.key, self.asset.volatile) for frame in (rows, pinned_rows)]
            facts: dict[str, Any] = {}
            if digests[0] != digests[1]:
                changes = compare(pinned_rows.drop(self.asset.volatile), rows.drop(self.asset.volatile), self.asset.key)
                columns = {name: int(mask.sum()) for name, mask in changes.masks.items()}
                facts = {"added": changes.added.height, "removed": changes.removed.height, "columns": columns}
            yield Day(
                day=day,
                rows=rows.height,
                pinned_rows=pinned_rows.height,
                digest=digests[0],
                pinned_digest=digests[1],
                **facts,
            )

    def _rebuilt(self, days: tuple[date, ...]) -> pl.DataFrame:
        """The days' rows as this code computes them, without invalid ones, bulk columns condensed."""
        asset = self.asset
        frames = {name: self._input(name, days) for name in asset.inputs}
        entries = pl.concat([frame for name in asset.inputs if (frame := self._entries(name, days)) is not None])
        log = logging.getLogger(f"darkroom.rebuild.{asset.name}")
        run = RunOfDays(asset.name, days, asset.code_version, "rebuild", log, frames, entries, now=self.until)
        result = asset.compute(run, **frames, **{name: self.resources[name] for name in asset.resources})
        return validate(asset, result.rows if isinstance(result, Table) else result).rows

    def _input(self, name: str, days: Sequence[date]) -> pl.LazyFrame:
        if name not in self.reference.tables:  # it had no rows
            return DECLARATIONS[name].schema.create_empty().lazy()
        return self.lake.scan(name, self._read_days(name, days))

    def _read_days(self, name: str, days: Sequence[date]) -> list[date]:
        return sorted(set(chain.from_iterable(self.asset.inputs[name].of(day) for day in days)))

    def _entries(self, name: str, days: Sequence[date]) -> pl.DataFrame:
        reach = self._read_days(name, days)
        version = self.reference.tables[name].version if name in self.reference.tables else self.lake.version(name)
        return ledger.as_of(self.database, name, version, self.until, reach[0], reach[-1])

    def _pinned(self, days: Sequence[date]) -> pl.DataFrame:
        schema, bulk = self.asset.schema, self.asset.bulk
        rows = schema.cast(self.lake.scan(self.asset.name, days))
        empty = schema.create_empty()
        if not bulk:
            return pl.concat([empty, rows.collect(engine="streaming")])
        parts = rows.collect_batches(chunk_size=PART_ROWS, engine="streaming", lazy=True)
        return pl.concat(condense(part, bulk) for part in chain([empty], parts))


def _declaration(reference: Reference) -> Declaration:
    """This code's declaration of the pinned asset. Raises NotReproducible if there is none, or if it reads external data."""
    rebuildable = ", ".join(name for name, asset in DECLARATIONS.items() if asset.can_be_rebuilt)
    asset = DECLARATIONS.get(reference.asset or "")
    if asset is None:
        raise NotReproducible(f"The code at this commit has no asset {reference.asset}: it has {', '.join(DECLARATIONS)}.")
    if not asset.can_be_rebuilt:
        raise NotReproducible(
            f"{asset.name} is computed from external data (the bucket, the database, the logs), which a reference does not "
            f"name, so it can't be rebuilt. These can be rebuilt from the tables pinned with them: {rebuildable}."
        )
    return asset


def rebuild(reference: Reference, resources: Mapping[str, Any], scratch: Path) -> Rebuilt:
    """Rebuild the pinned table and compare it day by day. NotReproducible is not raised: the result has its text."""
    code = str(Path(__file__).resolve().parents[2])
    try:
        days = list(Rebuild(reference, resources, scratch).run())
    except NotReproducible as error:
        return Rebuilt(code=code, refused=str(error))
    return Rebuilt(
        code=code,
        days=days,
        digest=digest_of_days((day.day, day.digest) for day in days if day.rows),
        pinned_digest=digest_of_days((day.day, day.pinned_digest) for day in days if day.pinned_rows),
    )


def main() -> None:
    """Read the reference, build, write the result."""
    reference_path, result_path = map(Path, sys.argv[1:3])
    reference = Reference.loads(reference_path.read_bytes(), str(reference_path))
    rebuilt = rebuild(reference, resolve(load_settings()), result_path.parent / "disk")
    result_path.write_text(rebuilt.model_dump_json(), encoding="utf-8")


if __name__ == "__main__":
    main()

"""The rows that an asset's function returned, held against its schema part by part, so that memory does not grow with them.

A table without bulk columns is one part in memory. One with such columns (an embedding a row) is spooled to disk, and what
looks at its rows afterwards (checks, digests, previews) sees them condensed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import polars as pl

from pipeline_assets.errors import DarkroomError
from pipeline_assets.table_asset import Declaration
from pipeline_assets.versioning.digest import condense
from resources.spool import Parts, Spool

PART_ROWS = 4096
"""Rows with bulk columns that are held at once: 20 MB where an embedding has 1,280 numbers."""
Rows = pl.DataFrame | pl.LazyFrame | Iterable[pl.DataFrame]


@dataclass(frozen=True)
class Validated:
    """rows, stored: those that keep the schema, condensed and whole; broken: those that don't, condensed, and the `rules`
    that some of them break.
    """

    rows: pl.DataFrame
    stored: Parts
    broken: pl.DataFrame
    rules: tuple[str, ...]


def validate(asset: Declaration, rows: Rows) -> Validated:
    """Split rows by the asset's schema. Raises DarkroomError if a column of it is missing."""
    columns = asset.schema.create_empty().schema
    spool = Spool(columns) if asset.bulk else None
    kept, broken, rules = [], [], set()
    for part in _parts(asset, rows):
        if missing := set(columns) - set(part.columns):
            raise DarkroomError(f"{asset.name} returned no columns {sorted(missing)}: return all columns of its schema")
        good, failure = asset.schema.filter(part.select(columns.names()), cast=True)
        if spool:
            spool.add(good)
        kept.append(condense(good, asset.bulk))
        broken.append(condense(failure.invalid().select(columns.names()), asset.bulk))
        rules |= set(failure.counts())
    condensed, bad = pl.concat(kept), pl.concat(broken)
    stored = spool.parts() if spool else Parts.of(condensed)
    if not (key := asset.schema.primary_key()):
        return Validated(condensed, stored, bad, tuple(sorted(rules)))
    # Within a part the schema has seen to it that keys are unique.
    twice = condensed.filter(pl.struct(key).is_duplicated())
    if twice.is_empty():
        return Validated(condensed, stored, bad, tuple(sorted(rules)))
    once = Parts(columns, lambda: (part.join(twice, on=key, how="anti") for part in stored))
    rows_once, bad = condensed.join(twice, on=key, how="anti"), pl.concat([bad, twice])
    return Validated(rows_once, once, bad, tuple(sorted({*rules, "primary_key"})))


def _parts(asset: Declaration, rows: Rows) -> Iterator[pl.DataFrame]:
    """At least one, and more only of a table with bulk columns."""
    if isinstance(rows, pl.LazyFrame) and asset.bulk:
        rows = rows.collect_batches(chunk_size=PART_ROWS, engine="streaming", lazy=True)
    elif isinstance(rows, pl.LazyFrame):
        rows = rows.collect(engine="streaming")
    if isinstance(rows, pl.DataFrame):
        yield from rows.iter_slices(PART_ROWS) if asset.bulk and rows.height else [rows]
        return
    yield asset.schema.create_empty()
    yield from rows

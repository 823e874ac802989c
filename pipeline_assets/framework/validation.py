"""Validates the rows that an asset's function returned by its schema, in parts, so that memory does not grow with them.

A table without bulk columns is one part in memory. One with such columns (such as embeddings) is spooled to disk; checks,
digests and previews see these columns condensed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import dataframely as dy
import polars as pl

from pipeline_assets.errors import DarkroomError
from pipeline_assets.framework.declaration import Declaration
from pipeline_assets.framework.digest import condense
from resources.lake.spool import Parts, Spool

PART_ROWS = 4096
"""Rows with bulk columns in memory at a time: 20 MB if an embedding has 1,280 numbers."""
Rows = pl.DataFrame | pl.LazyFrame | Iterable[pl.DataFrame]


@dataclass(frozen=True)
class Validated:
    """rows, stored: valid rows, condensed and complete; broken: invalid rows, condensed.

    rules: all rules that broken rows break; why: those of each broken row, as `_rules_of`.
    """

    rows: pl.DataFrame
    stored: Parts
    broken: pl.DataFrame
    rules: tuple[str, ...]
    why: pl.Series


def validate(asset: Declaration, rows: Rows) -> Validated:
    """Split rows by the asset's schema. Raises DarkroomError if a column of it is missing."""
    empty = asset.schema.create_empty()
    columns, nothing = empty.schema, condense(empty, asset.bulk)
    spool = Spool(columns) if asset.bulk else None
    kept, broken, broken_rules = [], [], []
    for part in _parts(asset, rows):
        if missing := set(columns) - set(part.columns):
            raise DarkroomError(f"{asset.name} returned no columns {sorted(missing)}: return all columns of its schema")
        if part.is_empty():
            continue
        good, failure = asset.schema.filter(part.select(columns.names()), cast=True)
        if spool:
            spool.add(good)
        kept.append(condense(good, asset.bulk))
        if len(failure):
            broken.append(condense(failure.invalid().select(columns.names()), asset.bulk))
            broken_rules.append(_rules_of(failure))
    condensed, bad = pl.concat(kept or [nothing]), pl.concat(broken or [nothing])
    reasons = pl.concat(broken_rules or [pl.Series("why", [], pl.String)])
    stored = spool.parts() if spool else Parts.of(condensed)
    if not (key := asset.schema.primary_key()):
        return _validated(condensed, stored, bad, reasons)
    # Within a part the schema has already checked that keys are unique.
    repeated = condensed.filter(pl.struct(key).is_duplicated())
    if repeated.is_empty():
        return _validated(condensed, stored, bad, reasons)
    stored_once = Parts(columns, lambda: (part.join(repeated, on=key, how="anti") for part in stored))
    rows_once, bad = condensed.join(repeated, on=key, how="anti"), pl.concat([bad, repeated])
    reasons.extend(pl.Series(["primary_key"] * repeated.height, dtype=pl.String))
    return _validated(rows_once, stored_once, bad, reasons)


def _validated(rows: pl.DataFrame, stored: Parts, broken: pl.DataFrame, reasons: pl.Series) -> Validated:
    rules = {rule for text in reasons.unique() for rule in text.split(", ")}
    return Validated(rows, stored, broken, tuple(sorted(rules)), reasons)


def _rules_of(failure: dy.FailureInfo) -> pl.Series:
    """The rules that each broken row breaks: `key|min, kind|check`."""
    details = failure.details()
    broken = [
        pl.when(pl.col(name) == "invalid").then(pl.lit(name)) for name in details.columns[len(failure.invalid().columns) :]
    ]
    if not broken:
        return pl.Series("why", [], pl.String)
    return details.select(pl.concat_str(broken, separator=", ", ignore_nulls=True).alias("why"))["why"]


def _parts(asset: Declaration, rows: Rows) -> Iterator[pl.DataFrame]:
    """One part, or several for a table with bulk columns."""
    if isinstance(rows, pl.LazyFrame) and asset.bulk:
        rows = rows.collect_batches(chunk_size=PART_ROWS, engine="streaming", lazy=True)
    elif isinstance(rows, pl.LazyFrame):
        rows = rows.collect(engine="streaming")
    if isinstance(rows, pl.DataFrame):
        yield from rows.iter_slices(PART_ROWS) if asset.bulk and rows.height else [rows]
        return
    yield asset.schema.create_empty()
    yield from rows

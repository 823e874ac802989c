"""Pins a table: its days at one Delta version, all tables they were computed from, and the files that its rows name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from pipeline_assets.errors import PinRefused
from pipeline_assets.framework.declaration import DECLARATIONS
from pipeline_assets.framework.planning import plan_days
from pipeline_assets.ingestion.media.media_types import UNKNOWN, extension_of
from pipeline_assets.versioning.pin.condition import condition, condition_errors
from pipeline_assets.versioning.pin.day_digests import newest, recounted_selection
from pipeline_assets.versioning.pin.manifest import SCHEMA, UPLOADED, VARIANT, WEIGHTS
from pipeline_assets.versioning.pin.pins import NO_FILES, Label, reference
from pipeline_assets.versioning.pin.reference import MAX_CONDITION, Reference, Selection, TableVersion
from resources.database.contract import Database
from resources.lake.lake import Lake
from resources.objects.resource import Objects
from resources.objects.store import content_key


@dataclass(frozen=True)
class Pinnable:
    """The resources that pinning reads, by their names in `resources.assembly`."""

    lake: Lake
    database: Database
    uploads: Objects
    objects: Objects


def pin_table(
    label: Label,
    asset: str,
    first: date | None,
    last: date | None,
    of: Pinnable,
    *,
    is_stale_allowed: bool = False,
    where: str | None = None,
) -> Reference:
    """The reference of an asset's rows in these days (None: all it has), with its manifest kept in the store.

    Raises PinRefused for an unknown asset, for no days, and for days that are not current (unless allowed): the inputs
    of their rows no longer exist, so a reference can't name them. where: an SQL expression that selects rows; PinRefused
    if none is, and BadSelection. Files are those that selected rows name. A run that writes at the same time has no effect.
    """
    if asset not in DECLARATIONS:
        raise PinRefused(f"There is no asset {asset}: choose one of {', '.join(DECLARATIONS)}.")
    newest_days = newest(of.lake, of.database, asset, first or date.min, last or date.max)
    days = newest_days.days["day"].to_list()
    if not days:
        raise PinRefused(f"{asset} has no rows in these days: materialize it first (`darkroom run`), or choose others.")
    if not is_stale_allowed:
        _refuse_stale(asset, days, of)
    inputs = {
        name: newest(of.lake, of.database, name, *span)
        for name, span in _spans_of_inputs(asset, days).items()
        if name != asset
    }
    tables = {asset: newest_days.table} | {
        name: input_days.table for name, input_days in inputs.items() if input_days.days.height
    }
    rows = of.lake.scan(asset, days, tables[asset].version)
    selection = None
    if where is not None:
        rows, selection = _selected(asset, rows, where)
    return reference(
        label,
        _files(asset, rows, tables, of),
        of.objects.store,
        {"lake": of.lake.url, "uploads": of.uploads.url, "objects": of.objects.url},
        asset,
        tables,
        _models(rows),
        selection,
    )


def _selected(asset: str, rows: pl.LazyFrame, where: str) -> tuple[pl.LazyFrame, Selection]:
    if not 0 < len(where) <= MAX_CONDITION:
        raise PinRefused(f"The condition has {len(where):,} characters: a pin takes 1 to {MAX_CONDITION:,}.")
    rows = rows.filter(condition(rows, where, rows.collect_schema().names()))
    with condition_errors(where):
        count, digest = recounted_selection(rows, DECLARATIONS[asset])
    if not count:
        raise PinRefused(f"No row of {asset} in these days matches {where!r}: nothing is pinned.")
    return rows, Selection(where=where, rows=count, digest=digest)


def row_of(pinned: Reference) -> dict[str, object]:
    """A reference as a row of `training_pin`."""
    table = pinned.tables["training_table"]
    return {
        "identity": pinned.identity,
        "table_version": table.version,
        "first_day": table.first_day,
        "last_day": table.last_day,
        "rows": table.rows,
        "files": pinned.manifest.files,
        "bytes": pinned.manifest.bytes,
        "manifest_sha256": pinned.manifest.sha256,
        "reference_json": pinned.dumps(),
    }


def versions(reference_json: str) -> dict[str, int]:
    """The Delta version of each table that a row of `training_pin` names."""
    return {name: table.version for name, table in Reference.loads(reference_json, "the pin").tables.items()}


def _refuse_stale(asset: str, days: Sequence[date], of: Pinnable) -> None:
    declaration = DECLARATIONS[asset]
    available = {"lake": of.lake, "database": of.database, "uploads": of.uploads, "objects": of.objects}
    if not available.keys() >= set(declaration.source_resources):
        return  # a reference does not name what comes from outside, so that can't have changed since
    plan = plan_days(declaration, of.lake, of.database, days, available)
    stale = plan.reasons
    if stale:
        day, reason = min(stale.items())
        raise PinRefused(
            f"{len(stale)} of {len(days)} days of {asset} are not current ({day}: {reason}). Run `darkroom run` first, so "
            "that the rows follow from the pinned inputs; or pin them as they are with --allow-stale."
        )


def _spans_of_inputs(asset: str, days: Sequence[date]) -> dict[str, tuple[date, date]]:
    """The span of days of each asset that these days were computed from, the asset itself included."""
    spans = {asset: (days[0], days[-1])}
    pending = [asset]
    while pending:
        name = pending.pop()
        first, last = spans[name]
        for upstream, window in DECLARATIONS[name].inputs.items():
            span = (next(iter(window.of(first))), list(window.of(last))[-1])
            previous_span = spans.get(upstream, span)
            union = (min(previous_span[0], span[0]), max(previous_span[1], span[1]))
            if spans.get(upstream) != union:
                spans[upstream] = union
                pending.append(upstream)
    return spans


def _files(asset: str, rows: pl.LazyFrame, tables: Mapping[str, TableVersion], of: Pinnable) -> pl.DataFrame:
    names = rows.collect_schema().names()
    parts = [NO_FILES]
    of_uploads = "raw_uploads" in (
        asset,
        *DECLARATIONS[asset].inputs,
    )  # in other tables the column names other contents: staged shards
    if UPLOADED in names and of_uploads and "raw_uploads" in tables:
        parts.append(_uploaded(rows, tables["raw_uploads"], of))
    if WEIGHTS in names:
        parts.append(_stored_files(rows.select(sha256=WEIGHTS, size_bytes="weights_bytes"), "weights/{}.safetensors"))
    if VARIANT in names:
        media_types = rows.select(pl.col("media_type").unique().sort()).collect()["media_type"]
        for media_type in media_types:
            of_type = rows.filter(pl.col("media_type") == media_type).rename({VARIANT: "sha256"})
            parts.append(_stored_files(of_type, "files/{}" + extension_of(media_type)))
    return pl.concat(parts)


def _uploaded(rows: pl.LazyFrame, uploads: TableVersion, of: Pinnable) -> pl.DataFrame:
    """One file per content: its first upload."""
    hashes = rows.select(UPLOADED).filter(pl.col(UPLOADED).is_not_null()).unique()
    columns = ["day", "sha256", "size_bytes", "bucket", "key", "version_id", "media_type"]
    inside = pl.col("day").is_between(uploads.first_day, uploads.last_day)
    files = (
        of.lake.scan("raw_uploads", version=uploads.version)
        .filter(inside)
        .select(columns)
        .join(hashes, on=UPLOADED, how="right")
        .sort("day", "key", "version_id")
        .unique("sha256", keep="first", maintain_order=True)
        .collect(engine="streaming")
    )
    missing = files["key"].null_count()
    if missing:
        raise PinRefused(f"{missing:,} rows name photos that raw_uploads does not have: run `darkroom run`, then pin.")
    foreign = files.filter(pl.col("bucket") != of.uploads.bucket)
    if foreign.height:
        raise PinRefused(
            f"{foreign.height:,} photos lie in the bucket {foreign['bucket'][0]}, not in {of.uploads.bucket}: set "
            "DARKROOM_UPLOADS_URL to the bucket that they were read from."
        )
    kinds = files["media_type"].fill_null(UNKNOWN).unique()
    extensions = dict(zip(kinds, [extension_of(kind) for kind in kinds], strict=True))
    sha256 = pl.col("sha256")
    return files.select(
        path=pl.format(
            "files/{}/{}{}", sha256.str.head(2), sha256, pl.col("media_type").replace_strict(extensions, default="")
        ),
        sha256=sha256.str.decode("hex"),
        size_bytes="size_bytes",
        store=pl.lit("uploads"),
        key="key",
        version_id=pl.when(~pl.col("version_id").str.starts_with("etag-")).then("version_id"),
        offset=pl.lit(None, pl.Int64),
    ).match_to_schema(SCHEMA)


def _stored_files(rows: pl.LazyFrame, path: str) -> pl.DataFrame:
    """Files in Darkroom's own store, one per content. path: a pattern with {} for the hash.

    rows: sha256 and size_bytes; object_sha256 and object_offset too where one object may hold several contents.
    """
    if "object_sha256" not in rows.collect_schema().names():
        rows = rows.with_columns(object_sha256="sha256", object_offset=pl.lit(0, pl.Int64))
    rows = rows.with_columns(pl.coalesce("object_sha256", "sha256").alias("object_sha256"))
    columns = ("sha256", "size_bytes", "object_sha256", "object_offset")
    contents = rows.select(columns).sort(columns).unique("sha256", keep="first", maintain_order=True).collect()
    hexes, object_hashes = contents["sha256"], contents["object_sha256"]
    return contents.select(
        path=pl.Series([path.format(sha256) for sha256 in hexes], dtype=pl.String),
        sha256=hexes.str.decode("hex"),
        size_bytes="size_bytes",
        store=pl.lit("objects"),
        key=pl.Series([content_key(sha256) for sha256 in object_hashes], dtype=pl.String),
        version_id=pl.lit(None, pl.String),
        offset=pl.when(object_hashes != hexes).then("object_offset"),
    ).match_to_schema(SCHEMA)


def _models(rows: pl.LazyFrame) -> dict[str, str]:
    """The classifiers that made columns of these rows."""
    if "model_id" not in rows.collect_schema().names():
        return {}
    model_ids = rows.select(pl.col("model_id").unique().sort()).collect(engine="streaming")["model_id"]
    return {"classifier": ", ".join(model_ids)[:1000]}

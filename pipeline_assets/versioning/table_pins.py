"""Pinning a table: its days at one Delta version, all that they were computed from, and the files that its rows name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from pipeline_assets.errors import PinRefused
from pipeline_assets.execution import plan_days
from pipeline_assets.ingestion.media_types import UNKNOWN, extension_of
from pipeline_assets.table_asset import DECLARATIONS
from pipeline_assets.versioning.day_digests import newest
from pipeline_assets.versioning.manifest import SCHEMA, UPLOADED, VARIANT, WEIGHTS
from pipeline_assets.versioning.pins import NO_FILES, Label, reference
from pipeline_assets.versioning.reference import Reference, TableVersion
from resources.database import Database
from resources.lake import Lake
from resources.object_store import content_key
from resources.objects import Objects


@dataclass(frozen=True)
class Pinnable:
    """What pinning asks of, by the names of `resources.assembly`."""

    lake: Lake
    postgres: Database
    uploads: Objects
    objects: Objects


def pin_table(
    label: Label, asset: str, first: date | None, last: date | None, of: Pinnable, *, is_stale_allowed: bool = False
) -> Reference:
    """The reference of an asset's rows in these days (None: all it has), with its manifest kept in the store.

    Raises PinRefused for an unknown asset, for no days, and for days that are not current (unless allowed): what their
    rows were computed from is not there any more to be named. A run that writes meanwhile changes nothing of it.
    """
    if asset not in DECLARATIONS:
        raise PinRefused(f"{asset} is no asset: choose one of {', '.join(DECLARATIONS)}.")
    found = newest(of.lake, of.postgres, asset, first or date.min, last or date.max)
    days = found.days["day"].to_list()
    if not days:
        raise PinRefused(f"{asset} has no rows in these days: materialize it first (`darkroom run`), or choose others.")
    if not is_stale_allowed:
        _refuse_stale(asset, days, of)
    inputs = {
        name: newest(of.lake, of.postgres, name, *span) for name, span in _reached(asset, days).items() if name != asset
    }
    tables = {asset: found.table} | {name: read.table for name, read in inputs.items() if read.days.height}
    rows = of.lake.scan(asset, days, tables[asset].version)
    return reference(
        label,
        _files(asset, rows, tables, of),
        of.objects.store,
        {"lake": of.lake.url, "uploads": of.uploads.url, "objects": of.objects.url},
        asset,
        tables,
        _models(rows),
    )


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
    available = {"lake": of.lake, "postgres": of.postgres, "uploads": of.uploads, "objects": of.objects}
    if not available.keys() >= set(declaration.outside):
        return  # what comes from outside is not named by a reference, so it can't have changed since
    plan = plan_days(declaration, of.postgres, days, available)
    stale = plan.reasons
    if stale:
        day, reason = min(stale.items())
        raise PinRefused(
            f"{len(stale)} of {len(days)} days of {asset} are not current ({day}: {reason}). Run `darkroom run` first, so "
            "that the rows follow from what is pinned beside them; or pin them as they are with --allow-stale."
        )


def _reached(asset: str, days: Sequence[date]) -> dict[str, tuple[date, date]]:
    """The span of days of each asset that these days were computed from, itself included."""
    spans = {asset: (days[0], days[-1])}
    pending = [asset]
    while pending:
        name = pending.pop()
        first, last = spans[name]
        for upstream, window in DECLARATIONS[name].inputs.items():
            wanted = (next(iter(window.of(first))), list(window.of(last))[-1])
            known = spans.get(upstream, wanted)
            wider = (min(known[0], wanted[0]), max(known[1], wanted[1]))
            if spans.get(upstream) != wider:
                spans[upstream] = wider
                pending.append(upstream)
    return spans


def _files(asset: str, rows: pl.LazyFrame, tables: Mapping[str, TableVersion], of: Pinnable) -> pl.DataFrame:
    names = rows.collect_schema().names()
    found = [NO_FILES]
    of_uploads = "raw_uploads" in (asset, *DECLARATIONS[asset].inputs)  # elsewhere it is of other contents: staged shards
    if UPLOADED in names and of_uploads and "raw_uploads" in tables:
        found.append(_uploaded(rows, tables["raw_uploads"], of))
    if WEIGHTS in names:
        found.append(_kept(rows.select(sha256=WEIGHTS, size_bytes="weights_bytes"), "weights/{}.safetensors"))
    if VARIANT in names:
        media_types = rows.select(pl.col("media_type").unique().sort()).collect()["media_type"]
        for media_type in media_types:
            of_type = rows.filter(pl.col("media_type") == media_type).rename({VARIANT: "sha256"})
            found.append(_kept(of_type, "files/{}" + extension_of(media_type)))
    return pl.concat(found)


def _uploaded(rows: pl.LazyFrame, uploads: TableVersion, of: Pinnable) -> pl.DataFrame:
    """One file a content: the first of the uploads that had it."""
    wanted = rows.select(UPLOADED).filter(pl.col(UPLOADED).is_not_null()).unique()
    columns = ["day", "sha256", "size_bytes", "bucket", "key", "version_id", "media_type"]
    inside = pl.col("day").is_between(uploads.first_day, uploads.last_day)
    found = (
        of.lake.scan("raw_uploads", version=uploads.version)
        .filter(inside)
        .select(columns)
        .join(wanted, on=UPLOADED, how="right")
        .sort("day", "key", "version_id")
        .unique("sha256", keep="first", maintain_order=True)
        .collect(engine="streaming")
    )
    lost = found["key"].null_count()
    if lost:
        raise PinRefused(f"{lost:,} rows name photos that raw_uploads does not have: run `darkroom run`, then pin.")
    foreign = found.filter(pl.col("bucket") != of.uploads.bucket)
    if foreign.height:
        raise PinRefused(
            f"{foreign.height:,} photos lie in the bucket {foreign['bucket'][0]}, not in {of.uploads.bucket}: set "
            "DARKROOM_UPLOADS_URL to the bucket that they were read from."
        )
    kinds = found["media_type"].fill_null(UNKNOWN).unique()
    extensions = dict(zip(kinds, [extension_of(kind) for kind in kinds], strict=True))
    sha256 = pl.col("sha256")
    return found.select(
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


def _kept(rows: pl.LazyFrame, path: str) -> pl.DataFrame:
    """Files in Darkroom's own store, one a content. path: with {} for the hash.

    rows: sha256 and size_bytes; object_sha256 and object_offset, if contents may lie in objects of several.
    """
    if "object_sha256" not in rows.collect_schema().names():
        rows = rows.with_columns(object_sha256="sha256", object_offset=pl.lit(0, pl.Int64))
    rows = rows.with_columns(pl.coalesce("object_sha256", "sha256").alias("object_sha256"))
    columns = ("sha256", "size_bytes", "object_sha256", "object_offset")
    found = rows.select(columns).sort(columns).unique("sha256", keep="first", maintain_order=True).collect()
    hexes, kept = found["sha256"], found["object_sha256"]
    return found.select(
        path=pl.Series([path.format(sha256) for sha256 in hexes], dtype=pl.String),
        sha256=hexes.str.decode("hex"),
        size_bytes="size_bytes",
        store=pl.lit("objects"),
        key=pl.Series([content_key(sha256) for sha256 in kept], dtype=pl.String),
        version_id=pl.lit(None, pl.String),
        offset=pl.when(kept != hexes).then("object_offset"),
    ).match_to_schema(SCHEMA)


def _models(rows: pl.LazyFrame) -> dict[str, str]:
    """The classifiers that made columns of these rows."""
    if "model_id" not in rows.collect_schema().names():
        return {}
    found = rows.select(pl.col("model_id").unique().sort()).collect(engine="streaming")["model_id"]
    return {"classifier": ", ".join(found)[:1000]}

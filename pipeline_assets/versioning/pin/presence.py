"""Checks that the objects of a manifest's files exist: one HEAD request per object, no reads."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl

from pipeline_assets.runtime.cores import ahead
from resources.errors import CorruptObject, ObjectError
from resources.objects.store import ObjectStore

HEAD_REQUESTS = 16


def objects_of(files: pl.DataFrame) -> pl.DataFrame:
    """One row per object: store, key, version_id, one of its paths, number of files, their bytes, end of the last one."""
    return files.group_by("store", "key", "version_id", maintain_order=True).agg(
        pl.col("path").first(),
        files=pl.len(),
        bytes=pl.col("size_bytes").sum(),
        end=(pl.col("offset").fill_null(0) + pl.col("size_bytes")).max(),
        is_whole=pl.col("offset").is_null().any(),
    )


def check_presence(
    objects: pl.DataFrame, stores: Mapping[str, ObjectStore]
) -> Iterator[tuple[dict[str, Any], ObjectError | None]]:
    """Each row of `objects_of`, in order, with the error: the object is missing, or has another size; None if it is fine."""

    def check(row: dict[str, Any]) -> tuple[dict[str, Any], ObjectError | None]:
        try:
            size = stores[row["store"]].head(row["key"], version_id=row["version_id"]).size
        except ObjectError as error:
            return row, error
        if size < row["end"] or (row["is_whole"] and size != row["end"]):
            return row, CorruptObject(row["key"], f"{row['key']} has {size:,} bytes, where {row['end']:,} were pinned.")
        return row, None

    with ThreadPoolExecutor(HEAD_REQUESTS, "head") as pool:
        yield from ahead(pool, check, objects.iter_rows(named=True), 4 * HEAD_REQUESTS)

"""From the ledger's object versions to rows of `raw_uploads`: which bytes to read, and what each object's row says.

Reading itself is the caller's. Each object given here comes out as exactly one row. What is larger than a photo may be can
be sound or video, which are read from a file; the first bytes say so.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from pipeline_assets.errors import BadUpload
from pipeline_assets.ingestion.keys import UploadKey, parse_upload_key
from pipeline_assets.ingestion.media import sounds, videos
from pipeline_assets.ingestion.media.inspection import DEFAULT_LIMITS, Inspection, rejected_without_bytes
from pipeline_assets.ingestion.media.limited import Inspect
from pipeline_assets.ingestion.media.media_types import sniff
from pipeline_assets.ingestion.schemas import RawUploads
from pipeline_assets.runtime.cores import ahead

Listed = Mapping[str, Any]
"""An object version of the ledger: day, bucket, key, version_id, etag, size_bytes, last_modified."""

COLUMNS = [name for name in RawUploads.column_names() if name not in ("duplicate_of", "near_duplicate_of")]
SCHEMA = {name: dtype for name, dtype in RawUploads.create_empty().schema.items() if name in COLUMNS}
THREADS = 4
FRAME_ROWS = 5_000
TRIED_AGAIN = ("gone", "unreadable")
"""Verdicts that say nothing of the bytes: such objects are asked for again."""
LARGEST_BYTES = 4 * 2**30
"""Of sound and video."""


def without_reading(objects: Iterable[Listed]) -> tuple[list[Listed], list[dict[str, Any]]]:
    """Split object versions into those to read and the rows of those whose key or size says enough."""
    to_read, rows = [], []
    for item in objects:
        parsed = parse_upload_key(item["key"])
        if not isinstance(parsed, UploadKey):
            rows.append(_row(item, rejected_without_bytes("bad_key", parsed.detail)))
        elif item["size_bytes"] > LARGEST_BYTES:
            rows.append(too_large(item))
        else:
            to_read.append(item)
    return to_read, rows


def is_large(item: Listed) -> bool:
    """Whether it is larger than a photo may be: such objects are not held in memory."""
    return bool(item["size_bytes"] > DEFAULT_LIMITS.max_bytes)


def is_streamed(head: bytes) -> bool:
    """Whether an object that begins so may be large: sound and video may."""
    media_type = sniff(head)
    return media_type in sounds.DECODED or media_type in videos.DEMUXERS


def too_large(item: Listed) -> dict[str, Any]:
    """The row of an object above its limit."""
    limits = f"{DEFAULT_LIMITS.max_bytes:,} for photos, {LARGEST_BYTES:,} for sound and video"
    return _row(item, rejected_without_bytes("too_large", f"{item['size_bytes']:,} bytes; the limits are {limits}"))


def inspected(item: Listed, data: bytes | Path | BadUpload, inspect: Inspect) -> dict[str, Any]:
    """The row of one object (less duplicates), from its bytes, the file that holds them, or why they can't be had."""
    if isinstance(data, BadUpload):
        return _row(item, rejected_without_bytes(data.reason, data.detail))
    return _row(item, inspect(data, item["key"]))


def inspect_all(fetched: Iterable[tuple[Listed, bytes | BadUpload]], inspect: Inspect) -> Iterator[dict[str, Any]]:
    """Rows of `raw_uploads` (less duplicates) in order, inspected on threads a few ahead."""
    with ThreadPoolExecutor(THREADS) as pool:
        yield from ahead(pool, lambda item: inspected(*item, inspect), fetched, 2 * THREADS)


def frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as a frame with the columns of `RawUploads` that a single object decides."""
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def frames(rows: Iterable[Mapping[str, Any]]) -> Iterator[pl.DataFrame]:
    """Rows as frames of up to FRAME_ROWS: a row of a frame takes a tenth of what it takes as Python objects."""
    source = iter(rows)
    while some := list(islice(source, FRAME_ROWS)):
        yield frame(some)


def _row(item: Listed, inspection: Inspection) -> dict[str, Any]:
    parsed = parse_upload_key(item["key"])
    return {
        "day": item["day"],
        "bucket": item["bucket"],
        "key": item["key"],
        "version_id": item["version_id"],
        "user_id": parsed.user_id if isinstance(parsed, UploadKey) else None,
        "uploaded_at": item["last_modified"],
        "size_bytes": item["size_bytes"],
        **vars(inspection),
    }

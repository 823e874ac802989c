"""Annotations held against what they are of: a box lies on its photo, a segment in its recording, a span is its title's.

Pure functions of frames.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from pipeline_assets.errors import UnfitParent
from pipeline_assets.ingestion.schemas import Rejected
from pipeline_assets.labeling.schemas import Annotations
from pipeline_assets.variants import segments
from pipeline_assets.variants.photos import boxes
from pipeline_assets.variants.text import words

MAX_JSON_BYTES = 1 << 20
"""Labels of one item above this are kept aside, and not parsed."""
TOLERANCE_PX = 1.0
"""By how much a box may leave its photo: tools round."""
_FACTS = ("sha256", "version_id", "uploaded_at", "verdict", "media_type", "width_px", "height_px", "duration_s")


def judged(told: pl.DataFrame, raw_uploads: pl.LazyFrame, photo_metadata: pl.LazyFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of `Annotations` and of `Rejected`; each row of `told` is in one of them.

    told: day, key, target, labels_json, annotator, annotated_at, as the database has them; raw_uploads, photo_metadata: at
    least those days. An annotation is of the version of its upload that was the newest one then; of the first, if it is
    older than all of them.
    """
    kept, rejected = [], []
    for row in _with_contents(told, raw_uploads, photo_metadata).iter_rows(named=True):
        try:
            labels = _labels(row)
        except UnfitParent as unfit:
            rejected.append(_reject(row, unfit))
        else:
            kept.append({name: row[name] for name in ("day", "key", "target", "annotator", "annotated_at")} | labels)
    schemas = Annotations.create_empty().schema, Rejected.create_empty().schema
    return pl.DataFrame(kept, schema=schemas[0]), pl.DataFrame(rejected, schema=schemas[1])


def _with_contents(told: pl.DataFrame, raw_uploads: pl.LazyFrame, photo_metadata: pl.LazyFrame) -> pl.DataFrame:
    """Each annotation with what is known of its upload, and its photo's title."""
    is_later = (pl.col("uploaded_at") > pl.col("annotated_at")).fill_null(False)
    titles = photo_metadata.sort("photo_id").unique(["day", "key"], keep="first", maintain_order=True)
    after = pl.col("uploaded_at").dt.epoch("us") * pl.when(is_later).then(1).otherwise(-1)
    return (
        told.lazy()
        .join(raw_uploads.select("day", "key", *_FACTS), on=["day", "key"], how="left")
        .sort("day", "key", "target", is_later, after, "version_id")
        .unique(["day", "key", "target"], keep="first", maintain_order=True)
        .join(titles.select("day", "key", "title"), on=["day", "key"], how="left")
        .sort("day", "key", "target")
        .collect()
    )


def _labels(row: Mapping[str, Any]) -> dict[str, str]:
    """`sha256` and `labels_json` of an annotation. Raises UnfitParent with what is wrong with it."""
    labels = _parsed(row["labels_json"])
    if row["target"] == "title":
        if row["title"] is None:
            raise UnfitParent("no_such_photo", "photo_metadata has no photo of this key and day")
        words.of_labels(row["title"], labels)
        sha256 = hashlib.sha256(row["title"].encode()).hexdigest()
    else:
        if row["verdict"] is None:
            raise UnfitParent("no_such_upload", "raw_uploads has no object of this key and day")
        if row["verdict"] != "ok":
            raise UnfitParent("quarantined", f"the upload can't be used: {row['verdict']}")
        for wrong in _wrong(labels, row):
            raise UnfitParent("bad_labels", wrong)
        sha256 = row["sha256"]
    return {"sha256": sha256, "labels_json": json.dumps(labels, sort_keys=True, separators=(",", ":"), allow_nan=False)}


def _parsed(text: str) -> dict[str, Any]:
    if len(text) > MAX_JSON_BYTES:
        raise UnfitParent("too_large", f"{len(text):,} characters of JSON; at most {MAX_JSON_BYTES:,} are read")
    try:
        labels = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise UnfitParent("bad_labels", f"labels are no JSON: {str(error)[:200]}") from None
    if not isinstance(labels, dict):
        raise UnfitParent("bad_labels", 'labels are an object such as {"boxes": [...]}')
    return labels


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _wrong(labels: Mapping[str, Any], row: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the labels of an upload, in sentences. Raises UnfitParent for what are none."""
    width, height, duration = row["width_px"], row["height_px"], row["duration_s"]
    if labels.get("boxes"):
        if width is None:
            yield f"boxes on {row['media_type']}, which has no pixels"
            return
        for box in boxes.read(labels):
            if min(box.left, box.top, width - box.right, height - box.bottom) < -TOLERANCE_PX:
                place = f"from {box.left:g}, {box.top:g} to {box.right:g}, {box.bottom:g}"
                yield f"a box is {place}, on {width} x {height} pixels"
    if labels.get("segments"):
        if duration is None:
            yield f"segments of {row['media_type']}, which has no duration"
        else:
            segments.of_labels(labels, duration)


def _reject(row: Mapping[str, Any], unfit: UnfitParent) -> dict[str, Any]:
    source = row["key"] if row["target"] == "upload" else f"{row['key']} {row['target']}"
    told = {"reason": unfit.reason, "detail": unfit.detail, "raw": row["labels_json"][:2000]}
    return {"day": row["day"], "source": source, **told}

"""Validates annotations against their upload or title: boxes lie on the photo, segments in the recording, spans in text.

Pure functions of frames.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import polars as pl

from pipeline_assets.errors import UnfitParent
from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.labeling import label_json, marks
from pipeline_assets.labeling.schemas import Annotations

_FACTS = ("sha256", "version_id", "uploaded_at", "verdict", "media_type", "width_px", "height_px", "duration_s")


def judge(
    annotations: pl.DataFrame, raw_uploads: pl.LazyFrame, photo_metadata: pl.LazyFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of `Annotations` and of `Rejected`; each of `annotations` is in one of them, or in both.

    It is in both if some of its marks are invalid for its upload: the row has the others, and the reason lists these.

    annotations: day, key, target, labels_json, annotator, annotated_at; raw_uploads, photo_metadata: at least those days.
    An annotation belongs to the version of its upload that was the newest at `annotated_at`; to the first version if it is
    older than all.
    """
    accepted, rejected = [], []
    for row in _with_contents(annotations, raw_uploads, photo_metadata).iter_rows(named=True):
        try:
            labels, faults = _labels(row)
        except UnfitParent as unfit:
            rejected.append(_reject(row, unfit))
        else:
            rejected += [_reject(row, UnfitParent("bad_labels", marks.fault_text(faults)))] if faults else []
            accepted.append({name: row[name] for name in ("day", "key", "target", "annotator", "annotated_at")} | labels)
    schemas = Annotations.create_empty().schema, Rejected.create_empty().schema
    return pl.DataFrame(accepted, schema=schemas[0]), pl.DataFrame(rejected, schema=schemas[1])


def _with_contents(annotations: pl.DataFrame, raw_uploads: pl.LazyFrame, photo_metadata: pl.LazyFrame) -> pl.DataFrame:
    """Each annotation with the facts of its upload, and its photo's title."""
    is_later = (pl.col("uploaded_at") > pl.col("annotated_at")).fill_null(False)
    titles = photo_metadata.sort("photo_id").unique(["day", "key"], keep="first", maintain_order=True)
    distance = pl.col("uploaded_at").dt.epoch("us") * pl.when(is_later).then(1).otherwise(-1)
    return (
        annotations.lazy()
        .join(raw_uploads.select("day", "key", *_FACTS), on=["day", "key"], how="left")
        .sort("day", "key", "target", is_later, distance, "version_id")
        .unique(["day", "key", "target"], keep="first", maintain_order=True)
        .join(titles.select("day", "key", "title"), on=["day", "key"], how="left")
        .sort("day", "key", "target")
        .collect()
    )


def _labels(row: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """`sha256` and `labels_json` of an annotation, and the faults of marks that are left out.

    Raises UnfitParent if no mark is valid.
    """
    labels = label_json.parse(row["labels_json"])
    if row["target"] == "title":
        if row["title"] is None:
            raise UnfitParent("no_such_photo", "photo_metadata has no photo of this key and day")
        valid_labels, faults = marks.of_title(labels, row["title"])
        sha256 = hashlib.sha256(row["title"].encode()).hexdigest()
    else:
        if row["verdict"] is None:
            raise UnfitParent("no_such_upload", "raw_uploads has no object of this key and day")
        if row["verdict"] != "ok":
            raise UnfitParent("quarantined", f"the upload can't be used: {row['verdict']}")
        upload = marks.Upload(row["media_type"], row["width_px"], row["height_px"], row["duration_s"])
        valid_labels, faults = marks.of_upload(labels, upload)
        sha256 = row["sha256"]
    return {"sha256": sha256, "labels_json": label_json.dump(valid_labels)}, faults


def _reject(row: Mapping[str, Any], unfit: UnfitParent) -> dict[str, Any]:
    source = row["key"] if row["target"] == "upload" else f"{row['key']} {row['target']}"
    reason_fields = {"reason": unfit.reason, "detail": unfit.detail, "raw": row["labels_json"][:2000]}
    return {"day": row["day"], "source": source, **reason_fields}

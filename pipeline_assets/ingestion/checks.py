"""Checks of the ingestion tables: does every object have its row, and is too much of a day quarantined?"""

from datetime import date
from typing import Any

import polars as pl

from pipeline_assets.framework.declaration import DayCheck, RunOfDays, Verdict
from pipeline_assets.framework.partitions import DECLARED

MAX_SHARE = DECLARED.max_quarantined_share
"""Above this share of quarantined inputs a day's check warns (setting DARKROOM_MAX_QUARANTINED_SHARE)."""


def count_verdicts(rows: pl.DataFrame) -> dict[str, Any]:
    """Rows by verdict, and how many are quarantined or duplicates: shown with each day."""
    return {
        "quarantined": rows.filter(pl.col("verdict") != "ok").height,
        "verdicts": dict(rows.group_by("verdict").len().sort("verdict").iter_rows()),
        "duplicates": rows["duplicate_of"].is_not_null().sum(),
        "near_duplicates": rows["near_duplicate_of"].is_not_null().sum(),
    }


def _one_row_each(_day: date, rows: pl.DataFrame, _rejected: pl.DataFrame, _run: RunOfDays) -> Verdict:
    twice = rows.height - rows.select("bucket", "key", "version_id").n_unique()
    unread = rows.filter((pl.col("verdict") == "ok") & pl.col("sha256").is_null()).height
    return Verdict(
        not twice and not unread,
        f"{twice} object versions have two rows, {unread} are ok but were not read",
        {"rows": rows.height},
    )


def _keeps_versions(_day: date, rows: pl.DataFrame, _rejected: pl.DataFrame, _run: RunOfDays) -> Verdict:
    unversioned = rows.filter(pl.col("version_id").str.starts_with("etag-")).height
    return Verdict(
        not unversioned,
        f"{unversioned} uploads lie in a bucket without versioning: once overwritten they are lost, and training data that "
        "used them can't be got back. Switch it on: aws s3api put-bucket-versioning --bucket BUCKET "
        "--versioning-configuration Status=Enabled"
        if unversioned
        else "overwritten uploads can be got back",
        {"without_version": unversioned},
    )


def _quarantined_share(_day: date, rows: pl.DataFrame, _rejected: pl.DataFrame, _run: RunOfDays) -> Verdict:
    quarantined = rows.filter(pl.col("verdict") != "ok").height
    return _share(quarantined, rows.height, "uploads")


def _rejected_share(_day: date, rows: pl.DataFrame, rejected: pl.DataFrame, _run: RunOfDays) -> Verdict:
    return _share(rejected.height, rows.height + rejected.height, "lines")


def _share(count: int, of: int, noun: str) -> Verdict:
    share = count / of if of else 0.0
    return Verdict(
        share <= MAX_SHARE,
        f"{count} of {of} {noun} are quarantined ({share:.1%}; the threshold is {MAX_SHARE:.0%})",
        {"quarantined": count, "share": share, "threshold": MAX_SHARE},
    )


EVERY_OBJECT_HAS_ONE_ROW = DayCheck(
    "every_object_has_one_row",
    _one_row_each,
    "every listed object version is in exactly one row, ok or quarantined",
    blocking=True,
)
BUCKET_KEEPS_VERSIONS = DayCheck(
    "bucket_keeps_versions", _keeps_versions, "the bucket keeps what is overwritten, so that training data can be got back"
)
QUARANTINED_SHARE = DayCheck(
    "quarantined_share", _quarantined_share, "no more than the threshold of a day's uploads is quarantined"
)
REJECTED_SHARE = DayCheck("rejected_share", _rejected_share, "no more than the threshold of a day's lines is malformed")

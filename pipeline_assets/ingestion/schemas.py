"""Contracts of the ingestion tables. A row that fails one is quarantined with its reason, never dropped."""

from datetime import UTC, datetime

import dataframely as dy
import polars as pl

from pipeline_assets.ingestion.verdicts import VERDICTS

IS_PHOTO = (pl.col("verdict") == "ok") & pl.col("media_type").str.starts_with("image/")
"""Of rows of `RawUploads`: a photo that can be used. Sound and video are `ok` too."""

MOMENTS = (datetime(1970, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC))
"""From when on, and before when, photos are posted and users join: what lies outside is a placeholder or a slip."""

FEEDBACK_KINDS = ("report", "hide", "correct")
"""Events in which a user says something of a photo: `labeling/feedback` makes labels of them."""
EVENT_KINDS = ("login", "view", "like", "post", *FEEDBACK_KINDS)


class RawUploads(dy.Schema):
    """One uploaded object version, by day of its key. Every listed object is in exactly one row."""

    day = dy.Date(primary_key=True, description="UTC upload day, from the key; the arrival day where the key is bad")
    bucket = dy.String(primary_key=True)
    key = dy.String(primary_key=True, description="object key, as listed")
    version_id = dy.String(primary_key=True, description="S3 version id; `etag-...` where the bucket kept no versions")
    user_id = dy.Int64(nullable=True, description="owner, from the key")
    uploaded_at = dy.Datetime(time_zone="UTC", description="the store's last-modified")
    size_bytes = dy.Int64(min=0)
    sha256 = dy.String(nullable=True, regex="^[0-9a-f]{64}$", description="of the content; null if it was not read")
    media_type = dy.String(nullable=True, description="sniffed from the bytes, never from the name")
    duration_s = dy.Float64(nullable=True, min=0, description="of sound and video")
    width_px = dy.Int32(nullable=True, description="after EXIF orientation")
    height_px = dy.Int32(nullable=True, description="after EXIF orientation")
    mode = dy.String(nullable=True, description="colour mode as stored: RGB, L, CMYK, P, I;16 ...")
    orientation = dy.Int16(nullable=True, description="EXIF orientation, 1 to 8")
    taken_at = dy.Datetime(nullable=True, description="EXIF time, in the camera's unknown zone")
    latitude_deg = dy.Float64(nullable=True, description="EXIF GPS; personal: never leaves this table")
    longitude_deg = dy.Float64(nullable=True, description="EXIF GPS; personal: never leaves this table")
    camera = dy.String(nullable=True, description="EXIF make and model; personal: never leaves this table")
    phash = dy.String(nullable=True, regex="^[0-9a-f]{16}$", description="64-bit perceptual hash")
    duplicate_of = dy.String(nullable=True, description="key of the day's first object with the same bytes")
    near_duplicate_of = dy.String(nullable=True, description="key of the day's first object within 4 bits of phash")
    verdict = dy.String(check=lambda c: c.is_in(list(VERDICTS)), description="`ok`, or why it is quarantined")
    verdict_detail = dy.String(nullable=True, description="a sentence for a person")


class PhotoMetadata(dy.Schema):
    """One photo as the application's database knows it, by day of its upload."""

    day = dy.Date(primary_key=True)
    photo_id = dy.Int64(primary_key=True)
    user_id = dy.Int64()
    key = dy.String(description="object key of the upload")
    posted_at = dy.Datetime(time_zone="UTC")
    title = dy.String()
    location = dy.String(nullable=True, description="as the user typed it; not GPS")
    followers_at_post = dy.Int64(nullable=True, min=0, description="from details: followers when it was posted")
    user_joined_at = dy.Datetime(time_zone="UTC")
    details_json = dy.String(description="the rest of the JSONB details as canonical JSON, less keys that start with `_`")


class EventLog(dy.Schema):
    """One event of the service's logs, by day of the log file that it arrived in."""

    day = dy.Date(primary_key=True, description="day of the log file, the day it arrived")
    event_id = dy.String(primary_key=True)
    user_id = dy.Int64(description="who acted")
    photo_id = dy.Int64(nullable=True)
    kind = dy.String(check=lambda c: c.is_in(list(EVENT_KINDS)))
    at = dy.Datetime(time_zone="UTC", description="when it happened")
    arrived_at = dy.Datetime(time_zone="UTC", description="when the lake had it: nothing knew of it before")
    extra_json = dy.String(nullable=True, description="fields beyond the contract, carried as canonical JSON")

"""Photos as the application's database has them, judged one by one: each is a row of `PhotoMetadata` or is rejected.

What lives here: what a row must hold, and the reason of one that does not. What does not: how rows are read, which is in
photo_metadata.sql and its twin. Functions of frames.
"""

from dataclasses import dataclass

import polars as pl

from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.ingestion.schemas import MOMENTS, PhotoMetadata

COLUMNS = {
    "day": "bigint",
    "has_day": "bigint",
    "photo_id": "bigint",
    "photos_of_id": "bigint",
    "user_id": "bigint",
    "has_user": "bigint",
    "key": "text",
    "posted_us": "bigint",
    "title": "text",
    "location": "text",
    "followers": "text",
    "joined_us": "bigint",
    "joined_last_us": "bigint",
    "details_kind": "text",
    "details_json": "text",
}
"""What is read of a photo, by the database's types."""
MAX_CHARACTERS = 65_536
"""Of a key, a title or a location. The queries read one more."""
MAX_DETAILS_CHARACTERS = 1 << 20
_MAX_RAW_CHARACTERS = 2_000
_TYPES = {"bigint": pl.Int64(), "text": pl.String()}


@dataclass(frozen=True)
class Rule:
    """A reason to reject, the rows that it is one for, and what it tells a person. unless: a null counts as false."""

    reason: str
    applies: pl.Expr
    detail: str


def moment(microseconds: str) -> pl.Expr:
    """A column of microseconds since 1970 as a UTC time."""
    return pl.col(microseconds).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def is_no_moment(microseconds: str) -> pl.Expr:
    """Whether a column of microseconds since 1970 holds null, or a time outside of MOMENTS."""
    return ~moment(microseconds).is_between(*MOMENTS, closed="left").fill_null(False)


def judge(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of `PhotoMetadata` and of `Rejected`; each given row is in one of them. rows: COLUMNS."""
    rows = rows.select(pl.col(name).cast(_TYPES[kind]) for name, kind in COLUMNS.items()).with_columns(
        pl.col("day").cast(pl.Date)
    )
    first = pl.coalesce(pl.when(rule.applies.fill_null(False)).then(number) for number, rule in enumerate(RULES))
    ruled = rows.with_columns(rule=first)
    valid = ruled.filter(pl.col("rule").is_null()).select(
        *("day", "photo_id", "user_id", "key", "title", "location", "details_json"),
        posted_at=moment("posted_us"),
        followers_at_post=_followers,
        user_joined_at=moment("joined_us"),
    )
    return valid.select(PhotoMetadata.column_names()), _rejected(ruled.filter(pl.col("rule").is_not_null()))


def _rejected(ruled: pl.DataFrame) -> pl.DataFrame:
    names = dict(enumerate(RULES))
    return ruled.select(
        "day",
        source=pl.format("photo {}", pl.col("photo_id").cast(pl.String).fill_null("without an id")),
        reason=pl.col("rule").replace_strict({n: rule.reason for n, rule in names.items()}, return_dtype=pl.String),
        detail=pl.col("rule").replace_strict({n: rule.detail for n, rule in names.items()}, return_dtype=pl.String),
        raw=pl.struct(list(COLUMNS)).struct.json_encode().str.head(_MAX_RAW_CHARACTERS),
    ).select(Rejected.column_names())


def _is_no_text(name: str) -> pl.Expr:
    """Null, too long, or with the character NUL, which most formats and databases can't hold."""
    text = pl.col(name)
    return text.is_null() | (text.str.len_chars() > MAX_CHARACTERS) | text.str.contains("\0", literal=True)


_followers = pl.col("followers").cast(pl.Int64, strict=False)
_YEARS = f"{MOMENTS[0].year} to {MOMENTS[1].year - 1}"
_A_TEXT = f"of up to {MAX_CHARACTERS:,} characters without NUL"
_joined_after = moment("joined_us").dt.date() > pl.col("day")

RULES = (
    Rule("no_day", pl.col("has_day") == 0, "photos.day is null, infinite, or no date; this is the day of its posting"),
    Rule("bad_photo_id", ~(pl.col("photo_id") >= 0).fill_null(False), "photos.photo_id is no whole number from 0 on"),
    Rule("duplicate_photo_id", pl.col("photos_of_id") > 1, "photos has several rows of this photo_id"),
    Rule("bad_user_id", ~(pl.col("user_id") >= 0).fill_null(False), "photos.user_id is no whole number from 0 on"),
    Rule("no_user", pl.col("has_user") == 0, "users has no row of this user_id"),
    Rule(
        "user_is_ambiguous",
        pl.col("joined_us").ne_missing(pl.col("joined_last_us")),
        "users has several rows of this user_id, and their joined_at differ",
    ),
    Rule("bad_joined_at", is_no_moment("joined_us"), f"users.joined_at is null, or not in {_YEARS}"),
    Rule("joined_later", _joined_after, "the user joined after the photo's day"),
    Rule("bad_posted_at", is_no_moment("posted_us"), f"photos.posted_at is null, or not in {_YEARS}"),
    Rule("bad_key", _is_no_text("key") | (pl.col("key") == ""), f"photos.key is no text {_A_TEXT}, or is empty"),
    Rule("bad_title", _is_no_text("title"), f"photos.title is no text {_A_TEXT}"),
    Rule(
        "bad_location", pl.col("location").is_not_null() & _is_no_text("location"), f"photos.location is no text {_A_TEXT}"
    ),
    Rule(
        "bad_followers",
        pl.col("followers").is_not_null() & ~(_followers >= 0).fill_null(False),
        "followers in photos.details is a number below 0, or of 2^63 or more",
    ),
    Rule(
        "bad_details",
        (pl.col("details_kind") != "object")
        | pl.col("details_json").is_null()
        | (pl.col("details_json").str.len_chars() > MAX_DETAILS_CHARACTERS),
        f"photos.details is no JSON object of up to {MAX_DETAILS_CHARACTERS:,} characters",
    ),
)
"""In the order in which they are looked at: a row has the first reason that applies."""

"""The label: when it is known, and which views make it."""

from datetime import UTC, datetime, timedelta

import polars as pl
from polars.testing import assert_frame_equal

from pipeline_assets.training.labels import labels

DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
POSTED = datetime(2025, 3, 1, 12, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")
PHOTOS = pl.LazyFrame({"photo_id": [1, 2], "posted_at": [POSTED, POSTED]}, schema={"photo_id": pl.Int64, "posted_at": TIME})


def views(*rows: tuple[str, int | None, datetime, datetime], kind: str = "view") -> pl.LazyFrame:
    schema = {"event_id": pl.String, "photo_id": pl.Int64, "at": TIME, "arrived_at": TIME}
    return pl.LazyFrame(rows, schema=schema, orient="row").with_columns(user_id=pl.lit(9, pl.Int64), kind=pl.lit(kind))


def expected(views_7d: list[int | None], popularity: list[float | None]) -> pl.DataFrame:
    schema = {"photo_id": pl.Int64, "views_7d": pl.Int64, "popularity": pl.Float32}
    return pl.DataFrame({"photo_id": [1, 2], "views_7d": views_7d, "popularity": popularity}, schema=schema)


def labelled(events: pl.LazyFrame, observed_until: datetime) -> pl.DataFrame:
    return (
        labels(PHOTOS.with_columns(observed_until=pl.lit(observed_until)), events)
        .sort("photo_id")
        .collect(engine="streaming")
    )


def test_a_label_is_null_until_seven_whole_days_are_observed():
    seen = views(("a", 1, POSTED, POSTED))
    assert_frame_equal(labelled(seen, POSTED + 7 * DAY - MICROSECOND), expected([None, None], [None, None]))
    assert_frame_equal(labelled(seen, POSTED + 7 * DAY), expected([1, 0], [0.19264508, 0.0]))


def test_views_count_from_the_posting_until_before_the_end_of_the_seventh_day():
    end = POSTED + 7 * DAY
    seen = views(
        ("too early", 1, POSTED - MICROSECOND, POSTED),
        ("first", 1, POSTED, POSTED),
        *((f"v{n}", 1, POSTED + n * DAY, POSTED + n * DAY) for n in range(1, 6)),
        ("last", 1, end - MICROSECOND, end),
        ("too late", 1, end, end),
        ("no photo", None, POSTED, POSTED),
        ("unknown photo", 77, POSTED, POSTED),
    )
    assert_frame_equal(labelled(seen, end + DAY), expected([7, 0], [1.0, 0.0]))


def test_only_views_count_and_each_once_however_often_it_was_delivered():
    seen = views(("a", 2, POSTED, POSTED), ("a", 2, POSTED, POSTED), ("a", 2, POSTED, POSTED + 9 * DAY))
    likes = views(("b", 2, POSTED, POSTED), kind="like")
    assert_frame_equal(labelled(pl.concat([seen, likes]), POSTED + 20 * DAY), expected([0, 1], [0.0, 0.19264508]))


def test_a_late_view_counts_once_it_has_arrived():
    late = views(("a", 1, POSTED + DAY, POSTED + 8 * DAY - MICROSECOND))
    assert labelled(late, POSTED + 8 * DAY - MICROSECOND)["views_7d"].to_list() == [0, 0]
    assert labelled(late, POSTED + 8 * DAY)["views_7d"].to_list() == [1, 0]


def test_a_label_is_final_one_day_after_maturity():
    too_late = views(("a", 1, POSTED + DAY, POSTED + 8 * DAY))
    assert labelled(too_late, POSTED + 30 * DAY)["views_7d"].to_list() == [0, 0]

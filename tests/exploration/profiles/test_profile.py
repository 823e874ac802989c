"""Profiles of tables: hand-worked ones, odd ones, and the same whatever the batches."""

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
from polars.testing import assert_frame_equal

from pipeline_assets.exploration.profiles.columns import Column
from pipeline_assets.exploration.profiles.profile import profiles
from pipeline_assets.exploration.profiles.schemas import TableProfiles

DAY, NEXT = date(2026, 2, 1), date(2026, 2, 2)
DIGESTS = {DAY: "one", NEXT: "two"}
COLUMNS = [
    Column("width", pl.Int32(), "number"),
    Column("share", pl.Float32(), "number"),
    Column("kind", pl.String(), "category"),
    Column("is_new", pl.Boolean(), "category"),
    Column("title", pl.String(), "text"),
    Column("at", pl.Datetime("us", "UTC"), "time"),
    Column("tags", pl.List(pl.String()), "list"),
    Column("embedding", pl.List(pl.Float32()), "embedding"),
    Column("user_id", pl.Int64(), "identifier"),
    Column("latitude", pl.Float64(), "private"),
]
SCHEMA = {"day": pl.Date, **{column.name: column.dtype for column in COLUMNS}}


def frame(*rows: tuple[object, ...]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def row(number: int, day: date = DAY, **changes: object) -> tuple[object, ...]:
    values = {
        "day": day,
        "width": number,
        "share": number / 8,
        "kind": "ab"[number % 2],
        "is_new": number == 0,
        "title": "x" * number,
        "at": datetime(day.year, day.month, day.day, number, tzinfo=UTC),
        "tags": ["t"] * number,
        "embedding": [1.0, float(number)],
        "user_id": number % 3,
        "latitude": 50.0 + number,
    }
    return tuple((values | changes).values())


def of(profiled: pl.DataFrame, column: str, day: date = DAY) -> dict[str, object]:
    return profiled.filter(column=column, day=day).row(0, named=True)


def test_a_profile_worked_by_hand() -> None:
    rows = frame(*(row(number) for number in range(8)), row(3, NEXT, width=None, kind=None))
    profiled = profiles(rows.lazy(), "photos", COLUMNS, DIGESTS)
    TableProfiles.validate(profiled)
    width = of(profiled, "width")
    assert (width["rows"], width["nulls"], width["distinct"], width["is_distinct_exact"]) == (8, 0, 8, True)
    assert (width["minimum"], width["maximum"], width["mean"], width["std"]) == (0.0, 7.0, 3.5, 2.449489743)
    assert width["bin_low"] == width["bin_high"] == [float(number) for number in range(8)]
    assert of(profiled, "width", NEXT)["nulls"] == 1
    assert of(profiled, "width", NEXT)["mean"] is None
    assert of(profiled, "width", NEXT)["quantiles"] == []
    assert (of(profiled, "kind")["values"], of(profiled, "kind")["value_rows"]) == (["a", "b"], [4, 4])
    assert (of(profiled, "is_new")["values"], of(profiled, "is_new")["value_rows"]) == (["false", "true"], [7, 1])
    assert (of(profiled, "title")["values"], of(profiled, "title")["maximum"]) == ([], 7.0)
    assert (of(profiled, "at")["minimum"], of(profiled, "at")["maximum"]) == (0.0, 7 * 3600.0)
    assert of(profiled, "tags")["mean"] == 3.5
    assert of(profiled, "embedding")["minimum"] == 1.0
    assert len(of(profiled, "embedding")["moments"]) == 64 + 64 * 65 // 2
    assert (of(profiled, "user_id")["distinct"], of(profiled, "user_id")["mean"]) == (3, None)
    assert (of(profiled, "latitude")["rows"], of(profiled, "latitude")["distinct"]) == (8, None)


def test_batches_and_days_that_are_read_together_change_nothing() -> None:
    generator = np.random.default_rng(0)
    rows = frame(*(row(int(number), (DAY, NEXT)[index % 2]) for index, number in enumerate(generator.integers(0, 24, 300))))
    whole = profiles(rows.lazy(), "photos", COLUMNS, DIGESTS)
    shuffled = profiles(rows.sample(fraction=1, shuffle=True, seed=1).lazy(), "photos", COLUMNS, DIGESTS, batch_rows=7)
    alone = [
        profiles(rows.filter(day=day).lazy(), "photos", COLUMNS, {day: digest}, batch_rows=50)
        for day, digest in DIGESTS.items()
    ]
    assert_frame_equal(whole.drop("moments"), shuffled.drop("moments"))
    assert_frame_equal(whole.drop("moments"), pl.concat(alone).drop("moments"))
    for one, other in zip(whole["moments"], shuffled["moments"], strict=True):
        assert np.allclose(one, other, atol=1e-6)


def test_numbers_that_are_none_are_counted_and_set_aside() -> None:
    rows = frame(*(row(1, share=share) for share in (float("nan"), float("inf"), -float("inf"), 0.5, None)))
    share = of(profiles(rows.lazy(), "photos", COLUMNS, {DAY: "one"}), "share")
    assert (share["rows"], share["nulls"], share["not_finite"]) == (5, 1, 3)
    assert share["minimum"] == share["maximum"] == share["mean"] == 0.5
    assert share["std"] is None


def test_embeddings_that_are_no_direction_are_counted_and_set_aside() -> None:
    vectors = [[1.0, 2.0], [3.0, 1.0], [0.0, 0.0], [float("nan"), 1.0], [1.0], [], None]
    rows = frame(*(row(1, embedding=vector) for vector in vectors))
    embedding = of(profiles(rows.lazy(), "photos", COLUMNS, {DAY: "one"}), "embedding")
    assert (embedding["nulls"], embedding["not_finite"]) == (1, 4)
    assert embedding["bin_rows"] == [1, 1]
    nothing = of(profiles(rows[5:].lazy(), "photos", COLUMNS, {DAY: "one"}), "embedding")
    assert (nothing["not_finite"], nothing["moments"]) == (1, [])


def test_of_embeddings_of_two_lengths_the_more_frequent_ones_count_whatever_comes_first() -> None:
    rows = frame(*(row(1, embedding=vector) for vector in ([1.0], [1.0, 2.0], [2.0, 3.0])))
    for batch_rows in (1, 3):
        embedding = of(profiles(rows.lazy(), "photos", COLUMNS, {DAY: "one"}, batch_rows), "embedding")
        assert (embedding["not_finite"], embedding["bin_rows"]) == (1, [1, 1])


def test_a_day_without_rows_has_its_columns_with_none() -> None:
    profiled = profiles(frame().lazy(), "photos", COLUMNS, {DAY: "one"})
    TableProfiles.validate(profiled)
    assert profiled["rows"].to_list() == [0] * len(COLUMNS)
    assert profiles(frame().lazy(), "photos", COLUMNS, {}).is_empty()


def test_a_column_that_the_table_has_not_got_yet_is_null() -> None:
    rows = frame(row(1), row(2)).drop("share", "embedding")
    profiled = profiles(rows.lazy(), "photos", COLUMNS, {DAY: "one"})
    assert (of(profiled, "share")["rows"], of(profiled, "share")["nulls"]) == (2, 2)
    assert of(profiled, "embedding")["nulls"] == 2


def test_a_column_of_another_type_than_before_is_profiled_as_what_it_is() -> None:
    rows = frame(row(1), row(2)).with_columns(pl.col("width").cast(pl.Float64) + 0.5)
    assert of(profiles(rows.lazy(), "photos", COLUMNS, {DAY: "one"}), "width")["maximum"] == 2.5


def test_a_category_of_very_many_values_keeps_the_most_frequent_and_counts_all() -> None:
    rows = pl.DataFrame({"day": [DAY] * 3001, "kind": [*(f"{number:05}" for number in range(3000)), "00002"]})
    kind = of(profiles(rows.lazy(), "photos", [Column("kind", pl.String(), "category")], {DAY: "one"}), "kind")
    assert (kind["distinct"], kind["is_distinct_exact"]) == (3000, True)
    assert len(kind["values"]) == 1000
    assert kind["values"][:2] == ["00002", "00000"]


def test_what_people_wrote_is_in_no_profile() -> None:
    written = "<script>Ann, 52.5 N</script>"
    rows = frame(*(row(number, title=written, tags=[written], user_id=987_654_321, latitude=52.524) for number in range(5)))
    text = profiles(rows.lazy(), "photos", COLUMNS, {DAY: "one"}).write_json()
    assert "Ann" not in text
    assert "987654321" not in text
    assert "52.524" not in text

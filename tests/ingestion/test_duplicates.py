"""Exact and near duplicates of a day: a hand-worked table, and a slow obviously right reference."""

from datetime import UTC, date, datetime, timedelta
from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline_assets.ingestion.duplicates import MAX_NAMED_IN_BUCKET, mark_duplicates

DAY = date(2026, 1, 2)
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
HASH = 0xF0F0_A5A5_3C3C_9696
SCHEMA = {
    "day": pl.Date,
    "key": pl.String,
    "version_id": pl.String,
    "uploaded_at": pl.Datetime("us", "UTC"),
    "sha256": pl.String,
    "phash": pl.String,
    "verdict": pl.String,
}


def rows(*found: tuple[str, int, str | None, int | None, str], day: date = DAY) -> pl.DataFrame:
    """A frame of (key, minute, content, phash, verdict)."""
    return pl.DataFrame(
        [
            (
                day,
                key,
                "",
                NOON + timedelta(minutes=minute),
                content and content.rjust(64, "0"),
                None if phash is None else f"{phash:016x}",
                verdict,
            )
            for key, minute, content, phash, verdict in found
        ],
        schema=SCHEMA,
        orient="row",
    )


def marks(frame: pl.DataFrame) -> dict[str, tuple[str | None, str | None]]:
    marked = mark_duplicates(frame)
    return {key: (same, near) for key, same, near in marked.select("key", "duplicate_of", "near_duplicate_of").rows()}


def test_a_hand_worked_day() -> None:
    frame = rows(
        ("late", 9, "a", HASH, "ok"),
        ("first", 0, "a", HASH, "ok"),
        ("near4", 1, "b", HASH ^ 0b1111, "ok"),
        ("near5", 2, "c", HASH ^ (0b11111 << 30), "ok"),
        ("of-near", 3, "d", HASH ^ 0b11_1111, "ok"),
        ("bad", 4, "e", None, "truncated"),
        ("bad-again", 5, "e", None, "truncated"),
        ("unread", 6, None, None, "gone"),
        ("unread-too", 7, None, None, "gone"),
    )

    expected = frame.with_columns(
        duplicate_of=pl.Series(["first", None, None, None, None, None, "bad", None, None], dtype=pl.String),
        near_duplicate_of=pl.Series([None, None, "first", None, "near4", None, None, None, None], dtype=pl.String),
    )
    assert_frame_equal(mark_duplicates(frame), expected)


def test_ties_in_time_go_by_key() -> None:
    assert marks(rows(("b", 0, "a", HASH, "ok"), ("a", 0, "a", HASH, "ok"))) == {"b": ("a", None), "a": (None, None)}


def test_a_quarantined_copy_never_hides_a_good_one() -> None:
    frame = rows(("cat.png", 0, "a", None, "wrong_extension"), ("cat.jpg", 1, "a", HASH, "ok"))

    assert marks(frame) == {"cat.png": ("cat.jpg", None), "cat.jpg": (None, None)}


def test_days_do_not_see_each_other() -> None:
    frame = pl.concat([rows(("x", 0, "a", HASH, "ok")), rows(("y", 0, "a", HASH, "ok"), day=date(2026, 1, 3))])

    assert marks(frame) == {"x": (None, None), "y": (None, None)}


def test_flat_pictures_are_not_near_to_each_other() -> None:
    frame = rows(("red", 0, "a", 0x8000_0000_0000_0000, "ok"), ("blue", 1, "b", 0x8000_0000_0000_0000, "ok"))

    assert marks(frame) == {"red": (None, None), "blue": (None, None)}


def test_marks_that_are_there_already_are_made_anew() -> None:
    frame = rows(("a", 0, "a", HASH, "ok"), ("b", 1, "a", HASH, "ok"))

    once = mark_duplicates(frame)

    assert_frame_equal(mark_duplicates(once.with_columns(near_duplicate_of=pl.lit("stale"))), once)


def test_an_empty_day_stays_empty() -> None:
    assert mark_duplicates(rows()).columns == [*SCHEMA, "duplicate_of", "near_duplicate_of"]


def test_many_photos_of_one_hash_name_the_first() -> None:
    frame = rows(*((f"k{i:05}", i, f"{i:x}", HASH, "ok") for i in range(20_000)))

    marked = mark_duplicates(frame)

    assert marked["near_duplicate_of"].to_list() == [None] + ["k00000"] * 19_999


def test_a_bucket_of_many_hashes_is_bounded_and_misses_none_of_its_first() -> None:
    """All differ in the last 12 bits alone: they share the bands of the rest, and each has the first four bits' 15 near."""
    frame = rows(*((f"k{i:05}", i, f"{i:x}", HASH ^ i, "ok") for i in range(4_096)))

    near = mark_duplicates(frame)["near_duplicate_of"]

    for i in range(1, 4_096):
        earliest = min(j for j in range(MAX_NAMED_IN_BUCKET) if (i ^ j).bit_count() <= 4)
        assert near[i] == f"k{earliest:05}"


def test_a_large_day_misses_no_pair() -> None:
    random = Random(5)
    hashes = [random.getrandbits(64) for _ in range(1_500)]
    for at in range(1_000, 1_500):
        flipped = random.sample(range(64), random.randint(0, 6))
        hashes[at] = hashes[at - 1_000] ^ sum(1 << bit for bit in flipped)
    frame = rows(*((f"k{i:05}", i, f"{i:x}", phash, "ok") for i, phash in enumerate(hashes)))

    expected = slow_near(frame)

    assert sum(near is not None for near in expected.values()) > 300
    assert {key: near for key, (_, near) in marks(frame).items()} == expected


def slow_near(frame: pl.DataFrame) -> dict[str, str | None]:
    """Every pair, one after the other; all contents differ and all rows are ok."""
    ordered = frame.sort("uploaded_at", "key").rows(named=True)
    found: dict[str, str | None] = {}
    for at, row in enumerate(ordered):
        near = [
            earlier["key"]
            for earlier in ordered[:at]
            if (int(earlier["phash"], 16) ^ int(row["phash"], 16)).bit_count() <= 4
        ]
        found[row["key"]] = near[0] if near else None
    return found


flips = st.lists(st.integers(0, 63), max_size=7).map(lambda bits: sum({1 << bit for bit in bits}))


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), flips), max_size=25), st.randoms(use_true_random=False))
def test_near_duplicates_are_those_of_all_pairs_whatever_the_order(found: list[tuple[int, int]], random: Random) -> None:
    listed = [(f"k{i}", minute, f"{i:x}", HASH ^ flip, "ok") for i, (minute, flip) in enumerate(found)]
    frame = rows(*listed)
    random.shuffle(listed)

    expected = slow_near(frame)

    assert {key: near for key, (_, near) in marks(frame).items()} == expected
    assert {key: near for key, (_, near) in marks(rows(*listed)).items()} == expected

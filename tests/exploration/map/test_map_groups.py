"""Groups of duplicates over all days, and what the commands make of them."""

from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.exploration.map import search
from pipeline_assets.exploration.map.groups import groups
from pipeline_assets.versioning.pin.condition import condition

PAIRS = {"left": pl.String, "right": pl.String}
FAR = "0f0f0f0f0f0f0f0f"


def uploads(*rows: tuple[str, str | None]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"sha256": pl.String, "phash": pl.String}, orient="row")


def alike(*pairs: tuple[str, str]) -> pl.DataFrame:
    return pl.DataFrame(pairs, schema=PAIRS, orient="row")


def test_equal_bytes_near_hashes_and_embeddings_with_hashes_alike_join_a_group_named_by_its_smallest():
    found = groups(
        uploads(
            ("c", "00000000ffffffff"),
            ("b", "00000000fffffffe"),
            ("a", "00ff0000ffffff00"),
            ("0", FAR),
            ("d", None),
            ("d", None),
            ("e", "123456789abcdef0"),
            ("f", "0000000000000000"),
            ("g", "0000000000000000"),
        ),
        alike(("c", "a"), ("c", "0"), ("a", "d")),
    )
    assert dict(found.rows()) == {"a": "a", "b": "a", "c": "a", "d": "d"}


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_photos_and_pairs_does_not_count(pairs, random):
    names = [f"{number:064x}" for number in range(9)]
    there = [(name, FAR[:8] + f"{0xFFFF << 2 * number:08x}") for number, name in enumerate(names)]
    found = groups(uploads(*there), alike(*((names[a], names[b]) for a, b in pairs)))
    random.shuffle(there)
    random.shuffle(pairs)
    again = groups(uploads(*there), alike(*((names[b], names[a]) for a, b in pairs)))
    assert sorted(found.rows()) == sorted(again.rows())


NIGHT = pl.DataFrame(
    [
        ("k'1", 3, date(2026, 1, 2), "aa", "aa"),
        ("k2", 1, date(2026, 1, 1), "aa", "aa"),
        ("k3", None, date(2026, 1, 3), "bb", "aa"),
        ("k4", 4, date(2026, 1, 3), "cc", None),
    ],
    schema={
        "key": pl.String,
        "photo_id": pl.Int64,
        "upload_day": pl.Date,
        "sha256": pl.String,
        "duplicate_group": pl.String,
    },
    orient="row",
)


def test_the_first_of_a_group_is_kept_and_conditions_leave_out_the_others():
    found = search.duplicate_groups(NIGHT)
    assert found.select("duplicate_group", "photos", "contents", "keep").rows() == [("aa", 3, 2, "k2")]
    kept = {
        column: NIGHT.filter(condition(NIGHT.lazy(), search.without_duplicates(found, column), NIGHT.columns))[
            "key"
        ].to_list()
        for column in ("photo_id", "key", "sha256")
    }
    assert kept == {"photo_id": ["k2", "k4"], "key": ["k2", "k4"], "sha256": ["k'1", "k2", "k4"]}
    none = search.duplicate_groups(NIGHT.clear())
    assert NIGHT.filter(condition(NIGHT.lazy(), search.without_duplicates(none, "key"), NIGHT.columns)).height == 4


def test_a_photo_is_named_by_its_key_its_id_or_the_beginning_of_its_content():
    photos = NIGHT.with_columns(sha256=pl.Series(["ab" * 32, "ab" * 32, "ac" * 32, "12345678" * 8]))
    assert search.named(photos, "k3").height == 1
    assert search.named(photos, "3")["key"].to_list() == ["k'1"]
    assert search.named(photos, "ABABAB")["key"].to_list() == ["k'1", "k2"]
    assert search.named(photos, "123456")["key"].to_list() == ["k4"]
    assert search.named(photos, "abab")["key"].to_list() == []
    assert search.named(photos, "a").is_empty()
    assert search.named(photos, "9" * 30).is_empty()

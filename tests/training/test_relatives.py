"""Which photos have relatives in another split: by their bytes and by their looks, on one day and over days."""

from datetime import date, timedelta

import polars as pl
import pytest

from pipeline_assets.ingestion.schemas import RawUploads
from pipeline_assets.training.relatives import leaking_photos, source_texts
from pipeline_assets.training.split import split_of

D0, LATER = date(2026, 2, 1), date(2026, 3, 1)
LOOKS, ALIKE, OTHER = "f0f0f0f00f0f0f0f", "f0f0f0f00f0f0f0e", "00ff00ff00ff00ff"


def user_of(name: str) -> int:
    users = pl.DataFrame({"user_id": range(1, 200)}).with_columns(split=split_of(pl.col("user_id")))
    return users.filter(split=name)["user_id"][0]


def uploads(*rows: tuple[date, str, str, str]) -> pl.LazyFrame:
    """day, content, looks, split of the owner."""
    return pl.LazyFrame(
        [
            dict.fromkeys(RawUploads.column_names())
            | {"day": day, "key": f"k{n}", "version_id": "v", "user_id": user_of(split), "sha256": content * 64}
            | {"phash": looks, "verdict": "ok", "media_type": "image/png"}
            for n, (day, content, looks, split) in enumerate(rows)
        ],
        schema=RawUploads.create_empty().schema,
    )


@pytest.mark.parametrize("day", [D0, LATER])
@pytest.mark.parametrize(("content", "looks"), [("a", OTHER), ("b", LOOKS), ("b", ALIKE)])
def test_the_same_bytes_and_the_same_looks_in_another_split_tear_a_family(day, content, looks):
    frame = uploads((D0, "a", LOOKS, "train"), (D0, "c", "0f0f0f0ff0f0f0f0", "train"), (day, content, looks, "test"))
    assert ("a" * 64) in leaking_photos(frame, [D0]).filter(day=D0)["sha256"].to_list()
    assert leaking_photos(frame, [D0])["sha256"].unique().sort().to_list() == sorted(
        {"a" * 64, *([content * 64] * (day == D0))}
    )


def test_a_family_in_one_split_is_whole():
    frame = uploads((D0, "a", LOOKS, "train"), (D0, "b", ALIKE, "train"), (LATER, "c", "0f0f0f0ff0f0f0f0", "test"))
    assert leaking_photos(frame, [D0, LATER]).is_empty()


def test_days_are_judged_alike_in_a_range_and_alone():
    frame = uploads((D0, "a", LOOKS, "train"), (LATER, "a", LOOKS, "test"), (LATER + timedelta(days=1), "d", OTHER, "train"))
    days = [D0, LATER, LATER + timedelta(days=1)]
    alone = pl.concat([leaking_photos(frame, [day]) for day in days])
    assert leaking_photos(frame, days).rows() == alone.rows()
    assert [bool(text) for text in source_texts(alone, days).values()] == [True, True, False]

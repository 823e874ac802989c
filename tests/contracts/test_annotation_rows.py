"""Annotations as PostgreSQL and SQLite have them: each odd row is rejected with its own reason, and its neighbours go on."""

from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import pytest

from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.ingestion.schemas import PhotoMetadata, RawUploads
from pipeline_assets.labeling import annotation_rows, annotations
from pipeline_assets.labeling.assets import ANNOTATIONS_SQL, _changed
from resources.database.contract import Database
from resources.database.postgres import Postgres

DAY = date(2026, 2, 1)
NOON = "2026-02-01T12:00:00.000000Z"
ROW = {
    "key": "good",
    "target": "upload",
    "day": "2026-02-01",
    "labels": '{"mood": "calm"}',
    "annotator": "ann",
    "annotated_at": NOON,
}
ODD = [
    ({"key": None}, "bad_key"),
    ({"key": ""}, "bad_key"),
    ({"target": None}, "bad_target"),
    ({"target": "owner"}, "bad_target"),
    ({"day": None}, "no_day"),
    ({"labels": None}, "bad_labels"),
    ({"labels": "null"}, "bad_labels"),
    ({"labels": "[]"}, "bad_labels"),
    ({"labels": '"text"'}, "bad_labels"),
    ({"labels": '{"boxes": [], "score": 1e999}'}, "bad_labels"),
    ({"labels": '{"boxes": [{"x": 1e999, "y": 0, "width": 1, "height": 1}]}'}, "bad_labels"),
    ({"labels": '{"score": ' + "9" * 400 + "}"}, "bad_labels"),
    ({"labels": '{"score": ' + "9" * 9000 + "}"}, "bad_labels"),
    ({"labels": '{"deep": ' + "[" * 500 + "]" * 500 + "}"}, "bad_labels"),
    ({"labels": '{"a": "' + "x" * 1_100_000 + '"}'}, "too_large"),
    ({"annotator": "a" * 70_000}, "bad_annotator"),
    ({"annotated_at": None}, "bad_annotated_at"),
    ({"annotated_at": "0001-01-01T00:00:00Z"}, "bad_annotated_at"),
]
ODD_OF_POSTGRES = [
    ({"day": "infinity"}, "no_day"),
    ({"annotated_at": "infinity"}, "bad_annotated_at"),
    ({"annotated_at": "294276-12-31T23:59:59Z"}, "bad_annotated_at"),
]
ODD_OF_SQLITE = [
    ({"day": "soon"}, "no_day"),
    ({"day": "2026-02-30"}, "no_day"),
    ({"labels": "{"}, "bad_labels"),
    ({"labels": b"\xff"}, "bad_labels"),
    ({"labels": 7}, "bad_labels"),
    ({"labels": '{"a": NaN}'}, "bad_labels"),
    ({"annotator": b"\xff"}, "bad_annotator"),
    ({"annotated_at": "soon"}, "bad_annotated_at"),
    ({"annotated_at": 7}, "bad_annotated_at"),
    ({"key": b"\xff"}, "bad_key"),
]


@pytest.fixture
def app(database: Database) -> Database:
    """The table as a view of the application's own may be: without a key, checks and not-nulls."""
    database.execute("drop table annotations")
    database.execute(
        "create table annotations (key text, target text, day date, labels jsonb, annotator text, annotated_at timestamptz)"
    )
    insert(database, ROW)
    return database


def insert(database: Database, *rows: dict[str, Any]) -> None:
    for row in rows:
        database.execute(
            f"insert into annotations ({', '.join(row)}) values ({', '.join(['%s'] * len(row))})",  # noqa: S608
            list(row.values()),
        )


def uploads(*keys: str) -> pl.LazyFrame:
    at = datetime(2026, 2, 1, tzinfo=UTC)
    facts = {"sha256": "a" * 64, "version_id": "v", "uploaded_at": at, "verdict": "ok", "media_type": "image/png"}
    rows = [{"day": DAY, "key": key, "width_px": 9, "height_px": 9} | facts for key in keys]
    return pl.concat([RawUploads.create_empty(), pl.DataFrame(rows)], how="diagonal_relaxed").lazy()


def judged(database: Database) -> tuple[pl.DataFrame, pl.DataFrame]:
    found = database.read(ANNOTATIONS_SQL, (DAY, DAY))
    told, odd = annotation_rows.judge(found)
    keys = found["key"].drop_nulls().to_list()
    rows, rejected = annotations.judge(told, uploads(*dict.fromkeys(keys)), PhotoMetadata.create_empty().lazy())
    assert rows.height + rejected.height + odd.height == found.height
    return rows, Rejected.validate(pl.concat([odd, rejected]))


@pytest.mark.slow
def test_each_odd_annotation_is_rejected_with_its_own_reason_and_its_neighbours_go_on(app: Database) -> None:
    odd = ODD + (ODD_OF_POSTGRES if isinstance(app, Postgres) else ODD_OF_SQLITE)
    insert(app, *(ROW | {"key": f"odd {n}"} | changes for n, (changes, _) in enumerate(odd)))
    insert(app, ROW | {"key": "nobody's", "annotator": None})
    rows, rejected = judged(app)
    assert sorted(rows["key"]) == ["good", "nobody's"]
    reasons = dict(rejected.select("source", "reason").iter_rows())
    for n, (changes, reason) in enumerate(odd):
        if "key" not in changes:
            assert reasons[f"odd {n}"] == reason, str(changes)[:100]
    assert sorted(rejected["reason"]) == sorted(reason for _, reason in odd)
    assert (rejected["raw"].str.len_chars() <= 2000).all()


def test_of_several_annotations_of_one_thing_the_newest_counts_and_the_others_are_told(app: Database) -> None:
    insert(app, ROW | {"annotated_at": "2026-02-01T12:00:01Z", "labels": '{"mood": "wild"}'}, ROW | {"labels": "{}"})
    rows, rejected = judged(app)
    assert rows["labels_json"].to_list() == ['{"mood":"wild"}']
    assert rejected["reason"].to_list() == ["not_the_newest"] * 2


@pytest.mark.parametrize(
    ("odd", "reason"),
    [({"annotated_at": "9999-12-31T00:00:00Z"}, "bad_annotated_at"), ({"annotator": "a" * 70_000}, "bad_annotator")],
)
def test_a_row_that_is_odd_in_itself_is_not_the_newest_of_its_thing(app: Database, odd: dict[str, str], reason: str) -> None:
    insert(app, ROW | {"annotated_at": "2026-02-01T12:00:01Z", "labels": '{"mood": "wild"}'} | odd)
    rows, rejected = judged(app)
    assert rows["labels_json"].to_list() == ['{"mood":"calm"}']
    assert rejected["reason"].to_list() == [reason]


def test_a_digest_of_annotations_is_the_same_in_every_session(postgres_url: str) -> None:
    database = Postgres(url=postgres_url)
    database.migrate()
    insert(database, ROW)
    before = _changed([DAY], database)
    name = urlsplit(postgres_url).path[1:]
    for setting in ("timezone = 'Asia/Tokyo'", "datestyle = 'German'"):
        database.execute(f'alter database "{name}" set {setting}')
    assert _changed([DAY], database) == before
    database.execute("update annotations set annotator = 'b'")
    assert _changed([DAY], database) != before

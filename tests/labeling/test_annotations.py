"""Annotations held against what they are of: the right ones are rows, the others are kept aside with their reason."""

import hashlib
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from pipeline_assets.ingestion.schemas import PhotoMetadata, RawUploads
from pipeline_assets.labeling import annotations
from pipeline_assets.labeling.label_json import MAX_CHARACTERS
from pipeline_assets.labeling.schemas import Annotations

DAY = date(2026, 3, 1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = "uploads/2026-03-01/7/a.jpg"
BOX = {"x": 10, "y": 20, "width": 30, "height": 40, "label": "cat"}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def upload(key: str = KEY, content: str = "first", hours: float = 0, **facts: Any) -> dict[str, Any]:
    photo = {"media_type": "image/jpeg", "width_px": 100, "height_px": 80, "duration_s": None, "verdict": "ok"}
    at = NOON + timedelta(hours=hours)
    return {"day": DAY, "key": key, "sha256": sha256(content), "version_id": content, "uploaded_at": at} | photo | facts


def uploads(*rows: dict[str, Any]) -> pl.LazyFrame:
    return pl.LazyFrame(list(rows), schema_overrides={"duration_s": pl.Float64, "width_px": pl.Int32}, orient="row")


def metadata(title: str = "Quiet harbour") -> pl.LazyFrame:
    return pl.LazyFrame({"day": [DAY], "photo_id": [1], "key": [KEY], "title": [title]})


def told(labels: Any, target: str = "upload", key: str = KEY, hours: float = 1, day: date = DAY) -> dict[str, Any]:
    text = labels if isinstance(labels, str) else json.dumps(labels)
    at = NOON + timedelta(hours=hours)
    return {"day": day, "key": key, "target": target, "labels_json": text, "annotator": "ann", "annotated_at": at}


def judge(*rows: dict[str, Any], of: pl.LazyFrame | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    kept, rejected = annotations.judge(pl.DataFrame(list(rows)), uploads(upload()) if of is None else of, metadata())
    assert kept.height + rejected.height == len(rows)
    return Annotations.validate(kept), rejected


def reason(*rows: dict[str, Any], of: pl.LazyFrame | None = None) -> tuple[str, str]:
    kept, rejected = judge(*rows, of=of)
    assert kept.is_empty()
    return rejected["reason"][0], rejected["detail"][0]


def test_a_box_on_its_photo_is_a_row_of_its_content() -> None:
    kept, _ = judge(told({"boxes": [BOX], "mood": "calm"}))
    row = kept.row(0, named=True)
    assert (row["sha256"], row["annotator"]) == (sha256("first"), "ann")
    assert json.loads(row["labels_json"]) == {"boxes": [BOX], "mood": "calm"}
    assert row["labels_json"] == json.dumps({"boxes": [BOX], "mood": "calm"}, sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize(
    ("labels", "word"),
    [
        ({"boxes": [BOX | {"x": 75}]}, "100 x 80"),
        ({"boxes": [BOX | {"y": -2}]}, "100 x 80"),
        ({"boxes": [BOX | {"width": 0}]}, "no area"),
        ({"boxes": [{"x": 1}]}, "needs numbers"),
        ({"boxes": "all"}, "a list"),
        ({"segments": [{"start_s": 0, "end_s": 1}]}, "no duration"),
        ([BOX], "an object"),
        ('{"boxes": [', "no JSON"),
        ('{"score": NaN}', "no JSON"),
        ("[" * 100_000, "nested"),
        ('{"boxes": [], "score": 1e999}', "not finite"),
        ('{"score": ' + "9" * 400 + "}", "digits"),
        ({"boxes": [BOX | {"x": 10**400}]}, "digits"),
        ('{"boxes": [{"x": 1e999, "y": 1, "width": 1, "height": 1}]}', "not finite"),
        ({"boxes": [BOX | {"x": True}]}, "needs numbers"),
        ({"boxes": [BOX | {"x": "10"}]}, "needs numbers"),
        ({"boxes": [None]}, "needs numbers"),
        ({"boxes": {"x": 1}}, "a list"),
        ({"boxes": 0}, "a list"),
        ({"boxes": ""}, "a list"),
        ({"segments": 0}, "a list"),
        ({"segments": [{"start_s": 10**400, "end_s": 1}]}, "digits"),
        ({"deep": [[[[1]]] * 2] * 2, "a": [BOX, {"b": "\0"}]}, "NUL"),
    ],
)
def test_labels_that_are_not_the_photos_are_kept_aside_and_hurt_no_others(labels: Any, word: str) -> None:
    kept, rejected = judge(
        told(labels, key="uploads/2026-03-01/7/b.jpg"),
        told({"boxes": [BOX]}),
        of=uploads(upload(), upload("uploads/2026-03-01/7/b.jpg")),
    )
    assert kept["key"].to_list() == [KEY]
    row = rejected.row(0, named=True)
    assert (row["source"], row["reason"]) == ("uploads/2026-03-01/7/b.jpg", "bad_labels")
    assert word in row["detail"]


MASK = {"polygons": [[10, 20, 40, 20, 40, 60]], "label": "cat"}
SEGMENT = {"start_s": 0.5, "end_s": 1.5}
SPAN = {"start": 6, "end": 13, "label": "subject", "text": "harbour"}


@pytest.mark.parametrize(
    ("name", "right", "wrong", "target", "facts"),
    [
        ("boxes", BOX, BOX | {"x": 75}, "upload", {}),
        ("boxes", BOX, BOX | {"width": -5}, "upload", {}),
        ("boxes", BOX, None, "upload", {}),
        ("masks", MASK, {"polygons": [[10, 20, 140, 20, 40, 60]]}, "upload", {}),
        ("masks", MASK, {"polygons": [[10, 20, 40, 20]]}, "upload", {}),
        ("segments", SEGMENT, SEGMENT | {"end_s": 2.5}, "upload", {"duration_s": 2.0}),
        ("segments", SEGMENT, "all", "upload", {"duration_s": 2.0}),
        ("spans", SPAN, SPAN | {"start": 5}, "title", {}),
    ],
)
def test_a_mark_that_can_not_be_there_costs_no_other_and_is_listed(
    name: str, right: Any, wrong: Any, target: str, facts: dict[str, Any]
) -> None:
    labels = {name: [right, wrong, right], "mood": "calm"}
    kept, rejected = annotations.judge(pl.DataFrame([told(labels, target)]), uploads(upload(**facts)), metadata())
    assert json.loads(kept["labels_json"][0]) == {name: [right, right], "mood": "calm"}
    assert rejected["reason"].to_list() == ["bad_labels"]
    assert rejected["detail"][0].startswith(f"{name}[1]: ")
    assert reason(told({name: [wrong], "mood": "calm"}, target), of=uploads(upload(**facts)))[0] == "bad_labels"


def test_marks_of_one_kind_stay_where_those_of_another_can_not_be_there() -> None:
    kept, rejected = annotations.judge(
        pl.DataFrame([told({"boxes": [BOX], "masks": [BOX] * 99})]), uploads(upload()), metadata()
    )
    assert json.loads(kept["labels_json"][0]) == {"boxes": [BOX], "masks": []}
    assert rejected["detail"][0].endswith("; and 79 more")
    clip = uploads(upload(media_type="video/mp4", duration_s=2.0))
    assert "are of photos" in reason(told({"masks": [MASK]}), of=clip)[1]


def test_a_box_that_leaves_by_a_rounding_stays() -> None:
    kept, _ = judge(told({"boxes": [BOX | {"x": 70.9}]}))
    assert kept.height == 1


def test_what_is_of_no_usable_upload_is_kept_aside() -> None:
    assert reason(told({}, key="uploads/2026-03-01/7/z.jpg"))[0] == "no_such_upload"
    assert reason(told({}, day=DAY + timedelta(days=1)))[0] == "no_such_upload"
    assert reason(told({}), of=uploads(upload(verdict="truncated"))) == (
        "quarantined",
        "the upload can't be used: truncated",
    )
    assert reason(told({}, "title", key="uploads/2026-03-01/7/z.jpg"))[0] == "no_such_photo"
    assert reason(told('{"a": "' + "x" * MAX_CHARACTERS + '"}'))[0] == "too_large"


def test_segments_end_before_their_recording_does() -> None:
    sound = uploads(upload(media_type="audio/wav", width_px=None, height_px=None, duration_s=2.0))
    kept, _ = judge(told({"segments": [{"start_s": 0.5, "end_s": 2.0, "text": "ah"}]}), of=sound)
    assert kept.height == 1
    assert reason(told({"segments": [{"start_s": 0.5, "end_s": 2.5}]}), of=sound)[0] == "bad_labels"
    assert reason(told({"segments": ["all"]}), of=sound)[0] == "bad_labels"
    assert "no pixels" in reason(told({"boxes": [BOX]}), of=sound)[1]


def test_spans_are_what_the_title_has_there() -> None:
    span = {"start": 6, "end": 13, "label": "subject", "text": "harbour"}
    kept, _ = judge(told({"spans": [span]}, "title"))
    assert kept["sha256"].to_list() == [sha256("Quiet harbour")]
    assert reason(told({"spans": [span | {"start": 5}]}, "title"))[0] == "bad_labels"
    assert reason(told({"spans": "harbour"}, "title"))[0] == "bad_labels"


def test_labels_are_of_the_version_that_was_there_when_they_were_made() -> None:
    versions = uploads(upload(content="first"), upload(content="second", hours=2), upload(content="third", hours=4))
    for hours, content in ((-1, "first"), (1, "first"), (3, "second"), (9, "third")):
        assert judge(told({}, hours=hours), of=versions)[0]["sha256"].to_list() == [sha256(content)]


def test_the_columns_that_it_reads_are_those_of_the_tables() -> None:
    kept, rejected = annotations.judge(
        pl.DataFrame([told({})]), RawUploads.create_empty().lazy(), PhotoMetadata.create_empty().lazy()
    )
    assert (kept.height, rejected["reason"].to_list()) == (0, ["no_such_upload"])

"""Consensuses become labels beside those of the application, each with where it is from."""

import hashlib
import json
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from pipeline_assets.ingestion.schemas import PhotoMetadata, RawUploads
from pipeline_assets.labeling.campaigns import promotion
from pipeline_assets.labeling.schemas import Annotations, LabelConsensus

DAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LATER = datetime(2026, 3, 4, 12, tzinfo=UTC)
BOX = {"x": 10, "y": 20, "width": 30, "height": 40, "label": "cat"}


def uploads(content: str = "a") -> pl.LazyFrame:
    row = dict.fromkeys(RawUploads.column_names())
    row |= {"day": DAY, "bucket": "uploads", "key": "k", "version_id": "1", "uploaded_at": NOON, "size_bytes": 9}
    row |= {"sha256": content * 64, "media_type": "image/jpeg", "width_px": 100, "height_px": 80, "verdict": "ok"}
    return pl.LazyFrame([row], schema=RawUploads.create_empty().schema)


def metadata(title: str = "My cat") -> pl.LazyFrame:
    row = dict.fromkeys(PhotoMetadata.column_names())
    row |= {"day": DAY, "photo_id": 1, "user_id": 1, "key": "k", "posted_at": NOON, "title": title}
    return pl.LazyFrame([row], schema=PhotoMetadata.create_empty().schema)


def consensus(kind: str, answer: Any, campaign: str = "pets", **more: Any) -> dict[str, Any]:
    row = dict.fromkeys(LabelConsensus.column_names())
    row |= {"day": DAY, "task_key": "f" * 64, "campaign": campaign, "version": 1, "key": "k", "target": "upload"}
    row |= {"sha256": "a" * 64, "kind": kind, "answer_json": json.dumps(answer), "confidence": 0.95, "method": "one-coin"}
    row |= {"votes": 3, "fell_back": False, "needs_adjudication": False, "answered_at": LATER, "arrived_at": LATER}
    return row | {"is_promoted": True} | more


def own(labels: Any, content: str = "a") -> pl.DataFrame:
    row = dict.fromkeys(Annotations.column_names())
    row |= {"day": DAY, "key": "k", "target": "upload", "sha256": content * 64, "labels_json": json.dumps(labels)}
    return pl.DataFrame([row | {"annotator": "ann", "annotated_at": NOON}], schema=Annotations.create_empty().schema)


def labels_of(*rows: dict[str, Any], of: pl.DataFrame | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    promoted, unusable = promotion.promoted(pl.LazyFrame(list(rows), schema=LabelConsensus.create_empty().schema))
    fitting, unfit = promotion.fitting(promoted, uploads(), metadata())
    merged, contradicting = promotion.merged(Annotations.create_empty() if of is None else of, fitting)
    return Annotations.validate(merged), pl.concat([unusable, unfit, contradicting])


def test_a_class_is_a_label_by_its_campaign_with_its_provenance() -> None:
    rows, rejected = labels_of(consensus("class", {"choice": "cat"}))
    row = rows.row(0, named=True)
    assert json.loads(row["labels_json"]) == {"classes": {"pets": "cat"}}
    assert (row["annotator"], row["annotated_at"], row["sha256"]) == (None, LATER, "a" * 64)
    [one] = json.loads(row["provenance_json"])
    assert one == {"campaign": "pets", "version": 1, "method": "one-coin", "votes": 3, "adjudicator": None}
    assert rejected.is_empty()


def test_campaigns_add_to_what_the_application_has() -> None:
    rows, rejected = labels_of(
        consensus("class", {"choice": "cat"}),
        consensus("boxes", {"boxes": [BOX]}, "boxes"),
        consensus("boxes", {"boxes": [BOX | {"label": "dog"}]}, "more-boxes"),
        of=own({"mood": "calm"}),
    )
    row = rows.row(0, named=True)
    labels = json.loads(row["labels_json"])
    assert labels["classes"] == {"pets": "cat"}
    assert labels["mood"] == "calm"
    assert row["annotator"] == "ann"
    assert rejected["reason"].to_list() == []
    assert [box["label"] for box in labels["boxes"]] == ["cat", "dog"]
    assert [one["campaign"] for one in json.loads(row["provenance_json"])] == ["boxes", "more-boxes", "pets"]


def test_the_applications_marks_come_first() -> None:
    rows, rejected = labels_of(consensus("boxes", {"boxes": [BOX]}), of=own({"boxes": [BOX | {"x": 1}]}))
    assert json.loads(rows["labels_json"][0])["boxes"][0]["x"] == 1
    assert rejected.select("reason", "source").rows() == [("application_decides", "k upload campaigns/pets.yaml")]


def test_an_empty_answer_of_marks_is_a_label_too() -> None:
    rows, _ = labels_of(consensus("boxes", {"boxes": []}))
    assert json.loads(rows["labels_json"][0]) == {"boxes": []}


def test_the_newest_version_of_a_question_is_promoted_and_what_is_not_sure_is_not() -> None:
    rows, _ = labels_of(
        consensus("class", {"choice": "cat"}),
        consensus("class", {"choice": "dog"}, version=2, task_key="e" * 64),
        consensus("class", {"choice": "cow"}, version=3, task_key="d" * 64, is_promoted=False),
    )
    assert json.loads(rows["labels_json"][0]) == {"classes": {"pets": "dog"}}


def test_another_content_under_the_key_gets_no_label_of_the_first() -> None:
    rows, rejected = labels_of(consensus("class", {"choice": "cat"}, sha256="b" * 64))
    assert rows.is_empty()
    assert rejected["reason"].to_list() == ["other_content"]
    rows, rejected = labels_of(consensus("class", {"choice": "cat"}), of=own({"mood": "calm"}, "b"))
    assert json.loads(rows["labels_json"][0]) == {"mood": "calm"}
    assert rejected["reason"].to_list() == ["other_content"]


def test_a_mark_off_its_photo_is_left_out() -> None:
    rows, rejected = labels_of(consensus("boxes", {"boxes": [BOX, BOX | {"x": 500}]}))
    assert json.loads(rows["labels_json"][0]) == {"boxes": [BOX]}
    assert rejected["reason"].to_list() == ["bad_labels"]


def test_a_turned_box_and_runs_of_pixels_become_polygons() -> None:
    turned = {"x": 50, "y": 10, "width": 20, "height": 10, "rotation": 90, "label": "cat"}
    rows, _ = labels_of(consensus("boxes", {"boxes": [BOX, turned]}))
    labels = json.loads(rows["labels_json"][0])
    assert labels["boxes"] == [BOX]
    assert labels["masks"] == [{"label": "cat", "polygons": [[50, 10, 50, 30, 40, 30, 40, 10]]}]
    mask = {"rle": {"size": [80, 100], "counts": [0, 2, 7998]}, "label": "cat"}
    rows, _ = labels_of(consensus("masks", {"masks": [mask]}))
    [found] = json.loads(rows["labels_json"][0])["masks"]
    assert found["label"] == "cat"
    [polygon] = found["polygons"]
    assert sorted(zip(polygon[::2], polygon[1::2], strict=True)) == [(0, 0), (0, 2), (1, 0), (1, 2)]


@pytest.mark.parametrize("kind", ["points", "segments"])
def test_other_marks_keep_their_form(kind: str) -> None:
    mark = {"points": {"x": 5, "y": 6, "label": "nose"}, "segments": {"start_s": 0, "end_s": 1, "label": "word"}}[kind]
    rows, rejected = labels_of(consensus(kind, {kind: [mark]}))
    if kind == "points":
        assert json.loads(rows["labels_json"][0]) == {"points": [mark]}
    else:  # a photo has no duration
        assert rejected["reason"].to_list() == ["bad_labels"]


def test_spans_are_of_the_title_that_was_asked_about() -> None:
    span = {"start": 3, "end": 6, "label": "pet", "text": "cat"}
    title = hashlib.sha256(b"My cat").hexdigest()
    rows, _ = labels_of(consensus("spans", {"spans": [span]}, target="title", sha256=title))
    assert json.loads(rows["labels_json"][0]) == {"spans": [span]}


def rle(size: list[int], counts: list[int]) -> dict[str, Any]:
    return {"masks": [{"label": "cat", "rle": {"size": size, "counts": counts}}]}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (rle([70_000, 1], [0, 70_000]), "bad_labels"),
        (rle([2_001, 2_001], [1, 1] * 50_000 + [2_001 * 2_001 - 100_000]), "too_large"),
    ],
)
def test_a_mask_that_no_label_can_hold_is_set_aside_and_its_neighbour_is_not(answer: Any, reason: str) -> None:
    rows, rejected = labels_of(consensus("masks", answer), consensus("class", {"choice": "cat"}, "other"))
    assert json.loads(rows["labels_json"][0]) == {"classes": {"other": "cat"}}
    assert rejected.select("reason", "source").rows() == [(reason, "k upload campaigns/pets.yaml")]


@pytest.mark.parametrize("flip", [1, -1])
def test_of_two_contents_of_a_key_the_one_that_it_has_is_labelled_in_any_order(flip: int) -> None:
    both = (
        consensus("class", {"choice": "cat"}, task_key="1" * 64),
        consensus("class", {"choice": "dog"}, task_key="2" * 64, sha256="b" * 64, version=2),
    )
    rows, rejected = labels_of(*both[::flip])
    assert json.loads(rows["labels_json"][0]) == {"classes": {"pets": "cat"}}
    assert rejected["reason"].to_list() == ["other_content"]


@pytest.mark.parametrize("flip", [1, -1])
def test_of_two_answers_of_one_version_the_newest_is_the_label_in_any_order(flip: int) -> None:
    both = (
        consensus("class", {"choice": "cat"}, task_key="2" * 64),
        consensus("class", {"choice": "dog"}, task_key="1" * 64, answered_at=datetime(2026, 3, 5, tzinfo=UTC)),
    )
    rows, _ = labels_of(*both[::flip])
    assert json.loads(rows["labels_json"][0]) == {"classes": {"pets": "dog"}}

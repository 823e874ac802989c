"""Which questions a campaign asks about which items."""

from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from pipeline_assets.classify.schemas import PhotoClasses
from pipeline_assets.errors import BadCampaign
from pipeline_assets.ingestion.schemas import PhotoMetadata, RawUploads
from pipeline_assets.labeling.campaigns import tasks
from pipeline_assets.labeling.campaigns.campaign import parse
from pipeline_assets.labeling.schemas import LabelTasks

DAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SHARP = "question: Is it sharp?\nkind: class\nclasses: [sharp, blurred]\n"


def upload(key: str, content: str = "a", **more: Any) -> dict[str, Any]:
    row = dict.fromkeys(RawUploads.column_names())
    row |= {"day": DAY, "bucket": "uploads", "key": key, "version_id": "1", "uploaded_at": NOON, "size_bytes": 9}
    return row | {"sha256": content * 64, "media_type": "image/jpeg", "width_px": 8, "height_px": 6, "verdict": "ok"} | more


def asked(text: str, *uploads: dict[str, Any], titles: dict[str, str] | None = None, classes: Any = ()) -> pl.DataFrame:
    metadata = [
        dict.fromkeys(PhotoMetadata.column_names())
        | {"day": DAY, "photo_id": number, "user_id": 1, "key": key, "posted_at": NOON, "title": title}
        for number, (key, title) in enumerate((titles or {}).items())
    ]
    models = [
        {"day": DAY, "sha256": content * 64, "model_id": "m", "top5_label": labels, "top5_probability": probabilities}
        for content, labels, probabilities in classes
    ]
    rows, faults = tasks.tasks(
        [parse(text, "sharp")],
        pl.LazyFrame(list(uploads), schema=RawUploads.create_empty().schema),
        pl.LazyFrame(metadata, schema=PhotoMetadata.create_empty().schema),
        pl.LazyFrame(models, schema=PhotoClasses.create_empty().schema),
    )
    if faults:
        raise BadCampaign(faults["sharp.yaml"])
    return LabelTasks.validate(rows)


def test_equal_contents_are_asked_once_and_quarantined_ones_never() -> None:
    rows = asked(
        SHARP,
        upload("k2", "a"),
        upload("k1", "a"),
        upload("k3", "b"),
        upload("k4", "c", verdict="not_an_image"),
        upload("k5", "d", media_type="video/mp4", duration_s=1.0),
    )
    assert sorted(rows["key"]) == ["k1", "k3"]
    assert set(rows["task_key"]) == {tasks.task_key("sharp", 1, "upload", content * 64) for content in "ab"}


def test_of_two_versions_of_a_key_the_newest_is_asked() -> None:
    later = upload("k1", "b", version_id="2", uploaded_at=datetime(2026, 3, 2, 13, tzinfo=UTC))
    assert asked(SHARP, upload("k1", "a"), later)["sha256"].to_list() == ["b" * 64]


def test_another_version_of_the_question_is_another_task() -> None:
    first, second = asked(SHARP, upload("k1")), asked(SHARP + "version: 2\n", upload("k1"))
    assert first["task_key"][0] != second["task_key"][0]


def test_titles_are_asked_by_their_text() -> None:
    text = "question: q\nkind: class\nclasses: [a, b]\ntarget: title\n"
    rows = asked(text, upload("k1", "a"), upload("k2", "b"), upload("k3", "c"), titles={"k1": "Sea", "k2": "Sea"})
    assert rows["title"].to_list() == ["Sea"]
    assert rows["sha256"][0] != "a" * 64


def test_conditions_choose_items_and_slices() -> None:
    text = (
        SHARP + 'where: "width_px > 5 and key like \'k%\'"\nslices: {cats: "title like \'%cat%\'", wide: "width_px > 7"}\n'
    )
    rows = asked(
        text,
        upload("k1", "a"),
        upload("k2", "b"),
        upload("k3", "c", width_px=6),
        upload("k4", "d", width_px=1),
        upload("other", "e"),
        titles={"k1": "My cat"},
    )
    assert dict(rows.select("key", "slice").iter_rows()) == {"k1": "cats", "k2": "wide", "k3": None}


@pytest.mark.parametrize("condition", ["width_px >", "width", "nothing > 1", "1", "width_px", "key = 1"])
def test_a_condition_that_is_none_says_so(condition: str) -> None:
    with pytest.raises(BadCampaign, match=r"campaigns/sharp\.yaml.*is no condition"):
        asked(SHARP + f"where: {condition!r}\n", upload("k1"))


def test_a_gold_answer_is_in_its_row_and_first() -> None:
    rows = asked(SHARP + "gold: [{key: k1, answer: {choice: sharp}}]\n", upload("k1"), upload("k2", "b"))
    golden = rows.filter("is_gold").row(0, named=True)
    assert (golden["key"], golden["gold_json"], golden["priority"], golden["reason"]) == (
        "k1",
        '{"choice":"sharp"}',
        1.0,
        "gold",
    )


def test_predictions_are_of_the_campaigns_classes_and_doubt_comes_first() -> None:
    text = SHARP + "random_share: 0.000001\npredictions: {sharp: [tabby, tiger cat], blurred: [fog]}\n"
    rows = asked(
        text,
        upload("k1", "a"),
        upload("k2", "b"),
        upload("k3", "c"),
        classes=[("a", ["tabby", "fog", "tiger cat"], [0.5, 0.2, 0.25]), ("b", ["car", "fog"], [0.9, 0.1])],
    )
    by_key = {row["key"]: row for row in rows.iter_rows(named=True)}
    assert by_key["k1"]["prediction_json"] == '{"choice":"sharp"}'
    assert by_key["k1"]["prediction_probability"] == pytest.approx(0.75)
    assert by_key["k2"]["priority"] == pytest.approx(0.9)
    assert (by_key["k3"]["reason"], by_key["k3"]["prediction_model"]) == ("new", None)


def test_a_random_share_is_chosen_by_the_task_itself() -> None:
    uploads = [upload(f"k{number}", sha256=f"{number:064x}") for number in range(2_000)]
    everything, half = asked(SHARP + "random_share: 0.3\n", *uploads), asked(SHARP + "random_share: 0.3\n", *uploads[:1_000])
    assert 0.25 < (everything["reason"] == "random").mean() < 0.35
    both = half.join(everything, on="task_key")
    assert (both["reason"] == both["reason_right"]).all()


def test_earlier_days_are_not_asked() -> None:
    assert asked(SHARP + "first_day: 2026-03-03\n", upload("k1")).is_empty()


def test_no_campaign_has_no_tasks() -> None:
    rows, faults = tasks.tasks([], pl.LazyFrame(), pl.LazyFrame(), pl.LazyFrame())
    assert LabelTasks.validate(rows).is_empty()
    assert not faults


def test_a_faulty_campaign_is_set_aside_for_each_day_and_the_others_ask() -> None:
    uploads = pl.LazyFrame([upload("k1")], schema=RawUploads.create_empty().schema)
    nothing = PhotoMetadata.create_empty().lazy(), PhotoClasses.create_empty().lazy()
    campaigns = [parse(SHARP + "where: nothing > 1\n", "bad"), parse(SHARP, "sharp")]
    rows, faults = tasks.tasks(campaigns, uploads, *nothing)
    assert rows["campaign"].to_list() == ["sharp"]
    rejected = tasks.rejected(faults, [DAY])
    assert rejected.select("day", "source", "reason").rows() == [(DAY, "campaigns/bad.yaml", "bad_campaign")]


def test_gold_keys_are_patterns_with_stars() -> None:
    rows = asked(SHARP + "gold: [{key: 'u/*/g?.jpg', answer: {choice: sharp}}]\n", *map(upload, ["u/1/g1.jpg"], "a"))
    assert rows["is_gold"].to_list() == [True]
    assert not asked(SHARP + "gold: [{key: 'u/*/g?.jpg', answer: {choice: sharp}}]\n", upload("u/1/g12.jpg"))["is_gold"][0]


def test_a_probability_is_at_most_one_however_its_parts_are_rounded() -> None:
    classes = [("a", ["x", "y", "z", "w", "v"], [1.0, 3e-8, 2e-8, 1e-8, 1e-8])]
    rows = asked(SHARP + "predictions: {sharp: [x, y, z, w, v]}\n", upload("k1"), classes=classes)
    assert rows["prediction_probability"].to_list() == [1.0]


def test_a_content_is_gold_by_any_of_its_keys() -> None:
    rows = asked(SHARP + "gold: [{key: b, answer: {choice: sharp}}]\n", upload("a"), upload("b"), upload("c", "b"))
    assert rows.sort("key").select("key", "is_gold").rows() == [("a", True), ("c", False)]

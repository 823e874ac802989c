"""A campaign as files: tasks leave, answers come back once, corrected ones as revisions, in both databases."""

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline_assets.errors import ExportRefused, ImportRefused, NothingToAsk, QuestionChanged
from pipeline_assets.ingestion.schemas import PhotoMetadata, RawUploads
from pipeline_assets.labeling.campaigns.campaign import Campaign, parse
from pipeline_assets.labeling.campaigns.tasks import tasks
from pipeline_assets.labeling.exchange import asked, files
from pipeline_assets.labeling.exchange.files import Import
from pipeline_assets.labeling.exchange.store import Landed
from pipeline_assets.labeling.schemas import LabelTasks
from pipeline_assets.labeling.services.names import ABOUT, NAMELESS
from pipeline_assets.labeling.services.registry import FORMATS
from resources.database.contract import Database
from resources.lake.lake import Lake
from resources.objects.store import ObjectStore

DAY = date(2026, 3, 2)
AT = datetime(2026, 3, 5, 12, tzinfo=UTC)
SHARP = parse(
    "question: Is it sharp?\nkind: class\nclasses: [sharp, blurred]\ngold: [{key: 'u/3.jpg', answer: {choice: sharp}}]",
    "sharp",
)
BOXES = parse("question: Where are cats?\nkind: boxes\nclasses: [cat, dog]", "boxes")
TITLES = parse("question: Which words?\nkind: spans\nclasses: [animal]\ntarget: title", "titles")
CLASSES = pl.LazyFrame(
    schema={
        "day": pl.Date,
        "sha256": pl.String,
        "model_id": pl.String,
        "top5_label": pl.List(pl.String),
        "top5_probability": pl.List(pl.Float32),
    }
)


def content(number: int) -> bytes:
    return f"photo {number}".encode()


def uploads(count: int) -> pl.DataFrame:
    rows = [
        {
            "day": DAY,
            "bucket": "b",
            "key": f"u/{n}.jpg",
            "version_id": "v",
            "user_id": 1,
            "uploaded_at": AT,
            "size_bytes": 9,
            "sha256": hashlib.sha256(content(n)).hexdigest(),
            "media_type": "image/jpeg",
            "width_px": 640,
            "height_px": 480,
            "orientation": 6 if n == 1 else 1,
            "verdict": "ok",
        }
        for n in range(count)
    ]
    schema = RawUploads.create_empty().schema
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def titles(count: int) -> pl.DataFrame:
    rows = [
        {
            "day": DAY,
            "photo_id": n,
            "user_id": 1,
            "key": f"u/{n}.jpg",
            "posted_at": AT,
            "title": f"cat {n}",
            "user_joined_at": AT,
        }
        | {"details_json": "{}", "followers_at_post": 0, "location": None}
        for n in range(count)
    ]
    return pl.DataFrame(rows, schema=PhotoMetadata.create_empty().schema)


def fill(lake: Lake, campaigns: Sequence[Campaign], count: int = 5) -> pl.DataFrame:
    frame, faults = tasks(campaigns, uploads(count).lazy(), titles(count).lazy(), CLASSES)
    assert not faults
    lake.replace("raw_uploads", [DAY], uploads(count))
    lake.replace("photo_metadata", [DAY], titles(count))
    lake.replace("label_tasks", [DAY], LabelTasks.validate(frame))
    return frame


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(url=f"file://{tmp_path}/lake")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def answered(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def land(lake: Lake, database: Database, campaign: Campaign, path: Path, kind: str = "csv", **more: Any) -> files.Imported:
    return files.land_file(lake, database, campaign, kind, Import(path, AT, **more), print)


def stored(database: Database) -> list[tuple[Any, ...]]:
    return database.rows("select source_id, revision, answer_json from label_answers order by 1, 2")


def test_tasks_leave_and_each_answer_lands_once_and_a_corrected_one_is_a_revision(
    lake: Lake, database: Database, tmp_path: Path
) -> None:
    fill(lake, [SHARP])
    plan = files.planned(lake, SHARP, "csv", "predictions", url="https://example.org/{key}")
    written = files.export(database, plan, tmp_path / "tasks.csv")
    rows = rows_of(tmp_path / "tasks.csv")
    assert written.items == len(rows) == 5
    assert rows[0]["content"].startswith("https://example.org/u/")
    filled = answered(tmp_path / "filled.csv", [{**row, "answer": "sharp", "annotator": "Olga"} for row in rows[:4]])
    assert land(lake, database, SHARP, filled, is_dry=True).landed == Landed(4, 0, 0)
    assert not stored(database)
    assert land(lake, database, SHARP, filled).landed == Landed(4, 0, 0)
    before = stored(database)
    assert all(str(identity).startswith("annotator-") for identity, _, _ in before), (
        "no digest of a name, which can be undone"
    )
    assert land(lake, database, SHARP, filled).landed == Landed(0, 0, 4)
    assert stored(database) == before
    corrected = [{**row, "answer": "blurred" if n == 2 else "sharp", "annotator": "Olga"} for n, row in enumerate(rows)]
    again = answered(tmp_path / "again.csv", list(reversed(corrected)))
    assert land(lake, database, SHARP, again, is_dry=True).landed == Landed(1, 1, 3)
    assert land(lake, database, SHARP, again).landed == Landed(1, 1, 3)
    assert land(lake, database, SHARP, again).landed == Landed(0, 0, 5)
    assert land(lake, database, SHARP, filled).landed == Landed(0, 1, 3), "the first opinion again is the newest"


def test_an_import_that_was_interrupted_is_run_again_and_loses_nothing(
    lake: Lake, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake, [SHARP], 40)
    files.export(database, files.planned(lake, SHARP, "csv", "none"), tmp_path / "tasks.csv")
    rows = [{**row, "answer": "sharp", "annotator": who} for row in rows_of(tmp_path / "tasks.csv") for who in ("a", "b")]
    path = answered(tmp_path / "filled.csv", rows)
    monkeypatch.setattr(files, "BATCH", 16)

    def stop(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "REPORT_EVERY_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        files.land_file(lake, database, SHARP, "csv", Import(path, AT), stop)
    monkeypatch.setattr(files, "REPORT_EVERY_S", 5.0)
    land(lake, database, SHARP, answered(tmp_path / "part.csv", rows[:33]))
    assert land(lake, database, SHARP, path).landed == Landed(47, 0, 33)
    assert len(stored(database)) == 80


def test_a_file_that_was_written_elsewhere_makes_its_tasks_known(lake: Lake, database: Database, tmp_path: Path) -> None:
    frame = fill(lake, [SHARP])
    rows = [{"task_key": key, "answer": "sharp", "annotator": "a"} for key in frame["task_key"]]
    assert land(lake, database, SHARP, answered(tmp_path / "a.csv", rows)).landed.new == 5
    asked = database.rows("select count(*) from label_requests where campaign = 'sharp' and tool = 'csv'")
    assert asked == [(5,)]
    assert database.rows("select version from label_campaigns") == [(1,)]


def test_answers_to_the_question_before_count_for_its_version(lake: Lake, database: Database, tmp_path: Path) -> None:
    fill(lake, [SHARP])
    files.export(database, files.planned(lake, SHARP, "csv", "none"), tmp_path / "old.csv")
    newer = SHARP.model_copy(update={"version": 2, "classes": ["good", "bad"], "gold": []})
    fill(lake, [newer])
    old = [{**row, "answer": "sharp", "annotator": "a"} for row in rows_of(tmp_path / "old.csv")]
    old[0]["answer"] = "good"
    found = land(lake, database, newer, answered(tmp_path / "filled.csv", old))
    assert found.landed.new == 4 and found.versions == {1: 4}
    assert found.rejected == {"unknown_class": 1}


def test_what_is_set_aside_is_counted_and_written(lake: Lake, database: Database, tmp_path: Path) -> None:
    frame = fill(lake, [SHARP])
    keys = frame["task_key"].to_list()
    path = tmp_path / "a.csv"
    path.write_bytes(
        f"task_key,answer,annotator\n{keys[0]},horse,a\n{keys[1]},sh\xfcrp,a\nx,sharp,a\n{keys[2]},sharp,a\n".encode(
            "latin-1"
        )
    )
    found = land(lake, database, SHARP, path, rejects=tmp_path / "rejects.ndjson")
    assert found.landed.new == 1
    assert found.rejected == {"unknown_class": 1, "bad_text": 1, "unknown_task": 1}
    lines = [json.loads(line) for line in (tmp_path / "rejects.ndjson").read_text().splitlines()]
    assert [line["place"] for line in lines] == ["line 2", "line 3", "line 4"]
    assert all(line["detail"] and line["raw"] for line in lines)


@pytest.mark.parametrize("name", ["label-studio", "labelbox", "scale", "supervisely", "appen", "mturk", "csv", "cvat"])
def test_a_file_is_the_same_whether_or_not_an_answer_is_known(
    name: str, lake: Lake, database: Database, tmp_path: Path
) -> None:
    """So nothing in it, the order included, tells gold from other tasks; in the table gold has the highest priority."""
    written = []
    for number, campaign in enumerate((SHARP, SHARP.model_copy(update={"gold": []}))):
        frame = fill(lake, [campaign])
        assert frame["is_gold"].sum() == 1 - number
        target = tmp_path / str(number)
        files.export(database, files.planned(lake, campaign, name, "none"), target)
        paths = [target] if target.is_file() else sorted(path for path in target.rglob("*") if path.is_file())
        written.append([(str(path.relative_to(target)), path.read_bytes()) for path in paths])
    assert written[0] == written[1]


def test_a_target_that_exists_is_not_overwritten(lake: Lake, database: Database, tmp_path: Path) -> None:
    fill(lake, [SHARP])
    (tmp_path / "a.csv").write_text("answers")
    with pytest.raises(ExportRefused, match="exists"):
        files.export(database, files.planned(lake, SHARP, "csv", "none"), tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "answers"


def test_a_format_without_answers_of_the_kind_names_those_that_have_them(
    lake: Lake, database: Database, tmp_path: Path
) -> None:
    fill(lake, [SHARP])
    with pytest.raises(ExportRefused, match="choose one of label-studio"):
        files.planned(lake, SHARP, "yolo", "none")
    with pytest.raises(ImportRefused, match="choose one of"):
        land(lake, database, SHARP, tmp_path, "voc")


def test_without_tasks_it_says_what_to_run(lake: Lake, database: Database, tmp_path: Path) -> None:
    with pytest.raises(NothingToAsk, match="darkroom run"):
        files.planned(lake, SHARP, "csv", "none")
    fill(lake, [SHARP])
    with pytest.raises(NothingToAsk):
        files.planned(lake, BOXES, "csv", "none")
    with pytest.raises(NothingToAsk, match="consensus"):
        files.planned(lake, SHARP, "csv", "accepted")


@pytest.mark.parametrize("pattern", ["https://x/{user}", "https://x/{key.__class__}", "https://x/{0}", "{"])
def test_a_pattern_of_urls_names_known_fields_only(pattern: str, lake: Lake) -> None:
    fill(lake, [SHARP])
    with pytest.raises(ExportRefused, match="--url may name"):
        files.planned(lake, SHARP, "csv", "none", url=pattern)


def test_a_changed_question_is_not_asked_under_the_old_version(lake: Lake, database: Database, tmp_path: Path) -> None:
    fill(lake, [SHARP])
    files.export(database, files.planned(lake, SHARP, "csv", "none"), tmp_path / "a.csv")
    changed = SHARP.model_copy(update={"question": "Is it good?"})
    with pytest.raises(QuestionChanged):
        files.export(database, files.planned(lake, changed, "csv", "none"), tmp_path / "b.csv")
    assert not (tmp_path / "b.csv").exists()


def test_spans_of_titles_leave_and_come_back(lake: Lake, database: Database, tmp_path: Path) -> None:
    frame = fill(lake, [TITLES])
    files.export(database, files.planned(lake, TITLES, "label-studio", "none"), tmp_path / "tasks.json")
    exported = json.loads((tmp_path / "tasks.json").read_text())
    assert {task["data"]["text"] for task in exported} == set(frame["title"])
    for number, task in enumerate(exported):
        result = [{"type": "labels", "value": {"start": 0, "end": 3, "text": "cat", "labels": ["animal"]}}]
        task["annotations"] = [{"id": number, "completed_by": 1, "result": result, "updated_at": "2026-03-05T11:00:00Z"}]
    (tmp_path / "export.json").write_text(json.dumps(exported))
    assert land(lake, database, TITLES, tmp_path / "export.json", "label-studio").landed.new == 5
    assert {text for _, _, text in stored(database)} == {'{"spans":[{"end":3,"label":"animal","start":0,"text":"cat"}]}'}


def test_marks_in_stored_pixels_of_a_turned_photo_are_told_by_the_size_in_the_file(
    lake: Lake, database: Database, tmp_path: Path
) -> None:
    frame = fill(lake, [BOXES])
    turned = frame.filter(pl.col("key") == "u/1.jpg")["task_key"].item()
    image = {"id": 1, "file_name": f"{turned}.jpg", "width": 480, "height": 640}
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 40]}
    (tmp_path / "a.json").write_text(
        json.dumps({"images": [image], "categories": [{"id": 1, "name": "cat"}], "annotations": [annotation]})
    )
    assert land(lake, database, BOXES, tmp_path / "a.json", "coco", annotator="ann").landed.new == 1
    [(_, _, text)] = stored(database)
    assert json.loads(text)["boxes"] == [{"x": 580.0, "y": 10.0, "width": 40.0, "height": 30.0, "label": "cat"}]


def test_photos_are_written_under_the_names_that_the_format_has(lake: Lake, database: Database, tmp_path: Path) -> None:
    frame = fill(lake, [BOXES])
    store = ObjectStore.open(f"file://{tmp_path}/uploads")
    for number in range(5):
        if number != 4:
            store.put(f"u/{number}.jpg", content(number) if number != 2 else b"another")
    plan = files.planned(lake, BOXES, "coco", "none")
    number, left_out = files.write_contents(store, plan, tmp_path / "images", print)
    assert number == 3 and {one.reason for one in left_out} == {"changed", "unreadable"}
    for row in frame.iter_rows(named=True):
        path = tmp_path / "images" / f"{row['task_key']}.jpg"
        assert not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"]


def test_the_names_for_commands_are_those_of_the_formats() -> None:
    assert list(ABOUT) == list(FORMATS)
    assert set(FORMATS) >= NAMELESS
    assert replace(FORMATS["csv"]) == FORMATS["csv"]


def assignment(path: Path, key: str, status: str) -> Path:
    fields = {"AssignmentId": "A1", "WorkerId": "W", "Input.task_key": key, "AssignmentStatus": status}
    return answered(path, [{**fields, "Answer.answer": "sharp"}])


@pytest.mark.parametrize(
    ("statuses", "is_cancelled"),
    [(("Submitted", "Rejected", "Approved"), False), (("Submitted", "Rejected", "Submitted", "Rejected"), True)],
)
def test_the_status_of_an_assignment_may_change_back_and_forth(
    lake: Lake, database: Database, tmp_path: Path, statuses: Sequence[str], is_cancelled: bool
) -> None:
    key = fill(lake, [SHARP])["task_key"][0]
    for status in statuses:
        land(lake, database, SHARP, assignment(tmp_path / "a.csv", key, status), "mturk")
    rows = database.rows("select is_cancelled from label_answers order by revision")
    assert bool(rows[-1][0]) == is_cancelled


def test_a_known_id_of_another_task_is_set_aside(lake: Lake, database: Database, tmp_path: Path) -> None:
    first, second = fill(lake, [SHARP])["task_key"][:2]
    land(lake, database, SHARP, assignment(tmp_path / "a.csv", first, "Approved"), "mturk")
    found = land(lake, database, SHARP, assignment(tmp_path / "b.csv", second, "Approved"), "mturk")
    assert (found.landed, dict(found.rejected)) == (Landed(), {"other_task": 1})


def test_a_folder_where_a_file_is_wanted_is_refused(lake: Lake, database: Database, tmp_path: Path) -> None:
    fill(lake, [SHARP])
    with pytest.raises(ImportRefused, match="no file"):
        land(lake, database, SHARP, tmp_path)


def test_a_short_export_is_not_of_gold_alone(lake: Lake) -> None:
    frame = fill(lake, [SHARP])
    gold = set(frame.filter("is_gold")["task_key"])
    some = {one.item.task_key for one in asked.tasks(lake, SHARP, "none", limit=max(len(gold), 1))}
    assert gold
    assert not some <= gold

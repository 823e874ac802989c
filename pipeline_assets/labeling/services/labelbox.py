"""Labelbox: data rows and predictions as NDJSON out; the NDJSON of its export, or of annotations to import, in. Pure.

The task's key is the data row's `global_key`. A label's id is Labelbox's; the annotator is `created_by`, its only id.
Source: docs.labelbox.com, "Export image annotations", "Import image annotations".
"""

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from pipeline_assets.errors import ImportRefused, UnfitParent
from pipeline_assets.labeling.services import bitmaps, cells, geometry, json_files, writing
from pipeline_assets.labeling.services.form import (
    Canvas,
    Facts,
    Fault,
    Format,
    Found,
    Item,
    Marks,
    Question,
    Reading,
    Reject,
    Written,
    marks_of,
)
from pipeline_assets.labeling.services.geometry import number
from pipeline_assets.labeling.services.json_files import Value, microseconds, moment

DATA_ROWS, ANNOTATIONS = "data_rows.ndjson", "annotations.ndjson"
QUESTION = "answer"
"""The name of the classification in the ontology."""
_MEDIA = {"image": "IMAGE", "video": "VIDEO", "audio": "AUDIO"}
_LABEL_KEYS = {"id", "label_details", "performance_details", "annotations"}


def read(path: Path, reading: Reading) -> Iterator[Found | Reject]:
    """Each label of each data row; of annotations to import, those of one data row, in lines that follow each other."""
    source = path / ANNOTATIONS if path.is_dir() else path
    if not source.is_file():
        raise ImportRefused(f"{path} has no {ANNOTATIONS}: name the NDJSON that Labelbox exported.")
    for key, group in groupby(json_files.values(source, "row"), _global_key):
        if key:
            yield _of_import(key, list(group))
        else:
            for value in group:
                yield from [value] if isinstance(value, Reject) else _of_export(value)


def _global_key(value: Value | Reject) -> str:
    """The data row of an annotation to import; empty for anything else."""
    row = value.value.get("dataRow") if isinstance(value, Value) and isinstance(value.value, Mapping) else None
    key = row.get("globalKey", row.get("id")) if isinstance(row, Mapping) else None
    return key if isinstance(key, str) else ""


def _of_import(key: str, values: list[Any]) -> Found:
    entries = [value.value for value in values]
    objects = [
        {**entry, "bounding_box": entry.get("bbox")} for entry in entries if "answer" not in entry and not entry.get("empty")
    ]
    answers = [entry for entry in entries if "answer" in entry]
    annotations = {"objects": objects, "classifications": [_as_exported(entry["answer"]) for entry in answers]}
    return Found(values[0].place, key, lambda canvas: labels_of(annotations, canvas), raw=values[0].raw)


def _as_exported(answer: Any) -> dict[str, Any]:
    if isinstance(answer, list):
        return {"checklist_answers": answer}
    return {"radio_answer": answer} if isinstance(answer, Mapping) else {"text_answer": {"content": answer}}


def _of_export(value: Value) -> Iterator[Found | Reject]:
    row = value.value
    data_row = row.get("data_row") if isinstance(row, Mapping) else None
    projects = row.get("projects") if isinstance(row, Mapping) else None
    if not isinstance(data_row, Mapping) or not isinstance(projects, Mapping):
        yield Reject(value.place, "bad_row", "it has no data_row and projects: is it an export of Labelbox?", value.raw)
        return
    key = str(data_row.get("global_key") or data_row.get("external_id") or "")
    media = row.get("media_attributes")
    size = (media.get("width"), media.get("height")) if isinstance(media, Mapping) else (None, None)
    for project in projects.values():
        labels = project.get("labels") if isinstance(project, Mapping) else None
        for number_of_label, label in enumerate(labels if isinstance(labels, list) else (), start=1):
            place = f"{value.place}, label {number_of_label}"
            if isinstance(label, Mapping):
                yield _found(place, key, label, size)
            else:
                yield Reject(place, "bad_answer", f"a label is an object, not {label!r:.60}", value.raw)


def _found(place: str, key: str, label: Mapping[str, Any], size: tuple[Any, Any]) -> Found:
    details, speed = (label.get(name) or {} for name in ("label_details", "performance_details"))
    details, speed = (part if isinstance(part, Mapping) else {} for part in (details, speed))
    updated = _latest(details)
    seconds = speed.get("seconds_to_create")
    return Found(
        place=place,
        task=key,
        labels=lambda canvas: labels_of(label.get("annotations"), canvas),
        annotator=str(details["created_by"]) if details.get("created_by") else None,
        source_id=str(label["id"]) if label.get("id") else None,
        revision=microseconds(updated),
        answered_at=updated,
        lead_time_s=float(seconds) if isinstance(seconds, int | float) else None,
        size=(size[0], size[1]) if type(size[0]) is int and type(size[1]) is int else None,
        is_cancelled=speed.get("skipped") is True,
        extra={name: item for name, item in label.items() if name not in _LABEL_KEYS},
        raw=json_files.raw_of(label),
    )


def _latest(details: Mapping[str, Any]) -> datetime | None:
    names = ("content_last_updated_at", "updated_at", "created_at")
    return next((at for name in names if (at := moment(details.get(name)))), None)


def labels_of(annotations: Any, canvas: Canvas) -> Marks:
    """The answer of a label's annotations. Raises UnfitParent."""
    if not isinstance(annotations, Mapping):
        raise UnfitParent("bad_labels", "its annotations are no object")
    kind = canvas.question.kind
    if kind in ("class", "classes", "text"):
        return _classification(annotations.get("classifications"), canvas)
    objects = annotations.get("objects")
    if not isinstance(objects, list):
        raise UnfitParent("no_answer", "it has no list of objects")
    return {"masks" if kind in ("polygons", "masks") else kind: [_mark(kind, one, canvas) for one in objects]}


def _classification(entries: Any, canvas: Canvas) -> Marks:
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, Mapping):
            continue
        if isinstance(answer := entry.get("radio_answer"), Mapping):
            return cells.of_value([answer.get("name")], canvas)
        if isinstance(answers := entry.get("checklist_answers"), list):
            return cells.of_value([one.get("name") for one in answers if isinstance(one, Mapping)], canvas)
        if isinstance(answer := entry.get("text_answer"), Mapping):
            return cells.of_text(str(answer.get("content", "")), canvas)
    raise UnfitParent("no_answer", "it has no classification")


def _mark(kind: str, entry: Any, canvas: Canvas) -> Any:
    try:
        if not isinstance(entry, Mapping):
            raise UnfitParent("bad_labels", f"an object of a label is no {type(entry).__name__}")
        nested = entry.get("classifications")
        rest = {"label": entry.get("name")} | ({"classifications": nested} if nested else {})
        return _shape(kind, entry, canvas) | rest
    except UnfitParent as unfit:
        return Fault(unfit.reason, unfit.detail)


def _shape(kind: str, entry: Mapping[str, Any], canvas: Canvas) -> dict[str, Any]:
    box, polygon, point, mask = (entry.get(name) for name in ("bounding_box", "polygon", "point", "mask"))
    if kind == "boxes" and isinstance(box, Mapping):
        return geometry.box(*(number(box.get(name), name) for name in ("left", "top", "width", "height")))
    if kind == "boxes" and polygon:
        return geometry.of_corners(geometry.points_of(cells.polygon_of(polygon)))
    if kind in ("polygons", "masks") and polygon:
        return {"polygons": [cells.polygon_of(polygon)]}
    if kind == "points" and isinstance(point, Mapping):
        return {axis: number(point.get(axis), axis) for axis in "xy"}
    if kind in ("polygons", "masks") and isinstance(mask, Mapping):
        return _mask(mask, canvas)
    raise UnfitParent("bad_labels", f"{entry.get('annotation_kind', 'it')} answers no question of kind {kind}")


def _mask(mask: Mapping[str, Any], canvas: Canvas) -> dict[str, Any]:
    if not isinstance(mask.get("png"), str):
        raise UnfitParent("mask_elsewhere", "the mask's pixels are behind a URL of Labelbox, which is not fetched")
    if not canvas.width or not canvas.height:
        raise UnfitParent("bad_labels", "a mask on a photo whose size is unknown")
    try:
        data = base64.b64decode(mask["png"], validate=True)
    except (binascii.Error, ValueError):
        raise UnfitParent("bad_labels", "the picture of a mask is no base64") from None
    bitmap = bitmaps.of_png(data, (canvas.width, canvas.height))
    return {"rle": bitmaps.runs_of(bitmaps.placed(bitmap, 0, 0, canvas.width, canvas.height))}


def write(target: Path, question: Question, items: Iterable[Item]) -> Written:
    """Write data rows, and predictions for model-assisted labeling, into a folder."""
    with writing.Lines(target / DATA_ROWS) as rows, writing.Lines(target / ANNOTATIONS) as annotations:
        for item in items:
            try:
                written = list(_annotations(item, question))
            except UnfitParent as unfit:
                rows.leave_out(item, unfit)
                continue
            media = (
                "TEXT" if item.target == "title" else _MEDIA.get((item.media_type or "image/").partition("/")[0], "IMAGE")
            )
            content = item.title or "" if item.target == "title" else item.place
            rows.add({"row_data": content, "global_key": item.task_key, "media_type": media})
            for one in written:
                annotations.add(one)
    return Written([rows.path, annotations.path], rows.items, rows.left_out)


def _annotations(item: Item, question: Question) -> Iterator[dict[str, Any]]:
    if item.labels is None:
        return
    row = {"dataRow": {"globalKey": item.task_key}}
    if question.kind == "class":
        yield {"name": QUESTION, "answer": {"name": item.labels["choice"]}, **row}
    elif question.kind == "classes":
        yield {"name": QUESTION, "answer": [{"name": name} for name in item.labels["choices"]], **row}
    elif question.kind == "text":
        yield {"name": QUESTION, "answer": item.labels["text"], **row}
    else:
        for mark in marks_of(question.kind, item.labels):
            for shape in _shapes(question.kind, mark, item):
                yield {"name": mark["label"], **shape, **row}


def _shapes(kind: str, mark: Mapping[str, Any], item: Item) -> Iterator[dict[str, Any]]:
    if kind == "points":
        yield {"point": {"x": mark["x"], "y": mark["y"]}}
    elif kind == "boxes" and not geometry.rotation_of(mark):
        yield {"bbox": {"top": mark["y"], "left": mark["x"], "height": mark["height"], "width": mark["width"]}}
    elif kind == "boxes":
        yield {"polygon": [{"x": geometry.tidy(x), "y": geometry.tidy(y)} for x, y in geometry.corners(mark)]}
    elif "rle" in mark or len(mark["polygons"]) > 1:
        if item.size is None:
            raise UnfitParent("no_size", "a mask needs the photo's width and height")
        data = bitmaps.png_of(bitmaps.of_mark(mark, *item.size))
        yield {"mask": {"png": base64.b64encode(data).decode()}}
    else:
        yield {"polygon": [{"x": x, "y": y} for x, y in geometry.points_of(mark["polygons"][0])]}


def losses(question: Question, facts: Facts) -> list[str]:
    """What Labelbox can't carry."""
    sentences = []
    if question.kind == "boxes":
        sentences.append(
            f"Boxes have no rotation: {facts.rotated:,} rotated ones become polygons of four corners, and come back."
        )
    if question.kind in ("polygons", "masks"):
        sentences.append(
            "Masks of an export are behind URLs of Labelbox, which are not fetched: draw polygons, to get them back."
        )
        sentences.append(f"{facts.in_parts:,} masks of several polygons become pictures: their edges snap to pixels.")
    if facts.extra:
        sentences.append(f"Further keys of {facts.extra:,} marks are not written.")
    if facts.without_url:
        sentences.append(f"{facts.without_url:,} items have no URL: Labelbox can't show them.")
    sentences.append("An item without marks has no line among the predictions: it looks as one without a prediction.")
    return sentences


FORMAT = Format(
    name="labelbox",
    source="labelbox",
    kinds=frozenset({"class", "classes", "text", "boxes", "polygons", "masks", "points"}),
    read=read,
    write=write,
    losses=losses,
    is_folder=True,
)

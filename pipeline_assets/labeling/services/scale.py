"""Scale AI: tasks with a hypothesis as JSON out, and finished tasks with `response.annotations` in. Pure.

The task's key is in `metadata` and is the `unique_id`. Scale delivers one answer for each task and names nobody: the
annotator is `scale`, unless `worker_id` is there. A box turns by `rotation` in radians, and its four `vertices` say where.
Source: scale.com/docs/api-reference, "Image & Video Reference".
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling import rle
from pipeline_assets.labeling.services import cells, geometry, json_files, writing
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

FIELD = "answer"
_GEOMETRIES = {"boxes": "box", "polygons": "polygon", "points": "point"}
_PLACE = ("left", "top", "width", "height")
_MARK_KEYS = {*_PLACE, "type", "label", "vertices", "rotation", "x", "y", "geometry"}
_USED = {
    "task_id",
    "response",
    "completed_at",
    "updated_at",
    "created_at",
    "params",
    "metadata",
    "status",
    "unique_id",
    "worker_id",
}


def read(path: Path, reading: Reading) -> Iterator[Found | Reject]:
    """Each finished task."""
    for value in json_files.values(path, "task"):
        if isinstance(value, Reject):
            yield value
            continue
        yield from _of_task(value)


def _of_task(value: Value) -> Iterator[Found | Reject]:
    task = value.value
    if not isinstance(task, Mapping):
        yield Reject(value.place, "bad_task", f"a task is an object, not a {type(task).__name__}", value.raw)
        return
    response = task.get("response")
    is_cancelled = task.get("status") in ("canceled", "cancelled")
    if not isinstance(response, Mapping) and not is_cancelled:
        yield Reject(value.place, "not_answered", f"it has no response: its status is {task.get('status')!r:.40}", value.raw)
        return
    params: Any = task.get("params")
    metadata: Any = task.get("metadata") or (params.get("metadata") if isinstance(params, Mapping) else None)
    metadata = metadata if isinstance(metadata, Mapping) else {}
    at = moment(task.get("updated_at")) or moment(task.get("completed_at"))
    person = task.get("worker_id")
    yield Found(
        place=value.place,
        task=str(metadata.get("task_key") or task.get("unique_id") or ""),
        labels=lambda canvas: labels_of(response, canvas),
        annotator="scale" if person is None else str(person),
        source_id=str(task["task_id"]) if task.get("task_id") else None,
        revision=microseconds(at),
        answered_at=moment(task.get("completed_at")) or at,
        size=_size(metadata),
        is_cancelled=is_cancelled,
        extra={name: item for name, item in task.items() if name not in _USED},
        raw=value.raw,
    )


def _size(metadata: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = metadata.get("width"), metadata.get("height")
    return (width, height) if type(width) is int and type(height) is int else None


def labels_of(response: Any, canvas: Canvas) -> Marks:
    """The answer of a response. Raises UnfitParent."""
    kind = canvas.question.kind
    if kind in ("class", "classes"):
        found = response.get("taxonomies") or response.get("category") or response.get("annotations")
        found = next(iter(found.values()), None) if isinstance(found, Mapping) else found
        if not found:
            raise UnfitParent("no_answer", "its response has no category")
        return cells.of_value(found if isinstance(found, list) else [found], canvas)
    annotations = response.get("annotations")
    if kind == "text":
        found = annotations.get(FIELD) if isinstance(annotations, Mapping) else None
        found = found.get("response") if isinstance(found, Mapping) else found
        while isinstance(found, list) and found:
            found = found[0]
        if not isinstance(found, str):
            raise UnfitParent("no_answer", f"its response has no text in {FIELD}")
        return {"text": found}
    if not isinstance(annotations, list):
        raise UnfitParent("no_answer", "its response has no list of annotations")
    return {"masks" if kind == "polygons" else kind: [_mark(kind, one) for one in annotations]}


def _mark(kind: str, entry: Any) -> Any:
    try:
        if not isinstance(entry, Mapping) or entry.get("type", entry.get("geometry")) != _GEOMETRIES[kind]:
            raise UnfitParent("bad_labels", f"an annotation that answers no question of kind {kind}: {entry!r:.80}")
        rest = {name: value for name, value in entry.items() if name not in _MARK_KEYS and value not in ({}, None)}
        return _shape(kind, entry) | {"label": entry.get("label"), **rest}
    except UnfitParent as unfit:
        return Fault(unfit.reason, unfit.detail)


def _shape(kind: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    if kind == "points":
        return {axis: number(entry.get(axis), axis) for axis in "xy"}
    vertices = entry.get("vertices")
    if kind == "polygons":
        return {"polygons": [cells.polygon_of(vertices)]}
    rotation = number(entry.get("rotation") or 0, "rotation")
    if rotation and not vertices:
        raise UnfitParent("bad_labels", "a rotated box without vertices: what it turns around is not known")
    if rotation:
        return geometry.of_corners(geometry.points_of(cells.polygon_of(vertices)))
    return geometry.box(*(number(entry.get(name), name) for name in _PLACE))


def write(target: Path, question: Question, items: Iterable[Item]) -> Written:
    """Write the bodies of tasks to create, as one list."""
    with writing.JsonList(target) as tasks:
        for item in items:
            tasks.add(_task(item, question))
    return tasks.written


def _task(item: Item, question: Question) -> dict[str, Any]:
    size = {"width": item.width_px, "height": item.height_px} if item.size else {}
    task: dict[str, Any] = {
        "unique_id": item.task_key,
        "metadata": {"task_key": item.task_key, **size},
        "instruction": question.instructions or question.text,
        "attachment": item.title if item.target == "title" else item.place,
        "attachment_type": "text" if item.target == "title" else (item.media_type or "image/").partition("/")[0],
    }
    if question.kind in ("class", "classes"):
        choice = {"categories": list(question.classes), "allow_multiple": question.kind == "classes"}
        return {"type": "categorization", **task, **choice}
    if question.kind == "text":
        return {"type": "textcollection", **task, "fields": [{"type": "text", "field_id": FIELD, "title": question.text}]}
    shape = _GEOMETRIES[question.kind]
    geometry_of_task = {"objects_to_annotate": list(question.classes), **({"can_rotate": True} if shape == "box" else {})}
    task |= {"type": "imageannotation", "geometries": {shape: geometry_of_task}}
    if item.labels is not None:
        marks = [one for mark in marks_of(question.kind, item.labels) for one in annotations_of(question.kind, mark)]
        task["hypothesis"] = {"annotations": marks}
    return task


def annotations_of(kind: str, mark: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A mark as Scale's annotations."""
    attributes = {"attributes": mark["attributes"]} if mark.get("attributes") else {}
    label = {"label": mark["label"], **attributes}
    if kind == "points":
        yield {"type": "point", "x": mark["x"], "y": mark["y"], **label}
    elif kind == "boxes":
        turn = geometry.rotation_of(mark)
        left, top, right, bottom = geometry.around_middle(mark)
        place = {"left": left, "top": top, "width": right - left, "height": bottom - top}
        place = {name: geometry.tidy(value) for name, value in place.items()}
        turned = {"rotation": math.radians(turn), "vertices": _vertices(geometry.corners(mark))} if turn else {}
        yield {"type": "box", **place, **turned, **label}
    else:
        for polygon in mark["polygons"] if "polygons" in mark else rle.polygons(mark["rle"]):
            yield {"type": "polygon", "vertices": _vertices(geometry.points_of(polygon)), **label}


def _vertices(points: Iterable[tuple[float, float]]) -> list[dict[str, float]]:
    return [{"x": geometry.tidy(x), "y": geometry.tidy(y)} for x, y in points]


def losses(question: Question, facts: Facts) -> list[str]:
    """What Scale can't carry."""
    sentences = ["Scale returns one answer for each task, and names no person: it counts as one annotator, scale."]
    if question.kind == "polygons":
        sentences.append(
            f"{facts.in_parts:,} masks of several polygons become several polygons, and {facts.runs:,} of pixels outlines."
        )
    if question.kind in ("class", "classes", "text") and facts.labelled:
        sentences.append(f"A question of kind {question.kind} shows no prediction: {facts.labelled:,} are not written.")
    if facts.extra:
        sentences.append(f"Of further keys of {facts.extra:,} marks only `attributes` is written.")
    if facts.without_url:
        sentences.append(f"{facts.without_url:,} items have no URL: Scale can't show them.")
    return sentences


FORMAT = Format(
    name="scale",
    source="scale",
    kinds=frozenset({"class", "classes", "text", "boxes", "polygons", "points"}),
    read=read,
    write=write,
    losses=losses,
)

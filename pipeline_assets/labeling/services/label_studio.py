"""Label Studio JSON: tasks with predictions to import, and the full JSON export ("JSON", not "JSON-MIN") to read. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling.campaigns.answer import KINDS
from pipeline_assets.labeling.services import json_files, writing
from pipeline_assets.labeling.services.form import Facts, Format, Found, Item, Question, Reading, Reject, Written
from pipeline_assets.labeling.services.json_files import Value, microseconds, moment
from pipeline_assets.labeling.services.label_studio_results import labels_of, results_of

_USED = {
    "id",
    "result",
    "completed_by",
    "created_at",
    "updated_at",
    "lead_time",
    "was_cancelled",
    "prediction",
    "result_count",
    "task",
    "project",
}
_WITHOUT_KEY = 'has no data.task_key: import the tasks that "darkroom label export" writes'


def read(path: Path, reading: Reading) -> Iterator[Found | Reject]:
    """Each annotation of each task."""
    for value in json_files.values(path, "task"):
        if isinstance(value, Reject):
            yield value
        else:
            yield from of_task(value)


def of_task(value: Value) -> Iterator[Found | Reject]:
    """The annotations of one task of an export, or of the API."""
    task = value.value
    if not isinstance(task, Mapping) or not isinstance(task.get("annotations"), list):
        what = 'it has no list of annotations: export as "JSON", which has all answers'
        yield Reject(value.place, "bad_task", what, value.raw)
        return
    data: Any = task.get("data")
    data = data if isinstance(data, Mapping) else {}
    key = data.get("task_key") or data.get("key") or ""
    for number, annotation in enumerate(task["annotations"], start=1):
        place = f"{value.place}, annotation {number}"
        if not isinstance(annotation, Mapping):
            yield Reject(place, "bad_answer", f"an annotation is an object, not {annotation!r:.60}", value.raw)
        else:
            yield found_of(annotation, str(key) or _WITHOUT_KEY, place)


def found_of(annotation: Mapping[str, Any], task_key: str, place: str) -> Found:
    """One annotation, as exports and the API have it."""
    person = annotation.get("completed_by")
    person = person.get("id", person.get("email")) if isinstance(person, Mapping) else person
    created, updated = moment(annotation.get("created_at")), moment(annotation.get("updated_at"))
    seconds = annotation.get("lead_time")
    return Found(
        place=place,
        task=task_key,
        labels=lambda canvas: labels_of(annotation.get("result"), canvas),
        annotator=None if person is None else str(person),
        source_id=None if annotation.get("id") is None else str(annotation["id"]),
        unique_in="task",
        revision=microseconds(updated or created),
        answered_at=updated or created,
        lead_time_s=float(seconds) if isinstance(seconds, int | float) else None,
        size=_size(annotation.get("result")),
        is_cancelled=annotation.get("was_cancelled") is True,
        extra={name: item for name, item in annotation.items() if name not in _USED},
        raw=json_files.raw_of(annotation),
    )


def _size(results: Any) -> tuple[int, int] | None:
    """The photo's size that a result states."""
    for result in results if isinstance(results, list) else ():
        if isinstance(result, Mapping):
            width, height = result.get("original_width"), result.get("original_height")
            if type(width) is int and type(height) is int:
                return width, height
    return None


def task_of(item: Item, question: Question) -> dict[str, Any]:
    """One task to import, with its prediction. Raises UnfitParent for labels that can't be written."""
    data = {"task_key": item.task_key, data_name(item): item.title if item.target == "title" else item.place}
    if item.target != "title" and item.title:
        data["title"] = item.title
    task: dict[str, Any] = {"data": data}
    if item.labels is not None:
        task["predictions"] = [{"model_version": item.model or "darkroom", "result": results_of(item, question)}]
    return task


def data_name(item: Item) -> str:
    """The name of the content in a task's data: image, audio, video or text."""
    if item.target == "title":
        return "text"
    kind = (item.media_type or "image/").partition("/")[0]
    return kind if kind in ("image", "audio", "video") else "text"


def write(target: Path, question: Question, items: Iterable[Item]) -> Written:
    """Write tasks as one JSON list."""
    with writing.JsonList(target) as tasks:
        for item in items:
            try:
                tasks.add(task_of(item, question))
            except UnfitParent as unfit:
                tasks.leave_out(item, unfit)
    return tasks.written


def losses(question: Question, facts: Facts) -> list[str]:
    """What Label Studio can't carry."""
    sentences = ["Coordinates become percent of the photo, as floating-point numbers: exact to about 1e-10 pixels."]
    if question.kind in ("polygons", "masks") and facts.in_parts:
        sentences.append(f"{facts.in_parts:,} masks of several polygons become brushes: their edges snap to pixels.")
    if facts.extra:
        sentences.append(f"Further keys of {facts.extra:,} marks are not written.")
    if facts.without_url:
        sentences.append(f"{facts.without_url:,} items have no URL: the tool needs their files under these names.")
    return sentences


FORMAT = Format(
    name="label-studio",
    source="label-studio",
    kinds=frozenset(KINDS),
    read=read,
    write=write,
    losses=losses,
)

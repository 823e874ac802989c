"""Label Studio's results: one answer in our form, to and from the list `result` of an annotation or a prediction. Pure.

Label Studio counts in percent of the upright photo's width and height, and turns a box around its top left corner, as we do.
Seconds of sound are seconds; positions in a text are UTF-16 units, since a browser counts them.
Source: labelstud.io/guide/export and /guide/predictions.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling.services import bitmaps, brush, geometry
from pipeline_assets.labeling.services.form import Canvas, Fault, Item, Marks, Question
from pipeline_assets.labeling.services.geometry import number

FROM_NAME, TO_NAME = "answer", "item"
"""Names of the control and of the object in the labeling interface."""
TYPES: Mapping[str, str] = {
    "class": "choices",
    "classes": "choices",
    "text": "textarea",
    "ranking": "ranker",
    "boxes": "rectanglelabels",
    "polygons": "polygonlabels",
    "masks": "brushlabels",
    "points": "keypointlabels",
    "segments": "labels",
    "spans": "labels",
}
"""The type of result that is written for each kind."""
_READ: Mapping[str, tuple[str, ...]] = {
    "boxes": ("rectanglelabels", "rectangle", "labels"),
    "polygons": ("polygonlabels", "polygon", "brushlabels", "labels"),
    "masks": ("brushlabels", "brush", "polygonlabels", "polygon", "labels"),
    "points": ("keypointlabels", "keypoint", "labels"),
    "segments": ("labels", "timeserieslabels", "audio"),
    "spans": ("labels", "hypertextlabels", "paragraphlabels"),
}
_POINT_WIDTH = 0.5


def labels_of(results: Any, canvas: Canvas) -> Marks:
    """The answer of a list of results. Raises UnfitParent: no_answer, bad_labels."""
    if not isinstance(results, list):
        raise UnfitParent("bad_labels", f"a result is a list, not {results!r:.60}")
    kind = canvas.question.kind
    entries = [entry for entry in results if isinstance(entry, Mapping) and isinstance(entry.get("value"), Mapping)]
    if kind in ("class", "classes", "text", "ranking"):
        return _whole(kind, entries)
    named = _NAMES[kind]
    marks = [mark for entry in entries if entry.get("type") in _READ[kind] for mark in _marks(kind, entry, canvas)]
    return {named: marks}


def results_of(item: Item, question: Question) -> list[dict[str, Any]]:
    """The labels of an item as results. Raises UnfitParent for marks on a photo of unknown size."""
    labels, kind = item.labels or {}, question.kind
    if kind == "class":
        return [_result(kind, {"choices": [labels["choice"]]})]
    if kind == "classes":
        return [_result(kind, {"choices": list(labels["choices"])})]
    if kind == "text":
        return [_result(kind, {"text": [labels["text"]]})]
    if kind == "ranking":
        return [_result(kind, {"ranker": {"rank": list(labels["ranking"])}})]
    marks = labels.get(_NAMES[kind]) or ()
    written = (entry for mark in marks for entry in _written(kind, mark, item))
    return [{"id": f"m{number}", **entry} for number, entry in enumerate(written)]


_NAMES = {"polygons": "masks", **{kind: kind for kind in ("boxes", "masks", "points", "segments", "spans")}}


def _whole(kind: str, entries: Sequence[Mapping[str, Any]]) -> Marks:
    """An answer about the whole item."""
    values = [entry["value"].get(entry.get("type", "")) for entry in entries if entry.get("type") == TYPES[kind]]
    if kind == "text":
        values = [entry["value"].get("text") for entry in entries if entry.get("type") == "textarea"]
    values = [value for value in values if value]
    if not values:
        if kind == "classes":
            return {"choices": []}
        raise UnfitParent("no_answer", f"the annotation has no {TYPES[kind]}")
    if kind == "ranking":
        rank = values[0].get("rank") if isinstance(values[0], Mapping) else values[0]
        return {"ranking": rank if isinstance(rank, list) else [rank]}
    words = [word for value in values for word in (value if isinstance(value, list) else [value])]
    if kind == "text":
        return {"text": "\n".join(str(word) for word in words)}
    if kind == "classes":
        return {"choices": words}
    if len(set(map(str, words))) > 1:
        raise UnfitParent("bad_labels", f"{len(words)} choices, where the question asks for one")
    return {"choice": words[0]}


def _marks(kind: str, entry: Mapping[str, Any], canvas: Canvas) -> Iterator[Any]:
    try:
        yield from _READERS[kind](entry, canvas)
    except UnfitParent as unfit:
        yield Fault(unfit.reason, unfit.detail)


def _frame(entry: Mapping[str, Any], canvas: Canvas) -> tuple[float, float]:
    if not canvas.width or not canvas.height:
        raise UnfitParent("bad_labels", "a mark in percent of a photo whose size is unknown")
    if entry.get("image_rotation"):
        raise UnfitParent("bad_labels", "the photo was turned in Label Studio while it was marked: mark it unturned")
    return canvas.width / 100, canvas.height / 100


def _label(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The label of a region, and what else it has."""
    value = entry["value"]
    labels = value.get(entry.get("type")) or value.get("labels") or value.get("timeserieslabels")
    if not isinstance(labels, list) or len(labels) != 1:
        raise UnfitParent("bad_labels", f"a region has one label, not {labels!r:.60}")
    extra = {"score": entry["score"]} if isinstance(entry.get("score"), int | float) else {}
    return {"label": labels[0], **extra, **({"meta": entry["meta"]} if entry.get("meta") else {})}


def _box(entry: Mapping[str, Any], canvas: Canvas) -> Iterator[dict[str, Any]]:
    value = entry["value"]
    if "width" not in value or "height" not in value:
        return
    x_unit, y_unit = _frame(entry, canvas)
    x, y, width, height = (number(value.get(name), name) for name in ("x", "y", "width", "height"))
    rotation = number(value.get("rotation") or 0, "rotation")
    yield geometry.box(x * x_unit, y * y_unit, width * x_unit, height * y_unit, rotation) | _label(entry)


def _polygon(entry: Mapping[str, Any], canvas: Canvas) -> Iterator[dict[str, Any]]:
    value = entry["value"]
    if "rle" in value:
        yield from _brush(entry, canvas)
        return
    if "points" not in value:
        return
    x_unit, y_unit = _frame(entry, canvas)
    points = value["points"]
    if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise UnfitParent("bad_labels", f"the points of a polygon are pairs: {points!r:.60}")
    moved = [(number(x, "x") * x_unit, number(y, "y") * y_unit) for x, y in points]
    yield {"polygons": [[geometry.tidy(value) for value in geometry.flat(moved)]]} | _label(entry)


def _brush(entry: Mapping[str, Any], canvas: Canvas) -> Iterator[dict[str, Any]]:
    value = entry["value"]
    if "rle" not in value:
        yield from _polygon(entry, canvas)
        return
    _frame(entry, canvas)
    bitmap = brush.decode(value["rle"], canvas.width or 0, canvas.height or 0)
    if not bitmap.any():
        raise UnfitParent("bad_labels", "a brush that marks no pixel")
    yield {"rle": bitmaps.runs_of(bitmap)} | _label(entry)


def _point(entry: Mapping[str, Any], canvas: Canvas) -> Iterator[dict[str, Any]]:
    value = entry["value"]
    x_unit, y_unit = _frame(entry, canvas)
    x, y = number(value.get("x"), "x") * x_unit, number(value.get("y"), "y") * y_unit
    yield {"x": geometry.tidy(x), "y": geometry.tidy(y)} | _label(entry)


def _segment(entry: Mapping[str, Any], canvas: Canvas) -> Iterator[dict[str, Any]]:
    value = entry["value"]
    start, end = number(value.get("start"), "start"), number(value.get("end"), "end")
    yield {"start_s": start, "end_s": end} | _label(entry)


def _span(entry: Mapping[str, Any], canvas: Canvas) -> Iterator[dict[str, Any]]:
    value = entry["value"]
    offsets = value.get("globalOffsets") if isinstance(value.get("globalOffsets"), Mapping) else value
    start, end = offsets.get("start"), offsets.get("end")
    if type(start) is not int or type(end) is not int:
        raise UnfitParent("bad_labels", f"a span has no whole start and end: {start!r:.20}, {end!r:.20}")
    start, end = (of_units(canvas.title or "", position) for position in (start, end))
    text = (canvas.title or "")[start:end]
    yield {"start": start, "end": end, "text": text} | _label(entry)


_READERS = {
    "boxes": _box,
    "polygons": _polygon,
    "masks": _brush,
    "points": _point,
    "segments": _segment,
    "spans": _span,
}


def _written(kind: str, mark: Mapping[str, Any], item: Item) -> Iterator[dict[str, Any]]:
    label = [mark["label"]]
    if kind == "segments":
        yield _result(kind, {"start": mark["start_s"], "end": mark["end_s"], "channel": 0, "labels": label})
        return
    if kind == "spans":
        text = item.title or ""
        units = {name: to_units(text, mark[name]) for name in ("start", "end")}
        yield _result(kind, {**units, "text": text[mark["start"] : mark["end"]], "labels": label})
        return
    if item.size is None:
        raise UnfitParent("no_size", "marks in percent need the photo's width and height")
    width, height = item.size
    frame = {"original_width": width, "original_height": height, "image_rotation": 0}
    for form, value in _shapes(kind, mark, width, height):
        yield {**_result(form, {**value, TYPES[form]: label}), **frame}


def _shapes(kind: str, mark: Mapping[str, Any], width: int, height: int) -> Iterator[tuple[str, dict[str, Any]]]:
    x_unit, y_unit = 100 / width, 100 / height
    if kind == "boxes":
        place = {"x": mark["x"] * x_unit, "y": mark["y"] * y_unit}
        size = {"width": mark["width"] * x_unit, "height": mark["height"] * y_unit}
        yield kind, {**place, **size, "rotation": geometry.rotation_of(mark)}
    elif kind == "points":
        yield kind, {"x": mark["x"] * x_unit, "y": mark["y"] * y_unit, "width": _POINT_WIDTH}
    elif "rle" in mark or len(mark["polygons"]) > 1:
        yield "masks", {"format": "rle", "rle": brush.encode(bitmaps.of_mark(mark, width, height))}
    else:
        points = [[x * x_unit, y * y_unit] for x, y in geometry.points_of(mark["polygons"][0])]
        yield "polygons", {"points": points, "closed": True}


def _result(kind: str, value: Mapping[str, Any]) -> dict[str, Any]:
    return {"from_name": FROM_NAME, "to_name": TO_NAME, "type": TYPES[kind], "value": value}


def of_units(text: str, units: int) -> int:
    """A position in characters, of one in UTF-16 units. Outside of the text it stays outside."""
    if text.isascii():
        return units
    data = text.encode("utf-16-le", "surrogatepass")
    beyond = max(units - len(data) // 2, 0)
    return len(data[: 2 * max(units, 0)].decode("utf-16-le", "ignore")) + beyond if units >= 0 else units


def to_units(text: str, position: int) -> int:
    """A position in UTF-16 units, of one in characters."""
    return len(text[:position].encode("utf-16-le", "surrogatepass")) // 2

"""One answer in a cell of a CSV, or as the JSON of a crowd's page: to and from our form. Pure.

A class is written as it is; several are separated by `|`, or are JSON if a name has one in it; marks are JSON: ours,
Appen's shapes, or MTurk's Crowd HTML.
Source: docs.aws.amazon.com, "Crowd HTML elements"; success.appen.com, "Image annotation: JSON".
"""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling import label_json
from pipeline_assets.labeling.campaigns.answer import MARKS
from pipeline_assets.labeling.services import bitmaps, geometry
from pipeline_assets.labeling.services.form import Canvas, Fault, Marks, Question
from pipeline_assets.labeling.services.geometry import number
from pipeline_assets.runtime import strict_json

SEPARATOR = "|"
_LISTS = {"boxes": "boundingBoxes", "polygons": "polygons", "points": "keypoints", "spans": "entities"}
"""Names of lists of marks in Crowd HTML."""


def cell_of(question: Question, labels: Mapping[str, Any]) -> str:
    """An answer as the text of a cell."""
    if question.kind == "class":
        return str(labels["choice"])
    if question.kind in ("classes", "ranking"):
        names = labels["choices" if question.kind == "classes" else "ranking"]
        if any(SEPARATOR in name or "\n" in name or name != name.strip() for name in names):
            return label_json.dump(dict(labels))
        return SEPARATOR.join(names)
    if question.kind == "text":
        return str(labels["text"])
    return label_json.dump(dict(labels))


def of_text(text: str, canvas: Canvas) -> Marks:
    """The answer in a cell. Raises UnfitParent: no_answer, bad_labels."""
    question = canvas.question
    if question.kind == "text":
        if not text.strip():
            raise UnfitParent("no_answer", "the answer is empty")
        return {"text": text}
    if not text.strip():
        raise UnfitParent("no_answer", "the answer is empty")
    if question.kind == "class" and (known := _known(text, question.classes)):
        return {"choice": known}
    if text.lstrip()[:1] in ("{", "["):
        return of_value(_json(text), canvas)
    if question.kind == "class":
        return {"choice": text.strip()}
    if question.kind in ("classes", "ranking"):
        words = [word for word in text.replace("\n", SEPARATOR).split(SEPARATOR) if word.strip()]
        return _choices(question, words)
    raise UnfitParent("bad_labels", f"marks are JSON, and this begins with {text[:60]!r}")


def of_value(value: Any, canvas: Canvas) -> Marks:
    """The answer in a decoded JSON: ours, Appen's, or of Crowd HTML."""
    question = canvas.question
    if isinstance(value, str):
        return of_text(value, canvas)
    if question.kind in ("class", "classes", "ranking", "text"):
        return _choices(question, _words(value))
    name = MARKS[question.kind]
    if isinstance(value, Mapping):
        if question.kind == "masks" and isinstance(image := value.get("labeledImage"), Mapping):
            return {name: list(_painted(image, value, canvas))}
        crowd = value.get(_LISTS.get(question.kind, ""))
        value = crowd if crowd is not None and name not in value else value.get(name, value.get("masks"))
    if not isinstance(value, list):
        raise UnfitParent("no_answer", f"its JSON has no list of {name}")
    return {name: [_mark(question.kind, mark, canvas) for mark in value]}


def _known(text: str, classes: Sequence[str]) -> str | None:
    """The class that a text names; letters may be small or large if that names only one."""
    word = text.strip()
    if word in classes:
        return word
    alike = [name for name in classes if name.strip().casefold() == word.casefold()]
    return alike[0] if len(alike) == 1 else None


def _choices(question: Question, words: Sequence[Any]) -> Marks:
    names = [_known(word, question.classes) or word.strip() if isinstance(word, str) else word for word in words]
    if question.kind == "class":
        if len(set(map(str, names))) != 1:
            raise UnfitParent("bad_labels", f"{len(names)} choices, where the question asks for one")
        return {"choice": names[0]}
    if question.kind == "text":
        return {"text": "\n".join(map(str, words))}
    return {"choices" if question.kind == "classes" else "ranking": names}


def _words(value: Any) -> Sequence[Any]:
    """The words of an answer about the whole item."""
    if isinstance(value, Mapping):
        for name in ("choice", "choices", "ranking", "text", "label", "labels", "category", "answer"):
            if name in value:
                return _words(value[name])
        flags = [name for name, flag in value.items() if flag is True or flag == "true"]
        if flags:
            return flags
        raise UnfitParent("no_answer", "its JSON names no choice")
    return value if isinstance(value, list) else [value]


def _mark(kind: str, mark: Any, canvas: Canvas) -> Any:
    try:
        if not isinstance(mark, Mapping):
            raise UnfitParent("bad_labels", f"a mark is an object, not {mark!r:.60}")
        if isinstance(mark.get("coordinates"), Mapping | list):
            return _of_appen(kind, mark)
        return _of_crowd(kind, mark, canvas)
    except UnfitParent as unfit:
        return Fault(unfit.reason, unfit.detail)


def _of_appen(kind: str, mark: Mapping[str, Any]) -> dict[str, Any]:
    place, shape = mark["coordinates"], mark.get("type")
    rest = {name: value for name, value in mark.items() if name not in ("coordinates", "type", "class")}
    label = {"label": mark.get("class", mark.get("label"))} | ({"appen": rest} if rest else {})
    if kind == "boxes" and shape == "box" and isinstance(place, Mapping):
        return geometry.box(*(number(place.get(name), name) for name in "xywh")) | label
    if kind == "points" and shape == "dot" and isinstance(place, Mapping):
        return {name: number(place.get(name), name) for name in "xy"} | label
    if kind in ("polygons", "masks") and shape == "polygon" and isinstance(place, list):
        return {"polygons": [polygon_of(place)]} | label
    raise UnfitParent("bad_labels", f"a shape {shape!r:.40} answers no question of kind {kind}")


def _of_crowd(kind: str, mark: Mapping[str, Any], canvas: Canvas) -> dict[str, Any]:
    if kind == "boxes" and "left" in mark:
        place = (number(mark.get(name), name) for name in ("left", "top", "width", "height"))
        return geometry.box(*place) | _rest(mark, ("left", "top", "width", "height"))
    if kind in ("polygons", "masks") and "vertices" in mark:
        return {"polygons": [polygon_of(mark["vertices"])]} | _rest(mark, ("vertices",))
    if kind == "spans" and "startOffset" in mark:
        start, end = mark["startOffset"], mark.get("endOffset")
        text = (canvas.title or "")[start:end] if type(start) is int and type(end) is int else ""
        return {"start": start, "end": end, "text": text} | _rest(mark, ("startOffset", "endOffset"))
    return dict(mark)


def _rest(mark: Mapping[str, Any], used: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in mark.items() if name not in used}


def polygon_of(points: Any) -> list[float]:
    """x0, y0, x1, y1, ... of a list of objects with x and y. Raises UnfitParent(bad_labels)."""
    if not isinstance(points, list) or not all(isinstance(point, Mapping) for point in points):
        raise UnfitParent("bad_labels", f"the points of a polygon are objects with x and y: {points!r:.60}")
    return [number(point.get(axis), axis) for point in points for axis in "xy"]


def _painted(image: Mapping[str, Any], value: Mapping[str, Any], canvas: Canvas) -> Iterator[Any]:
    """Masks of Crowd HTML's semantic segmentation: one picture, whose colours are labels."""
    if not canvas.width or not canvas.height:
        raise UnfitParent("bad_labels", "a mask on a photo whose size is unknown")
    try:
        data = base64.b64decode(str(image.get("pngImageData", "")), validate=True)
    except (binascii.Error, ValueError):
        raise UnfitParent("bad_labels", "the picture of a mask is no base64") from None
    colours = value.get("labelMappings")
    if not isinstance(colours, Mapping):
        raise UnfitParent("bad_labels", "labelMappings, the colours of the labels, are missing")
    for label, entry in list(colours.items())[:1_000]:
        colour = entry.get("color") if isinstance(entry, Mapping) else None
        bitmap = bitmaps.of_colour(data, str(colour), (canvas.width, canvas.height))
        if bitmap.any():
            yield {"rle": bitmaps.runs_of(bitmap), "label": label}


def _json(text: str) -> Any:
    if len(text) > label_json.MAX_CHARACTERS:
        raise UnfitParent("too_large", f"{len(text):,} characters of JSON; at most {label_json.MAX_CHARACTERS:,} are read")
    try:
        return strict_json.loads(text, label_json.MAX_DEPTH)
    except strict_json.BadJson as error:
        raise UnfitParent("bad_labels", f"the answer is no JSON: {error}") from None

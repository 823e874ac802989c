"""Supervisely: a project folder with `meta.json` and one annotation JSON for each image. Pure.

The image's name is the task's key. Figures belong to `labelerLogin`: each person's figures of an image are one answer. A
bitmap is a PNG of the mask's own box, compressed by zlib, as base64; it is unpacked no further than the photo allows.
Source: developer.supervisely.com, "Supervisely annotation JSON format".
"""

import base64
import binascii
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline_assets.errors import ImportRefused, UnfitParent
from pipeline_assets.labeling import rle
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
    unlabelled,
)
from pipeline_assets.labeling.services.geometry import number
from pipeline_assets.labeling.services.json_files import moment
from pipeline_assets.runtime import strict_json

DATASET, ANSWER = "tasks", "answer"
MAX_FILE_BYTES = 64 << 20
_SHAPES = {
    "boxes": ("rectangle", "polygon"),
    "polygons": ("polygon", "bitmap"),
    "masks": ("bitmap", "polygon"),
    "points": ("point",),
}
_FIGURE = {
    "id",
    "classId",
    "classTitle",
    "geometryType",
    "points",
    "bitmap",
    "labelerLogin",
    "createdAt",
    "updatedAt",
    "tags",
    "description",
}


def read(path: Path, reading: Reading) -> Iterator[Found | Reject]:
    """Each person's figures and tags on each image."""
    names = [path] if path.is_file() else sorted(path.glob("*/ann/*.json")) or sorted(path.glob("ann/*.json"))
    if not names:
        raise ImportRefused(f"{path} has no DATASET/ann/*.json: name the folder of a Supervisely project.")
    for name in names:
        place = name.name
        if name.is_symlink() or not name.is_file() or name.stat().st_size > MAX_FILE_BYTES:
            yield Reject(place, "too_large", f"it is no file, or has more than {MAX_FILE_BYTES:,} bytes")
            continue
        data = name.read_bytes()
        try:
            annotation = strict_json.loads(data)
        except strict_json.BadJson as error:
            yield Reject(place, "bad_json", f"it is no JSON: {error}", data[:2_000].decode("utf-8", "backslashreplace"))
            continue
        if isinstance(annotation, Mapping) and isinstance(annotation.get("objects"), list):
            yield from _of_image(place, annotation)
        else:
            yield Reject(place, "bad_row", "it has no list of objects", json_files.raw_of(annotation))


def _of_image(place: str, annotation: Mapping[str, Any]) -> Iterator[Found]:
    figures = [figure if isinstance(figure, Mapping) else {} for figure in annotation["objects"]]
    tags = [tag for tag in _list(annotation.get("tags")) if isinstance(tag, Mapping)]
    people: dict[str | None, None] = dict.fromkeys(_login(entry) for entry in (*figures, *tags)) or {None: None}
    size = annotation.get("size")
    stated = (size.get("width"), size.get("height")) if isinstance(size, Mapping) else (None, None)
    for person in people:
        own = [figure for figure in figures if _login(figure) == person]
        own_tags = [tag for tag in tags if _login(tag) == person]
        times = [at for entry in (*own, *own_tags) if (at := moment(entry.get("updatedAt") or entry.get("createdAt")))]
        updated = max(times, default=None)
        yield Found(
            place=place if len(people) == 1 else f"{place}, {person}",
            task=place,
            labels=lambda canvas, own=own, own_tags=own_tags: labels_of(own, own_tags, canvas),  # type: ignore[misc]
            annotator=person,
            answered_at=updated,
            size=(stated[0], stated[1]) if type(stated[0]) is int and type(stated[1]) is int else None,
            extra={name: value for name, value in annotation.items() if name not in ("objects", "tags", "size")},
            raw=json_files.raw_of(own or own_tags),
        )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _login(entry: Mapping[str, Any]) -> str | None:
    person = entry.get("labelerLogin")
    return person if isinstance(person, str) and person else None


def labels_of(figures: list[Mapping[str, Any]], tags: list[Mapping[str, Any]], canvas: Canvas) -> Marks:
    """The answer of figures and tags. Raises UnfitParent."""
    kind = canvas.question.kind
    if kind in ("class", "classes", "text"):
        words = [tag.get("value") if tag.get("name") == ANSWER else tag.get("name") for tag in tags]
        if not words:
            raise UnfitParent("no_answer", "it has no tag")
        return cells.of_value(words, canvas)
    return {"masks" if kind in ("polygons", "masks") else kind: [_mark(kind, figure, canvas) for figure in figures]}


def _mark(kind: str, figure: Mapping[str, Any], canvas: Canvas) -> Any:
    try:
        shape = figure.get("geometryType")
        if shape not in _SHAPES[kind]:
            raise UnfitParent("bad_labels", f"a figure {shape!r:.40} answers no question of kind {kind}")
        rest = {name: value for name, value in figure.items() if name not in _FIGURE}
        tags = {"tags": figure["tags"]} if figure.get("tags") else {}
        return _shape(kind, str(shape), figure, canvas) | {"label": figure.get("classTitle"), **tags, **rest}
    except UnfitParent as unfit:
        return Fault(unfit.reason, unfit.detail)


def _shape(kind: str, shape: str, figure: Mapping[str, Any], canvas: Canvas) -> dict[str, Any]:
    if shape == "bitmap":
        return {"rle": bitmaps.runs_of(_bitmap(figure.get("bitmap"), canvas))}
    points = figure.get("points")
    exterior = _points(points.get("exterior") if isinstance(points, Mapping) else None)
    interior = points.get("interior") if isinstance(points, Mapping) else None
    if kind == "points":
        return {"x": exterior[0][0], "y": exterior[0][1]}
    if shape == "rectangle":
        xs, ys = zip(*exterior, strict=True)
        return geometry.box(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
    if kind == "boxes":
        return geometry.of_corners(exterior)
    if not interior:
        return {"polygons": [geometry.flat(exterior)]}
    if not canvas.width or not canvas.height or not isinstance(interior, list):
        raise UnfitParent("bad_labels", "a polygon with holes, on a photo whose size is unknown")
    bitmap = bitmaps.of_mark({"polygons": [geometry.flat(exterior)]}, canvas.width, canvas.height)
    for hole in interior[:1_000]:
        bitmap &= ~bitmaps.of_mark({"polygons": [geometry.flat(_points(hole))]}, canvas.width, canvas.height)
    return {"rle": bitmaps.runs_of(bitmap)}


def _points(points: Any) -> list[tuple[float, float]]:
    if not isinstance(points, list) or not points or not all(isinstance(one, list) and len(one) == 2 for one in points):
        raise UnfitParent("bad_labels", f"points are pairs of numbers: {points!r:.60}")
    return [(number(x, "x"), number(y, "y")) for x, y in points]


def _bitmap(bitmap: Any, canvas: Canvas) -> bitmaps.Bitmap:
    data, origin = (bitmap.get(name) if isinstance(bitmap, Mapping) else None for name in ("data", "origin"))
    if (
        not isinstance(data, str)
        or not isinstance(origin, list)
        or len(origin) != 2
        or not all(type(side) is int for side in origin)
    ):
        raise UnfitParent("bad_labels", "a bitmap has data in base64, and its origin as two whole numbers")
    if not canvas.width or not canvas.height:
        raise UnfitParent("bad_labels", "a mask on a photo whose size is unknown")
    try:
        unpacking = zlib.decompressobj()
        png = unpacking.decompress(base64.b64decode(data, validate=True), bitmaps.MAX_PNG_BYTES)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise UnfitParent("bad_labels", f"a bitmap is no zlib in base64: {error!s:.80}") from None
    if unpacking.unconsumed_tail:
        raise UnfitParent("bad_labels", f"a bitmap unpacks to more than {bitmaps.MAX_PNG_BYTES:,} bytes")
    part = bitmaps.of_png(png, (canvas.width, canvas.height))
    return bitmaps.placed(part, origin[0], origin[1], canvas.width, canvas.height)


def write(target: Path, question: Question, items: Iterable[Item]) -> Written:
    """Write a project's annotations. The images belong into `tasks/img`, under the names that the annotations have."""
    with writing.text(target / "meta.json") as file:
        file.write(writing.compact(_meta(question)))
    folder, number_of_items, left_out = target / DATASET / "ann", 0, list[Reject]()
    for item in items:
        try:
            annotation = _annotation(item, question)
        except UnfitParent as unfit:
            left_out.append(Reject(item.task_key, unfit.reason, unfit.detail))
            continue
        with writing.text(folder / f"{item.file_name}.json") as file:
            file.write(writing.compact(annotation))
        number_of_items += 1
    return Written([target / "meta.json", folder], number_of_items, left_out)


def _meta(question: Question) -> dict[str, Any]:
    if question.kind in ("class", "classes"):
        tags = [{"name": name, "value_type": "none", "color": "#808080"} for name in question.classes]
        return {"classes": [], "tags": tags, "projectType": "images"}
    if question.kind == "text":
        return {
            "classes": [],
            "tags": [{"name": ANSWER, "value_type": "any_string", "color": "#808080"}],
            "projectType": "images",
        }
    classes = [{"title": name, "shape": "any", "color": "#808080", "geometry_config": {}} for name in question.classes]
    return {"classes": classes, "tags": [], "projectType": "images"}


def _annotation(item: Item, question: Question) -> dict[str, Any]:
    if item.size is None:
        raise UnfitParent("no_size", "Supervisely needs the photo's width and height")
    size = {"width": item.size[0], "height": item.size[1]}
    labels, tags = item.labels or {}, list[dict[str, Any]]()
    if question.kind in ("class", "classes") and item.labels is not None:
        tags = [{"name": name, "value": None} for name in labels.get("choices", [labels.get("choice")])]
    elif question.kind == "text" and item.labels is not None:
        tags = [{"name": ANSWER, "value": labels["text"]}]
    objects = [one for mark in marks_of(question.kind, labels) for one in _figures(question.kind, mark, item.size)]
    return {"description": "", "tags": tags, "size": size, "objects": objects}


def _figures(kind: str, mark: Mapping[str, Any], size: tuple[int, int]) -> Iterator[dict[str, Any]]:
    title = {"classTitle": mark["label"], "tags": mark.get("tags", [])}
    if kind == "points":
        yield {**title, "geometryType": "point", "points": {"exterior": [[mark["x"], mark["y"]]], "interior": []}}
    elif kind == "boxes" and not geometry.rotation_of(mark):
        corners = [[mark["x"], mark["y"]], [mark["x"] + mark["width"], mark["y"] + mark["height"]]]
        yield {**title, "geometryType": "rectangle", "points": {"exterior": corners, "interior": []}}
    elif kind == "boxes":
        corners = [[geometry.tidy(x), geometry.tidy(y)] for x, y in geometry.corners(mark)]
        yield {**title, "geometryType": "polygon", "points": {"exterior": corners, "interior": []}}
    elif "rle" in mark:
        yield {**title, "geometryType": "bitmap", "bitmap": _packed(mark, size)}
    else:
        for polygon in mark["polygons"]:
            points = [list(point) for point in geometry.points_of(polygon)]
            yield {**title, "geometryType": "polygon", "points": {"exterior": points, "interior": []}}


def _packed(mark: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    try:
        bitmap = bitmaps.of_mark(mark, *size)
    except rle.BadRle as error:
        raise UnfitParent("bad_labels", str(error)) from None
    left, top, right, bottom = bitmaps.bounds_of(bitmap)
    if left == right:
        raise UnfitParent("bad_labels", "a mask without a pixel")
    data = zlib.compress(bitmaps.png_of(bitmap[top:bottom, left:right]))
    return {"data": base64.b64encode(data).decode(), "origin": [left, top]}


def losses(question: Question, facts: Facts) -> list[str]:
    """What Supervisely can't carry."""
    sentences = ["Images are not written: upload them under the names that the annotations have."]
    sentences += unlabelled(facts)
    if question.kind == "boxes":
        sentences.append(
            f"Rectangles have no rotation: {facts.rotated:,} rotated boxes become polygons of four corners, and come back."
        )
    if question.kind in ("polygons", "masks"):
        sentences.append(f"{facts.in_parts:,} masks of several polygons become several figures.")
    if facts.extra:
        sentences.append(f"Of further keys of {facts.extra:,} marks only `tags` is written.")
    return sentences


FORMAT = Format(
    name="supervisely",
    source="supervisely",
    kinds=frozenset({"class", "classes", "text", "boxes", "polygons", "masks", "points"}),
    read=read,
    write=write,
    losses=losses,
    is_folder=True,
)

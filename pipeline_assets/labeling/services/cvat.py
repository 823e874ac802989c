"""CVAT for images 1.1: one XML, an element for each image: boxes with their rotation, polygons, masks, points, tags. Pure.

The image's name is the task's key. A box turns clockwise around its middle. A mask is runs, row by row, of its own box.
XML is read without document types and entities. Source: docs.cvat.ai, "XML annotation format", version 1.1.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline_assets.errors import ImportRefused, UnfitParent
from pipeline_assets.labeling import rle
from pipeline_assets.labeling.services import bitmaps, cells, geometry, json_files, writing, xml_files
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
from pipeline_assets.labeling.services.json_files import microseconds, moment
from pipeline_assets.labeling.services.xml_files import Element, attribute, written

_SHAPES = {"boxes": ("box",), "polygons": ("polygon", "mask"), "masks": ("mask", "polygon"), "points": ("points",)}
_ALL = {shape for shapes in _SHAPES.values() for shape in shapes}
_USED = {"label", "points", "xtl", "ytl", "xbr", "ybr", "rotation", "rle", "left", "top", "width", "height", "source"}
_CORNERS = ("xtl", "ytl", "xbr", "ybr")
_USUAL = {"occluded": "0", "z_order": "0"}
TEXT = "answer"
_KINDS = {"boxes": "rectangle", "polygons": "polygon", "masks": "mask", "points": "points"}


def read(path: Path, reading: Reading) -> Iterator[Found | Reject]:
    """The marks of each image, as one answer. `updated` of the task is the time, and the revision, of all."""
    updated, is_empty = None, True
    for number_of, element in enumerate(xml_files.elements(path, ("updated", "image")), start=1):
        is_empty = is_empty and isinstance(element, Element) and element.name == "updated"
        if isinstance(element, Reject):
            yield element
        elif element.name == "updated":
            updated = updated or moment(element.text.strip())
        else:
            name = element.attributes.get("name", "")
            sides = tuple(element.attributes.get(side, "") for side in ("width", "height"))
            yield Found(
                place=f"image {element.attributes.get('id', number_of)}, {name[:80]}",
                task=name,
                labels=lambda canvas, element=element: labels_of(element, canvas),  # type: ignore[misc]
                revision=microseconds(updated),
                answered_at=updated,
                size=(int(sides[0]), int(sides[1])) if all(side.isdecimal() and len(side) < 10 for side in sides) else None,
                extra={
                    one: value for one, value in element.attributes.items() if one not in ("id", "name", "width", "height")
                },
                raw=json_files.raw_of([dict(child.attributes) for child in element.children[:20]]),
            )
    if is_empty:
        raise ImportRefused(f"{path} has no image: is it in the format CVAT for images 1.1?")


def labels_of(image: Element, canvas: Canvas) -> Marks:
    """The answer of an image's shapes and tags. Raises UnfitParent."""
    kind = canvas.question.kind
    if kind in ("class", "classes", "text"):
        tags = [child for child in image.children if child.name == "tag"]
        if kind == "text":
            words = [part.text.strip() for tag in tags for part in tag.children if part.attributes.get("name") == TEXT]
        else:
            words = [tag.attributes.get("label", "") for tag in tags]
        if not words:
            raise UnfitParent("no_answer", "the image has no tag")
        return cells.of_value(words, canvas)
    marks = [mark for child in image.children if child.name in _ALL for mark in _marks(kind, child, canvas)]
    return {"masks" if kind in ("polygons", "masks") else kind: marks}


def _marks(kind: str, shape: Element, canvas: Canvas) -> Iterator[Any]:
    try:
        if shape.name not in _SHAPES[kind]:
            raise UnfitParent("bad_labels", f"a {shape.name} answers no question of kind {kind}")
        rest = {name: value for name, value in shape.attributes.items() if name not in _USED and _USUAL.get(name) != value}
        attributes = {part.attributes.get("name", ""): part.text for part in shape.children if part.name == "attribute"}
        extra = {"label": shape.attributes.get("label"), **rest, **({"attributes": attributes} if attributes else {})}
        for place in _places(shape, canvas):
            yield place | extra
    except UnfitParent as unfit:
        yield Fault(unfit.reason, unfit.detail)


def _places(shape: Element, canvas: Canvas) -> Iterator[dict[str, Any]]:
    if shape.name == "box":
        left, top, right, bottom = (_float(shape, name) for name in _CORNERS)
        turn = _float(shape, "rotation") if shape.attributes.get("rotation") else 0.0
        yield geometry.of_middle(left, top, right, bottom, turn)
    elif shape.name == "mask":
        yield {"rle": bitmaps.runs_of(_bitmap(shape, canvas))}
    else:
        points = [_pair(pair) for pair in shape.attributes.get("points", "").split(";") if pair.strip()]
        if shape.name == "polygon":
            yield {"polygons": [geometry.flat(points)]}
        else:
            yield from ({"x": x, "y": y} for x, y in points)


def _bitmap(shape: Element, canvas: Canvas) -> bitmaps.Bitmap:
    if not canvas.width or not canvas.height:
        raise UnfitParent("bad_labels", "a mask on a photo whose size is unknown")
    left, top, width, height = (int(_float(shape, name)) for name in ("left", "top", "width", "height"))
    if not (0 < width <= canvas.width and 0 < height <= canvas.height):
        raise UnfitParent("bad_labels", f"a mask of {width} x {height}, on {canvas.width} x {canvas.height} pixels")
    words = shape.attributes.get("rle", "").split(",")
    if len(words) > rle.MAX_RUNS or not all(word.strip().isdecimal() and len(word) < 12 for word in words):
        raise UnfitParent("bad_labels", f"the rle of a mask is up to {rle.MAX_RUNS:,} whole numbers")
    part = bitmaps.of_row_runs([int(word) for word in words], width, height)
    return bitmaps.placed(part, left, top, canvas.width, canvas.height)


def _float(shape: Element, name: str) -> float:
    return _number(shape.attributes.get(name, ""), name)


def _number(text: str, name: str) -> float:
    try:
        return number(float(text) if len(text) < 50 else None, name)
    except ValueError:
        raise UnfitParent("bad_labels", f"{name} is no number: {text[:40]!r}") from None


def _pair(text: str) -> tuple[float, float]:
    x, comma, y = text.partition(",")
    if not comma:
        raise UnfitParent("bad_labels", f"a point is x,y and not {text[:40]!r}")
    return _number(x.strip(), "x"), _number(y.strip(), "y")


def write(target: Path, question: Question, items: Iterable[Item]) -> Written:
    """Write one XML to import. Images are uploaded to CVAT under their names."""
    number_of_items, left_out = 0, list[Reject]()
    with writing.text(target) as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta><task>')
        file.write(f"<name>{written(question.campaign)}</name><mode>annotation</mode><labels>\n")
        file.writelines(_label(question, name) for name in question.classes or (TEXT,))
        file.write("  </labels></task></meta>\n")
        for item in items:
            try:
                lines = _image(item, question, number_of_items)
            except UnfitParent as unfit:
                left_out.append(Reject(item.task_key, unfit.reason, unfit.detail))
                continue
            number_of_items += 1
            file.write(lines)
        file.write("</annotations>\n")
    return Written([target], number_of_items, left_out)


def _label(question: Question, name: str) -> str:
    kind = _KINDS.get(question.kind, "tag")
    text = f"<attribute><name>{TEXT}</name><input_type>text</input_type></attribute>" if question.kind == "text" else ""
    return f"    <label><name>{written(name)}</name><type>{kind}</type><attributes>{text}</attributes></label>\n"


def _image(item: Item, question: Question, identity: int) -> str:
    if item.size is None:
        raise UnfitParent("no_size", "CVAT needs the photo's width and height")
    head = f'  <image id="{identity}" name={attribute(item.file_name)} width="{item.size[0]}" height="{item.size[1]}">\n'
    return head + "".join(_shapes(item, question)) + "  </image>\n"


def _shapes(item: Item, question: Question) -> Iterator[str]:
    labels = item.labels or {}
    if item.labels is not None and question.kind in ("class", "classes"):
        for name in labels.get("choices", [labels.get("choice")]):
            yield f'    <tag label={attribute(name)} source="auto"></tag>\n'
    elif item.labels is not None and question.kind == "text":
        yield f'    <tag label="{TEXT}" source="auto"><attribute name="{TEXT}">{written(labels["text"])}</attribute></tag>\n'
    for mark in marks_of(question.kind, labels):
        for name, place in _written(question.kind, mark, item):
            yield _shape(name, mark, place)


def _shape(name: str, mark: Mapping[str, Any], place: Mapping[str, object]) -> str:
    head = {"label": mark["label"], "source": "auto", "occluded": mark.get("occluded", "0"), **place}
    head["z_order"] = mark.get("z_order", "0")
    attributes = mark.get("attributes")
    inside = "".join(
        f"<attribute name={attribute(one)}>{written(value)}</attribute>"
        for one, value in (attributes if isinstance(attributes, Mapping) else {}).items()
    )
    return f"    <{name} " + " ".join(f"{one}={attribute(value)}" for one, value in head.items()) + f">{inside}</{name}>\n"


def _written(kind: str, mark: Mapping[str, Any], item: Item) -> Iterator[tuple[str, dict[str, object]]]:
    if kind == "boxes":
        place = {
            name: f"{geometry.tidy(value):.4f}" for name, value in zip(_CORNERS, geometry.around_middle(mark), strict=True)
        }
        turn = geometry.rotation_of(mark)
        yield "box", {**place, **({"rotation": f"{turn:.4f}"} if turn else {})}
    elif kind == "points":
        yield "points", {"points": f"{mark['x']:.4f},{mark['y']:.4f}"}
    elif "rle" in mark:
        bitmap = bitmaps.of_mark(mark, *(item.size or (1, 1)))
        left, top, right, bottom = bitmaps.bounds_of(bitmap)
        if left == right:
            raise UnfitParent("bad_labels", "a mask without a pixel")
        runs = ", ".join(map(str, bitmaps.row_runs(bitmap[top:bottom, left:right])))
        yield "mask", {"rle": runs, "left": left, "top": top, "width": right - left, "height": bottom - top}
    else:
        for polygon in mark["polygons"]:
            yield "polygon", {"points": ";".join(f"{x:.4f},{y:.4f}" for x, y in geometry.points_of(polygon))}


def losses(question: Question, facts: Facts) -> list[str]:
    """What CVAT's XML can't carry."""
    sentences = [
        "CVAT's XML names no annotator of a mark: --annotator says whose answers they are.",
        "Coordinates have four decimals. Images are not written: upload them under the names that the XML has.",
    ]
    sentences += unlabelled(facts)
    if question.kind in ("polygons", "masks") and facts.in_parts:
        sentences.append(f"{facts.in_parts:,} masks of several polygons become several polygons.")
    if facts.extra:
        sentences.append(
            f"Of further keys of {facts.extra:,} marks only `attributes`, `occluded` and `z_order` are written."
        )
    return sentences


FORMAT = Format(
    name="cvat",
    source="cvat",
    kinds=frozenset({"class", "classes", "text", "boxes", "polygons", "masks", "points"}),
    read=read,
    write=write,
    losses=losses,
)

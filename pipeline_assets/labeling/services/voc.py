"""Pascal VOC: an XML for each image with upright boxes in whole pixels. Pure.

Pixels are counted from 1, and `xmax`, `ymax` are inside the box, as in the development kit: a box over the left column
of pixels is from 1 to 1. `filename` is the task's key. XML is read without document types and entities.
Source: host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline_assets.errors import ImportRefused, UnfitParent
from pipeline_assets.labeling.services import geometry, json_files, writing, xml_files
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
from pipeline_assets.labeling.services.xml_files import Element, written

ANNOTATIONS = "Annotations"
_FLAGS = ("pose", "truncated", "difficult", "occluded")
_USUAL = {"pose": "Unspecified", "truncated": "0", "difficult": "0", "occluded": "0"}
_SIDES = ("xmin", "ymin", "xmax", "ymax")


def read(path: Path, reading: Reading) -> Iterator[Found | Reject]:
    """The objects of each image, as one answer. Raises ImportRefused if there is no XML."""
    paths = [path] if path.is_file() else sorted(path.glob(f"{ANNOTATIONS}/*.xml")) or sorted(path.glob("*.xml"))
    if not paths:
        raise ImportRefused(f"{path} has no {ANNOTATIONS}/*.xml.")
    for file in paths:
        if file.is_symlink() or not file.is_file():
            yield Reject(file.name, "unsafe_path", "it is a link, or no file")
            continue
        is_read = False
        for element in xml_files.elements(file, ("annotation",)):
            is_read = True
            yield element if isinstance(element, Reject) else _found(file.name, element)
        if not is_read:
            yield Reject(file.name, "bad_xml", "it has no annotation")


def _found(place: str, element: Element) -> Found:
    sides = [element.text_of("size", side) for side in ("width", "height")]
    size = tuple(int(side) for side in sides if side.isdecimal() and len(side) < 10)
    return Found(
        place=place,
        task=f"{element.text_of('filename')} {place}",
        labels=lambda canvas: labels_of(element, canvas),
        size=(size[0], size[1]) if len(size) == 2 and all(size) else None,
        raw=json_files.raw_of(
            [[child.text_of("name"), *_texts(child)] for child in element.children if child.name == "object"]
        ),
    )


def labels_of(annotation: Element, canvas: Canvas) -> Marks:
    """The answer of an image's objects."""
    return {"boxes": [_mark(child) for child in annotation.children if child.name == "object"]}


def _texts(entry: Element) -> list[str]:
    return [entry.text_of("bndbox", side) for side in _SIDES]


def _mark(entry: Element) -> Any:
    try:
        left, top, right, bottom = (_number(text) for text in _texts(entry))
        flags = {name: text for name in _FLAGS if (text := entry.text_of(name)) and text != _USUAL[name]}
        return geometry.box(left - 1, top - 1, right - left + 1, bottom - top + 1) | {
            "label": entry.text_of("name"),
            **flags,
        }
    except UnfitParent as unfit:
        return Fault(unfit.reason, unfit.detail)


def _number(text: str) -> float:
    try:
        return number(float(text) if len(text) < 40 else None, "a side of a bndbox")
    except ValueError:
        raise UnfitParent("bad_labels", f"a side of a bndbox is no number: {text[:40]!r}") from None


def write(target: Path, question: Question, items: Iterable[Item]) -> Written:
    """Write an XML for each image. Images belong into `JPEGImages/`."""
    count, left_out = 0, list[Reject]()
    for item in items:
        if item.size is None or item.labels is None:
            reason = "no_size" if item.size is None else "no_labels"
            left_out.append(Reject(item.task_key, reason, "VOC needs the photo's size and its labels"))
            continue
        with writing.text(target / ANNOTATIONS / f"{item.task_key}.xml") as file:
            file.write(_annotation(item, item.size, marks_of(question.kind, item.labels)))
        count += 1
    return Written([target / ANNOTATIONS], count, left_out)


def _annotation(item: Item, size: tuple[int, int], marks: Iterable[Mapping[str, Any]]) -> str:
    head = f"<folder>JPEGImages</folder><filename>{written(item.file_name)}</filename>"
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size><segmented>0</segmented>"
    return f"<annotation>{head}{sides}\n{''.join(_object(mark, size) for mark in marks)}</annotation>\n"


def _object(mark: Mapping[str, Any], size: tuple[int, int]) -> str:
    left, top, width, height = geometry.upright(mark)
    first = [min(max(round(value), 0), side - 1) + 1 for value, side in zip((left, top), size, strict=True)]
    last = [
        min(max(round(value), start), side)
        for value, start, side in zip((left + width, top + height), first, size, strict=True)
    ]
    sides = "".join(f"<{name}>{value}</{name}>" for name, value in zip(_SIDES, (*first, *last), strict=True))
    flags = "".join(f"<{name}>{written(mark.get(name, _USUAL[name]))}</{name}>" for name in _FLAGS)
    return f"<object><name>{written(mark['label'])}</name>{flags}<bndbox>{sides}</bndbox></object>\n"


def losses(question: Question, facts: Facts) -> list[str]:
    """What Pascal VOC can't carry."""
    sentences = ["Coordinates are whole pixels: a side moves by up to half a pixel."]
    if facts.rotated:
        sentences.append(f"{facts.rotated:,} rotated boxes become the upright boxes around them, cut at the photo's edges.")
    sentences.append("VOC names no annotator and no time of an answer: --annotator says whose answers they are.")
    if facts.extra:
        sentences.append(f"Of further keys of {facts.extra:,} marks only {', '.join(_FLAGS)} are written.")
    sentences.append("Tasks without labels are left out, since a file without objects says that nothing is there.")
    return sentences


FORMAT = Format(
    name="voc",
    source="voc",
    kinds=frozenset({"boxes"}),
    read=read,
    write=write,
    losses=losses,
    is_folder=True,
)

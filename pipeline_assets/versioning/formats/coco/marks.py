"""Converts one image's COCO annotations to labels: boxes of objects, and masks of objects and crowds.

Each annotation is checked by itself; an invalid one is left out with its reason.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling import boxes, label_json, masks, rle
from pipeline_assets.labeling.marks import off_photo

Annotation = Mapping[str, Any]
Size = tuple[int, int]
_AROUND = 100
"""Characters of labels besides their marks, with some margin."""


@dataclass
class Marked:
    """The marks of an image: index of the annotation, key of the labels, mark.

    faults: index of each annotation whose mark is left out, and the reason.
    """

    marks: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)

    @property
    def labels(self) -> dict[str, Any]:
        """As labels; empty if there are no marks."""
        labels: dict[str, Any] = {}
        for _, key, mark in self.marks:
            labels.setdefault(key, []).append(mark)
        return labels


def marked(annotations: Sequence[Annotation], names: Mapping[Any, str], size: Size | None) -> Marked:
    """Convert annotations. names: of categories, by id; size: the image's width and height in pixels, if known."""
    marks_of_image = Marked()
    for number, annotation in enumerate(annotations):
        category = annotation.get("category_id")
        if category is not None and label_of(annotation, names) is None:
            marks_of_image.faults.append((number, f"the category {category!r:.60} is not in the file"))
            continue
        for key, mark in _marks(annotation, names, size):
            if isinstance(mark, str):
                marks_of_image.faults.append((number, mark))
            else:
                marks_of_image.marks.append((number, key, mark))
    return _bounded(marks_of_image)


def label_of(annotation: Annotation, names: Mapping[Any, str]) -> str | None:
    """The name of an annotation's category; None if it has no category, or an unknown one."""
    category = annotation.get("category_id")
    return names.get(category) if isinstance(category, int | str) else None


def _marks(
    annotation: Annotation, names: Mapping[Any, str], size: Size | None
) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Each mark with its key of the labels, or its fault."""
    label = label_of(annotation, names)
    extra: dict[str, Any] = {} if label is None else {"label": label}
    is_crowd = bool(annotation.get("iscrowd"))
    box: dict[str, Any] | None = None
    mask: dict[str, Any] | None = None
    try:
        box = _box(annotation.get("bbox"), size)
    except UnfitParent as unfit:
        yield "boxes", unfit.detail
    try:
        mask = _mask(annotation.get("segmentation"), size)
    except UnfitParent as unfit:
        yield "masks", unfit.detail
    except rle.BadRle as error:
        yield "masks", str(error)
    if is_crowd:  # a crowd is a region, not an object
        mask = mask or (_around(box) if box else None)
        extra, box = {**extra, "crowd": True}, None
    if box:
        yield "boxes", box | extra
    if mask:
        yield "masks", mask | extra


def _box(bbox: Any, size: Size | None) -> dict[str, Any] | None:
    """Raises UnfitParent for a box without area, or outside of its image."""
    if bbox is None or bbox == []:
        return None
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise UnfitParent("bad_labels", f"a bbox is [x, y, width, height], not {bbox!r:.60}")
    box = dict(zip(("x", "y", "width", "height"), bbox, strict=True))
    [box_read] = boxes.read({"boxes": [box]})
    _check_inside("a box", box_read.bounds, size)
    return box


def _mask(segmentation: Any, size: Size | None) -> dict[str, Any] | None:
    """Polygons, or runs as polygons. Raises UnfitParent and BadRle for an invalid mask."""
    if segmentation is None or segmentation == []:
        return None
    if (
        isinstance(segmentation, dict)
        and size
        and isinstance(segmentation.get("size"), list)
        and segmentation["size"] != [size[1], size[0]]
    ):
        raise rle.BadRle(f"a mask is of {segmentation['size']!r:.60} (height, width), and its image of {[size[1], size[0]]}")
    mask = {"polygons": rle.polygons(segmentation) if isinstance(segmentation, dict) else segmentation}
    [mask_read] = masks.read({"masks": [mask]})
    _check_inside("a mask", mask_read.bounds, size)
    return mask


def _around(box: Mapping[str, Any]) -> dict[str, Any]:
    x0, y0, x1, y1 = box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]
    return {"polygons": [[x0, y0, x1, y0, x1, y1, x0, y1]]}


def _check_inside(kind: str, bounds: tuple[float, float, float, float], size: Size | None) -> None:
    if size and off_photo(bounds, *size):
        left, top, right, bottom = bounds
        place = f"from {left:g}, {top:g} to {right:g}, {bottom:g}"
        raise UnfitParent("bad_labels", f"{kind} is {place}, on an image of {size[0]} x {size[1]}")


def _bounded(marked: Marked) -> Marked:
    """Leave out the largest marks until the labels are within the size limit."""
    sizes = [len(json.dumps(mark)) for _, _, mark in marked.marks]
    total = sum(sizes)
    for at in sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True):
        if total <= label_json.MAX_CHARACTERS - _AROUND:
            break
        marked.faults.append((marked.marks[at][0], f"a mark of {sizes[at]:,} characters is too much beside the others"))
        total, sizes[at] = total - sizes[at], 0
    return Marked([mark for mark, size in zip(marked.marks, sizes, strict=True) if size], marked.faults)

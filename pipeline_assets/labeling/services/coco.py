"""COCO: one JSON with images, categories and annotations: boxes, polygons, masks as runs, keypoints. Pure.

The image's `file_name` is the task's key. A rotated box is written as its upright box, with its corners as segmentation and
its angle in `attributes.rotation`, from which it comes back. An image without annotations is an answer: nothing is there.
Source: cocodataset.org/#format-data.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from pipeline_assets.errors import ImportRefused, UnfitParent
from pipeline_assets.labeling import polygons, rle
from pipeline_assets.labeling.services import geometry, json_files, writing
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

_USED = {"id", "image_id", "category_id", "bbox", "segmentation", "area", "keypoints", "num_keypoints", "iscrowd"}
KEYPOINT = "point"


def read(path: Path, reading: Reading) -> Iterator[Found | Reject]:
    """The annotations of each image, as one answer. Raises ImportRefused if it is no COCO."""
    content = json_files.whole(path)
    if not isinstance(content, dict) or not all(isinstance(content.get(name, []), list) for name in _LISTS):
        raise ImportRefused(f"{path} is JSON, but not COCO: images, categories and annotations are lists.")
    if not isinstance(content.get("images"), list):
        raise ImportRefused(f"{path} is JSON, but not COCO: it has no list of images.")
    names = {one["id"]: one.get("name") for one in content.get("categories", []) if _has_id(one)}
    by_image: dict[Any, list[Any]] = {one["id"]: [] for one in content["images"] if _has_id(one)}
    for place, annotation in enumerate(content.get("annotations", []), start=1):
        image = annotation.get("image_id") if isinstance(annotation, dict) else None
        if isinstance(image, int | str) and image in by_image:
            by_image[image].append(annotation)
        else:
            detail = f"its image_id {image!r:.60} is of no image"
            yield Reject(f"annotation {place:,}", "bad_annotation", detail, json_files.raw_of(annotation))
    for place, image in enumerate(content["images"], start=1):
        if _has_id(image) and isinstance(image.get("file_name"), str):
            yield _found(f"image {place:,}", image, by_image[image["id"]], names)
        else:
            yield Reject(f"image {place:,}", "bad_image", "an image has an id and a file_name", json_files.raw_of(image))


_LISTS = ("images", "categories", "annotations")


def _has_id(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("id"), int | str)


def _found(place: str, image: Mapping[str, Any], annotations: list[Any], names: Mapping[Any, Any]) -> Found:
    width, height = image.get("width"), image.get("height")
    known = {"id", "file_name", "width", "height", "date_captured", "license", "coco_url", "flickr_url"}
    return Found(
        place=f"{place}, {image['file_name'][:80]}",
        task=image["file_name"],
        labels=lambda canvas: labels_of(annotations, names, canvas),
        size=(width, height) if type(width) is int and type(height) is int else None,
        extra={name: value for name, value in image.items() if name not in known},
        raw=json_files.raw_of({"image": image, "annotations": annotations[:20]}),
    )


def labels_of(annotations: list[Any], names: Mapping[Any, Any], canvas: Canvas) -> Marks:
    """The answer of an image's annotations."""
    kind = canvas.question.kind
    return {"masks" if kind in ("polygons", "masks") else kind: [_mark(kind, one, names, canvas) for one in annotations]}


def _mark(kind: str, annotation: Mapping[str, Any], names: Mapping[Any, Any], canvas: Canvas) -> Any:
    try:
        category = annotation.get("category_id")
        if not isinstance(category, int | str) or category not in names:
            raise UnfitParent("bad_labels", f"the category {category!r:.60} is not in the file")
        rest = {name: value for name, value in annotation.items() if name not in _USED and value not in (None, {}, [])}
        if isinstance(attributes := rest.get("attributes"), dict):
            kept = {name: value for name, value in attributes.items() if name != "rotation"}
            rest = {name: value for name, value in rest.items() if name != "attributes"} | (
                {"attributes": kept} if kept else {}
            )
        crowd = {"crowd": True} if annotation.get("iscrowd") else {}
        return _shape(kind, annotation) | {"label": names[category], **crowd, **rest}
    except UnfitParent as unfit:
        return Fault(unfit.reason, unfit.detail)
    except rle.BadRle as error:
        return Fault("bad_labels", str(error))


def _shape(kind: str, annotation: Mapping[str, Any]) -> dict[str, Any]:
    segmentation = annotation.get("segmentation")
    if kind == "boxes":
        return _box(annotation, segmentation)
    if kind == "points":
        keypoints = annotation.get("keypoints")
        if not isinstance(keypoints, list) or len(keypoints) != 3 or not keypoints[2]:
            raise UnfitParent("bad_labels", f"an annotation of a point has one visible keypoint, not {keypoints!r:.60}")
        return {"x": number(keypoints[0], "x"), "y": number(keypoints[1], "y")}
    if isinstance(segmentation, dict):
        runs = rle.runs(segmentation)
        if len(runs) < 2 or not sum(runs[1::2]):
            raise UnfitParent("bad_labels", "a mask without a pixel")
        return {"rle": {"size": segmentation["size"], "counts": runs}}
    if not isinstance(segmentation, list) or not segmentation:
        raise UnfitParent("bad_labels", "an annotation without segmentation, where the question asks for masks")
    return {"polygons": segmentation}


def _box(annotation: Mapping[str, Any], segmentation: Any) -> dict[str, Any]:
    attributes = annotation.get("attributes")
    turn = attributes.get("rotation") if isinstance(attributes, Mapping) else None
    bbox = annotation.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise UnfitParent("bad_labels", f"a bbox is [x, y, width, height], not {bbox!r:.60}")
    place = [number(value, "bbox") for value in bbox]
    if not isinstance(turn, int | float) or not turn:
        return geometry.box(*place)
    if (
        isinstance(segmentation, list)
        and len(segmentation) == 1
        and isinstance(segmentation[0], list)
        and len(segmentation[0]) == 8
    ):
        return geometry.of_corners(geometry.points_of([number(value, "a corner") for value in segmentation[0]]))
    x, y, width, height = place  # CVAT's export: the box before it turns around its middle
    return geometry.of_middle(x, y, x + width, y + height, number(turn, "rotation"))


def write(target: Path, question: Question, items: Iterable[Item]) -> Written:
    """Write one JSON. Images belong beside it, or into `images/`, under their `file_name`."""
    categories = {name: number_of for number_of, name in enumerate(question.classes, start=1)}
    identities, left_out, images = count(1), list[Reject](), 0
    with writing.text(target) as file, TemporaryFile("w+", encoding="utf-8") as annotations:
        header = {"info": {"description": f"Darkroom, campaign {question.campaign}"}, "licenses": []}
        entries = [_category(question, name, identity) for name, identity in categories.items()]
        file.write(writing.compact({**header, "categories": entries})[:-1] + ',\n"images":[')
        for item in items:
            try:
                marks = [_annotation(question.kind, mark, categories, item) for mark in marks_of(question.kind, item.labels)]
                entry = _image(item, images + 1)
            except UnfitParent as unfit:
                left_out.append(Reject(item.task_key, unfit.reason, unfit.detail))
                continue
            images += 1
            file.write((",\n" if images > 1 else "\n") + writing.compact(entry))
            for mark in marks:
                identity = next(identities)
                annotations.write(
                    (",\n" if identity > 1 else "\n") + writing.compact({"id": identity, "image_id": images, **mark})
                )
        file.write('\n],\n"annotations":[')
        annotations.seek(0)
        while text := annotations.read(1 << 20):
            file.write(text)
        file.write("\n]}\n")
    return Written([target], images, left_out)


def _category(question: Question, name: str, identity: int) -> dict[str, Any]:
    return {"id": identity, "name": name, **({"keypoints": [KEYPOINT], "skeleton": []} if question.kind == "points" else {})}


def _image(item: Item, identity: int) -> dict[str, Any]:
    if item.size is None:
        raise UnfitParent("no_size", "COCO needs the photo's width and height")
    url = {"coco_url": item.url} if item.url else {}
    return {"id": identity, "file_name": item.file_name, "width": item.size[0], "height": item.size[1], **url}


def _annotation(kind: str, mark: Mapping[str, Any], categories: Mapping[str, int], item: Item) -> dict[str, Any]:
    attributes = dict(mark.get("attributes") or {})
    shape: dict[str, Any]
    if kind == "boxes":
        left, top, width, height = geometry.upright(mark)
        corners = [geometry.tidy(value) for value in geometry.flat(geometry.corners(mark))]
        turn = geometry.rotation_of(mark)
        attributes |= {"rotation": turn} if turn else {}
        shape = {"bbox": [left, top, width, height], "area": float(mark["width"] * mark["height"])}
        shape["segmentation"] = [corners] if turn else []
    elif kind == "points":
        shape = {"keypoints": [mark["x"], mark["y"], 2], "num_keypoints": 1, "bbox": [mark["x"], mark["y"], 0, 0], "area": 0}
    else:
        shape = _segmentation(mark)
    extra = {"attributes": attributes} if attributes else {}
    label = {"category_id": categories[mark["label"]], "iscrowd": int(bool(mark.get("crowd")))}
    return {**label, **shape, **extra}


def _segmentation(mark: Mapping[str, Any]) -> dict[str, Any]:
    """Polygons as they are, and runs as COCO's text; the box and the area of both."""
    shapes = mark["polygons"] if "polygons" in mark else rle.polygons(mark["rle"])
    segmentation = shapes if "polygons" in mark else {"size": mark["rle"]["size"], "counts": rle.text(mark["rle"]["counts"])}
    points = [point for shape in shapes for point in geometry.points_of(shape)]
    if not points:
        raise UnfitParent("bad_labels", "a mask without a pixel")
    xs, ys = zip(*points, strict=True)
    area = sum(polygons.area(geometry.points_of(shape)) for shape in shapes)
    return {"segmentation": segmentation, "bbox": [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)], "area": area}


def losses(question: Question, facts: Facts) -> list[str]:
    """What COCO can't carry."""
    sentences = ["COCO names no annotator and no time of an answer: --annotator says whose answers they are."]
    sentences += unlabelled(facts)
    if facts.rotated:
        sentences.append(
            f"COCO's boxes have no rotation: {facts.rotated:,} become upright boxes, with the corners as segmentation and "
            "the angle in attributes.rotation. Darkroom reads both; other readers see a larger box."
        )
    if facts.extra:
        sentences.append(f"Of further keys of {facts.extra:,} marks only `attributes` and `crowd` are written.")
    return sentences


FORMAT = Format(
    name="coco",
    source="coco",
    kinds=frozenset({"boxes", "polygons", "masks", "points"}),
    read=read,
    write=write,
    losses=losses,
)

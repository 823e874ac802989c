"""Finds COCO's files and indexes one JSON by image. Rejects invalid annotations; `marks.py` reads their marks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_assets.errors import ImportRefused
from pipeline_assets.labeling import label_json
from pipeline_assets.runtime import strict_json
from pipeline_assets.versioning.formats.incoming import Rejected

ANNOTATIONS, CAPTIONS, IMAGES = "annotations.json", "captions.json", "images"
MAX_JSON_BYTES = 1024**3
"""Size limit of a JSON, which is in memory whole, as in every reader of COCO."""
MAX_DECODED_BYTES = 8 * 1024**3
"""Limit of the decoded JSON in memory."""


@dataclass
class Index:
    """A COCO JSON, by image. rejected: annotations without an image, or with invalid JSON."""

    images: Sequence[Any]
    names: Mapping[Any, str]
    annotations: Mapping[Any, list[Mapping[str, Any]]]
    rejected: list[Rejected]


def jsons(source: Path) -> list[Path]:
    """The JSON itself, or those in a folder: ours, of a COCO release, or of Roboflow. Raises ImportRefused."""
    if source.is_file():
        return [source]
    patterns = (ANNOTATIONS, "annotations/instances_*.json", "instances_*.json", "_annotations.coco.json")
    for pattern in (*patterns, "*/_annotations.coco.json"):
        if paths := [path for path in sorted(source.glob(pattern)) if path.is_file()]:
            return paths
    raise ImportRefused(
        f"{source} has no {ANNOTATIONS} and no annotations/instances_*.json: name the COCO JSON itself; its images must "
        "lie beside it."
    )


def part_of(path: Path) -> str:
    """The split of a JSON: `val` for `instances_val.json`, `train` for `train/_annotations.coco.json`."""
    return path.parent.name if path.name.startswith("_") else path.stem.rpartition("_")[2]


def read(path: Path) -> Index:
    """A JSON's images, categories and annotations, with the captions beside it. Raises ImportRefused if it is no COCO."""
    plain = _load(path)
    if not isinstance(plain.get("images"), list):
        raise ImportRefused(f"{path} is JSON, but not COCO: it has no list of images.")
    captions = [part for captions_path in _captions(path) for part in _load(captions_path).get("annotations", [])]
    categories = [
        category for category in plain.get("categories", []) if isinstance(category, dict) and not label_json.fault(category)
    ]
    names = {
        category["id"]: str(category["name"])
        for category in categories
        if id_of(category) is not None and "name" in category
    }
    index = Index(plain["images"], names, {id_of(entry): [] for entry in plain["images"] if id_of(entry) is not None}, [])
    for number, annotation in enumerate((*plain.get("annotations", []), *captions)):
        fault = _fault(annotation, index)
        if fault:
            annotation_id = annotation.get("id", number) if isinstance(annotation, dict) else number
            index.rejected.append(Rejected(f"{path.name}: annotation {annotation_id!r:.60}", "bad_annotation", fault))
        else:
            index.annotations[annotation["image_id"]].append(annotation)
    return index


def id_of(entry: Any) -> Any:
    """The id of an image or a category; None if it has no valid one."""
    identifier = entry.get("id") if isinstance(entry, dict) else None
    return identifier if isinstance(identifier, int | str) else None


def _fault(annotation: Any, index: Index) -> str | None:
    """Why an annotation is rejected; None if it is valid."""
    if not isinstance(annotation, dict):
        return "an annotation is an object"
    image = annotation.get("image_id")
    if not isinstance(image, int | str) or image not in index.annotations:
        return f"its image_id {image!r:.60} is of no image" if "image_id" in annotation else "it has no image_id"
    return label_json.fault(annotation)


def _captions(path: Path) -> list[Path]:
    """The file of captions beside a JSON, if there is one."""
    name = CAPTIONS if path.name == ANNOTATIONS else path.name.replace("instances_", "captions_")
    return [path.with_name(name)] if name != path.name and path.with_name(name).is_file() else []


def _load(path: Path) -> dict[str, Any]:
    if path.is_symlink() or path.stat().st_size > MAX_JSON_BYTES:
        raise ImportRefused(f"{path} is a link, or has more than {MAX_JSON_BYTES:,} bytes.")
    try:
        data = path.read_bytes()
        if _estimated_bytes(data) > MAX_DECODED_BYTES:
            raise ImportRefused(f"{path} would take more than {MAX_DECODED_BYTES:,} bytes of memory: split it.")
        content = strict_json.loads_leniently(data, _integer)
    except strict_json.BadJson as error:
        raise ImportRefused(f"{path} is no JSON: {str(error)[:200]}") from None
    if not isinstance(content, dict) or not all(
        isinstance(content.get(part, []), list) for part in ("annotations", "categories")
    ):
        raise ImportRefused(f"{path} is JSON, but not COCO: its annotations or categories are no lists.")
    return content


def _estimated_bytes(data: bytes) -> int:
    """Approximate memory of a JSON's values: an empty list or object takes 64 bytes, and a number 32."""
    return 64 * (data.count(b"[") + data.count(b"{")) + 32 * data.count(b",")


def _integer(digits: str) -> int | float:
    """An integer; infinity for too many digits, which is reported with its annotation."""
    return int(digits) if len(digits) <= 20 else math.inf


def roots(path: Path) -> list[Path]:
    """Folders in which images may lie: beside the JSON, or, in COCO's layout, a folder named like the JSON's split."""
    parent, part = path.parent.parent, part_of(path)
    folders = [path.parent / IMAGES, path.parent, parent / IMAGES / part, parent / IMAGES, parent / part]
    folders += [parent] if path.parent.name == "annotations" else []
    return [root.resolve() for root in folders if root.is_dir() and not root.is_symlink()]

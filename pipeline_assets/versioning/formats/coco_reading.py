"""Reading COCO: a row an image with its labels, captions and annotations, and the image's bytes from the folder beside.

No path leads out of that folder: one that would, or that is a link, is rejected with its image.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from pipeline_assets.errors import ImportRefused
from pipeline_assets.versioning.formats import incoming
from pipeline_assets.versioning.formats.incoming import Batch, File, Reading, Rejected
from pipeline_assets.versioning.formats.json_cells import from_json
from pipeline_assets.versioning.manifest import path_fault

ANNOTATIONS, CAPTIONS, IMAGES = "annotations.json", "captions.json", "images"
MAX_JSON_BYTES = 1024**3
"""The JSON is held in memory whole, as every reader of COCO does."""
COLUMNS: dict[str, pl.DataType] = {
    "coco_id": pl.Int64(),
    "coco_file_name": pl.String(),
    "coco_width_px": pl.Int64(),
    "coco_height_px": pl.Int64(),
    "coco_labels": pl.List(pl.String),
    "coco_captions": pl.List(pl.String),
    "coco_annotations_json": pl.String(),
}
"""Labels: names of the categories of an image's annotations, each once, by name. The JSON: its annotations, whole."""


@dataclass(frozen=True)
class _Index:
    """A COCO JSON, by image."""

    images: Sequence[Mapping[str, Any]]
    names: Mapping[int, str]
    annotations: Mapping[int, list[Mapping[str, Any]]]


def batches(source: Path, asked: Reading) -> Iterator[Batch | Rejected]:
    """The images of a COCO JSON, or of `annotations.json` in a folder. Raises ImportRefused for what is no COCO."""
    path = source if source.is_file() else source / ANNOTATIONS
    if not path.is_file():
        raise ImportRefused(f"{source} has no {ANNOTATIONS}: name the COCO JSON itself; its images are found beside it.")
    types = incoming.described_types(path)
    index = _index(path)
    roots = _roots(path)
    rows: list[Mapping[str, Any]] = []
    files: list[File] = []
    held = 0
    for entry in index.images:
        found = _image(entry, index, roots, types)
        if isinstance(found, Rejected):
            yield found
            continue
        row, file = found
        files.append(File(file.data, file.path, len(rows)))
        rows.append(row)
        held += len(file.data)
        if len(rows) >= incoming.BATCH_ROWS or held > incoming.BATCH_BYTES:
            yield Batch(path.name, _frame(rows, types), files)
            rows, files, held = [], [], 0
    if rows:
        yield Batch(path.name, _frame(rows, types), files)


def _index(path: Path) -> _Index:
    plain = _load(path)
    beside = path.with_name(CAPTIONS)
    captions = _load(beside)["annotations"] if path.name == ANNOTATIONS and beside.is_file() else []
    by_image: dict[int, list[Mapping[str, Any]]] = {}
    try:
        for annotation in (*plain.get("annotations", []), *captions):
            by_image.setdefault(annotation["image_id"], []).append(annotation)
        names = {category["id"]: str(category["name"]) for category in plain.get("categories", [])}
        return _Index(list(plain["images"]), names, by_image)
    except (TypeError, KeyError, AttributeError) as error:
        raise ImportRefused(f"{path} is JSON, but not of COCO: {error!r}") from None


def _load(path: Path) -> dict[str, Any]:
    if path.is_symlink() or path.stat().st_size > MAX_JSON_BYTES:
        raise ImportRefused(f"{path} is a link, or has more than {MAX_JSON_BYTES:,} bytes.")
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ImportRefused(f"{path} is no JSON: {str(error)[:200]}") from None
    if not isinstance(found, dict) or not all(isinstance(found.get(part, []), list) for part in ("images", "annotations")):
        raise ImportRefused(f"{path} is JSON, but not of COCO: it has no lists of images and annotations.")
    return found


def _roots(path: Path) -> list[Path]:
    """Where images may lie: beside the JSON, or as COCO is laid out, in a folder named like the JSON's last word."""
    above = path.parent.parent
    found = [path.parent / IMAGES, path.parent, above / IMAGES, above / path.stem.rpartition("_")[2]]
    return [root.resolve() for root in found if root.is_dir() and not root.is_symlink()]


def _image(
    entry: Any, index: _Index, roots: Sequence[Path], types: pl.Schema | None
) -> tuple[Mapping[str, Any], File] | Rejected:
    name = entry.get("file_name") if isinstance(entry, dict) else None
    if not isinstance(name, str):
        return Rejected(str(entry)[:200], "bad_image", "an image without a file_name")
    fault = path_fault(name)
    if fault:
        return Rejected(name[:200], "unsafe_path", fault)
    path = next((root / name for root in roots if (root / name).exists()), None)
    if path is None:
        return Rejected(name, "missing", "no such file beside the JSON")
    inside = any(path.resolve() == root / name for root in roots)
    if not inside or not path.is_file():
        return Rejected(name, "unsafe_path", "it is a link, lies behind one, or is no file")
    if path.stat().st_size > incoming.MAX_FILE_BYTES:
        return Rejected(name, "too_large", f"{path.stat().st_size:,} bytes")
    try:
        row = _row(entry, index, types)
        _frame([row], types)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, PolarsError) as error:
        return Rejected(name, "bad_image", str(error))
    return row, File(path.read_bytes(), name)


def _row(entry: Mapping[str, Any], index: _Index, types: pl.Schema | None) -> Mapping[str, Any]:
    annotations = index.annotations.get(entry["id"], [])
    if types is None:
        boxes = _boxes(annotations, index)
        more = {incoming.LABELS: json.dumps({"boxes": boxes}) if boxes else None}
    else:  # an export of Darkroom: nobody drew its boxes
        more = {name: entry["darkroom"][name] for name in types}
    return more | {
        "coco_id": entry["id"],
        "coco_file_name": entry["file_name"],
        "coco_width_px": entry.get("width"),
        "coco_height_px": entry.get("height"),
        "coco_labels": sorted({index.names[a["category_id"]] for a in annotations if "category_id" in a}),
        "coco_captions": [a["caption"] for a in annotations if "caption" in a],
        "coco_annotations_json": json.dumps(annotations, ensure_ascii=False, sort_keys=True),
    }


def _boxes(annotations: Sequence[Mapping[str, Any]], index: _Index) -> list[dict[str, Any]]:
    """Boxes as Darkroom's labels have them; those of no area are left."""
    found = []
    for annotation in annotations:
        x, y, width, height = annotation.get("bbox") or (0, 0, 0, 0)
        if width > 0 and height > 0:
            label = index.names.get(annotation.get("category_id", -1))
            found.append({"x": x, "y": y, "width": width, "height": height, **({"label": label} if label else {})})
    return found


def _frame(rows: Sequence[Mapping[str, Any]], types: pl.Schema | None) -> pl.DataFrame:
    more = {incoming.LABELS: pl.String()} if types is None else types
    schema = pl.Schema([*more.items(), *COLUMNS.items()])
    return pl.DataFrame([from_json(name, [row[name] for row in rows], dtype) for name, dtype in schema.items()])

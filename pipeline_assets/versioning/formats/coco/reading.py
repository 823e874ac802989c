"""Reads COCO: one row per image with its labels, captions and annotations, and the image's bytes from the folder.

Paths that lead out of that folder, and links, are rejected with their image.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from PIL import ExifTags, Image
from polars.exceptions import PolarsError

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling import label_json
from pipeline_assets.versioning.formats import incoming
from pipeline_assets.versioning.formats.coco import coco_index, marks
from pipeline_assets.versioning.formats.coco.coco_index import Index
from pipeline_assets.versioning.formats.coco.marks import Marked
from pipeline_assets.versioning.formats.incoming import Batch, File, Reading, Rejected
from pipeline_assets.versioning.formats.json_cells import from_json
from pipeline_assets.versioning.pin.manifest import path_fault

COLUMNS: dict[str, pl.DataType] = {
    "coco_id": pl.Int64(),
    "coco_file_name": pl.String(),
    "coco_width_px": pl.Int64(),
    "coco_height_px": pl.Int64(),
    "coco_labels": pl.List(pl.String),
    "coco_captions": pl.List(pl.String),
    "coco_annotations_json": pl.String(),
}
"""coco_labels: category names of the image's annotations, unique, sorted. coco_annotations_json: its annotations."""


@dataclass(frozen=True)
class _Image:
    """A row with its file's bytes. faults: annotations left out of its labels, and the reasons."""

    row: Mapping[str, Any]
    data: bytes
    faults: Sequence[tuple[Mapping[str, Any], str]]


def batches(source: Path, reading: Reading) -> Iterator[Batch | Rejected]:
    """The images of a COCO JSON, or of those in a folder. Raises ImportRefused if it is no COCO."""
    paths = coco_index.jsons(source)
    for path in paths:
        # Two splits may have images of the same name.
        folder = f"{coco_index.part_of(path)}/" if len(paths) > 1 else ""
        yield from _batches(path, folder, incoming.described_types(path))


def _batches(path: Path, folder: str, types: pl.Schema | None) -> Iterator[Batch | Rejected]:
    index = coco_index.read(path)
    yield from index.rejected
    rows: list[Mapping[str, Any]] = []
    files: list[File] = []
    batch_bytes = 0
    for image in _images(path, index, types):
        if isinstance(image, Rejected):
            yield image
            continue
        files.append(File(image.data, folder + image.row["coco_file_name"], len(rows)))
        rows.append(image.row)
        batch_bytes += len(image.data)
        if len(rows) >= incoming.BATCH_ROWS or batch_bytes > incoming.BATCH_BYTES:
            yield Batch(path.name, _frame(rows, types), files)
            rows, files, batch_bytes = [], [], 0
    if rows or (types is not None and not index.images):
        yield Batch(path.name, _frame(rows, types), files)


def _images(path: Path, index: Index, types: pl.Schema | None) -> Iterator[_Image | Rejected]:
    """Each image once, and rejections of images and annotations."""
    roots = coco_index.roots(path)
    names_met: set[Any] = set()
    for entry in index.images:
        place = _place(entry, roots)
        image = place if isinstance(place, Rejected) else _read(entry, place, index, types)
        if isinstance(image, Rejected):
            yield image
            continue
        names = {("id", image.row["coco_id"])}
        if types is None:  # in an export of Darkroom several rows may share a file
            names.add(("name", image.row["coco_file_name"]))
        if names & names_met:
            yield Rejected(
                entry["file_name"],
                "duplicate",
                "an image of this name or id came before: it is left out with its annotations",
            )
            continue
        names_met |= names
        for annotation, fault in image.faults:
            source = f"{path.name}: annotation {annotation.get('id')!r:.60} of {entry['file_name']}"
            yield Rejected(source, "bad_annotation", fault)
        yield image


def _place(entry: Any, roots: Sequence[Path]) -> Path | Rejected:
    """The path of an image's file."""
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
    return path


def _read(entry: Mapping[str, Any], path: Path, index: Index, types: pl.Schema | None) -> _Image | Rejected:
    annotations = index.annotations.get(coco_index.id_of(entry), [])
    data = path.read_bytes()
    marked = Marked()
    try:
        if types is None:
            marked = _marks_of(entry, annotations, index, data)
            fields = {incoming.LABELS: label_json.dump(marked.labels) if marked.labels else None}
        else:  # an export of Darkroom: nobody drew its boxes
            fields = {name: entry["darkroom"][name] for name in types}
        row = fields | _coco_columns(entry, annotations, index)
        _frame([row], types)
    except (UnfitParent, ValueError, KeyError, TypeError, AttributeError, OverflowError, PolarsError) as error:
        return Rejected(entry["file_name"], "bad_image", str(error))
    return _Image(row, data, [(annotations[number], fault) for number, fault in marked.faults])


def _coco_columns(entry: Mapping[str, Any], annotations: Sequence[Mapping[str, Any]], index: Index) -> dict[str, Any]:
    """The values of COLUMNS for an image."""
    labels = {marks.label_of(annotation, index.names) for annotation in annotations}
    return {
        "coco_id": entry["id"],
        "coco_file_name": entry["file_name"],
        "coco_width_px": entry.get("width"),
        "coco_height_px": entry.get("height"),
        "coco_labels": sorted(label for label in labels if label is not None),
        "coco_captions": [a["caption"] for a in annotations if isinstance(a.get("caption"), str)],
        "coco_annotations_json": json.dumps(annotations, ensure_ascii=False, sort_keys=True),
    }


def _marks_of(entry: Mapping[str, Any], annotations: Sequence[Mapping[str, Any]], index: Index, data: bytes) -> Marked:
    """The marks of an image; all are faults if its actual size differs from the JSON's."""
    width, height = entry.get("width"), entry.get("height")
    claimed = (width, height) if type(width) is int and type(height) is int else None
    size = _upright_size(data)
    if size and claimed and claimed != size:
        fault = f"the file says {width} x {height}, and the picture has {size[0]} x {size[1]} pixels once it is upright"
        return Marked(
            [],
            [
                (n, fault)
                for n, annotation in enumerate(annotations)
                if annotation.get("bbox") or annotation.get("segmentation")
            ],
        )
    return marks.marked(annotations, index.names, size or claimed)


def _upright_size(data: bytes) -> tuple[int, int] | None:
    """A picture's upright width and height from its header; None if it is no picture."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            is_turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
            return (image.height, image.width) if is_turned else image.size
    except Exception:
        return None


def _frame(rows: Sequence[Mapping[str, Any]], types: pl.Schema | None) -> pl.DataFrame:
    columns = {incoming.LABELS: pl.String()} if types is None else types
    schema = pl.Schema([*columns.items(), *COLUMNS.items()])
    return pl.DataFrame({name: from_json(name, [row[name] for row in rows], dtype) for name, dtype in schema.items()})

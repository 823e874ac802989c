"""COCO: `images/` and `annotations.json`, which pycocotools loads; `captions.json` where photos have titles.

A classifier's result becomes one annotation whose box is the whole photo, and the file's `info` says that nobody drew it.
Columns of plain values are in each image's `darkroom`; lists are left out. Reading is in
`reading.py`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

import polars as pl

from pipeline_assets.errors import ExportRefused
from pipeline_assets.ingestion.media.inspection import inspect
from pipeline_assets.ingestion.schemas import IS_PHOTO
from pipeline_assets.versioning.formats.coco.reading import batches
from pipeline_assets.versioning.formats.json_cells import cells, plain
from pipeline_assets.versioning.formats.records import BYTES, PATH, ExportOptions, Records
from pipeline_assets.versioning.formats.shards import Exported, Target, Tell, with_progress
from pipeline_assets.versioning.pin.contents import Pinned

__all__ = ["batches", "export"]

ABOUT = (
    "Exported by Darkroom. Each annotation is a classifier's most probable class of a whole photo, with a box of the whole "
    "photo: nobody drew it."
)
Size = tuple[int, int]


def export(pinned: Pinned, target: Target, options: ExportOptions, tell: Tell) -> Exported:
    """Write images and annotations. Files that are no photos are left out and counted in `lost`.

    Raises ExportRefused for rows without files.
    """
    records = Records(pinned, options)
    if BYTES not in records.schema:
        raise ExportRefused("COCO needs images, and these rows have none: choose a table with sha256, without --no-bytes.")
    if BYTES in (options.columns or ()):
        raise ExportRefused(f"{BYTES} is no column to name: the files are under images/.")
    facts = Facts(pinned, records)
    writer = _Writer(target, facts)
    lists = [name for name, dtype in records.schema.items() if isinstance(dtype, pl.List)]
    with target.file("annotations.json") as path, path.open("w", encoding="utf-8") as file:
        header: dict[str, Any] = {"info": {"description": ABOUT, "version": pinned.reference.identity}, "licenses": []}
        header["categories"] = [{"id": n, "name": name} for name, n in facts.categories.items()]
        file.write(json.dumps(header, ensure_ascii=False, indent=1)[:-2] + ',\n "images": [')
        writer.write_images(with_progress(records, tell), file)
        file.write('\n ],\n "annotations": [')
        writer.write_annotations(file)
        file.write("\n ]\n}\n")
    if writer.titles:
        with target.file("captions.json") as path, path.open("w", encoding="utf-8") as file:
            writer.write_captions(file)
    columns = pl.Schema([(name, dtype) for name, dtype in records.schema.items() if name not in (*lists, BYTES)])
    target.describe("coco", pinned, columns, writer.images)
    losses = [f"{', '.join(lists)}: lists have no place in COCO"] if lists else []
    if writer.left_out:
        losses.append(f"{writer.left_out:,} rows without a photo that decodes")
    return Exported(writer.images, target.files, target.size_bytes, losses)


@dataclass(frozen=True)
class Facts:
    """Sizes, classes and titles for COCO, from the rows and the tables pinned with them."""

    pinned: Pinned
    records: Records

    @cached_property
    def sizes(self) -> Mapping[str, Size]:
        """Width and height in pixels by sha256, of photos that decode; empty if no uploads are pinned."""
        if "raw_uploads" not in self.pinned.reference.tables:
            return {}
        rows = self.pinned.rows("raw_uploads").filter(IS_PHOTO)
        photos = rows.select("sha256", "width_px", "height_px").unique("sha256").collect(engine="streaming")
        return {sha256: (width, height) for sha256, width, height in photos.iter_rows()}

    @cached_property
    def class_of(self) -> tuple[pl.Expr, Callable[[Mapping[str, Any]], str | None]] | None:
        """A row's class, as an expression and as a function of a row; None without a class column."""
        if "top_class" in self.records.schema:
            return pl.col("top_class"), lambda row: row["top_class"]
        if "top5_label" in self.records.schema:
            return pl.col("top5_label").list.first(), lambda row: next(iter(row["top5_label"] or ()), None)
        return None

    @cached_property
    def categories(self) -> Mapping[str, int]:
        """Ids from 1 by name, of the rows' classes."""
        if self.class_of is None:
            return {}
        labels = self.records.selected.select(label=self.class_of[0]).unique().drop_nulls().sort("label").collect()["label"]
        return {name: n for n, name in enumerate(labels, start=1)}

    @cached_property
    def titles(self) -> Mapping[int, str]:
        """Titles by photo id, if both are pinned."""
        if "photo_metadata" not in self.pinned.reference.tables or "photo_id" not in self.records.schema:
            return {}
        photos = self.pinned.rows("photo_metadata").select("photo_id", "title").collect(engine="streaming")
        return dict(photos.iter_rows())


@dataclass
class _Writer:
    """Writes images at once, and keeps a few numbers of each for the annotations."""

    target: Target
    facts: Facts
    images: int = 0
    left_out: int = 0
    annotations: list[tuple[int, int, Size]] = field(default_factory=list)
    titles: list[tuple[int, str]] = field(default_factory=list)
    names: dict[str, Size | None] = field(default_factory=dict)

    def write_images(self, batches: Iterator[pl.DataFrame], file: TextIO) -> None:
        """Write each row's image and its entry. A content is one file, however many rows name it."""
        for batch in batches:
            columns = [name for name, dtype in batch.schema.items() if name != BYTES and not isinstance(dtype, pl.List)]
            for row in cells(batch):
                size = self._image(row)
                if size is None:
                    self.left_out += 1
                    continue
                self.images += 1
                entry = {"id": self.images, "file_name": row[PATH], "width": size[0], "height": size[1]}
                entry["darkroom"] = {name: plain(row[name]) for name in columns}
                file.write(f"{',' * (self.images > 1)}\n  {json.dumps(entry, ensure_ascii=False)}")
                self._remember(row, size)

    def write_annotations(self, file: TextIO) -> None:
        """Write one annotation for each image that has a class."""
        for n, (image, category, (width, height)) in enumerate(self.annotations, start=1):
            entry = {"id": n, "image_id": image, "category_id": category, "bbox": [0, 0, width, height]}
            entry |= {"area": width * height, "iscrowd": 0, "segmentation": []}
            file.write(f"{',' * (n > 1)}\n  {json.dumps(entry)}")

    def write_captions(self, file: TextIO) -> None:
        """Write titles as COCO captions."""
        file.write('{\n "info": {"description": "Titles that users gave their photos."},\n "images": [')
        for n, (image, _) in enumerate(self.titles):
            file.write(f"{',' * (n > 0)}\n  {json.dumps({'id': image})}")
        file.write('\n ],\n "annotations": [')
        for n, (image, title) in enumerate(self.titles, start=1):
            entry = {"id": n, "image_id": image, "caption": title}
            file.write(f"{',' * (n > 1)}\n  {json.dumps(entry, ensure_ascii=False)}")
        file.write("\n ]\n}\n")

    def _image(self, row: Mapping[str, Any]) -> Size | None:
        """Write the file unless it exists. Returns its size in pixels; None if it is no photo."""
        path, data = row[PATH], row[BYTES]
        if data is None:
            return None
        if path not in self.names:
            self.names[path] = size = self._size(path, data)
            if size:
                self.target.put(f"images/{path}", data)
        return self.names[path]

    def _size(self, path: str, data: bytes) -> Size | None:
        pinned_size = self.facts.sizes.get(Path(path).stem)
        if pinned_size:
            return pinned_size
        inspected = inspect(data, path)
        is_photo = inspected.verdict == "ok" and (inspected.media_type or "").startswith("image/")
        if not is_photo or inspected.width_px is None or inspected.height_px is None:
            return None
        return inspected.width_px, inspected.height_px

    def _remember(self, row: Mapping[str, Any], size: Size) -> None:
        label = self.facts.class_of and self.facts.class_of[1](row)
        if label is not None:
            self.annotations.append((self.images, self.facts.categories[label], size))
        title = self.facts.titles.get(row.get("photo_id", -1))
        if title:
            self.titles.append((self.images, title))

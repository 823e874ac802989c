"""What formats of labels keep when a tool reads and writes them again, and what it takes: Darkroom, panlabel, Datumaro.

    python -m benchmarks.labels_formats [--images 10000]

Each tool reads the same file and writes it again: Darkroom and Datumaro in the same format, panlabel as COCO, since it keeps
no ids in the others. Darkroom reads the result. A mark is kept if one of its label covers its pixels with an IoU of .95, or,
of masks, all of its label together. CPU seconds are of the whole process, for two upright boxes on each image. Labelbox is
left out: nobody but Labelbox writes its export.
"""

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contests import CommandFailed, measured
from benchmarks.figures import ROOT, Figure, add_options, at_least, finish
from benchmarks.rivals.environments import NotInstallable, python_of
from pipeline_assets.errors import DarkroomError
from pipeline_assets.labeling.campaigns.answer import Answer
from pipeline_assets.labeling.services import bitmaps, geometry, judging
from pipeline_assets.labeling.services.form import Book, Item, Question, Reading, marks_of
from pipeline_assets.labeling.services.registry import FORMATS

IMAGES = 10_000
WIDTH, HEIGHT = 320, 240
SAME_IOU = 0.95
COMPARED = 100
"""Images whose marks are compared; of more only the time counts."""
AT = datetime(2026, 1, 1, tzinfo=UTC)
UPRIGHT = {"x": 20.0, "y": 30.0, "width": 100.0, "height": 60.0, "label": "cat"}
TURNED = {"x": 150.0, "y": 60.0, "width": 90.0, "height": 40.0, "rotation": 30.0, "label": "dog"}
POLYGON = {"polygons": [[30.0, 30.0, 120.0, 40.0, 100.0, 150.0, 40.0, 130.0]], "label": "cat"}
PANLABEL = {"coco": "coco", "cvat": "cvat", "yolo": "yolo", "voc": "voc", "label-studio": "label-studio"}
PANLABEL |= {"supervisely": "supervisely", "scale": "scale-ai"}
DATUMARO = {"coco": "coco_instances", "cvat": "cvat", "voc": "voc_detection"}
FILES = {"coco": "annotations/instances_given.json", "cvat": "annotations.xml"}
FILES |= {"label-studio": "given.json", "scale": "given.json"}
NEEDS_IMAGES = ("yolo", "voc", "supervisely", "coco", "cvat")


def ring() -> dict[str, Any]:
    """A mask of pixels with a hole."""
    bitmap = np.zeros((HEIGHT, WIDTH), bool)
    bitmap[40:160, 60:200] = True
    bitmap[80:120, 100:160] = False
    return {"rle": bitmaps.runs_of(bitmap), "label": "dog"}


CONTENTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "upright boxes": ("boxes", {"boxes": [UPRIGHT, {**UPRIGHT, "x": 180.0, "label": "dog"}]}),
    "turned boxes": ("boxes", {"boxes": [TURNED]}),
    "polygons": ("polygons", {"masks": [POLYGON]}),
    "masks": ("masks", {"masks": [ring()]}),
}


def question(kind: str) -> Question:
    """A question with two classes."""
    return Question("formats", 1, kind, ("cat", "dog"))  # type: ignore[arg-type]


def items(count: int, labels: Mapping[str, Any]) -> list[Item]:
    """Tasks with these labels."""
    photo: dict[str, Any] = {"media_type": "image/jpeg", "width_px": WIDTH, "height_px": HEIGHT}
    return [Item(f"{number:064x}", labels=labels, **photo) for number in range(count)]


def write(name: str, kind: str, given: Sequence[Item], target: Path) -> None:
    """Write a file as the service would return it: suggestions of Label Studio and Scale as answers."""
    FORMATS[name].write(target, question(kind), given)
    if name in ("label-studio", "scale"):
        tasks = json.loads(target.read_text())
        for number, task in enumerate(tasks, 1):
            if name == "scale":
                task |= {"task_id": str(number), "status": "completed", "response": task.pop("hypothesis")}
            else:
                task["annotations"] = [{"id": number, "completed_by": 1, "result": task.pop("predictions")[0]["result"]}]
        target.write_text(json.dumps(tasks))


def read(name: str, kind: str, path: Path, given: Sequence[Item]) -> list[dict[str, Any]]:
    """The labels in a file, by Darkroom's reader."""
    asked = question(kind)
    book = Book({one.task_key: one for one in given}, {1: asked})
    found = FORMATS[name].read(path, Reading(asked.kind, asked.classes))
    results = judging.judged(judging.Judging(FORMATS[name], book, AT, "ann"), found)
    return [json.loads(one.answer_json or "{}") for one in results if isinstance(one, Answer)]


def kept(name: str, kind: str, path: Path, given: Sequence[Item]) -> float:
    """The share of marks that are as before; 0 if nothing can be read."""
    try:
        answers = read(name, kind, path, given)
    except (DarkroomError, OSError):
        return 0.0
    after = [marks_of(question(kind).kind, answer) for answer in answers]
    before = marks_of(question(kind).kind, given[0].labels)  # the same on all
    shares = [sum(any(same(mark, found) for found in groups(kind, marks)) for mark in before) for marks in after]
    return sum(shares) / (len(before) * len(given))


def groups(kind: str, marks: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """What a mark is compared with: each box, or all masks of a label."""
    if kind == "boxes":
        return [[mark] for mark in marks]
    return [[mark for mark in marks if mark["label"] == label] for label in sorted({mark["label"] for mark in marks})]


def same(one: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> bool:
    """Whether marks have the label and nearly the pixels of a mark."""
    if one["label"] != others[0]["label"]:
        return False
    first, second = painted(one), np.any([painted(mark) for mark in others], axis=0)
    return float((first & second).sum()) >= SAME_IOU * float((first | second).sum())


def painted(mark: Mapping[str, Any]) -> bitmaps.Bitmap:
    """The pixels of a mark."""
    if "width" in mark:
        return bitmaps.of_mark({"polygons": [geometry.flat(geometry.corners(mark))]}, WIDTH, HEIGHT)
    return bitmaps.of_mark(mark, WIDTH, HEIGHT)


def command(tool: str, name: str, source: Path, target: Path, kind: str) -> list[str] | None:
    """The command of a tool that reads and writes a format; None if it does not have it. Raises NotInstallable."""
    if tool == "panlabel" and name in PANLABEL:
        binary = python_of("panlabel").parent / "panlabel"
        options = ["--from", PANLABEL[name], "--to", "coco", "-i", str(source), "-o", str(target)]
        return [str(binary), "convert", *options, "--allow-lossy"]
    if tool == "datumaro" and name in DATUMARO:
        module = [str(python_of("datumaro")), "-m", "benchmarks.rivals.formats_datumaro"]
        return [*module, DATUMARO[name], str(source), str(target)]
    if tool == "darkroom":
        return [sys.executable, "-m", "benchmarks.labels_formats", "--convert", name, kind, str(source), str(target)]
    return None


def convert(name: str, kind: str, source: Path, target: Path) -> None:
    """Darkroom's part: read a file of the benchmark, and write it again."""
    count = int((source.parent / "count").read_text())
    bare = items(count, {})
    answers = read(name, kind, source, bare)
    write(name, kind, [Item(**{**vars(one), "labels": found}) for one, found in zip(bare, answers, strict=True)], target)


def prepared(folder: Path, name: str, kind: str, given: Sequence[Item]) -> Path:
    """The file that all tools get; for formats without sizes with small images beside it."""
    source = folder / FILES.get(name, "given")
    write(name, kind, given, source)
    (source.parent / "count").write_text(str(len(given)))
    if name == "voc":
        names = source / "ImageSets" / "Main" / "given.txt"
        names.parent.mkdir(parents=True)
        names.write_text("".join(f"{one.task_key}\n" for one in given))
    if name in NEEDS_IMAGES:
        beside = {"cvat": folder / "images", "coco": folder / "images" / "given"}
        place = beside.get(name) or source / {"yolo": "images", "voc": "JPEGImages", "supervisely": "tasks/img"}[name]
        place.mkdir(parents=True)
        from PIL import Image

        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "photo.jpg")
        for one in given:
            (place / one.file_name).hardlink_to(folder / "photo.jpg")
    return source


def contest(tool: str, name: str, content: str, count: int) -> tuple[float | None, float | None, str]:
    """The share of marks kept, CPU seconds, and what went wrong."""
    kind, labels = CONTENTS[content]
    if kind not in FORMATS[name].kinds:
        return None, None, "not in this format"
    given = items(count, labels)
    with tempfile.TemporaryDirectory() as folder:
        source = prepared(Path(folder), name, kind, given)
        suffix = {"darkroom": source.suffix, "panlabel": ".json"}.get(tool, "")
        target = Path(folder) / f"out{suffix}"
        try:
            words = command(tool, name, source, target, kind)
            if words is None:
                return None, None, "not read and written by it"
            used = measured(words, cwd=ROOT)
        except NotInstallable as error:
            return None, None, f"not installable: {error}"
        except CommandFailed as error:
            return 0.0, None, re.sub(r"\S*/", "", str(error).strip().splitlines()[-1])[-120:]
        result = target
        if target.is_dir() and name in FILES:
            result = next(iter(sorted(target.glob(f"**/*{Path(FILES[name]).suffix}"))), target)
        share = kept("coco" if tool == "panlabel" else name, kind, result, given) if count <= COMPARED else None
        return share, used.cpu_s, ""


def main() -> None:
    """Measure, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--images", type=int, default=IMAGES, help=f"of the measured times ({IMAGES:,})")
    parser.add_argument("--convert", nargs=4, metavar=("FORMAT", "KIND", "SOURCE", "TARGET"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.convert:
        convert(options.convert[0], options.convert[1], Path(options.convert[2]), Path(options.convert[3]))
        return
    figures = []
    for name in PANLABEL:
        for content in CONTENTS:
            for tool in ("darkroom", "panlabel", "datumaro"):
                share, _, note = contest(tool, name, content, 4)
                limit = at_least(1.0) if tool == "darkroom" and share is not None and (name, content) not in LOST else None
                figures.append(Figure(f"{name}, {content}: {tool}", share, "of marks kept", limit, note))
        images = COMPARED if options.quick else options.images
        for tool in ("darkroom", "panlabel", "datumaro"):
            _, seconds, note = contest(tool, name, "upright boxes", images)
            figures.append(Figure(f"{name}, {images:,} images: {tool}", seconds, "CPU s", note=note))
    finish(options, "labels_formats", figures)


LOST = {("yolo", "turned boxes"), ("voc", "turned boxes")}
"""What the format itself can't hold; `darkroom label export --dry-run` says so. yolo-obb keeps it."""

if __name__ == "__main__":
    main()

"""YOLO, as Ultralytics reads it: a text file for each image, a line for each mark, in shares of width and height. Pure.

`yolo` has boxes (class, middle, width, height) or, for polygons, outlines; `yolo-obb` has boxes by four corners. A name
is the task's key. An empty file says that nothing is there; a missing one says nothing.
Source: docs.ultralytics.com/datasets/detect, /obb and /segment.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline_assets.errors import ImportRefused, UnfitParent
from pipeline_assets.labeling import plain_yaml, rle
from pipeline_assets.labeling.services import geometry, writing
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
    Writer,
    Written,
    marks_of,
)
from pipeline_assets.labeling.services.geometry import number

MAX_FILE_BYTES = 16 << 20
MAX_YAML_BYTES = 1 << 20
DATA, CLASSES, LABELS = "data.yaml", "classes.txt", "labels"


def read(path: Path, reading: Reading) -> Iterator[Found | Reject]:
    """The lines of each image, as one answer. Raises ImportRefused if there are no labels, or no names of classes."""
    if not path.is_dir():
        raise ImportRefused(f"{path} is no folder: YOLO has {LABELS}/*.txt beside {DATA} or {CLASSES}.")
    names = _names(path)
    files = sorted(path.glob(f"{LABELS}/**/*.txt")) or [
        file for file in sorted(path.glob("**/*.txt")) if file.name != CLASSES
    ]
    if not files:
        raise ImportRefused(f"{path} has no {LABELS}/*.txt.")
    for file in files:
        place = str(file.relative_to(path))
        if file.is_symlink() or not file.is_file() or file.stat().st_size > MAX_FILE_BYTES:
            yield Reject(place, "too_large", f"it is no file, or has more than {MAX_FILE_BYTES:,} bytes")
            continue
        text = file.read_text("utf-8-sig", "backslashreplace")
        lines = [line for line in text.splitlines() if line.strip()]
        yield Found(
            place=place,
            task=file.name,
            labels=lambda canvas, lines=lines: labels_of(lines, names, canvas),  # type: ignore[misc]
            raw=text,
        )


def _names(path: Path) -> Mapping[int, str]:
    """Names of classes by number, of data.yaml or classes.txt."""
    for name in (DATA, "dataset.yaml"):
        if (file := path / name).is_file() and file.stat().st_size <= MAX_YAML_BYTES:
            try:
                content = plain_yaml.parse(file.read_text("utf-8-sig"))
            except (yaml.YAMLError, UnicodeDecodeError) as error:
                raise ImportRefused(f"{file} is no YAML: {str(error)[:200]}") from None
            names = content.get("names") if isinstance(content, dict) else None
            found = dict(enumerate(names)) if isinstance(names, list) else names
            if isinstance(found, dict) and all(type(one) is int and isinstance(found[one], str) for one in found):
                return found
    if (file := path / CLASSES).is_file() and file.stat().st_size <= MAX_YAML_BYTES:
        return dict(enumerate(line.strip() for line in file.read_text("utf-8-sig", "backslashreplace").splitlines()))
    raise ImportRefused(f"{path} has no {DATA} with names, and no {CLASSES}: what its classes are called is not known.")


def labels_of(lines: list[str], names: Mapping[int, str], canvas: Canvas) -> Marks:
    """The answer of an image's lines."""
    kind = canvas.question.kind
    return {"boxes" if kind == "boxes" else "masks": [_mark(kind, line, names, canvas) for line in lines]}


def _mark(kind: str, line: str, names: Mapping[int, str], canvas: Canvas) -> Any:
    try:
        words = line.split()
        if not words[0].isdecimal() or len(words[0]) > 9 or int(words[0]) not in names:
            raise UnfitParent("unknown_class", f"the class {words[0][:40]!r} has no name in {DATA} or {CLASSES}")
        if not canvas.width or not canvas.height:
            raise UnfitParent("bad_labels", "shares of a photo whose size is unknown")
        values = [_share(word) for word in words[1:]]
        return _shape(kind, values, canvas.width, canvas.height) | {"label": names[int(words[0])]}
    except UnfitParent as unfit:
        return Fault(unfit.reason, unfit.detail)


def _share(word: str) -> float:
    try:
        return number(float(word) if len(word) < 40 else None, "a share")
    except ValueError:
        raise UnfitParent("bad_labels", f"a share is no number: {word[:40]!r}") from None


def _shape(kind: str, values: list[float], width: int, height: int) -> dict[str, Any]:
    score = {"score": values[-1]} if len(values) in (5, 9) and kind == "boxes" else {}
    values = values[:-1] if score else values
    if kind == "boxes" and len(values) == 4:
        x, y, w, h = values
        return geometry.box((x - w / 2) * width, (y - h / 2) * height, w * width, h * height) | score
    if len(values) < 6 or len(values) % 2:
        raise UnfitParent("bad_labels", f"a line has {len(values)} numbers after its class")
    points = [(geometry.tidy(x * width), geometry.tidy(y * height)) for x, y in geometry.points_of(values)]
    return geometry.of_corners(points) | score if kind == "boxes" else {"polygons": [geometry.flat(points)]}


def _writer(*, is_oriented: bool) -> Writer:
    def write(target: Path, question: Question, items: Iterable[Item]) -> Written:
        """Write labels, and the names of classes. Images belong into `images/`, under the names of the labels."""
        numbers = {name: number_of for number_of, name in enumerate(question.classes)}
        count, left_out = 0, list[Reject]()
        for item in items:
            try:
                lines = list(_lines(item, question, numbers, is_oriented=is_oriented))
            except UnfitParent as unfit:
                left_out.append(Reject(item.task_key, unfit.reason, unfit.detail))
                continue
            with writing.text(target / LABELS / f"{item.task_key}.txt") as file:
                file.write("".join(lines))
            count += 1
        with writing.text(target / DATA) as file:
            yaml.safe_dump({"path": ".", "train": "images", "val": "images", "names": dict(enumerate(numbers))}, file)
        with writing.text(target / CLASSES) as file:
            file.write("".join(f"{' '.join(name.split())}\n" for name in numbers))
        return Written([target / LABELS, target / DATA, target / CLASSES], count, left_out)

    return write


def _lines(item: Item, question: Question, numbers: Mapping[str, int], *, is_oriented: bool) -> Iterator[str]:
    if item.labels is None:
        raise UnfitParent("no_labels", "it has no labels, and YOLO has no tasks: an empty file says that nothing is there")
    if item.size is None:
        raise UnfitParent("no_size", "YOLO needs the photo's width and height")
    width, height = item.size
    for mark in marks_of(question.kind, item.labels):
        for values in _shares(question.kind, mark, is_oriented=is_oriented):
            shares = [value / (height if at % 2 else width) for at, value in enumerate(values)]
            yield f"{numbers[mark['label']]} {' '.join(f'{share:.6f}' for share in shares)}\n"


def _shares(kind: str, mark: Mapping[str, Any], *, is_oriented: bool) -> Iterator[list[float]]:
    if kind == "boxes" and is_oriented:
        yield geometry.flat(geometry.corners(mark))
    elif kind == "boxes":
        left, top, width, height = geometry.upright(mark)
        yield [left + width / 2, top + height / 2, width, height]
    else:
        yield from mark["polygons"] if "polygons" in mark else rle.polygons(mark["rle"])


def losses(question: Question, facts: Facts) -> list[str]:
    """What YOLO can't carry."""
    sentences = [
        "YOLO names no annotator and no time of an answer: --annotator says whose answers they are.",
        "Shares have six decimals: on 4,000 pixels a coordinate is exact to 0.002 pixels.",
        "Tasks without labels are left out, since an empty file says that nothing is there.",
    ]
    if question.kind in ("polygons", "masks"):
        sentences.append(
            f"{facts.in_parts:,} masks of several polygons, and {facts.runs:,} of pixels, become several outlines."
        )
    if facts.extra:
        sentences.append(f"Further keys of {facts.extra:,} marks are not written.")
    return sentences


def _upright_losses(question: Question, facts: Facts) -> list[str]:
    if not facts.rotated:
        return losses(question, facts)
    lost = f"{facts.rotated:,} rotated boxes become the upright boxes around them: use yolo-obb to keep their rotation."
    return [lost, *losses(question, facts)]


FORMAT = Format(
    name="yolo",
    source="yolo",
    kinds=frozenset({"boxes", "polygons", "masks"}),
    read=read,
    write=_writer(is_oriented=False),
    losses=_upright_losses,
    is_folder=True,
)
ORIENTED = Format(
    name="yolo-obb",
    source="yolo",
    kinds=frozenset({"boxes"}),
    read=read,
    write=_writer(is_oriented=True),
    losses=losses,
    is_folder=True,
)

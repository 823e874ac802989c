"""The internal form of what leaves for a service, and of what comes back. Pure.

A writer gets `Item`s; a reader yields `Found` answers, which `judging` turns into `Answer`s, and `Reject`s with a reason.
Pixels are those of the upright photo, unless a caller asks for stored ones (`turning`).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pipeline_assets.labeling.campaigns.answer import MARKS, Kind

MAX_RAW_CHARACTERS = 2_000
"""Limit of what a reject keeps of its row."""
_KEY = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_ENDINGS = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "image/gif": ".gif", "image/tiff": ".tif"}


@dataclass(frozen=True)
class Question:
    """What a version of a campaign asks. classes: empty for text."""

    campaign: str
    version: int
    kind: Kind
    classes: tuple[str, ...]
    text: str = ""
    instructions: str = ""


@dataclass(frozen=True)
class Item:
    """One task. It says nothing of gold, priority or reason, so that no writer can show it.

    width_px, height_px: of the upright photo; orientation: EXIF's, 1 to 8. url: where a service reads the content.
    labels: a prediction, or accepted labels, in the form of an answer; model: who made them.
    """

    task_key: str
    version: int = 1
    target: str = "upload"
    media_type: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    duration_s: float | None = None
    title: str | None = None
    orientation: int = 1
    url: str | None = None
    labels: Mapping[str, Any] | None = None
    model: str | None = None

    @property
    def file_name(self) -> str:
        """The name of the content's file: the task's key, by which it is recognised when it comes back."""
        return self.task_key + _ENDINGS.get(self.media_type or "", ".bin" if self.media_type else "")

    @property
    def place(self) -> str:
        """Where the content is: its URL, or its file's name."""
        return self.url or self.file_name

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the upright photo, if it has pixels."""
        return (self.width_px, self.height_px) if self.width_px and self.height_px else None


@dataclass(frozen=True)
class Book:
    """The tasks that were asked, and the questions of their versions: what an answer is recognised by."""

    items: Mapping[str, Item]
    questions: Mapping[int, Question]

    def item(self, text: str) -> Item | None:
        """The task whose key is in a text, such as an external id, a file's name or a URL; None for an unknown one."""
        return next((self.items[key] for key in _KEY.findall(text[:4_096]) if key in self.items), None)


@dataclass(frozen=True)
class Canvas:
    """What the marks of an answer are on. width, height: in the pixels that the file counts."""

    question: Question
    width: int | None
    height: int | None
    duration_s: float | None
    title: str | None


@dataclass(frozen=True)
class Fault:
    """A mark that is left out of its answer, and why."""

    reason: str
    detail: str


Marks = Mapping[str, Any]
"""Labels in the form of an answer; in its lists of marks, a `Fault` stands for one that can't be read."""


@dataclass(frozen=True)
class Found:
    """An answer as a file has it.

    place: its row or id in the file, for people. task: the text with its task's key. labels: reads its marks; raises
    UnfitParent. size: the photo's width and height, as the file says. revision: None if the tool counts none. unique_in:
    where source_id names one answer: the whole tool, a task, or what one person answered to a task.
    """

    place: str
    task: str
    labels: Callable[[Canvas], Marks]
    annotator: str | None = None
    source_id: str | None = None
    unique_in: Literal["tool", "task", "person"] = "tool"
    revision: int | None = None
    answered_at: datetime | None = None
    lead_time_s: float | None = None
    size: tuple[int, int] | None = None
    is_cancelled: bool = False
    is_deleted: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    raw: str = ""


@dataclass(frozen=True)
class Reject:
    """A row, an answer or a mark that is set aside. place: its row or id in the file."""

    place: str
    reason: str
    detail: str
    raw: str = ""

    def __post_init__(self) -> None:
        """Keep texts that UTF-8 can hold: a file's may have single surrogates."""
        for name in ("place", "detail", "raw"):
            text = getattr(self, name)
            if not text.isascii():
                object.__setattr__(self, name, text.encode("utf-8", "backslashreplace").decode())


@dataclass(frozen=True)
class Reading:
    """Options of a reader. column: of the answers in a CSV, if it is not the usual one."""

    kind: Kind
    classes: tuple[str, ...]
    campaign: str = ""
    column: str | None = None


@dataclass(frozen=True)
class Facts:
    """Numbers of what is to be written, for the sentences about losses."""

    items: int = 0
    without_url: int = 0
    labelled: int = 0
    marks: int = 0
    rotated: int = 0
    in_parts: int = 0
    runs: int = 0
    extra: int = 0
    turned: int = 0


@dataclass(frozen=True)
class Written:
    """What a writer wrote. left_out: items that the format can't hold, and the reason of each."""

    files: Sequence[Path]
    items: int
    left_out: Sequence[Reject] = ()


Reader = Callable[[Path, Reading], Iterator[Found | Reject]]
Writer = Callable[[Path, Question, Iterable[Item]], Written]


@dataclass(frozen=True)
class Format:
    """A format. source: of its answers. is_folder: its files are in a folder."""

    name: str
    source: str
    kinds: frozenset[str]
    read: Reader
    write: Writer
    losses: Callable[[Question, Facts], list[str]]
    is_folder: bool = False


def facts(question: Question, items: Iterable[Item]) -> Facts:
    """Count what formats may lose."""
    numbers = dict.fromkeys(Facts.__dataclass_fields__, 0)
    usual = {"x", "y", "width", "height", "label", "rotation", "polygons", "rle", "start_s", "end_s", "start", "end", "text"}
    for item in items:
        numbers["items"] += 1
        numbers["without_url"] += item.url is None and item.target != "title"
        numbers["turned"] += item.orientation > 1
        numbers["labelled"] += item.labels is not None
        for mark in marks_of(question.kind, item.labels):
            numbers["marks"] += 1
            numbers["rotated"] += bool(mark.get("rotation"))
            numbers["in_parts"] += len(mark.get("polygons") or ()) > 1
            numbers["runs"] += "rle" in mark
            numbers["extra"] += not usual.issuperset(mark)
    return Facts(**numbers)


def unlabelled(facts: Facts) -> list[str]:
    """What becomes of tasks without labels in a format that has no tasks, only labels."""
    bare = facts.items - facts.labelled
    return [f"{bare:,} tasks without labels look as if people had found nothing on them."] if bare else []


def marks_of(kind: Kind, labels: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    """The marks of labels of this kind; empty for labels without marks."""
    return (labels or {}).get(MARKS.get(kind, ""), ())

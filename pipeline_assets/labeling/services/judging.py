"""Turns found answers into `Answer`s: the task is looked up, marks are turned upright and checked one by one. Pure.

A bad mark is left out of its answer and listed; an answer without a valid mark is set aside. Neither affects its neighbours.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling import label_json
from pipeline_assets.labeling.campaigns import answer
from pipeline_assets.labeling.campaigns.answer import MARKS, Answer
from pipeline_assets.labeling.marks import TOLERANCE_PX
from pipeline_assets.labeling.polygons import Point
from pipeline_assets.labeling.segments import TOLERANCE_S
from pipeline_assets.labeling.services import geometry, turning
from pipeline_assets.labeling.services.form import (
    MAX_RAW_CHARACTERS,
    Book,
    Canvas,
    Fault,
    Format,
    Found,
    Item,
    Question,
    Reject,
)

Pixels = Literal["auto", "upright", "stored"]
"""Whose pixels a file counts. auto: those of the upright photo, unless the file states the size of the stored one."""
MAX_LEAD_TIME_S = 30 * 86_400.0
MAX_ID_CHARACTERS = 512
MAX_EXTRA_CHARACTERS = 16_384


@dataclass(frozen=True)
class Judging:
    """How a file is judged. at: the time of answers whose file has none; annotator: whose answers are those without one."""

    format: Format
    book: Book
    at: datetime
    annotator: str | None = None
    pixels: Pixels = "auto"


def judged(judging: Judging, found: Iterable[Found | Reject]) -> Iterator[Answer | Reject]:
    """Each answer that can be used, and what is set aside. An answer of an id that came before is set aside, too."""
    seen: set[bytes] = set()
    for one in found:
        if isinstance(one, Reject):
            yield one
            continue
        try:
            judged_answer, faults = _judge(judging, one)
        except UnfitParent as unfit:
            yield _reject(one, unfit.reason, unfit.detail)
            continue
        identity = _digest(judged_answer.source_id, judged_answer.revision)
        if identity in seen:
            detail = "an answer of this task, person or id came before in this file: the first one is taken"
            yield _reject(one, "repeated", detail)
            continue
        seen.add(identity)
        yield from (_reject(one, "bad_mark", f"left out of its answer: {fault}") for fault in faults)
        yield judged_answer


def _judge(judging: Judging, found: Found) -> tuple[Answer, list[str]]:
    item = judging.book.item(found.task)
    if item is None:
        raise UnfitParent("unknown_task", f"no task of this campaign is named in {found.task[:200]!r}")
    question = judging.book.questions.get(item.version)
    if question is None:
        raise UnfitParent("old_version", f"the task is of version {item.version}, of which no question is recorded")
    annotator = _text(found.annotator or judging.annotator or "", "the annotator")
    if not annotator:
        raise UnfitParent("no_annotator", "nobody is named as annotator: say who it was with --annotator")
    faults: list[str] = []
    text = None
    if not (found.is_cancelled or found.is_deleted):
        text, faults = _answer(judging.pixels, item, question, found)
    answered_at = _moment(found.answered_at or judging.at)
    source_id = _source_id(found, item.task_key, annotator)
    accepted = Answer(
        source=judging.format.source,
        source_id=source_id,
        revision=found.revision or 0,
        task_key=item.task_key,
        annotator=annotator,
        answered_at=answered_at,
        lead_time_s=_lead_time(found.lead_time_s),
        answer_json=text,
        is_cancelled=found.is_cancelled,
        is_deleted=found.is_deleted,
        extra_json=_extra(found.extra),
    )
    return accepted, faults


def _answer(pixels: Pixels, item: Item, question: Question, found: Found) -> tuple[str, list[str]]:
    """Canonical JSON of the answer, and the faults of marks that are left out."""
    is_stored = _is_stored(pixels, item, found.size)
    width, height = (turning.stored_size(item) if is_stored else item.size) or (None, None)
    canvas = Canvas(question, width, height, item.duration_s, item.title)
    labels = dict(found.labels(canvas))
    name = MARKS.get(question.kind)
    if name is None:
        choice = labels.get("choice")
        if isinstance(choice, str) and len(labels) == 1:
            return _choice(question, choice), []
        return answer.canonical(question.kind, question.classes, labels), []
    marks = labels.get(name)
    if not isinstance(marks, list):
        raise UnfitParent("no_answer", f"it has no {name}, and so no answer to a question of kind {question.kind}")
    if len(marks) > answer.MAX_MARKS:
        raise UnfitParent("too_many_marks", f"{len(marks):,} {name}; at most {answer.MAX_MARKS:,} are read")
    if not any(isinstance(mark, Fault) for mark in marks) and not is_stored:
        with suppress(UnfitParent):  # all are valid, as a rule
            text = answer.canonical(question.kind, question.classes, labels)
            for mark in marks:
                _require_inside(name, mark, item)
            return text, []
    valid, faults = [], []
    for number, mark in enumerate(marks):
        try:
            valid.append(_mark(name, mark, item, question, is_stored=is_stored))
        except UnfitParent as unfit:
            faults.append((unfit.reason, f"{name}[{number}]: {unfit.detail}"))
    if faults and not valid:
        raise UnfitParent(faults[0][0], "; ".join(text for _, text in faults[:5]))
    return answer.canonical(question.kind, question.classes, {**labels, name: valid}), [text for _, text in faults]


def _source_id(found: Found, task_key: str, annotator: str) -> str:
    """An id that names this answer among those of all people, tasks and campaigns."""
    if not found.source_id or found.unique_in == "person":
        # One answer of a person to a task; a digest with a name in it could be guessed.
        return answer.NO_ID + _digest(task_key, annotator).hex()
    own = _text(found.source_id, "the id")
    return f"{task_key}/{own}" if found.unique_in == "task" else own


@lru_cache(maxsize=4_096)
def _choice(question: Question, choice: str) -> str:
    """Canonical JSON of a choice: there are few different ones, and many answers."""
    return answer.canonical(question.kind, question.classes, {"choice": choice})


def _mark(name: str, mark: Any, item: Item, question: Question, *, is_stored: bool) -> Any:
    if isinstance(mark, Fault):
        raise UnfitParent(mark.reason, mark.detail)
    answer.canonical(question.kind, question.classes, {name: [mark]})
    placed = turning.upright({name: [mark]}, item)[name][0] if is_stored else mark
    _require_inside(name, placed, item)
    return placed


def _is_stored(pixels: Pixels, item: Item, size: tuple[int, int] | None) -> bool:
    """Whether a file counts stored pixels. Raises UnfitParent(other_size) if it is of another picture."""
    stored = turning.stored_size(item)
    if size is not None and item.size is not None and size not in (item.size, stored):
        detail = f"the file says {size[0]} x {size[1]} pixels, and the upright photo has {item.size[0]} x {item.size[1]}"
        raise UnfitParent("other_size", f"{detail}: its marks are of another picture")
    if pixels == "auto":
        return size is not None and stored != item.size and size == stored
    return pixels == "stored"


def _require_inside(name: str, mark: Mapping[str, Any], item: Item) -> None:
    """Raise UnfitParent(outside) for a mark beyond its photo, recording or title."""
    if name == "spans":
        text = item.title
        if text is not None and not 0 <= mark["start"] < mark["end"] <= len(text):
            raise UnfitParent("outside", f"a span from {mark['start']} to {mark['end']} of {len(text)} characters")
    elif name == "segments":
        if item.duration_s is not None and mark["end_s"] > item.duration_s + TOLERANCE_S:
            raise UnfitParent("outside", f"a segment ends at {mark['end_s']:.3f} s of {item.duration_s:.3f} s")
    elif item.size is not None:
        if "rle" in mark:
            if mark["rle"]["size"] != [item.size[1], item.size[0]]:
                raise UnfitParent("outside", f"a mask of {mark['rle']['size']} (height, width) is not of its photo")
            return
        xs, ys = zip(*_points(name, mark), strict=True)
        off = min(min(xs), min(ys), item.size[0] - max(xs), item.size[1] - max(ys))
        if off < -(TOLERANCE_PX if not mark.get("rotation") else max(item.size)):
            place = f"from {min(xs):g}, {min(ys):g} to {max(xs):g}, {max(ys):g}"
            raise UnfitParent("outside", f"a mark is {place}, on {item.size[0]} x {item.size[1]} pixels")


def _points(name: str, mark: Mapping[str, Any]) -> list[Point]:
    if name == "boxes":
        return geometry.corners(mark)
    if name == "points":
        return [(mark["x"], mark["y"])]
    return [point for shape in mark["polygons"] for point in geometry.points_of(shape)]


def _lead_time(seconds: float | None) -> float | None:
    """None for a time that can't be: negative, or longer than 30 days. The answer is as good as any."""
    if seconds is None or not math.isfinite(seconds) or not 0 <= seconds <= MAX_LEAD_TIME_S:
        return None
    return seconds


def _moment(at: datetime) -> datetime:
    if at.year < 1990 or at.year >= 3000:
        raise UnfitParent("bad_time", f"it was answered in the year {at.year}")
    return at


def _text(text: str, what: str) -> str:
    stripped = text.strip()
    if len(stripped) > MAX_ID_CHARACTERS or label_json.fault(stripped):
        detail = label_json.fault(stripped) or f"it has more than {MAX_ID_CHARACTERS} characters"
        raise UnfitParent("bad_id", f"{what} is no text to keep: {detail}")
    return stripped


def _extra(extra: Mapping[str, Any]) -> str | None:
    """Unknown fields as JSON; fields that JSON can't hold, or beyond the limit, are named in `left_out`."""
    given = {name: value for name, value in extra.items() if value not in (None, "", [], {})}
    if not given:
        return None
    if not label_json.fault(given) and len(text := label_json.dump(given)) <= MAX_EXTRA_CHARACTERS:
        return text
    kept: dict[str, Any] = {}
    left_out: list[str] = []
    size = 0
    for name, value in given.items():
        fault = label_json.fault({name: value})
        size += 0 if fault else len(json.dumps({name: value}))
        if fault or size > MAX_EXTRA_CHARACTERS:
            left_out.append(name[:100].encode("ascii", "backslashreplace").decode().replace("\0", "\\0"))
        else:
            kept[name] = value
    return label_json.dump({**kept, "left_out": left_out[:50]})


def _digest(*parts: object) -> bytes:
    return hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()[:16]


def _reject(found: Found, reason: str, detail: str) -> Reject:
    return Reject(found.place, reason, detail, found.raw[:MAX_RAW_CHARACTERS])

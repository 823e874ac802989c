"""Answers to questions, in one form for all tools and workforces. Pure.

`docs/labeling/formats.md` shows the JSON of each kind. Pixels are those of the upright photo, times are seconds from the
start, and positions in a text are characters.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from pipeline_assets.errors import UnfitParent
from pipeline_assets.ingestion.schemas import MOMENTS
from pipeline_assets.labeling import boxes, label_json, masks, rle
from pipeline_assets.labeling.label_json import Labels

Kind = Literal["class", "classes", "boxes", "polygons", "masks", "points", "segments", "spans", "text", "ranking"]
KINDS: tuple[Kind, ...] = get_args(Kind)
CHOICE_KINDS = ("class", "classes", "ranking")
MARK_KINDS = ("boxes", "polygons", "masks", "points", "segments", "spans")
MARKS: Mapping[str, str] = {
    **{kind: kind for kind in ("boxes", "masks", "points", "segments", "spans")},
    "polygons": "masks",
}
"""The name in an answer under which the marks of a kind are listed."""
MAX_MARKS = 2_000
"""Limit of the marks of one answer."""
MAX_TEXT_CHARACTERS = 65_536
MAX_LEAD_S = 1e9
NO_ID = "no-id:"
"""Begins the source_id of an answer whose tool has no ids: `store.land` makes one of the person's pseudonym instead."""


_LIMITS = {"source": 200, "source_id": 500, "annotator": 500, "task_key": 64}
_LIMITS |= {"answer_json": label_json.MAX_CHARACTERS, "extra_json": 65_536}


@dataclass(frozen=True)
class Answer:
    """One revision of one answer, as a tool or a file has it.

    source: the tool or service; source_id: its id of the answer; revision: rises with each edit. annotator: the tool's
    stable id of the person, never a name where there is an id. answer_json: None for a cancelled or deleted answer.
    extra_json: the fields of the tool that nothing here reads.
    """

    source: str
    source_id: str
    revision: int
    task_key: str
    annotator: str
    answered_at: datetime
    lead_time_s: float | None = None
    answer_json: str | None = None
    is_cancelled: bool = False
    is_deleted: bool = False
    extra_json: str | None = None

    def __post_init__(self) -> None:
        """Raises UnfitParent for what no database can store, so that one bad answer affects no other."""
        for name, limit in _LIMITS.items():
            text = getattr(self, name)
            if text is not None and (len(text) > limit or not _is_storable(text)):
                raise UnfitParent("bad_text", f"{name} is no text of up to {limit:,} characters without NUL")
        if not (self.source and self.source_id and self.annotator):
            raise UnfitParent("no_id", "an answer needs an id and an annotator")
        if not re.fullmatch("[0-9a-f]{64}", self.task_key):
            raise UnfitParent("unknown_task", f"{self.task_key!r:.100} is no task key")
        if self.answered_at.tzinfo is None or not MOMENTS[0] <= self.answered_at < MOMENTS[1]:
            raise UnfitParent("bad_time", f"{self.answered_at} is not a time in UTC between the years 1970 and 3000")
        if self.lead_time_s is not None and not 0 <= self.lead_time_s <= MAX_LEAD_S:
            raise UnfitParent("bad_time", "a lead time is 0 to 1e9 seconds")
        if not 0 <= self.revision < 2**63:
            raise UnfitParent("bad_revision", f"revision {self.revision} is no number of 63 bits")


def canonical(kind: str, classes: Sequence[str], labels: Any) -> str:
    """The canonical JSON of a valid answer to a question of this kind.

    Raises UnfitParent: bad_labels, unknown_class, too_many_marks or too_large.
    """
    valid = _CHECKS[kind](label_json.checked(labels), frozenset(classes))
    return label_json.dump(valid)


def parse(kind: str, classes: Sequence[str], text: str) -> str:
    """The same for an answer as JSON text."""
    return canonical(kind, classes, label_json.parse(text))


def _choice(labels: Labels, classes: frozenset[str]) -> Labels:
    return {"choice": _known(labels.get("choice"), classes)}


def _choices(labels: Labels, classes: frozenset[str]) -> Labels:
    choices = _list(labels, "choices")
    return {"choices": sorted({_known(choice, classes) for choice in choices})}


def _ranking(labels: Labels, classes: frozenset[str]) -> Labels:
    ranking = [_known(choice, classes) for choice in _list(labels, "ranking")]
    if len(set(ranking)) < len(ranking) or not ranking:
        raise UnfitParent("bad_labels", "a ranking names each class once, and at least one")
    return {"ranking": ranking}


def _text(labels: Labels, classes: frozenset[str]) -> Labels:
    text = labels.get("text")
    if not isinstance(text, str) or len(text) > MAX_TEXT_CHARACTERS:
        raise UnfitParent("bad_labels", f'a text is {{"text": "..."}} of up to {MAX_TEXT_CHARACTERS:,} characters')
    return {"text": text}


def _marks(name: str, check: Callable[[Mapping[str, Any]], object]) -> Callable[[Labels, frozenset[str]], Labels]:
    def checked(labels: Labels, classes: frozenset[str]) -> Labels:
        entries = _list(labels, name)
        if len(entries) > MAX_MARKS:
            raise UnfitParent("too_many_marks", f"{len(entries):,} {name}; at most {MAX_MARKS:,} are read")
        for entry in entries:
            if not isinstance(entry, Mapping):
                raise UnfitParent("bad_labels", f"{name} are objects, not {entry!r:.60}")
            check(entry)
            _known(entry.get("label"), classes)
        return {name: list(entries)}

    return checked


def _is_point(mark: Mapping[str, Any]) -> None:
    if not (_is_number(mark.get("x")) and _is_number(mark.get("y"))):
        raise UnfitParent("bad_labels", f"a point needs numbers x and y: {dict(mark)!r:.200}")


def _is_box(mark: Mapping[str, Any]) -> None:
    boxes.read({"boxes": [mark]})
    if not _is_number(mark.get("rotation", 0)):
        raise UnfitParent("bad_labels", f"the rotation of a box is in degrees, not {mark['rotation']!r:.60}")


def _is_mask(mark: Mapping[str, Any]) -> None:
    if "rle" not in mark:
        masks.read({"masks": [mark]})
        return
    given = mark["rle"]
    if not isinstance(given, dict) or not isinstance(given.get("counts"), list):
        raise UnfitParent("bad_labels", 'a mask as RLE is {"size": [height, width], "counts": [...]} of whole numbers')
    try:
        rle.runs(given)
    except rle.BadRle as fault:
        raise UnfitParent("bad_labels", str(fault)) from None


def _is_interval(start: str, end: str) -> Callable[[Mapping[str, Any]], None]:
    def check(mark: Mapping[str, Any]) -> None:
        first, last = mark.get(start), mark.get(end)
        if not (_is_number(first) and _is_number(last)) or not 0 <= first < last:  # type: ignore[operator]
            raise UnfitParent("bad_labels", f"a mark needs 0 <= {start} < {end}: {dict(mark)!r:.200}")

    return check


_CHECKS: Mapping[str, Callable[[Labels, frozenset[str]], Labels]] = {
    "class": _choice,
    "classes": _choices,
    "ranking": _ranking,
    "text": _text,
    "boxes": _marks("boxes", _is_box),
    "polygons": _marks("masks", _is_mask),
    "masks": _marks("masks", _is_mask),
    "points": _marks("points", _is_point),
    "segments": _marks("segments", _is_interval("start_s", "end_s")),
    "spans": _marks("spans", _is_interval("start", "end")),
}


def _known(choice: Any, classes: frozenset[str]) -> str:
    if not isinstance(choice, str) or choice not in classes:
        some = ", ".join(sorted(classes)[:20])
        raise UnfitParent("unknown_class", f"{choice!r:.100} is no class of this question; classes are {some}")
    return choice


def _list(labels: Labels, name: str) -> Sequence[Any]:
    entries = labels.get(name)
    if not isinstance(entries, list | tuple):
        raise UnfitParent("bad_labels", f"the answer has no list of {name}")
    return entries


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_storable(text: str) -> bool:
    is_plain = text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
    return is_plain and "\0" not in text

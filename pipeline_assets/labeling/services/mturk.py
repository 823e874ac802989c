"""Amazon Mechanical Turk: the CSV of a batch, and the CSV of its results. Pure.

`AssignmentId` is the id of an answer, `WorkerId` of a person. A rejected assignment is kept as cancelled. Its status may
change back and forth, so revisions come from what was known before.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling.campaigns.answer import KINDS
from pipeline_assets.labeling.services import appen, cells, csv_files, json_files, writing
from pipeline_assets.labeling.services.form import (
    Canvas,
    Facts,
    Format,
    Found,
    Item,
    Marks,
    Question,
    Reading,
    Reject,
    Written,
)
from pipeline_assets.labeling.services.sheet import seconds
from pipeline_assets.runtime import strict_json

_NEEDED = ("AssignmentId", "WorkerId", "Input.task_key")
_USED = {"AssignmentId", "WorkerId", "SubmitTime", "WorkTimeInSeconds", *(f"Input.{name}" for name in appen.INPUT)}
_ZONES = {"PST": -8, "PDT": -7, "UTC": 0, "GMT": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TIME = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d\d?) (\d\d):(\d\d):(\d\d) ([A-Z]{3}) (\d{4})")


def read(path: Path, reading: Reading) -> Iterator[Found | Reject]:
    """Each assignment."""
    for row in csv_files.rows(path, _NEEDED):
        if isinstance(row, Reject):
            yield row
            continue
        answers = {name.removeprefix("Answer."): text for name, text in row.cells.items() if name.startswith("Answer.")}
        status = row.cells.get("AssignmentStatus", "").strip()
        status = "Rejected" if row.cells.get("Reject", "").strip() else status
        others = {name: text for name, text in row.cells.items() if name not in _USED and not name.startswith("Answer.")}
        yield Found(
            place=row.place,
            task=row.cells["Input.task_key"],
            labels=lambda canvas, answers=answers: labels_of(answers, canvas, reading),  # type: ignore[misc]
            annotator=row.cells["WorkerId"].strip() or None,
            source_id=row.cells["AssignmentId"].strip() or None,
            answered_at=moment(row.cells.get("SubmitTime", "")),
            lead_time_s=seconds(row.cells.get("WorkTimeInSeconds", "")),
            is_cancelled=status == "Rejected",
            extra=others,
            raw=row.raw,
        )


def labels_of(answers: Mapping[str, Any], canvas: Canvas, reading: Reading) -> Marks:
    """The answer of an assignment's fields: of a plain form, of flags, or of Crowd HTML. Raises UnfitParent."""
    if isinstance(text := answers.get("taskAnswers"), str) and text.strip():
        fields = _decoded(text)
        fields = fields[0] if isinstance(fields, list) and fields else fields
        answers = fields if isinstance(fields, Mapping) else {"answer": fields}
    given = {name: value for name, value in answers.items() if value not in ("", None)}
    for name in (reading.column or "answer", "answer", reading.campaign, "category", "label"):
        if name in given:
            return cells.of_value(given[name], canvas)
    flags = {name.rpartition(".")[2] if "." in name else name: value for name, value in given.items()}
    chosen = [name for name in canvas.question.classes if flags.get(name) in (True, "true", "on")]
    if chosen:
        return cells.of_value(chosen, canvas)
    crowd = {name.rpartition(".")[2]: value for name, value in given.items()}
    for name in ("label", "labels", "boundingBoxes", "polygons", "keypoints", "entities"):
        if name in crowd:
            value = crowd[name]
            return cells.of_value({name: _decoded(value) if isinstance(value, str) and value[:1] in "[{" else value}, canvas)
    if len(given) == 1:
        return cells.of_value(next(iter(given.values())), canvas)
    if all(value in ("false", False) for value in given.values()):
        raise UnfitParent("no_answer", "no field of the form has an answer")
    raise UnfitParent("no_answer", f"none of the fields {', '.join(given)[:200]} is the answer: name it with --column")


def _decoded(text: str) -> Any:
    try:
        return strict_json.loads(text)
    except strict_json.BadJson as error:
        raise UnfitParent("bad_labels", f"the answer is no JSON: {error}") from None


def moment(text: str) -> datetime | None:
    """A time of MTurk's results, such as `Thu Jun 04 08:12:34 PDT 2026`; or one in ISO's form."""
    if match := _TIME.fullmatch(text.strip()):
        month, day, hour, minute, second, zone, year = match.groups()
        if month in _MONTHS and zone in _ZONES:
            with suppress(ValueError, OverflowError):
                clock = int(hour), int(minute), int(second)
                at = datetime(int(year), _MONTHS.index(month) + 1, int(day), *clock, tzinfo=UTC)
                return at - timedelta(hours=_ZONES[zone])
    return json_files.moment(text)


def write(target: Path, question: Question, items: Iterable[Item]) -> Written:
    """Write the batch. The form shows ${content}, ${title}, ${question}, and its field is `answer`."""
    with writing.Table(target, columns=appen.INPUT) as table:
        for item in items:
            table.add({name: _shown(value) for name, value in appen.row_of(question, item).items()})
    return table.written


def _shown(value: object) -> object:
    """A cell without characters above U+FFFF, which MTurk refuses in a batch."""
    return "".join(c if c <= "\uffff" else "\ufffd" for c in value) if isinstance(value, str) else value


def losses(question: Question, facts: Facts) -> list[str]:
    """What MTurk can't carry."""
    sentences = ["Characters beyond U+FFFF, such as emoji, are shown as U+FFFD: MTurk refuses a batch with them."]
    if question.kind in ("boxes", "polygons", "masks", "points"):
        sentences.append("Boxes of Crowd HTML have no rotation: people draw upright ones.")
    if question.kind not in ("class", "classes", "text", "ranking"):
        sentences.append("Marks that are shown are JSON in ${suggestion}: the form must draw them itself.")
    if facts.without_url:
        sentences.append(f"{facts.without_url:,} items have no URL: a crowd can't see them.")
    return sentences


FORMAT = Format(
    name="mturk",
    source="mturk",
    kinds=frozenset(KINDS),
    read=read,
    write=write,
    losses=losses,
)

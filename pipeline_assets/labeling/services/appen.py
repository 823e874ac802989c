"""Appen (once Figure Eight and CrowdFlower): rows to upload, and the full report with every judgment. Pure.

Ids: `_id` is of a judgment, `_worker_id` of a person. A tainted judgment is of somebody who fell below the trust that the
job asks for: it is kept as cancelled. Our gold questions are uploaded as ordinary rows: `_golden` is never written.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pipeline_assets.errors import ImportRefused
from pipeline_assets.labeling.campaigns.answer import KINDS
from pipeline_assets.labeling.services import cells, csv_files, json_files, writing
from pipeline_assets.labeling.services.form import Facts, Format, Found, Item, Question, Reading, Reject, Written
from pipeline_assets.runtime.visible import cell

INPUT = ("task_key", "content", "title", "question", "choices", "suggestion")
_TIME = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}) (\d{1,2}):(\d\d):(\d\d)")
_NEEDED = ("task_key", "_worker_id")
_USED = {*INPUT, "_id", "_worker_id", "_created_at", "_started_at"}


def read(path: Path, reading: Reading) -> Iterator[Found | Reject]:
    """Each judgment. Raises ImportRefused for an aggregated report, and if the column of the answer is not clear."""
    column = ""
    for row in csv_files.rows(path, _NEEDED):
        if isinstance(row, Reject):
            yield row
            continue
        column = column or _column(path, row.cells, reading)
        yield _found(row, column)


def _found(row: csv_files.Row, column: str) -> Found:
    created, started = (moment(row.cells.get(name, "")) for name in ("_created_at", "_started_at"))
    is_tainted = row.cells.get("_tainted", "").strip().lower() == "true"
    return Found(
        place=row.place,
        task=row.cells["task_key"],
        labels=lambda canvas: cells.of_text(row.cells[column], canvas),
        annotator=row.cells["_worker_id"].strip() or None,
        source_id=row.cells.get("_id", "").strip() or None,
        answered_at=created,
        lead_time_s=(created - started).total_seconds() if created and started else None,
        is_cancelled=is_tainted,
        extra={name: value for name, value in row.cells.items() if name not in _USED | {column}},
        raw=row.raw,
    )


def _column(path: Path, names: Mapping[str, str], reading: Reading) -> str:
    """The column of the answers: the one named, `answer`, the campaign's name, or the only one that the job's form added."""
    if reading.column:
        if reading.column not in names:
            raise ImportRefused(f"{path} has no column {reading.column}: it has {', '.join(names)}.")
        return reading.column
    ours = [name for name in ("answer", reading.campaign, reading.campaign.replace("-", "_")) if name in names]
    others = [
        name
        for name in names
        if not name.startswith("_") and name not in INPUT and not name.endswith(("_gold", "_gold_reason"))
    ]
    if not ours and len(others) != 1:
        choice = ", ".join(others) or "none"
        raise ImportRefused(f"{path} does not say which column has the answers ({choice}): name it with --column.")
    return (ours or others)[0]


def moment(text: str) -> datetime | None:
    """A time of Appen's reports, such as `5/12/2026 14:03:22`, in UTC; or one in ISO's form."""
    if match := _TIME.fullmatch(text.strip()):
        month, day, year, hour, minute, second = map(int, match.groups())
        with suppress(ValueError):
            return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    return json_files.moment(text)


def write(target: Path, question: Question, items: Iterable[Item]) -> Written:
    """Write the rows to upload. The job's form has one question, whose name is `answer`."""
    with writing.Table(target, columns=INPUT) as table:
        for item in items:
            table.add(row_of(question, item))
    return table.written


def row_of(question: Question, item: Item) -> dict[str, object]:
    """A task as cells of a crowd's CSV."""
    return {
        "task_key": item.task_key,
        "content": cell(item.place) if item.target != "title" else "",
        "title": cell(item.title or ""),
        "question": cell(question.text),
        "choices": cell(cells.SEPARATOR.join(question.classes)),
        "suggestion": cell(cells.cell_of(question, item.labels)) if item.labels is not None else "",
    }


def losses(question: Question, facts: Facts) -> list[str]:
    """What Appen can't carry."""
    sentences = ["Times have whole seconds."]
    if question.kind not in ("class", "classes", "text", "ranking"):
        sentences.append("Marks that are shown are JSON in the column suggestion: the job's form must draw them itself.")
        sentences.append("Appen's boxes have no rotation: people draw upright ones.")
    if facts.without_url:
        sentences.append(f"{facts.without_url:,} items have no URL: a crowd can't see them.")
    return sentences


FORMAT = Format(
    name="appen",
    source="appen",
    kinds=frozenset(KINDS),
    read=read,
    write=write,
    losses=losses,
)

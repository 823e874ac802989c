"""A plain CSV for people hired by the hour: they fill the column `answer`, and name themselves in `annotator`. Pure."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline_assets.labeling.campaigns.answer import KINDS
from pipeline_assets.labeling.services import cells, csv_files, json_files, writing
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
from pipeline_assets.runtime.visible import cell

COLUMNS = ("task_key", "content", "title", "question", "choices", "suggestion", "answer", "annotator", "seconds", "note")
_USED = {*COLUMNS, "answered_at", "id"} - {"note"}


def read(path: Path, reading: Reading) -> Iterator[Found | Reject]:
    """Each row that has an answer."""
    column = reading.column or "answer"
    for row in csv_files.rows(path, ("task_key", column)):
        if isinstance(row, Reject):
            yield row
            continue
        yield Found(
            place=row.place,
            task=row.cells["task_key"],
            labels=lambda canvas, text=row.cells[column]: _labels(text, canvas),  # type: ignore[misc]
            annotator=row.cells.get("annotator", "").strip() or None,
            source_id=row.cells.get("id", "").strip() or None,
            unique_in="person",
            answered_at=json_files.moment(row.cells.get("answered_at")),
            lead_time_s=seconds(row.cells.get("seconds", "")),
            extra={name: value for name, value in row.cells.items() if name not in _USED | {column}},
            raw=row.raw,
        )


def _labels(text: str, canvas: Canvas) -> Marks:
    return cells.of_text(text, canvas)


def seconds(text: str) -> float | None:
    """A number of seconds in a cell; None for an empty cell, or a text."""
    try:
        return float(text) if text.strip() else None
    except ValueError:
        return None


def write(target: Path, question: Question, items: Iterable[Item]) -> Written:
    """Write a row for each task, to be answered. A text that a spreadsheet would run as a formula gets an apostrophe."""
    with writing.Table(target, columns=COLUMNS) as table:
        for item in items:
            suggestion = cells.cell_of(question, item.labels) if item.labels is not None else ""
            table.add(
                {
                    "task_key": item.task_key,
                    "content": cell(item.place) if item.target != "title" else "",
                    "title": cell(item.title or ""),
                    "question": cell(question.text),
                    "choices": cell(cells.SEPARATOR.join(question.classes)),
                    "suggestion": cell(suggestion),
                }
            )
    return table.written


def losses(question: Question, facts: Facts) -> list[str]:
    """What a spreadsheet can't carry."""
    sentences = ["Texts that a spreadsheet would run as a formula get a leading apostrophe; only what people see changes."]
    if question.kind not in ("class", "classes", "text", "ranking"):
        sentences.append(f"A spreadsheet draws no {question.kind}: people write their JSON, or a tool of theirs does.")
    sentences.append(
        "Times of answers are not known, unless somebody adds the column answered_at: the import's time counts."
    )
    return sentences


FORMAT = Format(
    name="csv",
    source="csv",
    kinds=frozenset(KINDS),
    read=read,
    write=write,
    losses=losses,
)

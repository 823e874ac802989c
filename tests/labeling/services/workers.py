"""Tasks in the internal form, and what each service would hand back if a person accepted what is shown."""

import csv
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline_assets.labeling.campaigns.answer import Answer
from pipeline_assets.labeling.services import judging
from pipeline_assets.labeling.services.form import Book, Format, Item, Question, Reading, Reject
from pipeline_assets.labeling.services.judging import Judging, Pixels
from pipeline_assets.labeling.services.registry import FORMATS

AT = datetime(2026, 3, 5, 12, tzinfo=UTC)
CLASSES = ("cat", "dog", "a & b <c>", "žluťoučký kůň")


def question(kind: str, classes: Sequence[str] = CLASSES, version: int = 1) -> Question:
    return Question("animals", version, kind, tuple(classes), "What is it?")  # type: ignore[arg-type]


def item(number: int, labels: Mapping[str, Any] | None = None, **more: Any) -> Item:
    one = Item(f"{number:064x}", media_type="image/jpeg", width_px=640, height_px=480, labels=labels)
    return replace(one, **more)


def accepted(name: str, source: Path, target: Path) -> Path:
    """The file that a service hands back for the file that it was given, after a person accepted every suggestion."""
    if name in _SERVICES:
        _SERVICES[name](source, target)
    elif source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)
    return target


def read_back(
    name: str,
    path: Path,
    asked: Question,
    items: Sequence[Item],
    *,
    pixels: Pixels = "auto",
    annotator: str | None = "ann",
    column: str | None = None,
) -> tuple[list[Answer], list[Reject]]:
    form: Format = FORMATS[name]
    book = Book({one.task_key: one for one in items}, {asked.version: asked})
    found = form.read(path, Reading(asked.kind, asked.classes, asked.campaign, column))
    results = list(judging.judged(Judging(form, book, AT, annotator, pixels), found))
    answers = [one for one in results if isinstance(one, Answer)]
    return answers, [one for one in results if isinstance(one, Reject)]


def round_trip(
    name: str, asked: Question, items: Sequence[Item], folder: Path, *, pixels: Pixels = "auto"
) -> tuple[dict[str, Any], list[Reject]]:
    """The answers by task key, as objects, and what was set aside, once a person accepted what a format shows of these items."""
    given = folder / "given"
    FORMATS[name].write(given, asked, items)
    answers, rejects = read_back(name, accepted(name, given, folder / "back"), asked, items, pixels=pixels)
    return {one.task_key: json.loads(one.answer_json or "null") for one in answers}, rejects


def _label_studio(source: Path, target: Path) -> None:
    tasks = json.loads(source.read_text())
    for number, task in enumerate(tasks, start=1):
        [prediction] = task.pop("predictions")
        times = {"created_at": "2026-03-05T11:00:00.000001Z", "updated_at": "2026-03-05T11:00:07.000001Z"}
        task["annotations"] = [
            {"id": 100 + number, "completed_by": 7, "result": prediction["result"], "lead_time": 7.5, **times}
        ]
        task["id"] = number
    target.write_text(json.dumps(tasks))


def _scale(source: Path, target: Path) -> None:
    tasks = json.loads(source.read_text())
    for number, task in enumerate(tasks, start=1):
        task |= {"task_id": f"s{number}", "status": "completed", "completed_at": "2026-03-05T11:00:00.000Z"}
        task["response"] = task.pop("hypothesis")
    target.write_text(json.dumps(tasks))


def _rows(source: Path) -> Iterator[dict[str, str]]:
    with source.open(newline="") as file:
        yield from csv.DictReader(file)


def _table(target: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _appen(source: Path, target: Path) -> None:
    ours = {"_golden": "false", "_missed": "", "_tainted": "false", "_trust": "0.93"}
    times = {"_started_at": "3/5/2026 11:00:00", "_created_at": "3/5/2026 11:00:09"}
    _table(
        target,
        [
            {"_unit_id": n, "_id": 9000 + n, "_worker_id": "w7", **ours, **times, "answer": row["suggestion"], **row}
            for n, row in enumerate(_rows(source))
        ],
    )


def _mturk(source: Path, target: Path) -> None:
    ours = {
        "HITId": "h",
        "WorkerId": "A7",
        "AssignmentStatus": "Approved",
        "WorkTimeInSeconds": "9",
        "Approve": "",
        "Reject": "",
    }
    time = {"SubmitTime": "Thu Mar 05 03:00:09 PST 2026"}
    _table(
        target,
        [
            {
                "AssignmentId": f"a{n}",
                **ours,
                **time,
                **{f"Input.{k}": v for k, v in row.items()},
                "Answer.answer": row["suggestion"],
            }
            for n, row in enumerate(_rows(source))
        ],
    )


def _sheet(source: Path, target: Path) -> None:
    _table(target, [{**row, "answer": row["suggestion"], "annotator": "Olga", "seconds": "9"} for row in _rows(source)])


_SERVICES = {
    "label-studio": _label_studio,
    "scale": _scale,
    "appen": _appen,
    "mturk": _mturk,
    "csv": _sheet,
}

"""Finds what Label Studio lost of an import, and sends it again.

While another client imports predictions, it answers 201 and drops annotations: its counts, or the tasks themselves, tell.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pipeline_assets.errors import LabelToolFailed
from pipeline_assets.labeling.exchange.label_studio import LabelStudio

Task = Mapping[str, Any]


def mend(client: LabelStudio, project: int, tasks: Mapping[int, Task], counts: Mapping[str, Any]) -> int:
    """Compare imported tasks, by the tool's ids, with what was sent, and add what is missing. Returns the number of parts.

    counts: the tool's answer to the import. Tasks with annotations are read back whatever it says: it has been wrong.
    Raises LabelToolFailed if something is still missing afterwards.
    """
    has_annotations = any(task.get("annotations") for task in tasks.values())
    predictions = sum(len(task.get("predictions", ())) for task in tasks.values())
    if not tasks or (not has_annotations and counts.get("prediction_count", 0) >= predictions):
        return 0
    missing = _missing(client, project, tasks)
    for task, part, fields in missing:
        if part == "annotations":
            client.annotate(task, fields)
        else:
            client.predict({**fields, "task": task, "project": project})
    if missing and (still := _missing(client, project, tasks)):
        raise LabelToolFailed(
            f"Label Studio lost {len(still):,} answers or predictions of a batch, also when sent again: see that no other "
            "program imports into this project, then run again."
        )
    return len(missing)


def _missing(client: LabelStudio, project: int, tasks: Mapping[int, Task]) -> list[tuple[int, str, Mapping[str, Any]]]:
    """Parts that tasks do not have: the task's id, `annotations` or `predictions`, and what was sent."""
    missing: list[tuple[int, str, Mapping[str, Any]]] = []
    first, last = min(tasks), max(tasks)
    for page in client.pages(project, first - 1, fields="id,annotations,predictions,result"):
        for task in page.tasks:
            for part in ("annotations", "predictions"):
                sent = tasks.get(task["id"], {}).get(part, ())
                there = Counter(_content(one) for one in task.get(part) or ())
                for one in sent:
                    if there[_content(one)]:
                        there[_content(one)] -= 1
                    else:
                        missing.append((task["id"], part, one))
        if page.tasks[-1]["id"] >= last:
            break
    return missing


def _content(part: Mapping[str, Any]) -> str:
    """What an annotation or prediction says, without the ids that the tool gives its regions."""
    results = [one for one in part.get("result") or () if isinstance(one, Mapping)]
    return json.dumps([[one.get("type"), one.get("value")] for one in results], sort_keys=True)

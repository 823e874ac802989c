"""Patches of a Delta log in which some data files give way to rewritten ones.

The log is patched one commit at a time, while others read it. Each version must therefore have either the old file or the
new one at any moment, never both or none: first every commit that removes an old file removes the new one too, then the
commits that add old files add the new ones instead, then the removals of the old files go.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

Action = dict[str, Any]
Patch = Callable[[bytes, Mapping[str, "NewFile"]], bytes]


@dataclass(frozen=True)
class NewFile:
    """What a data file gives way to. path: as in the log, URL-encoded; erased: rows that the old file has and it has not."""

    path: str
    size: int
    rows: int
    erased: int


def dumps(files: Mapping[str, NewFile]) -> bytes:
    """New files by the path of the old ones, as JSON."""
    return json.dumps({"files": {path: asdict(file) for path, file in files.items()}}).encode()


def loads(data: bytes) -> dict[str, NewFile]:
    """Read what `dumps` writes."""
    return {path: NewFile(**file) for path, file in json.loads(data)["files"].items()}


def paths(commit: bytes) -> Iterator[str]:
    """Paths of the files that a commit adds. Raises ValueError for a damaged commit, or one with deletion vectors."""
    for action in _actions(commit):
        if file := action.get("add"):
            if file.get("deletionVector"):
                raise ValueError("it has deletion vectors")
            yield file["path"]


def with_both_removed(commit: bytes, files: Mapping[str, NewFile]) -> bytes:
    """A commit that removes the new file too, where it removes an old one."""
    present = {action["remove"]["path"] for action in _actions(commit) if "remove" in action}

    def patched(action: Action) -> Iterator[Action]:
        yield action
        file = files.get(action.get("remove", {}).get("path", ""))
        if file is not None and file.path not in present:
            yield {"remove": _removal(action["remove"], file)}

    return _patched(commit, patched)


def with_new_added(commit: bytes, files: Mapping[str, NewFile]) -> bytes:
    """A commit that adds the new files where it added old ones, with the number of their rows as the only statistics."""

    def patched(action: Action) -> Iterator[Action]:
        file = files.get(action.get("add", {}).get("path", ""))
        if file is None:
            yield action
        else:
            add = {**action["add"], "path": file.path, "size": file.size, "stats": json.dumps({"numRecords": file.rows})}
            yield {"add": {name: value for name, value in add.items() if name != "stats_parsed"}}

    return _patched(commit, patched)


def with_new_removed(commit: bytes, files: Mapping[str, NewFile]) -> bytes:
    """A commit that removes no old file any more, after `with_both_removed`."""

    def patched(action: Action) -> Iterator[Action]:
        if action.get("remove", {}).get("path", "") not in files:
            yield action

    return _patched(commit, patched)


PHASES: tuple[Patch, ...] = (with_both_removed, with_new_added, with_new_removed)
"""In this order. Each is done for all commits before the next begins, and may be done again."""


def _removal(remove: Action, file: NewFile) -> Action:
    removal = {**remove, "path": file.path}
    if "size" in remove:
        removal["size"] = file.size
    if "stats" in remove:
        removal["stats"] = json.dumps({"numRecords": file.rows})
    return removal


def _actions(commit: bytes) -> Iterator[Action]:
    for line in commit.splitlines():
        if line.strip():
            yield json.loads(line)


def _patched(commit: bytes, patched: Callable[[Action], Iterator[Action]]) -> bytes:
    """The commit with patched actions; other lines stay as they are, byte for byte."""
    lines: list[bytes] = []
    for line in commit.splitlines():
        if not line.strip():
            continue
        action = json.loads(line)
        actions = list(patched(action))
        lines += [line] if actions == [action] else [json.dumps(one, separators=(",", ":")).encode() for one in actions]
    return b"".join(line + b"\n" for line in lines)

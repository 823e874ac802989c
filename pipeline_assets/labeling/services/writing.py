"""Writes files of services: each whole or not at all, item by item, in the order of the tasks' keys.

The order of keys is that of hashes: nobody can tell from it which questions are gold, or which matter most.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling.services.form import Item, Reject, Written
from resources import files


@dataclass
class Output(AbstractContextManager["Output"]):
    """One file that appears under its name once it is complete."""

    path: Path
    items: int = 0
    left_out: list[Reject] = field(default_factory=list)
    file: TextIO = field(init=False)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        """Open a temporary file beside the target."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            partial_path = stack.enter_context(files.replacing(self.path))
            self.file = stack.enter_context(partial_path.open("w", encoding="utf-8", newline=""))
            self._begin()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Put the file in place, unless the block raised."""
        if kind is None:
            try:
                self._end()
            except BaseException as own:
                self._stack.__exit__(type(own), own, own.__traceback__)
                raise
        return self._stack.__exit__(kind, error, trace)

    def leave_out(self, item: Item, unfit: UnfitParent) -> None:
        """Count an item that the format can't hold."""
        self.left_out.append(Reject(item.task_key, unfit.reason, unfit.detail))

    @property
    def written(self) -> Written:
        """What was written."""
        return Written([self.path], self.items, self.left_out)

    def _begin(self) -> None:
        pass

    def _end(self) -> None:
        pass


class Lines(Output):
    """A file of NDJSON."""

    def add(self, value: Mapping[str, Any]) -> None:
        """Write a line."""
        self.file.write(compact(value) + "\n")
        self.items += 1


class JsonList(Output):
    """A file with one JSON list, an item a line."""

    def add(self, value: Mapping[str, Any]) -> None:
        """Write an item."""
        self.file.write((",\n" if self.items else "\n") + compact(value))
        self.items += 1

    def _begin(self) -> None:
        self.file.write("[")

    def _end(self) -> None:
        self.file.write("\n]\n")


@dataclass
class Table(Output):
    """A CSV file. columns: its header."""

    columns: Sequence[str] = ()

    def add(self, cells: Mapping[str, object]) -> None:
        """Write a row; a cell that is not given is empty."""
        self._writer.writerow(["" if (value := cells.get(name)) is None else value for name in self.columns])
        self.items += 1

    def _begin(self) -> None:
        self._writer = csv.writer(self.file, lineterminator="\n")
        self._writer.writerow(self.columns)


def compact(value: Any) -> str:
    """JSON in one line. Raises ValueError for NaN and infinity."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


@contextmanager
def text(path: Path) -> Iterator[TextIO]:
    """A text file that appears once it is complete."""
    with Output(path) as output:
        yield output.file

"""Reads CSV of crowds and spreadsheets row by row: a broken row is set aside, and its neighbours go on. Pure.

It is streamed. The comma may be a semicolon or a tab, as spreadsheets of some countries write it.
"""

import csv
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pipeline_assets.errors import ImportRefused
from pipeline_assets.labeling import label_json
from pipeline_assets.labeling.services.form import MAX_RAW_CHARACTERS, Reject

MAX_LINE_BYTES = 4 << 20
MAX_COLUMNS = 2_000
MAX_REWINDS = 100
"""How often reading goes back to the line after an open quote, before it goes on behind what the quote swallowed."""


@dataclass(frozen=True)
class Row:
    """A row by column. place: its line in the file."""

    place: str
    cells: Mapping[str, str]

    @property
    def raw(self) -> str:
        """The row's cells, for a reject."""
        return ",".join(self.cells.values())[:MAX_RAW_CHARACTERS]


@dataclass
class _Lines:
    """Lines of a file, of which the last ones can be read again."""

    file: BinaryIO
    number: int = 0
    taken: list[str] = field(default_factory=list)
    again: deque[str] = field(default_factory=deque)

    def __iter__(self) -> Iterator[str]:
        while True:
            if self.again:
                line = self.again.popleft()
            else:
                data = self.file.readline(MAX_LINE_BYTES)
                if not data:
                    return
                line = data.decode("utf-8-sig" if self.number == 0 else "utf-8", "surrogateescape")
            self.number += 1
            self.taken.append(line)
            yield line

    def rewind(self) -> None:
        """Read again what was taken, but for its first line."""
        self.again.extendleft(reversed(self.taken[1:]))
        self.number -= len(self.taken) - 1
        self.taken = []


def rows(path: Path, needed: Sequence[str]) -> Iterator[Row | Reject]:
    """The rows of a file. needed: columns without which it is refused.

    Raises ImportRefused for a file without them, with one of them twice, or not in UTF-8.
    """
    csv.field_size_limit(max(csv.field_size_limit(), label_json.MAX_CHARACTERS))
    with path.open("rb") as file:
        begin = file.read(4)
        if begin[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise ImportRefused(f"{path} is in UTF-16: save it as CSV in UTF-8.")
        file.seek(0)
        lines = _Lines(file)
        header_line = next(iter(lines), "")
        delimiter = max(",;\t", key=header_line.count)
        try:
            cells = next(csv.reader([header_line], delimiter=delimiter), [])
        except csv.Error as error:
            raise ImportRefused(f"{path} has no column {', '.join(needed)}: its first line is no CSV ({error}).") from None
        names = header(path, cells, needed)
        lines.taken = []
        yield from _rows(lines, delimiter, names)


def header(path: Path, cells: Sequence[str], needed: Sequence[str]) -> list[str]:
    """Names of columns. An unneeded name that repeats gets a number. Raises ImportRefused."""
    names = [cell.strip() for cell in cells]
    if missing := [name for name in needed if name not in names]:
        raise ImportRefused(
            f"{path} has no column {', '.join(missing)}: it has {', '.join(names[:30]) or 'none'}. Is it another format?"
        )
    if twice := [name for name in needed if names.count(name) > 1]:
        raise ImportRefused(f"{path} has the column {', '.join(twice)} more than once: remove all but the right one.")
    if len(names) > MAX_COLUMNS:
        raise ImportRefused(f"{path} has {len(names):,} columns; at most {MAX_COLUMNS:,} are read.")
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name} #{seen[name]}")
    return unique


def _rows(lines: _Lines, delimiter: str, names: Sequence[str]) -> Iterator[Row | Reject]:
    source = iter(lines)
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    rewinds = 0
    while True:
        first = lines.number + 1
        lines.taken = []
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            broken = lines.taken[0] if lines.taken else ""
            yield Reject(f"line {first:,}", "bad_row", f"it is no CSV: {error}", broken[:MAX_RAW_CHARACTERS])
            if len(lines.taken) > 1 and rewinds < MAX_REWINDS:
                rewinds += 1
                lines.rewind()
            source = iter(lines)
            reader = csv.reader(source, delimiter=delimiter, strict=True)
            continue
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(names):
            detail = f"it has {len(cells)} cells, and the header {len(names)}"
            yield Reject(f"line {first:,}", "bad_row", detail, delimiter.join(cells)[:MAX_RAW_CHARACTERS])
            continue
        row = Row(f"line {first:,}", dict(zip(names, cells, strict=True)))
        if fault := label_json.fault("\n".join(cells)):
            is_bytes = "surrogate" in fault
            detail = "it has bytes that are no UTF-8: save the file as UTF-8" if is_bytes else fault
            yield Reject(row.place, "bad_text", detail, row.raw)
        else:
            yield row

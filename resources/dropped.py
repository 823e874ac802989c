"""What of a table's past was cleaned up: a small JSON beside the table, so that an old version says so instead of failing.

For each day, spans of versions (first, and the first after it) of which some file of the day is gone. Delta readers and
their vacuum leave names that begin with `_` alone.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

Span = tuple[int, int]


@dataclass(frozen=True)
class Dropped:
    """days: by ISO day, spans of versions, ascending, none touching the next."""

    days: Mapping[str, Sequence[Span]]

    @staticmethod
    def key(table: str) -> str:
        """Where it lies in the lake."""
        return f"tables/{table}/_darkroom_dropped.json"

    @classmethod
    def of(cls, gone: Iterable[tuple[str, int, int]]) -> "Dropped":
        """From (day, first version, first version after) of each file that is gone."""
        by_day: dict[str, list[Span]] = {}
        for day, first, after in sorted(gone):
            spans = by_day.setdefault(day, [])
            if spans and first <= spans[-1][1]:
                spans[-1] = (spans[-1][0], max(after, spans[-1][1]))
            else:
                spans.append((first, after))
        return cls(by_day)

    @classmethod
    def loads(cls, data: bytes) -> "Dropped":
        """Read what `dumps` writes."""
        return cls({day: [(first, after) for first, after in spans] for day, spans in json.loads(data)["days"].items()})

    def dumps(self) -> bytes:
        """As JSON."""
        return json.dumps({"days": self.days}).encode()

    def lacks(self, version: int, days: Sequence[date] | None) -> bool:
        """Whether a version can't be read any more, in these days (None: in all)."""
        wanted = self.days if days is None else [day.isoformat() for day in days]
        return any(first <= version < after for day in wanted for first, after in self.days.get(day, ()))

"""Records which old versions of a table were removed: a small JSON in the table's folder, for a clear error message.

For each day, spans of versions (first, and the first after it) of which a file of the day is gone. Delta readers and vacuum
ignore names with a leading `_`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

Span = tuple[int, int]


@dataclass(frozen=True)
class RemovedVersions:
    """days: by ISO day, spans of versions, ascending, none touching the next."""

    days: Mapping[str, Sequence[Span]]

    @staticmethod
    def key(table: str) -> str:
        """Its key in the lake."""
        return f"tables/{table}/_darkroom_dropped.json"

    @classmethod
    def of(cls, gone: Iterable[tuple[str, int, int]]) -> "RemovedVersions":
        """From (day, first version, first version after) of each removed file."""
        by_day: dict[str, list[Span]] = {}
        for day, first, after in sorted(gone):
            spans = by_day.setdefault(day, [])
            if spans and first <= spans[-1][1]:
                spans[-1] = (spans[-1][0], max(after, spans[-1][1]))
            else:
                spans.append((first, after))
        return cls(by_day)

    @classmethod
    def loads(cls, data: bytes) -> "RemovedVersions":
        """Read what `dumps` writes."""
        return cls({day: [(first, after) for first, after in spans] for day, spans in json.loads(data)["days"].items()})

    def dumps(self) -> bytes:
        """As JSON."""
        return json.dumps({"days": self.days}).encode()

    def lacks(self, version: int, days: Sequence[date] | None) -> bool:
        """Whether a version can no longer be read in these days (None: all days)."""
        iso_days = self.days if days is None else [day.isoformat() for day in days]
        return any(first <= version < after for day in iso_days for first, after in self.days.get(day, ()))

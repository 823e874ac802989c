"""The log after a moment, from the lake and then from the journal: for a new generation, or after a journal was lost.

What it yields may repeat events that are in a generation already, or come twice: states do not count them again.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta

import polars as pl

from pipeline_assets.ingestion.logs.events import day_of_log, parse_log
from pipeline_assets.serving.stream.backlog import Stretch, stretches
from pipeline_assets.serving.stream.journal import FIRST_OFFSET, Journal, Position
from pipeline_assets.serving.stream.segments import Segments
from resources.objects.store import ObjectStore

_DAY = timedelta(days=1)


class Replay:
    """The events that arrived at or after `since`. needed_from: the first segment of the journal that it reads."""

    def __init__(self, journal: Journal, segments: Segments, lake: ObjectStore, since: datetime, most: int) -> None:
        # Before the lake is listed: what is flushed meanwhile comes twice, and not never.
        self.needed_from = segments.flushed + 1
        self.place = Position(self.needed_from, FIRST_OFFSET)
        self._journal, self._lake, self._since, self._most = journal, lake, since, most

    def of_lake(self, today: date) -> Iterator[pl.DataFrame]:
        """The events of the lake's log, of all its files. Raises the store's errors."""
        first = self._since.date()
        for info in self._lake.list("events/", start_after=f"events/{first - _DAY}/\U0010ffff"):
            day = day_of_log(info.key)
            if day is not None and first <= day <= today + _DAY:
                events = parse_log(self._lake.get(info.key), info.key, day).events
                late = events.filter(pl.col("arrived_at") >= self._since)
                yield from late.iter_slices(self._most)

    def of_journal(self) -> Iterator[Stretch]:
        """The events of the journal that the lake had not, up to its end of now; `place` is behind what was yielded."""
        for stretch in stretches(self._journal.blocks(self.place), self._most):
            late = stretch.events.filter(pl.col("arrived_at") >= self._since)
            yield stretch._replace(events=late)
            self.place = stretch.end

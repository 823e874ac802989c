"""The log after a moment, from the lake and then from the journal: for a new generation, or after a journal was lost.

Events that arrived before that moment, but reached the lake late or not yet, belong to it: the build may not have seen them.
What it yields may repeat events that are in a generation already, or come twice: states do not count them again.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta

import polars as pl

from pipeline_assets.ingestion.logs.events import day_of_log, parse_log
from pipeline_assets.serving.stream.backlog import Stretch, stretches
from pipeline_assets.serving.stream.journal import FIRST_OFFSET, Journal, Position
from pipeline_assets.serving.stream.segments import Segments, is_of_a_stream
from resources.objects.store import ObjectStore

_DAY = timedelta(days=1)
LATE_FLUSH = timedelta(days=7)
"""The files of so many days before `since` are looked at for those that a stream flushed later."""


class Replay:
    """The events that arrived, or that a stream flushed, at or after `since`; and all that the lake does not have.

    needed_from: the first segment of the journal that it reads.
    """

    def __init__(self, journal: Journal, segments: Segments, lake: ObjectStore, since: datetime, most: int) -> None:
        # Before the lake is listed: what is flushed meanwhile comes twice, and not never.
        self.needed_from = segments.flushed + 1
        self.place = Position(self.needed_from, FIRST_OFFSET)
        self._journal, self._lake, self._since, self._most = journal, lake, since, most

    def of_lake(self, today: date) -> Iterator[pl.DataFrame]:
        """The events of the lake's log, of all its files. Raises the store's errors."""
        first = self._since.date()
        earliest = first - LATE_FLUSH
        for info in self._lake.list("events/", start_after=f"events/{earliest - _DAY}/\U0010ffff"):
            day = day_of_log(info.key)
            is_late = is_of_a_stream(info.key) and info.last_modified >= self._since
            if day is not None and (earliest if is_late else first) <= day <= today + _DAY:
                events = parse_log(self._lake.get(info.key), info.key, day).events
                unseen = events if is_late else events.filter(pl.col("arrived_at") >= self._since)
                yield from unseen.iter_slices(self._most)

    def of_journal(self) -> Iterator[Stretch]:
        """The events of the journal that the lake had not, up to its end of now; `place` is behind what was yielded."""
        for stretch in stretches(self._journal.blocks(self.place), self._most):
            yield stretch
            self.place = stretch.end

"""The one thread that writes the journal: whatever waits is judged, written and synced together, then acknowledged."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple

from pipeline_assets.errors import ClockSetBack
from pipeline_assets.ingestion.logs.event_lines import Event
from pipeline_assets.serving.state.period import microseconds
from pipeline_assets.serving.stream.arrivals import Arrivals
from pipeline_assets.serving.stream.dead_letters import DeadLetters
from pipeline_assets.serving.stream.intake import Batch, Judged, Receipt, RecentIds, digest_of, judge
from pipeline_assets.serving.stream.journal import FIRST_OFFSET, Journal, Position
from resources.errors import NoSpace, is_full

MAX_WAITING_CHARACTERS = 32 * 2**20
MAX_TOGETHER_CHARACTERS = 2 * 2**20
BLOCK_CHARACTERS = 2**20
"""Of one block of the journal, which is applied at once: larger batches are written in several."""
SEGMENT_BYTES = 64 * 2**20
_DAY_US = 86_400_000_000
_IDLE_S = 0.25


class NotTaken(Exception):
    """A batch is not taken now; the message says why. retry_after_s: when to send it again."""

    def __init__(self, message: str, retry_after_s: int, *, is_overload: bool) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.is_overload = is_overload
        """Whether the sender is too fast; else something here has to be mended first."""


class Written(NamedTuple):
    """Events of one durable block. start: the place behind the block before it."""

    start: Position
    end: Position
    arrived_us: int
    events: list[Event]


@dataclass
class Received:
    """What was received since the process began. refused: batches that were not taken."""

    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    refused: int = 0


class Receiver:
    """Takes batches from any thread, and writes them in the one that calls `run`.

    on_written: called in that thread with each block.  segment_s: after so long, a segment with events ends.
    """

    def __init__(
        self,
        journal: Journal,
        arrivals: Arrivals,
        dead_letters: DeadLetters,
        *,
        segment_s: float,
        on_written: Callable[[Written], None],
    ) -> None:
        self.journal, self.arrivals = journal, arrivals
        self.received = Received()
        self.held_up: str | None = None
        """Why no batch is taken, as a sentence; None while batches are."""
        self.overfull: str | None = None
        """Set by others: why the journal may not grow now."""
        self.quiet_us = microseconds(arrivals.newest)
        """What arrived before this moment is written; all that comes is later."""
        self._dead_letters, self._on_written, self._segment_s = dead_letters, on_written, segment_s
        self._recent = RecentIds()
        self._waiting: deque[tuple[Batch, Future[Receipt]]] = deque()
        self._characters = 0
        self._change = threading.Condition()
        self._is_open = True
        self._written_to = journal.end
        self._newest_us = microseconds(arrivals.newest)
        self._segment_began_s = time.monotonic()

    def remember(self, event_ids: Iterable[str]) -> None:
        """Recognise these events when they come again, as after a restart."""
        self._recent.add(map(digest_of, event_ids))

    def offer(self, batch: Batch) -> "Future[Receipt]":
        """A batch's receipt, once its events are durable. Raises NotTaken, as the future may.

        Send the batch again then: what was written of it is recognised.
        """
        with self._change:
            if self.held_up or not self._is_open:
                self.received.refused += 1
                raise NotTaken(self.held_up or "The stream is being stopped.", 5, is_overload=False)
            if self._characters > MAX_WAITING_CHARACTERS:
                self.received.refused += 1
                raise NotTaken("Events come faster than they are written: send them again.", 1, is_overload=True)
            future: Future[Receipt] = Future()
            self._waiting.append((batch, future))
            self._characters += batch.characters
            self._change.notify()
            return future

    def stop(self) -> None:
        """Take no more; `run` returns once all that was taken is written."""
        with self._change:
            self._is_open = False
            self._change.notify()

    def run(self) -> None:
        """Write what is offered, until `stop`. A disk that fails ends it, and is raised."""
        try:
            while together := self._next():
                self._take([item for item in together if item])
                self._end_old_segment()
                self._settle()
        finally:
            self.stop()
            for _, future in self._waiting:
                if future.set_running_or_notify_cancel():
                    future.set_exception(NotTaken("The stream has ended.", 5, is_overload=False))

    def end_segment(self) -> None:
        """End the journal's newest segment, if it has events."""
        self.journal.rotate()
        self._segment_began_s = time.monotonic()

    def _end_old_segment(self) -> None:
        if self.journal.end.offset == FIRST_OFFSET:
            self._segment_began_s = time.monotonic()
        elif self.journal.end.offset >= SEGMENT_BYTES or time.monotonic() - self._segment_began_s >= self._segment_s:
            self.end_segment()

    def _settle(self) -> None:
        try:
            self.quiet_us = microseconds(self.arrivals.next())
            self.held_up = self.overfull
        except ClockSetBack as error:
            self.held_up = str(error)

    def _next(self) -> list[tuple[Batch, "Future[Receipt]"] | None]:
        """What waits, up to some size; [None] if nothing has come for a moment; empty at the end."""
        with self._change:
            if not self._waiting and self._is_open:
                self._change.wait(_IDLE_S)
            together: list[tuple[Batch, Future[Receipt]] | None] = []
            characters = 0
            while self._waiting and characters < MAX_TOGETHER_CHARACTERS:
                item = self._waiting.popleft()
                characters += item[0].characters
                if item[1].set_running_or_notify_cancel():  # else its sender waits no longer, and sends it again
                    together.append(item)
            self._characters -= characters
            return together or ([None] if self._is_open else [])

    def _take(self, together: list[tuple[Batch, "Future[Receipt]"]]) -> None:
        if not together:
            return
        try:
            judged = judge([batch for batch, _ in together], self._recent, self.arrivals)
            self._dead_letters.add(judged.dead)
            self._write(judged)
        except Exception as error:
            is_passing = isinstance(error, NoSpace | ClockSetBack) or (isinstance(error, OSError) and is_full(error))
            refusal = NotTaken(str(error), 5, is_overload=False)
            self.received.refused += len(together)
            for _, future in together:
                future.set_exception(refusal)
            if not is_passing:
                raise
            return
        for (_, future), receipt in zip(together, judged.receipts, strict=True):
            self.received.accepted += receipt.accepted
            self.received.duplicate += receipt.duplicate
            self.received.rejected += receipt.rejected
            future.set_result(receipt)

    def _write(self, judged: Judged) -> None:
        for part in _in_blocks(judged):
            events = judged.events[part]
            arrived_us = max(microseconds(event.arrived_at) for event in events)
            if self._newest_us // _DAY_US != arrived_us // _DAY_US:
                self.end_segment()
            start = self._written_to
            self._written_to = self.journal.append("".join(f"{line}\n" for line in judged.lines[part]).encode(), arrived_us)
            self._newest_us = arrived_us
            self._recent.add(judged.ids[part])
            self._on_written(Written(start, self._written_to, arrived_us, events))


def _in_blocks(judged: Judged) -> Iterator[slice]:
    """Lines and events in parts of about BLOCK_CHARACTERS."""
    start = characters = 0
    for at, line in enumerate(judged.lines):
        characters += len(line)
        if characters >= BLOCK_CHARACTERS or at == len(judged.lines) - 1:
            yield slice(start, at + 1)
            start, characters = at + 1, 0

"""All parts of a stream in one process: its threads, how they begin, and how they end without losing anything."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pipeline_assets.errors import JournalDamaged
from pipeline_assets.ingestion.logs.events import parse_log
from pipeline_assets.serving.state.period import moment_of
from pipeline_assets.serving.stream.applying import Applier
from pipeline_assets.serving.stream.arrivals import Arrivals
from pipeline_assets.serving.stream.backlog import Backlog
from pipeline_assets.serving.stream.dead_letters import DeadLetters
from pipeline_assets.serving.stream.intake import RECENT_IDS
from pipeline_assets.serving.stream.journal import Journal
from pipeline_assets.serving.stream.places import Place
from pipeline_assets.serving.stream.postings import Postings
from pipeline_assets.serving.stream.receiving import Receiver
from pipeline_assets.serving.stream.segments import Segments
from pipeline_assets.serving.stream.writer import Writer
from resources.database.contract import Database
from resources.errors import ResourceError
from resources.objects.store import ObjectStore
from resources.online.contract import OnlineStore

MAX_JOURNAL_BYTES = 8 * 2**30
"""Of events that wait for the lake or the store; beyond that, none is taken."""
FLUSH_S = 1.0
JOIN_S = 60.0
_OVERFULL = (
    f"more than {MAX_JOURNAL_BYTES // 2**30} GiB of events wait for the online store or the lake: see what holds them up"
)


@dataclass
class Stream:
    """The parts of a running stream. failure: of a thread, which ends the process."""

    journal: Journal
    receiver: Receiver
    applier: Applier
    segments: Segments
    dead_letters: DeadLetters
    lake_held_up: str | None = None
    failure: BaseException | None = None
    on_failure: Callable[[], None] = lambda: None
    stopping: threading.Event = field(default_factory=threading.Event)

    def held_up(self) -> list[str]:
        """What does not work now, a sentence each."""
        return [reason for reason in (self.receiver.held_up, self.applier.held_up, self.lake_held_up) if reason]

    def lag_s(self, now: datetime) -> float:
        """How far the online store is behind what was received, in seconds."""
        place = self.applier.place
        is_there = place is not None and place.position >= self.journal.end
        return 0.0 if is_there or place is None else max(0.0, (now - moment_of(place.arrived_us)).total_seconds())

    def flush(self) -> None:
        """Write ended segments to the lake, and delete those that nobody needs."""
        try:
            self.segments.flush()
            self.lake_held_up = None
        except ResourceError as error:
            self.lake_held_up = str(error)
        self.segments.clean_up(self.applier.needed_from(self.journal.end))
        kept = sum(self.journal.size(number) for number in self.journal.segments())
        self.receiver.overfull = _OVERFULL if kept > MAX_JOURNAL_BYTES else None

    def _guarded(self, work: Callable[[], None]) -> Callable[[], None]:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                self.failure = self.failure or error
                self.on_failure()

        return guarded

    def start(self, work: Callable[[], None], name: str) -> threading.Thread:
        """Run work in a thread whose error ends the stream."""
        thread = threading.Thread(target=self._guarded(work), name=name, daemon=True)
        thread.start()
        return thread

    def keep_flushing(self) -> None:
        """Flush now and then, until the stream stops."""
        while not self.stopping.wait(FLUSH_S):
            self.flush()


@contextmanager
def streaming(
    folder: Path, store: OnlineStore, lake: ObjectStore, database: Database, *, segment_s: float, poll_s: float
) -> Iterator[Stream]:
    """A stream that takes events within the block, and whose events are in the store and the lake after it, if these answer.

    folder: of the journal and the dead letters. segment_s: seconds after which received events go to the lake. poll_s:
    between two looks for new photos. Raises AlreadyRunning, JournalDamaged, NoSpace, and the store's errors; after the block
    also what ended a thread.
    """
    journal = Journal(folder / "journal")
    try:
        segments = Segments(journal, lake)
        if segments.flushed >= journal.end.segment:
            raise JournalDamaged(
                f"{journal.folder} ends before what the lake has of it, as if an older copy had been restored. Move "
                "the folder away: the stream begins a new journal."
            )
        writer = Writer(store, f"stream {journal.lineage}")
        stream = _assembled(journal, segments, writer, lake, database, folder, segment_s, poll_s)
        threads = [
            stream.start(stream.receiver.run, "receiver"),
            stream.start(stream.applier.run, "applier"),
            stream.start(stream.keep_flushing, "flusher"),
        ]
        try:
            yield stream
        finally:
            _stop(stream, threads)
            writer.release()
        if stream.failure:
            raise stream.failure
    finally:
        journal.close()


def _assembled(
    journal: Journal,
    segments: Segments,
    writer: Writer,
    lake: ObjectStore,
    database: Database,
    folder: Path,
    segment_s: float,
    poll_s: float,
) -> Stream:
    current = writer.store.current()
    place = Place.of(current.position) if current else None
    newest_us = max(_newest_us(journal), place.arrived_us if place else 0)
    journal.rotate()  # after a kill, its newest segment may be of a day that has ended, and segments have one day
    backlog = Backlog(journal)
    dead_letters = DeadLetters(folder)
    receiver = Receiver(journal, Arrivals(moment_of(newest_us)), dead_letters, segment_s=segment_s, on_written=backlog.add)
    receiver.remember(_recent_ids(journal))
    applier = Applier(writer, journal, segments, lake, backlog, Postings(database, poll_s))
    applier.quiet_us = lambda: receiver.quiet_us
    return Stream(journal, receiver, applier, segments, dead_letters)


def _stop(stream: Stream, threads: list[threading.Thread]) -> None:
    """Write what was taken, apply it, and flush it, in this order; what can't be done now is done after the next start."""
    receiver, applier, flusher = threads
    stream.receiver.stop()
    receiver.join(JOIN_S)
    stream.applier.stop()
    applier.join(JOIN_S)
    stream.stopping.set()
    flusher.join(JOIN_S)
    if not receiver.is_alive() and not flusher.is_alive():
        stream.receiver.end_segment()
        stream.flush()


def _newest_us(journal: Journal) -> int:
    """The newest `arrived_at` of the journal; 0 without events."""
    for number in reversed(journal.segments()):
        if newest := max((block.arrived_us for block in journal.segment(number)), default=0):
            return newest
    return 0


def _recent_ids(journal: Journal) -> Iterator[str]:
    """The ids of the newest events of the journal, oldest first."""
    texts: list[list[str]] = []
    blocks = (block for number in reversed(journal.segments()) for block in reversed(list(journal.segment(number))))
    count = 0
    for block in blocks:
        ids = parse_log(block.lines, "", moment_of(block.arrived_us).date()).events["event_id"].to_list()
        texts.append(ids)
        count += len(ids)
        if count >= RECENT_IDS:
            break
    return (event_id for ids in reversed(texts) for event_id in ids)

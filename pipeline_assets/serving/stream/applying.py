"""The thread that applies the journal to the online store, in order, and brings new generations up to date.

What lives here: what is applied next, and to which generation. What does not: how it is applied (`writer.py`), and what an
event changes (`serving/state`).
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from threading import Event as Flag

from pipeline_assets.errors import JournalDamaged
from pipeline_assets.serving.state.layout import FORMAT
from pipeline_assets.serving.state.period import SETTLING
from pipeline_assets.serving.stream.backlog import Backlog
from pipeline_assets.serving.stream.journal import Journal, Position
from pipeline_assets.serving.stream.places import Place
from pipeline_assets.serving.stream.postings import Postings
from pipeline_assets.serving.stream.replaying import Replay
from pipeline_assets.serving.stream.segments import Segments
from pipeline_assets.serving.stream.writer import MOST, Target, Writer
from resources.errors import AlreadyRunning, DraftGone, LeaseLost, NothingPublished, ResourceError
from resources.objects.store import ObjectStore

LOOK_S = 2.0
"""Seconds between two looks for a draft that waits to be published."""
WAIT_S = 0.2
MOST_TOGETHER = 10_000
"""Events of the stream that are applied at once, if so many wait: the more, the fewer pages an event writes."""
NO_GENERATION = "the online store has no states yet: materialize online_features (`darkroom run`). Events are kept."


class Applier:
    """`run` is its thread. place: up to where the current generation has the journal; None while it is being found out."""

    def __init__(
        self, writer: Writer, journal: Journal, segments: Segments, lake: ObjectStore, backlog: Backlog, postings: Postings
    ) -> None:
        self.place: Place | None = None
        self.held_up: str | None = None
        """Why nothing is applied, as a sentence; None while it is."""
        self.applied = 0
        """Events since the process began."""
        self.quiet_us: Callable[[], int] = lambda: 0
        """A moment, in microseconds: what arrived before is in the journal, and all that comes is later."""
        self._writer, self._journal, self._segments, self._lake = writer, journal, segments, lake
        self._backlog, self._postings = backlog, postings
        self._current: Target | None = None
        self._replays: dict[str, tuple[Replay, Iterator[None]]] = {}
        self._stopping = Flag()
        self._looked_s = self._told_s = 0.0
        self._told_segment = 0

    def stop(self) -> None:
        """Let `run` return once what is in the journal now is applied, or can't be."""
        self._stopping.set()

    def needed_from(self, end: Position) -> int:
        """The first segment of the journal that is still to be applied; without states, none is: the lake has them."""
        segments = [replay.needed_from for replay, _ in self._replays.values()]
        if self.place and self._current:
            segments.append(min(self.place.position.segment, self._told_segment))
        return min(segments, default=end.segment)

    def run(self) -> None:
        """Apply until `stop`. Raises AlreadyRunning if another process writes to the store by now, and JournalDamaged."""
        while True:
            is_last = self._stopping.is_set()  # before a look at the journal, which has all by then
            try:
                is_idle = self._step()
                self.held_up = None
            except AlreadyRunning:
                raise
            except NothingPublished:
                is_idle = self._hold_up(NO_GENERATION)
            except DraftGone:
                is_idle = self._replays.pop("draft", None) is None
            except LeaseLost:
                self._writer.take()
                is_idle = self._hold_up("the lease of the online store was lost, and is taken again.")
            except ResourceError as error:
                is_idle = self._hold_up(str(error))
            if is_idle and is_last:
                return
            if is_idle and self.place:
                self._backlog.wait(self.place.position, WAIT_S)
            elif is_idle:
                self._stopping.wait(WAIT_S)

    def _hold_up(self, reason: str) -> bool:
        """Begin anew with the next step: what was applied is read from the store."""
        self.held_up, self._current = reason, None
        self._replays.clear()
        return True

    def _step(self) -> bool:
        """Apply some of what there is. Returns whether there was nothing. Raises what `run` handles."""
        self._look_for_draft()
        if self._current is None and not self._open() and not self._replays:
            raise NothingPublished(NO_GENERATION)
        is_idle = True
        for name, (_, steps) in list(self._replays.items()):
            if name in self._replays and next(steps, "done"):
                self._replays.pop(name, None)
            is_idle = False
        if self._current and "current" not in self._replays:
            is_idle = not self._apply_next(self._current) and is_idle
        return is_idle

    def _open(self) -> bool:
        """Find the current generation, and what it lacks. Returns whether there is one."""
        generation = self._writer.store.current()
        if generation is None or generation.format != FORMAT:
            return False
        place = Place.of(generation.position)
        self._current = Target(generation)
        self._writer.open(self._current)
        self._postings.forget()
        if place and place.lineage == self._journal.lineage:
            if place.position > self._journal.end:
                raise JournalDamaged(
                    f"{self._journal.folder} ends before what the online store has applied of it, as if an older copy had "
                    "been restored. Move the folder away: what had reached the lake is replayed from there."
                )
            if place.position.segment in self._journal.segments():
                self.place, self._told_segment = place, place.position.segment
                return True
        self.place = None
        self._begin_replay("current", self._current)
        return True

    def _look_for_draft(self) -> None:
        if "draft" in self._replays or time.monotonic() - self._looked_s < LOOK_S:
            return
        self._looked_s = time.monotonic()
        draft = self._writer.store.draft()
        if draft and draft.format == FORMAT:
            self._begin_replay("draft", Target(draft))

    def _begin_replay(self, name: str, target: Target) -> None:
        replay = Replay(self._journal, self._segments, self._lake, target.generation.t0 - SETTLING, MOST)
        self._replays[name] = replay, self._replayed(replay, target)

    def _replayed(self, replay: Replay, target: Target) -> Iterator[None]:
        """Apply the log after t0 in steps, then make the generation the current one, if it is a draft."""
        self._writer.open(target)
        steps = (f"replay {step}" for step in count(1))  # no place: after a kill, the replay begins again
        for events in replay.of_lake(datetime.now(UTC).date()):
            self._writer.apply_events(target, events, next(steps))
            yield
        self._writer.add_postings(target, *self._postings.all(target.generation.t0, datetime.now(UTC).date()), next(steps))
        yield
        arrived_us = 0
        is_behind = True
        while is_behind:
            is_behind = False
            for stretch in replay.of_journal():
                self._writer.apply_events(target, stretch.events, next(steps))
                arrived_us, is_behind = stretch.arrived_us, True
                yield
        place = Place(self._journal.lineage, replay.place, arrived_us)
        if target.draft:
            generation = self._writer.store.publish(self._writer.lease, target.draft, position=str(place))
        else:
            generation = target.generation
            self._writer.reach(target, str(place))
        self._current, self.place, self._told_segment = Target(generation), place, place.position.segment
        self._writer.open(Target(replace(generation, position=str(place))))
        self._replays.pop("current", None)
        self._postings.forget()

    def _apply_next(self, current: Target) -> bool:
        """Apply the events behind `place`, and new photos and users. Returns whether there were events."""
        assert self.place is not None  # noqa: S101
        quiet_us, end = self.quiet_us(), self._journal.end
        stretch = self._backlog.next(self.place.position, MOST_TOGETHER)
        if stretch:
            place = Place(self._journal.lineage, stretch.end, stretch.arrived_us)
            self._writer.apply_events(current, stretch.events, str(place))
            self.place, self._told_segment = place, place.position.segment
            self.applied += len(stretch.events)
        else:
            self.place = replace(self.place, position=end)  # of another segment, if one has ended since
        if not stretch and quiet_us > self.place.arrived_us and time.monotonic() - self._told_s >= 1:
            self.place = replace(self.place, arrived_us=quiet_us)
            self._writer.reach(current, str(self.place))
            self._told_s, self._told_segment = time.monotonic(), self.place.position.segment
        for photos, users in self._postings.fresh(current.generation.t0, datetime.now(UTC).date()):
            self._writer.add_postings(current, photos, users, str(self.place))
        return stretch is not None

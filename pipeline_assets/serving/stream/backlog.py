"""What is durable and not applied yet: from memory while the store keeps up, from the journal after a restart or a pause."""

import threading
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import polars as pl

from pipeline_assets.ingestion.logs.events import parse_log
from pipeline_assets.serving.state.events import Delivered, deliveries, delivery_of
from pipeline_assets.serving.state.period import moment_of
from pipeline_assets.serving.stream.journal import Block, Journal, Position
from pipeline_assets.serving.stream.receiving import Written

MAX_HELD = 100_000
"""Events in memory. Beyond that, they are read from the journal again."""


class Stretch(NamedTuple):
    """Events between two places, and the newest `arrived_at` up to its end."""

    events: list[Delivered]
    end: Position
    arrived_us: int


class Backlog:
    """One thread adds what it has written to a journal; another takes it in the same order."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._held: deque[Written] = deque()
        self._count = 0
        self._change = threading.Condition()

    def add(self, written: Written) -> None:
        """Hold a block in memory, unless too many are."""
        with self._change:
            if self._count >= MAX_HELD:
                self._held.clear()
                self._count = 0
            self._held.append(written)
            self._count += len(written.events)
            self._change.notify()

    def wait(self, place: Position, seconds: float) -> None:
        """Return once there is something behind a place, or after some seconds."""
        with self._change:
            if self._journal.end <= place:
                self._change.wait(seconds)

    def next(self, place: Position, most: int) -> Stretch | None:
        """About `most` events behind a place, at least a block; None if there are none. Raises JournalDamaged."""
        blocks = self._from_memory(place, most)
        if blocks:
            delivered = (delivery_of(*event[:6]) for block in blocks for event in block.events)
            return Stretch([one for one in delivered if one], blocks[-1].end, blocks[-1].arrived_us)
        return next(stretches(self._journal.blocks(place), most), None)

    def _from_memory(self, place: Position, most: int) -> list[Written]:
        taken: list[Written] = []
        count = 0
        with self._change:
            while self._held and count < most:
                if self._held[0].start != (taken[-1].end if taken else place):
                    if taken or self._held[0].start > place:
                        break
                    self._count -= len(self._held.popleft().events)  # was read from the journal
                    continue
                taken.append(self._held.popleft())
                count += len(taken[-1].events)
            self._count -= count
        return taken


def stretches(blocks: Iterator[Block], most: int) -> Iterator[Stretch]:
    """Blocks of the journal as events, about `most` in each."""
    parsed: list[pl.DataFrame] = []
    count = 0
    block = None
    for block in blocks:
        parsed.append(parse_log(block.lines, "", moment_of(block.arrived_us).date()).events)
        count += parsed[-1].height
        if count >= most:
            yield Stretch(deliveries(pl.concat(parsed)), block.end, block.arrived_us)
            parsed, count = [], 0
    if block is not None and parsed:
        yield Stretch(deliveries(pl.concat(parsed)), block.end, block.arrived_us)

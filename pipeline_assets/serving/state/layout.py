"""How states are packed: the bytes of users, photos and recent events, as the online store keeps them.

Every value is a row of little-endian 64-bit words, so that `building.py` writes a million of them with numpy. The first word
has FORMAT in its first byte, flags in the second, and the number of words (modulo 2**16) in the next two. What does not live
here: what the numbers mean for a feature (`steps.py`, `answers.py`).

    key                     value
    u:{user_id}             UserState
    p:{photo_id}            PhotoState
    e:{20 bits of digest}   EventBucket
"""

import struct
from array import array
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple, Self

from pipeline_assets.errors import StateUnreadable

FORMAT = 1
"""Raise it with every change of the layout, of `kind_code`, or of what a number means."""
KINDS = ("correct", "hide", "like", "login", "post", "report", "view")
"""Kinds of events, ascending as in `weighted_events`. Their positions are stored."""
DIGEST_BYTES = 16
BUCKET_BITS = 20
"""A store has at most 2**20 buckets of events; `bucket_key` names them by the first bits of their digests."""
MISSING = -(2**63)
"""In a word: no joining time, or no photo."""

USER_HEADER = struct.Struct("<BBHiIIq6iq")
PHOTO_HEADER = struct.Struct("<BBH4x")
PHOTO_FACTS = struct.Struct("<3q")
BUCKET_HEADER = struct.Struct("<BBHI")
DELIVERY = struct.Struct("<5q")
_FORMAT_BYTE = bytes([FORMAT])
_INCOMPLETE = 1
PHOTO_KNOWN = 1


def user_key(user_id: int) -> bytes:
    """The key of a user's state."""
    return b"u:%d" % user_id


def photo_key(photo_id: int) -> bytes:
    """The key of a photo's state."""
    return b"p:%d" % photo_id


def event_digest(event_id: str) -> bytes:
    """16 bytes that stand for an event's id."""
    return blake2b(event_id.encode(), digest_size=DIGEST_BYTES).digest()


def bucket_key(digest: bytes) -> bytes:
    """The key of the bucket that holds the event of a digest, of which the first bytes suffice."""
    return b"e:%c%c%c" % (digest[0], digest[1], digest[2] & 0xF0)


class Delivery(NamedTuple):
    """What counts of one delivery of an event; times in microseconds since 1970. kind: a position in KINDS."""

    kind: int
    user_id: int
    photo_id: int
    at: int
    arrived_at: int

    @property
    def known(self) -> int:
        """When it has happened and arrived."""
        return max(self.at, self.arrived_at)

    @property
    def rank(self) -> tuple[int, int, int, int, bool, int, int]:
        """Of several deliveries of an id the one with the least rank counts, as in `weighted_events`."""
        known = max(self.at, self.arrived_at)
        return (known, self.arrived_at, self.at, self.user_id, self.photo_id == MISSING, self.photo_id, self.kind)


class Maturing(NamedTuple):
    """A photo that matures about now: it counts after `mature_at`, with the views counted by then."""

    mature_at: int
    photo_id: int
    views: int


class Leaving(NamedTuple):
    """A mature photo that no longer counts after `end`. value: its popularity in fixed point."""

    end: int
    value: int


def _no_steps() -> "array[int]":
    return array("q")


@dataclass
class UserState:
    """A user at t0, and all that changes their features until the end of the period.

    joined_at: microseconds since 1970, None if unknown.  counts: of COUNTS, at t0.  total, number: of the photos that count
    for the mean at t0, in fixed point.  steps: ascending words, time << 4 | position in COUNTS << 1 | 1 if it rises; at one
    time a count only rises or only falls, so that equal states have equal bytes.  is_complete: whether every photo of the
    user is in it.
    """

    joined_at: int | None = None
    counts: list[int] = field(default_factory=lambda: [0] * 6)
    total: int = 0
    number: int = 0
    steps: "array[int]" = field(default_factory=_no_steps)
    leaving: list[Leaving] = field(default_factory=list)
    maturing: list[Maturing] = field(default_factory=list)
    is_complete: bool = True

    def pack(self) -> bytes:
        """The bytes of this state."""
        photos = [word for row in (*self.leaving, *self.maturing) for word in row]
        words = USER_HEADER.size // 8 + len(self.steps) + len(photos)
        header = USER_HEADER.pack(
            FORMAT,
            0 if self.is_complete else _INCOMPLETE,
            words & 0xFFFF,
            self.number,
            len(self.steps),
            len(self.leaving),
            MISSING if self.joined_at is None else self.joined_at,
            *self.counts,
            self.total,
        )
        return header + self.steps.tobytes() + struct.pack(f"<{len(photos)}q", *photos)

    @classmethod
    def unpack(cls, value: bytes) -> Self:
        """The state of these bytes. Raises StateUnreadable for bytes of another format, or cut short."""
        if value[:1] != _FORMAT_BYTE or len(value) < USER_HEADER.size:
            _check(value)
        _, flags, size, number, step_count, leaving_count, joined_at, *counts, total = USER_HEADER.unpack_from(value)
        if len(value) & 7 or len(value) >> 3 & 0xFFFF != size:
            _check(value)
        steps = array("q")
        steps.frombytes(value[USER_HEADER.size :])
        state = cls(
            None if joined_at == MISSING else joined_at, counts, total, number, steps, [], [], not flags & _INCOMPLETE
        )
        if len(steps) > step_count:
            end = step_count + 2 * leaving_count
            state.leaving = [Leaving(*steps[at : at + 2]) for at in range(step_count, end, 2)]
            state.maturing = [Maturing(*steps[at : at + 3]) for at in range(end, len(steps), 3)]
            del steps[step_count:]
        return state


@dataclass
class PhotoState:
    """A photo that is known, or the likes and views of one that is not known yet. Times in microseconds since 1970.

    waiting: ascending (kind, user_id, photo_id, at, arrived_at), in which equal deliveries of different events repeat.
    """

    owner_id: int | None = None
    posted_at: int = 0
    known_from: int = 0
    waiting: list[Delivery] = field(default_factory=list)

    @property
    def is_known(self) -> bool:
        """Whether the photo's facts are there."""
        return self.owner_id is not None

    def wait(self, delivery: Delivery) -> None:
        """Keep a delivery until the photo is known."""
        insort(self.waiting, delivery)

    def forget(self, delivery: Delivery) -> None:
        """Remove one such delivery, if there is any."""
        place = bisect_left(self.waiting, delivery)
        if place < len(self.waiting) and self.waiting[place] == delivery:
            del self.waiting[place]

    def pack(self) -> bytes | None:
        """The bytes of this state; None for an unknown photo for which nothing waits."""
        if self.owner_id is not None:
            facts = PHOTO_FACTS.pack(self.owner_id, self.posted_at, self.known_from)
            return PHOTO_HEADER.pack(FORMAT, PHOTO_KNOWN, 1 + len(facts) // 8) + facts
        if not self.waiting:
            return None
        deliveries = b"".join(DELIVERY.pack(*delivery) for delivery in self.waiting)
        return PHOTO_HEADER.pack(FORMAT, 0, 1 + len(deliveries) // 8 & 0xFFFF) + deliveries

    @classmethod
    def unpack(cls, value: bytes) -> Self:
        """The state of these bytes. Raises StateUnreadable for bytes of another format, or cut short."""
        _check(value)
        if value[1] & PHOTO_KNOWN:
            return cls(*PHOTO_FACTS.unpack_from(value, PHOTO_HEADER.size))
        return cls(waiting=[Delivery(*row) for row in DELIVERY.iter_unpack(value[PHOTO_HEADER.size :])])


@dataclass
class EventBucket:
    """The events of one key: digests of those that are settled, and the delivery that counts of each other one.

    settled: digests, ascending, one after another.
    """

    settled: bytes = b""
    open: dict[bytes, Delivery] = field(default_factory=dict)

    def is_settled(self, digest: bytes) -> bool:
        """Whether a delivery of this event counts that no later one can replace."""
        place = self.settled.find(digest)
        while place % DIGEST_BYTES and place > 0:
            place = self.settled.find(digest, place + 1)
        return place >= 0

    def pack(self) -> bytes:
        """The bytes of this bucket."""
        deliveries = b"".join(digest + DELIVERY.pack(*self.open[digest]) for digest in sorted(self.open))
        words = 1 + (len(self.settled) + len(deliveries)) // 8
        return BUCKET_HEADER.pack(FORMAT, 0, words & 0xFFFF, len(self.settled) // DIGEST_BYTES) + self.settled + deliveries

    @classmethod
    def unpack(cls, value: bytes) -> Self:
        """The bucket of these bytes. Raises StateUnreadable for bytes of another format, or cut short."""
        _check(value)
        end = BUCKET_HEADER.size + DIGEST_BYTES * BUCKET_HEADER.unpack_from(value)[3]
        return cls(value[BUCKET_HEADER.size : end], dict(_open_events(value, end)))


_OPEN_BYTES = DIGEST_BYTES + DELIVERY.size


def _open_events(value: bytes, start: int) -> Iterator[tuple[bytes, Delivery]]:
    for place in range(start, len(value), _OPEN_BYTES):
        yield value[place : place + DIGEST_BYTES], Delivery(*DELIVERY.unpack_from(value, place + DIGEST_BYTES))


def _check(value: bytes) -> None:
    if value[:1] != _FORMAT_BYTE:
        raise _unreadable(f"has format {value[0] if value else 'none'}, and this version of Darkroom reads {FORMAT}")
    if len(value) < 8 or len(value) % 8 or len(value) // 8 & 0xFFFF != value[2] | value[3] << 8:
        raise _unreadable("is cut short")


def _unreadable(what: str) -> StateUnreadable:
    return StateUnreadable(f"A value of the online store {what}: build the states again (`darkroom online rebuild`).")

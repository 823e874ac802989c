"""What is taken of the lines that arrive: each becomes a line of the lake's log, a repeat, or a dead letter.

What lives here: the verdict on each line, its stamp, and which ids came lately. What does not: how lines come here
(`http.py`, `redis_streams.py`), and the disk (`journal.py`, `dead_letters.py`). The contract is that of the log's lines
(`ingestion/logs`), whose functions judge the very text that the lake will have.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import chain

from pipeline_assets.ingestion.logs.event_lines import BadLine, Event, parse_line
from pipeline_assets.ingestion.logs.events import ParsedLog, parse_log
from pipeline_assets.ingestion.logs.log_files import MAX_LINE_BYTES
from pipeline_assets.ingestion.timestamps import BadTimestamp, parse_timestamp
from pipeline_assets.runtime import strict_json
from pipeline_assets.serving.stream.arrivals import Arrivals

AHEAD = timedelta(seconds=1)
"""So far the clock of a sender may be ahead of ours: its events arrive when they happen."""
RECENT_IDS = 250_000
MAX_REJECTIONS = 10
"""Rejections that a sender is told of one by one."""
_BULK_LINES = 1_000
"""From so many lines on, parsing them in blocks is cheaper than one by one."""
_MOST_LINES = 50_000
"""At once: far fewer than the bad lines after which a log is read no further."""


@dataclass(frozen=True)
class DeadLetter:
    """A line that was not taken: where it came from, when, why, and its text."""

    source: str
    arrived_at: datetime
    reason: str
    detail: str
    raw: str


@dataclass(frozen=True)
class Receipt:
    """What became of the lines of a batch. rejections: index, reason and detail of the first few."""

    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    rejections: tuple[tuple[int, str, str], ...] = ()


@dataclass(frozen=True)
class Batch:
    """Lines that came together. source: for a person, in dead letters."""

    source: str
    lines: Sequence[str]

    @property
    def characters(self) -> int:
        """Of all lines."""
        return sum(map(len, self.lines))


@dataclass
class Judged:
    """What became of several batches. events, lines of the log, digests of ids: one each; receipts: one for each batch."""

    lines: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    ids: list[bytes] = field(default_factory=list)


class RecentIds:
    """Digests of the ids that came last: at least `size` of them, and at most twice as many.

    Older repeats are recognised by the online store and the tables: so a forgotten id changes only what a sender is told.
    """

    def __init__(self, size: int = RECENT_IDS) -> None:
        self._size = size
        self._newer: set[bytes] = set()
        self._older: set[bytes] = set()

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._newer or digest in self._older

    def add(self, digests: Iterable[bytes]) -> None:
        """Remember ids, and forget the oldest ones."""
        self._newer.update(digests)
        if len(self._newer) >= self._size:
            self._older, self._newer = self._newer, set()


def digest_of(event_id: str) -> bytes:
    """16 bytes that stand for an event's id."""
    return hashlib.blake2b(event_id.encode(), digest_size=16).digest()


def judge(batches: Sequence[Batch], recent: RecentIds, arrivals: Arrivals) -> Judged:
    """Judge the lines of batches, which arrive now. `recent` is unchanged: add `ids` once the lines are durable.

    All events arrive on one day (UTC). Raises ClockSetBack.
    """
    arrived_at = arrivals.next()
    judged, ids = Judged(), set[bytes]()
    texts = [with_arrival(line, arrived_at) for batch in batches for line in batch.lines]
    verdicts = iter(zip(texts, _parsed(texts, arrived_at.date()), strict=True))
    for batch in batches:
        duplicate, rejections = 0, []
        for index, line in enumerate(batch.lines):
            text, verdict = next(verdicts)
            if isinstance(verdict, BadLine) and verdict.reason == "arrives_before_it_happened":
                text, verdict = _slightly_ahead(line, text, verdict, arrived_at, arrivals.clock)
            if isinstance(verdict, BadLine):
                rejections.append((index, verdict.reason, verdict.detail))
                judged.dead.append(DeadLetter(batch.source, arrived_at, verdict.reason, verdict.detail, line))
                continue
            digest = digest_of(verdict.event_id)
            if digest in ids or digest in recent:
                duplicate += 1
                continue
            ids.add(digest)
            judged.ids.append(digest)
            judged.lines.append(text)
            judged.events.append(verdict)
        accepted = len(batch.lines) - duplicate - len(rejections)
        judged.receipts.append(Receipt(accepted, duplicate, len(rejections), tuple(rejections[:MAX_REJECTIONS])))
    if judged.events:
        arrivals.reach(max(event.arrived_at for event in judged.events))
    return judged


def with_arrival(line: str, arrived_at: datetime) -> str:
    """The line with its time of arrival, in place of one that it may have. What is no JSON object stays as it is."""
    text = line.strip(" \t\r\n")
    stamp = f'"arrived_at":"{_written(arrived_at)}"'
    if len(text) > MAX_LINE_BYTES:
        return text
    is_plain = not ("arrived_at" in text or "\\" in text or "\n" in text or "\r" in text)
    if not (is_plain and text.startswith("{") and text.endswith("}")):
        return _decoded_with_arrival(text, arrived_at)
    members = text[:-1].rstrip(" \t")
    return f"{members}{'' if members == '{' else ','}{stamp}}}"


def _decoded_with_arrival(text: str, arrived_at: datetime) -> str:
    try:
        value = strict_json.loads(text)
    except strict_json.BadJson:
        return text
    if not isinstance(value, dict):
        return text
    return json.dumps({**value, "arrived_at": _written(arrived_at)}, separators=(",", ":"))


@lru_cache(16)
def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _slightly_ahead(
    line: str, text: str, bad: BadLine, arrived_at: datetime, clock: datetime
) -> tuple[str, Event | BadLine]:
    """The verdict on an event that has not happened by our clock: taken if it will within AHEAD, on the same day.

    The clock decides, not the newest stamp, which such events move: one after another, they would lead it away.
    """
    try:
        at = parse_timestamp(strict_json.loads(text)["at"])
    except (strict_json.BadJson, BadTimestamp):
        return text, bad
    if at - clock > AHEAD or at.date() != arrived_at.date():
        return text, bad
    text = with_arrival(line, at)
    return text, parse_line(text, at.date())


def _parsed(texts: Sequence[str], day: date) -> list[Event | BadLine]:
    if len(texts) < _BULK_LINES:
        return [parse_line(text, day) for text in texts]
    # A file may begin with a byte order mark, and skips empty lines: a line may not, and counts.
    is_plain = [text.startswith("{") and "\n" not in text and "\r" not in text for text in texts]
    lines = [text for text, is_one in zip(texts, is_plain, strict=True) if is_one]
    in_bulk = chain.from_iterable(_in_bulk(lines[at : at + _MOST_LINES], day) for at in range(0, len(lines), _MOST_LINES))
    return [next(in_bulk) if is_one else parse_line(text, day) for text, is_one in zip(texts, is_plain, strict=True)]


def _in_bulk(lines: Sequence[str], day: date) -> Iterator[Event | BadLine]:
    return _verdicts(parse_log("\n".join(lines).encode("utf-8", "surrogatepass"), "", day), len(lines))


def _verdicts(log: ParsedLog, lines: int) -> Iterator[Event | BadLine]:
    """By the order of lines. The rejected ones have their number behind the (empty) key of the file."""
    rejected = {
        int(source.rpartition(":")[2]): BadLine(reason, detail)
        for source, reason, detail in log.rejected.select("source", "reason", "detail").iter_rows()
    }
    events = log.events.select(Event._fields).iter_rows()
    for number in range(1, lines + 1):
        yield rejected[number] if number in rejected else Event._make(next(events))

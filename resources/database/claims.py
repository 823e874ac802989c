"""Claims of commands on the days that they compute now or next, so that no other process computes them as well.

A claim is a row of the database. A thread of its command renews it; the claim of a killed command is ignored, at once by
processes that can see that it has ended, otherwise after `LAPSES_S`. Dagster's own runs need no claims. Correctness does
not depend on claims: they only avoid double work, since days are replaced as a whole.
"""

import contextlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta

from resources.database.contract import Database, Twin
from resources.errors import ResourceError
from resources.servers.run_processes import PROCESS_TAG, has_ended, process_tags

RENEW_S = 15.0
LAPSES_S = 90.0
"""Lifetime of a claim without renewal, in seconds: a command may be starved, or the database away, for so long."""


@dataclass(frozen=True)
class Span:
    """Days of an asset, both ends included."""

    asset: str
    first: date
    last: date

    def overlaps(self, other: "Span") -> bool:
        """Whether both have a day of the same asset."""
        return self.asset == other.asset and self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Claim:
    """The claim of one command. who: its description for a person."""

    claim_id: int
    who: str
    spans: tuple[Span, ...]


class Holder:
    """The claim of this process, while `hold` lasts."""

    def __init__(self, database: Database, claim_id: int) -> None:
        self._database = database
        self.claim_id = claim_id

    def narrow(self, spans: Sequence[Span]) -> None:
        """Replace the claimed days by these."""
        self._database.execute("update claims set spans = %s where claim_id = %s", (_text(spans), self.claim_id))

    def older_claims(self, spans: Sequence[Span]) -> list[Claim]:
        """Older claims on some of these days. The oldest goes first, so that no two commands wait for each other."""
        return [
            claim
            for claim in live(self._database)
            if claim.claim_id < self.claim_id and any(span.overlaps(other) for span in spans for other in claim.spans)
        ]


@contextmanager
def hold(database: Database, who: str, spans: Sequence[Span], renew_s: float = RENEW_S) -> Iterator[Holder]:
    """Claim days while the block runs. Claims that lapsed a day ago are removed, too."""
    with database.connect() as transaction:
        transaction.execute(_REMOVE_LAPSED, (timedelta(days=1),))
        ((claim_id,),) = transaction.rows(
            "insert into claims (who, process, spans, renewed_at) values (%s, %s, %s, clock_timestamp()) returning claim_id",
            (who, process_tags()[PROCESS_TAG], _text(spans)),
        )
    ended = threading.Event()
    renewal = threading.Thread(target=_renew, args=(database, claim_id, ended, renew_s), daemon=True)
    renewal.start()
    try:
        yield Holder(database, claim_id)
    finally:
        ended.set()
        renewal.join(renew_s)
        with contextlib.suppress(ResourceError):  # it lapses by itself, and must not hide the command's own error
            database.execute("delete from claims where claim_id = %s", (claim_id,))


def live(database: Database, lapses_s: float = LAPSES_S) -> list[Claim]:
    """The claims of living commands, oldest first."""
    rows = database.rows(_LIVE, (timedelta(seconds=lapses_s),))
    return [
        Claim(claim_id, who, tuple(_spans(spans)))
        for claim_id, who, process, spans in rows
        if has_ended(process) is not True
    ]


_REMOVE_LAPSED = Twin(
    postgres="delete from claims where renewed_at < now() - %s", sqlite="delete from claims where renewed_at < ago(%s)"
)
_LIVE_CLAIMS = "select claim_id, who, process, spans from claims where renewed_at > {} order by claim_id"
_LIVE = Twin(postgres=_LIVE_CLAIMS.format("now() - %s"), sqlite=_LIVE_CLAIMS.format("ago(%s)"))


def _renew(database: Database, claim_id: int, ended: threading.Event, every_s: float) -> None:
    while not ended.wait(every_s):
        with contextlib.suppress(ResourceError):  # the database may come back before the claim lapses
            database.execute("update claims set renewed_at = clock_timestamp() where claim_id = %s", (claim_id,))


def _text(spans: Sequence[Span]) -> str:
    return json.dumps([[span.asset, span.first.isoformat(), span.last.isoformat()] for span in spans])


def _spans(text: str) -> Iterator[Span]:
    for asset, first, last in json.loads(text):
        yield Span(asset, date.fromisoformat(first), date.fromisoformat(last))

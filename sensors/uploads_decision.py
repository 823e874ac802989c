"""What the upload sensor does with a listing, decided from plain data: no store, no database, no Dagster, no clock.

Three parts share the work, and each may be weak where another is strong:

- **The ledger makes it exact.** Everything found here is *offered* to it; it keeps one row an object version. To offer
  a thing twice costs a look-up, to miss one loses a photo: so in doubt this module offers.
- **The pass makes it quick.** In each round it lists the newest days (`uploads/{day}/`, from tomorrow back over the
  look-back), and offers what is as new as the watermark or newer. A pass that is longer than a round's share of keys
  goes on where it stopped.
- **The sweep makes it complete.** With the rest of the round's keys it walks all of `uploads/`, in order of key, round
  and round, and offers everything, whatever its time or day. So it finds the late object of an old day, the key of
  no day, and all that a clock or the watermark got wrong.

The watermark. An object's last-modified L is the start of its upload; it shows at a time V, at most `overlap` later. A
pass sees what shows before the pass begins. So what it can miss has V after its beginning, and L > beginning - overlap.
The store's clock at the beginning is not known here, but the newest L seen before it is no later. Hence: of each pass the
newest L known at its beginning is kept, and the next pass offers L >= that - overlap. How long a pass takes, and what
happens to any one key, does not matter.

A tick is one round while nothing is new, and goes on with more as long as what it lists is new and time is left.

A failed listing is not an empty one: it leaves the cursor where it stood, and carries its reason.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pipeline_assets.ingestion.keys import UPLOADS_PREFIX, UploadKey, parse_upload_key

CURSOR_VERSION = 1


@dataclass(frozen=True)
class ListedObject:
    """One object of a listing. last_modified is aware; version_id is null where the listing or bucket has none."""

    key: str
    etag: str
    size_bytes: int
    last_modified: datetime
    version_id: str | None = None
    is_latest: bool = True
    is_delete_marker: bool = False

    @property
    def revision(self) -> str:
        """What tells this content of the key from an earlier one: the version id, else `etag-` and the ETag."""
        return self.version_id or f"etag-{self.etag}"


@dataclass(frozen=True)
class ListingRequest:
    """One page to list: keys that begin with prefix and come after start_after, in order, max_keys at most."""

    prefix: str
    start_after: str | None
    max_keys: int


@dataclass(frozen=True)
class Page:
    """One page of a listing. next_after: the key to go on after; null at the listing's end."""

    objects: tuple[ListedObject, ...]
    next_after: str | None


@dataclass(frozen=True)
class ListingFailed:
    """A page could not be listed, which says nothing about what is there."""

    reason: str


@dataclass(frozen=True)
class Limits:
    """How much a round does. overlap must be longer than the longest multipart upload."""

    keys_per_round: int = 4_000
    page_keys: int = 1_000
    overlap: timedelta = timedelta(hours=24)
    lookback_days: int = 2

    def __post_init__(self) -> None:
        if self.keys_per_round < 2 or self.page_keys < 1 or self.lookback_days < 0 or self.overlap < timedelta(0):
            raise ValueError("a round needs 2 keys or more, a page 1 or more, and no negative look-back or overlap")


@dataclass(frozen=True)
class Cursor:
    """Where listing stands: an optimisation, never the truth. An empty one starts anew and loses nothing.

    newest: newest last-modified seen by any pass; pass_began_at: what it was when the pass in progress began;
    last_pass_began_at: the same of the pass before; pass_day, pass_after: where the pass goes on, null between passes;
    sweep_after: the key after which the sweep goes on.
    """

    newest: datetime | None = None
    pass_began_at: datetime | None = None
    last_pass_began_at: datetime | None = None
    pass_day: date | None = None
    pass_after: str | None = None
    sweep_after: str | None = None

    def to_json(self) -> str:
        """The cursor as one line, for Dagster to keep."""
        state = {name: value.isoformat() if isinstance(value, date) else value for name, value in asdict(self).items()}
        return json.dumps({"version": CURSOR_VERSION, **state})

    @classmethod
    def from_json(cls, text: str | None) -> "Cursor":
        """The cursor that was kept; an empty one for nothing, another version, or anything that is not a cursor."""
        try:
            state = json.loads(text or "")
            if state.pop("version") != CURSOR_VERSION or set(state) != {field.name for field in fields(cls)}:
                return cls()
            return cls(**{name: _restored(name, value) for name, value in state.items()})
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            return cls()


@dataclass(frozen=True)
class Tick:
    """What a round found. offered: for the ledger, each version once; failure: why listing stopped early, if it did.

    The cursor may be kept once the ledger has committed `offered`, and not before.
    """

    offered: tuple[ListedObject, ...]
    cursor: Cursor
    listed: int
    failure: str | None = None


def decide_tick(
    cursor: Cursor,
    today: date,
    list_page: Callable[[ListingRequest], Page | ListingFailed],
    limits: Limits,
    *,
    with_pass: bool = True,
) -> Tick:
    """List what a round may: the pass first, then the sweep, which has a quarter of the keys at least.

    list_page: the store; its only use is to answer a request. today: the UTC day. with_pass: a tick of several rounds
    makes the pass once, and leaves the rest to the sweep.
    """
    offered: dict[tuple[str, str], ListedObject] = {}
    listed, spent = 0, 0  # a page costs one of the budget even if nothing is on it
    walks = ((_PASS, max(1, limits.keys_per_round * 3 // 4)), (_SWEEP, limits.keys_per_round))
    for walk, budget in walks if with_pass else walks[1:]:
        while spent < budget:
            answer = list_page(walk.request(cursor, today, min(limits.page_keys, budget - spent)))
            if isinstance(answer, ListingFailed):
                return Tick(tuple(offered.values()), cursor, listed, answer.reason)
            found, cursor = walk.absorb(cursor, today, answer, limits)
            offered |= {(one.key, one.revision): one for one in found}
            listed += len(answer.objects)
            spent += max(1, len(answer.objects))
            if walk.is_at_end(cursor):
                break
    return Tick(tuple(offered.values()), cursor, listed)


def day_of(listed: ListedObject) -> date:
    """The partition of an object: its key's day, or its arrival's where the key is bad."""
    parsed = parse_upload_key(listed.key)
    return parsed.day if isinstance(parsed, UploadKey) else listed.last_modified.astimezone(UTC).date()


@dataclass(frozen=True)
class _Walk:
    """A way through the listing: its next request, what a page gives and moves, and whether it is at its end."""

    request: Callable[[Cursor, date, int], ListingRequest]
    absorb: Callable[[Cursor, date, Page, Limits], tuple[list[ListedObject], Cursor]]
    is_at_end: Callable[[Cursor], bool]


def _pass_place(cursor: Cursor, today: date) -> tuple[date, str | None]:
    """The day to list and the key to go on after. A day beyond tomorrow is of a clock that was wrong."""
    tomorrow = today + timedelta(days=1)
    if cursor.pass_day is None or cursor.pass_day > tomorrow:
        return tomorrow, None
    return cursor.pass_day, cursor.pass_after


def _pass_request(cursor: Cursor, today: date, max_keys: int) -> ListingRequest:
    day, after = _pass_place(cursor, today)
    return ListingRequest(f"{UPLOADS_PREFIX}{day}/", after, max_keys)


def _after_pass_page(cursor: Cursor, today: date, page: Page, limits: Limits) -> tuple[list[ListedObject], Cursor]:
    day, _ = _pass_place(cursor, today)
    began_at = cursor.newest if cursor.pass_day is None else cursor.pass_began_at
    watermark = cursor.last_pass_began_at and cursor.last_pass_began_at - limits.overlap
    found = [one for one in _current(page) if watermark is None or one.last_modified >= watermark]
    times = [one.last_modified for one in page.objects] + ([cursor.newest] if cursor.newest else [])
    moved = replace(cursor, newest=max(times, default=None), pass_began_at=began_at)
    if page.next_after is not None:
        return found, replace(moved, pass_day=day, pass_after=page.next_after)
    if day > today - timedelta(days=limits.lookback_days):
        return found, replace(moved, pass_day=day - timedelta(days=1), pass_after=None)
    return found, replace(moved, pass_day=None, pass_after=None, last_pass_began_at=began_at)


def _sweep_request(cursor: Cursor, today: date, max_keys: int) -> ListingRequest:
    return ListingRequest(UPLOADS_PREFIX, cursor.sweep_after, max_keys)


def _after_sweep_page(cursor: Cursor, today: date, page: Page, limits: Limits) -> tuple[list[ListedObject], Cursor]:
    return _current(page), replace(cursor, sweep_after=page.next_after)


def _current(page: Page) -> list[ListedObject]:
    """What a reader of the bucket gets now: not what was overwritten or deleted."""
    return [one for one in page.objects if one.is_latest and not one.is_delete_marker]


_PASS = _Walk(_pass_request, _after_pass_page, lambda cursor: cursor.pass_day is None)
_SWEEP = _Walk(_sweep_request, _after_sweep_page, lambda cursor: cursor.sweep_after is None)


def _restored(name: str, value: str | None) -> Any:
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(name)
    if name in ("pass_after", "sweep_after"):
        return value
    if name == "pass_day":
        return date.fromisoformat(value)
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None or moment.year < 1970:
        raise ValueError(name)
    return moment

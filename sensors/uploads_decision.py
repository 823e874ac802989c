"""Which pages of the uploads bucket a tick lists, and which objects it offers to the ledger. Pure: no store, no clock.

Three parts work together:

- **The ledger makes it exact.** This module *offers* objects to it; the ledger keeps one row for each object version.
  Offering an object twice costs a look-up, missing one loses a photo: so in doubt it is offered.
- **The pass makes it quick.** In each round it lists the newest days (`uploads/{day}/`, from tomorrow back over the
  look-back), and offers objects that are not older than the watermark. A pass that needs more keys than its share of a
  round continues in the next one.
- **The sweep makes it complete.** With the remaining keys of a round it lists all of `uploads/` in order of key, starting
  over at the end, and offers every object, whatever its time or day. So it finds late objects of old days, keys without a
  day, and everything that a wrong clock or the watermark has hidden.

The watermark. An object's last-modified L is the start of its upload; it becomes visible at a time V, at most `overlap`
later. A pass sees objects that are visible before it begins. So an object that it misses has V after its beginning, and
L > beginning - overlap. The store's clock at the beginning is unknown here, but the newest L seen before is no later.
Hence the newest L known at the beginning of each pass is kept, and the next pass offers L >= that - overlap. The duration
of a pass, and what happens to a single key, do not matter.

A tick is one round if nothing is new, and continues with further rounds while they list new objects and time is left.

A failed listing is not an empty one: it leaves the cursor unchanged, and carries its reason.
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
    """One object of a listing. last_modified: timezone-aware; version_id: None if the listing or bucket has none."""

    key: str
    etag: str
    size_bytes: int
    last_modified: datetime
    version_id: str | None = None
    is_latest: bool = True
    is_delete_marker: bool = False

    @property
    def revision(self) -> str:
        """Identifies this content among those of the same key: the version id, else `etag-` and the ETag."""
        return self.version_id or f"etag-{self.etag}"


@dataclass(frozen=True)
class ListingRequest:
    """One page to list: at most max_keys keys with this prefix after start_after, in order."""

    prefix: str
    start_after: str | None
    max_keys: int


@dataclass(frozen=True)
class Page:
    """One page of a listing. next_after: the key after which the next page starts; None at the end of the listing."""

    objects: tuple[ListedObject, ...]
    next_after: str | None


@dataclass(frozen=True)
class ListingFailed:
    """A page could not be listed: its objects are unknown."""

    reason: str


@dataclass(frozen=True)
class Limits:
    """The size of a round. overlap must be longer than the longest multipart upload."""

    keys_per_round: int = 4_000
    page_keys: int = 1_000
    overlap: timedelta = timedelta(hours=24)
    lookback_days: int = 2

    def __post_init__(self) -> None:
        if self.keys_per_round < 2 or self.page_keys < 1 or self.lookback_days < 0 or self.overlap < timedelta(0):
            raise ValueError("a round needs 2 keys or more, a page 1 or more, and no negative look-back or overlap")


@dataclass(frozen=True)
class Cursor:
    """The position of the listing: an optimisation, never the truth. An empty cursor starts over and loses nothing.

    newest: newest last-modified seen by any pass; pass_began_at: its value when the current pass began;
    last_pass_began_at: the same for the previous pass; pass_day, pass_after: where the pass continues, None between passes;
    sweep_after: the key after which the sweep continues.
    """

    newest: datetime | None = None
    pass_began_at: datetime | None = None
    last_pass_began_at: datetime | None = None
    pass_day: date | None = None
    pass_after: str | None = None
    sweep_after: str | None = None

    def to_json(self) -> str:
        """The cursor as one line of JSON, which Dagster stores."""
        state = {name: value.isoformat() if isinstance(value, date) else value for name, value in asdict(self).items()}
        return json.dumps({"version": CURSOR_VERSION, **state})

    @classmethod
    def from_json(cls, text: str | None) -> "Cursor":
        """The stored cursor; an empty one if there is none, or it is malformed or of another version."""
        try:
            state = json.loads(text or "")
            if state.pop("version") != CURSOR_VERSION or set(state) != {field.name for field in fields(cls)}:
                return cls()
            return cls(**{name: _restored(name, value) for name, value in state.items()})
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            return cls()


@dataclass(frozen=True)
class Tick:
    """The result of a round. offered: objects for the ledger, each version once; failure: why listing stopped early, if so.

    Store the cursor only after the ledger has committed `offered`.
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
    """List one round: the pass first, then the sweep, which gets at least a quarter of the keys.

    list_page: lists one page of the store. today: the UTC day. with_pass: False in later rounds of a tick, once its pass
    has ended.
    """
    offered: dict[tuple[str, str], ListedObject] = {}
    listed, spent = 0, 0  # a page costs one of the budget even if nothing is on it
    walks = ((_PASS, max(1, limits.keys_per_round * 3 // 4)), (_SWEEP, limits.keys_per_round))
    for walk, budget in walks if with_pass else walks[1:]:
        while spent < budget:
            page = list_page(walk.request(cursor, today, min(limits.page_keys, budget - spent)))
            if isinstance(page, ListingFailed):
                return Tick(tuple(offered.values()), cursor, listed, page.reason)
            objects, cursor = walk.absorb(cursor, today, page, limits)
            offered |= {(one.key, one.revision): one for one in objects}
            listed += len(page.objects)
            spent += max(1, len(page.objects))
            if walk.is_at_end(cursor):
                break
    return Tick(tuple(offered.values()), cursor, listed)


def day_of(listed: ListedObject) -> date:
    """The partition of an object: the day in its key, or the day of its arrival if the key is malformed."""
    parsed = parse_upload_key(listed.key)
    return parsed.day if isinstance(parsed, UploadKey) else listed.last_modified.astimezone(UTC).date()


@dataclass(frozen=True)
class _Walk:
    """One order of listing: its next request, the objects of a page with the moved cursor, and whether it has ended."""

    request: Callable[[Cursor, date, int], ListingRequest]
    absorb: Callable[[Cursor, date, Page, Limits], tuple[list[ListedObject], Cursor]]
    is_at_end: Callable[[Cursor], bool]


def _pass_place(cursor: Cursor, today: date) -> tuple[date, str | None]:
    """The day to list, and the key to continue after. A day after tomorrow comes from a wrong clock."""
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
    objects = [one for one in _current(page) if watermark is None or one.last_modified >= watermark]
    times = [one.last_modified for one in page.objects] + ([cursor.newest] if cursor.newest else [])
    moved = replace(cursor, newest=max(times, default=None), pass_began_at=began_at)
    if page.next_after is not None:
        return objects, replace(moved, pass_day=day, pass_after=page.next_after)
    if day > today - timedelta(days=limits.lookback_days):
        return objects, replace(moved, pass_day=day - timedelta(days=1), pass_after=None)
    return objects, replace(moved, pass_day=None, pass_after=None, last_pass_began_at=began_at)


def _sweep_request(cursor: Cursor, today: date, max_keys: int) -> ListingRequest:
    return ListingRequest(UPLOADS_PREFIX, cursor.sweep_after, max_keys)


def _after_sweep_page(cursor: Cursor, today: date, page: Page, limits: Limits) -> tuple[list[ListedObject], Cursor]:
    return _current(page), replace(cursor, sweep_after=page.next_after)


def _current(page: Page) -> list[ListedObject]:
    """The objects that exist now, without overwritten and deleted ones."""
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

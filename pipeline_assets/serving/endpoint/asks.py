"""What is asked of the endpoint: fields of a request as a checked ask. Pure: the clock is an argument.

Every fault is an AskRefused with its HTTP status, a reason for machines and a sentence. What does not live here: bytes to
fields (`bodies.py`), and what only the state or the photo can say (`users.py`, `content.py`).
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline_assets.errors import AskRefused
from pipeline_assets.ingestion.keys import BadKey, parse_upload_key

FIELDS = ("user_id", "posted_at", "title", "location", "followers", "photo", "key")
MAX_TEXT = 65_536
"""Characters of a title or a place, as in `photo_metadata`."""
_LARGEST = 2**63 - 1
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
WHITE_SPACE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""What polars strips from a place: the characters of Unicode's White_Space."""


@dataclass(frozen=True)
class Ask:
    """A user at a moment; for a prediction with the posting's own facts and a photo, as bytes or as the key of an upload."""

    user_id: int
    moment: datetime
    title: str = ""
    location: str | None = None
    followers: int | None = None
    photo: bytes | None = None
    key: str | None = None

    def posting(self) -> dict[str, float | None]:
        """The posting's columns of the training table, as `training_table` computes them."""
        return {
            "posted_hour": self.moment.hour,
            "posted_weekday": self.moment.isoweekday(),
            "title_length": len(self.title),
            "has_location": bool((self.location or "").strip(WHITE_SPACE)),
            "followers_at_post": self.followers,
        }


def refused(reason: str, detail: str, status: int = 422) -> AskRefused:
    """The error of a field that can't be used."""
    return AskRefused(status, reason, detail)


def ask_of(fields: Mapping[str, Any], now: datetime, *, with_photo: bool) -> Ask:
    """The ask of these fields. now: the server's clock, with zone. Raises AskRefused."""
    if unknown := sorted(fields.keys() - set(FIELDS)):
        raise refused("unknown_field", f"{unknown[0][:40]!r} is no field: use {', '.join(FIELDS)}", 400)
    if fields.get("user_id") is None:
        raise refused("missing_field", "user_id is required", 400)
    photo, key = fields.get("photo"), _text(fields, "key")
    if with_photo and (photo is None) == (key is None):
        raise refused("missing_field", "give either photo or key", 400)
    if not with_photo and (photo is not None or key is not None):
        raise refused("unknown_field", "features are of a user: photo and key are of /v1/predict", 400)
    if key is not None and isinstance(fault := parse_upload_key(key), BadKey):
        raise refused("bad_key", fault.detail)
    return Ask(
        user_id=_whole(fields, "user_id") or 0,
        moment=_moment(fields.get("posted_at"), now),
        title=_text(fields, "title") or "",
        location=_text(fields, "location"),
        followers=_whole(fields, "followers"),
        photo=photo if photo is None or isinstance(photo, bytes) else _decoded(photo),
        key=key,
    )


def _whole(fields: Mapping[str, Any], name: str) -> int | None:
    """A whole number from 0 on, as a number or as its decimal digits."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST:
        raise refused(f"bad_{name}", f"{name} is no whole number from 0 to 2^63-1")
    return value


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_TEXT or "\0" in value or not _is_unicode(value):
        raise refused(f"bad_{name}", f"{name} is no text of at most {MAX_TEXT:,} characters without NUL")
    return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _moment(value: Any, now: datetime) -> datetime:
    """The moment of the posting in UTC; without a value it is now."""
    if value is None:
        return now
    try:
        moment = datetime.fromisoformat(value).astimezone(UTC) if isinstance(value, str) and len(value) < 64 else None
    except (ValueError, OverflowError):
        moment = None
    if moment is None or datetime.fromisoformat(value).tzinfo is None:
        raise refused("bad_posted_at", "posted_at is no ISO 8601 time with a zone, such as 2026-01-31T12:00:00Z")
    if moment < _EARLIEST:
        raise refused("bad_posted_at", "posted_at is before 1970")
    if moment > now:
        raise refused("future_time", f"posted_at is after this server's clock, {now.isoformat(timespec='seconds')}")
    return moment


def _decoded(photo: Any) -> bytes:
    try:
        return base64.b64decode(photo, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise refused("bad_photo", "photo in JSON is base64, of the alphabet of RFC 4648 with padding") from None

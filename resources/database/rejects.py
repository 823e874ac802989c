"""Inputs that can't enter the upload ledger, stored with the reason in `queue_rejects`; their neighbours are unaffected.

These are messages of the upload queue that can't be parsed, and objects whose key no database can store.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from resources.database.contract import Database
from resources.objects.store import ObjectInfo

KEPT_CHARACTERS = 8_000
MAX_KEY_BYTES = 2_000
"""PostgreSQL has the key in an index, whose rows hold 2,704 bytes. S3's keys end at 1,024; a folder's path may be longer."""


@dataclass(frozen=True)
class Reject:
    """A queue message that could not be parsed completely, or an object whose key is the body; with the reason."""

    message_id: str
    reason: str
    body: str


def keep_rejects(database: Database, queue: str, rejects: Sequence[Reject]) -> None:
    """Store rejects; a repeated one is stored once."""
    if rejects:
        rows = [(queue, r.message_id, r.reason[:1_000], _storable(r.body)) for r in rejects]
        database.insert("insert into queue_rejects (queue, message_id, reason, body) values %s on conflict do nothing", rows)


def set_aside(database: Database) -> list[str]:
    """A sentence with the number of stored rejects; empty if there are none."""
    ((count,),) = database.rows("select count(*) from queue_rejects")
    return [f"{count:,} keys or queue messages can't enter the ledger: see the table queue_rejects."] if count else []


def storable(database: Database, bucket: str, listed: Sequence[ObjectInfo]) -> list[ObjectInfo]:
    """The listed objects that the ledger can store; the others become rejects of the bucket's listing."""
    reasons = {info.key: reason for info in listed if (reason := why_unstorable(info.key))}
    keep_rejects(database, f"listing of {bucket}", [reject_of(key, reason) for key, reason in reasons.items()])
    return [info for info in listed if info.key not in reasons]


def reject_of(key: str, reason: str) -> Reject:
    """A reject for an object's key; its id is the hash of the key."""
    return Reject(hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest(), reason, key)


def why_unstorable(key: str) -> str | None:
    """The reason why a database can't store a key; None if it can."""
    if "\x00" in key:
        return "the key holds a NUL character, which PostgreSQL can't keep"
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return "the key is not valid Unicode"
    return f"the key has {size:,} bytes; at most {MAX_KEY_BYTES:,} are kept" if size > MAX_KEY_BYTES else None


def _storable(text: str) -> str:
    """The beginning of a text, with characters replaced that PostgreSQL can't store."""
    return text[:KEPT_CHARACTERS].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()

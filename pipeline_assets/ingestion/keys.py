"""Object keys of uploads: what a legal one says, why another is refused, and how the importer makes legal names.

Nothing here reads a store. A key is judged as S3 lists it, where `%2e` is three characters: nothing decodes it.
"""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from pathlib import PurePosixPath

UPLOADS_PREFIX = "uploads/"
MAX_KEY_BYTES = 1_024
MAX_NAME_BYTES = 200

_MAX_USER_ID = 2**63 - 1
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_USER = re.compile(r"0|[1-9][0-9]{0,18}")
_ALTERED = re.compile(r"~[0-9a-f]{16}(\.|$)")
_ILLEGAL = re.compile(r"[^\w .,()+=@~-]")


@dataclass(frozen=True)
class UploadKey:
    """The parts of `uploads/{day}/{user_id}/{name}`; name may hold further single slashes."""

    day: date
    user_id: int
    name: str


@dataclass(frozen=True)
class BadKey:
    """Why a key is quarantined: its reason is always `bad_key`, and detail is a sentence for a person."""

    detail: str


def parse_upload_key(key: str) -> UploadKey | BadKey:
    """The parts of a key that keeps the layout, or why it does not. Never raises."""
    problem = _text_problem(key)
    if problem:
        return BadKey(problem)
    parts = key.split("/", 3)
    if len(parts) < 4 or parts[0] != "uploads" or not parts[3]:
        return BadKey("the key is not uploads/{day}/{user_id}/{name}")
    _, day_text, user_text, name = parts
    day = _day(day_text)
    if day is None:
        return BadKey(f"{day_text[:40]!r} is not a day written as YYYY-MM-DD")
    if not _USER.fullmatch(user_text) or int(user_text) > _MAX_USER_ID:
        return BadKey(f"{user_text[:40]!r} is not a user id from 0 to 2^63-1 without leading zeros")
    return UploadKey(day, int(user_text), name)


def safe_name(path_like: str) -> str:
    """A legal last segment of an upload key, of at most 200 bytes, by which a person still knows the file.

    Plain names come back as they are. Any other is flattened and cleaned, and gets `~` and 16 hex digits of the
    original's SHA-256 before its extension, so that different inputs keep different names.
    """
    name = unicodedata.normalize("NFC", path_like.encode("utf-8", "replace").decode())
    name = re.sub(r"\.{2,}", "_", _ILLEGAL.sub("_", name)).lstrip(" ").rstrip(" .") or "_"
    if name == path_like and len(name.encode()) <= MAX_NAME_BYTES and not _ALTERED.search(name):
        return name
    digest = hashlib.sha256(path_like.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    suffix = PurePosixPath(name).suffix
    if not re.fullmatch(r"\.[A-Za-z0-9]{1,10}", suffix):
        suffix = ""
    ending = f"~{digest}{suffix}"
    stem = name.removesuffix(suffix).encode()[: MAX_NAME_BYTES - len(ending)].decode("utf-8", "ignore")
    return stem + ending


def _day(text: str) -> date | None:
    if not _DAY.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _text_problem(key: str) -> str | None:
    """What keeps a key from being a name in S3, in logs, and as a path: S3 allows all else, `%`, `..` in a name, spaces."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return "the key is not valid UTF-8"
    if size > MAX_KEY_BYTES:
        return f"the key has {size} bytes; at most {MAX_KEY_BYTES} are allowed"
    if any(unicodedata.category(character) == "Cc" for character in key):
        return "the key holds a control character"
    if "//" in key:
        return "the key holds '//'"
    if outside := {".", ".."} & set(key.split("/")):
        return f"the key holds a {outside.pop()!r} segment"
    return None

"""Parses a message of the upload queue. Pure: no queue, no store, no database, no Dagster.

Three formats are read: an S3 event notification, one inside an SNS notification, and an EventBridge event. Only creations
of objects count; removals and test events are ignored. An event that can't be parsed becomes a problem in words, not an
exception: the other events of the message are still read. Keys are untrusted: uploaders choose them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote_to_bytes

from pipeline_assets.ingestion.timestamps import BadTimestamp, parse_timestamp
from pipeline_assets.runtime import strict_json

MAX_BODY_CHARACTERS = 2**20
"""Amazon SQS allows 1 MiB."""
MAX_TEXT_BYTES = 1_024
"""S3's limit for keys and version ids."""
_CREATION_NAMES = ("ObjectCreated:", "s3:ObjectCreated:")


class BadMessage(Exception):
    """A message, or one event of it, in no known format; the text says what is wrong."""


@dataclass(frozen=True)
class CreatedObject:
    """A created object version. completed_at: end of the upload, timezone-aware."""

    key: str
    version_id: str | None
    etag: str
    size_bytes: int
    completed_at: datetime


@dataclass(frozen=True)
class Reading:
    """The content of a message. ignored: number of events that are no creation; problems: a sentence for each bad event."""

    created: tuple[CreatedObject, ...] = ()
    ignored: int = 0
    problems: tuple[str, ...] = ()


def read_message(body: str, bucket: str) -> Reading:
    """The objects of this bucket that a message reports as created. Never raises."""
    created: list[CreatedObject] = []
    problems: list[str] = []
    ignored = 0
    try:
        for event in _events(body):
            try:
                created_object = event.object_of(bucket)
            except BadMessage as problem:
                problems.append(str(problem))
                continue
            if created_object is None:
                ignored += 1
            else:
                created.append(created_object)
    except BadMessage as problem:
        problems.append(str(problem))
    return Reading(tuple(created), ignored, tuple(problems))


@dataclass(frozen=True)
class _Event:
    """One event of any format, with unchecked values. is_creation: None if the event has no name."""

    is_creation: bool | None
    bucket: object
    key: object
    version_id: object
    etag: object
    size: object
    time: object
    is_encoded: bool

    def object_of(self, bucket: str) -> CreatedObject | None:
        """The created object; None for an event that is no creation. Raises BadMessage."""
        if self.is_creation is None:
            raise BadMessage("the event has no name")
        if not self.is_creation:
            return None
        if self.bucket != bucket:
            raise BadMessage(f"the event is of the bucket {str(self.bucket)[:100]!r}, not of {bucket!r}")
        key = _text(self.key, "key")
        version_id = None if self.version_id is None else _text(self.version_id, "version id")
        if isinstance(self.size, bool) or not isinstance(self.size, int) or not 0 <= self.size < 2**63:
            raise BadMessage("the event's size is not a whole number of bytes")
        key = _decoded(key) if self.is_encoded else key
        return CreatedObject(key, version_id, _text(self.etag, "ETag").strip('"'), self.size, _moment(self.time))


def _events(body: str) -> Iterator[_Event]:
    message = _json_object(body)
    if message.get("Type") == "Notification" and "TopicArn" in message:
        inner = message.get("Message")
        if not isinstance(inner, str):
            raise BadMessage("the SNS notification has no text in it")
        message = _json_object(inner)
    if message.get("Event") == "s3:TestEvent":
        return
    if message.get("source") == "aws.s3" and isinstance(detail := message.get("detail"), dict):
        yield _of_eventbridge(message, detail)
        return
    records = message.get("Records")
    if not isinstance(records, list):
        raise BadMessage("the message is no S3 event: it has neither Records nor an EventBridge detail")
    for record in records:
        yield _of_notification(record)


def _of_notification(record: object) -> _Event:
    """One record of an S3 event notification. Its key is URL-encoded."""
    fields = _dict(record)
    s3 = _dict(fields.get("s3"))
    s3_object = _dict(s3.get("object"))
    name = fields.get("eventName")
    return _Event(
        name.startswith(_CREATION_NAMES) if isinstance(name, str) else None,
        _dict(s3.get("bucket")).get("name"),
        s3_object.get("key"),
        s3_object.get("versionId"),
        s3_object.get("eTag"),
        s3_object.get("size"),
        fields.get("eventTime"),
        is_encoded=True,
    )


def _of_eventbridge(message: dict[str, Any], detail: dict[str, Any]) -> _Event:
    """An EventBridge event. Its key is not encoded."""
    s3_object = _dict(detail.get("object"))
    return _Event(
        message.get("detail-type") == "Object Created",
        _dict(detail.get("bucket")).get("name"),
        s3_object.get("key"),
        s3_object.get("version-id"),
        s3_object.get("etag"),
        s3_object.get("size"),
        message.get("time"),
        is_encoded=False,
    )


def _json_object(text: str) -> dict[str, Any]:
    if len(text) > MAX_BODY_CHARACTERS:
        raise BadMessage(f"the message has {len(text):,} characters; at most {MAX_BODY_CHARACTERS:,} are read")
    try:
        value = strict_json.loads(text)
    except strict_json.TooDeep:
        raise BadMessage("the message is nested too deeply") from None
    except strict_json.BadJson:
        raise BadMessage("the message is not JSON") from None
    if not isinstance(value, dict):
        raise BadMessage("the message is JSON, but no object")
    return value


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object, name: str) -> str:
    """The value if it is a text that PostgreSQL and S3 can store. Raises BadMessage."""
    if not isinstance(value, str) or not value:
        raise BadMessage(f"the event has no {name}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise BadMessage(f"the event's {name} is not valid Unicode") from None
    if "\x00" in value:
        raise BadMessage(f"the event's {name} holds a NUL character, which PostgreSQL can't keep")
    if size > MAX_TEXT_BYTES * 3:  # a key is longer while it is encoded
        raise BadMessage(f"the event's {name} has {size} bytes")
    return value


def _decoded(key: str) -> str:
    try:
        plain = unquote_to_bytes(key.replace("+", " ")).decode()
    except UnicodeDecodeError:
        raise BadMessage("the event's key is not URL-encoded UTF-8") from None
    return _text(plain, "key")


def _moment(value: object) -> datetime:
    if not isinstance(value, str):
        raise BadMessage("the event's time is no text")
    try:
        return parse_timestamp(value)
    except BadTimestamp as error:
        raise BadMessage(f"the event's time is {value[:60]!r}, which {error}") from None

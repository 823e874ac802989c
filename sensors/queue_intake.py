"""Messages of the upload queue into the ledger. What a message says is read in `queue_messages.py`.

Delivery is at least once and in any order: the ledger keeps each version once. Messages are deleted after the ledger's
commit, never before: a crash between the two brings them again.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from pipeline_assets.ingestion.keys import UPLOADS_PREFIX
from resources import ledger
from resources.database import Database
from resources.errors import ResourceError
from resources.object_store import ObjectInfo
from resources.objects import Objects
from resources.upload_queue import Message, Reject, UploadQueue, keep_rejects
from sensors.queue_messages import CreatedObject, read_message

MESSAGES_PER_COMMIT = 200


@dataclass(frozen=True)
class QueueIntake:
    """What a tick took from the queue. failure: why it stopped early, if it did."""

    messages: int = 0
    entered: int = 0
    rejected: int = 0
    failure: str | None = None


def take_messages(
    queue: UploadQueue, uploads: Objects, postgres: Database, day_of: Callable[[ObjectInfo], date], until: float
) -> QueueIntake:
    """Take what the queue has, until it is empty or the clock (`time.monotonic`) passes `until`."""
    messages = entered = rejected = 0
    while True:
        batch, failure = _receive(queue, until)
        objects, rejects = _read(batch, uploads)
        new = ledger.add_objects(postgres, [ledger.seen_object(uploads.bucket, info, day_of(info)) for info in objects])
        keep_rejects(postgres, queue.url, rejects)
        messages, entered, rejected = messages + len(batch), entered + len(new), rejected + len(rejects)
        try:
            queue.delete(batch)
        except ResourceError as error:
            failure = f"what was read could not be deleted, and will come again: {error}"
        if failure or not batch or time.monotonic() >= until:
            return QueueIntake(messages, entered, rejected, failure)


def _receive(queue: UploadQueue, until: float) -> tuple[list[Message], str | None]:
    """As many messages as one commit takes, and why there are no more if that is a failure."""
    batch: list[Message] = []
    while len(batch) < MESSAGES_PER_COMMIT and time.monotonic() < until:
        try:
            received = queue.receive()
        except ResourceError as error:
            return batch, str(error)
        if not received:
            break
        batch.extend(received)
    return batch, None


def _read(batch: Sequence[Message], uploads: Objects) -> tuple[list[ObjectInfo], list[Reject]]:
    objects: list[ObjectInfo] = []
    rejects: list[Reject] = []
    root = uploads.store.s3.full("") if uploads.store.s3 else ""
    for message in batch:
        reading = read_message(message.body, uploads.bucket)
        objects.extend(_as_listed(one, root) for one in reading.created if one.key.startswith(f"{root}{UPLOADS_PREFIX}"))
        if reading.problems:
            rejects.append(Reject(message.message_id, "; ".join(reading.problems), message.body))
    return objects, rejects


def _as_listed(created: CreatedObject, root: str) -> ObjectInfo:
    """As a listing would tell it; its last-modified is the upload's start, an event's time its end."""
    return ObjectInfo(
        created.key.removeprefix(root), created.size_bytes, created.etag, created.version_id, created.completed_at
    )

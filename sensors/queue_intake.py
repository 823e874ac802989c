"""Takes messages from the upload queue, and enters their objects into the ledger. `queue_messages.py` parses a message.

Delivery is at least once and in any order: the ledger keeps each version once. Messages are deleted after the ledger's
commit: a crash between the two delivers them again.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from pipeline_assets.ingestion.keys import UPLOADS_PREFIX
from resources.database import seen_objects
from resources.database.contract import Database
from resources.database.rejects import Reject, keep_rejects, storable
from resources.errors import ResourceError
from resources.objects.resource import Objects
from resources.objects.store import ObjectInfo
from resources.objects.upload_queue import Message, UploadQueue
from sensors.queue_messages import CreatedObject, read_message

MESSAGES_PER_COMMIT = 200


@dataclass(frozen=True)
class QueueIntake:
    """The counts of one tick. failure: the reason for stopping early, if any."""

    messages: int = 0
    entered: int = 0
    rejected: int = 0
    failure: str | None = None


def take_messages(
    queue: UploadQueue, uploads: Objects, database: Database, day_of: Callable[[ObjectInfo], date], until: float
) -> QueueIntake:
    """Take messages until the queue is empty or the clock (`time.monotonic`) passes `until`."""
    messages = entered = rejected = 0
    while True:
        batch, failure = _receive(queue, until)
        objects, rejects = _read(batch, uploads)
        objects = storable(database, uploads.bucket, objects)
        rows = [seen_objects.seen_object(uploads.bucket, info, day_of(info)) for info in objects]
        new = seen_objects.add_objects(database, rows)
        keep_rejects(database, queue.url, rejects)
        messages, entered, rejected = messages + len(batch), entered + len(new), rejected + len(rejects)
        try:
            queue.delete(batch)
        except ResourceError as error:
            failure = f"what was read could not be deleted, and will come again: {error}"
        if failure or not batch or time.monotonic() >= until:
            return QueueIntake(messages, entered, rejected, failure)


def _receive(queue: UploadQueue, until: float) -> tuple[list[Message], str | None]:
    """The messages of one commit, and the error that ended receiving, if any."""
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
        uploaded = [created for created in reading.created if created.key.startswith(f"{root}{UPLOADS_PREFIX}")]
        objects.extend(_as_listed(created, root) for created in uploaded)
        if reading.problems:
            rejects.append(Reject(message.message_id, "; ".join(reading.problems), message.body))
    return objects, rejects


def _as_listed(created: CreatedObject, root: str) -> ObjectInfo:
    """The object in the form of a listing. Its last-modified is the end of the upload; in a listing it is the start."""
    return ObjectInfo(
        created.key.removeprefix(root), created.size_bytes, created.etag, created.version_id, created.completed_at
    )

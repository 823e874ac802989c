"""The queue of upload events: Amazon SQS over boto3, or anything that speaks it. What messages say is not known here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.config
import dagster as dg
from pydantic import Field, PrivateAttr

from resources.database import Database
from resources.errors import InsecureEndpoint, ResourceError, StoreUnavailable
from resources.object_backends import EXPECTED, LOOPBACK

BATCH = 10
"""The most messages that one request of SQS carries."""
WAIT_S = 1
"""Of the long poll: without one, SQS asks some of its servers only, and may find a full queue empty."""
HIDDEN_S = 120
"""How long a message that was received is hidden from others: longer than a tick may last."""
KEPT_CHARACTERS = 8_000


@dataclass(frozen=True)
class Message:
    """A message as received. receipt: what it is deleted with, of this reception."""

    message_id: str
    receipt: str
    body: str


@dataclass(frozen=True)
class Reject:
    """A message that was not understood, or not wholly, with the reason."""

    message_id: str
    reason: str
    body: str


class UploadQueue(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The SQS queue that tells of new uploads. Without a URL there is none, and uploads are found by listing."""

    url: str = Field(default="", description="URL of the SQS queue; empty: no queue")
    access_key: str = Field(default="", repr=False, description="empty: the AWS chain of credentials")
    secret_key: str = Field(default="", repr=False, description="belongs to access_key")
    region: str = Field(default="us-east-1", description="region of the queue, where its URL does not say")
    _client: Any = PrivateAttr(default=None)

    @property
    def is_set(self) -> bool:
        """Whether there is a queue."""
        return bool(self.url)

    def receive(self) -> list[Message]:
        """Up to ten messages, hidden from others for a while; none if the queue is empty.

        Raises StoreUnavailable: that a queue can't be read does not say that it is empty.
        """
        answer = self._call("receive_message", MaxNumberOfMessages=BATCH, WaitTimeSeconds=WAIT_S, VisibilityTimeout=HIDDEN_S)
        return [Message(m["MessageId"], m["ReceiptHandle"], m["Body"]) for m in answer.get("Messages", ())]

    def delete(self, messages: Sequence[Message]) -> int:
        """Delete what was received. Returns how many are gone: one that is not comes again, later."""
        deleted = 0
        for start in range(0, len(messages), BATCH):
            batch = messages[start : start + BATCH]
            entries = [{"Id": str(n), "ReceiptHandle": message.receipt} for n, message in enumerate(batch)]
            deleted += len(self._call("delete_message_batch", Entries=entries).get("Successful", ()))
        return deleted

    def _call(self, method: str, **arguments: Any) -> dict[str, Any]:
        try:
            if self._client is None:
                self._client = _client(self.url, self.access_key, self.secret_key, self.region)
            return getattr(self._client, method)(QueueUrl=self.url, **arguments)
        except ResourceError:
            raise
        except EXPECTED as error:
            text = " ".join(str(error).split())[:300]
            raise StoreUnavailable(
                f"The upload queue did not answer: check DARKROOM_UPLOADS_QUEUE_URL, and that the credentials allow "
                f"sqs:ReceiveMessage and sqs:DeleteMessage. {text}"
            ) from None


def keep_rejects(postgres: Database, queue: str, rejects: Sequence[Reject]) -> None:
    """Keep messages that were not understood. One that comes again is kept once."""
    if rejects:
        rows = [(queue, r.message_id, r.reason[:1_000], _storable(r.body)) for r in rejects]
        postgres.insert("insert into queue_rejects (queue, message_id, reason, body) values %s on conflict do nothing", rows)


def _storable(text: str) -> str:
    """A text's beginning as PostgreSQL can hold it."""
    return text[:KEPT_CHARACTERS].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _client(url: str, access_key: str, secret_key: str, region: str) -> Any:
    """A boto3 client for the server that a queue's URL names. Raises InsecureEndpoint for plain HTTP to another machine."""
    where = urlsplit(url)
    if where.scheme == "http" and where.hostname not in LOOPBACK:
        raise InsecureEndpoint(f"{url} would get credentials unencrypted: use the queue's https address.")
    parts = (where.hostname or "").split(".")
    named = parts[1] if parts[0] == "sqs" and len(parts) > 2 else region
    return boto3.session.Session().client(
        "sqs",
        endpoint_url=f"{where.scheme}://{where.netloc}",
        aws_access_key_id=access_key or None,
        aws_secret_access_key=secret_key or None,
        region_name=named,
        config=botocore.config.Config(
            # Two attempts to receive and two to delete, on top of a tick's own time, stay below the 60 s of Dagster.
            retries={"max_attempts": 2, "mode": "standard"},
            connect_timeout=3,
            read_timeout=WAIT_S + 5,
        ),
    )

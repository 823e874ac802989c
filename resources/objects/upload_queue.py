"""The queue of upload events: Amazon SQS or a compatible service. `sensors/queue_messages.py` parses messages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.config
import dagster as dg
from pydantic import Field, PrivateAttr

from resources.addresses import LOOPBACK
from resources.errors import InsecureEndpoint, ResourceError, StoreUnavailable
from resources.objects.backends import EXPECTED

BATCH = 10
"""SQS's limit for messages in one request."""
WAIT_S = 1
"""Duration of the long poll, in seconds: without one, SQS asks only some of its servers, and may miss messages."""
HIDDEN_S = 120
"""Seconds for which a received message is hidden from other receivers: longer than a tick may last."""


@dataclass(frozen=True)
class Message:
    """A received message. receipt: the handle of this reception, with which it is deleted."""

    message_id: str
    receipt: str
    body: str


class UploadQueue(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The SQS queue of upload events. Without a URL there is no queue, and uploads are found by listing."""

    url: str = Field(default="", description="URL of the SQS queue; empty: no queue")
    access_key: str = Field(default="", repr=False, description="empty: the AWS chain of credentials")
    secret_key: str = Field(default="", repr=False, description="belongs to access_key")
    region: str = Field(default="us-east-1", description="region of the queue, where its URL does not say")
    _client: Any = PrivateAttr(default=None)

    @property
    def is_set(self) -> bool:
        """Whether a queue is configured."""
        return bool(self.url)

    def receive(self) -> list[Message]:
        """Up to ten messages, which are hidden from other receivers for HIDDEN_S; none if the queue is empty.

        Raises StoreUnavailable if the queue can't be read.
        """
        answer = self._call("receive_message", MaxNumberOfMessages=BATCH, WaitTimeSeconds=WAIT_S, VisibilityTimeout=HIDDEN_S)
        return [Message(m["MessageId"], m["ReceiptHandle"], m["Body"]) for m in answer.get("Messages", ())]

    def delete(self, messages: Sequence[Message]) -> int:
        """Delete received messages. Returns how many were deleted: the others are delivered again later."""
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

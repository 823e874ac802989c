"""Events from a stream of Redis or Valkey, as one consumer of a group: acknowledged once they are durable here.

A message that was delivered and not acknowledged comes again, to this process after a restart, or from a consumer that has
gone. Its events are then recognised as repeats.
"""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Event as Flag
from typing import Any

from pipeline_assets.errors import MissingExtra
from pipeline_assets.serving.stream.intake import Batch
from pipeline_assets.serving.stream.receiving import NotTaken, Receiver
from resources.addresses import redis_address
from resources.online.advice import bad_address

SETTING = "DARKROOM_STREAM_REDIS_URL"
GROUP = "darkroom"
FIELD = "event"
"""Of a message: the event as JSON. A message without it is taken as the event itself, by its fields."""
COUNT = 1_000
BLOCK_MS = 500
GONE_MS = 60_000
"""Messages that a consumer has had for so long are claimed from it."""
_CLAIM_S = 30.0
Message = tuple[bytes, Mapping[bytes, bytes] | None]


class RedisReader:
    """`run` is its thread. held_up: why nothing is read, as a sentence; None while messages are read or awaited."""

    def __init__(self, url: str, key: str, consumer: str, receiver: Receiver) -> None:
        """Raises MissingExtra, InsecureEndpoint, DatabaseUnusable for an address that can't be read. It does not connect."""
        try:
            import redis
        except ImportError:
            raise MissingExtra("Streams of Redis need the package redis: pip install 'darkroom[redis]'") from None
        self._errors: tuple[type[Exception], ...] = (redis.RedisError, OSError)
        try:
            address = redis_address(url, SETTING)
            self._client: Any = redis.Redis.from_url(address, socket_timeout=10, socket_connect_timeout=5)
            self._client.connection_pool.make_connection()
        except (ValueError, TypeError):  # their words have parts of the password
            raise bad_address("redis://:PASSWORD@HOST:6379/0", SETTING) from None
        self._key, self._consumer, self._receiver = key, consumer, receiver
        self._stopping = Flag()
        self._claimed_s = 0.0
        self.held_up: str | None = None

    def stop(self) -> None:
        """Let `run` return after the messages at hand."""
        self._stopping.set()

    def run(self) -> None:
        """Read until `stop`. A server that is away is tried again."""
        has_begun = False
        while not self._stopping.is_set():
            try:
                if not has_begun:
                    self._begin()
                    has_begun = True
                self._claim()
                self._take(self._read(">"))
                self.held_up = None
            except self._errors as error:
                has_begun = False  # the group may be gone with the server's data
                self.held_up = f"the Redis stream {self._key} can't be read ({type(error).__name__}): it is tried again."
                self._stopping.wait(1)
        with suppress(*self._errors):
            self._client.close()

    def _begin(self) -> None:
        """Make the group if it is missing, and take what this consumer was given and did not acknowledge."""
        try:
            self._client.xgroup_create(self._key, GROUP, id="0", mkstream=True)
        except self._errors as error:
            if "BUSYGROUP" not in str(error):
                raise
        while (messages := self._read("0")) and not self._stopping.is_set():
            self._take(messages)

    def _claim(self) -> None:
        """Take messages of consumers that have gone."""
        if time.monotonic() - self._claimed_s < _CLAIM_S:
            return
        start: bytes | str = "0-0"
        while not self._stopping.is_set():
            start, messages, *_ = self._client.xautoclaim(
                self._key, GROUP, self._consumer, min_idle_time=GONE_MS, start_id=start, count=COUNT
            )
            self._take(messages)
            if start in (b"0-0", "0-0"):
                break
        self._claimed_s = time.monotonic()

    def _read(self, after: str) -> Sequence[Message]:
        answer = self._client.xreadgroup(GROUP, self._consumer, {self._key: after}, count=COUNT, block=BLOCK_MS)
        return [message for _, messages in answer for message in messages]

    def _take(self, messages: Sequence[Message]) -> None:
        """Acknowledge messages once their events are durable; those that are refused now are tried until they are taken."""
        lines = [_line(fields) for _, fields in messages if fields]
        while lines:
            try:
                self._receiver.offer(Batch(f"redis {self._key}", lines)).result()
                break
            except NotTaken as error:
                self.held_up = str(error)
                if self._stopping.wait(error.retry_after_s):
                    return
        if messages:
            self._client.xack(self._key, GROUP, *(message_id for message_id, _ in messages))


def _line(fields: Mapping[bytes, bytes]) -> str:
    event = fields.get(FIELD.encode())
    if event is not None:
        return _text(event)
    return json.dumps({_text(name): _text(value) for name, value in fields.items()})


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")

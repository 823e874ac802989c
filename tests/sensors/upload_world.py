"""The world that the upload sensor watches, in memory: a versioned bucket with S3's API, and a queue that tells of it.

No part of Darkroom is replaced: the store above this bucket, the ledger and the sensor are the real ones. What lives here
is what S3 and SQS do, and what users and accidents do to them.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import md5
from random import Random
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote_plus

import botocore.exceptions

from resources.objects.backends import S3Access
from resources.objects.resource import Objects
from resources.objects.store import ObjectStore
from resources.objects.upload_queue import Message

PAGE = 7
"""Objects on a page of a listing: few, so that small buckets have several."""


@dataclass(frozen=True)
class Version:
    """One version of a key, or a delete marker. last_modified: the upload's start, in whole seconds."""

    key: str
    version_id: str
    etag: str
    size: int
    last_modified: datetime
    is_marker: bool = False


@dataclass
class World:
    """A bucket and its clock. failing: how many of the next listings fail; heads_away: single objects can't be asked."""

    bucket: str
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0))
    keys: dict[str, list[Version]] = field(default_factory=dict)
    created: list[Version] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    failing: int = 0
    heads_away: bool = False
    made: int = 0

    def put(self, key: str, content: str, took: timedelta = timedelta(0)) -> Version:
        """An upload that is complete now, and began `took` ago."""
        started = (self.now - took).replace(microsecond=0)
        etag = md5(content.encode(), usedforsecurity=False).hexdigest()
        version = Version(key, self._next_id(), etag, len(content), started)
        self.keys.setdefault(key, []).append(version)
        self.created.append(version)
        self.events.append(self._event(version))
        return version

    def delete(self, key: str) -> None:
        """Hide a key behind a delete marker."""
        if self.live(key):
            self.keys[key].append(Version(key, self._next_id(), "", 0, self.now.replace(microsecond=0), True))

    def purge(self, version: Version) -> None:
        """Delete a version for good."""
        if version in self.keys.get(version.key, ()):
            self.keys[version.key].remove(version)

    def live(self, key: str) -> Version | None:
        """What a reader of the key gets."""
        versions = self.keys.get(key) or [None]
        return None if versions[-1] is None or versions[-1].is_marker else versions[-1]

    def current(self) -> list[Version]:
        """What a listing shows, by key."""
        return [live for key in sorted(self.keys, key=str.encode) if (live := self.live(key))]

    def surviving(self) -> list[Version]:
        """Every version that can still be read, the newest or not."""
        return [version for versions in self.keys.values() for version in versions if not version.is_marker]

    def fate(self, version: Version) -> str:
        """What became of a version, in the words of the ledger."""
        versions = self.keys.get(version.key, [])
        if version not in versions:
            return "gone"
        return "current" if versions[-1] == version else "deleted" if versions[-1].is_marker else "overwritten"

    def uploads(self) -> Objects:
        """The real store and resource, on this bucket."""
        access = S3Access(self.bucket, "")
        access.__dict__["client"] = Client(self)  # in place of the one that it would make when first used
        found = Objects(url=f"s3://{self.bucket}")
        found._store = ObjectStore(found.url, Heads(self), access)
        return found

    def _next_id(self) -> str:
        self.made += 1
        return f"{self.bucket}-{self.made:05}"

    def _event(self, version: Version) -> str:
        about = {"key": quote_plus(version.key), "size": version.size, "eTag": version.etag, "versionId": version.version_id}
        s3 = {"bucket": {"name": self.bucket}, "object": about}
        return json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "eventTime": self.now.isoformat(), "s3": s3}]})


class Client:
    """As much of boto3's S3 client as listings need."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.meta = SimpleNamespace(endpoint_url="https://s3.us-east-1.amazonaws.com")

    def get_paginator(self, method: str) -> SimpleNamespace:
        """The paginator of `list_objects_v2` or `list_object_versions`."""
        return SimpleNamespace(paginate=self._objects if method == "list_objects_v2" else self._versions)

    def _objects(self, *, Bucket: str, Prefix: str = "", StartAfter: str = "", **_: Any) -> Iterator[dict[str, Any]]:  # noqa: N803
        """Page by page, as the bucket is at each page."""
        after = StartAfter
        while True:
            self._fail_maybe()
            rest = [one for one in self.world.current() if one.key.startswith(Prefix) and one.key > after]
            yield {
                "Contents": [
                    {"Key": v.key, "Size": v.size, "ETag": f'"{v.etag}"', "LastModified": v.last_modified}
                    for v in rest[:PAGE]
                ]
            }
            if len(rest) <= PAGE:
                return
            after = rest[PAGE - 1].key

    def _versions(self, *, Bucket: str, Prefix: str = "", KeyMarker: str = "", **_: Any) -> Iterator[dict[str, Any]]:  # noqa: N803
        keys = [k for k in sorted(self.world.keys, key=str.encode) if k.startswith(Prefix) and k > KeyMarker]
        for start in range(0, len(keys), PAGE):
            self._fail_maybe()
            page: dict[str, Any] = {"Versions": [], "DeleteMarkers": []}
            for key in keys[start : start + PAGE]:
                versions = self.world.keys.get(key, [])
                for version in reversed(versions):
                    page["DeleteMarkers" if version.is_marker else "Versions"].append(
                        {
                            "Key": key,
                            "VersionId": version.version_id,
                            "IsLatest": version is versions[-1],
                            "LastModified": version.last_modified,
                            **({} if version.is_marker else {"ETag": f'"{version.etag}"', "Size": version.size}),
                        }
                    )
            yield page

    def _fail_maybe(self) -> None:
        if self.world.failing:
            self.world.failing -= 1
            raise botocore.exceptions.ClientError({"Error": {"Code": "SlowDown", "Message": "Reduce your rate"}}, "List")


class Heads:
    """As much of obstore's S3 store as asking for one object needs."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def get_async(self, key: str, *, options: dict[str, Any]) -> SimpleNamespace:
        """The object's metadata: of a version, or of what is there now. Raises FileNotFoundError."""
        if self.world.heads_away:
            raise botocore.exceptions.EndpointConnectionError(endpoint_url="s3")
        wanted = options.get("version")
        versions = [v for v in self.world.keys.get(key, []) if v.version_id == wanted and not v.is_marker]
        found = (versions or [None])[0] if wanted else self.world.live(key)
        if found is None:
            raise FileNotFoundError(key)
        return SimpleNamespace(
            meta={
                "size": found.size,
                "e_tag": f'"{found.etag}"',
                "version": found.version_id,
                "last_modified": found.last_modified,
            }
        )


class Crash(Exception):
    """The process ends here."""


@dataclass
class Queue:
    """A queue as bad as SQS may be: messages come at least once, in any order. Deletion may be the last thing not done."""

    world: World
    random: Random
    url: str = "queue"
    crash_before_delete: bool = False
    fails: bool = False
    waiting: dict[str, str] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    sent: int = 0

    def deliver(self, lose: bool = False) -> None:
        """Events of the bucket reach the queue, some twice; `lose`: they never do."""
        for body in self.world.events:
            for _ in range(0 if lose else self.random.choice((1, 1, 2))):
                self.sent += 1
                self.waiting[str(self.sent)] = body
        self.world.events.clear()

    def receive(self) -> list[Message]:
        """Some of the messages that are not hidden, in any order."""
        if self.fails:
            from resources.errors import StoreUnavailable

            raise StoreUnavailable("the queue is away")
        visible = [name for name in self.waiting if name not in self.hidden]
        chosen = self.random.sample(visible, min(3, len(visible)))
        self.hidden.update(chosen)
        return [Message(name, name, self.waiting[name]) for name in chosen]

    def delete(self, messages: list[Message]) -> int:
        """Forget messages."""
        if self.crash_before_delete and messages:
            raise Crash
        for message in messages:
            self.waiting.pop(message.receipt, None)
        return len(messages)

    def reappear(self) -> None:
        """The time for which received messages were hidden is over."""
        self.hidden.clear()

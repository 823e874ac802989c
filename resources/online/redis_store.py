"""The online store in Redis or Valkey: one hash. Its changes are atomic, on a cluster too, and it can only be lost whole.

A read is one `HMGET`; every change is one call of `store.lua`, which describes the hash. The URL's `key` names the hash, and
`cluster=true` says that the server is a node of a cluster: rediss://:PASSWORD@HOST:6380/0?key={online}:features
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from resources.addresses import redis_address
from resources.online import advice
from resources.online.contract import OLD_ENOUGH_S, Generation, Lease, OnlineStore, Statistics
from resources.online.ranks import built, generation_of, microseconds, oldest_kept, streamed, time_of
from resources.online.redis_errors import translating

KEY = "{darkroom}:online"
"""Name of the hash. In a cluster the part in braces alone decides which node has it."""
LAYOUT = 1
TIMEOUT_S = 5.0
CHUNK = 1_000
"""Fields that one call of a sweep looks at, during which the server answers nobody else: about a millisecond."""
CURRENT = b"\0current"
_SCRIPT = (Path(__file__).parent / "store.lua").read_text()
_HEAD = struct.Struct(">II")
_SIZE = struct.Struct(">I")
_NONE = 0xFFFFFFFF


class RedisStore(OnlineStore):
    """The store at a URL of Redis or Valkey. Threads share its connections."""

    def __init__(self, url: str) -> None:
        options: dict[str, Any] = {
            "socket_timeout": TIMEOUT_S,
            "socket_connect_timeout": TIMEOUT_S,
            "client_name": "darkroom-online",
        }
        # A change whose answer was lost must not be sent again: its caller looks at the position.
        with translating(False):
            try:
                address, self._key, is_cluster = _parts(url)
                if is_cluster:
                    self._client: Any = redis.RedisCluster.from_url(address, **options)
                else:
                    self._client = redis.Redis.from_url(address, retry=Retry(NoBackoff(), 0), **options)
                    self._client.connection_pool.make_connection()
            except (ValueError, TypeError):  # their words have parts of the password
                raise advice.bad_address("redis://:PASSWORD@HOST:6379/0") from None
        self._script = self._client.register_script(_SCRIPT)
        self.was_filled = False

    # Reading.

    def current(self) -> Generation | None:
        """The published generation."""
        with translating(self.was_filled):
            line = self._client.hget(self._key, CURRENT)
        return _generation(line) if line else None

    def read(self, keys: Sequence[bytes], *, of: Generation | None = None) -> tuple[Generation, list[bytes | None]]:
        """The values of these keys by one command: see the contract."""
        fields = [CURRENT] if of is None else [CURRENT, _field(of)]
        with translating(self.was_filled):
            found = self._client.hmget(self._key, *fields, *keys)
        if found[0] is None and of is None:
            raise advice.empty(self.was_filled)
        lines = [line for line in found[: len(fields)] if line is not None]
        shown = [one for one in map(_generation, lines) if of is None or _is_same(one, of)]
        if not shown:
            raise advice.generation_gone(of or _generation(lines[0]))
        self.was_filled = True
        rank = streamed(shown[0].number)
        return shown[0], [_value(item, rank) for item in found[len(fields) :]]

    def keys(self, prefix: bytes, *, of: Generation | None = None) -> Iterator[bytes]:
        """The keys with a built value, each once or, if the hash grows meanwhile, more often."""
        shown = of or self.current()
        for found in self._pages("keys", built(shown.number), prefix) if shown else ():
            yield from found[0]

    def generations(self) -> list[Generation]:
        """All generations, oldest first."""
        with translating(self.was_filled):
            numbers, line = self._client.hmget(self._key, b"\0numbers", CURRENT)
            fields = [b"\0g:" + number for number in (numbers or b"").split()]
            lines = [line, *(self._client.hmget(self._key, *fields) if fields else [])]
        found = {one.number: one for one in map(_generation, filter(None, lines))}
        return [found[number] for number in sorted(found)]

    def statistics(self) -> Statistics:
        """What the hash contains. The space is that of the hash in memory, estimated by the server from a sample."""
        rows, streamed_rows = 0, 0
        for page_rows, page_streamed in self._pages("count"):
            rows, streamed_rows = rows + page_rows, streamed_rows + page_streamed
        with translating(self.was_filled):
            size = self._client.memory_usage(self._key) or 0
            held = (self._client.hget(self._key, b"\0lease") or b"0 0 ").split(b" ", 2)
            info, now = self._info(), self._now()
        end = int(held[1])
        lease = Lease(held[2].decode(), int(held[0]), time_of(end)) if end > now else None
        name = "Valkey" if info.get("server_name") == "valkey" else "Redis"
        version = info.get("valkey_version") or info.get("redis_version")
        return Statistics(f"{name} {version}", rows, streamed_rows, size, lease)

    # Building.

    def begin(self, t0: datetime, horizon_s: int, format: int) -> Generation:
        """A new, empty draft. Values of older drafts are removed before."""
        while isinstance(answer := self._call("begin", format, microseconds(t0), horizon_s), list):
            for _ in self._pages("sweep", 0, 0, *answer):
                pass
            for number in answer:
                self._call("buried", number)
        return _generation(answer)

    def _built(self, draft: Generation, keys: Sequence[bytes]) -> list[bytes | None]:
        with translating(self.was_filled):
            items = self._client.hmget(self._key, *keys)
        return [_value(item, built(draft.number)) for item in items]

    def _put(self, draft: Generation, changed: Mapping[bytes, bytes | None], users: int, size: int) -> None:
        rank = built(draft.number)
        pairs = [part for key, value in changed.items() for part in (key, _HEAD.pack(rank, _size(value)) + (value or b""))]
        self._call("put", *_identity(draft), rank, users, size, *pairs, of=draft)

    def complete(self, draft: Generation, *, position: str) -> Generation:
        """Mark a draft as written to its end."""
        return _generation(self._call("complete", *_identity(draft), position, of=draft))

    def publish(self, lease: Lease, draft: Generation, *, position: str) -> Generation:
        """Make a draft the current generation."""
        answer = self._call("publish", lease.owner, lease.token, *_identity(draft), position, of=draft, lease=lease)
        self.was_filled = True
        return _generation(answer)

    # One writer.

    def lease(self, owner: str, seconds: float) -> Lease | None:
        """Take or prolong the lease, by the server's clock."""
        answer = self._call("lease", owner, int(seconds * 1e6))
        return Lease(owner, int(answer[0]), time_of(int(answer[1]))) if answer else None

    def release(self, lease: Lease) -> None:
        """Let the lease expire now. Its token stays, so that the next one is higher."""
        self._call("release", lease.owner, lease.token)

    def apply(
        self,
        lease: Lease,
        changes: Mapping[bytes, bytes | None],
        *,
        position: str,
        to: Generation | None = None,
        after: Generation | None = None,
    ) -> None:
        """Write streamed changes and their position in one call."""
        records = [part for key, value in changes.items() for part in (key, _SIZE.pack(_size(value)) + (value or b""))]
        target = _identity(to) if to else ("", "")
        state = " ".join(map(str, (*_identity(after), after.position))) if after else ""
        with translating(self.was_filled, to, lease, after):
            self._run("apply", lease.owner, lease.token, position, *target, state, *records)
        self.was_filled = True

    # Upkeep.

    def sweep(self, keep: int = 1, older_s: float = OLD_ENOUGH_S, *, is_rehearsal: bool = False) -> int:
        """Remove values that no generation needs any more, some hundreds of keys in one call."""
        with translating(self.was_filled):
            now = time_of(self._now())
        floor = oldest_kept(self.generations(), keep, older_s, now)
        if not floor:
            return 0
        if not is_rehearsal:
            self._call("forget", floor)
        return sum(removed for (removed,) in self._pages("sweep", built(floor), int(is_rehearsal)))

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _call(self, operation: str, *arguments: Any, of: Generation | None = None, lease: Lease | None = None) -> Any:
        with translating(self.was_filled, of, lease):
            return self._run(operation, *arguments)

    def _run(self, operation: str, *arguments: Any) -> Any:
        return self._script(keys=[self._key], args=[operation, *arguments])

    def _pages(self, operation: str, *arguments: Any) -> Iterator[list[Any]]:
        """The answers of an operation for all parts of the hash."""
        cursor = b"0"
        while True:
            cursor, *answer = self._call(operation, cursor, CHUNK, *arguments)
            yield answer
            if cursor == b"0":
                return

    def _now(self) -> int:
        seconds, micros = self._client.time()
        return int(seconds) * 1_000_000 + int(micros)

    def _info(self) -> dict[str, Any]:
        return dict(self._client.info("server"))


def _parts(url: str) -> tuple[str, str, bool]:
    """The URL without Darkroom's own parameters, the hash's name, and whether the server is a node of a cluster."""
    address, _, text = redis_address(url, "DARKROOM_ONLINE_URL").partition("?")
    query = dict(parse_qsl(text))
    key, cluster = query.pop("key", KEY), query.pop("cluster", "false")
    return f"{address}?{urlencode(query)}" if query else address, key, cluster == "true"


def _value(item: bytes | None, rank: int) -> bytes | None:
    """The value that a generation shows. rank: of its streamed values, or of its built ones."""
    if item is None:
        return None
    newest, value, at = -1, None, 0
    while at < len(item):
        own, size = _HEAD.unpack_from(item, at)
        begin, at = at + 8, at + 8 + (0 if size == _NONE else size)
        if newest < own <= rank and (own == rank or not own & 1):
            newest, value = own, None if size == _NONE else item[begin:at]
    return value


@lru_cache(64)
def _generation(line: bytes) -> Generation:
    """A stored generation. Raises StoreUnreadable for one of another layout."""
    layout, *words, position = line.decode().split(" ", 12)
    if layout != str(LAYOUT):
        raise advice.other_layout(layout, LAYOUT, "DEL its key")
    numbers = [None if word == "-" else int(word) for word in words]
    return generation_of((*numbers[:7], position, *numbers[7:]))


def _size(value: bytes | None) -> int:
    return _NONE if value is None else len(value)


def _identity(draft: Generation) -> tuple[int, int]:
    return draft.number, microseconds(draft.built_at)


def _is_same(one: Generation, other: Generation) -> bool:
    return (one.number, one.built_at) == (other.number, other.built_at)


def _field(generation: Generation) -> bytes:
    return b"\0g:%d" % generation.number

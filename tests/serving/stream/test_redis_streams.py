"""Events from streams of a real Redis and Valkey: at least once from the server, once here, whoever is killed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import polars as pl
import pytest
import redis
from key_value_servers import served
from stream_world import StreamWorld, wait_for

from pipeline_assets.serving.stream import redis_streams, service
from pipeline_assets.serving.stream.dead_letters import DeadLetters
from pipeline_assets.serving.stream.redis_streams import GROUP, RedisReader
from pipeline_assets.serving.stream.service import Stream
from resources.errors import DatabaseUnusable

pytestmark = pytest.mark.slow
KEY = "events"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[StreamWorld]:
    made = StreamWorld(tmp_path)
    made.write_history()
    made.publish()
    yield made
    made.store.close()


@pytest.fixture(params=["redis", "valkey"])
def server(request: pytest.FixtureRequest) -> Iterator["redis.Redis"]:
    with served(request.param) as socket, redis.Redis.from_url(f"unix://{socket}") as client:
        yield client


@contextmanager
def reading(world: StreamWorld, client: "redis.Redis") -> Iterator[tuple[Stream, RedisReader]]:
    url = f"unix://{client.connection_pool.connection_kwargs['path']}"
    with service.streaming(
        world.root / "home" / "stream", world.store, world.lake, world.database, segment_s=0.3, poll_s=1
    ) as stream:
        reader = RedisReader(url, KEY, stream.journal.lineage, stream.receiver)
        thread = Thread(target=reader.run, daemon=True)
        thread.start()
        try:
            yield stream, reader
        finally:
            reader.stop()
            thread.join(30)


def add(world: StreamWorld, client: "redis.Redis", name: str, count: int) -> set[str]:
    at = datetime.now(UTC) - timedelta(seconds=5)
    events = [world.event(f"{name}-{number}", at) for number in range(count)]
    for event in events:
        client.xadd(KEY, {"event": json.dumps(event)})
    return {event["event_id"] for event in events}


def pending(client: "redis.Redis") -> int:
    found: Any = client.xpending(KEY, GROUP)
    return found["pending"]


def streamed(world: StreamWorld) -> list[str]:
    return world.events().filter(~pl.col("event_id").str.starts_with("old-"))["event_id"].sort().to_list()


def test_messages_become_events_and_are_acknowledged(world: StreamWorld, server: "redis.Redis") -> None:
    sent = add(world, server, "before", 30)
    with reading(world, server) as (stream, _):
        sent |= add(world, server, "after", 30)
        wait_for(lambda: stream.receiver.received.accepted == 60)
        wait_for(lambda: pending(server) == 0)
    assert streamed(world) == sorted(sent)
    assert world.differing() == []


def test_messages_given_to_consumers_that_were_killed_come_again_and_count_once(
    world: StreamWorld, server: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """One was killed before it had written anything; one of ours, after its events were durable and before it acknowledged."""
    monkeypatch.setattr(redis_streams, "GONE_MS", 1)
    sent = add(world, server, "a", 20)
    server.xgroup_create(KEY, GROUP, id="0")
    server.xreadgroup(GROUP, "of another machine", {KEY: ">"}, count=10)
    with reading(world, server) as (stream, _):
        wait_for(lambda: stream.receiver.received.accepted == 20)
        wait_for(lambda: pending(server) == 0)
        own = stream.journal.lineage
    sent |= add(world, server, "b", 20)
    given: Any = server.xreadgroup(GROUP, own, {KEY: ">"}, count=100)
    with reading(world, server) as (stream, _):  # they are its own, and pending
        wait_for(lambda: pending(server) == 0)
        for message_id, fields in given[0][1]:
            server.xadd(KEY, fields)  # and a sender sends all again
            assert message_id
        wait_for(lambda: stream.receiver.received.duplicate == 20)
    assert streamed(world) == sorted(sent)
    assert world.differing() == []


def test_poison_is_set_aside_and_acknowledged(world: StreamWorld, server: "redis.Redis") -> None:
    server.xadd(KEY, {"event": b"\xff\x00junk"})
    server.xadd(KEY, {"event": "[" * 5_000})
    server.xadd(KEY, {"event_id": "flat", "user_id": "7"})
    server.xadd(KEY, {"event": "x" * 100_000})
    sent = add(world, server, "good", 3)
    with reading(world, server) as (stream, _):
        wait_for(lambda: stream.receiver.received.accepted == 3)
        wait_for(lambda: pending(server) == 0)
    letters = list(DeadLetters(world.root / "home" / "stream"))
    assert [letter["reason"] for letter in letters] == ["bad_json", "bad_json", "missing_field", "too_long"]
    assert {letter["source"] for letter in letters} == {"redis events"}
    assert streamed(world) == sorted(sent)


@pytest.mark.parametrize("address", ["redis://:s3c/r3t@127.0.0.1:1/0", "redis://:s3cr3t@127.0.0.1:1/0?s3cr3t=1"])
def test_an_address_that_cannot_be_read_keeps_its_password(world: StreamWorld, address: str) -> None:
    with (
        service.streaming(world.root / "x", world.store, world.lake, world.database, segment_s=1, poll_s=1) as stream,
        pytest.raises(DatabaseUnusable, match="DARKROOM_STREAM_REDIS_URL can't be read") as raised,
    ):
        RedisReader(address, KEY, "me", stream.receiver)
    assert "s3" not in str(raised.value)


def test_a_server_that_loses_its_data_and_comes_back_is_read_on(world: StreamWorld, server: "redis.Redis") -> None:
    with reading(world, server) as (stream, reader):
        sent = add(world, server, "a", 5)
        wait_for(lambda: stream.receiver.received.accepted == 5)
        server.flushall()
        wait_for(lambda: reader.held_up is not None or server.exists(KEY) == 1)
        sent |= add(world, server, "b", 5)
        wait_for(lambda: stream.receiver.received.accepted == 10)
        wait_for(lambda: reader.held_up is None)
    assert streamed(world) == sorted(sent)

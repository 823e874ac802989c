"""A real `darkroom stream` that is killed again and again while a client retries: each event once, and states as offline."""

import http.client
import random
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import polars as pl
import pytest
from stream_world import PHOTOS, StreamWorld, streaming, wait_for

from tests.ports import free_port

pytestmark = pytest.mark.slow


class Client(Thread):
    """Sends batches one after another, each again and again until it is acknowledged."""

    def __init__(self, world: StreamWorld, batches: int) -> None:
        super().__init__(daemon=True)
        self.world, self.left, self.acknowledged, self.process = world, batches, 0, None
        self.sent: set[str] = set()
        self.photos = list(PHOTOS)

    def run(self) -> None:
        rng = random.Random(1)
        while self.left:
            now = datetime.now(UTC)
            names = [f"new-{self.left}-{number}" for number in range(rng.choice([1, 7, 200]))]
            batch = [self.world.event(name, now - timedelta(seconds=rng.random() * 9e4), self.photos) for name in names]
            batch += rng.choices(batch, k=2)
            while not self._is_taken(batch):
                pass
            self.sent |= set(names)
            self.acknowledged += 1
            self.left -= 1

    def _is_taken(self, batch: list) -> bool:
        try:
            return self.process is not None and self.process.send(batch)[0] == 202
        except (OSError, http.client.HTTPException):
            return False


@pytest.fixture
def world(tmp_path: Path) -> Iterator[StreamWorld]:
    made = StreamWorld(tmp_path)
    made.write_history()
    yield made
    made.store.close()


def test_a_stream_killed_again_and_again_has_each_event_once_and_states_as_offline(world: StreamWorld) -> None:
    world.publish()
    client = Client(world, batches=60)
    port = free_port()
    client.start()
    for kill in range(4):
        before = client.acknowledged
        with streaming(world, port) as process:
            client.process = process
            wait_for(lambda least=before + 10: client.acknowledged >= least)
            world.post(100 + kill, datetime.now(UTC))
            client.photos.append(100 + kill)
            process.popen.send_signal(signal.SIGKILL)
            process.popen.wait()
    with streaming(world, port) as process:
        client.process = process
        client.join(300)
        assert not client.is_alive()
        wait_for(lambda: process.get("/metrics")[1].count("darkroom_stream_lag_seconds 0\n") == 1)
        process.end()
    ids = world.events().filter(pl.col("event_id").str.starts_with("new-"))["event_id"].to_list()
    assert sorted(ids) == sorted(client.sent)
    assert world.differing() == []

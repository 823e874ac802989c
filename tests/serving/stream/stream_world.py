"""A project on folders and SQLite with published states, a real `darkroom stream`, and a client that retries."""

import http.client
import json
import os
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from pipeline_assets.features.history import FEATURES
from pipeline_assets.features.user_features import user_features_as_of
from pipeline_assets.ingestion.logs.events import day_of_log, parse_log
from pipeline_assets.ingestion.schemas import EventLog
from pipeline_assets.serving.state.answers import features_at
from pipeline_assets.serving.state.building import states
from pipeline_assets.serving.state.layout import FORMAT, UserState, user_key
from pipeline_assets.serving.state.period import Period
from pipeline_assets.serving.stream.postings import Postings
from resources.database.sqlite import Sqlite
from resources.objects.store import ObjectStore
from resources.online.contract import Generation
from resources.online.sqlite import SqliteStore
from tests.processes import lines_of, started

DAY = timedelta(days=1)
USERS, PHOTOS = range(1, 13), range(1, 25)
TIME = pl.Datetime("us", "UTC")


def text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass
class StreamWorld:
    """Everything lies in one folder. t0: begin of today."""

    root: Path
    seed: int = 0
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.t0 = self.now.replace(hour=0, minute=0, second=0, microsecond=0)
        self.period = Period(self.t0, timedelta(hours=36))
        self.database.migrate()
        with self.database.connect() as transaction:
            for user_id in USERS:
                transaction.execute(
                    "insert into users (user_id, joined_at, name) values (%s, %s, 'n')", (user_id, self.t0 - 90 * DAY)
                )
        for photo_id in PHOTOS:
            self.post(photo_id, self.t0 - self.rng.random() * 8 * DAY)

    @cached_property
    def database(self) -> Sqlite:
        return Sqlite(url=f"sqlite:///{self.root / 'darkroom.db'}")

    @cached_property
    def store(self) -> SqliteStore:
        (self.root / "home").mkdir(mode=0o700, exist_ok=True)
        return SqliteStore(self.root / "home" / "online.db")

    @cached_property
    def lake(self) -> ObjectStore:
        return ObjectStore.open((self.root / "lake").as_uri())

    @property
    def environment(self) -> dict[str, str]:
        outer = {name: value for name, value in os.environ.items() if not name.startswith(("DARKROOM_", "DAGSTER_", "AWS_"))}
        return {
            **outer,
            "DARKROOM_HOME": str(self.root / "home"),
            "DARKROOM_DATABASE_URL": f"sqlite:///{self.root / 'darkroom.db'}",
            "DARKROOM_LAKE_URL": (self.root / "lake").as_uri(),
            "DARKROOM_UPLOADS_URL": (self.root / "uploads").as_uri(),
            "DARKROOM_STREAM_FLUSH_S": "1",
            "COLUMNS": "400",
        }

    def post(self, photo_id: int, posted_at: datetime) -> None:
        """A photo in the application's database."""
        self.database.execute(
            "insert into photos (photo_id, user_id, key, day, posted_at) values (%s, %s, %s, %s, %s)",
            (photo_id, self.rng.choice(USERS), f"uploads/{posted_at.date()}/1/{photo_id}.jpg", posted_at.date(), posted_at),
        )

    def event(self, event_id: str, at: datetime, photos: Sequence[int] = PHOTOS) -> dict[str, Any]:
        kind = self.rng.choice(["login", "view", "view", "like", "like", "post"])
        photo = {} if kind == "login" else {"photo_id": self.rng.choice(photos)}
        return {"event_id": event_id, "user_id": self.rng.choice(USERS), "kind": kind, "at": text(at), **photo}

    def write_history(self, count: int = 300) -> None:
        """Logs of the days before t0, some of whose events were delivered twice."""
        days: dict[str, list[str]] = {}
        for number in range(count):
            at = self.t0 - self.rng.random() * 9 * DAY
            event = self.event(f"old-{number}", at)
            for _ in range(self.rng.choice([1, 1, 2])):
                arrived_at = min(at + self.rng.random() * DAY, self.t0 - timedelta(microseconds=1))
                days.setdefault(str(arrived_at.date()), []).append(json.dumps({**event, "arrived_at": text(arrived_at)}))
        for day, lines in days.items():
            self.lake.put(f"events/{day}/web.jsonl", "\n".join(lines).encode())

    def events(self) -> pl.DataFrame:
        """All events of the lake's log, by the parser of `event_log`; no line may be rejected."""
        logs = [EventLog.create_empty()]
        for info in self.lake.list("events/"):
            day = day_of_log(info.key)
            assert day is not None
            log = parse_log(self.lake.get(info.key), info.key, day)
            assert log.rejected.is_empty(), log.rejected
            logs.append(log.events)
        return pl.concat(logs, how="vertical_relaxed")

    def postings(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """All photos, and all users."""
        return Postings(self.database, 1).all(self.t0 - 100 * DAY, self.now.date())

    def draft(self, period: Period | None = None) -> Generation:
        """A complete draft of states from all that the lake has before t0."""
        period = period or self.period
        photos, users = self.postings()
        events = self.events().filter(pl.col("arrived_at") < period.t0)
        draft = self.store.begin(period.t0, period.horizon // timedelta(seconds=1), FORMAT)
        before = photos.filter(pl.col("posted_at") < period.t0)
        self.store.write(draft, states(users, events.lazy(), before.lazy(), period))
        return self.store.complete(draft, position="")

    def publish(self) -> Generation:
        draft = self.draft()
        lease = self.store.lease("builder", 10)
        assert lease is not None
        published = self.store.publish(lease, draft, position="")
        self.store.release(lease)
        return published

    def differing(self, period: Period | None = None) -> list[object]:
        """Users and moments whose online features differ from those of the offline function, of all events and photos."""
        period = period or self.period
        photos, users = self.postings()
        joined = dict(users.select("user_id", "joined_at").iter_rows())
        moments = [datetime.now(UTC), *(period.t0 + period.horizon * share for share in (0.97, 1))]
        asks = [(user_id, moment, joined[user_id]) for user_id in USERS for moment in moments]
        schema = {"user_id": pl.Int64, "as_of": TIME, "joined_at": TIME}
        entities = pl.LazyFrame(asks, schema=schema, orient="row").with_row_index("row")
        expected = user_features_as_of(entities, self.events().lazy(), photos.lazy()).collect().sort("row")
        different = []
        for (user_id, moment, _), truth in zip(asks, expected.select(FEATURES).rows(named=True), strict=True):
            _, (value,) = self.store.read([user_key(user_id)])
            online = features_at(UserState.unpack(value) if value else UserState(), period, moment)
            if online != truth:
                different.append((user_id, moment, online, truth))
        return different


@dataclass
class Process:
    """A running `darkroom stream`."""

    popen: Any
    lines: list[str]
    port: int

    def send(
        self, events: Sequence[Mapping[str, Any] | str], kind: str = "application/x-ndjson"
    ) -> tuple[int, dict[str, Any]]:
        body = "\n".join(event if isinstance(event, str) else json.dumps(event) for event in events)
        return self.post(body.encode(), {"content-type": kind})

    def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", "/v1/events", body, dict(headers))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        line = next(line for line in self.get("/metrics")[1].splitlines() if line.startswith(name))
        return float(line.split()[-1])

    def end(self) -> None:
        """By SIGTERM, as a service manager does."""
        self.popen.terminate()
        assert self.popen.wait(120) == 0, self.lines


@contextmanager
def streaming(world: StreamWorld, port: int, **settings: str) -> Iterator[Process]:
    """A stream that has begun to listen."""
    command = [sys.executable, "-m", "pipeline_assets.cli", "stream", "--port", str(port)]
    with started(command, {**world.environment, **settings}) as popen:
        process = Process(popen, lines_of(popen), port)
        wait_for(lambda: any("Events:" in line for line in process.lines) or popen.poll() is not None)
        assert popen.poll() is None, process.lines
        wait_for(lambda: _answers(process))
        yield process


def _answers(process: Process) -> bool:
    try:
        return process.get("/healthz")[0] == 200
    except OSError:
        return False


def wait_for(holds: Any, seconds: float = 300) -> None:
    """Return once it holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it has not come to hold"
        time.sleep(0.02)

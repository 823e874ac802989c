"""What stock `dagster_aws.s3.sensor.get_objects` loses, and what Darkroom's sensor loses, in the same random weeks.

    python -m benchmarks.stock_sensor [--scripts 20] [--moves 120]

Users upload, overwrite and delete; uploads share seconds, and long ones show with the time at which they began; listings
fail, and processes end before they keep their cursor. Every sensor ticks at the same moments, on the same bucket
(`tests/sensors/upload_world.py`); Darkroom's keeps its ledger in PostgreSQL. Counted at the end: objects that are there
to be read and were never handed on. Stock is used as its documentation shows, in both ways: with the newest last-modified
as cursor, or the last key. It is told nothing twice, and a tick that raises keeps its cursor.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from dagster_aws.s3.sensor import get_objects

from benchmarks.figures import Figure, add_options, at_most, finish
from resources.database import reconciliation
from resources.database.postgres import Postgres
from resources.servers.embedded import Services
from sensors.uploads import list_uploads, upload_day
from sensors.uploads_decision import Cursor, Limits

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "sensors"))
from upload_world import World

LIMITS = Limits(keys_per_round=40, page_keys=10)
CALM_TICKS = 10
MOVES = ("upload",) * 6 + (
    "overwrite",
    "overwrite",
    "delete",
    "delete newest",
    "long upload",
    "wait",
    "wait",
    "tick",
    "tick",
)


@dataclass
class Stock:
    """A sensor on stock `get_objects`. handed: (key, etag, last-modified) that it gave; raised: ticks that failed."""

    world: World
    by_key: bool
    cursor: Any = None
    handed: set[tuple[str, str, datetime]] = field(default_factory=set)
    raised: int = 0

    def tick(self, crash: bool) -> None:
        """One tick; a crash comes after the objects were handed on, and before the cursor is kept."""
        since = {"since_key": self.cursor} if self.by_key else {"since_last_modified": self.cursor}
        try:
            objects = get_objects(self.world.bucket, prefix="uploads/", client=self.world.uploads().store.s3.client, **since)
        except Exception:  # it raises bare ones
            self.raised += 1
            return
        self.handed |= {(item["Key"], item["ETag"].strip('"'), item["LastModified"]) for item in objects}
        if objects and not crash:
            self.cursor = objects[-1]["Key" if self.by_key else "LastModified"]

    def lost(self) -> int:
        """Objects that a reader of the bucket gets, and that were never handed on."""
        return sum((item.key, item.etag, item.last_modified) not in self.handed for item in self.world.current())


@dataclass
class Ours:
    """Darkroom's sensor, listing."""

    world: World
    database: Postgres
    cursor: str | None = None

    def tick(self, crash: bool) -> None:
        """One tick; a crash comes after the ledger's commit, and before the cursor is kept."""
        cursor, today = Cursor.from_json(self.cursor), self.world.now.date()
        listing = list_uploads(self.world.uploads(), self.database, cursor, today, LIMITS, time.monotonic() + 20)
        self.cursor = self.cursor if crash else listing.cursor.to_json()

    def walk(self) -> None:
        """The nightly walk."""
        reconciliation.reconcile(self.database, self.world.uploads(), "uploads/", upload_day)

    def unknown(self, versions: list[Any]) -> int:
        """Of these versions, how many the ledger does not have."""
        rows = self.database.read("select key, version_id from objects where bucket = $1", (self.world.bucket,)).rows()
        return len({(version.key, version.version_id) for version in versions} - set(rows))


def play(script: int, moves: int, database: Postgres) -> Counter[str]:
    """One script, to its end. Returns what there was and what was lost."""
    random, world = Random(script), World(f"script-{script}")
    stocks = {"stock by time": Stock(world, by_key=False), "stock by key": Stock(world, by_key=True)}
    darkroom = Ours(world, database)
    sensors: list[Callable[[bool], None]] = [*(stock.tick for stock in stocks.values()), darkroom.tick]

    def tick(fails: bool = False, crash: bool = False) -> None:
        for sensor in sensors:
            world.failing = int(fails)
            sensor(crash)
            world.failing = 0

    for number in range(moves):
        _move(world, random, number, tick)
    world.now += timedelta(minutes=1)
    for _ in range(CALM_TICKS):
        tick()
    counts = Counter({"objects": len(world.current()), "versions": len(world.surviving())})
    for name, stock in stocks.items():
        counts[f"{name}: objects lost"] = stock.lost()
        counts[f"{name}: ticks that raised"] = stock.raised
    counts["Darkroom: objects lost"] = darkroom.unknown(world.current())
    darkroom.walk()
    counts["Darkroom: versions lost after the nightly walk"] = darkroom.unknown(world.surviving())
    return counts


def _move(world: World, random: Random, number: int, tick: Callable[..., None]) -> None:
    move = random.choice(MOVES)
    key = f"uploads/{world.now.date() - timedelta(days=random.choice((0, 0, 0, 1, 9)))}/{random.randrange(9)}/{number}.jpg"
    current = world.current()
    if move == "tick":
        tick(fails=random.random() < 0.1, crash=random.random() < 0.1)
    elif move == "wait":
        world.now += timedelta(seconds=random.choice((0.2, 1, 15, 3600)))
    elif move == "long upload":
        world.put(key, str(number), took=timedelta(minutes=random.randrange(1, 600)))
    elif move == "upload" or not current:
        world.put(key, str(number))
    elif move == "overwrite":
        world.put(random.choice(current).key, str(number))
    else:
        newest = max(current, key=lambda item: (item.last_modified, item.key))
        world.delete(newest.key if move == "delete newest" else random.choice(current).key)


def main() -> None:
    """Play all scripts on a server of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--scripts", type=int, help="(20; with --quick 3)")
    parser.add_argument("--moves", type=int, default=120)
    options = parser.parse_args()
    scripts = options.scripts or (3 if options.quick else 20)
    totals: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, Services(Path(folder) / "home") as endpoints:
        database = Postgres(url=endpoints.postgres_url)
        database.migrate()
        for script in range(scripts):
            outcome = play(script, options.moves, database)
            totals.update({**dict.fromkeys(outcome, 0), **outcome})
    note = f"{scripts} scripts of {options.moves} moves"
    counts = [
        Figure(name, count, "", at_most(0) if name.startswith("Darkroom") else None, note) for name, count in totals.items()
    ]
    finish(options, "stock_sensor", counts)


if __name__ == "__main__":
    main()

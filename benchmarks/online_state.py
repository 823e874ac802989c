"""The states behind online features: building, streaming and asking them, beside daily snapshots.

    python -m benchmarks.online_state [--users 1000000] [--asks 1000000]

Seeded logs of 60 days, 20 events a user, 1 % delivered twice. States are built as of the end of day 50 and published in an
SQLite file; the events and photos of the next 36 hours are applied in batches of 2,000. Then users are asked for at random
moments of these hours, and every answer is compared with the offline features of all events. The rival answers from daily
snapshots of the offline features, by polars' `join_asof`, as a feature store without streams does. Times are of the CPU.
"""

import argparse
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import polars as pl

from benchmarks.figures import Figure, add_options, at_least, at_most, finish
from benchmarks.join_inputs import START, TIME, write_inputs
from pipeline_assets.features.history import FEATURES
from pipeline_assets.features.user_features import LOOKBACK_DAYS, user_features_as_of
from pipeline_assets.serving.state.answers import features_at
from pipeline_assets.serving.state.building import states_of_photos, states_of_users
from pipeline_assets.serving.state.deliveries import buckets
from pipeline_assets.serving.state.events import add_photos, apply, missing_keys, missing_keys_of_photos
from pipeline_assets.serving.state.layout import FORMAT, UserState, user_key
from pipeline_assets.serving.state.period import HORIZON, Period
from resources.online.contract import OnlineStore
from resources.online.publication import publish
from resources.online.sqlite import SqliteStore

USERS, ASKS, EVENTS_A_USER, BATCH = 1_000_000, 1_000_000, 20, 2_000
T0 = START + timedelta(days=50)
JOINED = START - timedelta(days=90)
PERIOD = Period(T0, HORIZON)
T = TypeVar("T")
Items = dict[bytes, bytes | None]


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """The result, and the seconds of CPU that it took."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def build(store: OnlineStore, users: pl.DataFrame, events: pl.LazyFrame, photos: pl.LazyFrame) -> None:
    """Publish the states of T0."""
    recent = pl.col("day") >= (T0 - timedelta(days=LOOKBACK_DAYS)).date()
    events, photos = events.filter(recent, pl.col("arrived_at") < T0), photos.filter(recent, pl.col("posted_at") < T0)
    built = [
        (b"u:", states_of_users(users, events, photos, PERIOD)),
        (b"p:", states_of_photos(events, photos, PERIOD)),
        (b"e:", buckets(events, PERIOD)),
    ]
    publish(store, built, "t0", owner="benchmark", t0=T0, horizon_s=HORIZON // timedelta(seconds=1), format=FORMAT)


def read(store: OnlineStore, wanted: Callable[[Items], Iterator[list[bytes]]]) -> Items:
    """The values that a batch needs."""
    values: Items = {}
    for keys in wanted(values):
        values.update(zip(keys, store.read(keys)[1], strict=True))
    return values


def stream(store: OnlineStore, events: pl.DataFrame, photos: pl.DataFrame) -> tuple[float, float]:
    """Apply photos and events as they arrived. Returns seconds with the store's reads and writes, and without."""
    start, pure_s, position = time.process_time(), 0.0, 0
    lease = store.lease("benchmark", 3600)
    assert lease is not None
    for some in photos.iter_slices(BATCH):
        values = read(store, lambda values, some=some: missing_keys_of_photos(some, values, PERIOD))
        store.apply(lease, add_photos(some, values, PERIOD), position="0")
    for some in events.iter_slices(BATCH):
        values = read(store, lambda values, some=some: missing_keys(some, values, PERIOD))
        _, s = timed(
            lambda some=some, values=values: (list(missing_keys(some, values, PERIOD)), apply(some, values, PERIOD))
        )
        changes, position, pure_s = apply(some, values, PERIOD), position + some.height, pure_s + s
        store.apply(lease, changes, position=str(position))
    store.release(lease)
    return time.process_time() - start - pure_s, pure_s


def asked(users: int, count: int, seed: int) -> pl.DataFrame:
    """Random users and moments of the horizon, in order."""
    rng = random.Random(seed)
    whole = HORIZON // timedelta(microseconds=1)
    rows = [(rng.randrange(users), T0 + timedelta(microseconds=rng.randrange(whole + 1))) for _ in range(count)]
    asks = pl.DataFrame(rows, schema={"user_id": pl.Int64, "as_of": TIME}, orient="row").sort("as_of", "user_id")
    return asks.with_row_index("row").with_columns(joined_at=pl.lit(JOINED).cast(TIME))


def answers(store: OnlineStore, asks: pl.DataFrame) -> tuple[pl.DataFrame, float, float]:
    """FEATURES of all asks from the store; microseconds of an answer from packed bytes, and with its read."""
    pairs = asks.select("user_id", "as_of").rows()

    def each(pairs: Iterable[tuple[int, object]]) -> Iterator[dict[str, int | float | None]]:
        for user_id, moment in pairs:
            _, [value] = store.read([user_key(user_id)])
            yield features_at(UserState.unpack(value or b""), PERIOD, moment)  # type: ignore[arg-type]

    rows, all_s = timed(lambda: list(each(pairs)))
    some = pairs[:: max(len(pairs) // 20_000, 1)]
    values = [store.read([user_key(user_id)])[1][0] or b"" for user_id, _ in some]
    _, pure_s = timed(
        lambda: [features_at(UserState.unpack(v), PERIOD, at) for (_, at), v in zip(some, values, strict=True)]
    )
    types = {name: pl.Float32 if name == "mean_popularity_30d" else pl.Int32 for name in FEATURES}
    return pl.DataFrame(rows, schema=types), 1e6 * pure_s / len(some), 1e6 * all_s / len(pairs)


def different(left: pl.DataFrame, right: pl.DataFrame) -> int:
    """Rows in which a feature differs."""
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_right")) for name in FEATURES)
    return left.hstack(right.rename({name: f"{name}_right" for name in FEATURES})).select((~same).sum()).item()


def snapshots(asks: pl.DataFrame, events: pl.LazyFrame, photos: pl.LazyFrame) -> pl.DataFrame:
    """FEATURES of the asks as the newest daily snapshot has them; days since joining are computed when asked."""
    ends = pl.DataFrame({"as_of": [T0, T0 + timedelta(days=1)]}, schema={"as_of": TIME})
    entities = asks.select("user_id", "joined_at").unique().join(ends, how="cross")
    daily = user_features_as_of(entities.lazy(), events, photos).collect().sort("as_of").drop("joined_at")
    found = asks.sort("as_of").join_asof(daily.drop("days_since_joining"), on="as_of", by="user_id", check_sortedness=False)
    age = (pl.col("as_of") - pl.col("joined_at")).dt.total_days().cast(pl.Int32)
    return found.sort("row").with_columns(days_since_joining=age).select(FEATURES)


def measure(folder: Path, users: int, asks: int, seed: int) -> list[Figure]:
    """Generate, build, stream, ask, compare."""
    write_inputs(folder, users * EVENTS_A_USER, users, users, seed)
    events, photos = pl.scan_parquet(folder / "event_log.parquet"), pl.scan_parquet(folder / "photo_metadata.parquet")
    everyone = pl.DataFrame({"user_id": range(users)}).with_columns(joined_at=pl.lit(JOINED).cast(TIME))
    store = SqliteStore(folder / "online.db")
    _, build_s = timed(lambda: build(store, everyone, events, photos))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    _, again_s = timed(lambda: build(store, everyone, events, photos))
    generation = store.current()
    assert generation is not None
    size = sum(len(value or b"") for key in (user_key(user) for user in range(1000)) for value in store.read([key])[1])
    soon = events.filter(pl.col("arrived_at") >= T0, pl.col("arrived_at") < PERIOD.end).sort("arrived_at").collect()
    posted = photos.filter(pl.col("posted_at") >= T0, pl.col("posted_at") < PERIOD.end).collect()
    other_s, pure_s = stream(store, soon, posted)
    questions = asked(users, asks, seed)
    given, answer_us, read_us = answers(store, questions)
    offline, offline_s = timed(lambda: user_features_as_of(questions.lazy(), events, photos).collect())
    truth = offline.sort("row").select(FEATURES)
    wrong = different(snapshots(questions, events, photos), truth)
    store.close()
    return [
        Figure("answers that differ from the offline features", different(given, truth), "", at_most(0), f"of {asks:,}"),
        Figure("the same of daily snapshots, by join_asof", 100 * wrong / asks, "%"),
        Figure("build and publish from scratch", build_s, "s CPU", at_most(180), f"{users:,} users"),
        Figure("build, peak memory", peak_mb, "MB"),
        Figure("publish what is there already", again_s, "s CPU", at_most(1)),
        Figure("a user's value", size / 1000, "bytes"),
        Figure("all values", generation.bytes / 1e6, "MB", note="with photos and ids of events"),
        Figure("stream, without a store", soon.height / pure_s, "events/s", at_least(20_000), f"{soon.height:,} events"),
        Figure("stream into SQLite", soon.height / other_s, "events/s", note="with reads and writes of the store"),
        Figure("one answer from packed bytes", answer_us, "µs CPU"),
        Figure("one answer with its read from SQLite", read_us, "µs CPU"),
        Figure("the offline features of the same asks", offline_s, "s CPU", note="all at once"),
    ]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--users", type=int, help=f"{USERS:,}; with --quick a fiftieth")
    parser.add_argument("--asks", type=int, help=f"{ASKS:,}; with --quick a fiftieth")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    shrunk = 50 if options.quick else 1
    users, asks = options.users or USERS // shrunk, options.asks or ASKS // shrunk
    with tempfile.TemporaryDirectory() as name:
        finish(options, "online_state", measure(Path(name), users, asks, options.seed), {"users": users, "asks": asks})


if __name__ == "__main__":
    main()

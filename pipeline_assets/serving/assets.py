"""The asset of the states behind online features, and its publication in the online store."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice

import polars as pl

from pipeline_assets.features import event_log as log_module
from pipeline_assets.features import history, popularity, postings, windows
from pipeline_assets.features import users as user_rows
from pipeline_assets.features.assets import LOOKBACK, USERS_SQL, users_joined
from pipeline_assets.framework.declaration import RunOfDays, Table
from pipeline_assets.framework.table_asset import table_asset
from pipeline_assets.serving.schemas import OnlineFeatures
from pipeline_assets.serving.state import building, deliveries, layout, period, ragged, steps, user_states
from pipeline_assets.serving.state.period import HORIZON, Period
from resources.database import ledger
from resources.database.contract import Database
from resources.online.publication import publish
from resources.online.resource import OnlineStores

ROWS_AT_ONCE = 100_000


def _period(day: date) -> Period:
    return Period(datetime.combine(day, time(), UTC) + timedelta(days=1), HORIZON)


def _of_day(rows: pl.LazyFrame, day: date) -> pl.LazyFrame:
    """The rows that a day reads, of those that its run reads."""
    return rows.filter(pl.col("day").is_between(day + timedelta(days=LOOKBACK.start), day))


def _publish(
    run: RunOfDays, rows: Iterable[pl.DataFrame], digests: Mapping[date, str], online: OnlineStores, database: Database
) -> None:
    """Make the newest committed day the store's next generation, unless the store has a later one.

    If the store has this one already, it is built again in a forced run only.
    """
    day = max(digests)
    of_day = _period(day)
    events, photos = (_of_day(run.inputs[name], day) for name in ("event_log", "photo_metadata"))
    read = (
        run.entries.filter(pl.col("asset") != run.asset).select("asset", pl.col("day").cast(pl.String), "digest").sort("*")
    )
    store = online.open()
    try:
        generation = publish(
            store,
            [
                (b"u:", _users_of(rows, day)),
                (b"p:", building.states_of_photos(events, photos, of_day)),
                (b"e:", deliveries.buckets(events, of_day)),
            ],
            f"{day} {digests[day]} {run.code_version} {ledger.digest_of(' '.join(row) for row in read.rows())}"
            + (f" again by {run.run_id}" if run.is_forced else ""),
            owner=f"online_features {run.run_id}",
            t0=of_day.t0,
            horizon_s=HORIZON // timedelta(seconds=1),
            format=layout.FORMAT,
        )
    finally:
        store.close()
    if generation is None:
        run.log.info(f"the online store has the states of a later day than {day}, and keeps them")
    elif generation.published_at is None:
        run.log.info(f"generation {generation.number} of {day} waits for `darkroom stream`, which publishes it")
    else:
        run.log.info(f"generation {generation.number} of the online store has the states of {day}")


def _users_of(rows: Iterable[pl.DataFrame], day: date) -> Iterator[tuple[bytes, bytes]]:
    for part in rows:
        of_day = part.filter(pl.col("day") == day).select("user_id", pl.col("state_base64").str.decode("base64"))
        for user_id, state in of_day.iter_rows():
            yield layout.user_key(user_id), state


@table_asset(
    schema=OnlineFeatures,
    group="serving",
    inputs={"event_log": LOOKBACK, "photo_metadata": LOOKBACK},
    sources=users_joined,
    code=[
        *(building, deliveries, layout, period, ragged, steps, user_states),
        *(history, log_module, popularity, postings, user_rows, windows),
    ],
    kinds={"polars", "redis"},
    days="newest",
    days_per_run=1,
    effect=_publish,
    lineage={
        "joined_at": [("photo_metadata", "user_joined_at")],
        "state_base64": [
            ("event_log", "kind"),
            ("event_log", "at"),
            ("event_log", "arrived_at"),
            ("photo_metadata", "posted_at"),
        ],
    },
)
def online_features(
    run: RunOfDays, event_log: pl.LazyFrame, photo_metadata: pl.LazyFrame, database: Database, online: OnlineStores
) -> Iterator[Table]:
    """Every user's state at the end of the day, from which features of any moment of the next 36 hours follow exactly.

    The newest day becomes the next generation of the online store, in one step, with the states of photos and events that
    `darkroom stream` needs; only values that differ are written. An older day changes the table alone. A run that dies
    before the store has its generation is repeated, since the ledger enters the day afterwards.
    """
    valid_users, _ = user_rows.judge(database.read(USERS_SQL), run.days)
    for day in run.days:
        of_day = _period(day)
        joined = valid_users.filter(pl.col("joined_at") < of_day.t0)
        items = building.states_of_users(joined, _of_day(event_log, day), _of_day(photo_metadata, day), of_day)
        yield Table(_frames(items, day, of_day))


def _frames(items: Iterator[tuple[bytes, bytes]], day: date, of_day: Period) -> Iterator[pl.DataFrame]:
    empty = OnlineFeatures.create_empty()
    yield empty
    joined_at = pl.col("state").bin.slice(16, 8).bin.reinterpret(dtype=pl.Int64, endianness="little")
    while some := list(islice(items, ROWS_AT_ONCE)):
        packed = pl.DataFrame(
            {"user_id": [int(key[2:]) for key, _ in some], "state": [value for _, value in some]},
            schema={"user_id": pl.Int64, "state": pl.Binary},
        )
        yield packed.select(
            "user_id",
            day=pl.lit(day),
            as_of=pl.lit(of_day.t0, empty.schema["as_of"]),
            joined_at=pl.when(joined_at != layout.MISSING).then(pl.from_epoch(joined_at, "us").dt.replace_time_zone("UTC")),
            state_base64=pl.col("state").bin.encode("base64"),
            state_bytes=pl.col("state").bin.size().cast(pl.Int32),
        ).select(empty.columns)

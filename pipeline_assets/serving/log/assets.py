"""The assets of what was served."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import polars as pl

from pipeline_assets.exploration.profiles import day_tests
from pipeline_assets.exploration.profiles import drift as comparing
from pipeline_assets.features import users
from pipeline_assets.features.assets import USERS_SQL
from pipeline_assets.features.user_features import LOOKBACK_DAYS
from pipeline_assets.framework.declaration import RunOfDays, Table
from pipeline_assets.framework.partitions import Days
from pipeline_assets.framework.table_asset import table_asset
from pipeline_assets.serving.log import checks, drift, quality, replay, segments
from pipeline_assets.serving.log.schemas import ServedDrift, ServedQuality, ServingLog
from pipeline_assets.training.schemas import TrainingTable
from resources.database import ledger
from resources.database.contract import Database
from resources.errors import ObjectError, TableMissing
from resources.lake.lake import Lake
from resources.objects.object_info import ObjectInfo
from resources.objects.resource import Objects

PREFIX = "serving/"
LOOKBACK = Days(-LOOKBACK_DAYS, 0)
NEAR = Days(-1, 1)
"""Days of upload of the photos that are asked for on a day: a posting may be a day from its upload."""


def _segments(lake_bucket: Objects, days: Sequence[date]) -> dict[date, list[ObjectInfo]]:
    """The segments of these days, ascending by key."""
    found: dict[date, list[ObjectInfo]] = {day: [] for day in days}
    last = max(days)
    # With its slash: SeaweedFS takes the name of a folder as the folder with all that is in it.
    for info in lake_bucket.store.list(PREFIX, start_after=f"{PREFIX}{min(days)}/"):
        name = info.key.removeprefix(PREFIX)[:10]
        if name > str(last):
            break
        if (day := _day(name)) in found and day is not None:
            found[day].append(info)
    return found


def _day(name: str) -> date | None:
    try:
        return date.fromisoformat(name)
    except ValueError:
        return None


def _segments_changed(days: Sequence[date], lake_bucket: Objects) -> Mapping[date, str]:
    """The segments of each day; their names are those of their content."""
    found = _segments(lake_bucket, days)
    return {day: ledger.digest_of(info.key for info in infos) for day, infos in found.items() if infos}


@table_asset(
    schema=ServingLog,
    group="serving",
    inputs={"event_log": LOOKBACK, "photo_metadata": LOOKBACK},
    sources=_segments_changed,
    code=[segments, replay],
    quarantines=True,
    checks=[checks.SERVING_SKEW],
    kinds={"s3", "polars"},
    pool="s3",
    days="logs",
    days_per_run=60,
)
def serving_log(
    run: RunOfDays, event_log: pl.LazyFrame, photo_metadata: pl.LazyFrame, lake_bucket: Objects, database: Database
) -> Iterator[Table]:
    """What was asked of `darkroom serve` and answered, by the day of the ask; sampled by DARKROOM_SERVING_LOG_SHARE.

    From the segments of JSON lines that the servers put under `serving/{day}/` of the lake. Texts and photos are not logged.
    Each ask is replayed with the offline features, without tolerance. The days are those of the event log.
    """
    found = _segments(lake_bucket, run.days)
    for day in run.days:
        fetched = lake_bucket.store.get_many(found[day], key=lambda info: info.key)
        rows, rejected = segments.rows_of(day, (_whole(info.key, data) for info, data in fetched))
        if not rows.is_empty():
            known, _ = run.once("users", lambda: users.judge(database.read(USERS_SQL), run.days))
            rows = rows.update(replay.replayed(rows, known, event_log, photo_metadata), on="ask_id")
        yield Table(rows, rejected=rejected)


def _whole(key: str, data: bytes | ObjectError) -> tuple[str, bytes]:
    if isinstance(data, ObjectError):
        raise data
    return key, data


@table_asset(
    schema=ServedQuality,
    group="serving",
    inputs={"serving_log": Days(), "training_table": NEAR},
    code=[quality],
    kinds={"polars"},
    days="logs",
    days_per_run=60,
    lineage={
        "r2": [("serving_log", "popularity"), ("training_table", "popularity")],
        "coverage": [("serving_log", "low"), ("serving_log", "high"), ("training_table", "popularity")],
    },
)
def served_quality(run: RunOfDays, serving_log: pl.LazyFrame, training_table: pl.LazyFrame) -> pl.DataFrame:
    """How good the answers of a day were, by model: R2, bias, calibration, and how often the interval held the label.

    A label comes seven days after the posting; a day is computed again when its labels are there. An ask meets the posting
    of the same photo by the same user.
    """
    asks = serving_log.filter(pl.col("popularity").is_not_null()).collect()
    near = pl.col("day").is_between(run.days[0] + timedelta(NEAR.start), run.days[-1] + timedelta(NEAR.end))
    labels = training_table.filter(near).select("user_id", "sha256", "posted_at", "popularity").collect()
    return quality.quality(asks, labels)


@table_asset(
    schema=ServedDrift,
    group="serving",
    inputs={"serving_log": Days()},
    code=[drift, comparing, day_tests],
    checks=[checks.LIKE_TRAINING],
    kinds={"polars", "numpy"},
    days="logs",
    days_per_run=60,
    lineage={
        "psi": [("serving_log", "as_of"), ("serving_log", "pin_identity")],
        "null_share": [("serving_log", "followers_at_post")],
    },
)
def served_drift(run: RunOfDays, serving_log: pl.LazyFrame, lake: Lake) -> pl.DataFrame:
    """How far each feature of a day's predictions is from the rows that their model was trained on.

    The measures and tests are those of `drift`, with the pinned training set in place of the days before. A pin's identity
    is that of its rows: which ones they are is read from `training_pin` and the lake when they are compared.
    """
    asks = serving_log.filter(pl.col("pin_identity").is_not_null()).collect()
    pins = _pins(lake, asks["pin_identity"].unique())
    found: list[pl.DataFrame] = [ServedDrift.create_empty()]
    for (day, pin), of_pin in asks.group_by("day", "pin_identity", maintain_order=True):
        trained_on, reason = _trained_on(lake, pins.get(pin))
        compared = drift.drift_of(day, pin, of_pin, trained_on)
        found.append(compared.with_columns(reason=pl.lit(reason)) if reason else compared)
    return pl.concat(found)


def _pins(lake: Lake, identities: pl.Series) -> dict[str, dict[str, Any]]:
    """Rows of `TrainingPin` by identity; of nights with the same one, the newest, whose version is kept for longest."""
    if not lake.exists("training_pin"):
        return {}
    rows = lake.scan("training_pin").filter(pl.col("identity").is_in(identities.implode())).sort("day").collect()
    return {pin["identity"]: pin for pin in rows.iter_rows(named=True)}


def _trained_on(lake: Lake, pin: Mapping[str, Any] | None) -> tuple[pl.LazyFrame, str | None]:
    """The rows of a pin that a model learns from; none, with the reason, if they can't be read any more."""
    nothing = TrainingTable.create_empty().lazy()
    if pin is None:
        return nothing, "its pin is of no night"
    days = [pin["first_day"] + timedelta(number) for number in range((pin["last_day"] - pin["first_day"]).days + 1)]
    try:
        rows = lake.scan("training_table", days, pin["table_version"])
    except TableMissing:
        return nothing, "the rows of its pin were cleaned up"
    return rows.filter(pl.col("popularity").is_not_null()), None

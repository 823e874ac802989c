"""The feature assets: a user as known at the end of each day."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl

from pipeline_assets.features import event_log as log_module
from pipeline_assets.features import history, popularity, windows
from pipeline_assets.features import user_features as features
from pipeline_assets.features.schemas import UserFeatures
from pipeline_assets.partitions import Days
from pipeline_assets.table_asset import RunOfDays, table_asset
from resources.database import Database, Twin

LOOKBACK = Days(-features.LOOKBACK_DAYS, 0)

USERS_BY_DAY_SQL = Twin(
    postgres="""
with joined as (
    select
        (joined_at at time zone 'UTC')::date as day,
        sum(hashtextextended(user_id::text || joined_at::text, 0)::numeric) as digest
    from users group by 1
)
select day, (sum(digest) over (order by day))::text from joined order by day
""",
    sqlite="""
with joined as (select substr(joined_at, 1, 10) as day, user_id, joined_at from users)
select distinct day as "day [date]", hash_sum(user_id || ' ' || joined_at) over (order by day) as "digest [text]"
from joined order by day
""",
)


def _users_joined(days: Sequence[date], postgres: Database) -> Mapping[date, str]:
    """For each day a digest of the users who had joined by its end: a later one changes no earlier day."""
    changes = postgres.read(USERS_BY_DAY_SQL).rows()
    joined = [day for day, _ in changes]
    return {day: changes[found - 1][1] for day in days if (found := bisect_right(joined, day))}


@table_asset(
    schema=UserFeatures,
    group="features",
    inputs={"event_log": LOOKBACK, "photo_metadata": LOOKBACK},
    sources=_users_joined,
    code=[features, history, log_module, popularity, windows],
    kinds={"polars"},
    days_per_run=60,
    automatic=True,
    lineage={
        "user_id": [("event_log", "user_id"), ("photo_metadata", "user_id")],
        "days_since_joining": [("photo_metadata", "user_joined_at")],
        **{
            name: [("event_log", "kind"), ("event_log", "at"), ("event_log", "arrived_at")] for name in features.FEATURES[1:]
        },
    },
)
def user_features(run: RunOfDays, event_log: pl.LazyFrame, photo_metadata: pl.LazyFrame, postgres: Database) -> pl.LazyFrame:
    """Every user as known at the end of the day: logins, posts, likes, and how popular their earlier photos were.

    All windows are bounded (30 days), so a day's work does not grow with history. An event counts from the moment that it
    has happened and has arrived: a late log line changes no earlier moment. The same function serves the training table.
    """
    users = postgres.read("select user_id, joined_at from users").lazy()
    return features.user_features_for_days(run.days, event_log, photo_metadata, users)

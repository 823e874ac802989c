"""The feature assets: users as of the end of each day."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl

from pipeline_assets.features import event_log as log_module
from pipeline_assets.features import history, popularity, users, windows
from pipeline_assets.features import user_features as features
from pipeline_assets.features.schemas import UserFeatures
from pipeline_assets.framework.declaration import RunOfDays, Table
from pipeline_assets.framework.partitions import Days
from pipeline_assets.framework.table_asset import table_asset
from resources.database import fixed_form
from resources.database.contract import Database, Twin

LOOKBACK = Days(-features.LOOKBACK_DAYS, 0)

_USERS = Twin(
    postgres="""
select
    user_id,
    case when count(*) = count(joined_at) and min(joined_at) between '0001-01-01 00:00Z' and '9999-12-31 00:00Z'
        then (extract(epoch from min(joined_at)) * 1000000)::bigint end as joined_us,
    case when count(*) = count(joined_at) and max(joined_at) between '0001-01-01 00:00Z' and '9999-12-31 00:00Z'
        then (extract(epoch from max(joined_at)) * 1000000)::bigint end as joined_last_us
from users group by user_id
""",
    sqlite="""
select
    case when typeof(user_id) = 'integer' then user_id end as user_id,
    case when count(*) = count(joined_us) then min(joined_us) end as joined_us,
    case when count(*) = count(joined_us) then max(joined_us) end as joined_last_us
from (select user_id, microseconds(cast(joined_at as blob)) as joined_us from users) group by 1
""",
)
USERS_SQL = fixed_form.rows(_USERS, users.COLUMNS)
_JOINED = f"""
select joined_us / 86400000000 as day, user_id, joined_us from ({{}}) found
where user_id >= 0 and joined_us = joined_last_us and joined_us >= 0 and joined_us < {users.LATEST_US}
"""  # noqa: S608
USERS_BY_DAY_SQL = Twin(
    postgres=f"""
with joined as (
    select day, sum(hashtextextended(user_id::text || ' ' || joined_us::text, 0)::numeric) as digest
    from ({_JOINED.format(_USERS.postgres)}) users group by day
)
select day, (sum(digest) over (order by day))::text as digest from joined order by day
""",  # noqa: S608
    sqlite=f"""
select distinct day as "day [bigint]", hash_sum(user_id || ' ' || joined_us) over (order by day) as "digest [text]"
from ({_JOINED.format(_USERS.sqlite)}) users order by day
""",  # noqa: S608
)


def users_joined(days: Sequence[date], database: Database) -> Mapping[date, str]:
    """For each day, a digest of the users who had joined by its end: later users change no earlier day."""
    changes = database.read(USERS_BY_DAY_SQL).with_columns(pl.col("day").cast(pl.Int32).cast(pl.Date)).rows()
    joining_days = [day for day, _ in changes]
    return {day: changes[count - 1][1] for day in days if (count := bisect_right(joining_days, day))}


@table_asset(
    schema=UserFeatures,
    group="features",
    inputs={"event_log": LOOKBACK, "photo_metadata": LOOKBACK},
    sources=users_joined,
    code=[features, history, log_module, popularity, windows, users],
    quarantines=True,
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
def user_features(run: RunOfDays, event_log: pl.LazyFrame, photo_metadata: pl.LazyFrame, database: Database) -> Table:
    """Every user as of the end of the day: logins, posts, likes, and the popularity of their earlier photos.

    All windows are bounded (30 days), so a day's work does not grow with history. An event counts once it has happened and
    has arrived: a late log line changes no earlier moment. The same function serves the training table. Users without a
    valid joining time in the database go to `user_features_rejected`.
    """
    valid_users, rejected = users.judge(database.read(USERS_SQL), run.days)
    return Table(features.user_features_for_days(run.days, event_log, photo_metadata, valid_users.lazy()), rejected=rejected)

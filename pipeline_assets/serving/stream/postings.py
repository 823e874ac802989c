"""Photos and users that the application's database has since the states were built: polled, and judged as the assets do."""

import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl

from pipeline_assets.features import users
from pipeline_assets.ingestion import photo_rows
from pipeline_assets.serving.state.period import microseconds
from resources.database import fixed_form
from resources.database.contract import Database, Twin

_FOLDER = Path(photo_rows.__file__).parent
_PHOTOS = fixed_form.rows(
    Twin(
        postgres=(_FOLDER / "photo_metadata.sql").read_text(),
        sqlite=(_FOLDER / "photo_metadata.sqlite.sql").read_text(),
    ),
    photo_rows.COLUMNS,
)
_USERS = fixed_form.rows(
    Twin(
        postgres="""
select user_id, (extract(epoch from min(joined_at)) * 1000000)::bigint as joined_us,
    (extract(epoch from max(joined_at)) * 1000000)::bigint as joined_last_us
from users
where user_id in (
    select user_id from users where joined_at >= to_timestamp($1::bigint / 1000000.0) and joined_at < '9999-12-31 00:00Z'
)
group by user_id
""",
        sqlite="""
select user_id, min(joined_us) as joined_us, max(joined_us) as joined_last_us
from (select user_id, microseconds(cast(joined_at as blob)) as joined_us from users)
where typeof(user_id) = 'integer'
group by user_id having max(joined_us) >= $1
""",
    ),
    users.COLUMNS,
)
SHARE = 0.05
"""Of the time, at most this is spent on polling."""


class Postings:
    """New photos and users. `fresh` gives each of them once, until `forget`."""

    def __init__(self, database: Database, every_s: float) -> None:
        self._database, self._every_s = database, every_s
        self._photos = pl.Series(dtype=pl.Int64)
        self._users = pl.Series(dtype=pl.Int64)
        self._due_s = 0.0

    def all(self, t0: datetime, today: date) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Photos (day, photo_id, user_id, posted_at) of the days about t0 and later, and users (user_id, joined_at).

        Users: of these photos, and those who joined since. Raises the database's errors.
        """
        days = (t0.date() - timedelta(days=1), today + timedelta(days=1))
        photos, _ = photo_rows.judge(self._database.read(_PHOTOS, days))
        since_us = microseconds(t0 - timedelta(days=1))
        joined, _ = users.judge(self._database.read(_USERS, (since_us,)), [])
        owners = photos.select("user_id", joined_at="user_joined_at")
        return (
            photos.select("day", "photo_id", "user_id", "posted_at"),
            pl.concat([joined, owners.cast(joined.schema)]).unique("user_id", keep="any"),
        )

    def fresh(self, t0: datetime, today: date) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """What is new, if it is time to look; it counts as given once the caller comes back."""
        if time.monotonic() < self._due_s:
            return
        began_s = time.monotonic()
        photos, joined = self.all(t0, today)
        self._due_s = began_s + max(self._every_s, (time.monotonic() - began_s) / SHARE)
        new_photos = photos.filter(~pl.col("photo_id").is_in(self._photos.implode()))
        new_users = joined.filter(~pl.col("user_id").is_in(self._users.implode()))
        if new_photos.height or new_users.height:
            yield new_photos, new_users
        self._photos, self._users = photos["photo_id"], joined["user_id"]

    def forget(self) -> None:
        """Give everything again, as to another generation."""
        self._photos, self._users, self._due_s = self._photos.clear(), self._users.clear(), 0.0

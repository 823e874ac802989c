"""Logs, photos and a store in memory, for tests that compare online states with the offline features."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import polars as pl

from pipeline_assets.features.history import FEATURES
from pipeline_assets.features.user_features import user_features_as_of
from pipeline_assets.serving.state.answers import features_at
from pipeline_assets.serving.state.building import states
from pipeline_assets.serving.state.events import add_photos, apply, missing_keys, missing_keys_of_photos
from pipeline_assets.serving.state.layout import UserState, user_key
from pipeline_assets.serving.state.period import Period

TIME = pl.Datetime("us", "UTC")
EVENT_TYPES = {
    "event_id": pl.String,
    "user_id": pl.Int64,
    "photo_id": pl.Int64,
    "kind": pl.String,
    "at": TIME,
    "arrived_at": TIME,
}
PHOTO_TYPES = {"day": pl.Date, "photo_id": pl.Int64, "user_id": pl.Int64, "posted_at": TIME}
USER_TYPES = {"user_id": pl.Int64, "joined_at": TIME}


class Store(dict[bytes, bytes | None]):
    """A store in memory, that its values are read from and written to as from any other."""

    def __init__(self, period: Period, items: Iterable[tuple[bytes, bytes]] = ()) -> None:
        super().__init__()
        self.period = period
        for key, value in items:
            assert key not in self, key
            self[key] = value

    def deliver(self, events: pl.DataFrame) -> None:
        values: dict[bytes, bytes | None] = {}
        for rounds, keys in enumerate(missing_keys(events, values, self.period), start=1):
            assert rounds <= 3
            values |= {key: self.get(key) for key in keys}
        self |= apply(events, values, self.period)

    def add_photos(self, photos: pl.DataFrame) -> None:
        values: dict[bytes, bytes | None] = {}
        for keys in missing_keys_of_photos(photos, values, self.period):
            values |= {key: self.get(key) for key in keys}
        self |= add_photos(photos, values, self.period)

    def ask(self, user_id: int, moment: datetime) -> dict[str, int | float | None]:
        value = self.get(user_key(user_id))
        return features_at(UserState.unpack(value) if value else UserState(), self.period, moment)


def built(users: pl.DataFrame, events: pl.DataFrame, photos: pl.DataFrame, period: Period) -> Store:
    return Store(period, states(users, events.lazy(), photos.lazy(), period))


def offline(asks: Sequence[tuple[int, datetime, datetime | None]], events: pl.DataFrame, photos: pl.DataFrame) -> list[dict]:
    """FEATURES of each ask (user_id, moment, joined_at), by the offline function."""
    schema = {"row": pl.Int64, "user_id": pl.Int64, "as_of": TIME, "joined_at": TIME}
    entities = pl.LazyFrame([(row, *ask) for row, ask in enumerate(asks)], schema=schema, orient="row")
    return (
        user_features_as_of(entities, events.lazy(), photos.lazy()).collect().sort("row").select(FEATURES).rows(named=True)
    )

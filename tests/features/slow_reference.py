"""User features by two nested loops over Python objects: slow, and meant to be seen to be right."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import log2

import polars as pl

DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
START = datetime(2025, 3, 1, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")
ENTITY_SCHEMA = {"row": pl.Int64, "user_id": pl.Int64, "as_of": TIME, "joined_at": TIME}


@dataclass(frozen=True)
class Event:
    event_id: str
    user_id: int
    photo_id: int | None
    kind: str
    at: datetime
    arrived_at: datetime

    @property
    def known_at(self) -> datetime:
        return max(self.at, self.arrived_at)

    @property
    def precedence(self) -> tuple[object, ...]:
        photo = (self.photo_id is None, self.photo_id or 0)
        return (self.known_at, self.arrived_at, self.at, self.user_id, photo, self.kind)


@dataclass(frozen=True)
class Photo:
    photo_id: int
    user_id: int
    posted_at: datetime


@dataclass(frozen=True)
class Entity:
    user_id: int
    as_of: datetime
    joined_at: datetime = START - 100 * DAY


def distinct(events: Iterable[Event]) -> list[Event]:
    first: dict[str, Event] = {}
    for event in events:
        if event.at > event.arrived_at + DAY:
            continue
        if event.event_id not in first or event.precedence < first[event.event_id].precedence:
            first[event.event_id] = event
    return list(first.values())


def views_of(photo: Photo, events: Iterable[Event], arrived_before: datetime) -> int:
    return sum(
        event.kind == "view"
        and event.photo_id == photo.photo_id
        and photo.posted_at <= event.at < photo.posted_at + 7 * DAY
        and event.arrived_at < arrived_before
        for event in distinct(events)
    )


def features_of(entity: Entity, events: list[Event], photos: list[Photo]) -> dict[str, object]:
    t = entity.as_of
    by_id = {photo.photo_id: photo for photo in photos if t - 37 * DAY <= photo.posted_at < t}

    def count(kind: str, days: int, received: bool = False) -> int:
        total = 0
        for event in distinct(events):
            if event.kind != kind or not (t - days * DAY <= event.at < t and event.arrived_at < t):
                continue
            photo = by_id.get(event.photo_id) if event.photo_id is not None else None
            if received:
                total += photo is not None and photo.user_id == entity.user_id != event.user_id
            else:
                total += event.user_id == entity.user_id
        return total

    popularities = [
        log2(views_of(photo, events, photo.posted_at + 7 * DAY) / 7 + 1)
        for photo in photos
        if photo.user_id == entity.user_id and t - 30 * DAY <= photo.posted_at + 7 * DAY < t
    ]
    return {
        "days_since_joining": max((t - entity.joined_at) // DAY, 0),
        "logins_1d": count("login", 1),
        "logins_7d": count("login", 7),
        "logins_30d": count("login", 30),
        "posts_30d": count("post", 30),
        "likes_given_30d": count("like", 30),
        "likes_received_30d": count("like", 30, received=True),
        "mean_popularity_30d": sum(popularities) / len(popularities) if popularities else None,
    }


def event_frame(events: Iterable[Event]) -> pl.LazyFrame:
    rows = [vars(event) | {"day": event.arrived_at.date(), "extra_json": None} for event in events]
    schema = {"day": pl.Date, "event_id": pl.String, "user_id": pl.Int64, "photo_id": pl.Int64, "kind": pl.String}
    return pl.LazyFrame(rows, schema=schema | {"at": TIME, "arrived_at": TIME, "extra_json": pl.String}, orient="row")


def photo_frame(photos: Iterable[Photo]) -> pl.LazyFrame:
    rows = [vars(photo) | {"day": photo.posted_at.date(), "user_joined_at": START - 100 * DAY} for photo in photos]
    schema = {"day": pl.Date, "photo_id": pl.Int64, "user_id": pl.Int64, "posted_at": TIME, "user_joined_at": TIME}
    return pl.LazyFrame(rows, schema=schema, orient="row")


def entity_frame(entities: Iterable[Entity]) -> pl.LazyFrame:
    rows = [vars(entity) | {"row": row} for row, entity in enumerate(entities)]
    return pl.LazyFrame(rows, schema=ENTITY_SCHEMA, orient="row")

"""Photos as PostgreSQL and SQLite have them: each odd row is rejected with its own reason, and its neighbours go on."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import pytest

from pipeline_assets.features import users
from pipeline_assets.features.assets import USERS_SQL, users_joined
from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.ingestion import photo_rows
from pipeline_assets.ingestion.assets import PHOTO_METADATA_SQL, _photos_changed
from pipeline_assets.ingestion.schemas import PhotoMetadata
from resources.database.contract import Database
from resources.database.postgres import Postgres
from resources.database.sqlite import Sqlite

DAY = date(2026, 2, 1)
NOON = "2026-02-01 12:00:00.000000"
JOINED = "2026-01-01 00:00:00.000000"
USER = {"user_id": 1, "joined_at": JOINED, "name": "ann", "followers": 5}
PHOTO = {
    "photo_id": 100,
    "user_id": 1,
    "key": "uploads/2026-02-01/1/a.jpg",
    "day": "2026-02-01",
    "posted_at": NOON,
    "title": "a cat",
    "location": None,
    "details": '{"followers": 3, "_session": "secret", "tags": ["x"]}',
}
ONLY_SQLITE = "a text that PostgreSQL can't hold, or a value of another type than its column's"


@pytest.fixture
def app(database: Database) -> Database:
    """The application's tables as views of its own may be: without keys, checks and not-nulls."""
    for table in ("simulated_truth", "photos", "users"):
        database.execute(f"drop table {table}")
    database.execute("create table users (user_id bigint, joined_at timestamptz, name text, followers bigint)")
    database.execute(
        "create table photos (photo_id bigint, user_id bigint, key text, day date, posted_at timestamptz, title text, "
        "location text, details jsonb)"
    )
    insert(database, "users", USER)
    insert(database, "photos", PHOTO)
    return database


def insert(database: Database, table: str, *rows: dict[str, Any]) -> None:
    for row in rows:
        marks = ", ".join(["%s"] * len(row))
        values = [value.replace(" ", "T") + "Z" if _is_time(database, value) else value for value in row.values()]
        database.execute(f"insert into {table} ({', '.join(row)}) values ({marks})", values)  # noqa: S608


def _is_time(database: Database, value: Any) -> bool:
    """PostgreSQL takes a time without a zone for one of its session."""
    return isinstance(database, Postgres) and isinstance(value, str) and len(value) == 26 and value[10] == " "


def judged(database: Database, first: date = DAY, last: date = DAY) -> tuple[pl.DataFrame, pl.DataFrame]:
    found = database.read(PHOTO_METADATA_SQL, (first, last))
    rows, rejected = photo_rows.judge(found)
    assert rows.height + rejected.height == found.height
    return PhotoMetadata.validate(rows), Rejected.validate(rejected)


def test_a_photo_of_the_database_is_a_row(app: Database) -> None:
    rows, rejected = judged(app)
    assert rejected.is_empty()
    assert rows.to_dicts() == [
        {
            "day": DAY,
            "photo_id": 100,
            "user_id": 1,
            "key": "uploads/2026-02-01/1/a.jpg",
            "posted_at": datetime(2026, 2, 1, 12, tzinfo=UTC),
            "title": "a cat",
            "location": None,
            "followers_at_post": 3,
            "user_joined_at": datetime(2026, 1, 1, tzinfo=UTC),
            "details_json": rows["details_json"][0],
        }
    ]
    assert json.loads(rows["details_json"][0]) == {"tags": ["x"]}


ODD = [
    ({"photo_id": None}, "bad_photo_id"),
    ({"photo_id": -1}, "bad_photo_id"),
    ({"user_id": None}, "bad_user_id"),
    ({"user_id": -1}, "bad_user_id"),
    ({"user_id": 99}, "no_user"),
    ({"user_id": 2}, "user_is_ambiguous"),
    ({"user_id": 3}, "bad_joined_at"),
    ({"user_id": 4}, "bad_joined_at"),
    ({"user_id": 5}, "joined_later"),
    ({"user_id": 6}, "user_is_ambiguous"),
    ({"key": None}, "bad_key"),
    ({"key": ""}, "bad_key"),
    ({"key": "k" * 70_000}, "bad_key"),
    ({"posted_at": None}, "bad_posted_at"),
    ({"posted_at": "0001-01-01 00:00:00.000000"}, "bad_posted_at"),
    ({"posted_at": "1969-12-31 23:59:59.999999"}, "bad_posted_at"),
    ({"posted_at": "3000-01-01 00:00:00.000000"}, "bad_posted_at"),
    ({"title": None}, "bad_title"),
    ({"title": "t" * 70_000}, "bad_title"),
    ({"location": "l" * 70_000}, "bad_location"),
    ({"details": "null"}, "bad_details"),
    ({"details": "[]"}, "bad_details"),
    ({"details": '"text"'}, "bad_details"),
    ({"details": "12"}, "bad_details"),
    ({"details": "true"}, "bad_details"),
    ({"details": json.dumps({"a": "x" * 1_100_000})}, "bad_details"),
    ({"details": '{"followers": 1e30}'}, "bad_followers"),
    ({"details": '{"followers": -1}'}, "bad_followers"),
    ({"details": '{"followers": -1e30}'}, "bad_followers"),
    ({"details": '{"followers": ' + "9" * 60 + "}"}, "bad_followers"),
    ({"details": '{"followers": 9223372036854775808}'}, "bad_followers"),
]
ODD_OF_POSTGRES = [
    ({"posted_at": "infinity"}, "bad_posted_at"),
    ({"posted_at": "-infinity"}, "bad_posted_at"),
    ({"posted_at": "294276-12-31T23:59:59Z"}, "bad_posted_at"),
    ({"posted_at": "4713-01-01 BC"}, "bad_posted_at"),
    ({"user_id": 7}, "bad_joined_at"),
    ({"user_id": 8}, "user_is_ambiguous"),
]
ODD_OF_SQLITE = [
    ({"photo_id": "many"}, "bad_photo_id"),
    ({"photo_id": 1.5}, "bad_photo_id"),
    ({"user_id": "ann"}, "bad_user_id"),
    ({"key": b"\xff"}, "bad_key"),
    ({"posted_at": "yesterday"}, "bad_posted_at"),
    ({"posted_at": 12}, "bad_posted_at"),
    ({"posted_at": b"\xff\xfe"}, "bad_posted_at"),
    ({"title": "nul\0character"}, "bad_title"),
    ({"title": b"blob"}, "bad_title"),
    ({"location": "nul\0character"}, "bad_location"),
    ({"location": b"blob"}, "bad_location"),
    ({"details": "{"}, "bad_details"),
    ({"details": ""}, "bad_details"),
    ({"details": "{'a': NaN}"}, "bad_details"),
    ({"details": '{"a": NaN}'}, "bad_details"),
    ({"details": '{"a": Infinity}'}, "bad_details"),
    ({"details": '{"a": 1e999}'}, "bad_details"),
    ({"details": b"\x00\xff"}, "bad_details"),
    ({"details": 7}, "bad_details"),
    ({"details": '{"a": ' + "[" * 900 + "]" * 900 + "}"}, None),
]
USERS = [
    {"user_id": 2, "joined_at": JOINED, "name": "twice", "followers": 0},
    {"user_id": 2, "joined_at": "2026-01-02 00:00:00.000000", "name": "twice", "followers": 0},
    {"user_id": 3, "joined_at": None, "name": "no time", "followers": 0},
    {"user_id": 4, "joined_at": "0001-01-01 00:00:00.000000", "name": "a placeholder", "followers": 0},
    {"user_id": 5, "joined_at": "2026-02-02 00:00:00.000000", "name": "the day after", "followers": 0},
    {"user_id": 6, "joined_at": "1969-01-01 00:00:00.000000", "name": "twice", "followers": 0},
    {"user_id": 6, "joined_at": JOINED, "name": "twice", "followers": 0},
    {"user_id": 9, "joined_at": JOINED, "name": "the same twice", "followers": 0},
    {"user_id": 9, "joined_at": JOINED, "name": "the same twice", "followers": 7},
    {"user_id": 10, "joined_at": "2026-02-01 23:59:59.999999", "name": "on the day", "followers": 0},
]


def test_each_odd_row_is_rejected_with_its_own_reason_and_its_neighbours_go_on(app: Database) -> None:
    of_one = ODD_OF_POSTGRES if isinstance(app, Postgres) else ODD_OF_SQLITE
    odd = [(changes, reason) for changes, reason in ODD + of_one if reason]
    insert(app, "users", *USERS)
    if isinstance(app, Postgres):
        insert(app, "users", {"user_id": 7, "joined_at": "infinity", "name": "x", "followers": 0})
        insert(app, "users", *({"user_id": 8, "joined_at": at, "name": "x", "followers": 0} for at in (JOINED, "infinity")))
    good = [{"photo_id": 101, "user_id": 9}, {"photo_id": 102, "user_id": 10}, {"photo_id": 103, "details": None}]
    good += [{"photo_id": 104, "details": "{}"}, {"photo_id": 105, "location": "", "title": ""}]
    good += [{"photo_id": 106, "details": '{"followers": -0.5}'}, {"photo_id": 107, "details": '{"followers": "many"}'}]
    good += [{"photo_id": 108, "posted_at": "1970-01-01 00:00:00.000000"}]
    insert(app, "photos", *(PHOTO | changes for changes in good))
    insert(app, "photos", *(PHOTO | {"photo_id": 1000 + n} | changes for n, (changes, _) in enumerate(odd)))
    rows, rejected = judged(app)
    assert sorted(rows["photo_id"]) == list(range(100, 109))
    told = dict(rejected.select("source", "reason").iter_rows())
    for n, (changes, reason) in enumerate(odd):
        number = changes.get("photo_id", 1000 + n)
        source = f"photo {number}" if isinstance(number, int) else "photo without an id"
        assert told[source] == reason, changes
    assert rejected.height == len(odd)
    assert not rejected["raw"].str.contains("secret").any(), "the application's own keys stay in the database"
    assert (rejected["raw"].str.len_chars() <= 2000).all()


@pytest.mark.parametrize("follower_word", ["null", "true", '"many"', "[]"])
def test_followers_that_are_no_number_are_unknown(app: Database, follower_word: str) -> None:
    app.execute("update photos set details = %s", ('{"followers": ' + follower_word + "}",))
    rows, _ = judged(app)
    assert rows.select("followers_at_post", "details_json").rows() == [(None, "{}")]


def test_several_rows_of_one_photo_id_are_all_rejected_whatever_their_day(app: Database) -> None:
    later = DAY + timedelta(days=1)
    insert(app, "photos", PHOTO | {"day": str(later), "key": "uploads/2026-02-02/1/a.jpg"}, PHOTO | {"photo_id": 7})
    for day in (DAY, later):
        rows, rejected = judged(app, day, day)
        assert rows["photo_id"].to_list() == ([7] if day == DAY else [])
        assert rejected["reason"].to_list() == ["duplicate_photo_id"]


@pytest.mark.parametrize("day", [None, "infinity", "-infinity", "soon", "2026-2-1", "2026-02-30", 7])
def test_a_photo_without_a_day_is_rejected_on_the_day_of_its_posting(app: Database, day: Any) -> None:
    if isinstance(app, Postgres) and day not in (None, "infinity", "-infinity"):
        pytest.skip(ONLY_SQLITE)
    insert(app, "photos", PHOTO | {"photo_id": 7, "day": day})
    rows, rejected = judged(app)
    assert rows["photo_id"].to_list() == [100]
    assert rejected.select("day", "source", "reason").rows() == [(DAY, "photo 7", "no_day")]
    assert judged(app, DAY + timedelta(days=1), DAY + timedelta(days=9))[1].is_empty()


def test_a_text_that_is_no_utf8_costs_no_other_row(app: Database) -> None:
    if isinstance(app, Postgres):
        pytest.skip(ONLY_SQLITE)
    app.execute("update photos set title = cast(x'61ff62' as text)")
    insert(app, "photos", PHOTO | {"photo_id": 7})
    assert judged(app)[0].sort("photo_id")["title"].to_list() == ["a cat", "a\ufffdb"]
    assert set(_photos_changed([DAY], app)) == {DAY}


def test_a_day_is_read_alone_or_in_a_range_alike(app: Database) -> None:
    later = DAY + timedelta(days=1)
    insert(
        app, "photos", PHOTO | {"photo_id": 7, "day": str(later), "posted_at": NOON}, PHOTO | {"photo_id": 8, "day": None}
    )
    both = _photos_changed([DAY, later], app)
    assert both == _photos_changed([DAY], app) | _photos_changed([later], app)
    rows, rejected = judged(app, DAY, later)
    assert (rows["photo_id"].to_list(), rejected.height) == ([100, 7], 1)


# A day has changed when what is read of it has.


def changes(app: Database, statement: str) -> bool:
    before = _photos_changed([DAY], app)
    app.execute(statement)
    return _photos_changed([DAY], app) != before


@pytest.mark.parametrize(
    "statement",
    [
        "update users set followers = followers + 1",
        "update users set name = 'other'",
        'update photos set details = \'{"followers": 3, "_session": "another", "tags": ["x"]}\'',
        "insert into users (user_id, joined_at, name, followers) values (77, '2026-01-05 00:00:00.000000', 'x', 0)",
    ],
)
def test_what_is_not_read_makes_no_day_stale(app: Database, statement: str) -> None:
    assert not changes(app, statement)


@pytest.mark.parametrize(
    "statement",
    [
        "update users set joined_at = '2025-12-31 00:00:00.000000'",
        "delete from users",
        "insert into users select user_id, '2025-12-31 00:00:00.000000', name, followers from users",
        "update photos set photo_id = 5",
        "update photos set user_id = 5",
        "update photos set key = 'b'",
        "update photos set posted_at = '2026-02-01 12:00:00.000001'",
        "update photos set title = 'b'",
        "update photos set title = null",
        "update photos set location = ''",
        "update photos set details = '{}'",
        'update photos set details = \'{"followers": 4, "tags": ["x"]}\'',
        "update photos set details = null",
        "update photos set day = '2026-02-02'",
        "insert into photos select * from photos",
    ],
)
def test_each_thing_that_is_read_makes_its_day_stale(app: Database, statement: str) -> None:
    if isinstance(app, Sqlite):
        statement = statement.replace("timestamptz ", "")
    else:
        statement = (
            statement.replace(".000000'", ".000000Z'")
            .replace(".000001'", ".000001Z'")
            .replace("'2025-12-31 00:00:00.000000Z'", "timestamptz '2025-12-31 00:00:00Z'")
        )
    assert changes(app, statement)


def test_another_photo_of_the_same_id_makes_the_days_of_both_stale(app: Database) -> None:
    insert(app, "photos", PHOTO | {"photo_id": 7, "day": "2026-02-05"})
    assert changes(app, "update photos set photo_id = 100 where photo_id = 7")


def test_a_digest_is_the_same_in_every_session(postgres_url: str) -> None:
    database = Postgres(url=postgres_url)
    database.migrate()
    insert(database, "users", USER)
    insert(database, "photos", PHOTO)
    name = urlsplit(postgres_url).path[1:]
    before, rows = _photos_changed([DAY], database), judged(database)
    for setting in (
        "timezone = 'Asia/Tokyo'",
        "datestyle = 'German'",
        "extra_float_digits = 0",
        "intervalstyle = 'iso_8601'",
    ):
        database.execute(f'alter database "{name}" set {setting}')
    session = database.read("select current_setting('timezone') as zone, current_setting('datestyle') as style")
    assert session.rows() == [("Asia/Tokyo", "German, DMY")]
    assert _photos_changed([DAY], database) == before
    assert [frame.to_dicts() for frame in judged(database)] == [frame.to_dicts() for frame in rows]


# Users.


def test_users_of_whom_the_database_does_not_say_when_they_joined_are_kept_aside(app: Database) -> None:
    insert(app, "users", *USERS, {"user_id": None, "joined_at": JOINED, "name": "x", "followers": 0})
    insert(app, "users", {"user_id": -4, "joined_at": JOINED, "name": "x", "followers": 0})
    if isinstance(app, Postgres):
        insert(app, "users", {"user_id": 7, "joined_at": "infinity", "name": "x", "followers": 0})
        insert(app, "users", {"user_id": 8, "joined_at": "294276-12-31T23:59:59Z", "name": "x", "followers": 0})
    else:
        insert(app, "users", {"user_id": 7, "joined_at": "soon", "name": "x", "followers": 0})
        insert(app, "users", {"user_id": 8, "joined_at": 12, "name": "x", "followers": 0})
    known, rejected = users.judge(app.read(USERS_SQL), [DAY, DAY + timedelta(days=1)])
    assert known["user_id"].to_list() == [1, 5, 9, 10]
    assert known["joined_at"][0] == datetime(2026, 1, 1, tzinfo=UTC)
    of_a_day = rejected.filter(pl.col("day") == DAY).select("source", "reason").rows()
    assert of_a_day == [
        ("user -4", "bad_user_id"),
        ("user 2", "user_is_ambiguous"),
        ("user 3", "bad_joined_at"),
        ("user 4", "bad_joined_at"),
        ("user 6", "user_is_ambiguous"),
        ("user 7", "bad_joined_at"),
        ("user 8", "bad_joined_at"),
        ("user without an id", "bad_user_id"),
    ]
    assert rejected.height == 2 * len(of_a_day)


def test_only_users_that_are_read_make_days_stale(app: Database) -> None:
    days = [DAY - timedelta(days=40), DAY, DAY + timedelta(days=1)]
    before = users_joined(days, app)
    assert list(before) == days[1:]
    odd = [row for row in USERS if row["user_id"] in (2, 3, 4, 6)]
    insert(app, "users", *odd)
    app.execute("update users set followers = 9, name = 'z'")
    assert users_joined(days, app) == before
    insert(app, "users", {"user_id": 5, "joined_at": "2026-02-02 00:00:00.000000", "name": "x", "followers": 0})
    assert [before[day] == digest for day, digest in users_joined(days, app).items()] == [True, False]

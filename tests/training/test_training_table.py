"""The training table: which photos become rows, what they carry, and that none sees its future."""

from datetime import UTC, date, datetime, timedelta

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given, settings
from polars.testing import assert_frame_equal

from pipeline_assets.classify.schemas import PhotoClasses, PhotoStyles
from pipeline_assets.features.user_features import FEATURES, user_features_as_of
from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.ingestion.schemas import EventLog, PhotoMetadata, RawUploads
from pipeline_assets.training import training_table as joins
from pipeline_assets.training.observation import DAYS_AFTER, DAYS_BEFORE, Observation
from pipeline_assets.training.schemas import TrainingTable
from pipeline_assets.training.split import split_of
from pipeline_assets.training.training_table import DROP_REASONS, NONE_LEAKING, reconcile, rejected_photos, training_table

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
START = datetime(2025, 3, 1, tzinfo=UTC)
D0 = START.date()


def observed_through(last: date, first: date = D0 - 60 * DAY) -> Observation:
    """Every day of the log from the first to the last is complete."""
    return Observation.of(first + n * DAY for n in range((last - first).days + 1))


ALL_OBSERVED = observed_through(D0 + 60 * DAY, D0 - 120 * DAY)


def sha(number: int) -> str:
    return f"{number:064x}"


def upload(number: int, **changes: object) -> dict[str, object]:
    """The ok upload of photo `number`, whose content is `sha(number)`."""
    row = dict.fromkeys(RawUploads.column_names()) | {
        "day": D0, "bucket": "b", "key": f"k{number}", "version_id": "v1", "uploaded_at": START + HOUR,
        "size_bytes": 10, "sha256": sha(number), "latitude_deg": 51.5, "camera": "secret camera", "verdict": "ok",
        "media_type": "image/jpeg",
    }  # fmt: skip
    return row | changes


def photo(number: int, **changes: object) -> dict[str, object]:
    row = {
        "day": D0, "photo_id": number, "user_id": 1, "key": f"k{number}", "posted_at": START + 12 * HOUR,
        "title": "a cat", "location": None, "followers_at_post": 3, "user_joined_at": START - 5 * DAY, "details_json": "{}",
    }  # fmt: skip
    return row | changes


def classes(number: int, **changes: object) -> dict[str, object]:
    row = {
        "day": D0, "sha256": sha(number), "model_id": "m", "top5_index": [4, 2], "top5_label": ["tabby", "lynx"],
        "top5_probability": [0.5, 0.25], "embedding": [float(number), 2.0],
    }  # fmt: skip
    return row | changes


def styles(number: int, **changes: object) -> dict[str, object]:
    measured = {"brightness": 0.5, "contrast": 0.25, "saturation": 0.125, "colourfulness": 8.0, "sharpness": 16.0}
    return {"day": D0, "sha256": sha(number), "styles_id": "s", "aspect": 1.5} | measured | changes


def event(event_id: str, kind: str, at: datetime, photo_id: int | None = None, user_id: int = 1, late: timedelta = 0 * DAY):
    return {
        "day": (at + late).date(), "event_id": event_id, "user_id": user_id, "photo_id": photo_id, "kind": kind,
        "at": at, "arrived_at": at + late, "extra_json": None,
    }  # fmt: skip


def table_of(schema, rows) -> pl.LazyFrame:
    return pl.LazyFrame(rows, schema=schema.create_empty().schema, orient="row")


class World:
    """The five inputs of the join; each can be replaced."""

    def __init__(self, numbers=(1,), *, uploads=None, photos=None, classified=None, styled=None, events=()):
        self.uploads = [upload(n) for n in numbers] if uploads is None else uploads
        self.photos = [photo(n) for n in numbers] if photos is None else photos
        self.classified = [classes(n) for n in numbers] if classified is None else classified
        self.styled = [styles(n) for n in numbers] if styled is None else styled
        self.events = list(events)

    def inputs(self) -> list[pl.LazyFrame]:
        return [
            table_of(RawUploads, self.uploads),
            table_of(PhotoMetadata, self.photos),
            table_of(PhotoClasses, self.classified),
            table_of(PhotoStyles, self.styled),
        ]

    def rows(self, days=(D0,), observed=None, torn=NONE_LEAKING) -> pl.DataFrame:
        log = table_of(EventLog, self.events)
        lazy = training_table(*self.inputs(), log, days=days, observed=observed or ALL_OBSERVED, leaking=torn)
        return lazy.collect(engine="streaming")

    def counts(self, days=(D0,), observed=None, torn=NONE_LEAKING) -> pl.DataFrame:
        lazy = reconcile(*self.inputs(), days=days, observed=observed or ALL_OBSERVED, leaking=torn)
        return lazy.collect(engine="streaming")

    def aside(self, days=(D0,), observed=None, torn=NONE_LEAKING) -> pl.DataFrame:
        lazy = rejected_photos(*self.inputs(), days=days, observed=observed or ALL_OBSERVED, leaking=torn)
        return Rejected.validate(lazy.collect(engine="streaming"))


def test_a_hand_worked_photo_becomes_the_hand_worked_row():
    posted = START + 12 * HOUR
    world = World(
        photos=[photo(1, title="Zoë 猫", location=" Delft ")],
        events=[
            event("a", "login", posted - HOUR),
            event("b", "login", posted - 3 * DAY),
            event("late", "login", posted - HOUR, late=2 * HOUR),
            event("c", "post", posted, 1),
            *(event(f"v{n}", "view", posted + n * HOUR, 1, user_id=2) for n in range(7)),
        ],
    )
    row = {
        "day": D0, "photo_id": 1, "user_id": 1, "sha256": sha(1), "posted_at": posted, "posted_hour": 12,
        "posted_weekday": 6, "title_length": 5, "has_location": True, "followers_at_post": 3, "days_since_joining": 5,
        "logins_1d": 1, "logins_7d": 2, "logins_30d": 2, "posts_30d": 0, "likes_given_30d": 0, "likes_received_30d": 0,
        "mean_popularity_30d": None, "model_id": "m", "top_class": "tabby", "top_probability": 0.5,
        "embedding": [1.0, 2.0], "brightness": 0.5, "contrast": 0.25, "saturation": 0.125, "colourfulness": 8.0,
        "sharpness": 16.0, "aspect": 1.5, "split": "train", "views_7d": 7, "popularity": 1.0,
    }  # fmt: skip
    found = world.rows()
    assert_frame_equal(found, pl.DataFrame([row], schema=TrainingTable.create_empty().schema))
    TrainingTable.validate(found)


@pytest.mark.parametrize(("location", "has_location"), [(None, False), ("", False), ("  ", False), ("Delft", True)])
def test_a_blank_location_is_none(location, has_location):
    assert World(photos=[photo(1, location=location)]).rows()["has_location"].to_list() == [has_location]


def test_the_last_ok_version_of_a_key_is_the_photo():
    versions = [
        upload(1, version_id="v1", sha256=sha(1)),
        upload(1, version_id="v2", sha256=sha(2), uploaded_at=START + 2 * HOUR),
        upload(1, version_id="v3", sha256=sha(3), uploaded_at=START + 2 * HOUR),
        upload(1, version_id="v4", sha256=sha(4), uploaded_at=START + 3 * HOUR, verdict="truncated"),
        upload(1, version_id="v5", sha256=None, uploaded_at=START + 4 * HOUR, verdict="gone"),
        upload(1, version_id="v6", sha256=sha(6), uploaded_at=START + 5 * HOUR, media_type="video/mp4"),
    ]
    numbers = range(1, 5)
    world = World(uploads=versions, classified=[classes(n) for n in numbers], styled=[styles(n) for n in numbers])
    assert world.rows()["sha256"].to_list() == [sha(3)]
    world.uploads.reverse()
    assert world.rows()["sha256"].to_list() == [sha(3)]


def versions_of(*uploaded: datetime) -> World:
    """A photo posted at noon of the first day, of whose key a version was uploaded at each of these times: content 1, 2 ..."""
    numbers = range(1, len(uploaded) + 1)
    return World(
        uploads=[
            upload(1, version_id=f"v{n}", sha256=sha(n), uploaded_at=at) for n, at in zip(numbers, uploaded, strict=True)
        ],
        photos=[photo(1)],
        classified=[classes(n) for n in numbers],
        styled=[styles(n, brightness=n / 8) for n in numbers],
    )


@pytest.mark.parametrize(
    ("hours", "posted"),
    [
        ((1, 5 * 24), 1),
        ((1, 2, 13), 2),
        ((1, 12), 2),
        ((13, 14, 5 * 24), 1),
        ((5 * 24,), 1),
    ],
)
def test_a_row_is_of_the_bytes_that_lay_there_at_the_posting_with_all_that_is_computed_of_them(hours, posted):
    world = versions_of(*(START + hour * HOUR for hour in hours))
    for _ in range(2):
        row = world.rows().row(0, named=True)
        assert row["sha256"] == sha(posted)
        assert row["embedding"] == [float(posted), 2.0]
        assert row["brightness"] == posted / 8
        world.uploads.reverse()


def test_a_version_that_is_not_ok_at_the_posting_is_not_the_photo():
    world = versions_of(START + HOUR, START + 2 * HOUR, START + 5 * DAY)
    world.uploads[1]["verdict"] = "truncated"
    assert world.rows()["sha256"].to_list() == [sha(1)]


def user_of(name: str) -> int:
    """Someone whose photos are in a split."""
    users = pl.DataFrame({"user_id": range(1, 200)}).with_columns(split=split_of(pl.col("user_id")))
    return users.filter(split=name)["user_id"][0]


def test_of_a_family_in_two_splits_only_the_last_splits_photos_are_rows_and_each_other_has_its_reason():
    owners = {1: user_of("train"), 2: user_of("validation"), 3: user_of("test"), 4: user_of("train")}
    world = World(owners, photos=[photo(n, user_id=user) for n, user in owners.items()])
    torn = pl.DataFrame({"day": [D0] * 3, "sha256": [sha(1), sha(2), sha(3)]})
    assert world.rows(torn=torn).select("photo_id", "split").rows() == [(3, "test"), (4, "train")]
    counts = world.counts(torn=torn).row(0, named=True)
    assert (counts["photos"], counts["rows"], counts["family_in_two_splits"]) == (4, 2, 2)
    aside = world.aside(torn=torn)
    assert aside.select("source", "reason").rows() == [(f"photo {n}", "family_in_two_splits") for n in (1, 2)]


def test_two_photos_of_the_same_bytes_on_two_days_are_two_rows_each_with_its_days_outputs():
    world = World(
        uploads=[upload(1), upload(2, sha256=sha(1), day=D0 + DAY)],
        photos=[photo(1), photo(2, day=D0 + DAY, posted_at=START + DAY)],
        classified=[classes(1), classes(1, day=D0 + DAY, model_id="m2")],
        styled=[styles(1), styles(1, day=D0 + DAY)],
    )
    found = world.rows([D0 + DAY, D0])
    assert found.select("day", "photo_id", "model_id").rows() == [(D0, 1, "m"), (D0 + DAY, 2, "m2")]
    assert_frame_equal(pl.concat([world.rows([D0]), world.rows([D0 + DAY])]), found)


def test_a_photo_without_its_parts_is_no_row_and_is_counted_under_one_reason():
    world = World(
        uploads=[upload(1), upload(2, verdict="truncated"), upload(4), upload(5), upload(6), upload(7)],
        photos=[*(photo(n) for n in range(1, 7)), photo(7, posted_at=START + 30 * HOUR), photo(8, day=D0 + DAY)],
        classified=[classes(n) for n in (1, 2, 5, 7)],
        styled=[styles(n) for n in (1, 2, 4, 7)],
    )
    expected = pl.DataFrame(
        {
            "day": [D0, D0 + DAY],
            "photos": [7, 1],
            "uploads_ok": [5, 0],
            "posted_far_from_upload": [0, 0],
            "not_uploaded": [1, 1],
            "quarantined": [1, 0],
            "not_classified": [2, 0],
            "not_styled": [1, 0],
            "not_yet_posted": [1, 0],
            "family_in_two_splits": [0, 0],
            "rows": [1, 0],
        }
    )
    observed = observed_through(D0)
    counts = world.counts([D0 + DAY, D0], observed)
    assert_frame_equal(counts, expected)
    assert (counts["photos"] == counts["rows"] + counts.select(pl.sum_horizontal(DROP_REASONS)).to_series()).all()
    assert world.rows([D0 + DAY, D0], observed)["photo_id"].to_list() == [1]


def test_no_personal_exif_is_read():
    uploads, *others = World().inputs()
    personal = ["latitude_deg", "longitude_deg", "camera", "taken_at"]
    lazy = training_table(uploads.drop(personal), *others, table_of(EventLog, []), days=[D0], observed=ALL_OBSERVED)
    assert not set(personal) & set(lazy.collect(engine="streaming").columns)


def test_a_label_is_null_until_mature_and_then_counts_what_arrived_late():
    posted = START + 12 * HOUR
    world = World(events=[event("v", "view", posted + DAY, 1, late=6 * DAY + 13 * HOUR)])
    assert world.rows(observed=observed_through(D0 + 6 * DAY))["popularity"].to_list() == [None]
    assert world.rows(observed=observed_through(D0 + 7 * DAY))["views_7d"].to_list() == [0]
    assert world.rows(observed=observed_through(D0 + 8 * DAY))["views_7d"].to_list() == [1]


def test_no_days_and_no_photos_are_no_rows():
    assert World().rows([]).is_empty()
    assert World([]).rows().schema == TrainingTable.create_empty().schema


numbers = st.integers(1, 8)
hours = st.integers(-40 * 24, 20 * 24).map(lambda count: START + count * HOUR)
any_event = st.builds(
    event,
    st.integers(0, 60).map(str),
    st.sampled_from(["login", "view", "like", "post"]),
    hours,
    numbers,
    st.sampled_from([1, 2, 3]),
    st.sampled_from([0, 1, 30, 24 * 9]).map(lambda count: count * HOUR),
)
posting_hours = st.lists(hours, min_size=8, max_size=8)


def world_of(posted: list[datetime], log: list[dict[str, object]]) -> World:
    photos = [
        photo(number, posted_at=at, day=at.date(), user_id=number % 3 + 1, user_joined_at=START - 60 * DAY)
        for number, at in enumerate(posted, start=1)
    ]
    days = {row["photo_id"]: row["day"] for row in photos}
    return World(
        photos=photos,
        uploads=[upload(n, day=day) for n, day in days.items()],
        classified=[classes(n, day=day) for n, day in days.items()],
        styled=[styles(n, day=day) for n, day in days.items()],
        events=log,
    )


def all_days(world: World) -> list[date]:
    return sorted({row["day"] for row in world.photos})


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(posting_hours, st.lists(any_event, max_size=40), st.randoms(use_true_random=False))
def test_every_row_has_the_features_of_its_moment_in_an_order_that_no_shuffle_changes(posted, log, random):
    world = world_of(posted, log)
    found = world.rows(all_days(world))
    photos = table_of(PhotoMetadata, world.photos)
    asked = photos.select("photo_id", "user_id", as_of="posted_at", joined_at="user_joined_at")
    features = user_features_as_of(asked, table_of(EventLog, log), photos).collect().sort("photo_id")
    assert_frame_equal(found.sort("photo_id").select(FEATURES), features.select(FEATURES))
    assert found.select("day", "photo_id").rows() == sorted((row["day"], row["photo_id"]) for row in world.photos)
    for rows in (world.uploads, world.photos, world.classified, world.styled, world.events):
        random.shuffle(rows)
    assert_frame_equal(world.rows(all_days(world)), found)


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(posting_hours, st.lists(any_event, max_size=40), st.integers(1, 8))
def test_rows_joined_in_batches_are_those_joined_at_once(posted, log, batch_rows):
    world = world_of(posted, log)
    whole = world.rows(all_days(world))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joins, "BATCH_ROWS", batch_rows)
        assert_frame_equal(world.rows(all_days(world)), whole)
    assert whole.height == len(posted)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(posting_hours, st.lists(any_event, max_size=40), st.lists(any_event, max_size=40))
def test_no_row_sees_what_became_known_after_it_was_posted(posted, log, later):
    world = world_of(posted, log)
    moment = sorted(posted)[4]
    future = [row for row in later if max(row["at"], row["arrived_at"]) >= moment]
    known = world.rows(all_days(world)).filter(pl.col("posted_at") <= moment)
    world.events += future
    found = world.rows(all_days(world)).filter(pl.col("posted_at") <= moment)
    labels = ["views_7d", "popularity"]
    assert_frame_equal(found.drop(labels), known.drop(labels))


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(posting_hours, st.lists(any_event, max_size=40))
def test_a_day_needs_no_partitions_beyond_the_exported_look_back_and_label_days(posted, log):
    # Deliveries of one id are of one event: they agree in `at`, or what the look-back cuts off would matter.
    log = [row | {"event_id": f"{row['event_id']} of {row['at']}"} for row in log]
    world = world_of(posted, log)
    days = all_days(world)
    day = days[len(days) // 2]
    end = observed_through(day + DAYS_AFTER * DAY, day - DAYS_BEFORE * DAY)
    whole = world.rows([day])
    since = day - DAYS_BEFORE * DAY
    world.events = [row for row in log if since <= row["day"] <= day + DAYS_AFTER * DAY]
    world.photos = [row for row in world.photos if since <= row["day"] <= day]
    for name in ("uploads", "classified", "styled"):
        setattr(world, name, [row for row in getattr(world, name) if row["day"] == day])
    assert_frame_equal(world.rows([day], end), whole)
    assert whole["popularity"].null_count() == 0


def test_a_photo_whose_row_moved_is_counted_once_until_its_old_day_is_computed_again():
    posted, moved = START + 23 * HOUR, D0 + DAY
    likes = [event(f"l{n}", "like", posted + n * HOUR, 1, user_id=2) for n in range(1, 4)]
    views = [event(f"v{n}", "view", posted + n * HOUR, 1, user_id=2) for n in range(70)]
    later = dict(posted_at=posted + 10 * HOUR, day=moved)
    world = World(
        uploads=[upload(1), upload(1, day=moved, version_id="v2"), upload(2, day=moved)],
        photos=[photo(1, posted_at=posted), photo(1, posted_at=posted, day=moved), photo(2, **later)],
        classified=[classes(1), classes(1, day=moved), classes(2, day=moved)],
        styled=[styles(1), styles(1, day=moved), styles(2, day=moved)],
        events=[*likes, *views],
    )
    rows = world.rows(days=(D0, moved))
    assert rows.select("day", "photo_id", "views_7d", "likes_received_30d").rows() == [
        (D0, 1, 70, 0), (moved, 1, 70, 0), (moved, 2, 0, 3),
    ]  # fmt: skip
    assert_frame_equal(rows, pl.concat([world.rows(days=(D0,)), world.rows(days=(moved,))]))
    assert world.counts(days=(D0, moved))["rows"].to_list() == [1, 2]

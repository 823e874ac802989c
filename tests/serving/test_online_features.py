"""The asset of states through the framework: what the table and the online store have after runs, kills and old days."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from pipeline_assets.catalog import serving as assets
from pipeline_assets.features.history import FEATURES
from pipeline_assets.features.user_features import user_features_as_of
from pipeline_assets.framework.partitions import daily
from pipeline_assets.ingestion.schemas import EventLog, PhotoMetadata
from pipeline_assets.serving.state.answers import features_at
from pipeline_assets.serving.state.layout import UserState, user_key
from pipeline_assets.serving.state.period import HORIZON, Period
from resources.database import ledger
from resources.database.contract import Database
from resources.lake.lake import Lake
from resources.lake.lake_io import LakeIO
from resources.online import publication
from resources.online.contract import OnlineStore
from resources.online.resource import OnlineStores

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated"),
]

FIRST = date(2026, 3, 1)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
JOINED = datetime(2026, 2, 1, tzinfo=UTC)
USERS = (1, 2, 3)


def start(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def log_of(day: date, *, extra: int = 0) -> pl.DataFrame:
    """Each user logs in and looks at a photo; `extra` more logins of user 1."""
    rows = [(f"{day}-login-{user}", user, None, "login", 6) for user in USERS[:2]]
    rows += [(f"{day}-view-{user}", user, 1, "view", 7) for user in USERS] + [(f"{day}-like-2", 2, 1, "like", 8)]
    rows += [(f"{day}-more-{number}", 1, None, "login", 9) for number in range(extra)]
    events = [
        (day, name, user, photo, kind, start(day) + hour * HOUR, start(day) + hour * HOUR, None)
        for name, user, photo, kind, hour in rows
    ]
    return pl.DataFrame(events, schema=EventLog.create_empty().schema, orient="row")


def photos_of(day: date) -> pl.DataFrame:
    empty = PhotoMetadata.create_empty()
    if day != FIRST:
        return empty
    row = {
        "day": day,
        "photo_id": 1,
        "user_id": 1,
        "key": "k",
        "posted_at": start(day) + HOUR,
        "title": "",
        "details_json": "{}",
    }
    return pl.DataFrame([row | {"user_joined_at": JOINED}], schema=empty.schema)


class Project:
    """A lake with a log of some days, a database with users, and an online store."""

    def __init__(self, folder: Path, database: Database) -> None:
        (folder / "lake").mkdir()
        self.lake = Lake(url=(folder / "lake").as_uri())
        self.database = database
        self.online = OnlineStores(url="", file=str(folder / "online.db"))
        database.insert("insert into users (user_id, joined_at, name) values %s", [(user, JOINED, "x") for user in USERS])

    def write(self, day: date, *, extra: int = 0) -> None:
        for name, rows in (("event_log", log_of(day, extra=extra)), ("photo_metadata", photos_of(day))):
            version = self.lake.replace(name, [day], rows)
            digest = f"{extra}".rjust(32, "0")
            entry = ledger.Materialization(name, day, digest, rows.height, 0, "1", "", {}, version, None, "test")
            ledger.record(self.database, [entry])

    def run(self, day: date, *, raise_on_error: bool = True, force: bool = False) -> bool:
        specs = [dg.AssetSpec(name, partitions_def=daily) for name in ("event_log", "photo_metadata")]
        return dg.materialize(
            [assets.online_features, *specs],
            selection=["online_features"],
            partition_key=str(day),
            resources={
                "lake": self.lake,
                "io_manager": LakeIO(lake=self.lake),
                "database": self.database,
                "online": self.online,
            },
            run_config={"ops": {"online_features": {"config": {"force": force}}}},
            raise_on_error=raise_on_error,
        ).success

    def entered(self) -> list[date]:
        return ledger.latest(self.database, ["online_features"], date.min, date.max)["day"].sort().to_list()

    def store(self) -> OnlineStore:
        return self.online.open()

    def differences(self, day: date) -> list[tuple[int, datetime]]:
        """Asks of the store after this day whose answers are not those of the offline features."""
        generation, values = self.store().read([user_key(user) for user in USERS])
        assert generation.t0 == start(day) + DAY
        asks = [(user, generation.t0 + hours * HOUR) for user in USERS for hours in range(37)]
        schema = {"user_id": pl.Int64, "as_of": pl.Datetime("us", "UTC")}
        entities = pl.LazyFrame(asks, schema=schema, orient="row").with_columns(joined_at=pl.lit(JOINED))
        seen = pl.col("day") <= day
        events, photos = (self.lake.scan(name).filter(seen) for name in ("event_log", "photo_metadata"))
        expected = user_features_as_of(entities, events, photos).collect()
        offline = {(row["user_id"], row["as_of"]): {n: row[n] for n in FEATURES} for row in expected.iter_rows(named=True)}
        period = Period(generation.t0, HORIZON)
        states = dict(zip(USERS, values, strict=True))
        return [ask for ask in asks if features_at(UserState.unpack(states[ask[0]] or b""), period, ask[1]) != offline[ask]]


@pytest.fixture
def project(tmp_path: Path, database: Database) -> Project:
    return Project(tmp_path, database)


def test_the_store_has_the_newest_day_exactly_and_an_older_day_changes_the_table_alone(project: Project) -> None:
    for number in range(9):
        project.write(FIRST + number * DAY)
    newest, older = FIRST + 8 * DAY, FIRST + 6 * DAY
    assert project.run(newest)
    assert project.differences(newest) == []
    generation = project.store().current()
    assert generation is not None
    assert generation.users == len(USERS)
    assert project.run(older)
    assert project.store().current() == generation
    assert project.entered() == [older, newest]
    rows = project.lake.scan("online_features").collect().sort("day", "user_id")
    assert rows.select("day", "user_id").rows() == [(day, user) for day in (older, newest) for user in USERS]
    assert rows["joined_at"].unique().to_list() == [JOINED]
    assert rows["state_bytes"].min() >= 56


def test_an_unchanged_day_publishes_nothing_and_a_late_log_the_next_generation(project: Project) -> None:
    project.write(FIRST)
    assert project.run(FIRST)
    first = project.store().current()
    assert project.run(FIRST)
    assert project.store().current() == first
    project.write(FIRST, extra=2)
    assert project.run(FIRST)
    second = project.store().current()
    assert first is not None
    assert second is not None
    assert second.number == first.number + 1
    assert project.differences(FIRST) == []


def test_keys_that_the_next_day_lacks_lose_their_value(project: Project) -> None:
    project.write(FIRST)
    assert project.run(FIRST)
    later = FIRST + 60 * DAY
    project.write(later)
    assert project.run(later)
    prefixes = {key[:2] for key in project.store().keys(b"p:")}
    _, [photo] = project.store().read([b"p:1"])
    assert prefixes == {b"p:"}  # what waits for the photo, which is older than the look-back
    assert photo is not None
    assert photo[1] == 0
    assert project.differences(later) == []


@pytest.mark.parametrize("step", ["begin", "write", "complete", "publish"])
def test_a_run_that_dies_before_the_store_has_its_generation_is_repeated(
    project: Project, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    project.write(FIRST)
    assert project.run(FIRST)
    before = project.store().current()
    later = FIRST + DAY
    project.write(later)
    backend = type(project.store())
    with monkeypatch.context() as patch:

        def dies(*_: object, **__: object) -> None:
            raise ValueError("killed")

        patch.setattr(backend, step, dies)
        assert not project.run(later, raise_on_error=False)
    assert project.entered() == [FIRST]
    assert project.store().current() == before
    assert project.run(later)
    assert project.entered() == [FIRST, later]
    assert project.differences(later) == []


def test_a_generation_waits_for_whoever_has_the_lease(project: Project) -> None:
    project.write(FIRST)
    store = project.store()
    lease = store.lease("a stream", 60)
    assert lease is not None
    assert project.run(FIRST)
    assert store.current() is None
    draft = store.draft()
    assert draft is not None
    store.publish(lease, draft, position="7")
    assert project.differences(FIRST) == []


def test_a_store_of_a_later_day_is_left_alone(project: Project) -> None:
    store = project.store()
    source = {"owner": "test", "horizon_s": 60, "format": 1}
    later = publication.publish(store, [(b"u:", [(b"u:1", b"x")])], "later", t0=start(FIRST) + 5 * DAY, **source)
    assert later == store.current()
    assert publication.publish(store, [(b"u:", [])], "earlier", t0=start(FIRST), **source) is None
    assert store.read([b"u:1"])[1] == [b"x"]


def test_a_forced_run_mends_a_value_that_was_damaged(project: Project) -> None:
    project.write(FIRST)
    assert project.run(FIRST)
    store = project.store()
    draft = store.begin(start(FIRST) + DAY, 60, 1)
    _, [source] = store.read([publication.SOURCE])
    store.write(draft, [(b"u:1", b"damaged"), (b"u:77", b"strange"), (publication.SOURCE, source)])
    lease = store.lease("damage", 60)
    assert lease is not None
    store.publish(lease, store.complete(draft, position=""), position="")
    store.release(lease)
    assert project.run(FIRST)
    assert store.read([b"u:1", b"u:77"])[1] == [b"damaged", b"strange"]
    assert project.run(FIRST, force=True)
    assert project.differences(FIRST) == []
    assert store.read([b"u:77"])[1] == [None]

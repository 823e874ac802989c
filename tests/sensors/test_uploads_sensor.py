"""The upload sensor itself, on a real bucket and a real ledger: every object is asked for, whatever happens when."""

import itertools
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from pipeline_assets.definitions import build_defs
from pipeline_assets.framework.partitions import existing
from resources.database import claims, ledger, seen_objects
from resources.database.claims import Span
from resources.database.ledger import Materialization
from resources.database.postgres import Postgres
from resources.objects.resource import Objects
from resources.objects.store import ObjectInfo
from resources.objects.upload_queue import UploadQueue
from resources.settings import Settings
from sensors import uploads as sensor
from sensors.run_requests import PendingDay
from sensors.uploads import STATE_TAG, new_uploads, upload_day
from sensors.uploads_decision import Cursor

pytestmark = pytest.mark.filterwarnings("ignore:Asset job .* materializes assets with varying BackfillPolicies")

TODAY = datetime.now(UTC).date()
YESTERDAY = TODAY - timedelta(days=1)
OLD = TODAY - timedelta(days=100)


class House:
    """A bucket with its ledger, and the sensor that watches it."""

    def __init__(
        self, bucket: str, s3_options: dict[str, str], postgres_url: str, repository: dg.RepositoryDefinition
    ) -> None:
        self.options = s3_options
        self.repository = repository
        self.uploads = Objects(url=f"s3://{bucket}", **s3_options)
        self.postgres = Postgres(url=postgres_url)
        self.cursor: str | None = None
        self.postgres.migrate()

    def put(self, day: date, *names: str, data: bytes = b"x") -> None:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda name: self.uploads.store.put(f"uploads/{day}/1/{name}", data), names))

    def tick(self, uploads: Objects | None = None, instance: dg.DagsterInstance | None = None) -> Any:
        """One evaluation, as the daemon makes it, on the real definitions; the cursor is kept."""
        with nullcontext(instance) if instance else dg.DagsterInstance.ephemeral() as found_instance:
            context = dg.build_sensor_context(
                instance=found_instance,
                cursor=self.cursor,
                repository_def=self.repository,
                resources={"uploads": uploads or self.uploads, "database": self.postgres, "upload_queue": UploadQueue()},
            )
            found = new_uploads.evaluate_tick(context)
        self.cursor = found.cursor
        return found

    def asked(self, uploads: Objects | None = None) -> dict[str, int]:
        """The days that a tick asks runs for, with the number of their objects."""
        requests = self.tick(uploads).run_requests or []
        assert len({request.run_key for request in requests}) == len(requests)
        return {str(request.partition_key): int(request.tags["darkroom/objects"]) for request in requests}

    def known(self) -> list[tuple[Any, ...]]:
        """What the ledger holds: key, etag, day."""
        return self.postgres.read("select key, etag, day from objects order by key, seen_at").rows()

    def see(self) -> None:
        """What the runs that were asked for do: record the objects of each day as seen."""
        days = seen_objects.object_days(self.postgres, self.uploads.bucket).iter_rows(named=True)
        ledger.record(
            self.postgres,
            [
                Materialization("raw_uploads", day["day"], "d", 1, 0, "c", "i", {"outside": day["digest"]}, 1, None, "r")
                for day in days
            ],
        )


@contextmanager
def limits(**changed: Any) -> Iterator[None]:
    """The sensor with other limits of a round."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sensor, "LIMITS", replace(sensor.LIMITS, **changed))
        yield


@contextmanager
def patience(**changed: Any) -> Iterator[None]:
    """The sensor with another patience for runs that came to nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sensor, "PATIENCE", replace(sensor.PATIENCE, **changed))
        yield


@pytest.fixture(scope="module")
def repository() -> dg.RepositoryDefinition:
    return build_defs(Settings()).get_repository_def()


@pytest.fixture
def house(bucket: str, s3_options: dict[str, str], postgres_url: str, repository: dg.RepositoryDefinition) -> House:
    return House(bucket, s3_options, postgres_url, repository)


def test_an_empty_bucket_asks_for_nothing_and_says_so(house: House) -> None:
    tick = house.tick()
    assert not tick.run_requests
    assert tick.skip_message == "nothing new among 0 listed objects; 0 entered the ledger"


def test_each_day_with_new_objects_is_asked_for_once_in_one_request(house: House) -> None:
    house.put(TODAY, "a.jpg", "b.jpg")
    house.put(YESTERDAY, "a.jpg")
    house.put(OLD, "a.jpg")
    assert house.asked() == {str(TODAY): 2, str(YESTERDAY): 1, str(OLD): 1}
    house.see()
    assert house.asked() == {}


def test_a_request_stays_the_same_until_something_is_added(house: House) -> None:
    house.put(TODAY, "a.jpg")
    (first,) = house.tick().run_requests or []
    (again,) = house.tick().run_requests or []
    house.put(TODAY, "b.jpg")
    (more,) = house.tick().run_requests or []
    assert first.run_key == again.run_key != more.run_key


def test_objects_of_one_second_are_all_found_however_ticks_fall_between_them(house: House) -> None:
    """Last-modified has seconds, and many uploads share one. Each is followed by a tick as fast as both can be made."""
    names = [f"{n}.jpg" for n in range(6)]
    for name in names:
        house.put(TODAY, name)
        house.asked()
    assert [key.rsplit("/")[-1] for key, *_ in house.known()] == sorted(names)
    assert house.asked() == {str(TODAY): 6}


def test_an_overwrite_of_the_newest_key_is_a_new_version(house: House) -> None:
    house.put(TODAY, "a.jpg", data=b"first")
    house.asked()
    house.see()
    house.put(TODAY, "a.jpg", data=b"second")
    assert house.asked() == {str(TODAY): 2}
    versions = seen_objects.objects_of_days(house.postgres, house.uploads.bucket, [TODAY])
    read = {house.uploads.store.get(key, version_id=v) for key, v in versions.select("key", "version_id").iter_rows()}
    assert read == {b"first", b"second"}


def test_deletion_of_the_newest_key_stops_nothing(house: House) -> None:
    house.put(TODAY, "a.jpg", "z.jpg")
    house.asked()
    house.see()
    house.uploads.store.delete(f"uploads/{TODAY}/1/z.jpg")
    assert house.asked() == {}
    house.put(TODAY, "b.jpg")
    assert house.asked() == {str(TODAY): 3}
    assert len(house.known()) == 3


def test_a_late_object_of_an_old_day_asks_for_that_day_alone(house: House) -> None:
    house.put(TODAY, "a.jpg")
    house.asked()
    house.see()
    house.put(OLD, "late.jpg")
    assert house.asked() == {str(OLD): 1}


@pytest.mark.slow
def test_more_keys_than_a_page_are_all_found(house: House) -> None:
    house.put(YESTERDAY, *(f"{n:04}.jpg" for n in range(1050)))
    house.put(TODAY, "a.jpg")
    assert house.asked() == {str(YESTERDAY): 1050, str(TODAY): 1}
    house.see()
    assert house.asked() == {}


def test_a_failed_listing_moves_nothing_and_says_so(house: House) -> None:
    house.put(TODAY, "a.jpg")
    house.asked()
    house.see()
    house.put(TODAY, "b.jpg")
    cursor = house.cursor
    locked_out = Objects(url=house.uploads.url, **{**house.options, "secret_key": "wrong"})
    tick = house.tick(locked_out)
    assert not tick.run_requests
    assert str(tick.skip_message).startswith("listing failed: The credentials are refused")
    assert "wrong" not in str(tick.skip_message).split("An error occurred")[0]
    assert Cursor.from_json(tick.cursor) == Cursor.from_json(cursor)
    assert len(house.known()) == 1
    assert house.asked() == {str(TODAY): 2}


def test_a_bucket_that_is_gone_is_not_taken_for_an_empty_one(house: House) -> None:
    tick = house.tick(Objects(url="s3://no-such-bucket-here", **house.options))
    assert str(tick.skip_message).startswith("listing failed: ")


def test_a_crash_between_ledger_and_cursor_loses_nothing(house: House) -> None:
    house.put(TODAY, "a.jpg")
    house.tick()
    house.cursor = None  # the ledger was committed, the tick's answer never arrived
    assert house.asked() == {str(TODAY): 1}
    assert len(house.known()) == 1


@pytest.mark.parametrize("key", ["uploads/a.jpg", "uploads/not-a-day/1/a b.jpg"])
def test_a_key_without_a_day_is_asked_for_with_the_day_of_its_arrival(house: House, key: str) -> None:
    house.uploads.store.put(key, b"x")
    assert house.asked() in ({str(TODAY): 1}, {str(datetime.now(UTC).date()): 1})


@pytest.mark.parametrize("day", [date(1999, 1, 1), date(1, 1, 1), date(2999, 1, 1), date(9999, 12, 31)])
def test_a_key_of_a_day_that_is_no_partition_is_set_aside_and_its_neighbours_go_on(house: House, day: date) -> None:
    house.put(day, "a.jpg")
    house.put(TODAY, "a.jpg")
    assert house.asked() == {str(TODAY): 1}
    house.see()
    house.postgres.execute("delete from materializations where day = %s", (day,))
    said = str(house.tick().skip_message)
    assert f"uploads of {day} are set aside" in said
    wanted = "set DARKROOM_FIRST_DAY=" if day < TODAY else "once it has begun"
    assert ("their keys are wrong" if day.year == 1 else wanted) in said


def test_what_arrived_before_the_first_day_stops_no_tick(house: House) -> None:
    """Last-modified alone gives the day of a key that names none, and a bucket may be older than the project."""
    at = datetime(2020, 5, 1, 12, tzinfo=UTC)
    old = ObjectInfo("uploads/a.jpg", 1, "e", "v", at)
    seen_objects.add_objects(house.postgres, [seen_objects.seen_object(house.uploads.bucket, old, upload_day(old))])
    house.put(TODAY, "a.jpg")
    assert house.asked() == {str(TODAY): 1}
    assert {str(day) for *_, day in house.known()} == {"2020-05-01", str(TODAY)}


def test_a_key_of_tomorrow_waits_for_its_day_and_is_then_filed_under_it(house: House) -> None:
    """Two clocks differ at midnight: the photo's row in the database has the key's day, too."""
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    house.put(tomorrow, "a.jpg")
    if datetime.now(UTC).date() == tomorrow:
        pytest.skip("midnight has just passed")
    assert house.asked() == {}
    assert [day for *_, day in house.known()] == [tomorrow]
    pending = [PendingDay(*row) for row in seen_objects.pending_days(house.postgres, house.uploads.bucket)]
    assert existing([found.day for found in pending], tomorrow) == [tomorrow]


def run_of(instance: dg.DagsterInstance, day: date, state: str, status: dg.DagsterRunStatus) -> None:
    """A run of the day as Dagster's storage keeps it."""
    instance.add_run(
        dg.DagsterRun(
            job_name="ingest_uploads",
            run_id=str(uuid.uuid4()),
            status=status,
            tags={"dagster/partition": str(day), STATE_TAG: state},
            asset_selection=frozenset({dg.AssetKey("raw_uploads"), dg.AssetKey("photo_metadata")}),
        )
    )


def test_a_day_whose_run_failed_is_asked_for_again_under_another_name(house: House) -> None:
    house.put(TODAY, "a.jpg")
    with dg.DagsterInstance.ephemeral() as instance:
        (first,) = house.tick(instance=instance).run_requests or []
        run_of(instance, TODAY, first.tags[STATE_TAG], dg.DagsterRunStatus.FAILURE)
        resting = house.tick(instance=instance)
        assert not resting.run_requests
        assert "1 days have a run already, or rest after one that failed" in str(resting.skip_message)
        with patience(first_wait=timedelta(0)):
            (again,) = house.tick(instance=instance).run_requests or []
            assert again.run_key.startswith(f"{first.run_key}:after-")
        for _ in range(3):
            run_of(instance, TODAY, first.tags[STATE_TAG], dg.DagsterRunStatus.CANCELED)
        failing = house.tick(instance=instance)
        assert not failing.run_requests
        assert f"1 days failed 4 times or more and are tried again every 6:00:00: {TODAY}" in str(failing.skip_message)
        with patience(first_wait=timedelta(0), longest_wait=timedelta(0)):
            assert len(house.tick(instance=instance).run_requests or []) == 1


def test_objects_that_no_run_has_seen_are_asked_for_however_long_ago_they_came(house: House) -> None:
    house.put(OLD, "late.jpg")
    house.asked()
    house.postgres.execute("update object_days set newest_at = newest_at - interval '40 days'")
    assert house.asked() == {str(OLD): 1}


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
def test_a_day_with_a_run_under_way_is_not_asked_for_whatever_is_added(house: House, status: dg.DagsterRunStatus) -> None:
    house.put(TODAY, "a.jpg")
    with dg.DagsterInstance.ephemeral() as instance:
        (first,) = house.tick(instance=instance).run_requests or []
        run_of(instance, TODAY, first.tags[STATE_TAG], status)
        house.put(TODAY, "b.jpg")
        assert not house.tick(instance=instance).run_requests
        assert len(house.known()) == 2


def test_a_run_that_the_daemon_made_of_the_sensors_job_counts_by_its_plan(house: House) -> None:
    house.put(TODAY, "a.jpg")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.create_run_for_job(
            house.repository.get_job("ingest_uploads"),
            tags={"dagster/partition": str(TODAY)},
            status=dg.DagsterRunStatus.STARTED,
        )
        assert not house.tick(instance=instance).run_requests


@pytest.mark.parametrize("assets", [("raw_uploads", "photo_classes"), ("photo_classes",)])
def test_a_day_that_any_run_over_a_range_of_days_reads_is_left_to_it(house: House, assets: tuple[str, ...]) -> None:
    """As `darkroom run`, the nightly job and backfills have them."""
    house.put(TODAY, "a.jpg")
    house.put(OLD, "a.jpg")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_run(
            dg.DagsterRun(
                job_name="any",
                run_id=str(uuid.uuid4()),
                status=dg.DagsterRunStatus.STARTED,
                tags={
                    "dagster/asset_partition_range_start": str(YESTERDAY),
                    "dagster/asset_partition_range_end": str(TODAY),
                },
                asset_selection=frozenset(map(dg.AssetKey, assets)),
            )
        )
        asked = {request.partition_key for request in house.tick(instance=instance).run_requests or []}
    assert asked == ({str(OLD)} if "raw_uploads" in assets else {str(OLD), str(TODAY)})


def test_a_day_that_a_command_has_claimed_is_left_to_it_and_asked_for_when_it_ends_without_having_seen_it(
    house: House,
) -> None:
    house.put(TODAY, "a.jpg")
    house.put(OLD, "a.jpg")
    with claims.hold(house.postgres, "darkroom run", [Span("raw_uploads", YESTERDAY, TODAY)]):
        assert house.asked() == {str(OLD): 1}
    assert house.asked() == {str(OLD): 1, str(TODAY): 1}


def test_a_key_that_got_its_old_content_back_is_a_new_version(house: House) -> None:
    for data in (b"A", b"B"):
        house.put(TODAY, "a.jpg", data=data)
        house.asked()
    time.sleep(1.1)  # last-modified has seconds: a version of the same second is left to the nightly walk
    house.put(TODAY, "a.jpg", data=b"A")
    assert house.asked() == {str(TODAY): 3}
    assert house.asked() == {str(TODAY): 3}


@pytest.mark.slow
def test_a_backlog_is_listed_in_one_tick_by_rounds_and_its_version_ids_are_the_ones_to_read_with(house: House) -> None:
    house.put(OLD, *(f"{n:04}.jpg" for n in range(1500)))
    with limits(keys_per_round=400):
        assert house.asked() == {str(OLD): 1500}
        assert house.tick().run_requests
    rows = house.postgres.read("select key, version_id from objects").rows()
    assert len(rows) == 1500
    assert all(house.uploads.store.get(key, version_id=version) == b"x" for key, version in rows[::100])


def test_a_tick_ends_when_its_time_is_up_and_the_next_goes_on(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.put(OLD, *(f"{n:02}.jpg" for n in range(30)))
    monkeypatch.setattr(sensor, "TICK_S", 0.0)
    found = []
    with limits(keys_per_round=12, page_keys=4):
        for _ in range(8):
            house.tick()
            found.append(len(house.known()))
    assert found[0] < 30
    assert found[-1] == 30
    assert max(b - a for a, b in itertools.pairwise(found)) <= 12

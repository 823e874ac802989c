"""The walk through the bucket: what was missed enters, what changed is recorded, and a killed walk goes on."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from resources.database import reconciliation, seen_objects
from resources.database.contract import Database
from resources.database.reconciliation import Totals
from resources.errors import AlreadyRunning, StoreUnavailable
from resources.objects.resource import Objects

DAY = date(2026, 2, 1)


class Bucket:
    """A bucket and its ledger."""

    def __init__(self, uploads: Objects, postgres: Database) -> None:
        self.uploads = uploads
        self.postgres = postgres
        postgres.migrate()

    def put(self, name: str, data: bytes = b"x") -> str | None:
        return self.uploads.store.put(f"uploads/{name}", data)

    def delete(self, name: str) -> None:
        self.uploads.store.delete(f"uploads/{name}")

    def see(self) -> None:
        """What the sensor's sweep does."""
        seen_objects.enter(self.postgres, self.uploads, list(self.uploads.store.list("uploads/")), lambda info: DAY)

    def reconcile(self, **options: Any) -> Totals:
        return reconciliation.reconcile(self.postgres, self.uploads, "uploads/", lambda info: DAY, **options)

    def rows(self) -> list[tuple[str, str]]:
        return self.postgres.read("select key, version_id from objects order by seen_at, key").rows()

    def fates(self) -> dict[str, str]:
        """The newest fate by version id."""
        return dict(self.postgres.read("select version_id, fate from object_fates order by fate_id").iter_rows())


@pytest.fixture
def postgres(empty_database: Database) -> Database:
    return empty_database


@pytest.fixture
def house(bucket: str, s3_options: dict[str, str], postgres: Database) -> Bucket:
    return Bucket(Objects(url=f"s3://{bucket}", **s3_options), postgres)


@pytest.fixture
def folder(tmp_path: Path, postgres: Database) -> Bucket:
    return Bucket(Objects(url=(tmp_path / "bucket").as_uri()), postgres)


def test_what_was_never_listed_enters_and_a_second_walk_finds_nothing(house: Bucket) -> None:
    made = {house.put(f"2026-02-01/{n % 3}/{n}.jpg") for n in range(9)}
    assert house.reconcile() == Totals(listed=9, entered=9)
    assert {version for _, version in house.rows()} == made
    assert house.reconcile() == Totals(listed=9)
    assert house.fates() == {}


def test_a_version_that_was_overwritten_between_two_ticks_enters_and_is_recorded_as_overwritten(house: Bucket) -> None:
    first = house.put("2026-02-01/1/a.jpg", b"A")
    house.see()
    second = house.put("2026-02-01/1/a.jpg", b"B")
    third = house.put("2026-02-01/1/a.jpg", b"A")
    assert house.reconcile() == Totals(listed=3, entered=2, overwritten=2)
    assert {version for _, version in house.rows()} == {first, second, third}
    assert house.fates() == {first: "overwritten", second: "overwritten"}
    assert house.reconcile() == Totals(listed=3)


def test_a_deletion_is_recorded_removes_no_row_and_can_be_taken_back(house: Bucket, s3_client: Any) -> None:
    version = house.put("2026-02-01/1/a.jpg")
    house.put("2026-02-01/1/b.jpg")
    house.see()
    house.delete("2026-02-01/1/a.jpg")
    assert house.reconcile().deleted == 1
    assert house.fates() == {version: "deleted"}
    assert len(house.rows()) == 2
    markers = s3_client.list_object_versions(Bucket=house.uploads.bucket)["DeleteMarkers"]
    s3_client.delete_object(Bucket=house.uploads.bucket, Key=markers[0]["Key"], VersionId=markers[0]["VersionId"])
    assert house.reconcile() == Totals(listed=2, restored=1)
    assert house.fates() == {version: "current"}
    assert house.reconcile() == Totals(listed=2)


def test_a_version_that_was_deleted_for_good_is_gone_once(house: Bucket, s3_client: Any) -> None:
    version = house.put("2026-02-01/1/a.jpg")
    house.put("2026-02-01/1/b.jpg")
    house.see()
    s3_client.delete_object(Bucket=house.uploads.bucket, Key="uploads/2026-02-01/1/a.jpg", VersionId=version)
    assert house.reconcile() == Totals(listed=1, gone=1)
    assert house.fates() == {version: "gone"}
    assert house.reconcile() == Totals(listed=1)
    assert len(house.rows()) == 2


def test_without_versions_an_overwritten_or_deleted_content_is_gone(folder: Bucket) -> None:
    folder.put("2026-02-01/1/a.jpg", b"A")
    folder.put("2026-02-01/1/b.jpg", b"B")
    folder.put("2026-02-01/1/c.jpg", b"C")
    folder.see()
    folder.put("2026-02-01/1/a.jpg", b"other")
    folder.delete("2026-02-01/1/b.jpg")
    assert folder.reconcile() == Totals(listed=2, entered=1, gone=2)
    assert folder.reconcile() == Totals(listed=2)
    assert len(folder.rows()) == 4


def test_a_dry_run_counts_the_same_and_changes_nothing(house: Bucket, s3_client: Any) -> None:
    gone = house.put("2026-02-01/1/gone.jpg")
    house.put("2026-02-01/1/a.jpg", b"A")
    house.see()
    house.put("2026-02-01/1/a.jpg", b"B")
    house.put("2026-02-01/1/b.jpg")
    s3_client.delete_object(Bucket=house.uploads.bucket, Key="uploads/2026-02-01/1/gone.jpg", VersionId=gone)
    before = house.rows()
    counted = house.reconcile(dry_run=True)
    assert (house.rows(), house.fates()) == (before, {})
    assert reconciliation.last_walk(house.postgres, house.uploads.bucket) is None
    assert house.reconcile() == counted == Totals(listed=3, entered=2, overwritten=1, gone=1)
    found = reconciliation.last_walk(house.postgres, house.uploads.bucket)
    assert found is not None
    assert found["entered"] == 2


class Killed(Exception):
    """The process ends here."""


@pytest.mark.parametrize("kill_after", [1, 2, 3])
def test_a_killed_walk_goes_on_where_it_was_and_misses_nothing(house: Bucket, kill_after: int) -> None:
    for n in range(12):
        house.put(f"2026-02-0{1 + n % 3}/1/{n:02}.jpg")
    steps: list[Totals] = []

    def kill(totals: Totals) -> None:
        steps.append(totals)
        if len(steps) == kill_after:
            raise Killed

    with pytest.raises(Killed):
        house.reconcile(step_versions=3, tell=kill)
    assert len(house.rows()) == steps[-1].listed < 12
    assert house.reconcile(step_versions=3, tell=steps.append) == Totals(listed=12, entered=12)
    assert len(steps) == 4
    assert len(set(house.rows())) == 12
    assert house.fates() == {}


def test_a_walk_whose_list_was_lost_starts_anew_and_takes_nothing_for_gone(house: Bucket) -> None:
    for n in range(6):
        house.put(f"2026-02-01/1/{n}.jpg")
    house.see()

    def kill(totals: Totals) -> None:
        raise Killed

    with pytest.raises(Killed):
        house.reconcile(step_versions=3, tell=kill)
    house.postgres.execute("delete from reconciled")  # as PostgreSQL does after a crash of its own
    assert house.reconcile(step_versions=3) == Totals(listed=6)
    assert house.fates() == {}


def test_what_enters_while_the_walk_goes_on_is_not_taken_for_gone(house: Bucket) -> None:
    for day in (2, 3):
        house.put(f"2026-02-0{day}/1/a.jpg")

    def arrive(totals: Totals) -> None:
        if totals.listed == 1:
            house.put("2026-02-01/1/behind.jpg")
            house.see()

    assert house.reconcile(step_versions=1, tell=arrive).gone == 0
    assert house.fates() == {}
    assert len(house.rows()) == 3


def test_two_walks_of_one_bucket_do_not_run_at_once(house: Bucket) -> None:
    house.put("2026-02-01/1/a.jpg")

    def second(totals: Totals) -> None:
        with pytest.raises(AlreadyRunning, match="being reconciled already"):
            house.reconcile()

    assert house.reconcile(tell=second).entered == 1
    assert house.reconcile().listed == 1


def test_a_store_that_does_not_answer_leaves_the_walk_where_it_is(house: Bucket, s3_options: dict[str, str]) -> None:
    house.put("2026-02-01/1/a.jpg")
    house.see()
    away = Objects(url=house.uploads.url, **{**s3_options, "endpoint": "http://127.0.0.1:9"})
    with pytest.raises(StoreUnavailable):
        reconciliation.reconcile(house.postgres, away, "uploads/", lambda info: DAY)
    assert house.fates() == {}
    assert house.reconcile() == Totals(listed=1)


def test_an_uploads_url_with_a_prefix_is_walked_below_it_alone(
    bucket: str, s3_options: dict[str, str], postgres: Database, s3_client: Any
) -> None:
    inside = Bucket(Objects(url=f"s3://{bucket}/team", **s3_options), postgres)
    inside.put("2026-02-01/1/a.jpg")
    s3_client.put_object(Bucket=bucket, Key="uploads/2026-02-01/1/other.jpg", Body=b"x")
    assert inside.reconcile() == Totals(listed=1, entered=1)
    assert [key for key, _ in inside.rows()] == ["uploads/2026-02-01/1/a.jpg"]
    inside.see()
    assert len(inside.rows()) == 1

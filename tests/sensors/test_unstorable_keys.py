"""Keys that no database can hold: S3 allows NUL, and a folder any bytes. They are kept aside, and stop neither intake nor walk."""

import time
from datetime import UTC, datetime

import pytest
from upload_world import World

from resources.database import reconciliation
from resources.database.contract import Database
from resources.database.rejects import MAX_KEY_BYTES, set_aside, why_unstorable
from sensors.uploads import list_uploads, upload_day
from sensors.uploads_decision import Cursor, Limits

DAY = datetime.now(UTC).date()
GOOD = [f"uploads/{DAY}/1/{name}" for name in ("a.jpg", "z.jpg", "é" * 400 + ".jpg")]
ODD = {
    f"uploads/{DAY}/1/m\x00.jpg": "NUL",
    f"uploads/{DAY}/1/\x00": "NUL",
    f"uploads/{DAY}/1/\ud800.jpg": "not valid Unicode",
    f"uploads/{DAY}/1/{'x' * MAX_KEY_BYTES}.jpg": "bytes; at most 2,000",
}


@pytest.fixture
def world() -> World:
    found = World("odd-keys")
    found.now = datetime.now(UTC)
    for key in [*GOOD, *(key for key in ODD if "\ud800" not in key)]:
        found.put(key, "x")
    return found


def rejects(database: Database) -> list[str]:
    """The reasons of what was kept aside from the listing."""
    return [reason for (reason,) in database.rows("select reason from queue_rejects where queue = 'listing of odd-keys'")]


def known(database: Database) -> set[str]:
    return {key for (key,) in database.rows("select key from objects")}


def test_listing_goes_on_beyond_such_a_key_and_keeps_it_aside_once(database: Database, world: World) -> None:
    uploads, cursor = world.uploads(), Cursor()
    for _ in range(3):
        found = list_uploads(uploads, database, cursor, DAY, Limits(keys_per_round=4, page_keys=2), time.monotonic() + 5)
        assert found.failure is None
        cursor = found.cursor
    assert known(database) == set(GOOD)
    assert len(rejects(database)) == 3
    assert set_aside(database) == ["3 keys or queue messages can't enter the ledger: see the table queue_rejects."]


def test_the_walk_goes_on_beyond_such_a_key_and_keeps_it_aside_once(database: Database, world: World) -> None:
    dry = reconciliation.reconcile(database, world.uploads(), "uploads/", upload_day, dry_run=True)
    assert (dry.entered, rejects(database)) == (len(GOOD), [])
    for _ in range(2):
        reconciliation.reconcile(database, world.uploads(), "uploads/", upload_day, step_versions=1)
    assert known(database) == set(GOOD)
    assert len(rejects(database)) == 3


@pytest.mark.parametrize("key", ODD)
def test_each_reason_is_told(key: str) -> None:
    assert ODD[key] in str(why_unstorable(key))


@pytest.mark.parametrize("key", GOOD)
def test_a_key_that_can_be_kept_has_no_reason(key: str) -> None:
    assert why_unstorable(key) is None

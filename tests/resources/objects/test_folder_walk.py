"""A folder with names that no store can hold: they stop neither its listing nor the intake of what lies beside them."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from resources.database.contract import Database
from resources.objects import folder_walk
from resources.objects.resource import Objects
from resources.objects.store import ObjectStore
from sensors.uploads import list_uploads
from sensors.uploads_decision import Cursor, Limits

DAY = datetime.now(UTC).date()
BELOW = f"uploads/{DAY}/1"
GOOD = [f"{BELOW}/{name}" for name in ("a.jpg", "m/b.jpg", "z.jpg")]
ODD: dict[str, Callable[[bytes], None]] = {
    "a newline": lambda folder: Path(os.fsdecode(folder), "a\nb.jpg").write_bytes(b"x"),
    "no UTF-8": lambda folder: Path(os.fsdecode(folder + b"/m\xff.jpg")).write_bytes(b"x"),
    "a link to itself": lambda folder: Path(os.fsdecode(folder), "l.jpg").symlink_to("l.jpg"),
    "a link that leads back": lambda folder: Path(os.fsdecode(folder), "l").symlink_to("."),
    "a folder of no UTF-8": lambda folder: Path(os.fsdecode(folder + b"/\xff")).mkdir(),
}


@pytest.fixture(params=ODD)
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    for key in GOOD:
        path = tmp_path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    ODD[request.param](os.fsencode(tmp_path / BELOW))
    return tmp_path


def test_what_lies_beside_an_odd_name_is_listed(root: Path) -> None:
    store = ObjectStore.open(root.as_uri())
    listed = {info.key: info for info in store.list("uploads/")}
    assert set(GOOD) <= listed.keys()
    assert {key: listed[key] for key in GOOD} == {key: _listed(store, key) for key in GOOD}
    assert [info.key for info in store.list("uploads/", start_after=GOOD[1]) if info.key in GOOD] == GOOD[2:]
    assert list(store.folders("uploads/")) == [str(DAY)]
    assert "m" in list(store.folders(f"{BELOW}/"))


def test_the_intake_takes_in_what_lies_beside_an_odd_name(root: Path, database: Database) -> None:
    uploads, cursor = Objects(url=root.as_uri()), Cursor()
    for _ in range(3):
        found = list_uploads(uploads, database, cursor, DAY, Limits(keys_per_round=4, page_keys=2), time.monotonic() + 5)
        assert found.failure is None
        cursor = Cursor.from_json(found.cursor.to_json())
    assert set(GOOD) <= {key for (key,) in database.rows("select key from objects")}


@pytest.mark.parametrize("at_ns", [0, 1_234_567_890_123_456_789, -5_500_000_000, 13_569_465_600_000_000_001])
def test_a_walk_tells_of_a_file_what_the_store_does(tmp_path: Path, at_ns: int) -> None:
    path = tmp_path / "a" / "b.jpg"
    path.parent.mkdir()
    path.write_bytes(b"xyz")
    os.utime(path, ns=(at_ns, at_ns))
    [found] = folder_walk.files(tmp_path, "")
    [listed] = ObjectStore.open(tmp_path.as_uri()).list("")
    assert vars(found) == {
        "key": listed.key, "size": listed.size, "etag": listed.etag, "last_modified": listed.last_modified
    }  # fmt: skip


def _listed(store: ObjectStore, key: str) -> object:
    return store.head(key)

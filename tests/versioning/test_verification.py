"""Verifying: what is there and true is said to be, and each thing amiss is named, on a folder and on S3."""

import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from data_sets import DAYS, RULES, TABLE, pinned_folder, pinned_table, rows, write

from pipeline_assets.versioning.checkout.fetching import RANGE_BYTES
from pipeline_assets.versioning.pin.contents import Pinned
from pipeline_assets.versioning.pin.verification import verify
from resources.lake.lake import Lake
from resources.objects.store import ObjectStore

FILES = {f"small/{number}.bin": bytes([number]) * 3000 for number in range(4)}
LARGE = os.urandom(RANGE_BYTES + 77)


@pytest.fixture(params=["folder", "s3"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pinned(backend: str, object_store: Callable[[str], ObjectStore], tmp_path: Path) -> Pinned:
    return pinned_folder(object_store(backend), write(tmp_path / "source", {**FILES, "large.bin": LARGE}))


@pytest.fixture
def table(
    backend: str, request: pytest.FixtureRequest, object_store: Callable[[str], ObjectStore], tmp_path: Path
) -> Pinned:
    if backend == "folder":
        lake = Lake(url=(tmp_path / "lake").as_uri())
    else:
        lake = Lake(url=f"{request.getfixturevalue('s3_url')}/lake", **request.getfixturevalue("s3_options"))
    return pinned_table(object_store(backend), lake)


def named(pinned: Pinned, *, quick: bool = False) -> dict[str, str]:
    """Each fault by what it is of."""
    found = verify(pinned, RULES, quick=quick)
    assert found.ok == (not found.faults)
    assert found.faulty == len(found.faults)
    return {fault.what: fault.fault for fault in found.faults}


@pytest.mark.parametrize("quick", [False, True])
def test_what_is_whole_has_no_faults_and_all_of_it_is_counted(pinned: Pinned, quick: bool) -> None:
    found = verify(pinned, RULES, quick=quick)
    assert found.ok
    assert (found.files, found.bytes) == (5, 4 * 3000 + len(LARGE))


def test_each_damaged_file_is_named_however_it_is_stored(pinned: Pinned) -> None:
    store = pinned.stores["objects"]
    keys = dict(pinned.files.select("path", "key").iter_rows())
    pack = bytearray(store.get(keys["small/2.bin"]))
    pack[pinned.files.filter(path="small/2.bin")["offset"][0]] ^= 1
    store.put(keys["small/2.bin"], bytes(pack))
    store.put(keys["large.bin"], LARGE[:-1] + bytes([LARGE[-1] ^ 1]))
    found = named(pinned)
    assert set(found) == {"small/2.bin", "large.bin"}
    assert all("expected sha256" in fault for fault in found.values())
    assert named(pinned, quick=True) == {}


@pytest.mark.parametrize("quick", [False, True])
def test_deleted_and_cut_objects_are_named(pinned: Pinned, quick: bool) -> None:
    store = pinned.stores["objects"]
    keys = dict(pinned.files.select("path", "key").iter_rows())
    store.delete(keys["small/0.bin"])
    store.put(keys["large.bin"], LARGE[:-1])
    found = named(pinned, quick=quick)
    assert "large.bin" in found
    assert "the object is gone" in found["small/0.bin"]
    if quick:
        assert "3 other files in the same object" in found["small/0.bin"]
    else:
        assert set(found) == {*FILES, "large.bin"}


def test_rows_are_digested_at_the_pinned_version_whatever_is_written_later(table: Pinned) -> None:
    table.lake.replace(TABLE, DAYS, rows().with_columns(likes=pl.lit(0, pl.Int64)))
    found = verify(table, RULES, quick=True)
    assert found.ok
    assert found.tables == {TABLE: 6}


def test_rows_that_are_not_the_pinned_ones_are_told(table: Pinned) -> None:
    version = table.lake.replace(TABLE, DAYS, rows().with_columns(likes=pl.lit(0, pl.Int64)))
    shorter = table.lake.replace(TABLE, DAYS[:1], rows().filter(pl.col("day") == DAYS[0]).head(1))
    assert "differ from the pinned ones" in named(_at(table, version), quick=True)[f"table {TABLE}"]
    assert "has 4 rows in the pinned days, where 6 were pinned" in named(_at(table, shorter), quick=True)[f"table {TABLE}"]


def test_a_version_that_is_gone_and_a_table_without_rules_are_told(table: Pinned) -> None:
    assert "version 99 can't be read" in named(_at(table, 99), quick=True)[f"table {TABLE}"]
    (fault,) = verify(table, {}, quick=True).faults
    assert "no such asset" in fault.fault


@pytest.mark.slow
def test_the_findings_are_plain_data(table: Pinned) -> None:
    found = verify(table, {}, quick=True).plain()
    assert found["ok"] is False
    assert found["faults"][0]["what"] == f"table {TABLE}"


def _at(table: Pinned, version: int) -> Pinned:
    moved = table.reference.tables[TABLE].model_copy(update={"version": version})
    return Pinned(table.reference.model_copy(update={"tables": {TABLE: moved}}), table.lake, table.stores)

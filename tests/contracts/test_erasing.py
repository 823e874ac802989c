"""What erasing rows from all versions of a table promises, on a folder and a real S3 server."""

import secrets
import shutil
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import hypothesis
import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline_assets.errors import CleanUpRefused
from pipeline_assets.versioning.gc.table_files import read_log
from resources.errors import LogIncomplete
from resources.lake import erasing
from resources.lake import lake as lake_module
from resources.lake.erasing import Erased, erase_rows, list_of
from resources.lake.lake import Lake
from resources.objects.removal import holdings
from resources.objects.store import ObjectStore

FIRST = date(2026, 2, 1)
TABLE = "photos"
CANARY = "canary-7d1f"
PERSON = pl.col("user_id") == 7


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(params=["folder", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    """An empty lake. The servers start only if S3 is asked for."""
    if request.param == "folder":
        return Lake(url=(tmp_path / "lake").as_uri())
    return Lake(url=request.getfixturevalue("s3_url"), **request.getfixturevalue("s3_options"))


def rows(offset: int, users: list[int | None], mark: str = "a") -> pl.DataFrame:
    """A row for each user, of one day. The person's rows have the canary."""
    return pl.DataFrame(
        {
            "day": [FIRST + timedelta(days=offset)] * len(users),
            "user_id": users,
            "title": [CANARY if user == 7 else f"{mark} {user}" for user in users],
            "embedding": [[0.5, float(number)] for number in range(len(users))],
        },
        schema={"day": pl.Date, "user_id": pl.Int64, "title": pl.String, "embedding": pl.List(pl.Float32)},
    )


def history(lake: Lake) -> None:
    """Versions 1 to 6: two days, one replaced twice, one of the person alone, a later column, an emptied day, a checkpoint."""
    for offset, users in ((0, [1, 7, 2, 7]), (1, [7]), (0, [7, 3, None]), (2, [4, 5])):
        lake.replace(TABLE, [FIRST + timedelta(days=offset)], rows(offset, users))
    DeltaTable(lake.uri(TABLE), storage_options=lake.delta_options).create_checkpoint()
    lake.replace(TABLE, [FIRST + timedelta(days=3)], rows(3, [7, 8]).with_columns(note=pl.lit("later")))
    lake.replace(TABLE, [FIRST + timedelta(days=1)], rows(1, []))


def versions(lake: Lake, first: int = 1, last: int | None = None) -> dict[int, pl.DataFrame]:
    """The rows of each version, from `first` to `last`, as a reader without a cache reads them."""
    newest = DeltaTable(lake.uri(TABLE), storage_options=lake.delta_options).version() if last is None else last
    return {
        version: pl.scan_delta(lake.uri(TABLE), version=version, storage_options=lake.polars_options)
        .collect()
        .sort("day", "title", "user_id")
        for version in range(first, newest + 1)
    }


def without_person(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(PERSON.not_().fill_null(value=True))


def stored(lake: Lake) -> Iterator[bytes]:
    """All bytes of the table that the store has, of all versions of its objects."""
    for item in holdings(lake.store, f"tables/{TABLE}/"):
        if not item.is_marker:
            yield lake.store.get(item.key, version_id=item.version_id)


def has_canary(lake: Lake) -> bool:
    """Whether a byte string or a decoded file has the canary or the person's id."""
    data = list(stored(lake))
    decoded = [pl.read_parquet(one) for one in data if one[:4] == b"PAR1"]
    return any(CANARY.encode() in one for one in data) or any(
        not frame.filter(PERSON).is_empty() for frame in decoded if "user_id" in frame.columns
    )


def test_every_version_is_as_it_was_less_the_rows_and_nothing_has_them(lake: Lake) -> None:
    history(lake)
    before = versions(lake)
    assert has_canary(lake)
    assert erase_rows(lake, TABLE, PERSON) == Erased(files=4, rows=5)
    after = versions(lake, last=max(before))
    assert sum(frame.filter(PERSON).height for frame in before.values()) == 14
    for version, frame in before.items():
        assert_frame_equal(after[version], without_person(frame))
    assert not has_canary(lake)
    assert erase_rows(lake, TABLE, PERSON) == Erased()
    assert_frame_equal(lake.scan(TABLE).collect().sort("day", "title", "user_id"), after[max(before)])


def test_deltalake_and_duckdb_read_each_version_and_later_commits_work(tmp_path: Path) -> None:
    lake = Lake(url=(tmp_path / "lake").as_uri())
    history(lake)
    last = lake.version(TABLE)
    erase_rows(lake, TABLE, PERSON)
    lake.replace(TABLE, [FIRST], rows(0, [9]))
    for version, frame in versions(lake).items():
        table = DeltaTable(lake.uri(TABLE), version=version)
        read = pl.DataFrame(pl.from_arrow(table.to_pyarrow_table())).sort("day", "title", "user_id")
        assert_frame_equal(read, frame, check_column_order=False)
        assert table.count() == frame.height
        files = [f"{lake.uri(TABLE)}/{path}" for path in table.get_add_actions(flatten=True)["path"].to_pylist()]
        assert len(duckdb.read_parquet(files)) == frame.height
    assert lake.scan(TABLE, [FIRST]).collect()["user_id"].to_list() == [9]
    assert lake.scan(TABLE, version=last).filter(PERSON).collect().is_empty()


@hypothesis.settings(max_examples=25)
@hypothesis.given(
    commits=st.lists(
        st.tuples(st.integers(0, 2), st.lists(st.sampled_from([1, 2, 7, None]), max_size=4), st.booleans()),
        min_size=1,
        max_size=8,
    )
)
def test_any_history_loses_the_rows_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, commits: list[tuple[int, list[int | None], bool]]
) -> None:
    lake = Lake(url=(tmp_path_factory.mktemp("history") / "lake").as_uri())
    for number, (offset, users, is_checkpoint) in enumerate(commits):
        lake.replace(TABLE, [FIRST + timedelta(days=offset)], rows(offset, users, str(number)))
        if is_checkpoint:
            DeltaTable(lake.uri(TABLE)).create_checkpoint()
    before = versions(lake)
    erase_rows(lake, TABLE, PERSON)
    for version, frame in versions(lake, last=max(before)).items():
        assert_frame_equal(frame, without_person(before[version]))
    assert not has_canary(lake)


class Fuse:
    """Ends the process before the n-th change of the store, which is after the one before."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int) -> None:
        self.count, self.at = 0, at
        for owner, name in (
            (ObjectStore, "put"),
            (ObjectStore, "put_if_unchanged"),
            (ObjectStore, "delete"),
            (erasing, "remove"),
            (erasing, "_set"),
        ):
            patch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            if self.count == self.at:
                raise Killed
            return change(*arguments, **options)

        return counted


@pytest.mark.slow
def test_killed_before_any_change_twice_no_version_has_lost_or_doubled_a_row(tmp_path: Path) -> None:
    untouched = Lake(url=(tmp_path / "untouched").as_uri())
    history(untouched)
    before = versions(untouched)
    at = 0
    while True:
        at += 1
        shutil.copytree(tmp_path / "untouched", tmp_path / str(at))
        lake = Lake(url=(tmp_path / str(at)).as_uri())
        for _ in range(2):
            with pytest.MonkeyPatch.context() as patch:
                fuse = Fuse(patch, at)
                try:
                    erase_rows(lake, TABLE, PERSON)
                except Killed:
                    pass
                else:
                    assert fuse.count < at
            for version, frame in versions(lake, last=max(before)).items():
                others = without_person(before[version])
                assert_frame_equal(without_person(frame), others)
                files_left = {user: count for user, count in frame.group_by("user_id").len().iter_rows()}
                assert files_left.get(7, 0) <= before[version].filter(PERSON).height
        erase_rows(lake, TABLE, PERSON)
        for version, frame in versions(lake, last=max(before)).items():
            assert_frame_equal(frame, without_person(before[version]))
        assert not has_canary(lake)
        lake.replace(TABLE, [FIRST], rows(0, [1]))
        if fuse.count < at:
            return


def test_a_commit_waits_while_rows_are_erased_and_one_that_began_before_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(url=(tmp_path / "lake").as_uri())
    history(lake)
    began_before = DeltaTable(lake.uri(TABLE))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        Fuse(patch, 4)
        erase_rows(lake, TABLE, PERSON)
    with pytest.raises(Exception, match="Metadata changed"):
        write_deltalake(
            began_before, rows(0, [1]).to_arrow(), mode="overwrite", predicate=f"day = '{FIRST}'", schema_mode="merge"
        )
    monkeypatch.setattr(lake_module, "PATIENCE_S", 0.6)
    with pytest.raises(lake_module.TableClosed, match="run it again"):
        lake.replace(TABLE, [FIRST], rows(0, [1]))
    waits = iter([lambda: None, lambda: erase_rows(lake, TABLE, PERSON)])
    monkeypatch.setattr(lake_module.time, "sleep", lambda _: next(waits)())
    monkeypatch.setattr(lake_module, "PATIENCE_S", 60)
    lake.replace(TABLE, [FIRST], rows(0, [1]))
    assert lake.scan(TABLE, [FIRST]).collect()["user_id"].to_list() == [1]
    assert not has_canary(lake)


def test_a_log_with_a_gap_is_refused_and_nothing_is_changed(lake: Lake) -> None:
    history(lake)
    lake.store.delete(f"tables/{TABLE}/_delta_log/{2:020}.json")
    before = {info.key: info.etag for info in lake.store.list("tables/")}
    with pytest.raises(LogIncomplete, match="has a gap"):
        erase_rows(lake, TABLE, PERSON)
    assert {info.key: info.etag for info in lake.store.list("tables/")} == before


def test_a_clean_up_is_refused_until_an_erasure_is_finished(tmp_path: Path) -> None:
    lake = Lake(url=(tmp_path / "lake").as_uri())
    history(lake)
    log = list(holdings(lake.store, f"tables/{TABLE}/_delta_log/"))
    lake.store.put(list_of(TABLE), b'{"files": {}}')
    with pytest.raises(CleanUpRefused, match="erased"):
        read_log(TABLE, log, lake.store, lake)


def test_a_table_that_does_not_exist_has_nothing_to_erase(lake: Lake) -> None:
    assert erase_rows(lake, secrets.token_hex(4), PERSON) == Erased()

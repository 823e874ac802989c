"""What `Lake` and `LakeIO` promise, on every backend: a folder and a real S3 server."""

import json
import multiprocessing
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from polars.testing import assert_frame_equal

from resources.errors import StoreUnavailable, TableMissing, TypesChanged
from resources.lake.lake import Lake
from resources.lake.lake_io import LakeIO
from resources.lake.standing import standing

# Dagster's own call, for a resource (the lake) inside another (its IO manager).
pytestmark = pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated")

FIRST = date(2026, 2, 1)
SCHEMA = {
    "day": pl.Date,
    "key": pl.String,
    "at": pl.Datetime("us", "UTC"),
    "size_bytes": pl.Int64,
    "share": pl.Float32,
    "embedding": pl.List(pl.Float32),
    "ok": pl.Boolean,
}
PROCESSES = 4


@pytest.fixture(params=["folder", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    """An empty lake. The servers start only if S3 is asked for."""
    if request.param == "folder":
        return Lake(url=(tmp_path / "lake").as_uri())
    return Lake(url=request.getfixturevalue("s3_url"), **request.getfixturevalue("s3_options"))


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    """Worker processes of their own: what a second run on another machine is."""
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def day(offset: int) -> date:
    """A day of the tests' month."""
    return FIRST + timedelta(days=offset)


def rows(days: Sequence[date], *, rows_a_day: int = 2, mark: str = "first") -> pl.DataFrame:
    """Rows of all types that our tables use; `mark` tells one writing from another."""
    return pl.DataFrame(
        [
            {
                "day": of,
                "key": f"{mark}-{of}-{n}",
                "at": datetime(of.year, of.month, of.day, 23, 59, 59, 123456, tzinfo=UTC),
                "size_bytes": 2**40 + n,
                "share": None if n else 0.25,
                "embedding": [0.5, -1.25, 3.0] if n else [],
                "ok": n == 0,
            }
            for of in days
            for n in range(rows_a_day)
        ],
        schema=SCHEMA,
    )


def read(lake: Lake, days: Sequence[date] | None = None, version: int | None = None) -> pl.DataFrame:
    """A table's rows in the order of their key."""
    return lake.scan("photos", days, version).sort("day", "key").collect()


def files_read(frame: pl.LazyFrame) -> tuple[str, int]:
    """The partition of the first file that the plan of a lazy frame opens, and how many files it opens."""
    (scanned,) = re.findall(r"Parquet SCAN \[(.*)\]", frame.explain())
    first, *others = scanned.split(", ")
    more = sum(int(found[1]) if (found := re.match(r"\.\.\. (\d+) other", other)) else 1 for other in others)
    return re.findall(r"day=([\d-]+)", first)[0], 1 + more


def test_rows_come_back_with_the_types_that_were_written(lake: Lake) -> None:
    written = rows([day(0), day(1)])
    lake.replace("photos", [day(0), day(1)], written)
    assert_frame_equal(read(lake), written)
    assert dict(lake.scan("photos").collect_schema()) == SCHEMA


def test_a_write_replaces_exactly_the_days_that_it_names(lake: Lake) -> None:
    days = [day(n) for n in range(4)]
    lake.replace("photos", days, rows(days))
    again = rows([day(1), day(2)], rows_a_day=1, mark="second")
    lake.replace("photos", [day(1), day(2)], again)
    assert_frame_equal(read(lake), pl.concat([rows([day(0)]), again, rows([day(3)])]))


def test_a_write_is_one_commit_however_many_days_it_has(lake: Lake) -> None:
    days = [day(n) for n in range(20)]
    before = lake.replace("photos", days, rows(days))
    assert lake.replace("photos", days, rows(days, mark="second")) == before + 1 == lake.version("photos")


def test_a_day_that_was_named_and_has_no_rows_is_emptied(lake: Lake) -> None:
    lake.replace("photos", [day(0), day(1)], rows([day(0), day(1)]))
    lake.replace("photos", [day(0), day(1)], rows([day(1)], mark="second"))
    assert_frame_equal(read(lake), rows([day(1)], mark="second"))
    lake.replace("photos", [day(1)], rows([]))
    assert_frame_equal(read(lake), rows([]))


def test_a_table_can_begin_empty(lake: Lake) -> None:
    lake.replace("photos", [day(0)], rows([]))
    assert_frame_equal(read(lake), rows([]))
    lake.replace("photos", [day(0)], rows([day(0)]))
    assert_frame_equal(read(lake), rows([day(0)]))


@pytest.mark.parametrize("stray", [day(1), None])
def test_rows_of_other_days_are_refused_and_nothing_is_written(lake: Lake, stray: date | None) -> None:
    lake.replace("photos", [day(0)], rows([day(0)]))
    wrong = pl.concat([rows([day(0)]), rows([day(0)]).with_columns(day=pl.lit(stray, pl.Date))])
    with pytest.raises(ValueError, match="rows are of days that this write does not replace"):
        lake.replace("photos", [day(0)], wrong)
    assert_frame_equal(read(lake), rows([day(0)]))


def test_a_write_that_names_no_days_is_refused(lake: Lake) -> None:
    lake.replace("photos", [day(0)], rows([day(0)]))
    with pytest.raises(ValueError, match="no days"):
        lake.replace("photos", [], rows([]))
    assert_frame_equal(read(lake), rows([day(0)]))


def test_a_new_column_is_null_in_the_days_before_it(lake: Lake) -> None:
    lake.replace("photos", [day(0)], rows([day(0)]))
    lake.replace("photos", [day(1)], rows([day(1)]).with_columns(camera=pl.lit("Leica")))
    assert read(lake).select("day", "camera").unique(maintain_order=True).rows() == [(day(0), None), (day(1), "Leica")]


CHANGES = [
    ("size_bytes", pl.lit(2.7, pl.Float64), "size_bytes is long there and double in the new rows"),
    ("size_bytes", pl.lit(3, pl.Int32), "size_bytes is long there and integer in the new rows"),
    ("size_bytes", pl.lit("2", pl.String), "size_bytes is long there and string in the new rows"),
    ("share", pl.lit(0.1, pl.Float64), "share is float there and double in the new rows"),
    ("ok", pl.lit(2, pl.Int8), "ok is boolean there and byte in the new rows"),
    ("at", pl.lit(datetime(2026, 2, 1), pl.Datetime("us")), "at is timestamp there and timestamp_ntz in the new rows"),  # noqa: DTZ001
    ("at", pl.lit(FIRST, pl.Date), "at is timestamp there and date in the new rows"),
    ("embedding", pl.lit([0.1], pl.List(pl.Float64)), "embedding is float there and double in the new rows"),
    ("embedding", pl.lit(0.1, pl.Float32), "embedding is array there and float in the new rows"),
]


@pytest.mark.parametrize(("column", "value", "told"), CHANGES)
def test_a_column_of_another_type_is_refused_and_nothing_is_written(
    lake: Lake, column: str, value: pl.Expr, told: str
) -> None:
    """The writer would convert it to the table's type: 2.7 to 2."""
    before = lake.replace("photos", [day(0)], rows([day(0)]))
    with pytest.raises(TypesChanged, match=told):
        lake.replace("photos", [day(1)], rows([day(1)]).with_columns(value.alias(column)))
    assert lake.version("photos") == before
    assert_frame_equal(read(lake), rows([day(0)]))


def test_types_that_delta_keeps_as_others_are_no_change(lake: Lake) -> None:
    odd = {"u": pl.UInt16, "kind": pl.Enum(["a", "b"]), "at": pl.Datetime("ms", "UTC"), "s": pl.Struct({"a": pl.UInt8})}
    frame = pl.DataFrame(
        {"day": [day(0)], "u": [7], "kind": ["b"], "at": [datetime(2026, 2, 1, tzinfo=UTC)], "s": [{"a": 1}]}
    )
    for _ in range(2):
        lake.replace("odd", [day(0)], frame.cast({"day": pl.Date, **odd}))  # type: ignore[arg-type]
    wider = frame.cast({"day": pl.Date, **odd}).with_columns(s=pl.struct(a=pl.lit(1, pl.UInt8), b=pl.lit("new")))  # type: ignore[arg-type]
    lake.replace("odd", [day(0)], wider)
    with pytest.raises(TypesChanged, match=r"s\.b is string there and long in the new rows"):
        lake.replace("odd", [day(0)], wider.with_columns(s=pl.struct(a=pl.lit(1, pl.UInt8), b=pl.lit(1, pl.Int64))))


def test_an_older_version_stays_readable(lake: Lake) -> None:
    first = lake.replace("photos", [day(0)], rows([day(0)]))
    lake.replace("photos", [day(0), day(1)], rows([day(1)], mark="second"))
    assert_frame_equal(read(lake, version=first), rows([day(0)]))
    assert_frame_equal(read(lake), rows([day(1)], mark="second"))


def test_a_commit_that_another_program_makes_is_read_next(lake: Lake) -> None:
    lake.replace("photos", [day(0)], rows([day(0)]))
    planned = lake.scan("photos").sort("key")
    assert lake.version("photos") == 1
    elsewhere = DeltaTable(lake.uri("photos"), storage_options=lake.storage_options)
    elsewhere.delete("key like '%-1'")
    assert lake.version("photos") == 2
    assert read(lake).height == 1
    assert_frame_equal(planned.collect(), rows([day(0)]))  # a frame stays at the version that it was planned at


def test_a_table_that_was_deleted_and_made_again_is_read_anew(lake: Lake) -> None:
    for mark in ("first", "second"):
        lake.replace("photos", [day(0)], rows([day(0)], mark=mark))
    assert read(lake)["key"].str.starts_with("second").all()
    for info in list(lake.store.list("tables/photos/")):
        lake.store.delete(info.key)
    assert not lake.exists("photos")
    for mark in ("third", "fourth"):
        lake.replace("photos", [day(0)], rows([day(0)], mark=mark))
    assert lake.version("photos") == 2  # as before
    assert read(lake)["key"].str.starts_with("fourth").all()


def test_a_log_that_lost_its_newest_commit_is_read_at_the_one_before(lake: Lake) -> None:
    for mark in ("first", "second"):
        lake.replace("photos", [day(0)], rows([day(0)], mark=mark))
    assert lake.version("photos") == 2
    lake.store.delete(f"tables/photos/_delta_log/{2:020}.json")
    assert lake.version("photos") == 1
    assert read(lake)["key"].str.starts_with("first").all()


def test_reading_some_days_opens_their_files_only(lake: Lake) -> None:
    days = [day(n) for n in range(6)]
    lake.replace("photos", days, rows(days))
    assert files_read(lake.scan("photos"))[1] == 6
    assert files_read(lake.scan("photos", [day(2)])) == ("2026-02-03", 1)
    assert files_read(lake.scan("photos", [day(2), day(4)]))[1] == 2
    assert_frame_equal(read(lake, [day(2), day(4)]), rows([day(2), day(4)]))


def logged(lake: Lake, version: int) -> str:
    """The commit of a version, as the table's log has it."""
    return lake.store.get(f"tables/photos/_delta_log/{version:020}.json").decode()


def test_the_log_counts_rows_and_has_no_value_of_any_column(lake: Lake) -> None:
    written = lake.replace("photos", [day(0), day(1)], rows([day(0), day(1)], mark="a-name"))
    adds = [json.loads(line)["add"] for line in logged(lake, written).splitlines() if '"add"' in line]
    assert [json.loads(add["stats"])["numRecords"] for add in adds] == [2, 2]
    assert "a-name" not in logged(lake, written)
    assert standing(lake, "photos").rows == {day(0): 2, day(1): 2}


def test_a_table_of_an_earlier_darkroom_has_no_more_values_in_its_log_from_the_next_commit_on(lake: Lake) -> None:
    if not lake.url.startswith("s3://"):
        Path(lake.uri("photos")).mkdir(parents=True)
    options = lake.storage_options
    older = pl.DataFrame(rows([day(0)], mark="a-name")).to_arrow()
    write_deltalake(lake.uri("photos"), older, partition_by=["day"], storage_options=options)
    assert "a-name" in logged(lake, 0)
    versions = [lake.replace("photos", [day(n)], rows([day(n)], mark="another-name")) for n in (0, 1)]
    assert versions == [2, 3]  # the setting is a commit of its own, once
    assert not any("another-name" in logged(lake, version) for version in (1, 2, 3))
    assert_frame_equal(read(lake, version=0), rows([day(0)], mark="a-name"))
    assert_frame_equal(read(lake), pl.concat([rows([day(n)], mark="another-name") for n in (0, 1)]))


def test_the_newest_rows_are_found_without_opening_older_days(lake: Lake) -> None:
    days = [day(n) for n in range(4)]
    lake.replace("photos", days, pl.concat([rows(days[:1], rows_a_day=3), rows(days[1:])]))
    newest = lake.newest("photos", pl.lit(value=True), 3, ["key"])
    assert_frame_equal(newest, pl.concat([rows([day(2)])[1:], rows([day(3)])]))
    assert lake.newest("photos", pl.col("ok"), 3, ["key"])["day"].to_list() == days[1:]
    assert lake.newest("photos", pl.col("key").str.ends_with("-2"), 3, ["key"])["day"].to_list() == days[:1]
    assert_frame_equal(lake.newest("photos", pl.lit(value=False), 3, ["key"]), rows([]))
    for path in [path for path in lake.table("photos").file_uris() if str(day(0)) in path]:
        lake.store.delete(path.partition(lake.url.removeprefix("file://"))[2].lstrip("/"))
    assert lake.newest("photos", pl.lit(value=True), 6, ["key"]).height == 6


def test_days_that_are_not_there_read_as_no_rows(lake: Lake) -> None:
    lake.replace("photos", [day(0)], rows([day(0)]))
    assert_frame_equal(read(lake, [day(9)]), rows([]))
    assert_frame_equal(read(lake, []), rows([]))


def test_a_table_that_no_run_has_written_says_what_to_do(lake: Lake) -> None:
    assert not lake.exists("photos")
    assert lake.version("photos") == -1
    with pytest.raises(TableMissing, match=r"The table photos does not exist yet\. Materialize the asset photos first"):
        lake.scan("photos")


def test_the_commit_names_the_run_that_made_it(lake: Lake) -> None:
    lake.replace("photos", [day(0)], rows([day(0)]), note={"dagster_run_id": "abc"})
    assert lake.table("photos").history(1)[0]["dagster_run_id"] == "abc"


def test_any_delta_reader_opens_the_table_by_its_path(lake: Lake) -> None:
    lake.replace("photos", [day(0)], rows([day(0)]))
    table = DeltaTable(lake.uri("photos"), storage_options=lake.storage_options)
    assert table.metadata().partition_columns == ["day"]
    assert_frame_equal(
        pl.scan_delta(lake.uri("photos"), storage_options=lake.storage_options or None).sort("key").collect(), rows([day(0)])
    )


@pytest.mark.slow
def test_a_lake_that_does_not_answer_is_not_taken_for_a_missing_table(free_port: int) -> None:
    lake = Lake(url="s3://lake", endpoint=f"http://127.0.0.1:{free_port}", access_key="a", secret_key="b")  # noqa: S106
    with pytest.raises(StoreUnavailable, match="can't be reached") as found:
        lake.table("photos")
    assert "darkroom up" in str(found.value)


@pytest.mark.parametrize("name", ["a lake", "läke", "50%", "a#b", "a?b"])
def test_a_folder_that_polars_could_not_read_back_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    lake = Lake(url=(tmp_path / name).as_uri())
    with pytest.raises(ValueError, match="The lake can't lie in"):
        lake.replace("photos", [day(0)], rows([day(0)]))
    assert not list(tmp_path.iterdir())


def _write_days(arguments: tuple[dict[str, str], list[date], str]) -> list[int]:
    """In a process of its own: replace each day, one commit a day. Returns the versions."""
    lake, days, mark = Lake(**arguments[0]), arguments[1], arguments[2]
    return [lake.replace("photos", [of], rows([of], mark=mark)) for of in days]


def _fields(lake: Lake) -> dict[str, str]:
    return {name: getattr(lake, name) for name in ("url", "endpoint", "access_key", "secret_key", "region")}


@pytest.mark.slow
def test_processes_that_replace_different_days_at_once_all_succeed(lake: Lake, processes: Executor) -> None:
    """From the table's creation on, which they race for too."""
    shares = [[day(n) for n in range(process, 3 * PROCESSES, PROCESSES)] for process in range(PROCESSES)]
    versions = list(processes.map(_write_days, [(_fields(lake), share, f"process{n}") for n, share in enumerate(shares)]))
    expected = pl.concat([rows(share, mark=f"process{n}") for n, share in enumerate(shares)])
    assert_frame_equal(read(lake), expected.sort("day", "key"))
    assert all(mine == sorted(set(mine)) for mine in versions)


def test_processes_that_race_for_one_day_leave_one_whole_version(lake: Lake, processes: Executor) -> None:
    others = [day(1), day(2)]
    lake.replace("photos", [day(0), *others], rows([day(0), *others]))
    list(processes.map(_write_days, [(_fields(lake), [day(0)] * 3, f"process{n}") for n in range(PROCESSES)]))
    found = read(lake, [day(0)])
    winner = found["key"].item(0).split("-")[0]
    assert_frame_equal(found, rows([day(0)], mark=winner))
    assert_frame_equal(read(lake, others), rows(others))


# LakeIO, under real Dagster runs of plain assets.

february = dg.DailyPartitionsDefinition(str(FIRST), timezone="UTC", end_date="2026-03-01")


@dg.asset(partitions_def=february, backfill_policy=dg.BackfillPolicy.single_run())
def photos(context: dg.AssetExecutionContext) -> pl.DataFrame:
    """A frame of the run's days."""
    return rows([date.fromisoformat(key) for key in context.partition_keys], mark=context.run.tags.get("mark", "first"))


@dg.asset(partitions_def=february, backfill_policy=dg.BackfillPolicy.single_run())
def counts(photos: pl.LazyFrame) -> pl.LazyFrame:
    """A lazy frame of a lazy input, which stands for the run's days alone."""
    assert isinstance(photos, pl.LazyFrame)
    return photos.group_by("day").agg(rows=pl.len().cast(pl.Int64), files=pl.lit(files_read(photos)[1], pl.Int64))


@dg.asset
def total(counts: pl.LazyFrame) -> None:
    """An asset without partitions reads all days."""
    assert counts.select(pl.col("rows").sum()).collect().item() == 6


@pytest.fixture
def run(lake: Lake) -> Iterator[Callable[..., dg.ExecuteInProcessResult]]:
    """Runs the assets above over a range of days."""
    defs = dg.Definitions([photos, counts, total], resources={"io_manager": LakeIO(lake=lake)})
    job = defs.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:

        def launch(first: date | None, last: date | None, *names: str, **tags: str) -> dg.ExecuteInProcessResult:
            days = {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}
            chosen: Any = [dg.AssetKey(name) for name in names]
            return job.execute_in_process(
                instance=instance, asset_selection=chosen, tags={**(days if first else {}), **tags}
            )

        yield launch


def test_plain_assets_store_and_load_one_partition(lake: Lake, run: Callable[..., dg.ExecuteInProcessResult]) -> None:
    run(day(3), day(3), "photos", "counts")
    assert_frame_equal(read(lake), rows([day(3)]))
    assert lake.scan("counts").collect().rows() == [(day(3), 2, 1)]


@pytest.mark.slow
def test_plain_assets_store_a_range_in_one_commit_and_load_its_days_only(
    lake: Lake, run: Callable[..., dg.ExecuteInProcessResult]
) -> None:
    run(day(0), day(4), "photos")
    before = lake.version("photos")
    result = run(day(1), day(3), "photos", "counts", mark="second")
    assert lake.version("photos") == before + 1
    expected = pl.concat([rows([day(0)]), rows([day(1), day(2), day(3)], mark="second"), rows([day(4)])])
    assert_frame_equal(read(lake), expected.sort("day", "key"))
    assert lake.scan("counts").sort("day").collect().rows() == [(day(n), 2, 3) for n in (1, 2, 3)]
    (event, *_) = result.asset_materializations_for_node("photos")
    assert event.metadata["delta_version"].value == before + 1
    assert run(None, None, "total").success

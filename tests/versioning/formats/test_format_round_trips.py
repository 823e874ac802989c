"""What is exported and imported again is what it was: rows and bytes, in every format, on a folder and on S3."""

import json
import resource
from pathlib import Path

import polars as pl
import pytest
from formats_world import LABEL, World, exported, hexes, jpeg
from formats_world import ROWS as COUNT
from polars.testing import assert_frame_equal

from pipeline_assets.errors import ExportRefused
from pipeline_assets.versioning.formats import FORMATS
from pipeline_assets.versioning.formats.incoming import Reading
from pipeline_assets.versioning.formats.records import ExportOptions
from pipeline_assets.versioning.formats.storing import REJECTED, ROWS, store_batches
from pipeline_assets.versioning.pin.pins import reference
from resources.errors import CorruptObject, NoSpace

LISTS = ["top5_label", "embedding"]


def back(world: World, folder: Path, kind: str) -> tuple[pl.DataFrame, dict[str, bytes], dict[str, int]]:
    """Import a folder: its rows, its files by path, and what was kept aside by reason."""
    brought = store_batches(FORMATS[kind].load().batches(folder, Reading()), world.store)
    pinned = world.opened(reference(LABEL, brought.files, world.store, {}))
    files = {row["path"]: data for row, data in pinned.read(pinned.files)}
    rows = files.pop(ROWS, None)
    files.pop(REJECTED, None)
    assert all(isinstance(data, bytes) for data in files.values())
    return pl.read_parquet(rows) if rows else pl.DataFrame(), files, dict(brought.reasons)  # type: ignore[return-value]


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("world", ["folder", "s3"], indirect=True)
def test_a_table_comes_back_with_the_same_rows_and_bytes(world: World, tmp_path: Path, kind: str) -> None:
    pinned, rows, photos = world.table()
    done = exported(pinned, tmp_path / "out", kind, ExportOptions(rows_per_shard=10))
    assert done.rows == COUNT
    found, files, aside = back(world, tmp_path / "out", kind)
    expected = rows.drop(LISTS) if kind == "coco" else rows
    assert_frame_equal(found.select(expected.columns), expected)
    assert aside == {}
    assert {hexes(data): data for data in files.values()} == photos
    assert [files[path] for path in found["path"]] == [photos[sha256] for sha256 in rows["sha256"]]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_folder_comes_back_with_the_same_paths_and_bytes(world: World, tmp_path: Path, kind: str) -> None:
    given = {"a/ü 1.jpg": jpeg(1), "a/b.png.jpg": jpeg(2), "same.jpg": jpeg(1)}
    given |= {} if kind == "coco" else {"empty": b"", "notes.txt": b"\0\xff"}
    exported(world.folder(tmp_path / "in", given), tmp_path / "out", kind)
    found, files, aside = back(world, tmp_path / "out", kind)
    assert files == given
    assert aside == {}
    assert found["path"].to_list() == sorted(given)
    assert found["size_bytes"].to_list() == [len(given[path]) for path in found["path"]]


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "coco"])
def test_rows_without_files_come_back_as_they_were(world: World, tmp_path: Path, kind: str) -> None:
    pinned, rows, _ = world.table()
    asked = ExportOptions(columns=["photo_id", "title", "day", "embedding"], with_bytes=False)
    exported(pinned, tmp_path / "out", kind, asked)
    found, files, _ = back(world, tmp_path / "out", kind)
    expected = rows.select("photo_id", "title", "day", "embedding")
    assert_frame_equal(found.select(expected.columns), expected)
    assert files == {}


@pytest.mark.parametrize("kind", FORMATS)
def test_an_export_is_the_same_bytes_each_time(world: World, tmp_path: Path, kind: str) -> None:
    pinned, _, _ = world.table()
    told = []
    for name in ("one", "two"):
        exported(pinned, tmp_path / name, kind, ExportOptions(rows_per_shard=7))
        told.append({p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()})
    assert told[0].keys() == told[1].keys()
    assert [path for path in told[0] if told[0][path] != told[1][path]] == []


def test_shards_have_the_rows_that_were_asked_for_and_are_listed(world: World, tmp_path: Path) -> None:
    pinned, _, _ = world.table()
    exported(pinned, tmp_path / "out", "parquet", ExportOptions(rows_per_shard=10))
    listed = json.loads((tmp_path / "out" / "_darkroom.json").read_bytes())
    assert [entry["file"] for entry in listed["files"]] == [f"set-{n:05}.parquet" for n in range(3)]
    assert [entry["sha256"] for entry in listed["files"]] == [
        hexes((tmp_path / "out" / entry["file"]).read_bytes()) for entry in listed["files"]
    ]
    heights = [pl.read_parquet(tmp_path / "out" / entry["file"]).height for entry in listed["files"]]
    assert heights == [10, 10, 4]
    assert listed["rows"] == COUNT


def test_shards_are_cut_by_size(world: World, tmp_path: Path) -> None:
    pinned = world.folder(tmp_path / "in", {f"{n}.bin": bytes(40_000) + bytes([n]) for n in range(6)})
    exported(pinned, tmp_path / "out", "parquet", ExportOptions(shard_bytes=100_000))
    assert [pl.read_parquet(path).height for path in sorted((tmp_path / "out").glob("*.parquet"))] == [2, 2, 2]
    exported(pinned, tmp_path / "tiny", "parquet", ExportOptions(shard_bytes=1))
    assert len(list((tmp_path / "tiny").glob("*.parquet"))) == 6


@pytest.mark.parametrize("kind", FORMATS)
def test_days_without_rows_make_one_empty_shard_that_comes_back_with_its_columns(
    world: World, tmp_path: Path, kind: str
) -> None:
    pinned, rows, _ = world.table()
    day = rows["day"].max()
    exported(pinned, tmp_path / "some", kind, ExportOptions(days=(day, day)))  # type: ignore[arg-type]
    some, _, _ = back(world, tmp_path / "some", kind)
    assert some["day"].unique().to_list() == [day]
    done = exported(pinned, tmp_path / "none", kind, ExportOptions(days=(day.replace(year=2030),) * 2))  # type: ignore
    assert (done.rows, done.files) == (0, 2)
    none, files, aside = back(world, tmp_path / "none", kind)
    assert (none.schema, none.height, files, aside) == (some.schema, 0, {}, {})


@pytest.mark.parametrize("kind", FORMATS)
def test_a_column_that_is_named_twice_comes_once(world: World, tmp_path: Path, kind: str) -> None:
    pinned, rows, _ = world.table()
    exported(pinned, tmp_path / "out", kind, ExportOptions(columns=["photo_id", "sha256", "photo_id"]))
    found, _, _ = back(world, tmp_path / "out", kind)
    assert found["photo_id"].to_list() == rows["photo_id"].to_list()


def test_a_folder_that_is_not_empty_is_left_as_it_is(world: World, tmp_path: Path) -> None:
    pinned = world.folder(tmp_path / "in", {"a": b"1"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_bytes(b"precious")
    with pytest.raises(ExportRefused, match="not an empty folder"):
        exported(pinned, tmp_path / "out", "parquet")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_file_ends_the_export_and_leaves_no_half_shard(world: World, tmp_path: Path, kind: str) -> None:
    pinned, rows, _ = world.table()
    sha256 = rows["sha256"][15]
    world.store.put(f"sha256/{sha256[:2]}/{sha256[2:]}", b"other bytes")
    with pytest.raises(CorruptObject):
        exported(pinned, tmp_path / "out", kind, ExportOptions(rows_per_shard=5, columns=["photo_id", "sha256"]))
    left = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert not [name for name in left if name.startswith(".") or name in ("_darkroom.json", "annotations.json")]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (ExportOptions(columns=["photo_id", "likes"]), "no column likes. It has: day, photo_id"),
        (ExportOptions(columns=["sha256"], with_bytes=False), "these rows have none"),
    ],
)
def test_what_can_not_be_exported_is_said(world: World, tmp_path: Path, asked: ExportOptions, said: str) -> None:
    pinned, _, _ = world.table()
    with pytest.raises(ExportRefused, match=said):
        exported(pinned, tmp_path / "out", "coco", asked)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_full_disk_is_said_and_leaves_no_half_file(world: World, tmp_path: Path, kind: str) -> None:
    pinned, _, _ = world.table()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, before[1]))
    try:
        with pytest.raises(NoSpace, match="export to a larger disk"):
            exported(pinned, tmp_path / "out", kind)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    left = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert not [name for name in left if not name.endswith(".jpg")]

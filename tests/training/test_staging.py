import hashlib
import json
import multiprocessing
import os
import random
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from simulated_rows import FIRST_DAY, training_rows

from pipeline_assets.errors import NothingToTrainOn, SchemaMismatch, StagingCorrupt
from pipeline_assets.training.schemas import StagedTrainingSet
from pipeline_assets.training.shards.pruning import prune
from pipeline_assets.training.shards.staging import read_manifest, shards_frame, stage, verify
from pipeline_assets.training.shards.staging_plan import plan

ROWS = training_rows(200)


def staged(root: Path, rows: pl.DataFrame = ROWS, shard_rows: int = 32, read_rows: int = 70) -> Path:
    planned = plan(rows.lazy(), table_version=3, shard_rows=shard_rows, read_rows=read_rows)
    stage(rows.lazy(), root / planned.name, planned)
    return root / planned.name


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rows_of(folder: Path, split: str) -> pl.DataFrame:
    tables = [pa.ipc.open_file(path).read_all() for path in sorted(folder.glob(f"{split}-*.arrow"))]
    return pl.DataFrame(pa.concat_tables(tables))


def test_the_shards_hold_the_mature_rows_of_each_split_by_day_and_photo(tmp_path: Path) -> None:
    young = ROWS.with_columns(popularity=pl.when(pl.col("photo_id") % 5 > 0).then("popularity"))
    folder = staged(tmp_path, young)
    for split in ("train", "validation", "test"):
        mature = young.filter(pl.col("split") == split, pl.col("popularity").is_not_null()).sort("day", "photo_id")
        columns = ["photo_id", "day", "popularity", pl.col("embedding").list.to_array(48)]
        assert_frame_equal(rows_of(folder, split).drop("features"), mature.select(columns))


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(order=st.randoms(use_true_random=False), read_rows=st.integers(1, 250))
def test_neither_the_order_of_rows_nor_how_many_are_read_at_once_changes_a_byte(
    tmp_path_factory: pytest.TempPathFactory, order: random.Random, read_rows: int
) -> None:
    positions = list(range(ROWS.height))
    order.shuffle(positions)
    shuffled = staged(tmp_path_factory.mktemp("a"), ROWS[positions], read_rows=read_rows)
    plain = staged(tmp_path_factory.mktemp("b"))
    assert shuffled.name == plain.name
    assert contents(shuffled) == contents(plain)


def test_the_name_changes_with_a_label_a_feature_a_split_and_the_shard_size() -> None:
    first = pl.col("photo_id") == 1
    variants = [
        ROWS,
        ROWS.with_columns(popularity=pl.when(first).then(pl.col("popularity") + 0.5).otherwise("popularity")),
        ROWS.with_columns(has_location=pl.col("has_location") ^ first),
        ROWS.with_columns(split=pl.when(first).then(pl.lit("elsewhere")).otherwise("split")),
        ROWS.with_columns(sha256=pl.when(first).then(pl.lit("0" * 64)).otherwise("sha256")),
    ]
    names = {plan(rows.lazy(), table_version=3).name for rows in variants}
    names.add(plan(ROWS.lazy(), table_version=3, shard_rows=9).name)
    assert len(names) == 6
    assert all(name.startswith("v3-2026-05-01-2026-05-05-") for name in names)


@pytest.mark.parametrize(
    "killed",
    ["before_any_shard", "after_two_shards", "in_the_journal", "before_the_manifest", "after_a_shard_was_truncated"],
)
def test_a_staging_that_died_is_resumed_to_the_same_bytes(tmp_path: Path, killed: str) -> None:
    whole = contents(staged(tmp_path / "whole"))
    planned = plan(ROWS.lazy(), table_version=3, shard_rows=32, read_rows=70)
    folder = tmp_path / planned.name
    entries = json.loads(whole["manifest.json"])["shards"]
    folder.mkdir()
    kept = {"before_any_shard": 0, "after_two_shards": 2, "in_the_journal": 3}.get(killed, len(entries))
    (folder / "staging.json").write_bytes(whole["staging.json"])
    (folder / ".writing-abc").write_bytes(b"half a shard")
    for entry in entries[:kept]:
        (folder / entry["shard"]).write_bytes(whole[entry["shard"]])
    journal = "".join(json.dumps(entry) + "\n" for entry in entries[:kept])
    (folder / "shards.jsonl").write_text(journal[: -20 if killed == "in_the_journal" else None])
    if killed == "after_a_shard_was_truncated":
        path = folder / entries[1]["shard"]
        path.write_bytes(path.read_bytes()[:-1])
    before = {path.name: path.stat().st_ino for path in folder.glob("*.arrow")}
    stage(ROWS.lazy(), folder, planned)
    assert contents(folder) == whole
    rewritten = {name for name, inode in before.items() if (folder / name).stat().st_ino != inode}
    torn = {"in_the_journal": 2, "after_a_shard_was_truncated": 1}
    assert rewritten == ({entries[torn[killed]]["shard"]} if killed in torn else set())


def _stage_until_killed(folder: Path, shards: int) -> None:
    planned = plan(ROWS.lazy(), table_version=3, shard_rows=32, read_rows=70)
    stage(ROWS.lazy(), folder / planned.name, planned, on_shard=lambda _: _die_at(folder / planned.name, shards))


def _die_at(folder: Path, shards: int) -> None:
    if len(list(folder.glob("*.arrow"))) == shards:
        os._exit(9)


@pytest.mark.slow
def test_a_process_killed_while_staging_leaves_its_shards_to_the_next(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_stage_until_killed, args=(tmp_path, 3))
    process.start()
    process.join()
    assert process.exitcode == 9
    (folder,) = tmp_path.iterdir()
    left = {path.name: path.stat().st_ino for path in folder.glob("*.arrow")}
    assert len(left) == 3
    with pytest.raises(StagingCorrupt, match="incomplete"):
        verify(folder)
    assert staged(tmp_path) == folder
    assert all((folder / name).stat().st_ino == inode for name, inode in left.items())
    assert contents(folder) == contents(staged(tmp_path / "whole"))


def test_a_finished_staging_reads_no_rows_again(tmp_path: Path) -> None:
    folder = staged(tmp_path)
    planned = plan(ROWS.lazy(), table_version=3, shard_rows=32, read_rows=70)
    told = []
    gone = pl.scan_parquet(tmp_path / "gone.parquet")
    shards = stage(gone, folder, planned, on_shard=told.append)
    assert told == shards == verify(folder)


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_verify_names_the_damaged_shard_and_staging_again_mends_it_alone(tmp_path: Path, damage: str) -> None:
    folder = staged(tmp_path)
    whole, path = contents(folder), folder / "validation-00000.arrow"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    if damage != "remove":
        path.write_bytes(data if damage == "flip" else data[:-8])
    with pytest.raises(StagingCorrupt, match=r"validation-00000\.arrow"):
        verify(folder)
    inode = (folder / "train-00000.arrow").stat().st_ino
    assert staged(tmp_path) == folder
    assert contents(folder) == whole
    assert (folder / "train-00000.arrow").stat().st_ino == inode


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "parquet"}'])
def test_a_manifest_that_is_not_ours_is_refused(tmp_path: Path, text: str) -> None:
    folder = staged(tmp_path)
    (folder / "manifest.json").write_text(text)
    with pytest.raises(StagingCorrupt, match="manifest"):
        read_manifest(folder)
    staged(tmp_path)
    assert verify(folder)


def test_the_shard_records_keep_their_schema_and_their_files_digests(tmp_path: Path) -> None:
    folder = staged(tmp_path)
    frame = StagedTrainingSet.validate(shards_frame(folder, FIRST_DAY), cast=False)
    assert frame["rows"].sum() == ROWS.height
    for shard, size, sha256 in frame.select("shard", "size_bytes", "sha256").iter_rows():
        data = (folder / shard).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (size, sha256)


def test_the_bytes_needed_cover_the_staging_and_little_more(tmp_path: Path) -> None:
    rows = training_rows(3000, dim=256)
    planned = plan(rows.lazy(), table_version=1, shard_rows=1000)
    stage(rows.lazy(), tmp_path / "staging", planned)
    taken = sum(path.stat().st_size for path in (tmp_path / "staging").iterdir())
    assert taken <= planned.bytes_needed() <= 1.05 * taken


def test_rows_that_changed_since_the_plan_are_refused(tmp_path: Path) -> None:
    planned = plan(ROWS.lazy(), table_version=3)
    with pytest.raises(StagingCorrupt, match="pinned"):
        stage(ROWS.head(150).lazy(), tmp_path / "staging", planned)


def test_a_folder_with_anything_else_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StagingCorrupt, match="choose another folder"):
        stage(ROWS.lazy(), tmp_path, plan(ROWS.lazy(), table_version=3))
    assert (tmp_path / "thesis.tex").read_text() == "x"
    folder = staged(tmp_path / "staging")
    other = plan(ROWS.head(100).lazy(), table_version=3)
    with pytest.raises(StagingCorrupt, match="other rows"):
        stage(ROWS.head(100).lazy(), folder, other)


def test_without_mature_rows_there_is_nothing_to_plan() -> None:
    young = ROWS.with_columns(popularity=pl.lit(None, pl.Float32))
    with pytest.raises(NothingToTrainOn, match="seven days"):
        plan(young.lazy(), table_version=1)


def test_embeddings_of_two_models_or_two_lengths_are_refused(tmp_path: Path) -> None:
    first = pl.col("photo_id") == 7
    with pytest.raises(SchemaMismatch, match="efficientnet-lite0, other"):
        mixed = ROWS.with_columns(model_id=pl.when(first).then(pl.lit("other")).otherwise("model_id"))
        plan(mixed.lazy(), table_version=1)
    ragged = ROWS.with_columns(
        embedding=pl.when(first).then(pl.col("embedding").list.head(5)).otherwise(pl.col("embedding"))
    ).sort(first)
    with pytest.raises(SchemaMismatch, match="first photo 7"):
        staged(tmp_path, ragged)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_feature_or_embedding_that_is_not_finite_is_refused(tmp_path: Path, value: float) -> None:
    first = pl.col("photo_id") == 7
    with pytest.raises(SchemaMismatch, match="contrast"):
        staged(tmp_path, ROWS.with_columns(contrast=pl.when(first).then(value).otherwise("contrast").cast(pl.Float32)))
    bad = pl.lit(pl.Series([[value] * 48], dtype=pl.List(pl.Float32)))
    with pytest.raises(SchemaMismatch, match="photo 7"):
        staged(tmp_path, ROWS.with_columns(embedding=pl.when(first).then(bad).otherwise("embedding")))


def stagings(root: Path, count: int) -> list[Path]:
    """Stagings of one version each, oldest first."""
    folders = []
    for version in range(count):
        planned = plan(ROWS.lazy(), table_version=version)
        stage(ROWS.lazy(), root / planned.name, planned)
        os.utime(root / planned.name / "manifest.json", (version, version))
        folders.append(root / planned.name)
    return folders


def test_prune_keeps_the_newest_and_the_protected(tmp_path: Path) -> None:
    folders = stagings(tmp_path, 5)
    before = contents(folders[1])
    assert prune(tmp_path, keep=2, protect=[folders[0].name], dry_run=True) == [folders[2], folders[1]]
    assert contents(folders[1]) == before
    assert prune(tmp_path, keep=2, protect=[folders[0].name]) == [folders[2], folders[1]]
    assert sorted(tmp_path.iterdir()) == sorted([folders[0], folders[3], folders[4]])
    assert prune(tmp_path, keep=2, protect=[folders[0].name]) == []


def test_prune_touches_nothing_that_staging_did_not_write(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (ours,) = stagings(root, 1)
    (elsewhere,) = stagings(tmp_path / "elsewhere", 1)
    (root / "link").symlink_to(elsewhere)
    (root / "file").write_text("x")
    for name, marker in {"bare": None, "foreign": "{}", "broken": "{"}.items():
        (root / name).mkdir()
        (root / name / "train-00000.arrow").write_text("x")
        if marker:
            (root / name / "staging.json").write_text(marker)
    (ours / "notes.txt").write_text("mine")
    (ours / "train-00000.arrow.d").mkdir()
    assert prune(root, keep=0) == [ours]
    assert sorted(path.name for path in ours.iterdir()) == ["notes.txt", "train-00000.arrow.d"]
    assert {path.name for path in root.iterdir()} == {ours.name, "link", "file", "bare", "foreign", "broken"}
    assert verify(elsewhere)
    assert all((root / name / "train-00000.arrow").exists() for name in ("bare", "foreign", "broken"))


def test_prune_removes_an_incomplete_staging_too_and_a_missing_root_is_empty(tmp_path: Path) -> None:
    (ours,) = stagings(tmp_path, 1)
    (ours / "manifest.json").unlink()
    (ours / ".writing-x").write_text("half")
    assert prune(tmp_path, keep=0) == [ours]
    assert list(tmp_path.iterdir()) == []
    assert prune(tmp_path / "nowhere", keep=0) == []
    with pytest.raises(ValueError, match="keep=-1"):
        prune(tmp_path, keep=-1)

"""Checking out: what comes, what stays, what is refused, on a folder and on S3."""

import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from data_sets import DAYS, SECRET, TABLE, content, photo, pinned_files, pinned_folder, pinned_table, rows, write
from polars.testing import assert_frame_equal

from pipeline_assets.errors import BadSelection, CheckoutIncomplete, CheckoutRefused, ManifestBroken
from pipeline_assets.versioning.checkout import checkout as checkouts
from pipeline_assets.versioning.checkout.content_cache import ContentCache
from pipeline_assets.versioning.checkout.placement import IN_MEMORY_BELOW
from pipeline_assets.versioning.checkout.plan import case_clash
from pipeline_assets.versioning.checkout.selection import select
from pipeline_assets.versioning.checkout.state import STATE_FILE
from pipeline_assets.versioning.checkout.target import OWN, Target
from pipeline_assets.versioning.checkout.work import Report
from pipeline_assets.versioning.pin.contents import Pinned
from pipeline_assets.versioning.pin.manifest import SCHEMA
from pipeline_assets.versioning.pin.verification import verify
from resources.errors import AlreadyRunning
from resources.lake.lake import Lake
from resources.objects import s3
from resources.objects.store import ObjectStore, content_key

checkout = partial(checkouts.checkout, secret=SECRET)
rehearse = partial(checkouts.rehearse, secret=SECRET)
FILES = {"a.txt": b"a", "empty": b"", "deep/er/b.bin": b"b" * 5000, "deep/same.bin": b"b" * 5000, "ü and spaces": b"u"}
LARGE = {**FILES, "large.bin": os.urandom(IN_MEMORY_BELOW + 1234)}


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, object_store: Callable[[str], ObjectStore]) -> ObjectStore:
    return object_store(request.param)


@pytest.fixture
def folder_store(object_store: Callable[[str], ObjectStore]) -> ObjectStore:
    return object_store("folder")


@pytest.fixture
def cache(tmp_path: Path) -> ContentCache:
    return ContentCache(tmp_path / "cache")


@pytest.fixture
def pinned(folder_store: ObjectStore, tmp_path: Path) -> Pinned:
    return pinned_folder(folder_store, write(tmp_path / "source", FILES))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


def brought(
    pinned: Pinned, target: Path, cache: ContentCache | None = None, link: str = "auto", force: bool = False
) -> Report:
    return checkout(pinned, target, select(pinned), cache=cache, link=link, force=force)


@pytest.mark.parametrize("link", ["auto", "hard", "reflink", "copy"])
def test_files_come_as_they_were_pinned_by_any_kind_of_link(
    folder_store: ObjectStore, tmp_path: Path, target: Path, cache: ContentCache, link: str
) -> None:
    pinned = pinned_folder(folder_store, write(tmp_path / "source", LARGE))
    first = brought(pinned, target, cache, link)
    assert content(target) == LARGE
    assert (first.written, first.fetched, first.from_cache) == (6, 5, 0)
    second = brought(pinned, tmp_path / "second", cache, link)
    assert content(tmp_path / "second") == LARGE
    is_large_kept = second.link != "copy"
    assert (second.from_cache, second.fetched) == ((5, 0) if is_large_kept else (4, 1))


def test_without_a_cache_files_are_written_straight(store: ObjectStore, tmp_path: Path, target: Path) -> None:
    pinned = pinned_folder(store, write(tmp_path / "source", LARGE))
    assert brought(pinned, target).link == "copy"
    assert content(target) == LARGE
    assert os.access(target / "a.txt", os.W_OK)
    assert stat.S_IMODE((target / "large.bin").stat().st_mode) & 0o600 == 0o600


def test_what_is_there_is_neither_read_nor_fetched_again(pinned: Pinned, target: Path, folder_store: ObjectStore) -> None:
    brought(pinned, target)
    before = (target / "a.txt").stat()
    for key in pinned.files["key"].unique():
        folder_store.delete(key)
    again = brought(pinned, target)
    assert (again.written, again.kept) == (0, len(FILES))
    assert (target / "a.txt").stat() == before


def test_a_file_that_is_gone_comes_back_and_nothing_else(pinned: Pinned, target: Path) -> None:
    brought(pinned, target)
    (target / "deep/er/b.bin").unlink()
    assert brought(pinned, target).written == 1
    assert content(target) == FILES


def test_another_version_adds_replaces_and_removes_what_a_checkout_wrote(
    pinned: Pinned, folder_store: ObjectStore, tmp_path: Path, target: Path, cache: ContentCache
) -> None:
    newer = {"a.txt": b"changed", "empty": b"", "deep": b"a file where a folder was", "b/c": b"new", "ü and spaces": b"u"}
    brought(pinned, target, cache)
    write(target, {"mine.txt": b"mine", "own/deep.txt": b"mine too"})
    second = pinned_folder(folder_store, write(tmp_path / "newer", newer))
    report = brought(second, target, cache)
    assert content(target) == {**newer, "mine.txt": b"mine", "own/deep.txt": b"mine too"}
    assert (report.written, report.kept, report.removed) == (3, 2, 2)
    brought(pinned, target, cache)
    assert content(target) == {**FILES, "mine.txt": b"mine", "own/deep.txt": b"mine too"}


@pytest.mark.parametrize("found", [b"other", b"aa"])
def test_a_file_of_someone_else_in_the_way_is_named_and_nothing_is_written(
    pinned: Pinned, target: Path, found: bytes
) -> None:
    write(target, {"a.txt": found})
    with pytest.raises(CheckoutRefused, match=r"1 files in the way .*\(a\.txt: another file"):
        brought(pinned, target)
    assert content(target) == {"a.txt": found}
    brought(pinned, target, force=True)
    assert content(target) == FILES


def test_a_file_of_someone_else_with_the_same_content_stays_theirs(
    pinned: Pinned, folder_store: ObjectStore, tmp_path: Path, target: Path
) -> None:
    write(target, {"a.txt": b"a"})
    assert brought(pinned, target).kept == 1
    nothing = pinned_folder(folder_store, write(tmp_path / "newer", {"empty": b""}))
    assert brought(nothing, target).removed == len(FILES) - 2
    assert content(target) == {"a.txt": b"a", "empty": b""}


def test_a_file_that_was_edited_is_neither_replaced_nor_removed(
    pinned: Pinned, folder_store: ObjectStore, tmp_path: Path, target: Path
) -> None:
    brought(pinned, target)
    (target / "a.txt").write_bytes(b"edited")
    with pytest.raises(CheckoutRefused, match=r"a\.txt"):
        brought(pinned, target)
    nothing = pinned_folder(folder_store, write(tmp_path / "newer", {"empty": b""}))
    assert brought(nothing, target).left == ("a.txt",)
    assert content(target) == {"a.txt": b"edited", "empty": b""}


def test_a_link_in_the_way_is_refused_and_by_force_replaced_itself(pinned: Pinned, target: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_bytes(b"precious")
    target.mkdir()
    (target / "a.txt").symlink_to(outside)
    with pytest.raises(CheckoutRefused, match="a link of this name is there"):
        brought(pinned, target)
    brought(pinned, target, force=True)
    assert outside.read_bytes() == b"precious"
    assert content(target) == FILES
    assert not (target / "a.txt").is_symlink()


@pytest.mark.parametrize("force", [False, True])
def test_nothing_is_written_through_a_linked_folder(pinned: Pinned, target: Path, tmp_path: Path, force: bool) -> None:
    outside = write(tmp_path / "outside", {"same.bin": b"precious"})
    target.mkdir()
    (target / "deep").symlink_to(outside)
    with pytest.raises(CheckoutRefused, match="below a link or a file"):
        brought(pinned, target, force=force)
    assert content(outside) == {"same.bin": b"precious"}
    assert not (target / "a.txt").exists()


def test_the_state_folder_is_no_way_out_either(pinned: Pinned, target: Path, tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", {"lock": b"precious"})
    target.mkdir()
    (target / OWN).symlink_to(outside)
    with pytest.raises(Exception, match="is no folder of ours"):
        brought(pinned, target)
    assert content(outside) == {"lock": b"precious"}


@pytest.mark.parametrize("path", ["../out.txt", "/out.txt", "a/../../out.txt", "a//b", "a\\b", "C:out"])
def test_a_manifest_that_leads_out_of_the_target_is_never_used(
    pinned: Pinned, folder_store: ObjectStore, tmp_path: Path, target: Path, path: str
) -> None:
    """Such a manifest is written past our own encoder, as an attacker would."""
    forged = pinned.files.with_columns(path=pl.when(pl.col("path") == "a.txt").then(pl.lit(path)).otherwise("path")).sort(
        "path"
    )
    (tmp_path / "forged.parquet").parent.mkdir(exist_ok=True)
    forged.write_parquet(tmp_path / "forged.parquet")
    kept = folder_store.put_if_absent(tmp_path / "forged.parquet")
    manifest = pinned.reference.manifest.model_copy(update={"sha256": kept.sha256, "size_bytes": kept.size})
    evil = Pinned(pinned.reference.model_copy(update={"manifest": manifest}), pinned.lake, pinned.stores)
    with pytest.raises(ManifestBroken):
        brought(evil, target)
    assert not target.exists()


def test_the_checkouts_own_folder_can_be_no_file_of_a_data_set(
    folder_store: ObjectStore, tmp_path: Path, target: Path
) -> None:
    pinned = pinned_folder(folder_store, write(tmp_path / "source", {f"{OWN}/state.parquet": b"forged"}))
    with pytest.raises(CheckoutRefused, match="reserved by git"):
        brought(pinned, target)


def test_names_that_one_filesystem_takes_for_one_are_found() -> None:
    assert case_clash(pl.Series(["a/B", "a/b", "c"])) == ("a/B", "a/b")
    assert case_clash(pl.Series(["\u00e9", "e\u0301"])) is not None
    assert case_clash(pl.Series(["a", "b"])) is None


def test_another_data_set_does_not_enter_the_same_folder(
    pinned: Pinned, folder_store: ObjectStore, tmp_path: Path, target: Path
) -> None:
    brought(pinned, target)
    other = pinned_folder(folder_store, write(tmp_path / "other", {"x": b"x"}), "other")
    with pytest.raises(CheckoutRefused, match="has a checkout of the data set set"):
        brought(other, target)
    assert content(target) == FILES


def test_a_second_checkout_into_the_same_folder_is_told_so(pinned: Pinned, target: Path) -> None:
    with Target.held(target, SECRET), pytest.raises(AlreadyRunning, match="wait until that is done"):
        brought(pinned, target)
    brought(pinned, target)
    assert content(target) == FILES


def test_a_damaged_entry_of_the_cache_is_found_and_replaced(
    pinned: Pinned, tmp_path: Path, target: Path, cache: ContentCache
) -> None:
    brought(pinned, target, cache, "copy")
    entry = Path(cache.path(pinned.files.filter(path="deep/same.bin")["sha256"][0]))
    entry.chmod(0o644)
    entry.write_bytes(b"b" * 4999 + b"x")
    report = brought(pinned, tmp_path / "second", cache, "copy")
    assert (report.damaged, report.fetched, report.from_cache) == (1, 1, 3)
    assert content(tmp_path / "second") == FILES
    assert entry.read_bytes() == b"b" * 5000


def test_hard_links_are_read_only_and_share_the_cache(pinned: Pinned, target: Path, cache: ContentCache) -> None:
    assert brought(pinned, target, cache, "hard").link == "hard"
    found = (target / "a.txt").stat()
    assert stat.S_IMODE(found.st_mode) & 0o222 == 0
    assert found.st_nlink == 2
    assert (target / "deep/same.bin").stat().st_ino == (target / "deep/er/b.bin").stat().st_ino


def test_pruning_the_cache_leaves_what_is_new_or_shared(
    pinned: Pinned, tmp_path: Path, target: Path, cache: ContentCache
) -> None:
    brought(pinned, target, cache, "copy")
    assert cache.prune(1).removed == 0
    for path in cache.root.rglob("*"):
        os.utime(path, (0, 0))
    (target / "kept").hardlink_to(cache.path(pinned.files.filter(path="a.txt")["sha256"][0]))
    pruned = cache.prune(1)
    assert (pruned.removed, pruned.left, pruned.left_bytes) == (3, 1, 1)


def test_a_deleted_and_a_damaged_object_are_named_and_all_others_come(
    store: ObjectStore, tmp_path: Path, target: Path
) -> None:
    files = {f"{number}.bin": bytes([number]) * 1024**2 for number in range(4)}
    files["large.bin"] = LARGE["large.bin"]
    pinned = pinned_folder(store, write(tmp_path / "source", files))
    keys = dict(pinned.files.select("path", "key").iter_rows())
    store.delete(keys["1.bin"])
    store.put(keys["2.bin"], b"\x02" * (1024**2 - 1) + b"x")
    store.put(keys["large.bin"], LARGE["large.bin"][:-1] + b"x" * (1 + (LARGE["large.bin"][-1] == ord("x"))))
    with pytest.raises(CheckoutIncomplete, match=r"3 of 5 files could not be fetched") as raised:
        brought(pinned, target)
    assert all(name in str(raised.value) for name in ("1.bin", "2.bin", "large.bin"))
    assert content(target) == {name: files[name] for name in ("0.bin", "3.bin")}
    for name in ("1.bin", "2.bin", "large.bin"):
        store.put(keys[name], files[name])
    assert brought(pinned, target).written == 3
    assert content(target) == files


def test_a_truncated_manifest_is_told_and_nothing_is_written(store: ObjectStore, tmp_path: Path, target: Path) -> None:
    pinned = pinned_folder(store, write(tmp_path / "source", FILES))
    key = content_key(pinned.reference.manifest.sha256)
    store.put(key, store.get(key)[:-10])
    with pytest.raises(ManifestBroken, match="is damaged: restore the object"):
        brought(pinned, target)
    store.delete(key)
    with pytest.raises(ManifestBroken, match="restore it from a backup"):
        brought(pinned, target)
    assert not target.exists()


def test_a_record_that_can_not_be_read_is_no_reason_to_touch_files(pinned: Pinned, target: Path) -> None:
    brought(pinned, target)
    (target / OWN / STATE_FILE).write_bytes(b"PAR1 nonsense")
    with pytest.raises(CheckoutRefused, match="Remove the folder"):
        brought(pinned, target)
    assert content(target) == FILES
    for path in (target / OWN).iterdir():
        path.rmdir() if path.is_dir() else path.unlink()
    assert brought(pinned, target).kept == len(FILES)


def test_a_rehearsal_says_what_would_be_done_and_writes_nothing(pinned: Pinned, target: Path) -> None:
    assert rehearse(pinned, target, select(pinned)).put.height == len(FILES)
    assert not target.exists()
    write(target, {"a.txt": b"a"})
    todo = rehearse(pinned, target, select(pinned))
    assert (todo.put.height, todo.keep.height) == (len(FILES) - 1, 1)
    assert list(target.iterdir()) == [target / "a.txt"]


@pytest.fixture(params=["folder", "s3"])
def table(request: pytest.FixtureRequest, object_store: Callable[[str], ObjectStore], tmp_path: Path) -> Pinned:
    if request.param == "folder":
        lake = Lake(url=(tmp_path / "lake").as_uri())
    else:
        lake = Lake(url=f"{request.getfixturevalue('s3_url')}/lake", **request.getfixturevalue("s3_options"))
    return pinned_table(object_store(request.param), lake)


def test_a_tables_rows_come_as_parquet_that_names_each_rows_file(table: Pinned, target: Path) -> None:
    brought(table, target)
    found = pl.read_parquet(target / f"rows-{TABLE}.parquet").sort("photo_id")
    assert_frame_equal(found.drop("file_path"), rows(), check_column_order=False)
    assert [(target / path).read_bytes() for path in found["file_path"]] == [photo(number) for number in range(6)]


def test_a_condition_brings_the_rows_that_match_and_their_files_alone(table: Pinned, target: Path) -> None:
    brought(table, target)
    where = "likes >= 10 and split = 'train'"
    chosen = select(table, where, ("photo_id",))
    assert select(table, where, ("photo_id", "photo_id")).made_from == chosen.made_from
    report = checkout(table, target, chosen, where=where)
    found = pl.read_parquet(target / f"rows-{TABLE}.parquet")
    assert found["photo_id"].sort().to_list() == [1, 2]
    assert found.columns == ["photo_id", "file_path"]
    assert {data for path, data in content(target).items() if path.startswith("files/")} == {photo(1), photo(2)}
    assert report.removed == 3
    assert checkout(table, target, chosen, where=where).written == 0


def test_a_column_that_is_named_twice_comes_once(table: Pinned, target: Path) -> None:
    checkout(table, target, select(table, None, ("likes", "photo_id", "likes")))
    assert pl.read_parquet(target / f"rows-{TABLE}.parquet").columns == ["likes", "photo_id", "file_path"]


def test_rows_alone_and_files_alone_leave_the_other_as_it_is(table: Pinned, target: Path) -> None:
    brought(table, target)
    before = content(target)
    checkout(table, target, select(table, "likes > 1000", with_files=False))
    assert pl.read_parquet(target / f"rows-{TABLE}.parquet").is_empty()
    files = {path: data for path, data in before.items() if path.startswith("files/")}
    assert {path: data for path, data in content(target).items() if path.startswith("files/")} == files
    checkout(table, target, select(table, "likes > 1000", with_rows=False))
    assert list(content(target)) == [f"rows-{TABLE}.parquet"]


@pytest.mark.parametrize(
    "where",
    ["nope > 1", "likes", "likes >", "", "(select 1)", "likes in (select likes from self)", "likes > 1; drop table x",
     "likes > 1, 2", "*", "read_csv('/etc/passwd')", "exists (select 1)", "COLUMNS('.*') > 1", "likes > 1 from x"],
)  # fmt: skip
def test_what_is_no_condition_on_the_columns_is_refused(
    object_store: Callable[[str], ObjectStore], tmp_path: Path, where: str
) -> None:
    table = pinned_table(object_store("folder"), Lake(url=(tmp_path / "lake").as_uri()))
    with pytest.raises(BadSelection):
        select(table, where)


def test_a_condition_that_fails_on_the_rows_is_told(
    object_store: Callable[[str], ObjectStore], tmp_path: Path, target: Path
) -> None:
    table = pinned_table(object_store("folder"), Lake(url=(tmp_path / "lake").as_uri()))
    where = "split::int > 3"
    with pytest.raises(BadSelection, match="fails on these rows"):
        checkout(table, target, select(table, where), where=where)


def test_a_folders_files_can_be_chosen_by_path_and_size(pinned: Pinned, target: Path) -> None:
    checkout(pinned, target, select(pinned, "path like 'deep/%' and size_bytes > 10"))
    assert set(content(target)) == {"deep/er/b.bin", "deep/same.bin"}
    with pytest.raises(BadSelection):
        select(pinned, "sha256 is null")
    with pytest.raises(BadSelection, match="no columns to choose"):
        select(pinned, None, ("path",))


def test_files_that_no_row_of_the_manifest_has_room_for_are_refused_before_anything_is_written(
    pinned: Pinned, folder_store: ObjectStore, tmp_path: Path, target: Path
) -> None:
    from resources.errors import NoSpace

    vast = pinned.files.with_columns(size_bytes=pl.lit(2**50))
    with pytest.raises(NoSpace, match="free some"):
        brought(pinned_files(folder_store, vast, tmp_path / "lake"), target)
    assert content(target) == {}


@pytest.mark.parametrize("size", [1_000, IN_MEMORY_BELOW + 1234])
def test_a_pin_from_before_versioning_was_switched_on_has_its_bytes_after_they_were_overwritten(
    s3_client: Any, s3_options: dict[str, str], tmp_path: Path, target: Path, size: int
) -> None:
    bucket, data = f"b-{secrets.token_hex(8)}", {name: os.urandom(size) for name in ("over", "deleted")}
    s3.ensure_bucket(s3_client, bucket, versioning=False)
    store = ObjectStore.open(f"s3://{bucket}", **s3_options)
    for name, content_of in data.items():
        store.put(name, content_of)
    pinned = pinned_files(store, uploads_as(data, list(data)), tmp_path / "lake")
    s3_client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    store.put("over", os.urandom(size))
    store.delete("deleted")
    brought(pinned, target)
    assert content(target) == data
    assert verify(pinned, {}, quick=False, tell=lambda line: None).ok


@pytest.mark.parametrize("size", [1_000, IN_MEMORY_BELOW + 1234])
@pytest.mark.parametrize("damage", ["gone", "other bytes"])
def test_a_file_whose_object_is_lost_comes_from_another_place_of_its_content(
    folder_store: ObjectStore, tmp_path: Path, target: Path, size: int, damage: str
) -> None:
    data = os.urandom(size)
    lake = Lake(url=(tmp_path / "lake").as_uri())
    for key in ("first", "second"):
        folder_store.put(key, data)
    pinned = pinned_files(folder_store, uploads_as({"a": data}, ["first"]), tmp_path / "lake")
    if damage == "gone":
        folder_store.delete("first")
    else:
        folder_store.put("first", os.urandom(size))
    with pytest.raises(CheckoutIncomplete):
        brought(pinned, target)
    uploads = {
        "day": DAYS[0],
        "bucket": "b",
        "key": "second",
        "version_id": "etag-1",
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    lake.replace("raw_uploads", DAYS, pl.DataFrame([uploads]))
    brought(pinned, target)
    assert content(target) == {"a": data}


def uploads_as(data: Mapping[str, bytes], keys: list[str]) -> pl.DataFrame:
    """Files of a manifest that lie in uploads under these keys, in a bucket without versions."""
    rows = [
        (path, hashlib.sha256(one).digest(), len(one), "uploads", key, None, None)
        for (path, one), key in zip(data.items(), keys, strict=True)
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("path")

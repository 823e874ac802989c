"""Uploads too large for memory: sound and video are read from temporary files, from the import to variants of them."""

import gc
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
from clips import flashes
from PIL import Image
from plain_project import Project

from pipeline_assets.ingestion.assets import of_large
from pipeline_assets.ingestion.media.inspection import inspect
from pipeline_assets.ingestion.uploads import LARGEST_BYTES, is_streamed, without_reading
from pipeline_assets.runtime import transfer
from pipeline_assets.runtime.blobs import MAX_IN_MEMORY_BYTES
from pipeline_assets.sample.importing import files_of
from pipeline_assets.variants.engine.sources import fetch_from
from resources.errors import NoSpace, NotFound
from resources.files import sha256_of
from resources.objects.store import ObjectStore

PADDING = bytes(MAX_IN_MEMORY_BYTES)
KEY = "uploads/2026-01-02/7/{}"


def large_video() -> bytes:
    """An MP4 whose last box is a `free` one, which readers leap over."""
    return flashes() + struct.pack(">I4s", len(PADDING) + 8, b"free") + PADDING


def large_recording() -> bytes:
    """A WAV whose last chunk is none that readers know."""
    file = io.BytesIO()
    soundfile.write(file, np.sin(np.arange(16_000) / 9).astype(np.float32) / 2, 16_000, format="WAV")
    body = file.getvalue()[8:] + struct.pack("<4sI", b"junk", len(PADDING)) + PADDING
    return b"RIFF" + struct.pack("<I", len(body)) + body


def large_photo() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 40, 40)).save(file, "JPEG")
    return file.getvalue() + PADDING


def test_sound_and_video_are_read_from_files_as_from_bytes(tmp_path: Path) -> None:
    for data, name in ((flashes(), "a.mp4"), (large_recording()[: -len(PADDING)], "a.wav"), (b"", "a.mp4"), (b"text", "a")):
        (tmp_path / "file").write_bytes(data)
        assert inspect(tmp_path / "file", name) == inspect(data, name)


def test_a_photo_may_be_as_large_as_is_held_and_sound_and_video_larger(tmp_path: Path) -> None:
    for data, name, verdict in (
        (large_photo(), "a.jpg", "too_large"),
        (large_video(), "a.mp4", "ok"),
        (large_recording(), "a.wav", "ok"),
    ):
        (tmp_path / "file").write_bytes(data)
        found = inspect(tmp_path / "file", name)
        assert (found.verdict, found.sha256) == (verdict, sha256_of(data))
        assert is_streamed(data[:4096]) == (verdict == "ok")


def test_nothing_above_the_largest_size_is_read() -> None:
    items = [{"day": None, "bucket": "b", "version_id": "1", "last_modified": None, "etag": "e"}] * 2
    sizes = (LARGEST_BYTES, LARGEST_BYTES + 1)
    given = [{**item, "key": KEY.format(size), "size_bytes": size} for item, size in zip(items, sizes, strict=True)]
    to_read, rows = without_reading(given)
    assert [item["size_bytes"] for item in to_read] == [LARGEST_BYTES]
    assert [row["verdict"] for row in rows] == ["too_large"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["folder", "s3"])
def test_large_parents_come_as_files_that_go_when_they_are_let_go(
    backend: str, object_store: Callable[[str], ObjectStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = object_store(backend)
    contents = {"large": np.random.default_rng(0).bytes(MAX_IN_MEMORY_BYTES + 12_345), "small": b"small", "limit": PADDING}
    found = pl.DataFrame([{"sha256": sha256_of(data), "key": key, "version_id": "etag-x"} for key, data in contents.items()])
    for key, data in contents.items():
        store.put(key, data)
    store.delete("limit")
    by_hash = dict(fetch_from(found, store)(found["sha256"]))
    large, small, gone = (by_hash[sha256_of(contents[key])] for key in ("large", "small", "limit"))
    assert isinstance(gone, NotFound)
    assert small == b"small"
    assert isinstance(large, Path)
    assert large.read_bytes() == contents["large"]
    assert large.stat().st_mode & 0o077 == 0
    assert not list(tmp_path.glob("darkroom-*")), "a kill would leave it behind"
    place = str(large)
    del by_hash, large
    gc.collect()
    assert not Path(place).exists()


@pytest.mark.slow
def test_a_large_file_of_a_bucket_is_imported_by_way_of_a_file(object_store: Callable[[str], ObjectStore]) -> None:
    source, uploads = object_store("s3"), object_store("memory")
    data = np.random.default_rng(0).bytes(MAX_IN_MEMORY_BYTES + 1)
    source.put("video.mp4", data)
    source.put("photo.jpg", b"small")
    files = list(files_of("s3://bucket/prefix", lambda _: source))
    assert {file.name: isinstance(file.read(), Path) for file in files} == {"photo.jpg": False, "video.mp4": True}
    assert [error for _, error in uploads.put_many((file.name, file.read) for file in files)] == [None, None]
    assert sha256_of(uploads.get("video.mp4")) == sha256_of(data)


def test_a_large_object_that_is_gone_or_shorter_by_now_has_its_row(object_store: Callable[[str], ObjectStore]) -> None:
    store = object_store("folder")
    key = KEY.format("a.mp4")
    item = {"day": None, "bucket": "b", "version_id": "etag-1", "last_modified": None, "etag": "1", "key": key}
    listed = {**item, "size_bytes": len(PADDING) * 2}
    assert of_large(listed, store, inspect)["verdict"] == "gone"
    store.put(key, flashes())
    assert of_large(listed, store, inspect)["verdict"] == "gone"
    store.put(key, large_video())
    assert of_large(listed, store, inspect)["verdict"] == "gone", "the bytes that were listed are not those"
    now = {**item, "version_id": f"etag-{store.head(key).etag}"}
    assert of_large({**now, "size_bytes": len(large_video())}, store, inspect)["verdict"] == "ok"


@pytest.mark.slow
def test_without_room_one_is_told_what_to_do(
    object_store: Callable[[str], ObjectStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = object_store("memory")
    store.put("a", b"abc")
    with pytest.raises(NoSpace, match="TMPDIR"):
        transfer.temporary(store, "a", None, 1 << 60)
    with pytest.raises(NotFound):
        transfer.temporary(store, "b", None, 3)
    gc.collect()
    assert not list(tmp_path.glob("darkroom-*"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_a_folder_to_variants_that_can_be_made_again(tmp_path: Path) -> None:
    policy = {kind: {"children": 2, "splits": ["train", "validation", "test"]} for kind in ("speech", "video")}
    temporary = tmp_path / "temporary"
    project = Project(tmp_path, {**policy, "receipts": {"children": 0}}, {"TMPDIR": str(temporary)})
    temporary.mkdir()

    def command(*words: str) -> str:
        done = project.command(*words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    (tmp_path / "files").mkdir()
    made = {"video.mp4": large_video(), "voice.wav": large_recording(), "photo.jpg": large_photo()}
    for name, data in made.items():
        (tmp_path / "files" / name).write_bytes(data)
    for number in range(24):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((320, 240), Image.Resampling.BICUBIC).save(tmp_path / "files" / f"{number}.jpg")
    command("run", "--photos", "files", "--days", "4")
    uploads = project.lake.scan("raw_uploads").collect()
    by_hash = dict(uploads.select("sha256", "verdict").iter_rows())
    assert by_hash[sha256_of(made["video.mp4"])] == by_hash[sha256_of(made["voice.wav"])] == "ok"
    (refused,) = uploads.filter(pl.col("verdict") == "too_large").to_dicts()
    assert refused["size_bytes"] == len(made["photo.jpg"])
    assert f"{MAX_IN_MEMORY_BYTES:,} for photos" in refused["verdict_detail"]
    for table, name in (("video_variants", "video.mp4"), ("speech_variants", "voice.wav")):
        rows = project.lake.scan(table).collect()
        assert rows.height == 2
        assert set(rows["parent_sha256"]) == {sha256_of(made[name])}
    for kind in ("video", "speech"):
        found = [json.loads(line) for line in command("variants", "verify", "--kind", kind, "--json").splitlines()]
        assert [finding["verdict"] for finding in found] == ["same", "same"]
    assert not [path for path in temporary.rglob("*") if path.is_file() and path.stat().st_size >= MAX_IN_MEMORY_BYTES]

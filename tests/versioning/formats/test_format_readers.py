"""Each format as its own reader sees it: the library that others would use, and nothing of Darkroom."""

import gzip
import io
import json
import pickle
import struct
import subprocess
import tarfile
from pathlib import Path

import google_crc32c
import h5py
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tfrecord
import webdataset
from formats_world import ROWS, World, exported
from PIL import Image
from polars.testing import assert_frame_equal
from pycocotools.coco import COCO

from pipeline_assets.versioning.formats.records import ExportOptions

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:webdataset", "ignore::ResourceWarning")
MASK_DELTA = 0xA282EAD8


def test_parquet_opens_in_polars_and_pyarrow(world: World, tmp_path: Path) -> None:
    pinned, rows, photos = world.table()
    exported(pinned, tmp_path / "out", "parquet", ExportOptions(rows_per_shard=10))
    found = pl.read_parquet(tmp_path / "out" / "*.parquet")
    assert_frame_equal(found.drop("path", "bytes"), rows)
    assert found["bytes"].to_list() == [photos[sha256] for sha256 in rows["sha256"]]
    table = pq.read_table(tmp_path / "out")
    assert table.schema.field("posted_at").type == pa.timestamp("us", "UTC")
    assert table.num_rows == ROWS


def test_feather_is_read_by_pyarrow_and_mapped_into_memory(world: World, tmp_path: Path) -> None:
    pinned, rows, _ = world.table()
    exported(pinned, tmp_path / "out", "feather", ExportOptions(with_bytes=False))
    with pa.memory_map(str(tmp_path / "out" / "set-00000.feather")) as mapped:
        table = pa.ipc.open_file(mapped).read_all()
    found = pl.from_arrow(table)
    assert isinstance(found, pl.DataFrame)
    assert_frame_equal(found, rows)


def test_hdf5_has_a_dataset_a_column_with_masks_in_h5py(world: World, tmp_path: Path) -> None:
    pinned, rows, photos = world.table()
    exported(pinned, tmp_path / "out", "hdf5")
    with h5py.File(tmp_path / "out" / "set-00000.h5") as file:
        assert set(file) == {*rows.columns, "path", "bytes", "masks"}
        assert set(file["masks"]) == {"taken_at", "followers_at_post", "mean_popularity_30d", "title"}
        assert file["photo_id"][:].tolist() == rows["photo_id"].to_list()
        assert file["photo_id"].dtype == np.int64
        assert file["posted_hour"].dtype == np.int8
        assert file["embedding"].shape == (ROWS, 3)
        assert file["embedding"].compression == "gzip"
        assert file["masks/title"][:].tolist() == rows["title"].is_null().to_list()
        assert file["title"].asstr()[1] == rows["title"][1]
        assert [data.tobytes() for data in file["bytes"]] == [photos[sha256] for sha256 in rows["sha256"]]
        assert file["posted_at"][0] == rows["posted_at"].to_physical()[0]
        assert file["posted_at"].attrs["darkroom_type"] == "Datetime(us, UTC)"
        assert [text.decode() for text in file["top5_label"][1]] == ["tabby", "é"]


def test_tfrecord_is_read_by_the_tfrecord_package(world: World, tmp_path: Path) -> None:
    pinned, rows, photos = world.table()
    exported(pinned, tmp_path / "out", "tfrecord")
    kinds = {"photo_id": "int", "bytes": "byte", "embedding": "float", "top_class": "byte", "has_location": "int"}
    loader = tfrecord.tfrecord_loader(str(tmp_path / "out" / "set-00000.tfrecord"), None, kinds)
    for found, row in zip(loader, rows.iter_rows(named=True), strict=True):
        assert found["photo_id"].tolist() == [row["photo_id"]]
        assert bytes(found["bytes"]) == photos[row["sha256"]]
        assert found["embedding"].tolist() == pl.Series(row["embedding"], dtype=pl.Float32).to_list()
        assert bytes(found["top_class"]).decode() == row["top_class"]
        assert found["has_location"].tolist() == [int(row["has_location"])]


def test_a_null_is_a_feature_that_is_not_there(world: World, tmp_path: Path) -> None:
    pinned, rows, _ = world.table()
    exported(pinned, tmp_path / "out", "tfrecord", ExportOptions(columns=["photo_id", "title"], with_bytes=False))
    loader = tfrecord.tfrecord_loader(str(tmp_path / "out" / "set-00000.tfrecord"), None)
    assert ["title" in found for found in loader] == rows["title"].is_not_null().to_list()


def test_every_crc_of_a_tfrecord_is_right(world: World, tmp_path: Path) -> None:
    """By hand from the format's definition, since the `tfrecord` package checks none."""
    pinned, _, _ = world.table()
    exported(pinned, tmp_path / "out", "tfrecord")
    data, at, count = (tmp_path / "out" / "set-00000.tfrecord").read_bytes(), 0, 0

    def masked(part: bytes) -> bytes:
        crc = google_crc32c.value(part)
        return struct.pack("<I", (((crc >> 15) | (crc << 17)) + MASK_DELTA) & 0xFFFFFFFF)

    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        assert data[at + 8 : at + 12] == masked(data[at : at + 8])
        end = at + 12 + length
        assert data[end : end + 4] == masked(data[at + 12 : end])
        at, count = end + 4, count + 1
    assert count == ROWS


def test_the_crc_is_castagnolis() -> None:
    assert google_crc32c.value(b"123456789") == 0xE3069283, "the check value of RFC 3720's CRC-32C"


def test_webdataset_reads_samples_with_photo_row_and_arrays(world: World, tmp_path: Path) -> None:
    pinned, rows, photos = world.table()
    exported(pinned, tmp_path / "out", "webdataset", ExportOptions(rows_per_shard=10))
    pattern = str(tmp_path / "out" / "set-{000000..000002}.tar")
    samples = list(webdataset.WebDataset(pattern, shardshuffle=False).decode())
    assert [sample["__key__"] for sample in samples] == [f"{n:09}" for n in range(ROWS)]
    for sample, row in zip(samples, rows.iter_rows(named=True), strict=True):
        assert sample["jpg"] == photos[row["sha256"]]
        assert sample["json"]["title"] == row["title"]
        assert sample["json"]["posted_at"] == row["posted_at"].isoformat().replace("+00:00", "Z")
        assert sample["embedding.npy"].tolist() == pl.Series(row["embedding"], dtype=pl.Float32).to_list()


class _Payload:
    """What a pickle runs when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return open, (str(self.path), "w")


def test_a_reader_of_a_webdataset_runs_nothing_that_lies_in_the_data(world: World, tmp_path: Path) -> None:
    evil = pickle.dumps(_Payload(tmp_path / "ran"))
    names = (
        "pkl",
        "pickle",
        "pyd",
        "PKL",
        "pth",
        "pt",
        "pkl.gz",
        "npy",
        "npz",
        "ten",
        "tb",
        "mp",
        "cbor",
        "json",
        "ps",
        "eps",
    )
    files = {f"evil.{name}": gzip.compress(evil) if name.endswith("gz") else evil for name in names}
    pinned = world.folder(tmp_path / "in", files | {"good.png": _pngs(1)[0], "pkl": evil, "jpg.pkl": evil})
    exported(pinned, tmp_path / "out", "webdataset")
    dataset = webdataset.WebDataset(str(tmp_path / "out" / "set-000000.tar"), shardshuffle=False).decode("rgb")
    assert [Path(sample["json"]["path"]).suffix for sample in dataset if "bin" not in sample] == [".png"]
    assert not (tmp_path / "ran").exists()


def test_what_a_reader_decodes_by_its_extension_is_what_the_extension_says(world: World, tmp_path: Path) -> None:
    files = {"a.cls": b" 7\n", "b.cls": b"cat", "c.txt": b"\xff", "d.id": b"none", "e.mp4": b"video", "f.WAV": b"sound"}
    exported(world.folder(tmp_path / "in", files), tmp_path / "out", "webdataset")
    dataset = webdataset.WebDataset(str(tmp_path / "out" / "set-000000.tar"), shardshuffle=False).decode()
    found = [{name: value for name, value in sample.items() if name[0] != "_" and name != "json"} for sample in dataset]
    assert found == [
        {"cls": 7},
        {"bin": b"cat"},
        {"bin": b"\xff"},
        {"bin": b"none"},
        {"mp4": b"video"},
        {"wav": b"sound"},
    ]


def test_the_tar_files_are_posix_ones_that_name_no_time_and_no_owner(world: World, tmp_path: Path) -> None:
    pinned, _, _ = world.table()
    exported(pinned, tmp_path / "out", "webdataset")
    path = tmp_path / "out" / "set-000000.tar"
    with tarfile.open(path) as tar:
        members = tar.getmembers()
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode, m.type) for m in members} == {
        (0, 0, 0, "", "", 0o644, tarfile.REGTYPE)
    }
    listed = subprocess.run(["tar", "-tf", path], capture_output=True, text=True, check=True).stdout.split()
    assert listed[:3] == ["000000000.jpg", "000000000.json", "000000000.embedding.npy"]


def test_coco_is_loaded_by_pycocotools(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pinned, rows, photos = world.table()
    done = exported(pinned, tmp_path / "out", "coco")
    coco = COCO(str(tmp_path / "out" / "annotations.json"))
    assert {category["name"] for category in coco.loadCats(coco.getCatIds())} == {"tabby", "beach wagon"}
    assert len(coco.getImgIds()) == len(coco.getAnnIds()) == ROWS
    for image, row in zip(coco.loadImgs(coco.getImgIds()), rows.iter_rows(named=True), strict=True):
        assert (image["width"], image["height"]) == (40, 30)
        assert (tmp_path / "out" / "images" / image["file_name"]).read_bytes() == photos[row["sha256"]]
        [annotation] = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
        assert coco.loadCats(annotation["category_id"])[0]["name"] == row["top_class"]
        assert annotation["bbox"] == [0, 0, 40, 30]
        assert annotation["area"] == 1200
    assert done.lost == ["top5_label, embedding: lists have no place in COCO"]
    assert "nobody drew it" in json.loads((tmp_path / "out" / "annotations.json").read_bytes())["info"]["description"]
    capsys.readouterr()


def test_titles_are_captions_in_a_file_of_their_own(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pinned, rows, _ = world.table()
    exported(pinned, tmp_path / "out", "coco")
    captions = COCO(str(tmp_path / "out" / "captions.json"))
    found = [annotation["caption"] for annotation in captions.loadAnns(captions.getAnnIds())]
    assert found == rows["title"].drop_nulls().to_list()
    capsys.readouterr()


def test_files_of_a_folder_that_are_no_photos_stay_out_of_coco(world: World, tmp_path: Path) -> None:
    photos = {f"{n}.png": photo for n, photo in enumerate(_pngs(2))}
    pinned = world.folder(tmp_path / "in", photos | {"notes.txt": b"no photo", "broken.jpg": b"\xff\xd8\xff\xe0"})
    done = exported(pinned, tmp_path / "out", "coco")
    assert done.rows == 2
    assert done.lost == ["2 rows without a photo that decodes"]
    assert {path.name for path in (tmp_path / "out" / "images").iterdir()} == set(photos)


def _pngs(count: int) -> list[bytes]:
    sinks = [io.BytesIO() for _ in range(count)]
    for n, sink in enumerate(sinks):
        Image.new("RGB", (20 + n, 20), (n, 0, 0)).save(sink, "PNG")
    return [sink.getvalue() for sink in sinks]

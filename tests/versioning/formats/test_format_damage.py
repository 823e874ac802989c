"""Damaged and hostile sources: each thing is kept aside with its reason, its neighbours come in, nothing is written outside."""

import hashlib
import io
import json
import os
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from formats_world import jpeg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_assets.errors import ImportRefused
from pipeline_assets.versioning.formats import FORMATS, incoming
from pipeline_assets.versioning.formats.hdf5 import apart
from pipeline_assets.versioning.formats.incoming import BATCH_ROWS, Batch, Reading, Rejected
from pipeline_assets.versioning.formats.storing import REJECTED, ROWS, store_batches, write_files
from pipeline_assets.versioning.formats.tfrecord.example import encode
from pipeline_assets.versioning.formats.tfrecord.format import TfrecordShard, framed, masked_crc
from resources.objects.store import ObjectStore


def read(kind: str, source: Path) -> tuple[list[dict[str, Any]], list[str], list[str]]:
    """Rows, paths of files (empty where a reader leaves them to the import) and reasons."""
    rows, files, reasons = [], [], []
    for found in FORMATS[kind].load().batches(source, Reading()):
        if isinstance(found, Rejected):
            reasons.append(found.reason)
        else:
            rows += found.rows.to_dicts()
            files += [file.path or "" for file in found.files or ()]
    return rows, files, reasons


def example(n: int) -> bytes:
    return encode({"n": (3, [n]), "bytes": (1, [jpeg(n)])})


def tfrecords(path: Path, *records: bytes) -> Path:
    path.write_bytes(b"".join(records))
    return path


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("second", "numbers", "reasons"),
    [
        (flipped(framed(example(1)), 40), [0, 2], ["bad_crc"]),
        (flipped(framed(example(1)), -2 % len(framed(example(1)))), [0, 2], ["bad_crc"]),
        (flipped(framed(example(1)), 3), [0], ["bad_length_crc"]),
        (framed(b"no example"), [0, 2], ["bad_example"]),
        (framed(encode({"other": (3, [1])})), [0, None, 2], []),
        (framed(encode({"n": (1, [b"text"])})), [0, 2], ["schema"]),
    ],
)
def test_a_damaged_record_of_a_tfrecord_costs_no_other(
    tmp_path: Path, second: bytes, numbers: list[int], reasons: list[str]
) -> None:
    path = tfrecords(tmp_path / "x.tfrecord", framed(example(0)), second, framed(example(2)))
    rows, _, found = read("tfrecord", path)
    assert [row["n"] for row in rows] == numbers
    assert found == reasons


def test_a_record_with_a_bad_byte_costs_itself_alone_of_a_thousand_and_is_counted_as_one(tmp_path: Path) -> None:
    (tmp_path / "_darkroom.json").write_text(json.dumps({"columns": {"n": "Int64", "name": "String", "day": "Date"}}))
    cells = [{"n": (3, [n]), "name": (1, [b"cat"]), "day": (3, [20_000])} for n in range(3_000)]
    cells[1_500]["name"] = (1, [b"c\xfft"])
    cells[2_000]["day"] = (3, [2**40])
    tfrecords(tmp_path / "x.tfrecord", *(framed(encode(cell)) for cell in cells))  # type: ignore[arg-type]
    rows, _, reasons = read("tfrecord", tmp_path)
    assert [row["n"] for row in rows] == [n for n in range(3_000) if n not in (1_500, 2_000)]
    assert reasons == ["schema", "schema"]


def test_one_odd_record_does_not_decide_what_a_column_is(tmp_path: Path) -> None:
    features = [{"n": (1, [b"seven"])}, *({"n": (3, [n])} for n in range(9))]
    path = tfrecords(tmp_path / "x.tfrecord", *(framed(encode(one)) for one in features))  # type: ignore[arg-type]
    rows, _, reasons = read("tfrecord", path)
    assert ([row["n"] for row in rows], reasons) == (list(range(9)), ["schema"])


def test_a_damaged_length_says_how_many_bytes_are_left_out(tmp_path: Path) -> None:
    one = framed(example(0))
    path = tfrecords(tmp_path / "x.tfrecord", one, flipped(one, 3), one)
    [said] = [found for found in FORMATS["tfrecord"].load().batches(path, Reading()) if isinstance(found, Rejected)]
    assert said.detail.endswith(f"the last {2 * len(one):,} of its {3 * len(one):,} bytes are left out")


def with_bad_text(rows: int, bad: int) -> pa.Table:
    """Numbers and names, one of which is no UTF-8."""
    names = [b"\xff" if n == bad else b"cat" for n in range(rows)]
    offsets = pa.py_buffer(np.cumsum([0, *map(len, names)]).astype("i4").tobytes())
    text = pa.StringArray.from_buffers(rows, offsets, pa.py_buffer(b"".join(names)))
    return pa.table({"n": pa.array(range(rows)), "name": text})


@pytest.mark.parametrize("kind", ["parquet", "feather", "hdf5"])
def test_a_cell_of_text_that_is_none_costs_its_row_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "parquet":
        pq.write_table(with_bad_text(3_000, 1_500), path)
    elif kind == "feather":
        with pa.ipc.new_file(str(path), with_bad_text(3_000, 1_500).schema) as writer:
            writer.write_table(with_bad_text(3_000, 1_500))
    else:
        names = np.array([b"\xff" if n == 1_500 else b"cat" for n in range(3_000)], h5py.string_dtype())
        hdf5(path, n=np.arange(3_000), name=names)
    rows, _, reasons = read(kind, path)
    assert [row["n"] for row in rows] == [n for n in range(3_000) if n != 1_500]
    assert reasons == ["schema"]


def test_rows_that_are_left_out_together_are_counted_one_by_one() -> None:
    other = Batch("b", pl.DataFrame({"m": [1, 2, 3]}))
    assert store_batches([Batch("a", pl.DataFrame({"n": [1]})), other], ObjectStore.open("memory://")).reasons == {
        "schema": 3
    }


@pytest.mark.parametrize("length", [1, 11, 13, 200])
def test_a_tfrecord_that_ends_early_keeps_what_is_whole(tmp_path: Path, length: int) -> None:
    path = tfrecords(tmp_path / "x.tfrecord", framed(example(0)), framed(example(1))[:length])
    rows, _, reasons = read("tfrecord", path)
    assert ([row["n"] for row in rows], reasons) == ([0], ["truncated"])


def test_a_record_that_claims_a_terabyte_is_not_read(tmp_path: Path) -> None:
    head = framed(b"")[:12]
    huge = struct.pack("<Q", 2**40)
    path = tfrecords(tmp_path / "x.tfrecord", framed(example(0)), huge + struct.pack("<I", masked_crc(huge)) + head)
    assert read("tfrecord", path)[2] == ["truncated"]


def test_a_row_of_nulls_is_an_example_without_features_byte_for_byte(tmp_path: Path) -> None:
    shard = TfrecordShard(tmp_path / "x.tfrecord", pl.Schema({"title": pl.String}))
    shard.write(pl.DataFrame({"title": [None, "a"]}, schema={"title": pl.String}))
    shard.close()
    expected = framed(b"\n\0") + framed(b"\n\x10\n\x0e\n\5title\x12\5\n\3\n\1a")
    assert (tmp_path / "x.tfrecord").read_bytes() == expected


def test_a_tfrecord_of_another_tool_gets_its_columns_from_its_records(tmp_path: Path) -> None:
    features = {"image/encoded": (1, [jpeg(1)]), "label": (3, [7]), "boxes": (2, [0.5, 1.5]), "name": (1, ["Zoë".encode()])}
    path = tfrecords(tmp_path / "x.tfrecord", framed(encode(features)))  # type: ignore[arg-type]
    rows, files, reasons = read("tfrecord", path)
    assert rows == [{"boxes": [0.5, 1.5], "label": 7, "name": "Zoë"}]
    assert (len(files), reasons) == (1, [])


def tar_of(path: Path, *members: tuple[str, bytes] | tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


GOOD = ("good.jpg", jpeg(1))
LAST = ("last.jpg", jpeg(2))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (("../evil.jpg", b"x"), "unsafe_path"),
        (("/etc/evil.jpg", b"x"), "unsafe_path"),
        (("a/../../evil.jpg", b"x"), "unsafe_path"),
        (("a\\evil.jpg", b"x"), "unsafe_path"),
        (("C:evil.jpg", b"x"), "unsafe_path"),
        (("a\nb.jpg", b"x"), "unsafe_path"),
        (("x/" * 300 + "long.jpg", b"x"), None),
        (("x/" * 600 + "long.jpg", b"x"), "unsafe_path"),
        (special("link.jpg", tarfile.SYMTYPE, "/etc/passwd"), "not_a_file"),
        (special("hard.jpg", tarfile.LNKTYPE, "../good.jpg"), "not_a_file"),
        (special("device.jpg", tarfile.CHRTYPE), "not_a_file"),
        (special("pipe.jpg", tarfile.FIFOTYPE), "not_a_file"),
        (special("folder", tarfile.DIRTYPE), "not_a_file"),
        (("nodot", b"x"), "no_key"),
        ((".hidden", b"x"), "no_key"),
    ],
)
def test_an_unsafe_member_of_a_tar_file_costs_no_other(
    tmp_path: Path, bad: tuple[str, bytes] | tarfile.TarInfo, reason: str | None
) -> None:
    path = tar_of(tmp_path / "x.tar", GOOD, bad, LAST)
    _, files, reasons = read("webdataset", path)
    assert {"good.jpg", "last.jpg"} <= set(files)
    assert reasons == ([reason] if reason else [])
    assert {p.name for p in tmp_path.iterdir()} == {"x.tar"}


def test_a_tar_file_that_ends_early_keeps_what_is_whole(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", GOOD, LAST)
    whole = path.read_bytes()
    for length, reason in ((512 + 100, "truncated"), (512 + 1024 + 20, "truncated"), (1024 + 512 + 300, "truncated")):
        path.write_bytes(whole[:length])
        files, reasons = read("webdataset", path)[1:]
        assert reasons == [reason]
        assert files in ([], ["good.jpg"])


def test_a_tar_file_with_a_damaged_header_is_read_up_to_it(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", GOOD, LAST)
    size = -(-len(GOOD[1]) // 512) * 512
    path.write_bytes(flipped(path.read_bytes(), 512 + size + 10))
    assert read("webdataset", path)[1:] == (["good.jpg"], ["bad_header"])


def test_a_header_that_claims_gigabytes_is_not_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x.jpg")
    info.size = 2**40
    path = tmp_path / "x.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    assert read("webdataset", path)[2] == ["too_large", "truncated"]


def test_a_sample_of_another_tool_keeps_all_its_members(tmp_path: Path) -> None:
    parts = [("d/a.json", b'{"x": 1}'), ("d/a.seg.png", b"2"), ("d/a.jpg", b"1"), ("d/a.cls", b"7"), ("b.txt", b"a cat")]
    rows, files, reasons = read("webdataset", tar_of(tmp_path / "x.tar", *parts))
    assert [(row["key"], row["json"], row["cls"], row["txt"]) for row in rows] == [
        ("d/a", '{"x": 1}', "7", None),
        ("b", None, None, "a cat"),
    ]
    assert files == ["d/a.seg.png", "d/a.jpg"]
    assert reasons == []


def test_members_of_one_key_that_lie_apart_are_one_sample(tmp_path: Path) -> None:
    names = ["a.jpg", "b.jpg", "b.json", "c.json", "a.json", "c.jpg", "a.JPG", "b.jpg"]
    path = tar_of(tmp_path / "x.tar", *((name, f'"{n}"'.encode()) for n, name in enumerate(names)))
    rows, files, reasons = read("webdataset", path)
    assert [(row["key"], row["json"]) for row in rows] == [("a", '"4"'), ("b", '"2"'), ("c", '"3"')]
    assert (files, reasons) == (["a.jpg", "b.jpg", "c.jpg"], ["duplicate", "duplicate"])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations([f"{key}.{part}" for key in "abc" for part in ("jpg", "json", "cls")]))
def test_in_whatever_order_members_lie_the_samples_are_the_same(tmp_path: Path, order: list[str]) -> None:
    rows, files, reasons = read("webdataset", tar_of(tmp_path / "x.tar", *((name, name.encode()) for name in order)))
    assert sorted((row["key"], row["json"], row["cls"]) for row in rows) == [(k, f"{k}.json", f"{k}.cls") for k in "abc"]
    assert (sorted(files), reasons) == (["a.jpg", "b.jpg", "c.jpg"], [])


def hdf5(path: Path, **columns: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values
    return path


def test_links_of_an_hdf5_file_are_not_followed(tmp_path: Path) -> None:
    secret = hdf5(tmp_path / "secret.h5", n=[1, 2])
    (tmp_path / "in").mkdir()
    for name, link in (("external", h5py.ExternalLink(str(secret), "/n")), ("soft", h5py.SoftLink("/n"))):
        hdf5(tmp_path / "in" / f"{name}.h5", n=[1, 2], x=link)
    hdf5(tmp_path / "in" / "whole.h5", n=[7, 8])
    rows, _, reasons = read("hdf5", tmp_path / "in")
    assert ([row["n"] for row in rows], reasons) == ([7, 8], ["link", "link"])


def test_bytes_that_lie_in_other_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret  ")
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("n", (1,), "i8", external=[(str(tmp_path / "secret"), 0, 8)])
    hdf5(tmp_path / "other.h5", n=[1])
    layout = h5py.VirtualLayout((1,), "i8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "n", (1,))
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("n", layout)
    for name in ("external.h5", "virtual.h5"):
        assert read("hdf5", tmp_path / name) == ([], [], ["external"])


def test_hdf5_bombs_are_not_unpacked(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "never.h5", "w") as file:
        file.create_dataset("n", (10**12,), "i8", chunks=(1024,))
    with h5py.File(tmp_path / "chunk.h5", "w") as file:
        file.create_dataset("n", (2**27,), "u4", chunks=(2**27,), compression="gzip")
    for name in ("never.h5", "chunk.h5"):
        assert read("hdf5", tmp_path / name)[2] == ["too_large"]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"a": [1], "b": [1, 2]}, "schema"),
        ({"a": np.zeros((2, 2, 2))}, "unsupported"),
        ({"a": np.array([(1, 2.0)], dtype="i4,f8")}, "unsupported"),
        ({"a": 1}, "unsupported"),
        ({}, "schema"),
    ],
)
def test_an_hdf5_file_that_is_no_table_is_rejected(tmp_path: Path, columns: dict[str, Any], reason: str) -> None:
    assert read("hdf5", hdf5(tmp_path / "x.h5", **columns)) == ([], [], [reason])


def test_hdf5_of_another_tool_is_read_as_columns(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "x.h5", x=np.eye(2, dtype="f4"), y=[1, 0], name=["a", "é"], flags=[True, False])
    assert read("hdf5", path)[0] == [
        {"flags": True, "name": "a", "x": [1.0, 0.0], "y": 1},
        {"flags": False, "name": "é", "x": [0.0, 1.0], "y": 0},
    ]


@pytest.mark.parametrize(("kind", "name"), [("parquet", "a.parquet"), ("feather", "a.feather"), ("hdf5", "a.h5")])
def test_a_shard_that_is_garbage_or_cut_short_costs_no_other(tmp_path: Path, kind: str, name: str) -> None:
    good = pl.DataFrame({"n": list(range(500))})
    write = {
        "parquet": good.write_parquet,
        "feather": lambda path: good.write_ipc(path, compat_level=pl.CompatLevel.oldest()),
        "hdf5": lambda path: hdf5(path, n=good["n"].to_numpy()),
    }[kind]
    write(tmp_path / f"z{name}")
    (tmp_path / name).write_bytes(b"garbage" * 100)
    (tmp_path / f"b{name}").write_bytes((tmp_path / f"z{name}").read_bytes()[:-30])
    rows, _, reasons = read(kind, tmp_path)
    assert len(rows) == 500
    assert reasons == ["unreadable", "unreadable"]


@pytest.mark.slow
def test_a_parquet_bomb_is_not_unpacked(tmp_path: Path) -> None:
    table = pa.table({"x": pa.array(["0" * 100_000] * 2_000)})
    pq.write_table(table, tmp_path / "x.parquet", compression="zstd", use_dictionary=False)
    assert read("parquet", tmp_path / "x.parquet")[2] == ["too_large"]


def coco(folder: Path, images: list[Any], **parts: Any) -> Path:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "annotations.json").write_text(json.dumps({"images": images, "annotations": [], **parts}))
    return folder


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ({"id": 2, "file_name": "../secret.jpg"}, "unsafe_path"),
        ({"id": 2, "file_name": "/etc/passwd"}, "unsafe_path"),
        ({"id": 2, "file_name": "link.jpg"}, "unsafe_path"),
        ({"id": 2, "file_name": "behind/secret.jpg"}, "unsafe_path"),
        ({"id": 2, "file_name": "folder"}, "unsafe_path"),
        ({"id": 2, "file_name": "absent.jpg"}, "missing"),
        ({"id": 2}, "bad_image"),
        ({"file_name": "good.jpg"}, "bad_image"),
        ({"id": "two", "file_name": "good.jpg"}, "bad_image"),
        ({"id": 3, "file_name": "good.jpg", "width": "wide"}, "bad_image"),
        ({"id": [], "file_name": "good.jpg"}, "bad_image"),
        (7, "bad_image"),
    ],
)
def test_a_bad_image_of_coco_costs_no_other(tmp_path: Path, image: Any, reason: str) -> None:
    folder = coco(tmp_path / "in", [{"id": 1, "file_name": "good.jpg"}, image])
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (folder / "images" / "good.jpg").write_bytes(jpeg(1))
    (folder / "images" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (folder / "images" / "behind").symlink_to(tmp_path)
    (folder / "images" / "folder").mkdir()
    rows, files, reasons = read("coco", folder)
    assert ([row["coco_id"] for row in rows], files, reasons) == ([1], ["good.jpg"], [reason])


def test_coco_of_another_tool_keeps_labels_captions_and_all_of_its_annotations(tmp_path: Path) -> None:
    box = {"id": 5, "image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4], "segmentation": [[1, 1, 2, 2, 3, 3]]}
    parts = {"annotations": [box, {"id": 6, "image_id": 1, "caption": "a cat"}], "categories": [{"id": 3, "name": "cat"}]}
    folder = coco(tmp_path, [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}], **parts)
    (folder / "images" / "a.jpg").write_bytes(jpeg(1))
    [row] = read("coco", folder)[0]
    assert (row["coco_labels"], row["coco_captions"], row["coco_width_px"]) == (["cat"], ["a cat"], 40)
    assert json.loads(row["coco_annotations_json"]) == parts["annotations"]


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"images": 1}', '{"annotations": []}', '"x"'])
def test_json_that_is_no_coco_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "annotations.json").write_text(text)
    with pytest.raises(ImportRefused):
        read("coco", tmp_path)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_folder_without_such_files_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ImportRefused):
        read(kind, tmp_path)


@pytest.mark.parametrize("kind", ["parquet", "tfrecord", "webdataset", "hdf5", "feather"])
def test_shards_that_are_links_are_left(tmp_path: Path, kind: str) -> None:
    ending = {"hdf5": "h5", "webdataset": "tar"}.get(kind, kind)
    (tmp_path / "in").mkdir()
    (tmp_path / f"x.{ending}").write_bytes(b"")
    (tmp_path / "in" / f"x.{ending}").symlink_to(tmp_path / f"x.{ending}")
    with pytest.raises(ImportRefused):
        read(kind, tmp_path / "in")


@pytest.mark.parametrize("text", ["", "[]", '{"columns": 1}', '{"columns": {"a": "Int7"}}', "[" * 100_000])
def test_a_description_that_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "_darkroom.json").write_text(text)
    with pytest.raises(ImportRefused, match="Move it away"):
        incoming.described_types(tmp_path)


@pytest.mark.parametrize("kind", ["webdataset", "hdf5", "tfrecord", "parquet", "feather"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 1), at=st.floats(0, 1), bit=st.integers(0, 7), is_cut=st.booleans())
def test_a_flipped_bit_or_a_cut_is_never_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, kind: str, cut: float, at: float, bit: int, is_cut: bool
) -> None:
    data = bytearray(WHOLE[kind]())
    if is_cut:
        data = data[: int(cut * len(data))]
    elif data:
        data[int(at * (len(data) - 1))] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / f"fuzzed-{kind}-{os.getpid()}"
    path.write_bytes(bytes(data))
    for found in FORMATS[kind].load().batches(path, Reading()):
        assert isinstance(found, Batch | Rejected)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Processes that read HDF5 have one second of CPU time."""
    with monkeypatch.context() as patch:
        patch.setattr(apart, "CPU_S", 1)
        patch.setattr(apart, "_idle", [])
        yield
        apart._stop_all()


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_of_an_hdf5_file_on_which_its_library_never_returns_the_rest_is_rejected_and_the_next_one_is_read(
    tmp_path: Path,
) -> None:
    whole = _whole_hdf5()
    of_a_text, longer = (struct.pack("<HHIQ", 113, 0, 0, size) for size in (1, 4097))
    assert whole.count(of_a_text) == 1
    (tmp_path / "a.h5").write_bytes(whole.replace(of_a_text, longer))
    (tmp_path / "b.h5").write_bytes(whole)
    rejected, batch = FORMATS["hdf5"].load().batches(tmp_path, Reading())
    assert (rejected.source, rejected.reason) == ("a.h5", "unreadable")
    assert "row 0 and all after it: libhdf5 took more than 1 s of CPU time" in rejected.detail
    assert batch.rows.height == 300


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_a_process_that_reads_hdf5_is_kept_for_the_next_file_and_ends_with_who_stops_in_the_middle(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["n"] = np.arange(5 * BATCH_ROWS)
    read = FORMATS["hdf5"].load().batches
    assert sum(batch.rows.height for batch in read(tmp_path, Reading())) == 5 * BATCH_ROWS
    [process] = apart._idle
    assert sum(batch.rows.height for batch in read(tmp_path, Reading())) == 5 * BATCH_ROWS
    assert apart._idle == [process]
    items = read(tmp_path, Reading())
    next(items)
    items.close()
    assert apart._idle == []
    with pytest.raises(psutil.NoSuchProcess):
        psutil.Process(process._process.pid)


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_a_process_that_died_between_two_files_costs_the_second_one_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(_whole_hdf5())
    for _ in range(2):
        assert [batch.rows.height for batch in FORMATS["hdf5"].load().batches(tmp_path, Reading())] == [300]
        [process] = apart._idle
        process._process.kill()
        process._process.wait()


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_the_rows_that_were_read_before_the_process_died_are_kept(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["n"] = np.arange(200 * BATCH_ROWS)
    list(FORMATS["hdf5"].load().batches(tmp_path, Reading()))
    [process] = apart._idle
    items = FORMATS["hdf5"].load().batches(tmp_path, Reading())
    rows = next(items).rows.height
    process._process.kill()
    *batches, rejected = items
    rows += sum(batch.rows.height for batch in batches)
    assert 0 < rows < 200 * BATCH_ROWS
    assert rejected.detail == f"row {rows:,} and all after it: the process that reads it died (SIGKILL)"


def _whole_hdf5() -> bytes:
    sink = io.BytesIO()
    with h5py.File(sink, "w") as file:
        file.create_dataset("n", data=np.arange(300), compression="gzip")
        file["name"] = ["a", "é"] * 150
    return sink.getvalue()


def _whole_tar() -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for name, data in (("a.jpg", b"photo"), ("a.json", b"{}"), ("x" * 120 + ".jpg", b"long")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def _whole_arrow(write: Any) -> bytes:
    sink = io.BytesIO()
    write(pl.DataFrame({"n": [1, None, 3], "name": ["a", "é", None], "x": [[1.0], [], None]}), sink)
    return sink.getvalue()


WHOLE = {
    "webdataset": _whole_tar,
    "hdf5": _whole_hdf5,
    "tfrecord": lambda: b"".join(framed(encode({"n": (3, [n]), "s": (1, [b"x"])})) for n in range(3)),
    "parquet": lambda: _whole_arrow(pl.DataFrame.write_parquet),
    "feather": lambda: _whole_arrow(lambda frame, sink: frame.write_ipc(sink, compat_level=pl.CompatLevel.oldest())),
}


def rows_of(*paths: str | None) -> Batch:
    """A row for each path with some bytes, as a reader would hand them on."""
    files = [incoming.File(f"bytes {n}".encode(), path, n) for n, path in enumerate(paths)]
    return Batch("shard", pl.DataFrame({"n": range(len(paths))}, schema={"n": pl.Int64}), files)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../out", "unsafe_path"),
        ("/etc/passwd", "unsafe_path"),
        (ROWS, "reserved_path"),
        (REJECTED, "reserved_path"),
        ("a", "duplicate_path"),
        ("a/b", "duplicate_path"),
        ("d", "duplicate_path"),
    ],
)
def test_a_path_that_can_not_be_is_kept_aside_with_its_row(path: str, reason: str) -> None:
    store = ObjectStore.open("memory://")
    brought = store_batches([rows_of("a", "d/e", path, "z")], store)
    assert brought.reasons == {reason: 1}
    assert set(brought.files["path"]) == {"a", "d/e", "z", ROWS, REJECTED}
    assert brought.rows == 3


def test_a_row_whose_bytes_are_not_those_that_it_names_is_kept_aside() -> None:
    rows = pl.DataFrame({"sha256": ["0" * 64, hashlib.sha256(b"good").hexdigest()]})
    brought = store_batches(
        [Batch("s", rows, [incoming.File(b"bad", None, 0), incoming.File(b"good", None, 1)])], ObjectStore.open("memory://")
    )
    assert brought.reasons == {"sha256_differs": 1}
    assert brought.rows == 1


def test_rows_of_other_columns_than_the_first_are_kept_aside() -> None:
    batches = [
        Batch("a", pl.DataFrame({"n": [1]})),
        Batch("b", pl.DataFrame({"m": [1]})),
        Batch("c", pl.DataFrame({"n": [2]})),
    ]
    brought = store_batches(batches, ObjectStore.open("memory://"))
    assert (brought.rows, brought.reasons) == (2, {"schema": 1})


def test_an_import_of_which_nothing_is_left_is_refused_with_the_reasons() -> None:
    with pytest.raises(ImportRefused, match="1 bad_crc"):
        store_batches([Rejected("x", "bad_crc", "")], ObjectStore.open("memory://"))
    with pytest.raises(ImportRefused, match="no rows and no files"):
        store_batches([], ObjectStore.open("memory://"))


def test_files_for_uploads_never_leave_their_folder(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    found, reasons = write_files([rows_of("../out", "a/b.jpg", "/x")], inside)
    assert (found, reasons) == ({"a/b.jpg": {}}, {"unsafe_path": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_labels_that_are_none_are_counted_and_their_files_come_without(tmp_path: Path) -> None:
    texts = ['{"mood": "calm"}', '{"score": 1e999}', '{"boxes": [{"x": Infinity}]}', "[1]", "{", "", "{}", None]
    names = [f"{n}.jpg" for n in range(len(texts))]
    rows = pl.DataFrame({"path": names, "labels_json": texts}, schema_overrides={"labels_json": pl.String})
    batch = Batch("shard", rows, [incoming.File(name.encode(), name, row) for row, name in enumerate(names)])
    found, reasons = write_files([batch], tmp_path)
    assert found == {name: {"mood": "calm"} if name == "0.jpg" else {} for name in names}
    assert reasons == {"bad_labels": 5}


def test_a_sample_that_does_not_fit_its_types_costs_no_other(tmp_path: Path) -> None:
    (tmp_path / "_darkroom.json").write_text(json.dumps({"columns": {"n": "Int8", "x": "List(Float32)"}}))
    cells = [b'{"n": 1}', b'{"n": "one"}', b'{"n": 1000}', b"{}", b"[]", b"{", b'{"n": null}']
    tar_of(tmp_path / "x.tar", *((f"{n}.json", text) for n, text in enumerate(cells)), ("9.x.npy", b"no array"))
    rows, _, reasons = read("webdataset", tmp_path)
    assert [row["n"] for row in rows] == [1, None]
    assert reasons == ["bad_sample"] * 6


def tar_header(size: bytes, kind: bytes = b"0") -> bytes:
    """A header of a tar file with a size that no writer writes."""
    header = bytearray(b"odd.jpg".ljust(100, b"\0") + b"0000644\0".ljust(24, b"\0") + size + b"0" * 12)
    header += b" " * 8 + kind + bytes(100) + b"ustar\x0000" + bytes(247)
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@pytest.mark.parametrize(
    "size",
    [(2**96 - 512).to_bytes(12, "big"), (2**96 - 2**80).to_bytes(12, "big"), b"\x80" + (2**80).to_bytes(11, "big")],
    ids=["one block back", "far back", "2^80"],
)
@pytest.mark.parametrize("kind", [b"0", b"x", b"L", b"5"])
def test_a_size_that_leads_nowhere_ends_a_tar_file_and_is_told(tmp_path: Path, size: bytes, kind: bytes) -> None:
    path = tar_of(tmp_path / "x.tar", GOOD)
    whole = path.read_bytes()
    members = whole[: 512 + -(-len(GOOD[1]) // 512) * 512]
    path.write_bytes(members + tar_header(size, kind) + bytes(1024))
    _, files, reasons = read("webdataset", path)
    assert (len(files), reasons) == (1, ["bad_header"])


@pytest.mark.parametrize(
    "attributes", ["12 size=\u00b2\n".encode(), b"9" * 5000 + b" size=1\n", b"4511 size=" + b"1" * 4500 + b"\n"]
)
def test_attributes_that_are_no_numbers_are_passed_over(tmp_path: Path, attributes: bytes) -> None:
    head = tar_header(b"%011o\0" % len(attributes), b"x") + attributes.ljust(-(-len(attributes) // 512) * 512, b"\0")
    path = tar_of(tmp_path / "x.tar", GOOD, LAST)
    path.write_bytes(head + path.read_bytes())
    _, files, reasons = read("webdataset", path)
    assert (len(files), reasons) == (2, [])


def test_a_name_that_is_no_unicode_costs_no_other(tmp_path: Path) -> None:
    header = bytearray(tar_header(b"%011o\0" % 3))
    header[:7], header[148:156] = b"\xff\xfed.jpg", b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path = tar_of(tmp_path / "x.tar", GOOD)
    path.write_bytes(bytes(header) + b"abc".ljust(512, b"\0") + path.read_bytes())
    brought = store_batches(FORMATS["webdataset"].load().batches(path, Reading()), ObjectStore.open("memory://"))
    assert (brought.rows, brought.reasons) == (1, {"unsafe_path": 1})

"""Small files of other tools that would become gigabytes, go round for ever, or end a whole import by a traceback."""

import io
import json
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.errors import ImportRefused
from pipeline_assets.versioning.formats import FORMATS, parquet_pages
from pipeline_assets.versioning.formats.incoming import Batch, Reading, Rejected
from pipeline_assets.versioning.formats.tfrecord.example import encode
from pipeline_assets.versioning.formats.tfrecord.format import framed

pytestmark = pytest.mark.slow

MEMORY_LIMIT_MIB, CPU_LIMIT_S = 800, 60
READ_IN_A_CHILD = """
import resource, sys
from pathlib import Path
from pipeline_assets.versioning.formats import FORMATS
from pipeline_assets.versioning.formats.incoming import Reading, Rejected
kind, path = sys.argv[1], Path(sys.argv[2])
load = FORMATS[kind].load()
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[3]),) * 2)
resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30,) * 2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for found in load.batches(path, Reading()):
    if isinstance(found, Rejected):
        print(found.reason)
    del found
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def read(kind: str, path: Path) -> tuple[int, list[str]]:
    """How many rows come in, and the reasons of what does not."""
    found = list(FORMATS[kind].load().batches(path, Reading()))
    rows = sum(one.rows.height for one in found if isinstance(one, Batch))
    return rows, [one.reason for one in found if isinstance(one, Rejected)]


def header(name: str, size: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A tar header with the field `size` as it is given."""
    info = tarfile.TarInfo(name)
    info.type = kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136], block[148:156] = size, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def octal(size: int) -> bytes:
    return b"%011o\0" % size


def attributes(**values: str) -> bytes:
    """A PAX header of these."""
    body = b""
    for name, value in values.items():
        length = next(n for n in range(10_000) if n == len(f"{n} {name}={value}\n"))
        body += f"{length} {name}={value}\n".encode()
    return header("pax", octal(len(body)), tarfile.XHDTYPE) + body.ljust(-(-len(body) // 512) * 512, b"\0")


GOOD = header("good.jpg", octal(3)) + b"abc".ljust(512, b"\0")
END = bytes(1024)
MINUS_512 = tarfile.itn(-512, 12, tarfile.GNU_FORMAT)
TARS: dict[str, tuple[bytes, int, list[str]]] = {
    "a negative size": (header("x.jpg", MINUS_512) + GOOD + END, 0, ["bad_header"]),
    "a negative size, behind another": (GOOD + header("x.jpg", MINUS_512) + GOOD + END, 1, ["bad_header"]),
    "a folder of a negative size": (header("x/", MINUS_512, tarfile.DIRTYPE) + GOOD + END, 0, ["bad_header"]),
    "a size of 2^95": (header("x.jpg", b"\x80" + b"\xff" * 11) + GOOD + END, 0, ["bad_header"]),
    "a PAX size of petabytes": (GOOD + attributes(size="9" * 15) + header("x.jpg", octal(0)) + END, 1, ["too_large", "truncated"]),
    "a PAX size of exabytes": (GOOD + attributes(size="9" * 16) + header("x.jpg", octal(0)) + END, 1, ["too_large", "truncated"]),
    "a link with a PAX size": (attributes(size="9" * 15) + header("x", octal(0), tarfile.SYMTYPE) + GOOD + END, 1, ["not_a_file"]),
    "a device with a PAX size": (GOOD + attributes(size="9" * 15) + header("x", octal(0), tarfile.CHRTYPE) + END, 1, ["not_a_file", "truncated"]),
    "a PAX size of 4,500 digits": (attributes(size="9" * 4_500) + GOOD + END, 1, []),
    "a PAX size below 0": (attributes(size="-512") + GOOD + END, 1, []),
    "a PAX size in other digits": (attributes(size="\u0663") + GOOD + END, 1, []),
}  # fmt: skip


@pytest.mark.parametrize("name", TARS)
def test_a_number_of_a_tar_file_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    data, rows, reasons = TARS[name]
    (tmp_path / "x.tar").write_bytes(data)
    assert read("webdataset", tmp_path / "x.tar") == (rows, reasons)


@given(st.lists(st.tuples(st.integers(0, 4 * 512 - 1), st.integers(0, 255)), max_size=6), st.booleans())
def test_a_tar_file_with_any_bytes_changed_is_read_to_an_end(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], is_summed: bool
) -> None:
    data = bytearray(attributes(path="a.jpg", size="3") + GOOD + GOOD)
    for at, byte in changes:
        data[at] = byte
    for start in (0, 1024) if is_summed else ():
        data[start + 148 : start + 156] = b" " * 8
        data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    path = tmp_path_factory.getbasetemp() / "changed.tar"
    path.write_bytes(bytes(data) + END)
    read("webdataset", path)


def test_a_sample_whose_members_are_too_many_to_hold_is_kept_aside(tmp_path: Path) -> None:
    with (tmp_path / "x.tar").open("wb") as file:
        for n in range(4):
            file.write(header(f"a.{n}.bin", octal(100 * 1024**2)))
            file.seek(100 * 1024**2, io.SEEK_CUR)
        file.write(GOOD + END)
    assert read("webdataset", tmp_path / "x.tar") == (1, ["too_large"])


def zeros(rows: int) -> pa.Table:
    return pa.table({"x": pa.array(np.zeros(rows, np.int64))})


def feather_of_one_batch(path: Path) -> None:
    """The issue's: zeros that zstd packs to some kilobytes."""
    pl.DataFrame({"x": np.zeros(480_000_000 // 8, np.int64)}).write_ipc(path, compression="zstd")


def feather_of_batches(path: Path) -> None:
    """Each batch alone is small enough."""
    table = zeros(8_000_000)
    with pa.ipc.new_file(str(path), table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        for _ in range(60):
            writer.write_table(table)


def feather_of_nulls(path: Path) -> None:
    """Rows that are in no buffer at all."""
    with pa.ipc.new_file(str(path), pa.schema({"x": pa.null()})) as writer:
        writer.write_batch(pa.record_batch([pa.Array.from_buffers(pa.null(), 2**31 - 1, [None])], ["x"]))


def feather_of_views(path: Path) -> None:
    """Every row names the same megabyte."""
    text = pa.array(["x" * 2**20], pa.string_view())
    views = pa.py_buffer(text.buffers()[1].to_pybytes() * 200_000)
    column = pa.StringViewArray.from_buffers(pa.string_view(), 200_000, [None, views, *text.buffers()[2:]])
    with pa.ipc.new_file(
        str(path), pa.schema({"x": pa.string_view()}), options=pa.ipc.IpcWriteOptions(compression="zstd")
    ) as writer:
        writer.write_batch(pa.record_batch([column], ["x"]))  # fmt: skip


def feather_of_a_dictionary(path: Path) -> None:
    """Every row names the one entry, of bytes, which polars copies for each."""
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(200_000, np.int8)), pa.array([b"x" * 2**20]))
    table = pa.table({"x": column})
    with pa.ipc.new_file(str(path), table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)


def parquet_of_pages(path: Path) -> None:
    """Zeros, whose footer says that they unpack to next to nothing."""
    pq.write_table(
        zeros(60_000_000), path, compression="zstd", use_dictionary=False, row_group_size=10**9, data_page_size=2**30,
        write_batch_size=10**8, write_statistics=False, store_schema=False,
    )  # fmt: skip
    data = path.read_bytes()
    footer = pq.ParquetFile(path).metadata
    claimed = footer.row_group(0).total_byte_size
    told = varint(claimed << 1)
    assert data.count(told) >= 2  # of the column, and of the row group
    path.write_bytes(data[: len(data) // 2] + data[len(data) // 2 :].replace(told, varint(8, len(told))))


def parquet_of_a_dictionary(path: Path) -> None:
    """Every row names the one entry of a megabyte, in runs of no length."""
    table = pa.table({"x": pa.DictionaryArray.from_arrays(pa.array(np.zeros(200_000, np.int8)), pa.array(["x" * 2**20]))})
    pq.write_table(
        table.cast(pa.schema({"x": pa.dictionary(pa.int8(), pa.string())})), path, compression="zstd", store_schema=False
    )


def parquet_of_prefixes(path: Path) -> None:
    """Every row repeats the megabyte of the row before."""
    rows = ["x" * 2**20] * 200
    table = pa.table({"x": rows})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, column_encoding={"x": "DELTA_BYTE_ARRAY"})


def parquet_of_lists(path: Path) -> None:
    """One row with a list of numbers that are one run."""
    values = pa.array(np.zeros(60_000_000, np.int64))
    table = pa.table({"x": pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)})
    pq.write_table(table, path, compression="zstd")


def hdf5_of_one_text(path: Path) -> None:
    """Every row names the same megabyte of the heap."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset("x", (200_000,), h5py.string_dtype(), chunks=(200_000,), compression="gzip")
        one = file.create_dataset("y", (1,), h5py.string_dtype())
        one[0] = "x" * 2**20
        where = one.id.get_offset()
        file.flush()
        raw = path.read_bytes()[where : where + 16]
        del file["y"]
        import zlib

        data.id.write_direct_chunk((0,), zlib.compress(raw * 200_000))


def hdf5_of_twice_packed_zeros(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (500_000_000,), "i1", chunks=(100_000_000,), compression="gzip", shuffle=True)
        file["x"][:100_000_000] = 0


def tfrecord_of_features(path: Path) -> None:
    """Each record has names of its own: a table of them all is their square."""
    names = [[f"{n:x}-{m:x}" for m in range(100)] for n in range(300)]
    path.write_bytes(b"".join(framed(encode({name: (3, [1]) for name in some})) for some in names))


def tfrecord_of_empty_records(path: Path) -> None:
    """One record of many names, and many of none."""
    path.write_bytes(framed(encode({f"{n:x}": (3, [1]) for n in range(9_000)})) + framed(b"") * 100_000)


BOMBS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "feather of one batch": ("feather", feather_of_one_batch),
    "feather of many batches": ("feather", feather_of_batches),
    "feather of nulls": ("feather", feather_of_nulls),
    "feather of views of one text": ("feather", feather_of_views),
    "feather of one entry of a dictionary": ("feather", feather_of_a_dictionary),
    "parquet whose footer lies": ("parquet", parquet_of_pages),
    "parquet of one entry of a dictionary": ("parquet", parquet_of_a_dictionary),
    "parquet of prefixes": ("parquet", parquet_of_prefixes),
    "parquet of one long list": ("parquet", parquet_of_lists),
    "hdf5 of one text": ("hdf5", hdf5_of_one_text),
    "hdf5 of zeros": ("hdf5", hdf5_of_twice_packed_zeros),
    "tfrecord of features of their own": ("tfrecord", tfrecord_of_features),
    "tfrecord of empty records": ("tfrecord", tfrecord_of_empty_records),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_costs_little_and_is_left_with_its_reason(tmp_path: Path, name: str) -> None:
    kind, write = BOMBS[name]
    path = tmp_path / "bomb"
    write(path)
    assert path.stat().st_size < 20 * 1024**2
    command = [sys.executable, "-c", READ_IN_A_CHILD, kind, str(path), str(CPU_LIMIT_S)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr[-2_000:])
    *reasons, memory_mib = done.stdout.split()
    assert reasons == ["too_large"]
    assert int(memory_mib) < MEMORY_LIMIT_MIB


def varint(value: int, length: int = 0) -> bytes:
    """A number as Thrift's compact protocol has it, in so many bytes at least."""
    out = bytearray()
    while value >= 0x80 or len(out) + 1 < length:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


@pytest.mark.parametrize("kind", ["parquet", "feather"])
def test_tables_of_one_value_in_a_million_rows_come_in(tmp_path: Path, kind: str) -> None:
    day = [20_000] * 1_000_000
    frame = pl.DataFrame({"day": pl.Series(day, dtype=pl.Int32), "name": ["cat"] * len(day), "n": [1] * len(day)})
    path = tmp_path / "x"
    frame.write_parquet(path) if kind == "parquet" else frame.write_ipc(path, compression="zstd")
    assert read(kind, path) == (1_000_000, [])


def test_lists_of_a_few_hundred_names_come_in(tmp_path: Path) -> None:
    names = [f"category {number} of the list" for number in range(1_200)]
    rows = [[names[(row + 7 * place) % 1_200] for place in range(row % 9 + 1)] for row in range(50_000)]
    pq.write_table(pa.table({"labels": rows}), tmp_path / "x.parquet")
    assert read("parquet", tmp_path / "x.parquet") == (50_000, [])


def test_many_columns_of_many_names_are_read_as_many_rows_at_once_as_others(tmp_path: Path) -> None:
    columns = {f"c{n}": [f"value {n} {row % 2_000} of the column" for row in range(4_096)] for n in range(60)}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    batches = list(FORMATS["parquet"].load().batches(tmp_path / "x.parquet", Reading()))
    assert [one.rows.height for one in batches if isinstance(one, Batch)] == [1_024] * 4


def test_what_pages_say_is_what_they_hold(tmp_path: Path) -> None:
    words = [f"word {n % 5_000} {'x' * (n % 50)}" for n in range(200_000)]
    table = pa.table(
        {"w": words, "n": list(range(200_000)), "l": [[w, None] for w in words], "b": [n % 2 == 0 for n in range(200_000)]}
    )
    for version in ("1.0", "2.0"):
        for compression in ("none", "zstd", "lz4"):
            path = tmp_path / "x.parquet"
            pq.write_table(table, path, compression=compression, data_page_version=version, row_group_size=70_000)
            with pq.ParquetFile(path) as file, path.open("rb") as pages:
                for group in (file.metadata.row_group(n) for n in range(file.num_row_groups)):
                    for column in (group.column(n) for n in range(group.num_columns)):
                        found = parquet_pages.chunk(pages, path.stat().st_size, column)
                        assert found.values == column.num_values
                        assert found.unpacked >= 0.95 * column.total_uncompressed_size - 2_000
                        assert found.longest < 64 * 1024
            assert read("parquet", path) == (200_000, [])


@pytest.mark.parametrize("kind", ["parquet", "feather"])
@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_file_with_any_bytes_changed_comes_in_or_is_told(
    tmp_path_factory: pytest.TempPathFactory, kind: str, changes: list[tuple[float, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / f"changed.{kind}"
    table = pa.table({"n": [1, 2, None], "t": ["a", "b" * 20, None], "l": [["x"], [], None]})
    if kind == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(str(path), table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
            writer.write_table(table)
    data = bytearray(path.read_bytes())
    for at, byte in changes:
        data[int(at * len(data))] = byte
    path.write_bytes(bytes(data))
    read(kind, path)


ODD: dict[str, Callable[[], Any]] = {
    "decimal256": lambda: pa.array([1, 2], pa.decimal256(50, 2)),
    "union": lambda: pa.UnionArray.from_sparse(pa.array([0, 0], pa.int8()), [pa.array([1, 2])]),
    "runs": lambda: pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array(["a"])),
    "list view": lambda: pa.array([[1], [2]], pa.list_view(pa.int64())),
    "interval": lambda: pa.array([(1, 2, 3), (1, 2, 3)], pa.month_day_nano_interval()),
    "struct of nothing": lambda: pa.array([{}, {}], pa.struct([])),
    "lists of nulls": lambda: pa.array([[None] * 9] * 2, pa.list_(pa.null(), 9)),
    "within a list": lambda: pa.array([[1], [2]], pa.list_(pa.decimal256(50, 2))),
}


@pytest.mark.parametrize("name", ODD)
def test_a_type_that_no_table_holds_costs_its_shard_alone(tmp_path: Path, name: str) -> None:
    odd = pa.table({"x": ODD[name]()})
    with pa.ipc.new_file(str(tmp_path / "a.feather"), odd.schema) as writer:
        writer.write_table(odd)
    pl.DataFrame({"x": [1]}).write_ipc(tmp_path / "b.feather", compat_level=pl.CompatLevel.oldest())
    assert read("feather", tmp_path) == (1, ["unsupported"])


def test_a_time_zone_that_is_nowhere_costs_its_shard_alone(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": pa.array([1], pa.timestamp("us", "Mars/Phobos"))}), tmp_path / "a.parquet")
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "b.parquet")
    assert read("parquet", tmp_path) == (1, ["unreadable"])


def test_an_array_whose_header_is_nested_costs_its_sample_alone(tmp_path: Path) -> None:
    (tmp_path / "_darkroom.json").write_text(json.dumps({"columns": {"v": "List(Int64)"}}))

    def member(name: str, data: bytes) -> bytes:
        return header(name, octal(len(data))) + data.ljust(-(-len(data) // 512) * 512, b"\0")

    def array(told: bytes) -> bytes:
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(told)) + told

    good = array(b"{'descr': '<i8', 'fortran_order': False, 'shape': (1,)}\n") + bytes(8)
    data = b""
    for n, told in enumerate((b"-" * 9_000 + b"1", b"(" * 9_000, b"[" * 150 + b"]" * 150, b"{" * 90)):
        data += member(f"{n}.json", b"{}") + member(f"{n}.v.npy", array(told))
    (tmp_path / "x.tar").write_bytes(data + member("g.json", b"{}") + member("g.v.npy", good) + END)
    assert read("webdataset", tmp_path) == (1, ["bad_sample"] * 4)


def test_a_coco_json_that_would_take_gigabytes_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "annotations.json").open("wb") as file:
        file.write(b'{"images": [')
        for _ in range(90):
            file.write(b"[]," * 2**20)
        file.write(b"[]]}")
    command = [sys.executable, "-c", READ_IN_A_CHILD, "coco", str(tmp_path), str(CPU_LIMIT_S)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert "of memory: split it" in done.stderr


def test_a_description_of_a_million_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "_darkroom.json").write_text(json.dumps({"columns": {f"c{n}": "Int8" for n in range(1_000_000)}}))
    (tmp_path / "x.tfrecord").write_bytes(framed(b""))
    with pytest.raises(ImportRefused, match="1,000,000 columns"):
        read("tfrecord", tmp_path)


def test_hdf5_loads_no_filter_as_code_for_a_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        pipeline = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        pipeline.set_chunk((4,))
        pipeline.set_filter(32_015, h5py.h5z.FLAG_OPTIONAL)
        h5py.h5d.create(file.id, b"n", h5py.h5t.NATIVE_INT64, h5py.h5s.create_simple((4,)), pipeline).close()
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("n", data=[1, 2], chunks=(2,), compression="lzf", shuffle=True, fletcher32=True)
    assert read("hdf5", tmp_path) == (2, ["unsupported"])

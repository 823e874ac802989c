"""TFRecord: files of length-prefixed records with masked CRC-32C, one `tf.train.Example` per row.

Numbers, truth, dates (days since 1970) and times (microseconds since 1970, UTC) are `int64_list` or `float_list`, text and
bytes `bytes_list`. A null is a feature that is not there; an empty list is one without values. The types of columns are in
`_darkroom.json`. Source of the framing: tensorflow/core/lib/io/record_writer.h.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import polars as pl

from pipeline_assets.versioning.formats import bounds, incoming
from pipeline_assets.versioning.formats.column_types import check_lists, check_types, to_plain
from pipeline_assets.versioning.formats.incoming import Batch, Reading, Rejected
from pipeline_assets.versioning.formats.records import ExportOptions
from pipeline_assets.versioning.formats.shards import Exported, Target, Tell, export_shards
from pipeline_assets.versioning.formats.tfrecord import example
from pipeline_assets.versioning.formats.tfrecord.example_rows import Examples
from pipeline_assets.versioning.pin.contents import Pinned

KIND = "TFRecord"
_DELTA = 0xA282EAD8


def masked_crc(data: bytes) -> int:
    """CRC-32C, rotated and shifted, so that a CRC of data with CRCs in it is a good one."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _DELTA) & 0xFFFFFFFF


def framed(record: bytes) -> bytes:
    """A record as it stands in a file."""
    length = struct.pack("<Q", len(record))
    return b"".join([length, struct.pack("<I", masked_crc(length)), record, struct.pack("<I", masked_crc(record))])


class TfrecordShard:
    """A TFRecord file, a record a row."""

    def __init__(self, path: Path, schema: pl.Schema) -> None:
        check_types(schema, KIND)
        self._file = path.open("wb")

    def write(self, rows: pl.DataFrame) -> None:
        """Add a record for each row."""
        check_lists(rows, KIND)
        columns = [[None if value is None else (kind, value) for value in values] for kind, values in map(_cells, rows)]
        for cells in zip(*columns, strict=True):
            features = {name: cell for name, cell in zip(rows.columns, cells, strict=True) if cell is not None}
            self._file.write(framed(example.encode(features)))

    def close(self) -> None:
        """Write what is held."""
        self._file.close()


def export(pinned: Pinned, target: Target, options: ExportOptions, tell: Tell) -> Exported:
    """Write NAME-00000.tfrecord and so on."""
    return export_shards(
        pinned, target, options, tell, kind="tfrecord", name="{:05}.tfrecord", open_shard=TfrecordShard, losses=_lost
    )


@incoming.with_empty_batch
def batches(source: Path, reading: Reading) -> Iterator[Batch | Rejected]:
    """The rows of a TFRecord file, or of all that a folder has. A record that is damaged is rejected alone if it can be."""
    examples = Examples(incoming.described_types(source))
    for path in incoming.shards(source, (".tfrecord", ".tfrecords", ".tfrec")):
        yield from bounds.within_bounds(path, _shard(path, examples, reading))


def _shard(path: Path, examples: Examples, reading: Reading) -> Iterator[Batch | Rejected]:
    for frame in examples.frames(path.name, records(path)):
        if isinstance(frame, Rejected):
            yield frame
        else:
            yield from incoming.batches_of(path.name, frame, reading)


def records(path: Path) -> Iterator[tuple[int, bytes] | Rejected]:
    """Each record's offset and bytes, its CRCs verified, or why it is not there."""
    with path.open("rb") as file:
        end = path.stat().st_size
        while (at := file.tell()) < end:
            found = _record(file, end)
            if isinstance(found, bytes):
                yield at, found
                continue
            reason, detail, goes_on = found
            left = "" if goes_on else f"; the last {end - at:,} of its {end:,} bytes are left out"
            yield Rejected(f"{path.name}@{at}", reason, detail + left)
            if not goes_on:
                return


def _record(file: BinaryIO, end: int) -> bytes | tuple[str, str, bool]:
    """The next record, or reason, detail and whether the one after it can be found."""
    head = file.read(12)
    if len(head) < 12:
        return "truncated", "the file ends inside of a record's head", False
    length, crc = struct.unpack("<QI", head)
    if masked_crc(head[:8]) != crc:
        return "bad_length_crc", "a record's length is damaged, so that none after it can be found", False
    if file.tell() + length + 4 > end:
        return "truncated", f"the file ends inside of a record of {length:,} bytes", False
    if length > incoming.MAX_FILE_BYTES:
        file.seek(length + 4, 1)
        return "too_large", f"a record of {length:,} bytes", True
    data = file.read(length)
    if struct.unpack("<I", file.read(4))[0] != masked_crc(data):
        return "bad_crc", "a record's bytes are not those that its CRC-32C was made of", True
    return data


def _cells(column: pl.Series) -> tuple[int, list[example.Values | None]]:
    """A column's kind of feature, and each row's values; None for a null."""
    inner = column.dtype.inner if isinstance(column.dtype, pl.List) else None
    dtype = inner or column.dtype
    if dtype in (pl.String, pl.Binary):
        plain = [None if value is None else value if inner else [value] for value in column]
        return example.BYTES, [None if v is None else [_raw(item) for item in v] for v in plain]
    kind = example.FLOATS if dtype.is_float() else example.INTEGERS
    if inner is not None:
        return kind, [None if items is None else items.to_numpy() for items in column]
    numbers = to_plain(column)
    if numbers.dtype == pl.UInt64:  # protobuf's int64 has the same 64 bits
        numbers = numbers.reinterpret(signed=True)
    return kind, [None if value is None else [value] for value in numbers]


def _raw(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _lost(schema: pl.Schema) -> list[str]:
    wide = [name for name, dtype in schema.items() if pl.Float64 in (dtype, getattr(dtype, "inner", None))]
    return [f"{', '.join(wide)}: 64-bit floats are 32-bit ones in a tf.train.Example"] if wide else []

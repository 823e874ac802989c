"""Reading WebDataset: members of a tar file that share a key are a sample.

What a key is, all readers agree on: the name up to the first dot of its last part. A sample of Darkroom's own export becomes
the row that it was. Of any other, `json`, `txt` and `cls` are columns of text beside the `key`, and every other member is a
file, the first picture first.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from pipeline_assets.versioning.formats import incoming, tar
from pipeline_assets.versioning.formats.incoming import Batch, File, Rejected
from pipeline_assets.versioning.formats.json_cells import from_json
from pipeline_assets.versioning.formats.tar import Member

TEXTS = ("json", "txt", "cls")
PICTURES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "ppm")
MAX_ARRAY_BYTES = 16 * 1024**2
Sample = tuple[str, dict[str, Member]]


def batches(path: Path, types: pl.Schema | None) -> Iterator[Batch | Rejected]:
    """The samples of one shard. types: of the columns, as an export wrote them down."""
    held: list[Sample] = []
    size = 0
    for sample in _samples(path):
        if isinstance(sample, Rejected):
            yield sample
            continue
        held.append(sample)
        size += sum(len(member.data) for member in sample[1].values())
        if len(held) >= incoming.BATCH_ROWS or size > incoming.BATCH_BYTES:
            yield from _batch(path.name, held, types)
            held, size = [], 0
    if held:
        yield from _batch(path.name, held, types)


def _samples(path: Path) -> Iterator[Sample | Rejected]:
    key: str | None = None
    parts: dict[str, Member] = {}
    for member in tar.members(path):
        if isinstance(member, Rejected):
            yield member
            continue
        folder, _, name = member.name.rpartition("/")
        stem, _, extension = name.partition(".")
        found = f"{folder}/{stem}" if folder else stem
        if not stem or not extension:
            yield Rejected(f"{path.name}: {member.name}", "no_key", "its name has no key before a dot, or nothing after it")
            continue
        if key is not None and found != key:
            yield key, parts
            parts = {}
        if extension.lower() in parts:
            yield Rejected(f"{path.name}: {member.name}", "duplicate", "the sample has this member already")
            continue
        key, parts[extension.lower()] = found, member
    if key is not None:
        yield key, parts


def _batch(source: str, samples: Sequence[Sample], types: pl.Schema | None) -> Iterator[Batch | Rejected]:
    read: list[tuple[Sample, Mapping[str, Any]]] = []
    for key, parts in samples:
        try:
            read.append(((key, parts), _foreign_row(key, parts) if types is None else _own_row(parts, types)))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError, PolarsError) as error:
            yield Rejected(f"{source}: {key}", "bad_sample", str(error))
    is_whole = _misfit([row for _, row in read], types) is None
    rows: list[Mapping[str, Any]] = []
    files: list[File] = []
    for (key, parts), row in read:
        fault = None if is_whole else _misfit([row], types)
        if fault:
            yield Rejected(f"{source}: {key}", "bad_sample", fault)
            continue
        data = [member for extension, member in _ordered(parts) if not _is_told(extension, types)]
        files += [File(member.data, row.get("path") or member.name, len(rows)) for member in data]
        rows.append(row)
    yield Batch(source, _frame(rows, types), files)


def _misfit(rows: Sequence[Mapping[str, Any]], types: pl.Schema | None) -> str | None:
    """Why these rows are not of the types that they should have, so that one costs no others."""
    try:
        _frame(rows, types)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, PolarsError) as error:
        return str(error) or type(error).__name__
    return None


def _frame(rows: Sequence[Mapping[str, Any]], types: pl.Schema | None) -> pl.DataFrame:
    if types is None:
        return pl.DataFrame(rows, schema={name: pl.String for name in ("key", *TEXTS)}, orient="row")
    wanted = [(name, dtype) for name, dtype in types.items() if dtype != pl.Binary]
    return pl.DataFrame([from_json(name, [row[name] for row in rows], dtype) for name, dtype in wanted])


def _foreign_row(key: str, parts: Mapping[str, Member]) -> Mapping[str, Any]:
    return {"key": key} | {name: parts[name].data.decode() if name in parts else None for name in TEXTS}


def _own_row(parts: Mapping[str, Member], types: pl.Schema) -> Mapping[str, Any]:
    """The row of a sample, from its JSON and arrays."""
    found = json.loads(parts["json"].data)
    if not isinstance(found, dict):
        raise ValueError("its JSON is no object")
    row = {}
    for name, dtype in types.items():
        if isinstance(dtype, pl.List) and dtype.inner != pl.String:
            row[name] = _array(parts.get(f"{name}.npy".lower()), dtype)
        elif dtype != pl.Binary:
            row[name] = found[name]
    return row


def _array(member: Member | None, dtype: pl.List) -> list[Any] | None:
    if member is None:
        return None
    if len(member.data) > MAX_ARRAY_BYTES:
        raise ValueError(f"{member.name} has {len(member.data):,} bytes")
    stream = io.BytesIO(member.data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"{member.name} is of another version of npy")
    shape, _, kind = np.lib.format.read_array_header_1_0(stream)
    body = member.data[stream.tell() :]
    if len(shape) != 1 or kind.hasobject or shape[0] * kind.itemsize != len(body):
        raise ValueError(f"{member.name} is no vector of the length that it claims")
    return pl.Series(np.frombuffer(body, kind)).cast(dtype.inner).to_list()


def _ordered(parts: Mapping[str, Member]) -> list[tuple[str, Member]]:
    """Pictures before other members: the first is the one that the row names."""
    return sorted(parts.items(), key=lambda item: item[0].rpartition(".")[2] not in PICTURES)


def _is_told(extension: str, types: pl.Schema | None) -> bool:
    """Whether a member became columns of the row."""
    return extension in TEXTS if types is None else extension == "json" or extension.endswith(".npy")

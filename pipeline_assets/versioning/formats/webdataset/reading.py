"""Reads WebDataset: members of a tar file with the same key are a sample, wherever they lie in it.

Writers put them side by side; `tar` of a folder, or later additions, may not. A key is the name up to the first dot of its
last part, as in all readers. A sample of Darkroom's own export becomes the original row. In any other sample, `json`, `txt`
and `cls` become text columns beside `key`, and every other member is a file, pictures first.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from pipeline_assets.runtime import strict_json
from pipeline_assets.versioning.formats import incoming
from pipeline_assets.versioning.formats.incoming import Batch, File, Rejected
from pipeline_assets.versioning.formats.json_cells import from_json
from pipeline_assets.versioning.formats.webdataset import tar
from pipeline_assets.versioning.formats.webdataset.tar import Entry, Member

TEXTS = ("json", "txt", "cls")
PICTURES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "ppm")
MAX_ARRAY_BYTES = 16 * 1024**2
Sample = tuple[str, dict[str, Member]]


def batches(path: Path, types: pl.Schema | None) -> Iterator[Batch | Rejected]:
    """The samples of one shard. types: of the columns, from the description of an export."""
    samples: list[Sample] = []
    size = 0
    for sample in _samples(path):
        if isinstance(sample, Rejected):
            yield sample
            continue
        samples.append(sample)
        size += sum(len(member.data) for member in sample[1].values())
        if len(samples) >= incoming.BATCH_ROWS or size > incoming.BATCH_BYTES:
            yield from _batch(path.name, samples, types)
            samples, size = [], 0
    if samples:
        yield from _batch(path.name, samples, types)


def _samples(path: Path) -> Iterator[Sample | Rejected]:
    """Samples in the order of their first members. The shard's entries are in memory, but not their bytes."""
    samples: dict[str, dict[str, Entry]] = {}
    for entry in tar.entries(path):
        if isinstance(entry, Rejected):
            yield entry
            continue
        folder, _, name = entry.name.rpartition("/")
        stem, _, extension = name.partition(".")
        if not stem or not extension:
            yield Rejected(f"{path.name}: {entry.name}", "no_key", "its name has no key before a dot, or nothing after it")
            continue
        parts = samples.setdefault(f"{folder}/{stem}" if folder else stem, {})
        if extension.lower() in parts:
            yield Rejected(f"{path.name}: {entry.name}", "duplicate", "the sample has this member already")
            continue
        parts[extension.lower()] = entry
    with path.open("rb") as file:
        for key, parts in samples.items():
            if (size := sum(entry.size for entry in parts.values())) > incoming.MAX_FILE_BYTES:
                yield Rejected(f"{path.name}: {key}", "too_large", f"a sample of {size:,} bytes")
                continue
            yield key, {extension: tar.read(file, entry) for extension, entry in parts.items()}


def _batch(source: str, samples: Sequence[Sample], types: pl.Schema | None) -> Iterator[Batch | Rejected]:
    parsed: list[tuple[Sample, Mapping[str, Any]]] = []
    for key, parts in samples:
        try:
            parsed.append(((key, parts), _foreign_row(key, parts) if types is None else _own_row(parts, types)))
        except (ValueError, KeyError, TypeError, OverflowError, PolarsError) as error:
            yield Rejected(f"{source}: {key}", "bad_sample", str(error))
    is_whole = _misfit([row for _, row in parsed], types) is None
    rows: list[Mapping[str, Any]] = []
    files: list[File] = []
    for (key, parts), row in parsed:
        fault = None if is_whole else _misfit([row], types)
        if fault:
            yield Rejected(f"{source}: {key}", "bad_sample", fault)
            continue
        data = [member for extension, member in _ordered(parts) if not _is_column(extension, types)]
        files += [File(member.data, row.get("path") or member.name, len(rows)) for member in data]
        rows.append(row)
    yield Batch(source, _frame(rows, types), files)


def _misfit(rows: Sequence[Mapping[str, Any]], types: pl.Schema | None) -> str | None:
    """Why these rows do not fit the types; None if they do."""
    try:
        _frame(rows, types)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, PolarsError) as error:
        return str(error) or type(error).__name__
    return None


def _frame(rows: Sequence[Mapping[str, Any]], types: pl.Schema | None) -> pl.DataFrame:
    if types is None:
        return pl.DataFrame(rows, schema={name: pl.String for name in ("key", *TEXTS)}, orient="row")
    columns = [(name, dtype) for name, dtype in types.items() if dtype != pl.Binary]
    return pl.DataFrame({name: from_json(name, [row[name] for row in rows], dtype) for name, dtype in columns})


def _foreign_row(key: str, parts: Mapping[str, Member]) -> Mapping[str, Any]:
    return {"key": key} | {name: parts[name].data.decode() if name in parts else None for name in TEXTS}


def _own_row(parts: Mapping[str, Member], types: pl.Schema) -> Mapping[str, Any]:
    """The row of a sample, from its JSON and arrays."""
    fields = strict_json.loads(parts["json"].data)
    if not isinstance(fields, dict):
        raise ValueError("its JSON is no object")
    row = {}
    for name, dtype in types.items():
        if isinstance(dtype, pl.List) and dtype.inner != pl.String:
            row[name] = _array(parts.get(f"{name}.npy".lower()), dtype)
        elif dtype != pl.Binary:
            row[name] = fields[name]
    return row


def _array(member: Member | None, dtype: pl.List) -> list[Any] | None:
    if member is None:
        return None
    if len(member.data) > MAX_ARRAY_BYTES:
        raise ValueError(f"{member.name} has {len(member.data):,} bytes")
    stream = io.BytesIO(member.data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"{member.name} is of another version of npy")
    try:
        shape, _, kind = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:  # parsed as Python, which may raise anything
        raise ValueError(f"{member.name} has a header that can't be read: {type(error).__name__}") from None
    body = member.data[stream.tell() :]
    if len(shape) != 1 or kind.hasobject or shape[0] * kind.itemsize != len(body):
        raise ValueError(f"{member.name} is no vector of the length that it claims")
    return pl.Series(np.frombuffer(body, kind)).cast(dtype.inner).to_list()


def _ordered(parts: Mapping[str, Member]) -> list[tuple[str, Member]]:
    """Pictures before other members: the row names the first one."""
    return sorted(parts.items(), key=lambda item: item[0].rpartition(".")[2] not in PICTURES)


def _is_column(extension: str, types: pl.Schema | None) -> bool:
    """Whether a member becomes columns of the row."""
    return extension in TEXTS if types is None else extension == "json" or extension.endswith(".npy")

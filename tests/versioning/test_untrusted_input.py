"""References and manifests as anyone may hand them over: arbitrary bytes, and good ones with a change. Only typed errors come."""

import io
import json
from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline_assets.errors import ManifestBroken, ReferenceUnreadable
from pipeline_assets.versioning.pin.manifest import SCHEMA, check, decode, digest, encode, path_fault
from pipeline_assets.versioning.pin.reference import Code, Manifest, Reference, TableVersion

GOOD = Reference(
    name="set",
    created_at=datetime(2026, 1, 3, tzinfo=UTC),
    created_by="someone",
    code=Code(commit="a" * 40, clean=True),
    asset="photos",
    tables={
        "photos": TableVersion(version=3, first_day=date(2026, 1, 1), last_day=date(2026, 1, 2), rows=6, digest="b" * 32)
    },
    models={"classifier": "one"},
    manifest=Manifest(sha256="c" * 64, size_bytes=10, digest="d" * 64, files=2, bytes=3),
    stores={"objects": "file:///objects"},
)
PATHS = ("a", "a.txt", "b/c", "b/ü", "x" * 255)
FILES = pl.DataFrame(
    {
        "path": sorted(PATHS),
        "sha256": [bytes([number]) * 32 for number in range(5)],
        "size_bytes": [0, 1, 2, 3, 2**40],
        "store": ["objects", "uploads", "objects", "objects", "objects"],
        "key": ["k"] * 5,
        "version_id": [None, "v", None, None, None],
        "offset": [0, None, 7, None, None],
    },
    schema=SCHEMA,
)
ENCODED = encode(FILES)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
cells = {
    "path": st.none()
    | st.text(max_size=20)
    | st.sampled_from(["..", "a/../b", "/a", "a\x00b", "a\\b", "C:a", "a//b", "é/."]),
    "sha256": st.none() | st.binary(max_size=40),
    "size_bytes": st.none() | st.integers(-(2**63), 2**63 - 1),
    "store": st.none() | st.text(max_size=8),
    "key": st.none() | st.text(max_size=8),
    "version_id": st.none() | st.text(max_size=8),
    "offset": st.none() | st.integers(-(2**63), 2**63 - 1),
}
frugal = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def read(text: str | bytes) -> Reference | None:
    """The reference, None if it is refused in the way that it should be."""
    try:
        return Reference.loads(text, "datasets/set.json")
    except ReferenceUnreadable as error:
        assert "datasets/set.json" in str(error)
        return None


def decoded(data: bytes) -> pl.DataFrame | None:
    """The manifest, None if it is refused in the way that it should be. What is let in keeps all rules."""
    try:
        found = decode(data, "the manifest")
    except ManifestBroken as error:
        assert "the manifest" in str(error)
        return None
    check(found, "what was let in")
    assert all(path_fault(path) is None for path in found["path"])
    return found


def test_a_reference_is_read_as_it_was_written() -> None:
    assert read(GOOD.dumps()) == GOOD
    assert read(GOOD.dumps().encode()) == GOOD


@given(st.binary(max_size=200) | st.text(max_size=200))
@example(b"\xff\xfe")
@example("[" * 60_000)
@example('{"darkroom": 1e999}')
@example('{"darkroom": NaN}')
@example("9" * 5_000)
@example('"\\ud800"')
@frugal
def test_any_text_is_a_reference_or_is_refused(text: str | bytes) -> None:
    assert read(text) is None


@given(st.data())
@frugal
def test_a_reference_with_any_value_in_any_place_is_one_or_is_refused(data: st.DataObject) -> None:
    told = json.loads(GOOD.dumps())
    places = [(told, key) for key in told]
    places += [(part, key) for part in told.values() if isinstance(part, dict) for key in part]
    places += [(told["tables"]["photos"], key) for key in told["tables"]["photos"]]
    part, key = data.draw(st.sampled_from(places))
    part[key] = data.draw(plain)
    read(json.dumps(told))


@given(st.integers(0, len(GOOD.dumps().encode()) - 1), st.integers(0, 255))
@frugal
def test_a_reference_with_any_byte_changed_is_one_or_is_refused(at: int, byte: int) -> None:
    text = bytearray(GOOD.dumps().encode())
    text[at] = byte
    read(bytes(text))


@given(st.integers(0, len(GOOD.dumps()) - 3))
@frugal
def test_a_reference_that_is_cut_is_refused(at: int) -> None:
    assert read(GOOD.dumps()[:at]) is None


def test_a_reference_with_a_key_twice_or_one_too_many_is_refused() -> None:
    assert read(GOOD.dumps().replace('"name": "set",', '"name": "set", "name": "other",')) is None
    assert read(GOOD.dumps().replace('"name": "set",', '"name": "set", "more": 1,')) is None


def test_a_manifest_is_read_as_it_was_written() -> None:
    found = decode(ENCODED, "the manifest", FILES.height)
    assert found.equals(FILES)
    assert digest(found) == digest(FILES)


@given(st.binary(max_size=300))
@example(b"PAR1" + b"\x00" * 8 + b"PAR1")
@frugal
def test_any_bytes_are_a_manifest_or_are_refused(data: bytes) -> None:
    assert decoded(data) is None


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, len(ENCODED) - 1), st.integers(0, 255)), min_size=1, max_size=3))
@settings(frugal, max_examples=200)
def test_a_manifest_with_any_bytes_changed_is_one_or_is_refused(changes: list[tuple[int, int]]) -> None:
    data = bytearray(ENCODED)
    for at, byte in changes:
        data[at] = byte
    decoded(bytes(data))


@given(st.integers(0, len(ENCODED) - 1))
@frugal
def test_a_manifest_that_is_cut_is_refused(at: int) -> None:
    assert decoded(ENCODED[:at]) is None


@pytest.mark.slow
@given(st.lists(st.fixed_dictionaries(cells), max_size=4))
@frugal
def test_a_manifest_of_any_rows_keeps_the_rules_or_is_refused(rows: list[dict[str, object]]) -> None:
    """Some of the texts have no UTF-8, and no Parquet file could hold them."""
    try:
        frame = pl.DataFrame(rows, schema=SCHEMA)
    except (UnicodeEncodeError, pl.exceptions.PolarsError):
        return
    sink = io.BytesIO()
    frame.write_parquet(sink)
    decoded(sink.getvalue())


@pytest.mark.parametrize("column", SCHEMA.names())
def test_a_manifest_with_a_column_too_few_or_of_another_type_is_refused(column: str) -> None:
    for frame in (FILES.drop(column), FILES.with_columns(pl.lit(1, pl.Int8).alias(column)), FILES.rename({column: "other"})):
        sink = io.BytesIO()
        frame.write_parquet(sink)
        assert decoded(sink.getvalue()) is None


def test_a_manifest_with_more_files_than_its_reference_counts_is_refused() -> None:
    with pytest.raises(ManifestBroken, match="lists 5 files where its reference counts 4"):
        decode(ENCODED, "the manifest", 4)


@given(st.text(alphabet=st.sampled_from("ab./\\\x00\n:C\u00e9\ud800 ~"), max_size=12) | st.text(max_size=300))
@frugal
def test_a_path_without_fault_leads_below_the_folder_that_it_is_resolved_in(path: str) -> None:
    from pathlib import PurePosixPath, PureWindowsPath

    if path_fault(path) is not None:
        return
    for kind in (PurePosixPath, PureWindowsPath):
        found = kind(path)
        assert not found.is_absolute() and not found.drive
        assert ".." not in found.parts and "." not in path.split("/")
    assert len(path.encode()) <= 1024


@given(
    st.lists(st.text(alphabet=st.sampled_from("ab./\\:C\x01é"), min_size=1, max_size=6), min_size=1, max_size=4, unique=True)
)
@frugal
def test_the_quick_rules_of_a_manifest_let_no_path_in_that_the_full_rule_refuses(paths: list[str]) -> None:
    frame = FILES.head(1).select(pl.all().repeat_by(len(paths)).explode()).with_columns(path=pl.Series(sorted(paths)))
    is_faulty = any(path_fault(path) for path in paths)
    try:
        check(frame, "the manifest")
    except ManifestBroken:
        return
    assert not is_faulty

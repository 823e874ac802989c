"""One planted person is found in every place, and a copy of what is held has all of it and nothing of others."""

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from planted import Planted, plant

from pipeline_assets.errors import ExportRefused, UnknownPerson
from pipeline_assets.framework.personal import marks
from pipeline_assets.privacy.finding import export, find
from pipeline_assets.privacy.holding import Stores
from pipeline_assets.privacy.places import PLACES

NOW = datetime(2026, 3, 1, tzinfo=UTC)
World = tuple[Stores, Planted, Planted]


@pytest.fixture(params=["folder and SQLite", "S3 and PostgreSQL"])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    for name in ("S3_ENDPOINT", "S3_ACCESS_KEY", "S3_SECRET_KEY", "DATABASE_URL", "ONLINE_URL"):
        monkeypatch.setenv(f"DARKROOM_{name}", "")  # put back afterwards
    home = tmp_path / "home"
    if request.param == "folder and SQLite":
        (tmp_path / "db").mkdir()
        stores = [(tmp_path / name).as_uri() for name in ("uploads", "lake")]
        return plant(home, *stores, f"sqlite:///{tmp_path / 'db' / 'darkroom.db'}")
    bucket = request.getfixturevalue("bucket")
    url = f"s3://{bucket}"
    return plant(home, url, f"{url}/lake", request.getfixturevalue("postgres_url"), **request.getfixturevalue("s3_options"))


def quiet(_: str) -> None:
    """Progress that nobody reads."""


def test_each_place_reports_the_person_and_a_copy_has_what_was_found(world: World, tmp_path: Path) -> None:
    stores, person, other = world
    found = {held.place: held for held in find(stores, person.user_id, quiet)}
    assert [place.name for place in PLACES if not found[place.name].count] == []
    tables = {name for name, schema in ((n, a.schema) for n, a in stores.declared.items()) if _has_subject(schema)}
    assert tables - set(found["tables"].parts) == set()
    assert any("event_logs" in name for name in found["Dagster"].parts)
    assert found["event logs"].count == 2  # what they did, and what was done with their photo

    folder = tmp_path / "copy"
    exported = export(stores, person.user_id, folder, NOW, quiet)
    assert exported == list(found.values())
    texts = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    written = b"\n".join(texts.values()).decode("utf-8", "replace")
    assert person.title in written
    assert person.data in texts.values()
    assert person.variant in texts.values()
    theirs = [canary for canary in other.canaries if canary in written and canary != str(other.photo_id)]
    assert theirs == []
    assert {path.stat().st_mode & 0o077 for path in texts} == {0}
    assert "canary-1.jpg" in (folder / "index.html").read_text()
    rows = json.loads((folder / "tables" / "photo_metadata.json").read_text())
    assert [row["title"] for row in rows] == [person.title]

    before = {path: path.stat().st_mtime_ns for path in texts if path.suffix == ".jpg"}
    (folder / "index.html").unlink()  # as if it had been killed
    assert export(stores, person.user_id, folder, NOW, quiet) == exported
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(ExportRefused):
        export(stores, other.user_id, folder, NOW, quiet)
    with pytest.raises(UnknownPerson):
        find(stores, 5, quiet)
    with pytest.raises(UnknownPerson):
        export(stores, 5, tmp_path / "nobody", NOW, quiet)
    assert not (tmp_path / "nobody").exists()


def _has_subject(schema: type) -> bool:
    return any(mark.subject and mark.personal for mark in marks(schema).values())


def test_what_a_search_of_decoded_bytes_finds_is_in_a_place(world: World) -> None:
    stores, person, _ = world
    found = {held.place: held.parts for held in find(stores, person.user_id, quiet)}
    named = {
        *(f"tables/{table}/" for table in found["tables"]),
        *(f"tables/{table}/_delta_log/" for table in found["table logs"]),
        *found["event logs"],
        *found["serving log"],
        *found["run logs"],
        *(f"objects/sha256/{sha[:2]}/{sha[2:]}" for sha in (*found["contents"], *found["packs"])),
    }
    missed = []
    for info in stores.lake_files.list(""):
        data = stores.lake_files.get(info.key)
        is_hit = any(canary in decoded(data) for canary in person.canaries)
        if is_hit and not any(info.key.startswith(name) for name in named):
            missed.append(info.key)
    packs = [key for key in missed if person.variant in stores.lake_files.get(key)]
    assert [key for key in missed if key not in packs] == []


def decoded(data: bytes) -> str:
    """The text of a file, of any kind that Darkroom writes."""
    import gzip
    import io

    if data[:4] == b"PAR1":
        return _as_text(pl.read_parquet(io.BytesIO(data)))
    if data[:6] == b"ARROW1":
        return _as_text(pl.read_ipc(io.BytesIO(data)))
    return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8", "replace")


def _as_text(rows: pl.DataFrame) -> str:
    binary = [pl.col(name).bin.encode("hex") for name, dtype in rows.schema.items() if dtype == pl.Binary]
    return rows.with_columns(binary).write_ndjson()

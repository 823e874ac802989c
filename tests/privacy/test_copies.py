"""The folder of a copy: names that look alike, people of whom nothing is held, a copy that is there already."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from planted import DAY, Planted, plant

from pipeline_assets.catalog import DECLARED
from pipeline_assets.errors import ExportRefused, UnknownPerson
from pipeline_assets.privacy import local
from pipeline_assets.privacy.finding import export, find
from pipeline_assets.privacy.holding import Stores
from pipeline_assets.privacy.person import Person

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def quiet(_: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Stores, Planted]:
    for name in ("S3_ENDPOINT", "S3_ACCESS_KEY", "S3_SECRET_KEY", "DATABASE_URL", "ONLINE_URL"):
        monkeypatch.setenv(f"DARKROOM_{name}", "")  # put back afterwards
    (tmp_path / "db").mkdir()
    urls = [(tmp_path / name).as_uri() for name in ("uploads", "lake")]
    stores, person, _ = plant(tmp_path / "home", *urls, f"sqlite:///{tmp_path / 'db' / 'darkroom.db'}")
    return stores, person


def test_a_copy_is_a_closed_folder_in_which_like_names_are_files_of_their_own(
    world: tuple[Stores, Planted], tmp_path: Path
) -> None:
    stores, person = world
    for number, name in enumerate(("a b.jsonl", "a/b.jsonl")):
        line = json.dumps({"user_id": person.user_id, "event_id": f"e{number}", "kind": "login"})
        stores.lake_files.put(f"events/{DAY}/{name}", line.encode())
    stores.uploads.put(f"uploads/{DAY}/{person.user_id}/me@home.pdf", b"%PDF of the person")
    folder = tmp_path / "copy"
    folder.mkdir(mode=0o755)
    found = {held.place: held for held in export(stores, person.user_id, folder, NOW, quiet)}
    assert folder.stat().st_mode & 0o077 == 0
    copied = [row for path in (folder / "event-logs").iterdir() for row in json.loads(path.read_text())]
    assert len(copied) == found["event logs"].count == 4
    assert [path.read_bytes() for path in (folder / "uploads").glob("* me@home.pdf")] == [b"%PDF of the person"]

    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ExportRefused, match="complete"):
        export(stores, person.user_id, folder, NOW, quiet)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_variant_that_shows_another_persons_photo_is_listed_and_not_copied(
    world: tuple[Stores, Planted], tmp_path: Path
) -> None:
    stores, person = world
    mixed = b"a photo of another person, blended with this one's"
    sha256 = stores.objects.put_if_absent(mixed).sha256
    row = person.row("photo_variants") | {
        "day": DAY + timedelta(1),
        "parent_sha256": Planted(2).sha256,
        "content_sha256": sha256,
        "object_sha256": sha256,
        "object_offset": 0,
        "size_bytes": len(mixed),
    }
    schema = DECLARED["photo_variants"].schema.create_empty().schema
    stores.lake.replace("photo_variants", [row["day"]], pl.DataFrame([row], schema=schema, orient="row"))
    found = {held.place: held for held in export(stores, person.user_id, tmp_path / "copy", NOW, quiet)}
    assert found["packs"].parts[sha256] == 1
    assert [path for path in (tmp_path / "copy").rglob("*") if path.is_file() and mixed in path.read_bytes()] == []


def test_a_broken_file_in_a_checkout_hides_no_other(world: tuple[Stores, Planted], tmp_path: Path) -> None:
    stores, person = world
    (tmp_path / "then" / "rows-broken.parquet").write_bytes(b"PAR1 and no more")
    found = [holding for holding in local.checkouts(stores, Person(person.user_id)) if holding.count]
    assert [Path(holding.name).name for holding in found] == ["rows-photo_metadata.parquet"]


def test_who_is_only_mentioned_is_refused_without_a_trace(world: tuple[Stores, Planted], tmp_path: Path) -> None:
    stores, person = world
    row = person.row("photo_metadata") | {"day": DAY + timedelta(1), "details_json": '{"user_id": 5}'}
    schema = DECLARED["photo_metadata"].schema.create_empty().schema
    stores.lake.replace("photo_metadata", [row["day"]], pl.DataFrame([row], schema=schema, orient="row"))
    with pytest.raises(UnknownPerson):
        find(stores, 5, quiet)
    with pytest.raises(UnknownPerson):
        export(stores, 5, tmp_path / "copy", NOW, quiet)
    assert not (tmp_path / "copy").exists()

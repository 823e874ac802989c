"""The page of a small project of folders and SQLite."""

import hashlib
import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from photo_rows import DAY, training_rows
from PIL import Image

from pipeline_assets.commands.main import main
from pipeline_assets.errors import BadSelection
from pipeline_assets.exploration.frames import newest_night
from pipeline_assets.exploration.frames import rows as read_rows
from pipeline_assets.exploration.page import gathering
from pipeline_assets.exploration.page.gathering import Asked, made
from pipeline_assets.exploration.suspects.schemas import LabelSuspects
from pipeline_assets.exploration.suspects.suspects import where
from pipeline_assets.ingestion.schemas import PhotoMetadata, RawUploads
from pipeline_assets.labeling.schemas import LabelConsensus
from resources.assembly import resolve
from resources.database import ledger
from resources.errors import TableMissing
from resources.settings import Settings

pytestmark = pytest.mark.slow
PHOTOS = 6
AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


def jpeg(number: int, folder: Path) -> bytes:
    path = folder / f"{number}.jpg"
    Image.new("RGB", (300, 200), (40 * number, 100, 255 - 40 * number)).save(path)
    return path.read_bytes()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Six photos, one of whose uploads is lost, and one is none."""
    for name in ("uploads", "lake", "photos"):
        (tmp_path / name).mkdir()
    url = f"sqlite:///{tmp_path / 'darkroom.db'}"
    values = {"DATABASE_URL": url, "HOME": str(tmp_path / "home")}
    values |= {f"{name.upper()}_URL": (tmp_path / name).as_uri() for name in ("uploads", "lake")}
    for name in ("S3_ENDPOINT", "S3_ACCESS_KEY", "S3_SECRET_KEY"):
        values[name] = ""
    for name, value in values.items():
        monkeypatch.setenv(f"DARKROOM_{name}", value)
    found = Settings()
    resolve(found)["database"].migrate()
    return found


@pytest.fixture
def world(settings: Settings, tmp_path: Path) -> Settings:
    parts = resolve(settings)
    contents = [jpeg(number, tmp_path / "photos") for number in range(PHOTOS - 1)] + [b"no photo"]
    hashes = [hashlib.sha256(data).hexdigest() for data in contents]
    rows = training_rows(PHOTOS, sha256=pl.Series(hashes), user_id=pl.Series([987654321] * PHOTOS, dtype=pl.Int64))
    keys = [f"uploads/{day}/987654321/{number}.jpg" for number, day in enumerate(rows["day"])]
    for key, data in list(zip(keys, contents, strict=True))[1:]:
        parts["uploads"].store.put(key, data)
    places = {"day": rows["day"].to_list(), "sha256": hashes, "key": keys, "verdict": "ok", "media_type": "image/jpeg"}
    uploads = RawUploads.sample(PHOTOS, overrides=places | {"version_id": "etag-1", "uploaded_at": AT})
    titles = {"day": rows["day"].to_list(), "photo_id": rows["photo_id"].to_list(), "key": keys, "title": "Secret party"}
    metadata = PhotoMetadata.sample(PHOTOS, overrides=titles | {"posted_at": AT, "user_joined_at": AT})
    days = rows["day"].unique().to_list()
    parts["lake"].replace("training_table", days, rows.with_columns(embedding=pl.lit([1.0], dtype=pl.List(pl.Float32))))
    parts["lake"].replace("raw_uploads", days, uploads)
    parts["lake"].replace("photo_metadata", days, metadata)
    return settings


def header_of(text: str) -> dict:
    return json.loads(re.search(r'id="header">(.*?)</script>', text, re.S)[1])


def test_the_page_has_thumbnails_of_what_can_be_read_and_pseudonyms_of_owners(world: Settings) -> None:
    found = made(world, Asked(), print)
    header = header_of(found.text)
    assert (found.photos, found.thumbnails, len(header["thumbnails"])) == (PHOTOS, PHOTOS - 2, PHOTOS - 2)
    [owner] = [one["categories"] for one in header["columns"] if one["name"] == "owner"]
    assert re.fullmatch("user-[0-9a-f]{16}", owner[0])
    for secret in ("987654321", "Secret party", str(world.home)):
        assert secret not in found.text
    assert "Secret party" in made(world, Asked(titles=True), print).text
    assert any("embedding_map" in note for note in header["notes"])


def test_thumbnails_are_made_once_and_kept_for_their_owner(world: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made(world, Asked(), print)
    kept = list((world.home / "cache" / "thumbnails").rglob("*.jpg"))
    assert len(kept) == PHOTOS - 2
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}
    monkeypatch.setattr(gathering, "thumbnail", None)  # a second one would fail
    for path in kept:
        assert first.thumbnail(f"{path.name.split('-')[0]}.jpg") == path.read_bytes()
    assert first.thumbnail("../../darkroom.db") is None
    assert first.thumbnail(f"{'0' * 64}.jpg") is None


def test_thumbnails_of_erased_photos_are_deleted(world: Settings) -> None:
    made(world, Asked(), print)
    lake = resolve(world)["lake"]
    rows = lake.scan("raw_uploads").collect()
    days = rows["day"].unique().to_list()
    kept = {path.name.split("-")[0] for path in (world.home / "cache" / "thumbnails").rglob("*.jpg")}
    erased = min(kept)
    lake.replace("raw_uploads", days, rows.filter(pl.col("sha256") != erased))
    lake.replace("training_table", days, lake.scan("training_table").filter(pl.col("sha256") != erased).collect())
    made(world, Asked(), print)
    assert {path.name.split("-")[0] for path in (world.home / "cache" / "thumbnails").rglob("*.jpg")} == kept - {erased}


def test_suspects_of_the_newest_night_are_shown_also_if_it_has_none(world: Settings) -> None:
    parts = resolve(world)
    photo = parts["lake"].scan("raw_uploads").collect().row(0, named=True)
    item = {name: [photo[name]] for name in ("key", "sha256")} | {"campaign": "pets", "version": 1, "target": "upload"}
    answer = {"day": photo["day"], "kind": "class", "answer_json": '{"choice":"cat"}', "needs_adjudication": False}
    consensus = LabelConsensus.sample(1, overrides=item | answer | {"answered_at": AT, "arrived_at": AT})
    parts["lake"].replace("label_consensus", [photo["day"]], consensus)
    night = {"day": DAY, "photo_day": photo["day"], "kind": "label_error"}
    nights = {DAY: LabelSuspects.sample(1, overrides=item | night), DAY + timedelta(days=1): LabelSuspects.create_empty()}
    shown, newest, to_ask = [], [], []
    for day, rows in nights.items():
        version = parts["lake"].replace("label_suspects", [day], rows)
        digest = "0" * 32
        entry = ledger.Materialization("label_suspects", day, digest, rows.height, 0, "1", "", {}, version, None, "test")
        ledger.record(parts["database"], [entry])
        header = header_of(made(world, Asked(), print).text)
        columns = {one["name"]: one["categories"] for one in header["columns"] if one["kind"] == "category"}
        assert columns["label pets"] == ["cat"]
        shown.append(columns.get("suspect pets", []))
        newest.append(newest_night("label_suspects"))
        of_night = read_rows("label_suspects", days=(day, day), where="kind = 'label_error'")
        to_ask.append(where(of_night.polars().collect()))
    assert shown == [["label_error"], []]
    assert to_ask == [f"key in ('{photo['key']}')", ""]
    assert newest == list(nights)
    with pytest.raises(TableMissing, match="Materialize the asset drift"):
        newest_night("drift")


@pytest.mark.parametrize("where", ["user_id = 987654321", 'photo_id > 0 and "user_id" in (987654321)'])
def test_a_condition_on_what_the_page_hides_is_not_in_it(world: Settings, where: str) -> None:
    found = made(world, Asked(where=where, days=(DAY, date(2026, 1, 31))), print)
    header = header_of(found.text)
    assert "987654321" not in found.text
    assert (found.photos, header["condition"]) == (PHOTOS, None)
    assert any("chosen by columns" in note for note in header["notes"])


def test_thumbnails_are_bounded_in_number_and_bytes(world: Settings) -> None:
    assert made(world, Asked(thumbnails=2), print).thumbnails <= 2
    assert made(world, Asked(thumbnails=0), print).thumbnails == 0
    assert made(world, Asked(thumbnails_bytes=1000), print).thumbnails < PHOTOS - 2


def test_days_a_condition_and_a_number_choose_the_photos(world: Settings) -> None:
    found = made(world, Asked(days=(DAY, date(2026, 1, 3)), where="photo_id > 1"), print)
    assert found.photos == 2
    assert header_of(found.text)["condition"] == "(photo_id > 1) and (day between date('2026-01-01') and date('2026-01-03'))"
    sample = made(world, Asked(photos=3), print)
    assert sample.photos == 3
    assert "sample of 3 of 6" in header_of(sample.text)["notes"][0]
    assert made(world, Asked(where="photo_id < 0"), print).photos == 0


@pytest.mark.parametrize("where", ["likes > 3", "photo_id", "photo_id >", "select 1", "nothing is null"])
def test_a_condition_on_what_is_no_column_says_so(world: Settings, where: str) -> None:
    with pytest.raises(BadSelection, match=r"Columns: day, photo_id|is not true or false"):
        made(world, Asked(where=where), print)


def test_without_a_training_table_the_error_says_what_to_run(settings: Settings) -> None:
    with pytest.raises(TableMissing, match="Materialize the asset training_table"):
        made(settings, Asked(), print)


def test_the_command_writes_a_file_and_asks_for_one(world: Settings, tmp_path: Path) -> None:
    target = tmp_path / "photos.html"
    done = CliRunner().invoke(main, ["explore", str(target), "--where", "photo_id < 3"])
    assert done.exit_code == 0, done.output
    assert "2 photos" in done.output
    assert target.read_text().startswith("<!doctype html>")
    assert target.stat().st_mode & 0o777 == 0o600
    assert CliRunner().invoke(main, ["explore", "page", str(target)]).exit_code == 0
    wrong = CliRunner().invoke(main, ["explore", str(target), "--serve"])
    assert (wrong.exit_code, "name a file to write, or use --serve" in wrong.output) == (2, True)
    assert "No such command 'photos'" in CliRunner().invoke(main, ["explore", "photos"]).output
    for option in ("--serve", "--where"):  # options go to the page, too
        assert CliRunner().invoke(main, ["explore", option, "x", "--port", "70000"]).exit_code == 2
    assert "photos.html" in CliRunner().invoke(main, ["explore", "--help"]).output

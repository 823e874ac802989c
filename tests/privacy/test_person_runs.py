"""Real runs over a person's uploads: Dagster's database names them nowhere, and the commands tell what is held of them."""

import hashlib
import json
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from pipeline_assets.catalog import DECLARED
from pipeline_assets.features.assets import user_features
from pipeline_assets.ingestion.assets import event_log, photo_metadata, raw_uploads
from pipeline_assets.nightly.bucket import discover
from pipeline_assets.privacy.databases import naming_rows
from pipeline_assets.privacy.holding import Stores
from pipeline_assets.privacy.identity import identify
from pipeline_assets.sample.photos import sample_photos
from resources.home import make_home
from resources.settings import Settings
from tests import in_process

pytestmark = pytest.mark.slow
DAY = date(2026, 2, 1)
NOON = datetime(2026, 2, 1, 12, tzinfo=UTC)
USER, PHOTO = 700_000_123, 800_000_123
KEY = f"uploads/{DAY}/{USER}/canary one.jpg"
ASSETS = [raw_uploads, photo_metadata, event_log, user_features]


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stores:
    """A project in folders with a photo of the person, its copy, a file that is none, and a log with a broken line."""
    for name in ("uploads", "lake", "db", "home"):
        (tmp_path / name).mkdir(mode=0o700)
    values = {
        "home": str(tmp_path / "home"),
        "uploads_url": (tmp_path / "uploads").as_uri(),
        "lake_url": (tmp_path / "lake").as_uri(),
        "database_url": f"sqlite:///{tmp_path / 'db' / 'darkroom.db'}",
    }
    for name, value in {**values, "online_url": "", "s3_endpoint": "", "s3_access_key": "", "s3_secret_key": ""}.items():
        monkeypatch.setenv(f"DARKROOM_{name.upper()}", value)
    settings = Settings()
    make_home(settings.home, settings.uploads_url, settings.lake_url)
    stores = Stores.open(settings, DECLARED)
    stores.database.migrate()
    photo = next(iter(sample_photos())).data
    for key, data in ((KEY, photo), (KEY.replace("one", "two"), photo), (KEY.replace("one.jpg", "note.txt"), b"no photo")):
        stores.uploads.put(key, data)
    with stores.database.connect() as to:
        to.execute("insert into users (user_id, joined_at, name) values (%s, %s, 'Canaria Vogel')", (USER, NOON))
        to.execute(
            "insert into photos (photo_id, user_id, key, day, posted_at, title) values (%s, %s, %s, %s, %s, %s)",
            (PHOTO, USER, KEY, DAY, NOON, "canary title at dawn"),
        )
    event = {"event_id": "e1", "user_id": USER, "photo_id": PHOTO, "kind": "view", "at": "2026-02-01T12:00:00Z"}
    event["arrived_at"] = "2026-02-01T12:00:01Z"
    lines = f"{json.dumps(event)}\n" + f'{{"user_id": {USER}, "kind": broken\n'
    stores.lake_files.put(f"events/{DAY}/part.jsonl", lines.encode())
    discover(stores.database, stores.resources["uploads"])
    return stores


def test_no_event_of_a_run_names_the_person_and_the_commands_find_them(stores: Stores, tmp_path: Path) -> None:
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        for asset in ASSETS:
            only, at = [asset.key.to_user_string()], str(DAY)
            run = dg.materialize(
                ASSETS, selection=only, instance=instance, partition_key=at, resources=dict(stores.resources)
            )
            assert run.success
        person = identify(stores, USER)
        assert person.photo_ids == {PHOTO}
        assert hashlib.sha256(stores.uploads.get(KEY)).hexdigest() in person.hashes
        assert stores.lake.scan("event_log_rejected").collect().height
        found = dict(naming_rows(tmp_path / "dagster", person))
        assert any("event_logs" in name for name in found)
        assert {name: count for name, count in found.items() if count} == {}
        instance.report_runless_asset_event(dg.AssetMaterialization("careless", metadata={"first": KEY}))
        assert sum(dict(naming_rows(tmp_path / "dagster", person)).values())

    environment = in_process.outer_environment() | {name: value for name, value in _settings_of(stores).items() if value}
    told = in_process.invoke(environment, "person", "find", str(USER), "--json")
    assert told.exit_code == 0, told.output
    places = {held["place"]: held["parts"] for held in json.loads(told.stdout)["places"]}
    assert len(places["uploads"]) == 3
    assert places["tables"]["event_log"] == places["tables"]["event_log_rejected"] == 1
    assert places["tables"]["raw_uploads"] == 3
    copy = in_process.invoke(environment, "person", "export", str(USER), str(tmp_path / "copy"))
    assert copy.exit_code == 0, copy.output
    assert (tmp_path / "copy" / "index.html").is_file()
    nobody = in_process.invoke(environment, "person", "find", "5")
    assert nobody.exit_code == 1
    assert "Nothing is held of the user 5" in nobody.output


def _settings_of(stores: Stores) -> dict[str, str]:
    from resources.settings import plain

    names = ("home", "uploads_url", "lake_url", "database_url")
    return {f"DARKROOM_{name.upper()}": plain(getattr(stores.settings, name)) for name in names}

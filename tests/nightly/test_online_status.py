"""`darkroom online`: what it says of a store."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from serving.log.test_served_drift import ASKED, PIN, asks, trained_on

from pipeline_assets.commands.main import main
from pipeline_assets.ingestion.schemas import EventLog, PhotoMetadata
from pipeline_assets.nightly.online import facts
from pipeline_assets.serving.log.drift import drift_of
from resources.database import ledger
from resources.database.sqlite import Sqlite
from resources.lake.lake import Lake
from resources.online.contract import OnlineStore
from resources.online.opening import open_store

T0 = datetime(2026, 2, 2, tzinfo=UTC)


def published(file: Path) -> OnlineStore:
    store = open_store("", file)
    draft = store.begin(T0, 129_600, 1)
    store.write(draft, [(b"u:1", b"abc"), (b"u:2", b"d"), (b"p:1", b"")])
    lease = store.lease("a build", 60)
    assert lease is not None
    store.publish(lease, store.complete(draft, position=""), position="")
    return store


def test_facts_of_a_store_tell_generation_users_lag_bytes_and_writer(tmp_path: Path) -> None:
    store = published(tmp_path / "online.db")
    stored = facts(store, T0 + timedelta(hours=3))
    generation = stored["generation"]
    assert (generation["number"], generation["users"], generation["bytes"], generation["lag_s"]) == (1, 2, 13, 10_800)
    assert (generation["answers_until"], generation["is_too_old"]) == (T0 + timedelta(hours=36), False)
    assert (stored["values"], stored["streamed_values"], stored["writer"], stored["waiting_draft"]) == (
        3,
        0,
        "a build",
        None,
    )
    assert facts(store, T0 + timedelta(hours=37))["generation"]["is_too_old"]
    lease = store.lease("a build", 60)
    assert lease is not None
    store.apply(lease, {b"u:1": b"x"}, position="7")
    current = store.current()
    assert current is not None
    assert current.applied_at is not None
    later = facts(store, current.applied_at + timedelta(seconds=2))
    assert (later["generation"]["lag_s"], later["generation"]["position"], later["streamed_values"]) == (2, "7", 1)
    store.complete(store.begin(T0 + timedelta(days=1), 129_600, 1), position="")
    assert facts(store, T0)["waiting_draft"] == 2
    store.close()


def with_a_day(folder: Path) -> None:
    """A project with one user, who logs in on 2026-02-01."""
    day, database = date(2026, 2, 1), Sqlite(url=f"sqlite:///{folder / 'darkroom.db'}")
    lake = Lake(url=(folder / "lake").as_uri())
    database.insert("insert into users (user_id, joined_at, name) values %s", [(1, T0 - timedelta(days=9), "x")])
    at = T0 - timedelta(hours=5)
    login = (day, "e-1", 1, None, "login", at, at, None)
    events = pl.DataFrame([login], schema=EventLog.create_empty().schema, orient="row")
    for name, rows in (("event_log", events), ("photo_metadata", PhotoMetadata.create_empty())):
        version = lake.replace(name, [day], rows)
        entry = ledger.Materialization(name, day, "0" * 32, rows.height, 0, "1", "", {}, version, None, "test")
        ledger.record(database, [entry])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated")
def test_status_of_an_empty_store_and_of_an_old_one_say_what_to_do_and_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DARKROOM_DATABASE_URL", f"sqlite:///{tmp_path / 'darkroom.db'}")
    monkeypatch.setenv("DARKROOM_UPLOADS_URL", (tmp_path / "uploads").as_uri())
    monkeypatch.setenv("DARKROOM_LAKE_URL", (tmp_path / "lake").as_uri())

    def asked(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["online", *arguments])
        return result.exit_code, result.output

    code, output = asked("status")
    assert code == 1
    assert "Nothing is published" in output
    assert "nothing is logged yet" in output
    assert "darkroom online rebuild" in output.replace("\n", " ")
    code, output = asked("rebuild")
    assert code == 1
    assert "NothingToServe" in output
    published(tmp_path / "home" / "online.db").close()
    code, output = asked("status")
    assert code == 1
    assert "Too old" in output
    code, output = asked("status", "--json")
    assert code == 0
    assert json.loads(output)["generation"]["t0"] == "2026-02-02T00:00:00+00:00"
    with_a_day(tmp_path)
    for _ in range(2):
        for file in (tmp_path / "home").glob("online.db*"):
            file.unlink()
        code, output = asked("rebuild")
        assert "too old" in output.lower(), "the day was built, and its moments are long past"
    code, output = asked("status", "--json")
    generation = json.loads(output)["generation"]
    assert (generation["number"], generation["t0"], generation["users"]) == (1, "2026-02-02T00:00:00+00:00", 1)
    logged, lake = asks(logins_1d=1), Lake(url=(tmp_path / "lake").as_uri())
    lake.replace("serving_log", [ASKED], logged)
    lake.replace("served_drift", [ASKED], drift_of(ASKED, PIN, logged, trained_on().lazy()))
    served = json.loads(asked("status", "--json")[1])["served"]
    assert served["skew"] == {"equal": 180, "behind": 0, "different": 0}
    assert [one["column"] for one in served["drift"]["features"] if one["is_alarm"]] == ["logins_1d"]
    _, output = asked("status")
    assert "180 asks on 2026-02-10" in output
    assert "logins_1d" in output
    assert asked("sweep", "--dry-run") == (0, "0 values that nobody reads would be removed.\n")

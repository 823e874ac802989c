"""`darkroom online`: what it says of a store."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline_assets.commands.main import main
from pipeline_assets.nightly.online import facts
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


@pytest.mark.slow
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
    assert asked("sweep", "--dry-run") == (0, "0 values that nobody reads would be removed.\n")

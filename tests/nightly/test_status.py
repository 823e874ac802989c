"""What `darkroom status` says: what the next run will do, in few lines, and what to do where there is nothing yet."""

import io
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipeline_assets.framework.staleness import VERDICT
from pipeline_assets.nightly.lines import lines
from pipeline_assets.nightly.status import LINES, print_status, status_json
from pipeline_assets.nightly.survey import survey
from pipeline_assets.runtime.terminal import Terminal
from resources.assembly import resolve
from resources.database import seen_objects
from resources.settings import Settings

FIRST = date(2026, 1, 1)
TODAY = date(2026, 3, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(30)]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A project of folders and SQLite in which nothing has happened."""
    for name in ("uploads", "lake"):
        (tmp_path / name).mkdir()
    url = f"sqlite:///{tmp_path / 'darkroom.db'}"
    monkeypatch.setenv("DARKROOM_DATABASE_URL", url)
    for name in ("S3_ENDPOINT", "S3_ACCESS_KEY", "S3_SECRET_KEY"):
        monkeypatch.setenv(f"DARKROOM_{name}", "")
    places = {f"{name}_url": (tmp_path / name).as_uri() for name in ("uploads", "lake")}
    found = Settings.model_validate({"database_url": url, "home": tmp_path / "home", **places})
    resolve(found)["database"].migrate()
    return found


def said(settings: Settings) -> str:
    console = Terminal(file=io.StringIO(), width=200, soft_wrap=True)
    print_status(settings, TODAY, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_an_empty_project_is_told_from_one_whose_days_are_all_current(settings: Settings) -> None:
    told = said(settings)
    assert "There is nothing yet" in told
    assert "darkroom run --photos FOLDER" in told
    assert "Every day is current" not in told
    whole = json.loads(status_json(settings, TODAY))
    assert (whole["is_current"], whole["is_empty"]) == (False, True)

    resolve(settings)["uploads"].store.put("uploads/2026-01-01/1/a.jpg", b"bytes")
    told = said(settings)
    assert "holds uploads: `darkroom run` finds" in told
    assert "Every day is current" not in told


def test_a_day_whose_input_the_next_run_computes_does_not_wait(settings: Settings) -> None:
    found = resolve(settings)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    seen = seen_objects.SeenObject(found["uploads"].bucket, "uploads/2026-01-01/1/a.jpg", "v1", "e", 1, at, at.date())
    seen_objects.add_objects(found["database"], [seen])
    judged = survey(found, date(2026, 1, 2)).days.filter(day=FIRST)
    reasons = dict(judged.select("asset", "reason").iter_rows())
    assert reasons["raw_uploads"] == reasons["photo_metadata"] == "new"
    assert reasons["photo_classes"] == reasons["annotations"] == reasons["training_table"] == "upstream"
    assert "waiting" not in reasons.values()


def verdicts(asset: str, reason: str, details: list[str]) -> pl.DataFrame:
    rows = [(asset, day, reason, detail) for day, detail in zip(DAYS, details, strict=True)]
    return pl.DataFrame(rows, schema=VERDICT, orient="row")


def test_days_that_follow_others_are_one_line_and_come_after_what_has_a_reason_of_its_own() -> None:
    follows = [f"raw_uploads {day} not current, event_log {day} and 3 more days not current" for day in DAYS]
    changed = [f"photo_metadata {day} changed" for day in DAYS]
    judged = [verdicts("photo_classes", "upstream", follows), verdicts("user_features", "data", changed)]
    found = list(lines(pl.concat(judged)))
    assert len(found) < LINES
    assert found == [
        "  user_features 2026-01-01 to 2026-01-30: data (photo_metadata of the day changed)",
        "  photo_classes 2026-01-01 to 2026-01-30: upstream (raw_uploads, event_log not current)",
    ]

"""The sensor of labels where something is wrong: a bad file, a project that is gone, a tick without time."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from tools import settings_of

import sensors.labels as sensor
from pipeline_assets.labeling.exchange import studio as exchange
from resources.database.contract import Database
from resources.lake.lake import open_lake

pytestmark = pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
MORNING = datetime(2026, 3, 2, 8, tzinfo=UTC)


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "labeling" / "exchange")
    from stand_in import stand_in

    with stand_in() as opened:
        yield opened


def world(tmp_path: Path, studio: Any, database: Database, *campaigns: Any) -> tuple[Any, Any]:
    """Settings and a lake, after the campaigns' tasks were sent once."""
    from studio_world import tasks_of

    folder = tmp_path / "campaigns"
    folder.mkdir()
    for one in campaigns:
        fields = {"question": one.question, "kind": one.kind, "classes": one.classes, "target": one.target, "votes": 2}
        (folder / f"{one.name}.yaml").write_text(yaml.safe_dump({**fields, "version": one.version}))
    urls = {"lake_url": (tmp_path / "lake").as_uri(), "uploads_url": "s3://b/u", "label_studio_url": studio.url}
    settings = settings_of(tmp_path).having({**urls, "campaigns_dir": folder, "label_studio_token": "x" * 40})
    lake, tasks = open_lake(settings), pl.concat([tasks_of(one, 3) for one in campaigns])
    lake.replace("label_tasks", tasks["day"].unique().to_list(), tasks)
    with exchange.opened(settings, database, lambda line: None) as tool:
        for one in campaigns:
            exchange.push_campaign(settings, tool, one)
    return settings, lake


def gone(method: str, path: str, query: Any) -> tuple[int, object] | None:
    is_first = path == "/api/projects/1" or (path == "/api/tasks" and query.get("project") == "1")
    return (404, {"detail": "Not found."}) if is_first else None


def test_a_bad_file_is_said_and_answers_to_other_campaigns_arrive(studio: Any, database: Database, tmp_path: Path) -> None:
    from studio_world import campaign_of

    campaign = campaign_of()
    settings, lake = world(tmp_path, studio, database, campaign)
    studio.annotate(1)
    (settings.campaigns / "typo.yaml").write_text("quetsion: x\n")
    said = sensor.tick(settings, database, lake, None, lambda cursor: None, MORNING)
    assert "typo.yaml" in said
    assert f"{campaign.name}: 1 answers" in said


def test_a_project_that_is_gone_keeps_no_other_from_its_turn(studio: Any, database: Database, tmp_path: Path) -> None:
    from studio_world import campaign_of

    one = campaign_of()
    two = one.model_copy(update={"version": 2})
    settings, lake = world(tmp_path, studio, database, one, two)
    studio.annotate(min(number for number, task in studio.tasks.items() if task["project"] == 2))
    studio.hook = gone
    cursors = [""]
    for _ in range(2):
        studio.log.clear()
        said = sensor.tick(settings, database, lake, cursors[-1], cursors.append, MORNING)
    assert "HTTP 404" in said
    assert database.rows("select count(*) from label_answers") == [(1,)]
    assert sensor.parse(cursors[-1]).reconciled[one.name]["2"][2], "its ids were compared"
    assert len([entry for entry in studio.log if entry[1] == "/api/tasks"]) == 1, "and are not compared again"

"""The sensor of labels: what it decides, and that it sends and fetches while a real Label Studio runs."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from tools import settings_of

from pipeline_assets.labeling.exchange import studio
from pipeline_assets.labeling.exchange.projects import projects_of
from resources.database.contract import Database
from resources.lake.lake import open_lake
from resources.servers.label_studio import Account
from sensors.labels import Plan, State, parse, plan, tick

NIGHT, MORNING = datetime(2026, 3, 2, 0, 30, tzinfo=UTC), datetime(2026, 3, 2, 8, tzinfo=UTC)


def test_only_campaigns_that_were_sent_once_are_sent_and_only_when_something_changed() -> None:
    digests = {"cats": "7 aa", "dogs": "7 bb", "never": "7 cc"}
    state = State({"cats": "7 aa", "dogs": "6 bb"})
    assert plan(state, ["cats", "dogs"], digests, NIGHT) == Plan(("dogs",), ("cats", "dogs"))


def test_a_campaign_without_a_file_gets_no_tasks_and_its_answers_are_fetched() -> None:
    assert plan(State(), ["gone"], {}, NIGHT) == Plan((), ("gone",))


def test_all_ids_are_compared_once_a_day() -> None:
    assert not plan(State(), ["cats"], {}, NIGHT).is_complete
    assert plan(State(), ["cats"], {}, MORNING).is_complete
    state = State({}, "2026-03-02", {"cats": {"1": (7, 2, False), "2": (3, 1, True)}})
    assert parse(json.dumps(asdict(state))) == state
    assert state.of_day("2026-03-02") == state.reconciled
    assert state.of_day("2026-03-03") == {}


@pytest.mark.parametrize("cursor", [None, "", "{", "[]", "7", '{"pushed": 7}', '{"pushed": {}, "reconciled": null}'])
def test_a_cursor_that_is_none_begins_anew(cursor: str | None) -> None:
    assert parse(cursor).pushed == {}


def test_without_a_label_studio_nothing_happens(tmp_path: Path) -> None:
    said = tick(settings_of(tmp_path), None, None, None, pytest.fail, MORNING)  # type: ignore[arg-type]
    assert "does not run" in said


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
def test_new_tasks_are_sent_and_answers_fetched(
    label_studio: Account, of_all_workers: Path, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "labeling" / "exchange")
    from studio_world import annotation, answers, campaign_of, tasks_in_tool, tasks_of

    campaign = campaign_of()
    campaigns = tmp_path / "campaigns"
    campaigns.mkdir()
    fields = {"question": campaign.question, "kind": "class", "classes": campaign.classes, "target": "title", "votes": 2}
    (campaigns / f"{campaign.name}.yaml").write_text(yaml.safe_dump(fields))
    urls = {"lake_url": (tmp_path / "lake").as_uri(), "uploads_url": (tmp_path / "uploads").as_uri()}
    settings = settings_of(of_all_workers / "services").having({**urls, "campaigns_dir": campaigns})
    lake, cursors = open_lake(settings), [""]

    def ticked() -> str:
        return tick(settings, database, lake, cursors[-1], cursors.append, NIGHT)

    def compute(number: int) -> None:
        tasks = tasks_of(campaign, number)
        lake.replace("label_tasks", tasks["day"].unique().to_list(), tasks)

    compute(3)
    assert ticked() == "Nothing new.", "nobody has sent it yet"
    with studio.opened(settings, database, lambda line: None) as tool:
        studio.push_campaign(settings, tool, campaign)
        [project] = projects_of(database, tool.name)
        tool.client.annotate(tasks_in_tool(tool.client, project.project_id)[0]["id"], annotation("cat"))
        assert ticked() == f"{campaign.name}: 1 answers"
        compute(5)
        assert ticked() == f"{campaign.name}: 2 tasks sent"
        assert ticked() == "Nothing new."
        assert len(tasks_in_tool(tool.client, project.project_id)) == 5
        assert answers(tool, campaign).height == 1
    (campaigns / f"{campaign.name}.yaml").write_text(yaml.safe_dump({**fields, "question": "Another?"}))
    assert "raise `version`" in ticked()

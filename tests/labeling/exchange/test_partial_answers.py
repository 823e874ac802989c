"""A labeling tool that shows less than it has, or is shared: nothing is lost for ever, and nobody else's task is deleted."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from stand_in import StandIn, nothing, stand_in
from studio_world import answers, asks, campaign_of, pulled, tasks_of

from pipeline_assets.errors import LabelToolFailed
from pipeline_assets.labeling.exchange.asking import asks_of
from pipeline_assets.labeling.exchange.label_studio import LabelStudio
from pipeline_assets.labeling.exchange.pull import Comparison, reconcile
from pipeline_assets.labeling.exchange.push import push
from pipeline_assets.labeling.exchange.store import requested
from resources.database.contract import Database
from resources.database.sqlite import Sqlite

on_sqlite = pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)


@pytest.fixture
def studio() -> Iterator[StandIn]:
    with stand_in() as opened:
        yield opened


@pytest.mark.parametrize("shown", [{"total": 0, "tasks": []}, {"total": 3, "tasks": []}, {"total": None}, {}])
@on_sqlite
def test_a_tool_that_shows_no_tasks_deletes_no_answer(studio: StandIn, database: Database, shown: object) -> None:
    campaign, tool = campaign_of(), studio.tool(database)
    project, _ = push(tool, campaign, asks(campaign, 4))
    for task in list(studio.tasks):
        studio.annotate(task)
    assert pulled(tool, campaign).landed.new == 4
    studio.hook = lambda method, path, query: (200, shown) if path == "/api/tasks" else None
    with pytest.raises(LabelToolFailed, match="run again"):
        reconcile(tool, project)
    assert answers(tool, campaign)["is_deleted"].sum() == 0


@on_sqlite
def test_an_answer_that_is_shown_again_counts_again(studio: StandIn, database: Database) -> None:
    campaign, tool = campaign_of(), studio.tool(database)
    project, _ = push(tool, campaign, asks(campaign, 2))
    for task in (1, 2):
        studio.annotate(task, person=1)
        studio.annotate(task, person=2)
    pulled(tool, campaign)
    kept = {number: list(task["annotations"]) for number, task in studio.tasks.items()}
    for task in studio.tasks.values():
        task["annotations"] = [one for one in task["annotations"] if one["completed_by"] == 1]
        task["updated_at"] = datetime.now(UTC)
    assert pulled(tool, campaign).deleted == 2
    for number, task in studio.tasks.items():
        task["annotations"] = kept[number]
        task["updated_at"] = datetime(2020, 1, 1, tzinfo=UTC)
    assert pulled(tool, campaign).landed.revised == 0, "changes do not show it"
    assert reconcile(tool, project) == 0
    assert pulled(tool, campaign).landed.revised == 2
    assert answers(tool, campaign)["is_deleted"].sum() == 0
    before = database.rows("select count(*) from label_answers")
    assert reconcile(tool, project) == pulled(tool, campaign).landed.revised == 0
    assert database.rows("select count(*) from label_answers") == before


@on_sqlite
def test_tasks_of_somebody_else_make_no_pull_read_everything_again(studio: StandIn, database: Database) -> None:
    campaign, tool = campaign_of(), studio.tool(database)
    project, _ = push(tool, campaign, asks(campaign, 2))
    studio.annotate(studio.add(1, {"data": {"text": "of somebody else"}}))
    pulled(tool, campaign)
    reconcile(tool, project)
    [(since,)] = database.rows("select pulled_since from label_projects")
    assert since is not None


@on_sqlite
def test_a_comparison_ends_at_its_time_and_goes_on_where_it_was(
    studio: StandIn, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign, tool, so_far = campaign_of(), studio.tool(database), Comparison()
    project, _ = push(tool, campaign, asks(campaign, 3))
    for task in (1, 2, 3):
        studio.annotate(task)
    pulled(tool, campaign)
    del studio.tasks[2]
    page = tool.client.page
    monkeypatch.setattr(tool.client, "page", lambda *given, **options: page(*given, size=1, **options))
    gone = [reconcile(tool, project, so_far, until=0) for _ in range(2)]
    assert (gone, so_far) == ([0, 1], Comparison(3, 2, is_done=True))


@on_sqlite
def test_the_tasks_of_a_second_darkroom_are_taken_over_and_never_deleted(
    studio: StandIn, database: Database, tmp_path: Path
) -> None:
    other = Sqlite(url=f"sqlite:///{tmp_path}/other.db")
    other.migrate()
    campaign = campaign_of()
    push(studio.tool(database), campaign, asks(campaign, 4))
    ids = set(studio.tasks)
    _, pushed = push(studio.tool(other), campaign, asks(campaign, 5))
    assert (pushed.found, pushed.sent, pushed.doubles) == (4, 1, 0)
    assert set(studio.tasks) == ids | {5}
    assert set(requested(other, "label-studio:x", campaign).values()) == {"1", "2", "3", "4", "5"}


@on_sqlite
def test_a_copy_that_was_there_before_a_push_is_not_deleted(studio: StandIn, database: Database) -> None:
    campaign, tool = campaign_of(), studio.tool(database)
    push(tool, campaign, asks(campaign, 2))
    copy = studio.add(1, asks(campaign, 2)[0].task)
    push(tool, campaign, asks(campaign, 3))
    assert copy in studio.tasks


@pytest.mark.slow
@on_sqlite
def test_a_batch_that_arrives_after_a_proxy_gave_up_is_waited_for(studio: StandIn, database: Database) -> None:
    campaign, tool = campaign_of(), studio.tool(database)
    sent, late = asks(campaign, 3), list[threading.Timer]()

    def give_up(method: str, path: str, query: object) -> tuple[int, object] | None:
        if not path.endswith("/import"):
            return None
        late.append(threading.Timer(1.0, lambda: [studio.add(1, ask.task) for ask in sent]))
        late[-1].start()
        return 504, {"detail": "gateway time-out"}

    studio.hook = give_up
    with pytest.raises(LabelToolFailed):
        push(tool, campaign, sent)
    studio.hook = nothing
    _, pushed = push(tool, campaign, sent, settle_s=20)
    late[0].join()
    assert (pushed.found, pushed.sent, len(studio.tasks)) == (3, 0, 3)


def test_the_path_of_an_address_comes_before_each_request(studio: StandIn) -> None:
    with LabelStudio(studio.url + "/label-studio/", "t" * 40) as client:
        studio.hook = lambda method, path, query: (200, {})
        client.whoami()
    assert studio.log[0][1] == "/label-studio/api/current-user/whoami"


@pytest.mark.parametrize("key", ["u/a?b.jpg", "u/a#b.jpg", "u/a.jpg "])
def test_an_upload_whose_key_would_be_read_as_another_is_left_out_and_counted(key: str) -> None:
    campaign = campaign_of(target="upload", kind="boxes")
    tasks = tasks_of(campaign, 2).with_columns(key=pl.when(pl.int_range(pl.len()) == 0).then(pl.lit(key)).otherwise("key"))
    sent, unfit = asks_of(campaign, tasks, lambda one: f"s3://b/{one}")
    assert (len(sent), unfit) == (1, 1)

"""Tasks go to a real Label Studio and answers come back: each once, edits and deletions too."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from studio_world import CLASSES, annotation, answers, asks, campaign_of, choice, pulled, tasks_in_tool, tasks_of

from pipeline_assets.errors import LabelToolAway, LabelToolFailed, LabelToolRefused, QuestionChanged
from pipeline_assets.labeling.campaigns.answer import KINDS
from pipeline_assets.labeling.exchange.asking import in_order
from pipeline_assets.labeling.exchange.label_studio import LabelStudio, iso
from pipeline_assets.labeling.exchange.projects import Tool, ensure_project, projects_of, title_of
from pipeline_assets.labeling.exchange.pull import Pulled, reconcile
from pipeline_assets.labeling.exchange.push import Pushed, push
from pipeline_assets.labeling.exchange.store import Landed
from resources.errors import AlreadyRunning
from resources.servers.label_studio import Account

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_each_task_is_sent_once_with_its_prediction_and_nothing_that_tells_gold_apart(tool: Tool) -> None:
    campaign = campaign_of(gold_share=0.25)
    sent = asks(campaign, 12, gold=[0, 5], predicted=True)
    project, pushed = push(tool, campaign, sent, batch=5)
    assert pushed == Pushed(sent=12)
    assert push(tool, campaign, sent, batch=5)[1] == Pushed(asked_before=12)
    there = tasks_in_tool(tool.client, project.project_id)
    assert [task["data"]["task_key"] for task in there] == [ask.key for ask in sent]
    assert {task["predictions"][0]["model_version"] for task in there} == {"model-1"}
    assert {task["predictions"][0]["score"] for task in there} == {0.75}
    assert {tuple(sorted(task["data"])) for task in there} == {("task_key", "text")}
    assert tool.client.project(project.project_id)["maximum_annotations"] == 2
    assert tool.client.project(project.project_id)["title"] == title_of(campaign.name, 1)


def test_answers_edits_skips_and_deletions_arrive_each_once(tool: Tool) -> None:
    campaign = campaign_of()
    project, _ = push(tool, campaign, asks(campaign, 6))
    ids = [task["id"] for task in tasks_in_tool(tool.client, project.project_id)]
    for one in ids[:4]:
        tool.client.annotate(one, annotation("cat"))
    tool.client.annotate(ids[4], annotation("dog", result=[], was_cancelled=True))
    assert pulled(tool, campaign, page_size=2) == Pulled(Landed(new=5))
    found = answers(tool, campaign)
    assert found["answer_json"].to_list() == ['{"choice":"cat"}'] * 4 + [None]
    assert found["is_cancelled"].to_list() == [False] * 4 + [True]
    assert found["annotator"].n_unique() == 1
    assert found["annotator"][0].startswith("annotator-")
    assert pulled(tool, campaign).landed.new == 0, "nothing is new"

    of_task = {task["id"]: task["annotations"] for task in tasks_in_tool(tool.client, project.project_id)}
    tool.client._ask("PATCH", f"/api/annotations/{of_task[ids[0]][0]['id']}", body={"result": choice("dog")})
    tool.client._ask("DELETE", f"/api/annotations/{of_task[ids[1]][0]['id']}")
    again = pulled(tool, campaign)
    assert (again.landed.new, again.landed.revised, again.deleted) == (0, 1, 1)
    found = answers(tool, campaign)
    assert found["answer_json"].to_list() == ['{"choice":"dog"}', None, '{"choice":"cat"}', '{"choice":"cat"}', None]
    assert found["is_deleted"].to_list() == [False, True, False, False, False]
    assert pulled(tool, campaign).deleted == 0, "a deletion is seen once"


def test_a_task_deleted_in_the_tool_is_seen_by_reconciling(tool: Tool) -> None:
    campaign = campaign_of()
    project, _ = push(tool, campaign, asks(campaign, 3))
    ids = [task["id"] for task in tasks_in_tool(tool.client, project.project_id)]
    for one in ids:
        tool.client.annotate(one, annotation("cat"))
    pulled(tool, campaign)
    tool.client.delete_task(ids[1])
    assert pulled(tool, campaign).deleted == 0, "it leaves no trace among the changes"
    assert reconcile(tool, project) == 1
    assert answers(tool, campaign)["is_deleted"].to_list() == [False, True, False]
    assert reconcile(tool, project) == 0
    assert push(tool, campaign, asks(campaign, 3))[1].sent == 0, "somebody took it out: it is not asked again"


def test_reconciling_finds_an_answer_that_changes_did_not_show(tool: Tool) -> None:
    campaign = campaign_of()
    project, _ = push(tool, campaign, asks(campaign, 2))
    later = iso(datetime.now(UTC) + timedelta(days=1))
    tool.database.execute("update label_projects set pulled_since = %s where project_id = %s", (later, project.project_id))
    tool.client.annotate(tasks_in_tool(tool.client, project.project_id)[0]["id"], annotation("cat"))
    assert pulled(tool, campaign).landed.new == 0
    assert reconcile(tool, project) == 0
    assert pulled(tool, campaign).landed.new == 1


def test_a_new_version_gets_a_project_of_its_own_and_old_answers_still_arrive(tool: Tool) -> None:
    campaign = campaign_of()
    first, _ = push(tool, campaign, asks(campaign, 2))
    changed = campaign.model_copy(update={"question": "Which pet?"})
    with pytest.raises(QuestionChanged, match="raise `version`"):
        push(tool, changed, asks(changed, 2))
    raised = changed.model_copy(update={"version": 2})
    second, _ = push(tool, raised, asks(raised, 2))
    assert first.project_id != second.project_id
    for project in (first, second):
        tool.client.annotate(tasks_in_tool(tool.client, project.project_id)[0]["id"], annotation("cat"))
    assert pulled(tool, campaign).landed.new == 2
    assert [one.version for one in projects_of(tool.database, tool.name, campaign.name)] == [1, 2]


def test_a_label_that_is_no_class_lands_with_its_reason_and_its_neighbours_land(tool: Tool) -> None:
    campaign = campaign_of(kind="classes")
    project, _ = push(tool, campaign, asks(campaign, 3))
    ids = [task["id"] for task in tasks_in_tool(tool.client, project.project_id)]
    tool.client.annotate(ids[0], annotation("cat"))
    tool.client.change_project(project.project_id, {"label_config": _config_with(tool, project.project_id, "bird")})
    tool.client.annotate(ids[1], annotation("bird"))
    tool.client.annotate(ids[2], annotation("dog"))
    done = pulled(tool, campaign)
    assert (done.landed.new, done.unreadable) == (3, 1)
    texts = answers(tool, campaign)["answer_json"].to_list()
    assert texts[0] == '{"choices":["cat"]}'
    assert "bird" in texts[1]
    assert "unknown_class" in texts[1]
    assert texts[2] == '{"choices":["dog"]}'


def _config_with(tool: Tool, project: int, name: str) -> str:
    config = str(tool.client.project(project)["label_config"])
    return config.replace("</Choices>", f'<Choice value="{name}"/></Choices>')


def test_tasks_and_answers_of_others_in_the_project_are_left_alone(tool: Tool) -> None:
    campaign = campaign_of()
    project, _ = push(tool, campaign, asks(campaign, 2))
    foreign = tool.client.import_tasks(
        project.project_id, [{"data": {"text": "mine", "task_key": "x"}}, {"data": {"text": "y"}}]
    )
    for one in foreign["task_ids"]:
        tool.client.annotate(one, annotation("cat"))
    done = pulled(tool, campaign)
    assert (done.landed.new, done.foreign) == (0, 2)
    assert push(tool, campaign, asks(campaign, 3))[1] == Pushed(sent=1, asked_before=2)
    assert len(tasks_in_tool(tool.client, project.project_id)) == 5


def test_a_renamed_annotator_keeps_the_pseudonym(tool: Tool) -> None:
    campaign = campaign_of()
    project, _ = push(tool, campaign, asks(campaign, 2))
    ids = [task["id"] for task in tasks_in_tool(tool.client, project.project_id)]
    me = tool.client.whoami()["id"]
    tool.client.annotate(ids[0], annotation("cat"))
    pulled(tool, campaign)
    tool.client._ask("PATCH", f"/api/users/{me}", body={"first_name": f"Renamed {campaign.name}"})
    tool.client.annotate(ids[1], annotation("cat"))
    pulled(tool, campaign)
    found = answers(tool, campaign)
    assert found.height == 2
    assert found["annotator"].n_unique() == 1


def test_two_processes_do_not_write_at_the_same_time(tool: Tool) -> None:
    campaign = campaign_of()
    with tool.database.lock(f"push to {tool.name}"), pytest.raises(AlreadyRunning, match="Run again"):
        push(tool, campaign, asks(campaign, 1))
    push(tool, campaign, asks(campaign, 1))
    with tool.database.lock(f"pull from {tool.name}"), pytest.raises(AlreadyRunning, match="Run again"):
        pulled(tool, campaign)


def test_a_refused_token_a_missing_project_and_a_closed_port_say_what_to_do(
    tool: Tool, label_studio: Account, free_port: int
) -> None:
    campaign = campaign_of()
    with pytest.raises(LabelToolRefused, match="DARKROOM_LABEL_STUDIO_TOKEN"):
        refused(label_studio.url, "0" * 40)
    project, _ = push(tool, campaign, asks(campaign, 1))
    tool.client._ask("DELETE", f"/api/projects/{project.project_id}")
    with pytest.raises(LabelToolFailed, match="whether the project is still there"):
        pulled(tool, campaign)
    with pytest.raises(LabelToolAway, match="darkroom label up"):
        refused(f"http://127.0.0.1:{free_port}", "x")


def refused(url: str, token: str) -> None:
    with LabelStudio(url, token, pauses_s=(0.01,)) as client:
        client.whoami()


def test_gold_is_strewn_and_the_rest_keeps_its_priority() -> None:
    campaign = campaign_of(gold_share=0.25)
    ordered = in_order(tasks_of(campaign, 12, gold=[0, 5, 7]), campaign.gold_share)
    places = [place for place, is_gold in enumerate(ordered["is_gold"]) if is_gold]
    assert [place // 4 for place in places] == [0, 1, 2], "one in each block"
    others = ordered.filter(is_gold=False)
    assert others["priority"].to_list() == sorted(others["priority"], reverse=True)
    assert ordered.height == 12


def test_no_period_and_no_tail_tells_gold_apart() -> None:
    ordered = in_order(tasks_of(campaign_of(name="sharp"), 60, gold=range(30)), 0.1)
    places = [place for place, is_gold in enumerate(ordered["is_gold"]) if is_gold]
    assert (len(places), len({place % 10 for place in places}) > 1) == (4, True)
    assert ordered.height == 34, "gold without others to be among waits"


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
def test_the_tool_accepts_the_interface_and_a_task_of_each_kind(tool: Tool) -> None:
    for kind in KINDS:
        fields = {"kind": kind, "classes": [] if kind == "text" else CLASSES}
        campaign = campaign_of(**fields, target="title" if kind in ("spans", "ranking") else "upload")
        project, pushed = push(tool, campaign, asks(campaign, 2))
        assert pushed.sent == 2, kind
        assert len(tasks_in_tool(tool.client, project.project_id)) == 2
    sound = campaign_of(kind="segments", target="upload", media=["video/*"])
    assert ensure_project(tool, sound).project_id


def box(label: str, width: float) -> dict[str, object]:
    value = {"x": 10, "y": 20, "width": width, "height": 25, "rotation": 30, "rectanglelabels": [label]}
    frame = {"original_width": 320, "original_height": 240, "image_rotation": 0}
    return {"from_name": "answer", "to_name": "item", "type": "rectanglelabels", "value": value, **frame}


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
def test_boxes_arrive_in_pixels_with_their_rotation_and_too_many_land_with_a_reason(tool: Tool) -> None:
    campaign = campaign_of(kind="boxes", target="upload")
    project, _ = push(tool, campaign, asks(campaign, 2))
    ids = [task["id"] for task in tasks_in_tool(tool.client, project.project_id)]
    tool.client.annotate(ids[0], annotation("", result=[box("cat", 50)]))
    tool.client.annotate(ids[1], annotation("", result=[box("dog", 1)] * 10_000))
    assert pulled(tool, campaign).unreadable == 1
    first, second = answers(tool, campaign)["answer_json"]
    assert json.loads(first)["boxes"] == [{"x": 32, "y": 48, "width": 160, "height": 60, "label": "cat", "rotation": 30}]
    assert "10,000 boxes" in second

"""Push and pull that are killed, and a Label Studio that loses, refuses or breaks off: nothing is lost, nothing is doubled."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from studio_gate import Gate, Seen, Timing, gate_to
from studio_world import annotation, answers, asks, campaign_of, pulled, tasks_in_tool

from pipeline_assets.errors import LabelToolAway, LabelToolFailed
from pipeline_assets.labeling.exchange import push as pushing
from pipeline_assets.labeling.exchange.label_studio import LabelStudio, _refusal
from pipeline_assets.labeling.exchange.projects import Tool, projects_of, save_cursor
from pipeline_assets.labeling.exchange.push import Ask, push
from pipeline_assets.labeling.exchange.store import requested
from resources.servers.label_studio import Account

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
CHILD = Path(__file__).with_name("studio_child.py")
TIMINGS: tuple[Timing, ...] = ("before", "after")


@pytest.fixture
def gate(label_studio: Account) -> Iterator[Gate]:
    with gate_to(label_studio.url) as opened:
        yield opened


@pytest.fixture
def gated(gate: Gate, tool: Tool, label_studio: Account) -> Iterator[Tool]:
    """The tool, through the gate, without patience."""
    with LabelStudio(gate.url, label_studio.token, pauses_s=(0.01,), timeout_s=20) as client:
        yield Tool(tool.name, client, tool.database, lambda line: None)


def run_child(gate: Gate, tool: Tool, label_studio: Account, **orders: object) -> str:
    """Run it to its end or its death. Returns what it printed."""
    given = {"url": gate.url, "token": label_studio.token, "tool": tool.name, "database": tool.database.url, **orders}
    gate.seen.clear()
    gate.has_killed = False
    child = subprocess.Popen([sys.executable, str(CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    gate.victim = child.pid
    output, _ = child.communicate(json.dumps(given), timeout=300)
    assert gate.has_killed or child.returncode == 0, output
    return output


def require_each_once(tool: Tool, campaign_name: str, sent: list[Ask]) -> None:
    [project] = projects_of(tool.database, tool.name, campaign_name)
    there = tasks_in_tool(tool.client, project.project_id)
    assert sorted(task["data"]["task_key"] for task in there) == sorted(ask.key for ask in sent)
    assert all(len(task["predictions"]) == 1 for task in there)
    recorded = requested(tool.database, tool.name, campaign_of(name=campaign_name))
    assert recorded == {task["data"]["task_key"]: str(task["id"]) for task in there}


@pytest.mark.parametrize("empty_database", ["postgres"], indirect=True)
def test_a_push_killed_at_every_request_in_turn_sends_each_task_once(gate: Gate, tool: Tool, label_studio: Account) -> None:
    campaign = campaign_of()
    sent = asks(campaign, 25, predicted=True)
    orders = {"what": "push", "campaign": campaign.name, "number": 25}
    for number in range(1, 20):
        gate.kill = (number, TIMINGS[number % 2])
        run_child(gate, tool, label_studio, **orders)
        if not gate.has_killed:
            break
    assert number > 5, "it was killed at many points"
    gate.kill = None
    run_child(gate, tool, label_studio, **orders)
    require_each_once(tool, campaign.name, sent)


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
def test_a_batch_that_arrives_after_its_sender_was_killed_is_waited_for(
    gate: Gate, tool: Tool, label_studio: Account
) -> None:
    campaign = campaign_of()
    sent = asks(campaign, 12, predicted=True)
    orders = {"what": "push", "campaign": campaign.name, "number": 12}
    gate.kill = (4, "late")  # the second batch: projects, create, import, import
    run_child(gate, tool, label_studio, **orders)
    assert "/import" in gate.seen[-1].path
    gate.kill = None
    assert "found=5" in run_child(gate, tool, label_studio, **orders)
    require_each_once(tool, campaign.name, sent)


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
def test_a_pull_killed_at_every_page_in_turn_brings_each_answer_once(gate: Gate, tool: Tool, label_studio: Account) -> None:
    campaign = campaign_of()
    project, _ = push(tool, campaign, asks(campaign, 30))
    there = tasks_in_tool(tool.client, project.project_id)
    for position, task in enumerate(there):
        tool.client.annotate(task["id"], annotation(("cat", "dog")[position % 2]))
    orders = {"what": "pull", "campaign": campaign.name}
    for number in range(1, 20):
        gate.kill = (number, TIMINGS[number % 2])
        run_child(gate, tool, label_studio, **orders)
        if not gate.has_killed:
            break
    assert number > 3, "it was killed at many points"
    gate.kill = None
    run_child(gate, tool, label_studio, **orders)
    found = answers(tool, campaign)
    expected = {
        f"{task['id']}/{one['id']}": json.dumps({"choice": one["result"][0]["value"]["choices"][0]}, separators=(",", ":"))
        for task in tasks_in_tool(tool.client, project.project_id)
        for one in task["annotations"]
    }
    assert dict(zip(found["source_id"], found["answer_json"], strict=True)) == expected
    assert len(expected) == 30
    [(rows,)] = tool.database.rows("select count(*) from label_answers where source = %s", (tool.name,))
    assert rows == 30, "no answer has two revisions"


def test_a_page_whose_answers_landed_before_the_cursor_moved_is_read_again_without_doubles(tool: Tool) -> None:
    campaign = campaign_of()
    project, _ = push(tool, campaign, asks(campaign, 4))
    for task in tasks_in_tool(tool.client, project.project_id):
        tool.client.annotate(task["id"], annotation("cat"))
    assert pulled(tool, campaign).landed.new == 4
    save_cursor(tool.database, tool.name, project)
    again = pulled(tool, campaign).landed
    assert (again.new, again.revised, again.unchanged) == (0, 0, 4)


def with_annotations(sent: list[Ask]) -> list[Ask]:
    return [Ask(ask.request, {**ask.task, "annotations": [annotation("cat")]}) for ask in sent]


def without(part: str, seen: Seen) -> bytes:
    """An import without its annotations or predictions: what Label Studio makes of one while another client imports."""
    tasks = json.loads(seen.body)
    return json.dumps([{name: value for name, value in task.items() if name != part} for task in tasks]).encode()


@pytest.mark.parametrize("part", ["annotations", "predictions"])
def test_what_the_tool_silently_loses_of_a_batch_is_found_and_sent_again(gate: Gate, gated: Tool, part: str) -> None:
    campaign = campaign_of()
    gate.on_request = lambda seen: without(part, seen) if "/import" in seen.path else seen.body
    sent = with_annotations(asks(campaign, 6, predicted=True))
    project, pushed = push(gated, campaign, sent, batch=4)
    assert pushed.mended == 6
    there = tasks_in_tool(gated.client, project.project_id)
    assert [len(task["annotations"]) for task in there] == [1] * 6
    assert [len(task["predictions"]) for task in there] == [1] * 6
    assert pulled(gated, campaign).landed.new == 6


def test_counts_that_lie_do_not_hide_lost_annotations(gate: Gate, gated: Tool) -> None:
    campaign = campaign_of()
    gate.on_request = lambda seen: without("annotations", seen) if "/import" in seen.path else seen.body
    gate.on_answer = lambda seen, body: body.replace(b'"annotation_count":0', b'"annotation_count":3')
    _, pushed = push(gated, campaign, with_annotations(asks(campaign, 3)))
    assert pushed.mended == 3


def test_tasks_that_the_tool_leaves_out_of_a_batch_are_sent_again(gate: Gate, gated: Tool) -> None:
    campaign = campaign_of()
    has_lost = []

    def lose_two(seen: Seen) -> bytes:
        if "/import" in seen.path and not has_lost:
            has_lost.append(True)
            return json.dumps(json.loads(seen.body)[:-2]).encode()
        return seen.body

    gate.on_request = lose_two
    sent = asks(campaign, 6, predicted=True)
    push(gated, campaign, sent)
    require_each_once(gated, campaign.name, sent)


def test_doubles_without_answers_are_deleted_and_those_with_answers_stay(gate: Gate, gated: Tool) -> None:
    campaign = campaign_of()
    sent = asks(campaign, 3, predicted=True)
    doubles: list[int] = []

    def arrive_twice(seen: Seen, body: bytes) -> bytes:
        if "/import" in seen.path and not doubles:
            [project] = projects_of(gated.database, gated.name, campaign.name)
            with LabelStudio(gated.client.url, gated.client._headers["Authorization"].split()[1]) as second:
                doubles.append(0)
                doubles[:] = second.import_tasks(project.project_id, [ask.task for ask in sent[:2]])["task_ids"]
                second.annotate(doubles[0], annotation("dog"))
        return body

    gate.on_answer = arrive_twice
    project, pushed = push(gated, campaign, sent)
    assert pushed.doubles == 1
    ids = [task["id"] for task in tasks_in_tool(gated.client, project.project_id)]
    assert doubles[0] in ids
    assert doubles[1] not in ids
    assert pulled(gated, campaign).landed.new == 1, "an answer to a double is an answer"


def test_an_error_in_the_middle_of_a_pull_loses_nothing(gate: Gate, gated: Tool) -> None:
    campaign = campaign_of()
    project, _ = push(gated, campaign, asks(campaign, 6))
    for task in tasks_in_tool(gated.client, project.project_id):
        gated.client.annotate(task["id"], annotation("cat"))
    gate.seen.clear()
    gate.on_request = lambda seen: 500 if "/api/tasks" in seen.path and len(gate.seen) > 2 else seen.body
    with pytest.raises(LabelToolFailed, match="run again"):
        pulled(gated, campaign, page_size=2)
    assert answers(gated, campaign).height == 2
    gate.on_request = lambda seen: seen.body
    assert pulled(gated, campaign, page_size=2).landed.new == 4
    assert answers(gated, campaign).height == 6


def test_a_passing_error_is_met_with_patience(gate: Gate, gated: Tool) -> None:
    gate.on_request = lambda seen: 503 if len(gate.seen) == 1 else seen.body
    assert gated.client.whoami()["id"]


def test_a_full_disk_of_the_tool_is_named_and_the_next_push_does_not_wait(gate: Gate, gated: Tool) -> None:
    campaign = campaign_of()
    push(gated, campaign, asks(campaign, 2))
    gate.on_request = lambda seen: 500 if "/import" in seen.path else seen.body
    gate.on_answer = lambda seen, body: body
    with pytest.raises(LabelToolFailed, match="HTTP 500: by a test"):
        push(gated, campaign, asks(campaign, 4))
    gate.on_request = lambda seen: seen.body
    _, pushed = push(gated, campaign, asks(campaign, 4), settle_s=600)
    assert (pushed.sent, pushed.found) == (2, 0)


def test_words_of_a_full_disk_are_understood() -> None:
    for words in ("database or disk is full", "[Errno 28] No space left on device"):
        error = _refusal("http://x", "POST /import", 500, json.dumps({"detail": words}).encode())
        assert "make room there" in str(error)
        assert isinstance(error, LabelToolFailed)
        assert not error.is_passing


@pytest.mark.parametrize("content", [b"<html>Bad gateway</html>", b"[1, 2", b'{"a":' * 2000, b"[1]", b"\xff\xfe"])
def test_an_answer_that_is_none_of_label_studios_says_so(gate: Gate, gated: Tool, content: bytes) -> None:
    gate.on_answer = lambda seen, body: content
    with pytest.raises(LabelToolFailed, match=r"no Label Studio|not an object"):
        gated.client.whoami()


def test_a_server_that_never_answers_is_given_up(gate: Gate, label_studio: Account) -> None:
    gate.on_request = lambda seen: (time.sleep(2), seen.body)[1]
    with (
        LabelStudio(gate.url, label_studio.token, timeout_s=0.5, pauses_s=()) as client,
        pytest.raises(LabelToolAway, match="did not answer within"),
    ):
        client.whoami()


def test_no_wait_without_an_unconfirmed_batch(tool: Tool) -> None:
    campaign = campaign_of()
    lines: list[str] = []
    loud = Tool(tool.name, tool.client, tool.database, lines.append)
    push(loud, campaign, asks(campaign, 2), settle_s=3600)
    push(loud, campaign, asks(campaign, 3), settle_s=3600)
    assert not [line for line in lines if "Waiting" in line]
    assert pushing.SETTLE_S > pushing.POLL_S

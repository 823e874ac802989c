"""From a question to a label, through the assets, on both databases."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline_assets.labeling.campaigns.answer import Answer
from pipeline_assets.labeling.exchange import adjudication, store
from resources.database.contract import Database
from tests.labeling.label_world import SHARP, LabelWorld

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated"),
]


@pytest.fixture
def world(tmp_path: Path, database: Database) -> LabelWorld:
    return LabelWorld(tmp_path, database)


def labels(world: LabelWorld) -> dict[str, object]:
    rows = world.rows("annotations").select("key", "labels_json").iter_rows()
    return {key: json.loads(text)["classes"]["sharp"] for key, text in rows}


def test_answers_become_labels_and_a_dispute_waits_for_a_person(world: LabelWorld) -> None:
    world.run()
    assert sorted(world.rows("label_tasks")["task_key"]) == sorted(world.task(number) for number in range(3))
    assert world.rows("label_votes").is_empty()

    world.ask()
    for person in ("ann", "bob", "cyd"):
        world.answer(0, person, "sharp")
        world.answer(1, person, "blurred")
    world.answer(2, "ann", "sharp")
    world.answer(2, "bob", "blurred")
    assert world.stale() == ["label_votes"]
    world.run()
    assert world.stale() == []
    assert labels(world) == {world.key(0): "sharp", world.key(1): "blurred"}
    [dispute] = adjudication.disputes(world.lake, world.database, world.campaign)
    assert (dispute.key, len(dispute.given)) == (world.key(2), 2)

    adjudication.decide(world.database, world.campaign, dispute, {"choice": "sharp"}, "chief", datetime.now(UTC))
    assert adjudication.disputes(world.lake, world.database, world.campaign) == []
    world.run()
    assert labels(world)[world.key(2)] == "sharp"
    [decided] = world.rows("label_consensus").filter(method="adjudicated").iter_rows(named=True)
    assert decided["adjudicator"].startswith("annotator-")


def test_an_edit_moves_the_label_and_the_same_answers_move_nothing(world: LabelWorld) -> None:
    world.run()
    world.ask()
    for person in ("ann", "bob", "cyd"):
        world.answer(0, person, "sharp")
    world.run()
    assert labels(world) == {world.key(0): "sharp"}
    before = world.rows("label_consensus")
    world.answer(0, "ann", "sharp")
    assert world.stale() == []
    for person in ("ann", "bob", "cyd"):
        world.answer(0, person, "blurred", revision=5)
    world.run()
    assert labels(world) == {world.key(0): "blurred"}
    assert world.rows("label_votes")["revision"].to_list() == [5, 5, 5]
    assert not before.equals(world.rows("label_consensus"))


def test_labels_stay_when_their_campaign_ends_or_its_file_breaks(world: LabelWorld) -> None:
    world.run()
    world.ask()
    for person in ("ann", "bob", "cyd"):
        world.answer(0, person, "sharp")
    world.run()
    (world.files.path / "sharp.yaml").write_text("question: [")
    world.run()
    assert world.rows("label_tasks_rejected")["reason"].to_list() == ["bad_campaign"]
    assert labels(world) == {world.key(0): "sharp"}
    (world.files.path / "sharp.yaml").unlink()
    world.run()
    assert world.rows("label_tasks").is_empty()
    assert labels(world) == {world.key(0): "sharp"}


def test_a_new_version_of_a_question_starts_anew_and_old_answers_stay(world: LabelWorld) -> None:
    world.run()
    world.ask()
    for person in ("ann", "bob", "cyd"):
        world.answer(0, person, "sharp")
    world.campaign = world.write(SHARP.replace("Is it sharp?", "Is the face sharp?") + "version: 2\n")
    world.run()
    world.ask()
    assert labels(world) == {world.key(0): "sharp"}
    for person in ("ann", "bob", "cyd"):
        world.answer(0, person, "blurred", revision=1)
    world.run()
    assert labels(world) == {world.key(0): "blurred"}
    assert world.rows("label_consensus").sort("version")["answer_json"].to_list() == [
        '{"choice":"sharp"}',
        '{"choice":"blurred"}',
    ]


def test_gold_answers_can_be_corrected_after_they_were_asked(world: LabelWorld) -> None:
    gold = "gold: [{key: '*/0.jpg', answer: {choice: sharp}}]\n"
    world.campaign = world.write(SHARP + gold)
    world.run()
    world.ask()
    world.answer(0, "ann", "sharp")
    world.run()
    assert world.rows("annotator_quality").select("gold_answers", "gold_correct").rows() == [(1, 1)]
    world.campaign = world.write(SHARP + gold.replace("choice: sharp", "choice: blurred"))
    assert world.stale()[0] == "label_tasks"
    world.run()
    assert world.rows("annotator_quality").select("gold_answers", "gold_correct").rows() == [(1, 0)]


def test_a_decision_can_be_taken_back_and_made_again_even_by_a_clock_that_was_set_back(world: LabelWorld) -> None:
    world.run("label_tasks")
    world.ask()
    world.answer(2, "ann", "sharp")
    world.answer(2, "bob", "blurred")
    world.run()
    [dispute] = adjudication.disputes(world.lake, world.database, world.campaign)
    now = datetime.now(UTC)
    adjudication.decide(world.database, world.campaign, dispute, {"choice": "sharp"}, "chief", now)
    [(revision,)] = world.database.rows("select revision from label_answers where source = 'adjudication'")
    taken_back = Answer("adjudication", dispute.task_key, revision + 1, dispute.task_key, "chief", now, is_deleted=True)
    store.land(world.database, [taken_back])
    assert adjudication.disputes(world.lake, world.database, world.campaign) == [dispute]
    adjudication.decide(world.database, world.campaign, dispute, {"choice": "blurred"}, "chief", now - timedelta(days=2))
    assert adjudication.disputes(world.lake, world.database, world.campaign) == []
    world.run()
    assert labels(world)[world.key(2)] == "blurred"

"""The simulated annotators: some are good, some are not, and all are the same every time."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from pipeline_assets.labeling.campaigns import answer
from pipeline_assets.labeling.campaigns.campaign import named, read
from pipeline_assets.sample import annotators
from pipeline_assets.sample.annotators import Item

DAY = date(2026, 3, 2)
POSTED = datetime(2026, 3, 2, 12, tzinfo=UTC)
UNTIL = datetime(2026, 4, 1, tzinfo=UTC)
CAMPAIGNS = read(Path(__file__).parents[2] / "campaigns")
SUBJECT, OBJECTS = named(CAMPAIGNS, "sample-subject"), named(CAMPAIGNS, "sample-objects")
BOX = {"x": 10, "y": 20, "width": 100, "height": 80, "label": "cat"}


def items(stem: str = "chelsea", count: int = 200) -> list[Item]:
    return [
        Item(DAY, f"uploads/{DAY}/1/sample-{stem}-{number:04}.jpg", f"{number:064x}", POSTED, {"boxes": [BOX]})
        for number in range(count)
    ]


def test_answers_are_valid_for_the_samples_own_campaigns_and_mostly_right() -> None:
    given = [one for _, some in annotators.answers(SUBJECT, items(), UNTIL, seed=1) for one in some]
    assert len(given) == 200 * SUBJECT.votes
    choices = [json.loads(answer.parse(SUBJECT.kind, SUBJECT.classes, one.answer_json or ""))["choice"] for one in given]
    assert 0.6 < choices.count("animal") / len(choices) < 0.9
    assert len({one.annotator for one in given}) == annotators.PEOPLE
    assert all(POSTED < one.answered_at <= POSTED + timedelta(hours=60) for one in given)
    boxes = [one for _, some in annotators.answers(OBJECTS, items(), UNTIL, seed=1) for one in some]
    assert all(answer.parse(OBJECTS.kind, OBJECTS.classes, one.answer_json or "") == one.answer_json for one in boxes)


def test_some_people_are_right_nearly_always_and_some_nearly_never() -> None:
    right: dict[str, list[bool]] = {}
    for _, some in annotators.answers(SUBJECT, items(count=600), UNTIL, seed=1):
        for one in some:
            right.setdefault(one.annotator, []).append(one.answer_json == '{"choice":"animal"}')
    shares = sorted(sum(some) / len(some) for some in right.values())
    assert max(shares[: annotators.RANDOM]) < 0.3
    assert min(shares[annotators.RANDOM + annotators.HASTY :]) > 0.8


def test_the_same_seed_answers_the_same_and_the_clock_only_cuts() -> None:
    def given(until: datetime, seed: int = 1) -> set[tuple[str, str | None]]:
        some = annotators.answers(SUBJECT, items(count=20), until, seed)
        return {(one.source_id, one.answer_json) for _, answers in some for one in answers}

    assert given(UNTIL) == given(UNTIL)
    assert given(UNTIL, seed=2) != given(UNTIL)
    assert given(POSTED + timedelta(hours=20)) < given(UNTIL)


def test_equal_contents_are_asked_once_and_photos_of_others_never() -> None:
    twice = [*items(count=1), *items(count=1)]
    assert len(list(annotators.answers(SUBJECT, twice, UNTIL, seed=1))) == 1
    assert not list(annotators.answers(SUBJECT, items("holiday", 3), UNTIL, seed=1))
    other = SUBJECT.model_copy(update={"name": "mine"})
    assert not list(annotators.answers(other, items(count=3), UNTIL, seed=1))

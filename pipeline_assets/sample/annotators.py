"""SIMULATED annotators of the sample's campaigns: their answers, with a known truth. Pure.

Of PEOPLE people most are careful, some are hasty and some answer at random, so that the tables of agreement and quality
have something to tell. A careful one chooses the right class with probability 0.86 to 0.97, a hasty one with 0.6 to 0.75;
boxes are off by some pixels. Nothing here is a person.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from pipeline_assets.labeling.campaigns import answer
from pipeline_assets.labeling.campaigns.answer import Answer
from pipeline_assets.labeling.campaigns.campaign import Campaign
from pipeline_assets.labeling.campaigns.tasks import task_key
from pipeline_assets.sample.photos import BOXES

SOURCE = "simulated-annotators"
PREFIX = "sample-"
"""Campaigns whose names start so are answered here."""
PEOPLE, HASTY, RANDOM = 24, 4, 4
SUBJECTS = {
    "person": ("astronaut", "camera"),
    "animal": ("chelsea",),
    "food": ("coffee",),
    "vehicle": ("motorcycle", "rocket"),
    "space": ("hubble", "moon"),
    "tissue": ("ihc", "retina", "cell"),
    "texture": ("brick", "grass", "gravel"),
    "object": ("coins", "clock"),
    "document": ("page",),
}
"""What the sample's photos show, by the beginning of their names."""
_SUBJECT_OF = {name: subject for subject, names in SUBJECTS.items() for name in names}
_WITH_BOXES = {re.split("[_.]", name)[0] for name in BOXES}


@dataclass(frozen=True)
class Item:
    """A photo of the sample. labels: its boxes."""

    day: date
    key: str
    sha256: str
    posted_at: datetime
    labels: Mapping[str, Any]


@dataclass(frozen=True)
class _Person:
    name: str
    accuracy: float
    off_px: float
    pace_s: float


def answers(campaign: Campaign, items: Sequence[Item], until: datetime, seed: int) -> Iterator[tuple[Item, list[Answer]]]:
    """Each content that the campaign asks about, with its answers before `until`; none for another campaign or photo."""
    people = _people(np.random.default_rng([seed, 1]))
    asked: set[str] = set()
    for number, item in enumerate(items):
        truth = _truth(campaign, item)
        if truth is None or item.sha256 in asked:
            continue
        asked.add(item.sha256)
        rng = np.random.default_rng([seed, 2, number, len(campaign.kind)])
        yield item, list(_answers(campaign, item, truth, [people[who] for who in rng.permutation(PEOPLE)], until, rng))


def subject_of(key: str) -> str | None:
    """What a photo of the sample shows, by the name of its file or its key; None for another file."""
    return _SUBJECT_OF.get(_stem(key)) if PREFIX in key else None


def _stem(key: str) -> str:
    return re.split("[_.-]", key.rsplit("/", 1)[-1].removeprefix(PREFIX))[0]


def _truth(campaign: Campaign, item: Item) -> Mapping[str, Any] | None:
    """The right answer, if there is one."""
    stem = _stem(item.key)
    if campaign.name == "sample-subject" and campaign.kind == "class":
        return {"choice": _SUBJECT_OF[stem]} if _SUBJECT_OF.get(stem) in campaign.classes else None
    if campaign.name == "sample-objects" and campaign.kind == "boxes" and stem in _WITH_BOXES:
        marks = item.labels.get("boxes", [])
        return {"boxes": [mark for mark in marks if mark["label"] in campaign.classes]}
    return None


def _answers(
    campaign: Campaign,
    item: Item,
    truth: Mapping[str, Any],
    people: Sequence[_Person],
    until: datetime,
    rng: np.random.Generator,
) -> Iterator[Answer]:
    key = task_key(campaign.name, campaign.version, campaign.target, item.sha256)
    for person in people[: campaign.votes]:
        given = _choice(campaign, truth, person, rng) if campaign.kind == "class" else _boxes(campaign, truth, person, rng)
        lead_s = round(float(person.pace_s * rng.lognormal(0, 0.4)), 1)
        at = item.posted_at + timedelta(hours=float(rng.uniform(1, 60)))
        if at < until:
            text = answer.canonical(campaign.kind, campaign.classes, given)
            yield Answer(SOURCE, f"{key[:16]}-{person.name}", 0, key, person.name, at.astimezone(UTC), lead_s, text)


def _choice(campaign: Campaign, truth: Mapping[str, Any], person: _Person, rng: np.random.Generator) -> Mapping[str, Any]:
    if rng.random() < person.accuracy:
        return truth
    return {"choice": campaign.classes[int(rng.integers(len(campaign.classes)))]}


def _boxes(campaign: Campaign, truth: Mapping[str, Any], person: _Person, rng: np.random.Generator) -> dict[str, Any]:
    """The right boxes, each seen with the person's accuracy and off by some pixels; at random for who does not look."""
    drawn = []
    for mark in truth["boxes"]:
        if rng.random() > max(person.accuracy, 0.5):
            continue
        shift = rng.normal(0, person.off_px, 4)
        width, height = max(mark["width"] + shift[2], 4.0), max(mark["height"] + shift[3], 4.0)
        left, top = max(mark["x"] + shift[0], 0.0), max(mark["y"] + shift[1], 0.0)
        place = {"x": left, "y": top, "width": width, "height": height}
        is_right = rng.random() < person.accuracy
        label = mark["label"] if is_right else campaign.classes[int(rng.integers(len(campaign.classes)))]
        drawn.append({name: round(float(value), 1) for name, value in place.items()} | {"label": label})
    return {"boxes": drawn}


def _people(rng: np.random.Generator) -> list[_Person]:
    careful = PEOPLE - HASTY - RANDOM
    accuracies = [*rng.uniform(0.86, 0.97, careful), *rng.uniform(0.6, 0.75, HASTY), *([0.0] * RANDOM)]
    off_px = [*rng.uniform(1, 4, careful), *rng.uniform(6, 12, HASTY), *([60.0] * RANDOM)]
    pace_s = [*rng.uniform(4, 12, careful), *rng.uniform(1.5, 3, HASTY), *([1.0] * RANDOM)]
    return [
        _Person(f"simulated-{number:02}", float(accuracy), float(off), float(pace))
        for number, (accuracy, off, pace) in enumerate(zip(accuracies, off_px, pace_s, strict=True), 1)
    ]

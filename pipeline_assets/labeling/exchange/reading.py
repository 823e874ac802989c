"""Annotations of Label Studio's API as our answers.

One that can't be read lands, too: with its reason in place of an answer, so that `label_votes_rejected` lists it and a later
edit replaces it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pipeline_assets.ingestion.schemas import MOMENTS
from pipeline_assets.labeling import label_json
from pipeline_assets.labeling.campaigns.answer import Answer
from pipeline_assets.labeling.campaigns.campaign import Campaign
from pipeline_assets.labeling.exchange.live_answers import source_id
from pipeline_assets.labeling.services import label_studio
from pipeline_assets.labeling.services.form import Book, Item, Question
from pipeline_assets.labeling.services.judging import Judging, judged

NOBODY = "unknown"
"""The annotator of an annotation whose account is gone."""


@dataclass(frozen=True)
class Reader:
    """Reads the annotations of one project. keys: task keys by the tool's ids; items: what is known of each task."""

    tool: str
    campaign: Campaign
    keys: Mapping[int, str]
    items: Mapping[str, Item]

    @property
    def asked(self) -> Mapping[str, Item]:
        """The tasks that were asked, by task key."""
        return self.items

    def answer(self, task: int, task_key: str, annotation: Mapping[str, Any]) -> tuple[Answer, bool]:
        """The answer of an annotation, and whether it could be read."""
        identity = source_id(task, annotation["id"])
        found = replace(label_studio.found_of(annotation, task_key, identity), task=task_key)
        if found.annotator is None:
            found = replace(found, annotator=NOBODY)
        faults: list[str] = []
        for one in judged(self._judging(task_key, found.size), [found]):
            if isinstance(one, Answer):
                return replace(one, source=self.tool, source_id=identity, extra_json=_extra(one, faults)), not faults
            faults.append(f"{one.reason}: {one.detail}")
        text = label_json.dump({"unreadable": "; ".join(faults)[:2_000]})
        now = datetime.now(UTC)
        at = found.answered_at if found.answered_at and MOMENTS[0] <= found.answered_at < MOMENTS[1] else now
        revision = max(found.revision or 0, 0)
        return Answer(self.tool, identity, revision, task_key, found.annotator or NOBODY, at, answer_json=text), False

    def _judging(self, task_key: str, size: tuple[int, int] | None) -> Judging:
        """size: of the photo as the tool saw it; it counts where the lake has the task no more, as of an older version."""
        campaign, item = self.campaign, self.items[task_key]
        if item.size is None and size is not None:
            item = replace(item, width_px=size[0], height_px=size[1])
        question = Question(campaign.name, campaign.version, campaign.kind, tuple(campaign.classes), campaign.question)
        book = Book({task_key: item}, {item.version: question})
        return Judging(label_studio.FORMAT, book, datetime.now(UTC))


def _extra(answer: Answer, faults: Sequence[str]) -> str | None:
    """The further fields of an answer, with the reasons of marks that were left out of it."""
    if not faults:
        return answer.extra_json
    fields = {**json.loads(answer.extra_json or "{}"), "left_out_marks": [fault[:500] for fault in faults[:20]]}
    return label_json.dump(fields)


def reader_of(tool: str, campaign: Campaign, requested: Mapping[str, str | None], items: Mapping[str, Item]) -> Reader:
    """The reader of a campaign's answers. requested: the tool's ids by task key; items: what the lake knows of tasks."""
    known = {key: items.get(key) or Item(key, campaign.version, campaign.target) for key in requested}
    return Reader(tool, campaign, {int(one): key for key, one in requested.items() if one is not None}, known)

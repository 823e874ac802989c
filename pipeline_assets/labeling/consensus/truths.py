"""The answer of each task of one version of a campaign, adjudicated, gold, or what annotators agree on. Pure."""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import polars as pl

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling import label_json
from pipeline_assets.labeling.campaigns.answer import canonical
from pipeline_assets.labeling.consensus import ballots, choices, marked
from pipeline_assets.labeling.consensus.ballots import Ballots
from pipeline_assets.labeling.consensus.choices import Accuracies, Answers
from pipeline_assets.labeling.consensus.dawid_skene import dawid_skene
from pipeline_assets.labeling.consensus.question import Question

Model = Literal["one-coin", "majority", "dawid-skene"]


@dataclass(frozen=True)
class Truth:
    """The answer of one task; None for a tie, and for more marks than can be compared.

    confidence: None where nothing tells how accurate the annotators are. method: adjudicated, gold, clusters, or a model of
    choices. fell_back: the model knows no annotator of the task, and all count alike. dispute: a sentence, or None.
    """

    task_key: str
    answer_json: str | None
    confidence: float | None
    method: str
    votes: int
    fell_back: bool
    dispute: str | None
    adjudicator: str | None = None


def counting(votes: pl.DataFrame) -> pl.DataFrame:
    """The votes that count, sorted by task and annotator."""
    return votes.filter("counts").sort("task_key", "annotator", "source", "source_id")


def adjudicated(votes: pl.DataFrame) -> dict[str, tuple[str, str]]:
    """The newest answer of an adjudicator and who gave it, by task."""
    given = votes.filter(pl.col("is_adjudication") & pl.col("answer_json").is_not_null()).sort(
        "answered_at", "source", "source_id"
    )
    return {task: (answer, who) for task, answer, who in given.select("task_key", "answer_json", "annotator").iter_rows()}


def accuracies_of(quality: pl.DataFrame, annotators: list[str]) -> Accuracies:
    """Accuracies of these annotators, and the mean of all. quality: annotator, answers, accuracy, is_own_accuracy."""
    known = quality.filter(pl.col("accuracy").is_not_null()).sort("annotator")
    of_name = {
        name: (value, is_own) for name, value, is_own in known.select("annotator", "accuracy", "is_own_accuracy").rows()
    }
    values = [of_name.get(name, (float("nan"), False)) for name in annotators]
    weights = known["answers"].to_numpy()
    mean = float(np.average(known["accuracy"].to_numpy(), weights=weights)) if weights.sum() > 0 else float("nan")
    return Accuracies(
        np.array([value for value, _ in values], np.float64), mean, np.array([is_own for _, is_own in values], np.bool_)
    )


def truths(
    votes: pl.DataFrame, quality: pl.DataFrame, question: Question, gold: Mapping[str, str], model: Model
) -> list[Truth]:
    """One of each task with an answer that counts, sorted by task. votes: rows of `LabelVotes`; gold: JSON by task key."""
    decided = adjudicated(votes)
    counted = counting(votes)
    of_votes = (
        _of_marks(counted, quality, question, gold)
        if question.has_marks
        else _of_choices(counted, quality, question, gold, model)
    )
    wrong = _all_wrong(counted)
    found = {truth.task_key: _doubted(truth) if truth.task_key in wrong else truth for truth in of_votes}
    for task, (answer, who) in decided.items():
        size = found[task].votes if task in found else 0
        found[task] = Truth(task, answer, 1.0, "adjudicated", size, False, None, who)
    return [found[task] for task in sorted(found)]


def _all_wrong(counted: pl.DataFrame) -> set[str]:
    """The tasks with a known answer that no annotator gave."""
    graded = counted.drop_nulls("is_gold_correct").group_by("task_key").agg(pl.col("is_gold_correct").any())
    return set(graded.filter(~pl.col("is_gold_correct"))["task_key"])


def _doubted(truth: Truth) -> Truth:
    if truth.method == "gold":
        return truth
    return replace(truth, answer_json=None, dispute="No annotator gave the answer that is known (gold).")


def _written(question: Question, labels: Mapping[str, Any] | None) -> tuple[str | None, str | None]:
    """An answer as JSON, and a dispute if it is none: of many marks together it may be too long, or have no extent."""
    if labels is None:
        return None, None
    try:
        if question.kind == "text" or (question.has_marks and question.classes):
            return canonical(question.kind, question.classes, labels), None
        return label_json.dump(labels), None
    except UnfitParent as unfit:
        return None, f"What the annotators agree on is no answer: {unfit.detail}"[:500]


def _of_choices(
    counted: pl.DataFrame, quality: pl.DataFrame, question: Question, gold: Mapping[str, str], model: Model
) -> Iterator[Truth]:
    cast = ballots.cast(counted, question, gold)
    is_gold = np.zeros(len(cast.tasks), np.bool_)
    is_gold[cast.task[cast.votes.known >= 0]] = True
    joined = ballots.joined(cast, question, _given(cast, quality, model))
    for task, size, golden, one in zip(cast.tasks, cast.size.tolist(), is_gold.tolist(), joined, strict=True):
        dispute = "The annotators disagree: another answer has nearly the same weight." if one.is_disputed else None
        text, unfit = _written(question, one.labels)
        yield Truth(
            task,
            text,
            one.confidence,
            "gold" if golden else "majority" if one.fell_back else model,
            size,
            one.fell_back and model != "majority",
            "No answer has more weight than the others." if one.labels is None else unfit or dispute,
        )


def _given(cast: Ballots, quality: pl.DataFrame, model: Model) -> Answers:
    if model == "majority":
        return choices.majority(cast.votes)
    if model == "dawid-skene":
        return dawid_skene(cast.votes)
    return choices.answers_given(cast.votes, accuracies_of(quality, list(cast.annotators)))


def _of_marks(counted: pl.DataFrame, quality: pl.DataFrame, question: Question, gold: Mapping[str, str]) -> Iterator[Truth]:
    names = counted["annotator"].unique().sort().to_list()
    known = accuracies_of(quality, names)
    mean = 1.0 if np.isnan(known.mean) else known.mean
    weight = dict(zip(names, np.where(np.isnan(known.value), mean, known.value).tolist(), strict=True))
    is_own = dict(zip(names, known.is_own.tolist(), strict=True))
    rows = counted.select("task_key", "annotator", "answer_json").iter_rows()
    for task, group in itertools.groupby(rows, key=lambda row: row[0]):
        drawings = [marked.Drawing(who, json.loads(answer), weight[who]) for _, who, answer in group]
        fell_back = not any(is_own[drawing.annotator] for drawing in drawings)
        if task in gold:
            yield Truth(task, gold[task], 1.0, "gold", len(drawings), False, None)
            continue
        found = marked.of_item(question.kind, drawings)
        confidence = found.confidence
        if len(drawings) == 1 and not fell_back:
            confidence = drawings[0].weight
        text, unfit = _written(question, found.labels)
        disagreement = "As many annotators drew a mark as did not, or named it so." if found.is_disputed else None
        yield Truth(
            task,
            text,
            confidence,
            "clusters",
            len(drawings),
            fell_back,
            found.reason or unfit or disagreement,
        )

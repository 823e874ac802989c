"""What the votes of a campaign tell of its annotators: counts, accuracies, what they take for what. Pure."""

import itertools
import json
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import polars as pl

from pipeline_assets.labeling.consensus import ballots, choices, marked
from pipeline_assets.labeling.consensus.agreement import totals
from pipeline_assets.labeling.consensus.answers import is_right
from pipeline_assets.labeling.consensus.choices import BOUNDS, MIN_ANNOTATORS, MIN_ANSWERS, STRENGTH, Accuracies
from pipeline_assets.labeling.consensus.question import Question

MAX_CONFUSED = 50
"""Classes of a confusion; with more there is none."""


def counts(votes: pl.DataFrame, counted: pl.DataFrame) -> pl.DataFrame:
    """annotator, answers, gold_answers, gold_correct, median_lead_s, cancelled_share; sorted by annotator.

    votes: all, of which skipped ones count for their share; counted: those that count, as `graded` returns them.
    """
    asked = votes.filter(~pl.col("is_adjudication") & ~pl.col("is_deleted"))
    cancelled = asked.filter("is_cancelled").group_by("annotator").agg(cancelled=pl.len())
    answered = counted.group_by("annotator").agg(
        answers=pl.len(),
        gold_answers=pl.col("is_gold_correct").count(),
        gold_correct=pl.col("is_gold_correct").sum(),
        median_lead_s=pl.col("lead_time_s").median(),
    )
    numbers = pl.col("answers", "gold_answers", "gold_correct", "cancelled").fill_null(0).cast(pl.Int64)
    return (
        answered.join(cancelled, on="annotator", how="full", coalesce=True)
        .with_columns(numbers)
        .with_columns(cancelled_share=pl.col("cancelled") / (pl.col("cancelled") + pl.col("answers")))
        .drop("cancelled")
        .sort("annotator")
    )


def graded(counted: pl.DataFrame, question: Question, gold: Mapping[str, str]) -> pl.DataFrame:
    """Votes with is_gold_correct by `gold`, where it has the task."""
    if not gold:
        return counted
    grades = [
        is_right(question, answer, gold[task]) if task in gold else correct
        for task, answer, correct in counted.select("task_key", "answer_json", "is_gold_correct").iter_rows()
    ]
    return counted.with_columns(is_gold_correct=pl.Series(grades, dtype=pl.Boolean))


def of_choices(
    counted: pl.DataFrame, question: Question, known: Mapping[str, str]
) -> tuple[dict[str, tuple[float, bool]], dict[str, str]]:
    """Accuracies, and whether they are annotators' own, by name; confusions by name, of questions for a class.

    known: right answers as JSON by task key, of gold and of adjudicators.
    """
    cast = ballots.cast(counted, question, known)
    accuracies = choices.one_coin(cast.votes)
    confusions = {}
    if question.kind == "class" and len(cast.answers) <= MAX_CONFUSED:
        truth = choices.answers_given(cast.votes, accuracies).answer[cast.votes.item]
        cells = np.stack([cast.votes.annotator, truth, cast.votes.answer], axis=1)[truth >= 0]
        confusions = _confusions(cells.tolist(), cast)
    return _by_name(list(cast.annotators), accuracies), confusions


def of_marks(counted: pl.DataFrame, question: Question, known: Mapping[str, str]) -> dict[str, tuple[float, bool]]:
    """Accuracies by name: the mean share of marks with what is known, or else with what most of three or more drew.

    As accuracies of choices, they have a prior with the mean of all answers.
    """
    scores: dict[str, list[float]] = defaultdict(list)
    rows = counted.select("task_key", "annotator", "answer_json").iter_rows()
    for task, group in itertools.groupby(rows, key=lambda row: row[0]):
        drawings = [marked.Drawing(who, json.loads(answer)) for _, who, answer in group]
        if task in known:
            truth = json.loads(known[task])
            told = {one.annotator: marked.score(question.kind, one.labels, truth) for one in drawings}
        else:
            told = dict(marked.of_item(question.kind, drawings).scores) if len(drawings) >= MIN_ANNOTATORS else {}
        for who, score in told.items():
            if score is not None:
                scores[who].append(score)
    names = counted["annotator"].unique().sort().to_list()
    if not scores:
        return {}
    owner = np.repeat(np.arange(len(names)), [len(scores[name]) for name in names])
    every = np.concatenate([np.array(scores[name], np.float64) for name in names])
    mean, count = float(every.mean()), np.bincount(owner, minlength=len(names))
    is_own = count >= MIN_ANSWERS
    own = (totals(owner, every, len(names)) + STRENGTH * mean) / (count + STRENGTH)
    return _by_name(names, Accuracies(np.clip(np.where(is_own, own, mean), *BOUNDS), mean, is_own))


def _by_name(names: list[str], accuracies: Accuracies) -> dict[str, tuple[float, bool]]:
    known = zip(names, accuracies.value.tolist(), accuracies.is_own.tolist(), strict=True)
    return {name: (value, is_own) for name, value, is_own in known if not np.isnan(value)}


def _confusions(cells: list[list[int]], cast: ballots.Ballots) -> dict[str, str]:
    """JSON of {right answer: {answer: how often}} by annotator. cells: annotator, right answer, answer."""
    tables: dict[str, dict[str, dict[str, int]]] = {}
    for annotator, right, answer in cells:
        row = tables.setdefault(cast.annotators[annotator], {}).setdefault(cast.answers[right], {})
        row[cast.answers[answer]] = row.get(cast.answers[answer], 0) + 1
    return {name: json.dumps(table, sort_keys=True, separators=(",", ":")) for name, table in tables.items()}

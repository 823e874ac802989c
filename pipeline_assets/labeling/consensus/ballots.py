"""Votes of a table as codes that `choices` counts, and counted items as answers again. Pure.

An answer has parts, each decided by itself: a class or a text is one part; of several classes each one that somebody chose
is a yes or a no; of a ranking each pair of entries is an order. What an answer is, `answers` says.
"""

import functools
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from pipeline_assets.labeling.consensus.agreement import Ints
from pipeline_assets.labeling.consensus.answers import Answer, answer_of
from pipeline_assets.labeling.consensus.choices import Answers, Votes
from pipeline_assets.labeling.consensus.question import Question

OPEN_CHOICES = 1_000
"""Answers that are reckoned with where any text is one: it must not depend on how many votes a run reads."""
MAX_RANKED = 50
"""Entries of rankings that are decided pair by pair; longer ones are equal or not."""
NO, YES = "no", "yes"
Part = str | tuple[str, str] | None


@dataclass(frozen=True)
class Ballots:
    """Votes with the names of their codes. task: (items,) of each item, sorted; part: (items,); size: (tasks,) votes."""

    votes: Votes
    tasks: Sequence[str]
    annotators: Sequence[str]
    answers: Sequence[str]
    task: Ints
    part: Sequence[Part]
    size: Ints


@dataclass(frozen=True)
class Joined:
    """A task's answer: None for a tie. confidence: of its least sure part; None where nobody's accuracy is known."""

    labels: dict[str, Any] | None
    confidence: float | None
    is_disputed: bool
    fell_back: bool


def cast(votes: pl.DataFrame, question: Question, gold: Mapping[str, str]) -> Ballots:
    """Votes that count, as codes.

    votes: task_key, annotator, answer_json, is_gold_correct, sorted by the first two; an annotator votes on a task once.
    gold: answer JSON by task key.
    """
    read = functools.cache(partial(answer_of, question))
    annotators = votes["annotator"].unique().sort().to_list()
    code_of = {name: code for code, name in enumerate(annotators)}
    columns = (votes[name].to_list() for name in ("task_key", "annotator", "answer_json", "is_gold_correct"))
    tasks, sizes, item_tasks, parts = list[str](), list[int](), list[int](), list[Part]()
    items, people, given, right, known = list[int](), list[int](), list[str](), list[float](), list[str | None]()
    for task, rows in itertools.groupby(zip(*columns, strict=True), key=lambda row: row[0]):
        ballots = [(code_of[who], read(text), correct) for _, who, text, correct in rows]
        golden = read(gold[task]) if task in gold else next((answer for _, answer, correct in ballots if correct), None)
        for part in _parts(question, [answer for _, answer, _ in ballots] + ([] if golden is None else [golden])):
            truth = None if golden is None else _choice(golden, part)
            for who, answer, correct in ballots:
                if (choice := _choice(answer, part)) is not None:
                    items.append(len(parts))
                    people.append(who)
                    given.append(choice)
                    right.append(_grade(choice, truth, correct, is_whole=part is None, by_key=task in gold))
            item_tasks.append(len(tasks))
            parts.append(part)
            known.append(truth)
        tasks.append(task)
        sizes.append(len(ballots))
    answers = sorted({*given, *(truth for truth in known if truth is not None)})
    answer_code = {answer: code for code, answer in enumerate(answers)}
    codes = Votes(
        np.array(items, np.int64),
        np.array(people, np.int64),
        np.array([answer_code[answer] for answer in given], np.int64),
        len(parts),
        len(annotators),
        len(answers),
        _choices(question),
        np.array([-1 if truth is None else answer_code[truth] for truth in known], np.int64),
        np.array(right, np.float64),
    )
    return Ballots(codes, tasks, annotators, answers, np.array(item_tasks, np.int64), parts, np.array(sizes, np.int64))


def joined(ballots: Ballots, question: Question, given: Answers) -> list[Joined]:
    """The answer of each task, of its items' answers."""
    bounds = np.searchsorted(ballots.task, np.arange(len(ballots.tasks) + 1)).tolist()
    answers = [None if code < 0 else ballots.answers[code] for code in given.answer.tolist()]
    confidences = given.confidence.tolist()
    tasks = []
    for begin, end in itertools.pairwise(bounds):
        decided = dict(
            zip(ballots.part[begin:end], zip(answers[begin:end], confidences[begin:end], strict=True), strict=True)
        )
        if question.kind == "ranking" and None not in decided:
            labels, confidence = _ranked(decided)
        else:
            labels, confidence = _assembled(question, decided)
        is_disputed = labels is None or bool(given.is_disputed[begin:end].any())
        fell_back = bool(given.fell_back[begin:end].all())
        tasks.append(Joined(labels, None if np.isnan(confidence) else confidence, is_disputed, fell_back))
    return tasks


def _choices(question: Question) -> int:
    if question.kind in ("classes", "ranking"):
        return 2
    return max(len(question.classes), 2) if question.classes and question.kind == "class" else OPEN_CHOICES


def _parts(question: Question, answers: Sequence[Answer]) -> list[Part]:
    """What is decided by itself. Nothing chosen, and a ranking of less than two, is one part of its own."""
    if question.kind in ("class", "text"):
        return [None]
    if question.kind == "classes":
        return list(sorted({entry for answer in answers for entry in answer})) or [None]
    if max(map(len, answers)) > MAX_RANKED:
        return [None]
    pairs = {pair for answer in answers for pair in itertools.combinations(sorted(answer), 2)}
    return list(sorted(pairs)) or [None]


def _choice(answer: Answer, part: Part) -> str | None:
    """What an answer says to a part; None if it says nothing, as a ranking without one of the two entries."""
    if part is None:
        return answer if isinstance(answer, str) else json.dumps(answer)
    if isinstance(part, str):
        return YES if part in answer else NO
    if part[0] not in answer or part[1] not in answer:
        return None
    return YES if answer.index(part[0]) < answer.index(part[1]) else NO


def _grade(choice: str, truth: str | None, correct: bool | None, is_whole: bool, by_key: bool) -> float:
    """By the gold answer, or what the vote's row says; of a part, a wrong answer may still be right."""
    if truth is not None and (by_key or not is_whole or correct is None):
        return float(choice == truth)
    return float("nan") if correct is None or not is_whole else float(correct)


def _assembled(question: Question, decided: Mapping[Part, tuple[str | None, float]]) -> tuple[dict[str, Any] | None, float]:
    confidence = min(confidence for _, confidence in decided.values())
    answers = {part: answer for part, (answer, _) in decided.items()}
    if None in answers.values():
        return None, confidence
    if question.kind == "class":
        return {"choice": answers[None]}, confidence
    if question.kind == "text":
        return {"text": answers[None]}, confidence
    if question.kind == "ranking":
        return {"ranking": json.loads(answers[None] or "[]")}, confidence
    return {
        "choices": sorted(part for part, answer in answers.items() if isinstance(part, str) and answer == YES)
    }, confidence


def _ranked(decided: Mapping[Part, tuple[str | None, float]]) -> tuple[dict[str, Any] | None, float]:
    """Entries by how often they come before the others. Neighbours must have been compared; no circle has an order."""
    before: dict[tuple[str, str], float] = {}
    for part, (answer, confidence) in decided.items():
        if isinstance(part, tuple):
            share = 0.5 if answer is None else confidence if answer == YES else 1 - confidence
            share = (0.9 if answer == YES else 0.1) if np.isnan(share) else share
            before |= {part: share, (part[1], part[0]): 1 - share}
    entries = sorted({entry for pair in before for entry in pair})
    score = {one: sum(before.get((one, other), 0.5) for other in entries if other != one) for one in entries}
    order = sorted(entries, key=lambda entry: (-score[entry], entry))
    neighbours = [before.get(pair, 0.5) for pair in itertools.pairwise(order)]
    is_known = not any(np.isnan(confidence) for _, confidence in decided.values())
    least = min(neighbours)
    is_strict = all(score[first] > score[second] + 1e-9 for first, second in itertools.pairwise(order))
    return ({"ranking": order} if is_strict and least > 0.5 + 1e-9 else None), (least if is_known else float("nan"))

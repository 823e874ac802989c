"""Rows of `label_consensus`, `annotator_quality` and `label_agreement`, of the votes of one version of a campaign. Pure.

votes: rows of `LabelVotes` of one campaign and version, in any order. gold: answer JSON by task key, from `label_tasks`;
without it, is_gold_correct of the votes tells.
"""

import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import polars as pl

from pipeline_assets.labeling.consensus import agreement, annotators, marked
from pipeline_assets.labeling.consensus.agreement import Measure
from pipeline_assets.labeling.consensus.answers import answer_of
from pipeline_assets.labeling.consensus.dawid_skene import WARNING
from pipeline_assets.labeling.consensus.quality import Bars, tier, wilson
from pipeline_assets.labeling.consensus.question import Question
from pipeline_assets.labeling.consensus.truths import Model, Truth, adjudicated, counting, truths

CONSENSUS = {
    "task_key": pl.String(),
    "answer_json": pl.String(),
    "confidence": pl.Float64(),
    "method": pl.String(),
    "votes": pl.Int64(),
    "fell_back": pl.Boolean(),
    "needs_adjudication": pl.Boolean(),
    "reason": pl.String(),
    "adjudicator": pl.String(),
}
"""answer_json: null for a tie. confidence: null where nobody's accuracy is known. reason: of an adjudication, or null."""
QUALITY = {
    "annotator": pl.String(),
    "answers": pl.Int64(),
    "gold_answers": pl.Int64(),
    "gold_correct": pl.Int64(),
    "gold_low": pl.Float64(),
    "gold_high": pl.Float64(),
    "accuracy": pl.Float64(),
    "is_own_accuracy": pl.Boolean(),
    "confusion_json": pl.String(),
    "median_lead_s": pl.Float64(),
    "cancelled_share": pl.Float64(),
    "cost": pl.Float64(),
    "tier": pl.String(),
    "reason": pl.String(),
}
"""accuracy: null where nothing tells; is_own_accuracy: whether it comes from the annotator's own answers, or is the mean."""
WARNINGS: Mapping[Model, str] = {"dawid-skene": WARNING}
"""What a person who chooses a model must know."""
AGREEMENT = {
    "items": pl.Int64(),
    "votes": pl.Int64(),
    "alpha_nominal": pl.Float64(),
    "alpha_ordinal": pl.Float64(),
    "alpha_interval": pl.Float64(),
    "alpha_low": pl.Float64(),
    "alpha_high": pl.Float64(),
    "fleiss_kappa": pl.Float64(),
    "cohen_kappa": pl.Float64(),
    "region_agreement": pl.Float64(),
    "reason": pl.String(),
}
"""alpha_low, alpha_high: of the campaign's scale. Null: undefined, or not of this kind of answer; reason: why undefined."""


def consensus(
    votes: pl.DataFrame,
    quality: pl.DataFrame,
    question: Question,
    gold: Mapping[str, str] | None = None,
    model: Model = "one-coin",
) -> pl.DataFrame:
    """Rows of CONSENSUS, one for each task with an answer that counts, sorted by task.

    A row depends on the votes on its task and on `quality`, and on no other task (but for the model dawid-skene).
    quality: annotator, answers, accuracy, is_own_accuracy, as `qualities` returns them; it may have no rows.
    """
    rows = []
    for truth in truths(votes, quality, question, gold or {}, model):
        reason = _adjudication(truth, question)
        # A sum of shares may be 1 + 1e-16.
        confidence = None if truth.confidence is None else min(max(truth.confidence, 0.0), 1.0)
        decided = {"confidence": confidence, "needs_adjudication": reason is not None, "reason": reason}
        rows.append({name: value for name, value in asdict(truth).items() if name in CONSENSUS} | decided)
    return pl.DataFrame(rows, schema=CONSENSUS)


def qualities(
    votes: pl.DataFrame, question: Question, gold: Mapping[str, str] | None = None, bars: Bars | None = None
) -> pl.DataFrame:
    """Rows of QUALITY, one for each annotator who answered or skipped a task, sorted by annotator.

    Adjudicators' answers are known to be right, as gold is, but do not promote or block: only what is doubtful has one.
    """
    gold, bars = gold or {}, bars or Bars()
    counted = counting(votes)
    known = {task: answer for task, (answer, _) in adjudicated(votes).items()} | dict(gold)
    if question.has_marks:
        accuracies, confusions = annotators.of_marks(counted, question, known), dict[str, str]()
    else:
        accuracies, confusions = annotators.of_choices(counted, question, known)
    rows = []
    for row in annotators.counts(votes, annotators.graded(counted, question, gold)).iter_rows(named=True):
        bounds = wilson(row["gold_correct"], row["gold_answers"], bars.z)
        accuracy, is_own = accuracies.get(row["annotator"], (None, False))
        name, reason = tier(row["answers"], row["gold_answers"], row["gold_correct"], bars)
        estimated = {
            "gold_low": bounds.low,
            "gold_high": bounds.high,
            "accuracy": accuracy,
            "is_own_accuracy": is_own,
            "confusion_json": confusions.get(row["annotator"]),
            "cost": question.price * row["answers"],
            "tier": name,
            "reason": reason,
        }
        rows.append(row | estimated)
    return pl.DataFrame(rows, schema=QUALITY)


def agreements(votes: pl.DataFrame, question: Question, seed: int) -> pl.DataFrame:
    """One row of AGREEMENT, of the votes that count. seed: of the bootstrap, and of the choice of annotators to compare."""
    counted = counting(votes)
    measured = _region_agreement(counted, question) if question.has_marks else _agreement(counted, question, seed)
    row = {"items": counted["task_key"].n_unique(), "votes": counted.height, **measured}
    return pl.DataFrame([row], schema=AGREEMENT)


def _adjudication(truth: Truth, question: Question) -> str | None:
    """Why a task needs adjudication, as a sentence; None if it does not."""
    if truth.dispute is not None:
        return truth.dispute
    if truth.confidence is None:
        return "Nothing tells how accurate the annotators are." if question.confidence > 0 else None
    if truth.confidence < question.confidence:
        return f"The confidence, {truth.confidence:.3f}, is below {question.confidence:g}."
    return None


def _agreement(counted: pl.DataFrame, question: Question, seed: int) -> dict[str, float | str | None]:
    texts = [_value(question, answer) for answer in counted["answer_json"].to_list()]
    names = list(question.classes) if question.kind == "class" and question.classes else sorted({*texts})
    code_of = {name: code for code, name in enumerate(names)}
    item, person = (counted[name].rank("dense").cast(pl.Int64).to_numpy() - 1 for name in ("task_key", "annotator"))
    code = np.array([code_of[text] for text in texts], np.int64)
    by_code = agreement.counts(item, code.astype(np.float64))
    measures = {"nominal": agreement.alpha(by_code, "nominal", seed if question.scale == "nominal" else None)}
    if question.scale != "nominal":
        measures["ordinal"] = agreement.alpha(by_code, "ordinal", seed if question.scale == "ordinal" else None)
    if question.scale == "interval":
        measures["interval"] = _interval_alpha(item, texts, seed)
    cohen = agreement.cohen_kappa(item, person, code, seed)
    kappas = {
        "fleiss_kappa": agreement.fleiss_kappa(by_code),
        "cohen_kappa": cohen,
    }
    reasons = {one.reason for one in (*measures.values(), *kappas.values()) if one.reason}
    row: dict[str, float | str | None] = {f"alpha_{scale}": one.value for scale, one in measures.items()}
    row |= {name: one.value for name, one in kappas.items()}
    return row | {
        "alpha_low": measures[question.scale].low,
        "alpha_high": measures[question.scale].high,
        "reason": f"Undefined: {'; '.join(sorted(reasons))}." if reasons else None,
    }


def _interval_alpha(item: agreement.Ints, texts: list[str], seed: int) -> Measure:
    try:
        numbers = np.array([float(text) for text in texts], np.float64)
    except ValueError:
        return Measure(None, "the classes of an interval scale are no numbers")
    if not np.isfinite(numbers).all():
        return Measure(None, "the classes of an interval scale are not finite")
    return agreement.alpha(agreement.counts(item, numbers), "interval", seed)


def _value(question: Question, answer_json: str) -> str:
    answer = answer_of(question, answer_json)
    return answer if isinstance(answer, str) else json.dumps(answer)


def _region_agreement(counted: pl.DataFrame, question: Question) -> dict[str, float | str | None]:
    """The mean over items, each of which counts alike, of the share of marks that two annotators share."""
    rows = counted.select("task_key", "annotator", "answer_json").iter_rows()
    shares = []
    for _, group in itertools.groupby(rows, key=lambda row: row[0]):
        drawings = [marked.Drawing(who, json.loads(answer)) for _, who, answer in group]
        shares.append(marked.of_item(question.kind, drawings).agreement if len(drawings) > 1 else None)
    told = [share for share in shares if share is not None]
    if not told:
        return {"reason": "Undefined: no item has marks of two annotators."}
    return {"region_agreement": float(np.mean(told))}

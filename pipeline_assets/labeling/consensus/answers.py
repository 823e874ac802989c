"""When two answers are the same, of the kinds whose answers are equal or not. Pure."""

import json
import unicodedata

from pipeline_assets.labeling.consensus import marked
from pipeline_assets.labeling.consensus.question import Question

Answer = str | tuple[str, ...]


def answer_of(question: Question, answer_json: str) -> Answer:
    """The answer of a valid answer's JSON (`campaigns.answer`), in a form that is equal for the same answers.

    Texts are compared in Unicode's normal form NFC, without spaces around them and with single ones inside.
    """
    labels = json.loads(answer_json)
    if question.kind == "class":
        return str(labels["choice"])
    if question.kind == "text":
        return " ".join(unicodedata.normalize("NFC", labels["text"]).split())
    return tuple(labels["ranking"] if question.kind == "ranking" else sorted(labels["choices"]))


def is_right(question: Question, answer_json: str, gold_json: str) -> bool:
    """Whether an answer says what gold says; of marks, whether it shares enough with gold."""
    if not question.has_marks:
        return answer_of(question, answer_json) == answer_of(question, gold_json)
    share = marked.score(question.kind, json.loads(answer_json), json.loads(gold_json))
    return share is not None and share >= marked.RIGHT

"""What was asked and answered, in the application's database: each answer once, whatever was killed or sent again.

A request records where a task was asked; an answer is added once for each (source, source_id, revision). People become
pseudonyms here, so that no table of the lake names them.
"""

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date
from itertools import islice
from typing import Any, TypeVar

from pipeline_assets.errors import QuestionChanged
from pipeline_assets.labeling.campaigns.answer import NO_ID, Answer
from pipeline_assets.labeling.campaigns.campaign import Campaign
from resources.database.contract import Database, Transaction

T = TypeVar("T")
BATCH = 1_000
"""Answers in one transaction."""
LOCK = 0x6C6162656C
"""Key of the lock under which answers are added: two readers of one file add each answer once."""

FIRST_REQUESTS = """
select * from label_requests a where not exists (
    select 1 from label_requests b where b.task_key = a.task_key and (b.requested_at, b.tool) < (a.requested_at, a.tool)
)
"""
"""One request for each task, the first: its day is the day of all answers, whichever tools ask the task later."""


@dataclass(frozen=True)
class Request:
    """A task that was handed to a tool. tool_task_id: the tool's own id of it, if it has told one."""

    task_key: str
    day: date
    key: str
    target: str
    sha256: str
    tool_task_id: str | None = None


@dataclass(frozen=True)
class Landed:
    """Numbers of answers: new ones, edits of known ones, and those that were there already."""

    new: int = 0
    revised: int = 0
    unchanged: int = 0

    def __add__(self, other: "Landed") -> "Landed":
        return Landed(self.new + other.new, self.revised + other.revised, self.unchanged + other.unchanged)


def record_campaign(database: Database, campaign: Campaign) -> None:
    """Record a campaign's version before it is asked. Raises QuestionChanged if that version asked something else."""
    with database.connect() as transaction:
        transaction.hold(LOCK)
        recorded = transaction.rows(
            "select question_digest, definition from label_campaigns where campaign = %s and version = %s",
            (campaign.name, campaign.version),
        )
        if not recorded:
            transaction.execute(
                "insert into label_campaigns (campaign, version, question_digest, definition) values (%s, %s, %s, %s)",
                (campaign.name, campaign.version, campaign.question_digest, campaign.definition),
            )
        elif recorded[0][0] != campaign.question_digest:
            raise QuestionChanged(
                f"The question of {campaign.name} has changed since version {campaign.version} of it was asked: raise "
                f"`version` in campaigns/{campaign.name}.yaml, so that no answer counts for another question."
            )
        elif recorded[0][1] != campaign.definition:
            transaction.execute(
                "update label_campaigns set definition = %s where campaign = %s and version = %s",
                (campaign.definition, campaign.name, campaign.version),
            )


def record_requests(database: Database, tool: str, campaign: Campaign, requests: Sequence[Request]) -> None:
    """Record that these tasks are asked in a tool, in one transaction. A repeated one keeps its first time.

    Its tool_task_id is the newest that is known.
    """
    of_task = {request.task_key: request for request in requests}
    with database.connect() as transaction:
        transaction.hold(LOCK)
        transaction.insert(
            "insert into label_requests"
            " (tool, task_key, tool_task_id, campaign, version, day, key, target, sha256)"
            " values %s on conflict (tool, task_key) do update set"
            " tool_task_id = coalesce(excluded.tool_task_id, label_requests.tool_task_id)",
            [
                (
                    tool,
                    one.task_key,
                    one.tool_task_id,
                    campaign.name,
                    campaign.version,
                    one.day,
                    one.key,
                    one.target,
                    one.sha256,
                )
                for _, one in sorted(of_task.items())
            ],
        )


def requested(database: Database, tool: str, campaign: Campaign) -> dict[str, str | None]:
    """The tool's task ids by task key, of the tasks of this version that were asked there."""
    frame = database.read(
        "select task_key, tool_task_id from label_requests where tool = $1 and campaign = $2 and version = $3",
        (tool, campaign.name, campaign.version),
    )
    return dict(frame.iter_rows())


def land(database: Database, answers: Iterable[Answer]) -> Landed:
    """Add answers, each once, in transactions of BATCH. What was added stays if a later batch fails; call it again."""
    landed = Landed()
    for batch in _batches(answers, BATCH):
        with database.connect() as transaction:
            transaction.hold(LOCK)
            landed += _land(transaction, batch)
    return landed


def _land(transaction: Transaction, answers: Sequence[Answer]) -> Landed:
    # The first of a revision is the one that stays, in one transaction as in two.
    unique = {(one.source, one.source_id, one.revision): one for one in reversed(answers)}
    days = _days(transaction, {one.task_key for one in unique.values()})
    names = _pseudonyms(transaction, {(one.source, one.annotator) for one in unique.values()})
    unique = {(one.source, one.source_id, one.revision): one for one in reversed(_identified(answers, names))}
    known = _known(transaction, {(one.source, one.source_id) for one in unique.values()})
    rows = [
        _row(one, days.get(one.task_key, one.answered_at.astimezone(UTC).date()), names[one.source, one.annotator])
        for one in unique.values()
    ]
    added = transaction.insert(
        "insert into label_answers (source, source_id, revision, task_key, day, annotator, answered_at, lead_time_s,"
        " answer_json, is_cancelled, is_deleted, extra_json) values %s on conflict do nothing"
        " returning source, source_id",
        rows,
    )
    new_ids = {identity for identity in added if identity not in known}
    return Landed(len(new_ids), len(added) - len(new_ids), len(answers) - len(added))


def _row(one: Answer, day: date, pseudonym: str) -> tuple[Any, ...]:
    text = None if one.is_cancelled or one.is_deleted else one.answer_json
    place = (one.source, one.source_id, one.revision, one.task_key, day, pseudonym)
    return (*place, one.answered_at, one.lead_time_s, text, one.is_cancelled, one.is_deleted, one.extra_json)


def _days(transaction: Transaction, task_keys: set[str]) -> dict[str, date]:
    """The days of tasks that were asked; an answer to an unknown task belongs to the day on which it was given."""
    found: dict[str, date] = {}
    for some in _batches(sorted(task_keys), 500):
        marks = ", ".join(["%s"] * len(some))
        query = f"select task_key, day from ({FIRST_REQUESTS}) r where task_key in ({marks})"  # noqa: S608
        found |= {
            key: day if isinstance(day, date) else date.fromisoformat(day) for key, day in transaction.rows(query, some)
        }
    return found


def user_pseudonyms(database: Database, source: str, users: Iterable[str]) -> dict[str, str]:
    """A pseudonym for each of these users of a source, by the user's id; there may be many millions."""
    with database.connect() as transaction:
        names = _pseudonyms(transaction, {(source, user) for user in users}, "user", 8)
    return {person: name for (_, person), name in names.items()}


def identified(database: Database, answers: Sequence[Answer]) -> list[Answer]:
    """The answers with the ids under which `land` adds them, of those without an id (NO_ID) whose person is known."""
    people = {(one.source, one.annotator) for one in answers if one.source_id.startswith(NO_ID)}
    with database.connect() as transaction:
        return _identified(answers, _pairs(transaction, _PEOPLE, "external_id", people))


def _identified(answers: Sequence[Answer], names: Mapping[tuple[str, str], str]) -> list[Answer]:
    """An id of a pseudonym, since a digest of a name can be undone by who guesses the name."""
    return [
        replace(one, source_id=f"{names[one.source, one.annotator]}/{one.task_key}")
        if one.source_id.startswith(NO_ID) and (one.source, one.annotator) in names
        else one
        for one in answers
    ]


_PEOPLE = "select source, external_id, pseudonym from label_annotators"


def _pseudonyms(
    transaction: Transaction, people: set[tuple[str, str]], kind: str = "annotator", size_bytes: int = 6
) -> dict[tuple[str, str], str]:
    """A pseudonym for each person of each source: random, so that nobody can compute it, and the same for ever."""
    transaction.insert(
        "insert into label_annotators (source, external_id, pseudonym) values %s on conflict do nothing",
        [(source, person, f"{kind}-{secrets.token_hex(size_bytes)}") for source, person in sorted(people)],
    )
    return _pairs(transaction, _PEOPLE, "external_id", people)


def _known(transaction: Transaction, ids: set[tuple[str, str]]) -> set[tuple[str, str]]:
    return set(_pairs(transaction, "select distinct source, source_id, source from label_answers", "source_id", ids))


def _pairs(transaction: Transaction, query: str, column: str, pairs: set[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The third column of a query's rows, by these pairs of (source, column)."""
    found: dict[tuple[str, str], str] = {}
    for some in _batches(sorted(pairs), 400):
        marks = ", ".join(["(%s, %s)"] * len(some))
        rows = transaction.rows(
            f"{query} where (source, {column}) in (values {marks})", [word for pair in some for word in pair]
        )
        found |= {(source, name): value for source, name, value in rows}
    return found


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    return iter(lambda: list(islice(iterator, size)), [])

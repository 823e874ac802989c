"""Campaigns as files of services and formats: tasks out, answers in. An import that was interrupted is run again.

A tool that counts no revisions sends an answer again under the same id: it is unchanged if it says the same, and else a new
revision. So a corrected file corrects its answers, and adds none.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from pathlib import Path

from pipeline_assets.errors import ExportRefused, ImportRefused
from pipeline_assets.labeling.campaigns.answer import Answer
from pipeline_assets.labeling.campaigns.campaign import Campaign
from pipeline_assets.labeling.exchange import asked, store
from pipeline_assets.labeling.exchange.asked import Asked, Shown
from pipeline_assets.labeling.exchange.store import BATCH, Landed, Request
from pipeline_assets.labeling.services import form, judging, turning, writing
from pipeline_assets.labeling.services.form import Format, Reading, Reject, Written
from pipeline_assets.labeling.services.judging import Judging, Pixels
from pipeline_assets.labeling.services.registry import FORMATS
from resources.database.contract import Database
from resources.errors import ObjectError
from resources.files import replacing, sha256_of
from resources.lake.lake import Lake
from resources.objects.store import ObjectStore

REPORT_EVERY_S = 5.0
_LOOKED_UP = 500


@dataclass(frozen=True)
class Export:
    """What is about to be written. losses: sentences about what the format does not carry."""

    format: Format
    campaign: Campaign
    asked: Sequence[Asked]
    losses: Sequence[str]
    pixels: Pixels = "upright"


@dataclass(frozen=True)
class Import:
    """Options of an import. at: now; annotator: whose answers are those that name nobody."""

    source: Path
    at: datetime
    annotator: str | None = None
    column: str | None = None
    pixels: Pixels = "auto"
    is_dry: bool = False
    rejects: Path | None = None


@dataclass
class Imported:
    """What became of a file's answers. rejected: reasons and their numbers; examples: the first of each reason."""

    landed: Landed = field(default_factory=Landed)
    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Reject] = field(default_factory=dict)
    versions: Counter[int] = field(default_factory=Counter)


def planned(
    lake: Lake,
    campaign: Campaign,
    name: str,
    shown: Shown,
    *,
    url: str | None = None,
    limit: int | None = None,
    pixels: Pixels = "upright",
) -> Export:
    """The tasks to write in a format, and what it loses. Writes nothing.

    Raises ExportRefused if the format has no answers of this kind, NothingToAsk without tasks.
    """
    chosen = format_for(campaign, name, ExportRefused)
    tasks = asked.tasks(lake, campaign, shown, url, limit)
    question = asked.question_of(campaign)
    facts = form.facts(question, (one.item for one in tasks))
    losses = chosen.losses(question, facts)
    if pixels == "stored" and facts.turned:
        losses = [f"{facts.turned:,} photos are turned by EXIF: their marks count the pixels that the file stores.", *losses]
    return Export(chosen, campaign, tasks, losses, pixels)


def format_for(campaign: Campaign, name: str, error: type[ExportRefused] | type[ImportRefused]) -> Format:
    """A format by name. Raises `error` if it has no answers of the campaign's kind, with those that have."""
    chosen = FORMATS[name]
    if campaign.kind not in chosen.kinds:
        others = ", ".join(one.name for one in FORMATS.values() if campaign.kind in one.kinds)
        raise error(f"{name} has no answers of kind {campaign.kind}: choose one of {others}.")
    return chosen


def export(database: Database, plan: Export, target: Path) -> Written:
    """Write the tasks, and record that they are asked. Raises ExportRefused if the target exists, QuestionChanged."""
    if target.exists():
        raise ExportRefused(f"{target} exists, and may have answers in it: name a new {_what(plan.format)}.")
    store.record_campaign(database, plan.campaign)
    items = (one.item for one in plan.asked)
    turned = map(turning.as_stored, items) if plan.pixels == "stored" else items
    written = plan.format.write(target, asked.question_of(plan.campaign), turned)
    left_out = {one.place for one in written.left_out}
    requests = [one.request for one in plan.asked if one.request.task_key not in left_out]
    store.record_requests(database, plan.format.source, plan.campaign, requests)
    return written


def _what(chosen: Format) -> str:
    return "folder" if chosen.is_folder else "file"


def write_contents(
    uploads: ObjectStore, plan: Export, folder: Path, tell: Callable[[str], object]
) -> tuple[int, list[Reject]]:
    """Write each task's content under the name that the format has. Returns their number, and what is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    written, left_out, reported = 0, list[Reject](), time.monotonic()
    for one in plan.asked:
        place = folder / one.item.file_name
        if one.item.target == "title" or place.exists():
            continue
        try:
            data = uploads.get(one.request.key)
        except ObjectError as error:
            left_out.append(Reject(one.request.key, "unreadable", str(error)))
            continue
        if sha256_of(data) != one.request.sha256:
            left_out.append(Reject(one.request.key, "changed", "the object has another content now"))
            continue
        with replacing(place) as partial_path:
            partial_path.write_bytes(data)
        written += 1
        if time.monotonic() - reported > REPORT_EVERY_S:
            reported = time.monotonic()
            tell(f"{written:,} of {len(plan.asked):,} files written")
    return written, left_out


def land_file(
    lake: Lake, database: Database, campaign: Campaign, name: str, options: Import, tell: Callable[[str], object]
) -> Imported:
    """Add the answers of a file, each once. Raises ImportRefused if nothing of the file can be read."""
    chosen = format_for(campaign, name, ImportRefused)
    book = asked.book(lake, database, campaign)
    reading = Reading(campaign.kind, tuple(campaign.classes), campaign.name, options.column)
    if not (options.source.is_file() or (chosen.is_folder and options.source.is_dir())):
        raise ImportRefused(f"{options.source} is no {_what(chosen)}: {name} is read from one.")
    found = chosen.read(options.source, reading)
    results = judging.judged(Judging(chosen, book, options.at, options.annotator, options.pixels), found)
    imported = Imported()
    if not options.is_dry:
        _record(database, campaign)
    requests = _Requests(lake, database, campaign)
    with nullcontext() if options.rejects is None else writing.Lines(options.rejects) as rejects:
        answers = _answers(results, imported, rejects, tell)
        while batch := store.identified(database, list(islice(answers, BATCH))):
            settled = _settled(database, chosen.source, batch)
            for other in (one.answer for one in settled if one.is_of_other_task):
                detail = "its id is known as that of an answer to another task: is it of another project or account?"
                _set_aside(Reject(other.source_id, "other_task", detail), imported, rejects)
            settled = [one for one in settled if not one.is_of_other_task]
            imported.landed += (
                _compared(settled) if options.is_dry else _landed(database, campaign, chosen.source, settled, requests)
            )
            imported.versions.update(book.items[one.answer.task_key].version for one in settled)
    return imported


def _set_aside(one: Reject, imported: Imported, rejects: writing.Lines | None) -> None:
    imported.rejected[one.reason] += 1
    imported.examples.setdefault(one.reason, one)
    if rejects is not None:
        rejects.add({"place": one.place, "reason": one.reason, "detail": one.detail, "raw": one.raw})


@dataclass(frozen=True)
class _Settled:
    """An answer with its revision. is_known: whether its id is; is_same: whether this revision of it is."""

    answer: Answer
    is_known: bool
    is_same: bool
    is_of_other_task: bool = False


def _record(database: Database, campaign: Campaign) -> None:
    """Record the campaign's version, unless it is recorded: its answers count for the question that was asked."""
    versions = database.rows(
        "select 1 from label_campaigns where campaign = %s and version = %s", (campaign.name, campaign.version)
    )
    if not versions:
        store.record_campaign(database, campaign)


def _answers(
    results: Iterable[Answer | Reject], imported: Imported, rejects: writing.Lines | None, tell: Callable[[str], object]
) -> Iterator[Answer]:
    """The answers; what is set aside is counted, and written."""
    read, reported = 0, time.monotonic()
    for one in results:
        if isinstance(one, Reject):
            _set_aside(one, imported, rejects)
            continue
        read += 1
        yield one
        if time.monotonic() - reported > REPORT_EVERY_S:
            reported = time.monotonic()
            tell(f"{read:,} answers read, {imported.rejected.total():,} set aside")


def _settled(database: Database, source: str, answers: Sequence[Answer]) -> list[_Settled]:
    """Answers of a tool without revisions get one: that of the newest equal answer, or the next."""
    known: dict[str, dict[int, tuple[str | None, bool, bool]]] = {}
    tasks: dict[str, str] = {}
    ids = sorted({one.source_id for one in answers})
    for start in range(0, len(ids), _LOOKED_UP):
        some = ids[start : start + _LOOKED_UP]
        marks = ", ".join(["%s"] * len(some))
        rows = database.rows(
            "select source_id, task_key, revision, answer_json, is_cancelled, is_deleted from label_answers"  # noqa: S608
            f" where source = %s and source_id in ({marks})",
            (source, *some),
        )
        for source_id, task_key, revision, text, is_cancelled, is_deleted in rows:
            tasks[source_id] = task_key
            known.setdefault(source_id, {})[revision] = (text, bool(is_cancelled), bool(is_deleted))
    return [
        replace(
            _one_settled(one, known.get(one.source_id, {})),
            is_of_other_task=tasks.get(one.source_id, one.task_key) != one.task_key,
        )
        for one in answers
    ]


def _one_settled(answer: Answer, known: dict[int, tuple[str | None, bool, bool]]) -> _Settled:
    newest = max(known, default=0)
    says = (answer.answer_json, answer.is_cancelled, answer.is_deleted)
    if answer.revision == 0 and known:
        answer = replace(answer, revision=newest if known[newest] == says else newest + 1)
    return _Settled(answer, bool(known), answer.revision in known)


def _compared(settled: Sequence[_Settled]) -> Landed:
    """What landing them would count."""
    same = sum(one.is_same for one in settled)
    new = sum(not one.is_known for one in settled)
    return Landed(new, len(settled) - new - same, same)


class _Requests:
    """Tasks of this version that nobody has recorded as asked."""

    def __init__(self, lake: Lake, database: Database, campaign: Campaign) -> None:
        rows = database.read("select distinct task_key from label_requests where campaign = $1", (campaign.name,))
        self.recorded = set(rows["task_key"].to_list())
        self.tasks = asked.requests(lake, campaign)

    def missing(self, task_keys: set[str]) -> list[Request]:
        """Requests of these tasks that are to be recorded; they are returned once."""
        new = (task_keys - self.recorded) & self.tasks.keys()
        self.recorded |= new
        return [self.tasks[key] for key in sorted(new)]


def _landed(database: Database, campaign: Campaign, tool: str, settled: Sequence[_Settled], requests: _Requests) -> Landed:
    """Add answers, after it is recorded that their tasks were asked: a file may have been written elsewhere."""
    missing = requests.missing({one.answer.task_key for one in settled})
    if missing:
        store.record_requests(database, tool, campaign, missing)
    return store.land(database, (one.answer for one in settled))

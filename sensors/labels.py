"""The sensor of labels: while Label Studio runs, new tasks go there and answers come back.

It sends only campaigns that somebody has sent once with `darkroom label push`, and does nothing where no Label Studio runs.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

import dagster as dg

from resources.database.contract import Database
from resources.lake.lake import Lake
from resources.settings import Settings

EVERY_S = 60
TICK_S = 30.0
"""No further batch or page is begun in a tick after this; the next tick continues. Dagster ends a tick after 60 s."""
RECONCILED_FROM_H = 2
"""Hour of the day (UTC) from which all ids are compared, once a day."""


@dataclass(frozen=True)
class State:
    """What earlier ticks have done.

    pushed: for each campaign the tasks and the file that were sent completely. day: on which ids were compared last.
    reconciled: how far they were, for each campaign by version: the last task, the number of tasks, and whether it is done.
    """

    pushed: dict[str, str] = field(default_factory=dict)
    day: str = ""
    reconciled: dict[str, dict[str, tuple[int, int, bool]]] = field(default_factory=dict)

    def of_day(self, day: str) -> dict[str, dict[str, tuple[int, int, bool]]]:
        """How far ids were compared on a day."""
        return self.reconciled if self.day == day else {}


@dataclass(frozen=True)
class Plan:
    """Campaigns to send, in order; to fetch; and whether all ids are compared."""

    push: tuple[str, ...] = ()
    pull: tuple[str, ...] = ()
    is_complete: bool = False


def plan(state: State, asked: Sequence[str], digests: dict[str, str], now: datetime) -> Plan:
    """What a tick does.

    asked: campaigns with a project in the tool. digests: of the tasks and file of each present campaign; one without a file
    gets no new tasks, and its answers are still fetched.
    """
    changed = tuple(name for name in asked if name in digests and state.pushed.get(name) != digests[name])
    return Plan(changed, tuple(asked), now.hour >= RECONCILED_FROM_H)


def parse(cursor: str | None) -> State:
    """The state of a cursor; an unreadable one counts as none, which only repeats work."""
    try:
        fields = json.loads(cursor or "{}")
        reconciled = {
            name: {
                str(int(version)): (int(last), int(listed), bool(is_done))
                for version, (last, listed, is_done) in versions.items()
            }
            for name, versions in fields.get("reconciled", {}).items()
        }
        return State(dict(fields.get("pushed", {})), str(fields.get("day", "")), reconciled)
    except (ValueError, TypeError, AttributeError):
        return State()


def build_label_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor for these settings."""

    @dg.sensor(
        name="labels",
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="While Label Studio runs: sends new tasks of campaigns that were sent before, and fetches answers.",
    )
    def labels(context: dg.SensorEvaluationContext, database: Database, lake: Lake) -> dg.SkipReason:
        said = tick(settings, database, lake, context.cursor, context.update_cursor, datetime.now(UTC))
        return dg.SkipReason(said)

    return labels


def tick(
    settings: Settings,
    database: Database,
    lake: Lake,
    cursor: str | None,
    save: Callable[[str], None],
    now: datetime,
) -> str:
    """One tick. Returns a sentence for the sensor's page. Errors of one campaign do not keep others from their turn."""
    from pipeline_assets.errors import DarkroomError, LabelToolAway
    from pipeline_assets.labeling.campaigns import campaign
    from pipeline_assets.labeling.exchange import studio
    from pipeline_assets.labeling.exchange.projects import projects_of
    from pipeline_assets.labeling.exchange.pull import Comparison, Pulled
    from resources.errors import AlreadyRunning, ResourceError
    from resources.servers import labeling

    if labeling.found(settings) is None:
        return "Label Studio does not run: `darkroom label up` starts it."
    until = time.monotonic() + TICK_S
    state, said, done = parse(cursor), list[str](), dict[str, str]()
    today = now.date().isoformat()
    compared = {
        name: {int(version): Comparison(*one) for version, one in versions.items()}
        for name, versions in state.of_day(today).items()
    }
    with studio.opened(settings, database, lambda line: None) as tool:
        asked = list(dict.fromkeys(one.campaign for one in projects_of(database, tool.name)))
        tasks = lake.version(studio.TASKS) if lake.exists(studio.TASKS) else None
        usable, faults = campaign.usable(settings.campaigns)
        said.extend(faults.values())
        present = {one.name: one for one in usable}
        digests = {name: f"{tasks} {one.digest}" for name, one in present.items() if tasks is not None}
        planned = plan(state, asked, digests, now)

        def send(name: str) -> None:
            pushed = studio.push_campaign(settings, tool, present[name], until=until)
            said.extend([f"{name}: {pushed.sent:,} tasks sent"] if pushed.sent else [])
            done.update({name: digests[name]} if not pushed.left else {})

        def fetch(name: str) -> None:
            of_name = compared.setdefault(name, {}) if planned.is_complete else None
            parts: list[Pulled] = []
            try:
                studio.pull_campaign(settings, tool, name, compared=of_name, until=until, done=parts)
            finally:
                number = sum(part.landed.new + part.landed.revised + part.deleted for part in parts)
                said.extend([f"{name}: {number:,} answers"] if number else [])

        for work, name in [*((send, name) for name in planned.push), *((fetch, name) for name in planned.pull)]:
            try:
                work(name)
            except (AlreadyRunning, LabelToolAway) as error:
                return str(error)
            except (DarkroomError, ResourceError) as error:
                said.append(f"{name}: {error}")
    reconciled = {
        name: {str(version): (one.after_id, one.listed, one.is_done) for version, one in versions.items()}
        for name, versions in compared.items()
    }
    save(json.dumps(asdict(State({**state.pushed, **done}, today, reconciled))))
    return "; ".join(said) or "Nothing new."

"""`darkroom run`: import photos, list the bucket, launch Dagster runs, and print the results."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import dagster as dg
import sqlalchemy.exc
from dagster_postgres.utils import DagsterPostgresException
from rich.text import Text

from pipeline_assets.framework.partitions import set_aside
from pipeline_assets.framework.planning import stale_days
from pipeline_assets.nightly import dagster_runs, night
from pipeline_assets.nightly.bucket import discover
from pipeline_assets.nightly.served import print_prediction
from pipeline_assets.nightly.summary import print_summary
from pipeline_assets.nightly.turns import spans_of, turn, wait_for_others
from pipeline_assets.runtime.terminal import Terminal
from pipeline_assets.runtime.visible import one_line
from pipeline_assets.sample import importing
from pipeline_assets.sample.uploading import import_source
from resources.assembly import resolve
from resources.database import seen_objects
from resources.database.claims import Holder
from resources.database.contract import Database
from resources.errors import StoreUnavailable
from resources.objects.resource import Objects
from resources.servers.dagster_instance import open_instance
from resources.servers.run_processes import end_dead_runs
from resources.settings import Settings


def run_everything(
    settings: Settings,
    build: Callable[[Settings], dg.Definitions],
    photos: str | None,
    days: int,
    today: date,
    console: Terminal,
) -> bool:
    """Import photos, materialize every day that is not current, and print a summary. Returns whether every run succeeded.

    build: creates the definitions whose assets run.
    """
    started = time.monotonic()
    resources = resolve(settings)
    with turn(resources["database"], "darkroom run") as holder:
        launches = _import_and_discover(settings, resources, photos, days, today, console)
        holder.narrow(spans_of(launches))
        done = _launch_all(settings, build, resources, launches, holder, console)
    if done.succeeded and not done.timings:
        console.print("Nothing has changed: every asset is current, and no run was needed.", style="green")
    print_summary(settings, resources, done.timings, done.speed, console)
    if done.timings:
        print_prediction(settings, resources, console)
    console.print(f"Done in {time.monotonic() - started:.1f} s.")
    return done.succeeded


def _import_and_discover(
    settings: Settings, resources: Mapping[str, Any], photos: str | None, days: int, today: date, console: Terminal
) -> list[night.Launch]:
    """Import the requested photos, list the bucket into the ledger, and return the runs of all days."""
    database: Database = resources["database"]
    uploads: Objects = resources["uploads"]
    new = discover(database, uploads)
    is_empty = seen_objects.object_days(database, uploads.bucket).is_empty()
    if photos is not None or (is_empty and settings.embedded):
        import_source(settings, photos or importing.SAMPLE, days, today, console)
        new += discover(database, uploads)
    elif is_empty:
        console.print(
            f"{settings.uploads_url} holds no uploads yet. Put photos there, or import some: darkroom run --photos FOLDER. "
            f"The sample that comes along is --photos {importing.SAMPLE}."
        )
    console.print(f"Uploads bucket: {new:,} new object versions." if new else "Uploads bucket: nothing new.")
    upload_days = seen_objects.upload_days(database, uploads.bucket)
    log_days = night.log_days(resources["lake_bucket"], today)
    for sentence in [*set_aside("uploads", upload_days, today), *set_aside("logs", log_days, today)]:
        console.print(Text("Set aside:", "yellow"), one_line(sentence))
    return night.launches(upload_days, log_days, today)


@dataclass
class _Done:
    """The outcome of the runs so far. timings: seconds by asset; speed: the numbers of `photo_classes`."""

    succeeded: bool = True
    timings: dict[str, float] = field(default_factory=dict)
    speed: dict[str, float] = field(default_factory=dict)

    def add(self, result: dg.ExecuteInProcessResult) -> None:
        """Add the outcome of one run."""
        self.timings |= dagster_runs.durations(result)
        self.speed |= dagster_runs.facts(result, "photo_classes")
        self.succeeded = self.succeeded and result.success and not dagster_runs.failures(result)


def _launch_all(
    settings: Settings,
    build: Callable[[Settings], dg.Definitions],
    resources: Mapping[str, Any],
    launches: Sequence[night.Launch],
    holder: Holder,
    console: Terminal,
) -> _Done:
    """Execute the launches that have stale days."""
    done, run_ids = _Done(), list[str]()
    defs, instance = build(settings), open_instance(settings)
    with instance, dagster_storage_reached():
        end_dead_runs(instance, is_database_here="postgres" in settings.embedded_servers)
        for launch in launches:
            if not _is_stale(launch, resources):
                continue
            wait_for_others(holder, instance, launch, console)
            if not _is_stale(launch, resources):
                continue
            result = execute_and_print(defs, instance, launch, "darkroom run", run_ids, console)
            run_ids.append(result.run_id)
            done.add(result)
            if not dagster_runs.is_safe(result):
                break
    return done


def _is_stale(launch: night.Launch, resources: Mapping[str, Any]) -> bool:
    """Whether a run would compute a day. No asset is asked after the first that has one."""
    return any(stale_days(name, launch.days(), resources["database"], resources) for name in launch.assets)


def execute_and_print(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    launch: night.Launch,
    launched_by: str,
    after: Sequence[str],
    console: Terminal,
    *,
    is_forced: bool = False,
) -> dg.ExecuteInProcessResult:
    """Execute one launch by `dagster_runs.execute`; print its assets and days before it, and failed steps after it."""
    console.print(Text(", ".join(launch.assets), "bold"), f" {launch.first} to {launch.last}")
    result = dagster_runs.execute(defs, instance, launch, launched_by, after, is_forced=is_forced)
    for step, reason in dagster_runs.failures(result).items():
        console.print(Text(f"{step} failed:", "red"), reason.replace("\n", "\n  "))
    return result


@contextmanager
def dagster_storage_reached() -> Iterator[None]:
    """Raise StoreUnavailable if Dagster can't write its events: its run ends there, whatever the step was."""
    try:
        yield
    except (sqlalchemy.exc.DBAPIError, DagsterPostgresException) as error:
        # Closing the run's dead connections would print a traceback for each.
        logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
        cause = error if isinstance(error, sqlalchemy.exc.DBAPIError) else error.__cause__
        message = str(getattr(cause, "orig", cause)).splitlines()[0]
        raise StoreUnavailable(
            "Dagster's database (DARKROOM_DAGSTER_POSTGRES_URL, else files in DAGSTER_HOME) went away or has no free "
            f"connection, and the run ended with it. What was committed is kept: run again. It said: {message}"
        ) from error

"""`darkroom online`: what the online store has, its rebuilding from the lake, and its sweep."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from rich.table import Table as Grid
from rich.text import Text

from pipeline_assets.errors import NothingToServe
from pipeline_assets.nightly import dagster_runs
from pipeline_assets.nightly.night import Launch
from pipeline_assets.nightly.run import dagster_storage_reached, execute_and_print
from pipeline_assets.nightly.turns import turn, wait_for_others
from pipeline_assets.runtime.terminal import Terminal
from pipeline_assets.serving.log.lately import lately
from resources.assembly import resolve
from resources.database import ledger
from resources.online.contract import OnlineStore
from resources.servers.dagster_instance import open_instance
from resources.servers.run_processes import end_dead_runs
from resources.settings import Settings

ASSET = "online_features"


def facts(store: OnlineStore, now: datetime) -> dict[str, Any]:
    """What a store has. Times are datetimes; a lag is in seconds, and null if nothing is there to be late."""
    statistics, current = store.statistics(), store.current()
    replaced = [one.number for one in store.generations() if one.replaced_at is not None]
    draft = store.draft()
    generation = None
    if current is not None:
        answers_until = current.t0 + timedelta(seconds=current.horizon_s)
        generation = {
            **{name: value for name, value in asdict(current).items() if name not in ("is_complete", "replaced_at")},
            "answers_until": answers_until,
            "is_too_old": answers_until < now,
            "lag_s": (now - (current.applied_at or current.t0)).total_seconds(),
        }
    return {
        "server": statistics.server,
        "generation": generation,
        "readable_older": replaced,
        "waiting_draft": draft.number if draft else None,
        "values": statistics.rows,
        "streamed_values": statistics.streamed,
        "stored_bytes": statistics.stored_bytes,
        "writer": statistics.lease.owner if statistics.lease else None,
    }


def _served(served: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """What the newest day of the log of asks is judged to be."""
    if served is None:
        return [("served", "nothing is logged yet")]
    counts = ", ".join(f"{number:,} {name}" for name, number in served["skew"].items())
    lines = [("served", f"{served['asks']:,} asks on {served['day']}: {counts}, replayed offline")]
    if drift := served["drift"]:
        named = ", ".join(f"{one['column']} ({one['change']})" for one in drift["features"] if one["is_alarm"])
        text = f"{drift['alarms']} of {drift['compared']} features on {drift['day']} differ from the training set"
        lines.append(("drift", f"{text}{': ' if named else ''}{named}"))
    return lines


def print_status(settings: Settings, console: Terminal) -> bool:
    """Print what the store has. Returns whether it answers for the present."""
    stored = _facts(settings)
    generation = stored["generation"]
    grid = Grid(title=f"Online store: {stored['server']}", show_header=False)
    for name, value in [*_lines(stored), *_served(stored["served"])]:
        grid.add_row(name, value)
    console.print(grid)
    if generation is None:
        console.print(Text("Nothing is published:", "yellow"), "`darkroom online rebuild` builds it from the lake.")
    elif generation["is_too_old"]:
        console.print(
            Text("Too old:", "yellow"),
            f"its values answer for moments until {generation['answers_until']:%Y-%m-%d %H:%M} UTC. The nightly run, "
            "`darkroom refresh` or `darkroom online rebuild` builds the next generation.",
        )
    return generation is not None and not generation["is_too_old"]


def status_json(settings: Settings) -> str:
    """The same as JSON. Times are ISO 8601 in UTC."""
    return json.dumps(_facts(settings), indent=2, default=lambda time: time.isoformat())


def sweep(settings: Settings, console: Terminal, keep: int, *, is_rehearsal: bool) -> None:
    """Remove what no readable generation shows."""
    store = resolve(settings)["online"].open()
    try:
        removed = store.sweep(keep, is_rehearsal=is_rehearsal)
    finally:
        store.close()
    console.print(f"{removed:,} values that nobody reads {'would be' if is_rehearsal else 'are'} removed.")


def rebuild(settings: Settings, build: Callable[[Settings], dg.Definitions], console: Terminal) -> bool:
    """Materialize the newest day of online features, also if the ledger has it. Returns whether that succeeded.

    Raises NothingToServe if no run has computed the event log yet.
    """
    resources: Mapping[str, Any] = resolve(settings)
    day = ledger.newest_day(resources["database"], ASSET) or ledger.newest_day(resources["database"], "event_log")
    if day is None:
        raise NothingToServe(
            "No day of the event log is computed yet, from which the online store is built: `darkroom run`."
        )
    launch = Launch((ASSET,), day, day)
    defs, instance = build(settings), open_instance(settings)
    with turn(resources["database"], "darkroom online rebuild", [launch]) as holder, instance, dagster_storage_reached():
        end_dead_runs(instance, is_database_here="postgres" in settings.embedded_servers)
        wait_for_others(holder, instance, launch, console)
        result = execute_and_print(defs, instance, launch, "darkroom online rebuild", [], console, is_forced=True)
        if not dagster_runs.is_safe(result):
            return False
    return print_status(settings, console) and result.success


def _facts(settings: Settings) -> dict[str, Any]:
    parts = resolve(settings)
    store = parts["online"].open()
    try:
        return {**facts(store, datetime.now(UTC)), "served": lately(parts["lake"])}
    finally:
        store.close()


def _lines(stored: Mapping[str, Any]) -> list[tuple[str, str]]:
    generation = stored["generation"]
    lines = []
    if generation is not None:
        behind = "the stream's last change" if generation["applied_at"] else "its last moment"
        lines = [
            ("generation", f"{generation['number']}, published {generation['published_at']:%Y-%m-%d %H:%M:%S} UTC"),
            ("answers for", f"{generation['t0']:%Y-%m-%d %H:%M} to {generation['answers_until']:%Y-%m-%d %H:%M} UTC"),
            ("users", f"{generation['users']:,}"),
            ("lag", f"{timedelta(seconds=round(generation['lag_s']))} since {behind}"),
            ("built", f"{generation['bytes']:,} bytes of keys and values"),
        ]
    waiting = stored["waiting_draft"]
    return [
        *lines,
        ("values", f"{stored['values']:,}, of which {stored['streamed_values']:,} streamed"),
        ("space", f"{stored['stored_bytes']:,} bytes"),
        ("older generations", ", ".join(map(str, stored["readable_older"])) or "none"),
        ("writer", stored["writer"] or "none"),
        *([("waiting", f"generation {waiting}, which the writer publishes")] if waiting else []),
    ]

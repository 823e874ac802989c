"""Commands claim the days that they compute, and wait for other processes that compute the same days."""

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime

import dagster as dg

from pipeline_assets.nightly.calendars import ASSETS
from pipeline_assets.nightly.night import Launch
from pipeline_assets.runtime.terminal import Terminal
from resources.database import claims
from resources.database.claims import Holder, Span
from resources.database.contract import Database
from resources.servers.run_processes import is_alive_here
from sensors.live_runs import COMPUTING, live_runs

POLL_S = 1.0


def spans_of(launches: Sequence[Launch]) -> list[Span]:
    """One span for each asset of each launch."""
    return [Span(asset, launch.first, launch.last) for launch in launches for asset in launch.assets]


@contextmanager
def turn(database: Database, command: str, launches: Sequence[Launch] | None = None) -> Iterator[Holder]:
    """Claim the days of the launches while the block runs; without launches, all days of all assets."""
    spans = [Span(asset, date.min, date.max) for asset in ASSETS] if launches is None else spans_of(launches)
    with claims.hold(database, f"{command}, process {os.getpid()} on {socket.gethostname()}", spans) as holder:
        yield holder


def wait_for_others(holder: Holder, instance: dg.DagsterInstance, launch: Launch, console: Terminal) -> None:
    """Return once no other process computes a day of this launch: no older claim and no live run of this machine has one.

    Runs of other machines are ignored, since their death would go unnoticed. No new run starts meanwhile: the days are
    claimed.
    """
    shown: list[str] = []
    while others := _others(holder, instance, spans_of([launch])):
        if others != shown:
            console.print(f"Waiting: days of these tables are being computed by {', and by '.join(others)}.")
            shown = others
        time.sleep(POLL_S)


def _others(holder: Holder, instance: dg.DagsterInstance, spans: Sequence[Span]) -> list[str]:
    runs = [
        f"run {live_run.run.run_id[:8]} of {live_run.run.job_name}"
        for live_run in live_runs(instance, datetime.now(UTC), COMPUTING)
        if any(own.overlaps(other) for own in spans for other in live_run.spans) and is_alive_here(instance, live_run.run)
    ]
    return [*(claim.who for claim in holder.older_claims(spans)), *runs]

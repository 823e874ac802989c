"""Whose turn it is: a command waits for older claims and for living runs, and for nothing that is dead or elsewhere."""

import io
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from datetime import date, timedelta

import dagster as dg
import pytest

from pipeline_assets.nightly.night import Launch
from pipeline_assets.nightly.turns import spans_of, turn, wait_for_others
from pipeline_assets.runtime.terminal import Terminal
from resources.database.claims import Span
from resources.database.contract import Database
from resources.servers.run_processes import PROCESS_TAG, process_tags

DAY = date(2026, 3, 1)
LAUNCH = Launch(("raw_uploads", "photo_classes"), DAY, DAY + timedelta(days=2))
OTHER = Launch(("raw_uploads",), DAY + timedelta(days=3), DAY + timedelta(days=9))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def add_run(instance: dg.DagsterInstance, process: str | None, launch: Launch = LAUNCH) -> dg.DagsterRun:
    """A run that has started, of a process with this tag."""
    tags = {
        "dagster/asset_partition_range_start": str(launch.first),
        "dagster/asset_partition_range_end": str(launch.last),
        **({PROCESS_TAG: process} if process else {}),
    }
    selection = frozenset(map(dg.AssetKey, launch.assets))
    run = dg.DagsterRun(
        job_name="any", run_id=str(uuid.uuid4()), status=dg.DagsterRunStatus.STARTED, tags=tags, asset_selection=selection
    )
    return instance.add_run(run)


def ended_process() -> str:
    """The tag of a process that has ended."""
    code = "from resources.servers.run_processes import process_tags; print(*process_tags().values())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_spans_of_a_launch_are_its_days_of_each_asset() -> None:
    assert spans_of([LAUNCH]) == [Span("raw_uploads", DAY, LAUNCH.last), Span("photo_classes", DAY, LAUNCH.last)]


@pytest.mark.slow
def test_nothing_is_waited_for_that_is_of_other_days_or_dead_or_cannot_be_known(
    database: Database, instance: dg.DagsterInstance
) -> None:
    add_run(instance, process_tags()[PROCESS_TAG], OTHER)
    add_run(instance, ended_process())
    add_run(instance, "elsewhere 1 2 boot pid:[1] machine")
    add_run(instance, None)
    output = io.StringIO()
    with turn(database, "first", [OTHER]), turn(database, "me", [LAUNCH]) as mine, turn(database, "later"):
        wait_for_others(mine, instance, LAUNCH, Terminal(file=output))
    assert output.getvalue() == ""


@pytest.mark.slow
def test_an_older_claim_and_a_living_run_are_waited_for_and_told(database: Database, instance: dg.DagsterInstance) -> None:
    run = add_run(instance, process_tags()[PROCESS_TAG])
    output = io.StringIO()
    is_told = threading.Event()

    class Told(Terminal):
        def print(self, *words: object, **options: object) -> None:
            super().print(*words)
            is_told.set()

    with turn(database, "darkroom run") as first, turn(database, "darkroom refresh", [LAUNCH]) as second:
        assert first.older_claims(spans_of([LAUNCH])) == []
        console = Told(file=output, width=400)
        waiting = threading.Thread(target=wait_for_others, args=(second, instance, LAUNCH, console))
        waiting.start()
        assert is_told.wait(30)
        assert "darkroom run, process" in output.getvalue()
        assert f"run {run.run_id[:8]} of any" in output.getvalue()
        is_told.clear()
        first.narrow([])
        assert is_told.wait(30)
        assert waiting.is_alive()
        instance.report_run_failed(run, "ended")
        waiting.join(30)
        assert not waiting.is_alive()

"""`darkroom ui` with its parts killed under it (`kill -9`): they come back by themselves, and work goes on.

Driven through GraphQL over HTTP, as the browser would. One UI for all of these tests, in order.
"""

import json
import os
import re
import signal
import urllib.request
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest
from served_ui import Ui, command_line, photo, served, until

from resources.errors import StoreUnavailable
from resources.servers.embedded import Services

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

IMPORTED_DAYS = 1
BACKFILL_DAYS = 40
"""Two runs of raw_uploads, which takes 30 days a run."""

SENSORS = """
query { sensorsOrError(repositorySelector: {repositoryName: "__repository__", repositoryLocationName: "darkroom"}) {
  ... on Sensors { results { name id } } } }
"""


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Ui]:
    """Three photos, the upload sensor alone: classifying is not this story, and would take both cores."""
    root = tmp_path_factory.mktemp("faults")
    folder = root / "photos"
    folder.mkdir()
    for number in range(3):
        (folder / f"photo-{number:02}.jpg").write_bytes(photo(number))
    failed_before = request.session.testsfailed
    with served(root, folder, IMPORTED_DAYS) as running:
        sensors = ask(running, SENSORS)["sensorsOrError"]["results"]
        automation = next(sensor["id"] for sensor in sensors if sensor["name"] == "automation")
        stop = "mutation($id: String!) { stopSensor(id: $id) { __typename } }"
        assert ask(running, stop, id=automation)["stopSensor"]["__typename"] == "StopSensorMutationResult"
        yield running
    if request.session.testsfailed > failed_before:
        print(f"--- {running.log} ---\n{running.log.read_text(errors='replace')[-20_000:]}")


def ask(ui: Ui, query: str, **variables: Any) -> dict[str, Any]:
    """The data of one GraphQL answer."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{ui.url}/graphql", body, {"content-type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        answer = json.load(response)
    assert "errors" not in answer, answer["errors"]
    return answer["data"]


def answers(ui: Ui) -> bool:
    """Whether the webserver answers and reaches the code server."""
    query = "{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename } } } } }"
    try:
        entries = ask(ui, query)["workspaceOrError"]["locationEntries"]
    except OSError:
        return False
    return [entry["locationOrLoadError"]["__typename"] for entry in entries] == ["RepositoryLocation"]


def backfill(ui: Ui, asset: str, days: list[str]) -> str:
    mutation = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
        __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
    params = {"assetSelection": [{"path": [asset]}], "partitionNames": days}
    launched = ask(ui, mutation, params=params)["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    return str(launched["backfillId"])


def backfill_status(ui: Ui, backfill_id: str) -> tuple[str, list[str]]:
    """Of a backfill and of each of its runs."""
    query = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
        ... on PartitionBackfill { status runs(limit: 20) { status } } } }"""
    found = ask(ui, query, id=backfill_id)["partitionBackfillOrError"]
    return found["status"], [run["status"] for run in found["runs"]]


def failures(ui: Ui, backfill_id: str) -> list[str]:
    """Why runs of a backfill failed, as their logs have it."""
    query = """query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill {
        runs(limit: 20) { eventConnection { events { ... on RunFailureEvent { message }
        ... on ExecutionStepFailureEvent { message error { message } } } } } } } }"""
    found = ask(ui, query, id=backfill_id)["partitionBackfillOrError"]["runs"]
    return [str(event) for run in found for event in run["eventConnection"]["events"] if event]


def finished(ui: Ui, backfill_id: str) -> bool:
    """Whether it is over; an answer that fails because something was just killed is no answer."""
    try:
        status, runs = backfill_status(ui, backfill_id)
    except OSError:
        return False
    return status not in ("REQUESTED", "CANCELING") and all(run in ("SUCCESS", "FAILURE", "CANCELED") for run in runs)


def parts(words: str) -> list[psutil.Process]:
    """The processes below this one whose command line has these words."""
    return [process for process in psutil.Process().children(recursive=True) if words in command_line(process)]


def kill(words: str) -> Callable[[], bool]:
    """Kill a part. Returns what says whether another one runs in its place."""
    (victim,) = parts(words)
    victim.kill()
    return lambda: [process.pid for process in parts(words)] not in ([], [victim.pid])


def days_ending(last: date, count: int) -> list[str]:
    return [str(last - timedelta(days=back)) for back in range(count)]


def last_day(ui: Ui) -> date:
    return ui.postgres.read("select max(day) as day from objects")["day"][0]


def test_a_daemon_killed_during_a_backfill_is_started_again_and_each_day_is_there_once(ui: Ui) -> None:
    until(lambda: ui.postgres.read("select 1 from objects").height == 3, "the sensor has seen every imported file")
    days = days_ending(last_day(ui), BACKFILL_DAYS)
    backfill_id = backfill(ui, "raw_uploads", days)
    until(lambda: bool(backfill_status(ui, backfill_id)[1]), "a first run was made", 90)
    is_back = kill("dagster-daemon run")
    assert backfill_status(ui, backfill_id)[0] == "REQUESTED"

    until(is_back, "the daemon runs again", 30)
    until(lambda: finished(ui, backfill_id), "the backfill is over")

    assert backfill_status(ui, backfill_id) == ("COMPLETED_SUCCESS", ["SUCCESS"] * 2), failures(ui, backfill_id)
    entries = ui.postgres.read(
        "select day, count(*) filter (where digest <> '') as times, count(distinct digest) filter (where digest <> '') as digests "
        "from materializations where asset = 'raw_uploads' group by day"
    ).filter(pl.col("day").cast(pl.String).is_in(days))
    assert entries.height == BACKFILL_DAYS
    assert entries["digests"].to_list() == [1] * BACKFILL_DAYS
    rows = ui.lake.scan("raw_uploads").collect()
    assert rows.height == 3
    assert rows.select("key", "version_id").is_unique().all()
    assert re.search(r"\d\d:\d\d:\d\d UTC The daemon was killed by signal 9\.", ui.log.read_text())


def test_a_daemon_killed_while_it_launches_a_run_leaves_none_behind(ui: Ui) -> None:
    (code_server,) = (process for process in parts("dagster api grpc") if process.name() == "dagster")
    backfill_id = backfill(ui, "raw_uploads", days_ending(last_day(ui), IMPORTED_DAYS))
    until(lambda: backfill_status(ui, backfill_id)[1] == ["QUEUED"], "a run waits in the queue", 90, every_s=0.05)
    code_server.suspend()
    until(lambda: backfill_status(ui, backfill_id)[1] == ["STARTING"], "the daemon asks for the run's process", 60)
    is_back = kill("dagster-daemon run")
    code_server.resume()

    until(is_back, "the daemon runs again", 30)
    until(lambda: finished(ui, backfill_id), "the run is over, long before Dagster would give it up", 120)
    assert backfill_status(ui, backfill_id) == ("COMPLETED_SUCCESS", ["SUCCESS"]), failures(ui, backfill_id)


def test_code_server_and_webserver_killed_are_started_again_and_runs_go_on(ui: Ui) -> None:
    for words in ("dagster api grpc", "resources.servers.webserver"):
        until(kill(words), f"{words} runs again", 60)
    until(lambda: answers(ui), "the UI answers, and has the code", 90)
    backfill_id = backfill(ui, "photo_metadata", days_ending(last_day(ui), IMPORTED_DAYS))
    until(lambda: finished(ui, backfill_id), "a run launched afterwards is over", 120)
    assert backfill_status(ui, backfill_id) == ("COMPLETED_SUCCESS", ["SUCCESS"])


def _uploads_there(ui: Ui) -> int | None:
    """Rows of `raw_uploads`; None while the store says that it can't serve them."""
    try:
        return ui.lake.scan("raw_uploads").collect().height
    except StoreUnavailable:
        return None


def test_servers_killed_under_a_run_come_back_with_their_data_and_a_file_dropped_afterwards_is_processed(ui: Ui) -> None:
    services = Services(Path(ui.env["DARKROOM_HOME"]))
    before = services.status()
    day = last_day(ui)
    in_flight = backfill(ui, "event_log", days_ending(day, IMPORTED_DAYS))
    until(lambda: "STARTED" in backfill_status(ui, in_flight)[1], "a run is in flight", 90)
    for pid in before.pids.values():
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    until(lambda: "PostgreSQL or S3 runs again" in ui.log.read_text(), "a server's end is seen", 60)
    until(lambda: services.status().running, "both servers run again: their ends may be seen one after the other", 60)
    assert services.status().ports == before.ports
    until(lambda: _uploads_there(ui) == 3, "the tables are read again: a server answers before all of its parts do", 60)
    until(lambda: finished(ui, in_flight), "the run that they were killed under has ended, one way or the other", 180)

    ui.uploads.put(f"uploads/{day}/1/after.jpg", photo(99))
    rerun = backfill(ui, "event_log", days_ending(day, IMPORTED_DAYS))
    until(lambda: finished(ui, rerun), "the re-run is over", 120)
    assert backfill_status(ui, rerun) == ("COMPLETED_SUCCESS", ["SUCCESS"])
    events = ui.lake.scan("event_log").collect()
    assert events.height > 0
    assert events["event_id"].is_unique().all()

    def processed() -> bool:
        return ui.lake.scan("raw_uploads", [day]).filter(pl.col("key").str.ends_with("after.jpg")).collect().height == 1

    until(processed, "the dropped file has its row", 120)

"""Tasks to Label Studio and answers back, killed at random points, beside Label Studio's own ways: export, snapshot, sync.

    python -m benchmarks.labels_sync [--tasks 100000] [--tools FOLDER] [--quick]

Server CPU is that of Label Studio's process. --tools: where its environment is or will be installed.
"""

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import psutil

from benchmarks.figures import ROOT, Figure, add_options, at_least, at_most, finish
from pipeline_assets.labeling.campaigns.campaign import Campaign
from pipeline_assets.labeling.campaigns.tasks import task_key
from pipeline_assets.labeling.exchange.label_studio import LabelStudio
from pipeline_assets.labeling.exchange.projects import Project, Tool, project_of
from pipeline_assets.labeling.exchange.pull import Pulled, pull
from pipeline_assets.labeling.exchange.push import Ask, push
from pipeline_assets.labeling.exchange.reading import reader_of
from pipeline_assets.labeling.exchange.store import Request, requested
from resources.database.sqlite import Sqlite
from resources.servers import labeling
from resources.servers.embedded import Services
from resources.servers.label_studio import NAME
from resources.servers.server_state import alive_servers, read_state
from resources.settings import Settings

DAY, CLASSES = date(2026, 3, 1), ["cat", "dog", "bird"]
KILLS = 10
"""Of the push, and as many of the pull."""
EDITS, DELETIONS = 100, 10


class TimedLabelStudio(LabelStudio):
    """The client, with the longest time of a request in seconds."""

    longest_s = 0.0

    def _once(self, *arguments: Any) -> tuple[Any, int]:
        began = time.monotonic()
        try:
            return super()._once(*arguments)
        finally:
            self.longest_s = max(self.longest_s, time.monotonic() - began)


def campaign(name: str) -> Campaign:
    """A question about titles."""
    return Campaign.model_validate(
        {"name": name, "question": "Which animal?", "kind": "class", "classes": CLASSES, "target": "title", "votes": 1}
    )


def asks(asked: Campaign, number: int, *, answered: bool) -> list[Ask]:
    """Tasks, with an annotation each if they are answered."""
    made = []
    for position in range(number):
        sha256 = hashlib.sha256(f"{asked.name} {position}".encode()).hexdigest()
        key = task_key(asked.name, 1, "title", sha256)
        fields: dict[str, Any] = {"data": {"task_key": key, "text": f"title {position}"}}
        if answered:
            value = {"choices": [CLASSES[int(key[:8], 16) % 3]]}
            result = [{"from_name": "answer", "to_name": "item", "type": "choices", "value": value}]
            unique_id = str(uuid.UUID(key[:32]))
            fields["annotations"] = [{"result": result, "unique_id": unique_id, "ground_truth": False, "lead_time": 2.0}]
        made.append(Ask(Request(key, DAY, f"uploads/{DAY}/1/{position}.jpg", "title", sha256), fields))
    return made


def main() -> None:
    """Measure; with --child, be the process that is killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, help="number of tasks and answers; default 100,000, or 2,000 with --quick")
    parser.add_argument("--tools", type=Path, default=ROOT / "build" / "tools-of-tests")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    add_options(parser)
    options = parser.parse_args()
    if options.child:
        _child(json.load(sys.stdin))
        return
    number = options.tasks or (2_000 if options.quick else 100_000)
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "files"  # Label Studio may show what is in it, and read tasks from it
        files.mkdir()
        settings = Settings(home=Path(folder) / "home", tools_dir=options.tools.absolute(), uploads_url=files.as_uri())
        try:
            account = labeling.start(settings, print)
            server = psutil.Process(alive_servers(read_state(settings.home))[NAME].pid)
            with TimedLabelStudio(account.url, account.token) as client:
                figures, details = _measure(_Bench(Path(folder), client, account.token, server, number))
        finally:
            Services(settings.home).stop()
    finish(options, "labels_sync", figures, details)


class _Bench:
    """The parts of a measurement."""

    def __init__(self, folder: Path, client: TimedLabelStudio, token: str, server: psutil.Process, number: int) -> None:
        self.folder, self.client, self.token, self.server, self.number = folder, client, token, server, number

    def tool(self, database: str) -> Tool:
        """The tool with a database of this name."""
        (self.folder / "databases").mkdir(exist_ok=True)
        opened = Sqlite(url=f"sqlite:///{self.folder / 'databases' / database}.db")
        opened.migrate()
        return Tool("label-studio:bench", self.client, opened, lambda line: None)

    def used(self, work: Callable[[], Any]) -> tuple[float, float, Any]:
        """Server CPU and wall seconds of some work, and its result."""
        before, began = self.server.cpu_times(), time.monotonic()
        result = work()
        after = self.server.cpu_times()
        cpu_s, wall_s = after.user + after.system - before.user - before.system, time.monotonic() - began
        print(f"{cpu_s:.1f} s of the server's CPU in {wall_s:.1f} s", flush=True)
        return cpu_s, wall_s, result

    def killed(self, what: str, database: str, seed: int) -> int:
        """Run a child until it ends, killed -9 at random times before. Returns the number of kills."""
        draw, kills = random.Random(seed), 0
        orders = {
            "what": what,
            "url": self.client.url,
            "token": self.token,
            "number": self.number,
            "folder": str(self.folder),
        }
        command = [sys.executable, "-m", "benchmarks.labels_sync", "--child"]
        given = json.dumps({**orders, "database": database}).encode()  # not as an argument: it has the token
        while True:
            child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            assert child.stdin is not None
            with child.stdin:
                child.stdin.write(given)
            try:
                patience_s = draw.uniform(3, 15) if kills < KILLS else None
                assert child.wait(patience_s) == 0, "the child failed"
                return kills
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                kills += 1


def _child(orders: dict[str, Any]) -> None:
    with LabelStudio(orders["url"], orders["token"]) as client:
        database = Sqlite(url=f"sqlite:///{Path(orders['folder']) / 'databases' / orders['database']}.db")
        tool = Tool("label-studio:bench", client, database, lambda line: None)
        asked = campaign("answered")
        if orders["what"] == "push":
            push(tool, asked, asks(asked, orders["number"], answered=True), settle_s=20)
        else:
            _pull(tool, asked)


def _pull(tool: Tool, asked: Campaign) -> Pulled:
    project = _project(tool, asked)
    return pull(tool, project, reader_of(tool.name, asked, requested(tool.database, tool.name, asked), {}))


def _project(tool: Tool, asked: Campaign) -> Project:
    project = project_of(tool.database, tool.name, asked.name, 1)
    assert project is not None
    return project


def _answers(tool: Tool) -> list[tuple[str, str]]:
    """Task and answer, of each that counts in its newest revision."""
    newest = "(select max(b.revision) from label_answers b where b.source = a.source and b.source_id = a.source_id)"
    query = f"select task_key, answer_json from label_answers a where not is_deleted and revision = {newest}"  # noqa: S608
    return sorted(tool.database.rows(query))


def _digest(rows: object) -> str:
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _measure(bench: _Bench) -> tuple[list[Figure], dict[str, Any]]:
    """All figures, and what they are made of."""
    number, share = bench.number, bench.number / 100_000
    plain, whole = bench.tool("plain"), bench.tool("whole")
    asked = campaign("answered")
    push_cpu, push_wall, _ = bench.used(
        lambda: push(plain, campaign("plain"), asks(campaign("plain"), number, answered=False))
    )
    bench.tool("killed")
    killed_push_cpu, _, push_kills = bench.used(lambda: bench.killed("push", "killed", 1))
    killed = bench.tool("killed")
    for table in ("label_campaigns", "label_requests", "label_projects"):
        rows = killed.database.rows(f"select * from {table}")  # noqa: S608
        marks = ", ".join(["%s"] * len(rows[0]))
        with whole.database.connect() as transaction:
            for row in rows:
                transaction.execute(f"insert into {table} values ({marks})", row)  # noqa: S608
    project = _project(whole, asked)
    there = bench.client.project(project.project_id)
    pull_cpu, pull_wall, _ = bench.used(lambda: _pull(whole, asked))
    _, _, pull_kills = bench.used(lambda: bench.killed("pull", "killed", 2))
    expected = [
        (ask.key, json.dumps({"choice": CLASSES[int(ask.key[:8], 16) % 3]}, separators=(",", ":")))
        for ask in asks(asked, number, answered=False)
    ]
    digests = {_digest(sorted(expected)), _digest(_answers(whole)), _digest(_answers(killed))}
    time.sleep(31)  # beyond the overlap of pulls
    _pull(whole, asked)
    time.sleep(31)
    quiet_cpu, quiet_wall, quiet = bench.used(lambda: _pull(whole, asked))
    assert quiet.landed.new == quiet.landed.revised == 0
    arrived = _changes(bench, whole, asked, project)
    longest = bench.client.longest_s
    export_cpu, export_wall, exported = bench.used(
        lambda: bench.client._ask(
            "GET", f"/api/projects/{project.project_id}/export", {"exportType": "JSON"}, timeout_s=3_600
        )
    )
    snapshot_cpu, snapshot_wall, _ = bench.used(lambda: _snapshot(bench.client, project.project_id))
    sync_cpu, sync_wall, synced = bench.used(lambda: _sync(bench, min(number, 1_000)))
    size = f"{number:,} tasks"
    return [
        Figure(f"push of {size}, server CPU", push_cpu, "s", at_most(120 * share), f"{push_wall:.0f} s wall"),
        Figure(f"push of {size} with answers, killed {push_kills} times, server CPU", killed_push_cpu, "s"),
        Figure(f"tasks lost or doubled by {push_kills} kills", abs(there["task_number"] - number), "tasks", at_most(0)),
        Figure(f"pull of {number:,} answers, server CPU", pull_cpu, "s", at_most(200 * share), f"{pull_wall:.0f} s wall"),
        Figure(f"different digests: expected, undisturbed, killed {pull_kills} times", len(digests), "digests", at_most(1)),
        Figure("longest request", longest, "s", at_most(10)),
        Figure("pull with nothing new", quiet_wall, "s", at_most(2), f"{quiet_cpu:.2f} s server CPU"),
        Figure(f"{EDITS} edits and {DELETIONS} deletions that arrive", arrived, "changes", at_least(EDITS + DELETIONS)),
        Figure(
            f"easy export of {size}, server CPU",
            export_cpu,
            "s",
            None,
            f"one request of {export_wall:.0f} s, all again each time; {len(exported):,} tasks",
        ),
        Figure(
            f"snapshot of {size}, server CPU",
            snapshot_cpu,
            "s",
            None,
            f"{snapshot_wall:.0f} s wall; all again each time, no deletions",
        ),
        Figure(
            f"storage sync of {synced:,} tasks, server CPU",
            sync_cpu,
            "s",
            None,
            f"one request of {sync_wall:.0f} s, one task after the other",
        ),
    ], {"tasks": number, "kills": push_kills + pull_kills}


def _changes(bench: _Bench, tool: Tool, asked: Campaign, project: Project) -> int:
    """Edit and delete answers. Returns how many of the changes the next pull brings."""
    tasks = [task for page in bench.client.pages(project.project_id, fields="id,annotations") for task in page.tasks]
    chosen = random.Random(3).sample(tasks, EDITS + DELETIONS)
    value = {"choices": ["bird"]}
    result = [{"from_name": "answer", "to_name": "item", "type": "choices", "value": value}]
    for task in chosen[:EDITS]:
        bench.client._ask("PATCH", f"/api/annotations/{task['annotations'][0]['id']}", body={"result": result})
    for task in chosen[EDITS:]:
        bench.client._ask("DELETE", f"/api/annotations/{task['annotations'][0]['id']}")
    pulled = _pull(tool, asked)
    return pulled.landed.revised + pulled.deleted


def _snapshot(client: LabelStudio, project: int) -> None:
    made = client._ask(
        "POST", f"/api/projects/{project}/exports", body={"title": "snapshot"}, timeout_s=3_600, is_repeatable=False
    )
    client._ask("GET", f"/api/projects/{project}/exports/{made['id']}/download", {"exportType": "JSON"}, timeout_s=3_600)


def _sync(bench: _Bench, number: int) -> int:
    """Tasks as files of a folder that Label Studio reads. Returns the number that arrived."""
    folder = bench.folder / "files" / "tasks"
    folder.mkdir(parents=True)
    for position in range(number):
        (folder / f"{position}.json").write_text(json.dumps({"text": f"title {position}"}))
    config = (
        '<View><Text name="item" value="$text"/><Choices name="answer" toName="item"><Choice value="cat"/></Choices></View>'
    )
    project = bench.client.create_project({"title": "storage sync", "label_config": config})
    fields = {"project": project, "path": str(folder), "use_blob_urls": False, "title": "tasks"}
    storage = bench.client._ask("POST", "/api/storages/localfiles", body=fields, is_repeatable=False)
    bench.client._ask("POST", f"/api/storages/localfiles/{storage['id']}/sync", timeout_s=3_600, is_repeatable=False)
    return int(bench.client.project(project)["task_number"] or 0)


if __name__ == "__main__":
    main()

"""A small stand-in for Label Studio, for what a real one can't be made to show: it lists, imports and deletes tasks."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from studio_world import choice

from pipeline_assets.labeling.exchange.label_studio import LabelStudio
from pipeline_assets.labeling.exchange.projects import Tool
from resources.database.contract import Database

Answered = tuple[int, Any]
Hook = Callable[[str, str, Mapping[str, str]], Answered | None]


def nothing(method: str, path: str, query: Mapping[str, str]) -> Answered | None:
    """A hook that leaves the answer to the stand-in."""


class StandIn:
    """tasks by id, titles of projects by id; log: method, path and token of each request. hook: may answer in its place."""

    def __init__(self) -> None:
        self.tasks: dict[int, dict[str, Any]] = {}
        self.projects: dict[int, str] = {}
        self.log: list[tuple[str, str, str | None]] = []
        self.hook: Hook = nothing
        self.url = ""
        self.clients: list[LabelStudio] = []
        self._last = {"task": 0, "annotation": 0}

    def tool(self, database: Database, name: str = "label-studio:x") -> Tool:
        """A tool whose client is closed with the stand-in."""
        self.clients.append(LabelStudio(self.url, "t" * 40, pauses_s=()))
        return Tool(name, self.clients[-1], database, lambda line: None)

    def add(self, project: int, task: Mapping[str, Any]) -> int:
        """Add a task. Returns its id."""
        self._last["task"] += 1
        number = self._last["task"]
        fields = {"id": number, "project": project, "data": task["data"], "annotations": []}
        self.tasks[number] = {**fields, "updated_at": datetime.now(UTC)}
        return number

    def annotate(self, task: int, name: str = "cat", person: int = 1, **fields: Any) -> None:
        """Somebody answers a task."""
        self._last["annotation"] += 1
        at = datetime.now(UTC)
        times = {"created_at": at.isoformat(), "updated_at": at.isoformat()}
        given = {"id": self._last["annotation"], "result": choice(name), "completed_by": person, "lead_time": 1.0, **times}
        self.tasks[task]["annotations"].append({**given, "was_cancelled": False, **fields})
        self.tasks[task]["updated_at"] = at

    def answer(self, method: str, path: str, query: Mapping[str, str], body: Any) -> Answered:
        """The status and value of an answer."""
        if method == "DELETE":
            self.tasks.pop(int(path.split("/")[3]), None)
            return 204, None
        if path == "/api/projects" and method == "GET":
            return 200, {"results": [{"id": number, "title": title} for number, title in self.projects.items()]}
        if path == "/api/projects":
            self.projects[len(self.projects) + 1] = body["title"]
            return 201, {"id": len(self.projects)}
        if path.endswith("/import"):
            ids = [self.add(int(path.split("/")[3]), task) for task in body]
            return 201, {"task_ids": ids, "task_count": len(ids), "prediction_count": 0}
        if path.startswith("/api/projects/"):
            number = int(path.split("/")[3])
            return 200, {"id": number, "task_number": sum(task["project"] == number for task in self.tasks.values())}
        return 200, self._page(query)

    def _page(self, query: Mapping[str, str]) -> dict[str, Any]:
        found = [task for task in self.tasks.values() if task["project"] == int(query["project"])]
        for one in json.loads(query["query"])["filters"]["items"]:
            if one["filter"].endswith(":id"):
                found = [task for task in found if task["id"] > one["value"]]
            else:
                since = datetime.fromisoformat(one["value"])
                found = [task for task in found if task["updated_at"] > since]
        some = sorted(found, key=lambda task: task["id"])[: int(query["page_size"])]
        shown = [{**task, "updated_at": task["updated_at"].isoformat()} for task in some]
        return {"total": len(found), "tasks": shown}


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """One on a free port while the block runs."""
    studio = StandIn()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            studio.log.append((self.command, parts.path, self.headers.get("Authorization")))
            answered = studio.hook(self.command, parts.path, query)
            status, value = answered or studio.answer(self.command, parts.path, query, body)
            data = b"" if value is None else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    studio.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield studio
    finally:
        for client in studio.clients:
            client.close()
        server.shutdown()
        thread.join()
        server.server_close()

"""Label Studio's HTTP API: the requests that Darkroom sends, over one connection that is kept, and what can go wrong.

No SDK: the tool's own needs other versions of our packages. A request that changes nothing, or the same when repeated, is
sent again after a failure; any other fails at once, and its caller finds out what arrived.
"""

import http.client
import json
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from pipeline_assets.errors import LabelToolAway, LabelToolFailed, LabelToolRefused
from pipeline_assets.runtime import strict_json

TIMEOUT_S = 60.0
IMPORT_TIMEOUT_S = 300.0
PAUSES_S = (0.5, 1.0, 2.0, 4.0)
"""Pauses before a request is repeated."""
PAGE = 500
MAX_ANSWER_BYTES = 512 << 20
_FIELDS = "id,annotations,updated_at,result,completed_by,created_at,lead_time,was_cancelled"
_FULL = ("no space left", "database or disk is full", "disk full", "disk quota", "errno 28")


@dataclass(frozen=True)
class Page:
    """Tasks in the order of their ids, as the tool describes them. total: of these and of those with higher ids."""

    tasks: list[dict[str, Any]]
    total: int

    @property
    def is_last(self) -> bool:
        """Whether no task has a higher id."""
        return self.total <= len(self.tasks)


class LabelStudio:
    """A client of one server, closed at the end of a `with` block. Not for several threads. pauses_s: see PAUSES_S.

    Every method raises LabelToolAway if the server does not answer, LabelToolRefused if it refuses the token, and
    LabelToolFailed for any other refusal, with the server's own words.
    """

    def __init__(self, url: str, token: str, *, timeout_s: float = TIMEOUT_S, pauses_s: Sequence[float] = PAUSES_S) -> None:
        self.url = url.rstrip("/")
        self._prefix = urlsplit(self.url).path
        self._headers = {"Authorization": f"Token {token}", "Accept": "application/json"}
        self._timeout_s, self._pauses_s = timeout_s, pauses_s
        self._connection: http.client.HTTPConnection | None = None
        self.server_time: datetime | None = None
        """The server's clock at its last answer, in whole seconds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def whoami(self) -> dict[str, Any]:
        """The account of the token."""
        return _mapping(self._ask("GET", "/api/current-user/whoami"))

    def projects(self, title: str) -> list[dict[str, Any]]:
        """Projects with exactly this title, the oldest first."""
        found = _mapping(self._ask("GET", "/api/projects", {"title": title, "page_size": "1000", "include": "id,title"}))
        return sorted((one for one in found["results"] if one["title"] == title), key=lambda one: one["id"])

    def create_project(self, fields: Mapping[str, Any]) -> int:
        """A new project. Returns its id."""
        return int(_mapping(self._ask("POST", "/api/projects", body=fields, is_repeatable=False))["id"])

    def project(self, project: int) -> dict[str, Any]:
        """A project's fields, with its numbers of tasks and annotations."""
        return _mapping(self._ask("GET", f"/api/projects/{project}"))

    def change_project(self, project: int, fields: Mapping[str, Any]) -> None:
        """Change fields of a project."""
        self._ask("PATCH", f"/api/projects/{project}", body=fields)

    def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Add tasks with their predictions and annotations. Returns counts, and `task_ids` in order.

        Not repeated: a second import of the same tasks adds them again. After an error it is unknown which tasks are there.
        """
        path = f"/api/projects/{project}/import?return_task_ids=true"
        return _mapping(self._ask("POST", path, body=tasks, timeout_s=IMPORT_TIMEOUT_S, is_repeatable=False))

    def page(
        self,
        project: int,
        after_id: int,
        *,
        since: str | None = None,
        fields: str = _FIELDS,
        size: int = PAGE,
        filters: Sequence[Mapping[str, Any]] = (),
    ) -> Page:
        """The next tasks by id, with their annotations. since: only those changed later; see `iso`.

        Each request is for page 1 of the tasks with a higher id: deletions and new tasks meanwhile shift nothing.
        """
        items: list[Mapping[str, Any]] = [_filter("id", "greater", "Number", after_id), *filters]
        if since is not None:
            items.append(_filter("updated_at", "greater", "Datetime", since))
        query = {"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]}
        parameters = {"project": str(project), "page": "1", "page_size": str(size), "include": fields}
        # Without `fields=all` tasks come without annotations.
        parameters |= {"fields": "all", "query": json.dumps(query)}
        answer = _mapping(self._ask("GET", "/api/tasks", parameters))
        tasks, total = answer.get("tasks"), answer.get("total")
        if not isinstance(tasks, list) or not isinstance(total, int) or (total > 0 and not tasks):
            raise LabelToolFailed(
                f"Label Studio at {self.url} says that project {project} has {total!r:.40} more tasks, and shows none: see "
                "its log, then run again. What arrived before is kept, and nothing counts as deleted.",
                is_passing=True,
            )
        return Page(tasks, total)

    def pages(self, project: int, after_id: int = 0, **options: Any) -> Iterator[Page]:
        """All pages from a task's id on."""
        while True:
            page = self.page(project, after_id, **options)
            if page.tasks:
                yield page
                after_id = page.tasks[-1]["id"]
            if page.is_last:
                return

    def annotate(self, task: int, annotation: Mapping[str, Any]) -> bool:
        """Add an annotation with a `unique_id`. Returns whether it was new: a repeated one is refused, so this is safe."""
        _, status = self._request("POST", f"/api/tasks/{task}/annotations", body=annotation, accepted=(201, 409))
        return status == http.client.CREATED

    def predict(self, prediction: Mapping[str, Any]) -> None:
        """Add a prediction to its `task`."""
        self._ask("POST", "/api/predictions", body=prediction, is_repeatable=False)

    def delete_task(self, task: int) -> None:
        """Delete a task, if it is there."""
        self._request("DELETE", f"/api/tasks/{task}", accepted=(204, 404))

    def storages(self, kind: str, project: int) -> list[dict[str, Any]]:
        """The source storages of a project. kind: `s3` or `localfiles`."""
        found = self._ask("GET", f"/api/storages/{kind}", {"project": str(project)})
        return [_mapping(one) for one in (found["results"] if isinstance(found, dict) else found)]

    def save_storage(self, kind: str, fields: Mapping[str, Any], storage: int | None = None) -> None:
        """Create a source storage, or change one. Its tasks are not synchronized: it only shows media."""
        if storage is None:
            self._ask("POST", f"/api/storages/{kind}", body=fields, is_repeatable=False)
        else:
            self._ask("PATCH", f"/api/storages/{kind}/{storage}", body=fields)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str] | None = None,
        *,
        body: object = None,
        timeout_s: float | None = None,
        is_repeatable: bool = True,
    ) -> Any:
        path = f"{path}?{urlencode(parameters)}" if parameters else path
        return self._request(method, path, body=body, timeout_s=timeout_s, is_repeatable=is_repeatable)[0]

    def _request(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        accepted: Sequence[int] = (200, 201, 204),
        timeout_s: float | None = None,
        is_repeatable: bool = True,
    ) -> tuple[Any, int]:
        """The decoded answer and its status, after repetitions."""
        pauses = list(self._pauses_s) if is_repeatable else []
        while True:
            try:
                return self._once(method, path, body, accepted, timeout_s or self._timeout_s)
            except (LabelToolAway, LabelToolFailed) as error:
                if not pauses or not (isinstance(error, LabelToolAway) or error.is_passing):
                    raise
            time.sleep(pauses.pop(0))

    def _once(self, method: str, path: str, body: object, accepted: Sequence[int], timeout_s: float) -> tuple[Any, int]:
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        headers = self._headers if data is None else {**self._headers, "Content-Type": "application/json"}
        try:
            connection = self._connected(timeout_s)
            connection.request(method, self._prefix + path, data, headers)
            response = connection.getresponse()
            content = response.read(MAX_ANSWER_BYTES + 1)
        except TimeoutError:
            self.close()
            raise LabelToolAway(
                f"Label Studio at {self.url} did not answer within {timeout_s:.0f} s: see whether its machine is busy or "
                "its disk is full, then run again. What was sent and received before is kept."
            ) from None
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise LabelToolAway(
                f"Label Studio at {self.url} can't be reached ({type(error).__name__}: {error}): start it with "
                "`darkroom label up`, or correct DARKROOM_LABEL_STUDIO_URL, then run again. What was sent and received "
                "before is kept."
            ) from None
        if response.will_close:
            self.close()
        with suppress(TypeError, ValueError):
            self.server_time = parsedate_to_datetime(response.headers["Date"]).astimezone(UTC)
        if response.status not in accepted:
            raise _refusal(self.url, f"{method} {path.partition('?')[0]}", response.status, content)
        return (self._decoded(content, path) if content else None), response.status

    def _connected(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._connection is None:
            parts = urlsplit(self.url)
            host, port = parts.hostname or "", parts.port
            if parts.scheme == "https":
                context = ssl.create_default_context()
                self._connection = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
            else:
                self._connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
        self._connection.timeout = timeout_s
        if self._connection.sock is not None:
            self._connection.sock.settimeout(timeout_s)
        return self._connection

    def _decoded(self, content: bytes, path: str) -> Any:
        try:
            if len(content) > MAX_ANSWER_BYTES:
                raise strict_json.BadJson(f"it has more than {MAX_ANSWER_BYTES >> 20} MiB")
            return strict_json.loads_leniently(content, int)
        except strict_json.BadJson as error:
            raise LabelToolFailed(
                f"What answers at {self.url} is no Label Studio, or a page of a proxy is in between: its answer to "
                f"{path.partition('?')[0]} is no JSON ({error}). Correct DARKROOM_LABEL_STUDIO_URL.",
                is_passing=False,
            ) from None


def _refusal(url: str, request: str, status: int, content: bytes) -> LabelToolFailed | LabelToolRefused:
    """The error of an answer that is not accepted, with the server's words."""
    words = content[:2_000].decode("utf-8", "replace")
    with suppress(ValueError, KeyError, TypeError):
        fields = json.loads(content)
        words = str(fields["detail"]) + (f" {fields['validation_errors']}" if fields.get("validation_errors") else "")
    words = words[:600]
    if status in (401, 403):
        return LabelToolRefused(
            f"Label Studio at {url} refuses the token (HTTP {status}: {words}): copy the legacy token from its page "
            "Account & Settings into DARKROOM_LABEL_STUDIO_TOKEN; an owner may have to allow legacy tokens "
            "under Organization."
        )
    if any(sign in words.lower() for sign in _FULL):
        return LabelToolFailed(
            f"The disk of Label Studio at {url} is full (HTTP {status}: {words}): make room there, then run again. "
            "What arrived before is kept.",
            is_passing=False,
            status=status,
        )
    advice = "run again; if it stays so, its log says more" if status >= 500 else "see whether the project is still there"
    return LabelToolFailed(
        f"Label Studio at {url} answers {request} with HTTP {status}: {words}; {advice}.",
        is_passing=status >= 500,
        status=status,
    )


def _filter(field: str, operator: str, kind: str, value: object) -> dict[str, object]:
    return {"filter": f"filter:tasks:{field}", "operator": operator, "type": kind, "value": value}


def iso(moment: datetime) -> str:
    """A time in the one form that the tool's filters read; it answers any other with 500."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def key_of(task: Mapping[str, Any]) -> str:
    """The key in a task's data; empty for a task of somebody else."""
    data = task.get("data")
    return str(data.get("task_key") or "") if isinstance(data, Mapping) else ""


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise LabelToolFailed(f"Label Studio answers with {value!r:.100}, not an object.", is_passing=False)
    return value

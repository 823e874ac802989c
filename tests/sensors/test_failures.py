"""What a failed run tells, and whom: a real run fails, its sensor runs, and a real server gets the post."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import dagster as dg
import pytest

from resources.settings import Settings
from sensors.failures import build_failure_sensor, message, post


class Webhook(HTTPServer):
    """A chat's webhook on this machine: keeps what is posted to it."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.posts: list[tuple[str, str, bytes]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((self.path, self.headers["Content-Type"], body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture(params=[200])
def webhook(request: pytest.FixtureRequest) -> Iterator[Webhook]:
    with Webhook(request.param) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_message_names_run_days_steps_and_what_to_do() -> None:
    told = message(
        "0123456789abcdef", "nightly_tables", "2026-02-01 to 2026-02-03", {"raw_uploads": "no bucket", "b": "bad"}
    )
    assert told == (
        "Run 01234567 of nightly_tables failed on 2026-02-01 to 2026-02-03. raw_uploads: no bucket; b: bad. "
        "What other days had is kept. Open the run in the UI, mend the cause, and re-execute it from failure."
    )


def test_a_run_that_failed_without_a_failed_step_says_so() -> None:
    assert "no step failed: see the run's log" in message("r", "j", "no day", {})


def test_a_post_is_json_that_chats_read(webhook: Webhook) -> None:
    post(webhook.url, 'it\'s "broken"\nü')
    ((path, kind, body),) = webhook.posts
    assert (path, kind) == ("/hook", "application/json")
    assert json.loads(body) == {"text": 'it\'s "broken"\nü'}


@pytest.mark.parametrize("webhook", [500], indirect=True)
def test_a_post_that_is_refused_is_not_taken_for_delivered(webhook: Webhook) -> None:
    with pytest.raises(OSError, match="500"):
        post(webhook.url, "x")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "hooks.example.org"])
def test_only_http_is_posted_to(url: str) -> None:
    with pytest.raises(ValueError, match="DARKROOM_ALERT_WEBHOOK"):
        post(url, "x")


def failed_run(instance: dg.DagsterInstance) -> dg.RunFailureSensorContext:
    """The context of the sensor for a real run that failed on a range of days."""

    @dg.op
    def break_() -> None:
        raise dg.Failure(description="2 of 4 days were not written", allow_retries=False)

    @dg.job
    def nightly_tables() -> None:
        break_()

    days = {"dagster/asset_partition_range_start": "2026-02-01", "dagster/asset_partition_range_end": "2026-02-03"}
    result = nightly_tables.execute_in_process(instance=instance, tags=days, raise_on_error=False)
    return dg.build_run_status_sensor_context(
        sensor_name="run_failures",
        dagster_instance=instance,
        dagster_run=result.dagster_run,
        dagster_event=result.get_run_failure_event(),
    ).for_run_failure()


def test_a_failed_run_is_posted_with_its_days_and_its_reason(webhook: Webhook) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        context = failed_run(instance)
        build_failure_sensor(Settings(alert_webhook=webhook.url))(context)
    ((_, _, body),) = webhook.posts
    text = json.loads(body)["text"]
    assert "of nightly_tables failed on 2026-02-01 to 2026-02-03. break_: 2 of 4 days were not written." in text


def test_without_a_webhook_a_failed_run_is_only_logged() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        context = failed_run(instance)
        build_failure_sensor(Settings(alert_webhook=None))(context)

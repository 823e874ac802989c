"""A real `darkroom stream` over HTTP: what it takes and refuses, and its commands."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from page_blocks import ROOT, blocks
from stream_world import Process, StreamWorld, streaming, wait_for

from pipeline_assets.errors import AskRefused
from pipeline_assets.serving.stream.http import MAX_EVENTS, lines_of
from tests.ports import free_port

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamWorld]:
    made = StreamWorld(tmp_path_factory.mktemp("stream"))
    made.write_history()
    made.publish()
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def stream(world: StreamWorld) -> Iterator[Process]:
    with streaming(world, free_port()) as process:
        yield process


def event(name: str) -> dict[str, object]:
    at = datetime.now(UTC) - timedelta(seconds=1)
    return {"event_id": name, "user_id": 1, "photo_id": 3, "kind": "like", "at": at.isoformat()}


@pytest.mark.slow
def test_batches_are_counted_by_what_became_of_them(stream: Process) -> None:
    assert stream.send([event("n-1"), event("n-1"), "junk", "", event("n-2")]) == (
        202,
        {
            "accepted": 2,
            "duplicate": 1,
            "rejected": 1,
            "rejections": [
                {
                    "index": 2,
                    "reason": "bad_json",
                    "detail": "the line is no JSON that is read: Expecting value: line 1 column 1 (char 0)",
                }
            ],
        },
    )
    for body in ([event("n-3")], {"events": [event("n-4"), event("n-2")]}, event("n-5")):
        status, counts = stream.post(json.dumps(body).encode(), JSON)
        assert (status, counts["accepted"]) == (202, 1)


@pytest.mark.slow
def test_the_request_of_the_page_is_taken(stream: Process) -> None:
    [page] = [block.code for block in blocks(ROOT / "docs" / "serving.md") if block.code.startswith("darkroom stream  ")]
    [request] = [line for line in page.splitlines() if line.startswith("curl ")]
    ours = request.replace("http://127.0.0.1:8901", f"http://127.0.0.1:{stream.port}").replace("1002", "1")
    assert ours != request
    done = subprocess.run(["bash", "-c", ours], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == {"accepted": 1, "duplicate": 0, "rejected": 0, "rejections": []}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "headers", "status", "reason"),
    [
        (b"[", JSON, 400, "bad_json"),
        (b"7", JSON, 400, "bad_json"),
        (b"[]", JSON, 400, "no_events"),
        (b"\n\n", {"content-type": "application/x-ndjson"}, 400, "no_events"),
        (b"{}", {"content-type": "text/plain"}, 415, "wrong_content_type"),
        (b"{}\n" * (MAX_EVENTS + 1), {"content-type": "application/x-ndjson"}, 413, "too_many_in_one"),
        (b"{}", {**JSON, "host": "evil.example"}, 421, "unknown_host"),
        (b"{}", {**JSON, "origin": "http://evil.example"}, 403, "foreign_origin"),
    ],
    ids=["cut", "number", "none", "blank", "type", "many", "host", "origin"],
)
def test_a_request_that_is_not_understood_is_refused_with_a_reason(
    stream: Process, body: bytes, headers: dict[str, str], status: int, reason: str
) -> None:
    answered, answer = stream.post(body, headers)
    assert (answered, answer["reason"]) == (status, reason)
    assert answer["detail"]


@pytest.mark.slow
def test_a_body_of_100_mb_is_refused_before_it_is_sent(stream: Process) -> None:
    with socket.create_connection(("127.0.0.1", stream.port), timeout=30) as connection:
        head = f"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1:{stream.port}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {100 * 2**20}\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.slow
def test_what_is_set_aside_is_listed_with_its_reason_and_metrics_count_it(world: StreamWorld, stream: Process) -> None:
    before = stream.metric('darkroom_stream_events_total{outcome="rejected"}')
    poison = ['{"event_id": 7}', '{"a":' * 90 + "1" + "}" * 90, "\x1b[31mred", '{"x": 1' + "0" * 70_000 + "}"]
    assert stream.send(poison)[1]["rejected"] == 4
    assert stream.metric('darkroom_stream_events_total{outcome="rejected"}') == before + 4
    command = [sys.executable, "-m", "pipeline_assets.cli", "stream", "dead", "--last", "4"]
    listed = subprocess.run(command, env=world.environment, capture_output=True, text=True, check=True).stdout
    assert [line.split()[2] for line in listed.splitlines()] == ["missing_field:", "bad_json:", "bad_json:", "too_long:"]
    assert "red" not in listed
    as_json = subprocess.run([*command, "--json"], env=world.environment, capture_output=True, text=True, check=True).stdout
    assert [len(json.loads(line)["raw"]) for line in as_json.splitlines()] == [15, 90 * 6 + 1, 8, 2_000]


@pytest.mark.slow
def test_a_second_stream_is_refused(world: StreamWorld, stream: Process) -> None:
    command = [sys.executable, "-m", "pipeline_assets.cli", "stream", "--port", str(free_port())]
    done = subprocess.run(command, env=world.environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "AlreadyRunning: Another `darkroom stream` has" in done.stderr


@pytest.mark.slow
def test_a_clock_set_back_does_not_set_arrivals_back(world: StreamWorld, stream: Process) -> None:
    """The stream ends, and another begins ten minutes earlier; a clock that is an hour behind takes nothing."""
    libraries = list(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if shutil.which("faketime") is None or not libraries:
        pytest.skip("no faketime here: install it with `apt-get install faketime`")
    assert stream.send([event("before")])[0] == 202
    stream.end()
    faked = {"LD_PRELOAD": str(libraries[0]), "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    with streaming(world, free_port(), **faked, FAKETIME="-600s") as behind:
        at = datetime.now(UTC) - timedelta(minutes=11)
        assert behind.send([{**event("behind"), "at": at.isoformat()}])[1]["accepted"] == 1
        behind.end()
    with streaming(world, free_port(), **faked, FAKETIME="-3700s") as far_behind:
        wait_for(lambda: far_behind.get("/readyz")[0] == 503)
        status, answer = far_behind.send([event("never")])
        assert (status, answer["reason"]) == (503, "held_up")
        assert "set the clock" in answer["detail"]
    arrivals = dict(world.events().select("event_id", "arrived_at").iter_rows())
    assert arrivals["behind"] > arrivals["before"]
    assert "never" not in arrivals
    assert world.events().filter(pl.col("arrived_at") > datetime.now(UTC)).is_empty()


def test_a_line_that_is_not_utf8_is_an_event_to_be_judged() -> None:
    assert len(lines_of("application/x-ndjson; charset=utf-8", b'{"a": 1}\n\xff\r\n')) == 2
    with pytest.raises(AskRefused):
        lines_of("", b"{}")

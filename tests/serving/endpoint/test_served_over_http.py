"""`darkroom serve` as a process, over real HTTP: what it answers, what it refuses, and how it takes over a model."""

import base64
import json
import socket
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from serving.endpoint.served_world import (
    JOINED,
    NEW_USER_JOINED,
    T0,
    USERS,
    Served,
    ServedWorld,
    events,
    photos,
    serving,
    until,
    world,
)

from pipeline_assets.features.user_features import FEATURES, user_features_as_of
from pipeline_assets.sample.photos import shipped_file

pytestmark = pytest.mark.slow

PHOTO = shipped_file("rocket.jpg")
YESTERDAY: date = T0.date() - timedelta(days=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ServedWorld:
    return world(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def served(made: ServedWorld) -> Iterator[Served]:
    with serving(made) as running:
        yield running


def test_features_are_those_of_the_offline_function(served: Served) -> None:
    moment = T0 + timedelta(seconds=30)
    answer = served.post("v1/features", {"user_id": 1, "posted_at": moment.isoformat()}).json
    entity = pl.DataFrame({"user_id": [1], "as_of": [moment], "joined_at": [JOINED]}).cast(
        {"as_of": pl.Datetime("us", "UTC"), "joined_at": pl.Datetime("us", "UTC")}
    )
    offline = user_features_as_of(entity.lazy(), events().lazy(), photos().lazy()).select(FEATURES).collect()
    assert answer["features"] == offline.row(0, named=True)
    assert answer["as_of"] == moment.isoformat() and answer["t0"] == T0.isoformat()


def test_a_prediction_names_its_model_and_its_interval(served: Served) -> None:
    answer = served.predict(PHOTO, user_id=1, title="a rocket", followers=12)
    assert answer.status == 200, answer.body
    told = answer.json
    assert told["model"]["night"] == str(YESTERDAY) and len(told["model"]["sha256"]) == len(told["model"]["pin"]) == 64
    assert told["interval"]["low"] == max(0, told["popularity"] - 0.75)
    assert told["interval"]["high"] == told["popularity"] + 0.75
    assert told["interval"]["coverage"] == 0.9 and told["interval"]["measured_coverage"] == 0.9
    assert answer.headers["x-request-id"] == told["request_id"]
    as_json = {"user_id": 1, "title": "a rocket", "followers": 12, "photo": base64.b64encode(PHOTO).decode()}
    again = served.post("v1/predict", {**as_json, "posted_at": told["as_of"]})
    assert again.json["popularity"] == told["popularity"] and again.json["features"] == told["features"]


def test_an_upload_is_scored_by_its_key(served: Served, made: ServedWorld) -> None:
    key = f"uploads/{YESTERDAY}/1/rocket.jpg"
    path = made.folder / "uploads" / key
    path.parent.mkdir(parents=True)
    path.write_bytes(PHOTO)
    moment = (T0 + timedelta(seconds=1)).isoformat()
    by_key = served.post("v1/predict", {"user_id": 1, "key": key, "posted_at": moment})
    assert by_key.status == 200, by_key.body
    assert by_key.json["popularity"] == served.predict(PHOTO, user_id=1, posted_at=moment).json["popularity"]
    assert refusal(served.post("v1/predict", {"user_id": 2, "key": key})) == (422, "bad_key")
    assert refusal(served.post("v1/predict", {"user_id": 1, "key": key + ".gone"})) == (404, "unknown_key")


def refusal(answer) -> tuple[int, str]:
    told = answer.json
    assert set(told) == {"reason", "detail", "request_id"} and told["detail"]
    return answer.status, told["reason"]


BAD_FIELDS = {
    "unknown user": ({"user_id": 99}, (404, "unknown_user")),
    "no user": ({}, (400, "missing_field")),
    "negative user": ({"user_id": -1}, (422, "bad_user_id")),
    "user beyond 64 bits": ({"user_id": 2**63}, (422, "bad_user_id")),
    "true as a user": ({"user_id": True}, (422, "bad_user_id")),
    "unknown field": ({"user_id": 1, "userid": 1}, (400, "unknown_field")),
    "future": ({"user_id": 1, "posted_at": "2999-01-01T00:00:00Z"}, (422, "future_time")),
    "before the state": ({"user_id": 1, "posted_at": (T0 - timedelta(days=1)).isoformat()}, (422, "before_state")),
    "before joining": (
        {"user_id": 3, "posted_at": (NEW_USER_JOINED - timedelta(seconds=1)).isoformat()},
        (422, "before_joining"),
    ),
    "no zone": ({"user_id": 1, "posted_at": "2026-01-01T00:00:00"}, (422, "bad_posted_at")),
    "no time": ({"user_id": 1, "posted_at": "yesterday"}, (422, "bad_posted_at")),
    "no object": ([1], (400, "bad_json")),
}


@pytest.mark.parametrize("case", BAD_FIELDS)
def test_bad_fields_are_refused_with_their_reason(served: Served, case: str) -> None:
    fields, expected = BAD_FIELDS[case]
    assert refusal(served.post("v1/features", fields)) == expected


@pytest.mark.parametrize(
    ("photo", "expected"),
    [(b"", (422, "empty")), (b"hello" * 9, (422, "not_an_image")), (PHOTO[:4000], (422, "truncated"))],
    ids=["empty", "text", "truncated"],
)
def test_a_photo_is_refused_with_its_verdict(served: Served, photo: bytes, expected: tuple[int, str]) -> None:
    assert refusal(served.predict(photo, user_id=1)) == expected


def test_bad_requests_are_refused_and_counted(served: Served) -> None:
    nan = served.ask("v1/features", b'{"user_id": NaN}', Content_Type="application/json")
    kind = served.ask("v1/features", b"x", Content_Type="text/plain")
    large = served.predict(bytes(33 * 2**20), user_id=1)
    host = served.ask("v1/features", b"{}", Host="example.com", Content_Type="application/json")
    origin = served.post("v1/features", {"user_id": 1}, Origin="https://example.com")
    path, method = served.ask("v2/predict", b""), served.ask("v1/predict")
    found = [refusal(answer) for answer in (nan, kind, large, host, origin, path, method)]
    expected = [
        (400, "bad_json"),
        (415, "wrong_content_type"),
        (413, "body_too_large"),
        (421, "unknown_host"),
        (403, "foreign_origin"),
        (404, "unknown_path"),
        (405, "wrong_method"),
    ]
    assert found == expected
    metrics = served.ask("metrics").body.decode()
    assert all(f'darkroom_serve_refused_total{{reason="{reason}"}} ' in metrics for _, reason in expected)


def test_headers_without_end_are_cut_off(served: Served) -> None:
    with connection(served) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"x: y\r\n" * 20_000)
        assert ended(client)


def connection(served: Served) -> socket.socket:
    host, _, port = served.url.removeprefix("http://").rstrip("/").partition(":")
    return socket.create_connection((host, int(port)), timeout=60)


def ended(client: socket.socket) -> bool:
    """Whether the server closes the connection without an answer."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_slow_body_is_refused(served: Served) -> None:
    with connection(served) as client:
        head = (
            b"POST /v1/features HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n{"
        )
        client.sendall(head)
        assert b"slow_client" in b"".join(iter(lambda: client.recv(4096), b""))


def test_a_connection_serves_many_requests_also_after_a_refusal(served: Served) -> None:
    body = b'{"user_id": 99}'
    request = (
        b"POST /v1/features HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n"
        + body
    )
    with connection(served) as client, client.makefile("rb") as lines:
        for _ in range(3):
            client.sendall(request)
            assert lines.readline().startswith(b"HTTP/1.1 404")
            length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
            while lines.readline() != b"\r\n":
                pass
            assert json.loads(lines.read(length))["reason"] == "unknown_user"


def test_what_describes_the_service_is_there(served: Served) -> None:
    assert served.ask("healthz").json == {"status": "ok"}
    assert served.ask("readyz").json == {"status": "ok", "lacking": []}
    described = served.ask("openapi.json").json
    assert {"/v1/predict", "/v1/features"} <= described["paths"].keys()
    assert b"POST /v1/predict" in served.ask("docs").body
    status = served.ask("status.json").json
    assert status["state"]["users"] == USERS.height and status["model"]["night"] == str(YESTERDAY)


def test_texts_of_users_are_in_no_log(made: ServedWorld) -> None:
    with serving(made) as running:
        running.predict(PHOTO, user_id=1, title="my secret title", location="my street")
        running.predict(PHOTO[:999], user_id=1, title="my secret title")
        said = running.lines
    logged = [path.read_bytes() for path in (made.folder / "lake" / "serving").rglob("*.gz")]
    assert logged, "the log is in the lake when the server has ended"
    import gzip

    text = b"".join(map(gzip.decompress, logged)) + "".join(said).encode()
    assert b'"title_length":15' in text and b'"has_location":true' in text
    assert b"secret" not in text and b"street" not in text


def test_a_new_nights_model_is_taken_over_without_losing_a_request(served: Served, made: ServedWorld) -> None:
    before = served.predict(PHOTO, user_id=1).json["model"]
    sha256 = made.add_model(T0.date(), seed=2, half_width=None)
    seen = []

    def is_taken() -> bool:
        answer = served.predict(PHOTO, user_id=1)
        seen.append(answer.status)
        return answer.status != 200 or answer.json["model"]["sha256"] == sha256

    until(is_taken)
    assert set(seen) == {200} and before["sha256"] != sha256
    assert served.predict(PHOTO, user_id=1).json["interval"] is None
    other = made.add_model(T0.date() + timedelta(days=1), seed=3, classifier="another-classifier")
    until(lambda: any("NoModelToServe" in line for line in served.lines))
    assert served.predict(PHOTO, user_id=1).json["model"]["sha256"] == sha256 != other


def test_an_older_model_is_pinned_and_another_scored_in_its_shadow(tmp_path: Path) -> None:
    made = world(tmp_path / "w")
    newest = made.add_model(T0.date(), seed=2)
    with serving(made, "--pin", str(YESTERDAY), "--shadow", newest[:12]) as running:
        told = running.predict(PHOTO, user_id=1).json
        assert told["model"]["night"] == str(YESTERDAY) and "shadow" not in told
        made.add_model(T0.date() + timedelta(days=1), seed=4)
        assert running.ask("status.json").json["shadow"]["sha256"] == newest
    import gzip

    (segment,) = (made.folder / "lake" / "serving").rglob("*.gz")
    logged = json.loads(gzip.decompress(segment.read_bytes()).splitlines()[0])
    assert logged["shadow"]["sha256"] == newest and logged["shadow"]["popularity"] != logged["popularity"]


def test_a_state_that_is_missing_or_too_old_is_told(tmp_path: Path) -> None:
    made = world(tmp_path / "w")
    made.publish(T0 - timedelta(days=3), timedelta(hours=1))
    with serving(made) as running:
        assert refusal(running.post("v1/features", {"user_id": 1})) == (503, "state_too_old")
        assert running.ask("readyz").json["lacking"] == ["state"]
    for path in (made.folder / "home").glob("online.db*"):
        path.unlink()
    with serving(made) as running:
        assert refusal(running.post("v1/features", {"user_id": 1})) == (503, "no_state")
        assert running.ask("healthz").status == 200

"""What the endpoint refuses, over real HTTP: each with a status, a reason for programs and a sentence, counted in /metrics."""

import http.client
import math
import socket
import ssl
import time
import urllib.error
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from serving.endpoint.served_world import (
    NEW_USER_JOINED,
    NOW,
    T0,
    Answer,
    Served,
    ServedWorld,
    answered,
    service_here,
    world,
)

from pipeline_assets.sample.photos import shipped_file
from pipeline_assets.serving.endpoint.http.access import Access, access_to
from pipeline_assets.serving.endpoint.service import Clock, Service
from resources.errors import InsecureEndpoint
from resources.servers.bearer_tokens import BearerTokens
from resources.servers.certificates import make_identity
from resources.settings import Settings

pytestmark = pytest.mark.slow

PHOTO = shipped_file("rocket.jpg")
JSON = {"Content_Type": "application/json"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ServedWorld:
    return world(tmp_path_factory.mktemp("refusals"))


@pytest.fixture(scope="module")
def running(made: ServedWorld) -> Iterator[tuple[Settings, Service]]:
    with service_here(made) as both:
        yield both


@pytest.fixture(scope="module")
def service(running: tuple[Settings, Service]) -> Service:
    return running[1]


@pytest.fixture(scope="module")
def access(running: tuple[Settings, Service]) -> Access:
    return access_to(running[0], "127.0.0.1")


@pytest.fixture(scope="module")
def served(service: Service, access: Access) -> Iterator[Served]:
    with answered(service, access) as server:
        yield server


def refusal(answer: Answer) -> tuple[int, str]:
    """Status and reason of an answer that says why, and under which id."""
    told = answer.json
    assert set(told) == {"reason", "detail", "request_id"} and told["detail"] and answer.headers["x-request-id"]
    return answer.status, told["reason"]


def is_counted(served: Served, reason: str, **headers: str) -> bool:
    return f'darkroom_serve_refused_total{{reason="{reason}"}} ' in served.ask("metrics", **headers).body.decode()


def raw(served: Served, head: str, body: bytes = b"") -> bytes:
    """The answer to bytes that no library would send."""
    host, _, port = served.url.partition("//")[2].rstrip("/").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65_536), b""))


BAD_TIMES = {
    "in the future": (1, (NOW + timedelta(days=2)).isoformat(), "future_time"),
    "before the user joined": (3, (NEW_USER_JOINED - timedelta(seconds=1)).isoformat(), "before_joining"),
    "before the state": (1, (T0 - timedelta(microseconds=1)).isoformat(), "before_state"),
    "without a zone": (1, "2026-01-31T12:00:00", "bad_posted_at"),
    "no time": (1, "NaN", "bad_posted_at"),
}


@pytest.mark.parametrize("case", BAD_TIMES)
def test_a_time_that_no_state_can_answer_is_refused(served: Served, case: str) -> None:
    user, moment, reason = BAD_TIMES[case]
    for answer in (
        served.post("v1/features", {"user_id": user, "posted_at": moment}),
        served.predict(PHOTO, user_id=user, posted_at=moment),
    ):
        assert refusal(answer) == (422, reason)
    assert is_counted(served, reason)


NOT_NUMBERS = {
    "NaN in JSON": (b'{"user_id": NaN}', (400, "bad_json")),
    "infinity in JSON": (b'{"user_id": 1, "followers": -Infinity}', (400, "bad_json")),
    "a number beyond float64": (b'{"user_id": 1, "followers": 1e999}', (422, "bad_followers")),
    "NaN as a text": (b'{"user_id": "NaN"}', (422, "bad_user_id")),
    "a fraction": (b'{"user_id": 1.5}', (422, "bad_user_id")),
}


@pytest.mark.parametrize("case", NOT_NUMBERS)
def test_what_is_no_number_is_refused(served: Served, case: str) -> None:
    body, expected = NOT_NUMBERS[case]
    assert refusal(served.ask("v1/features", body, **JSON)) == expected
    assert is_counted(served, expected[1])


def test_nan_in_a_form_is_no_number(served: Served) -> None:
    assert refusal(served.predict(PHOTO, user_id=1, followers="NaN")) == (422, "bad_followers")


def test_a_body_of_50_mb_is_refused_however_it_comes(served: Served) -> None:
    assert refusal(served.predict(bytes(50 * 2**20), user_id=1)) == (413, "body_too_large")
    connection = http.client.HTTPConnection(served.url.partition("//")[2].rstrip("/"), timeout=60)
    pieces = (bytes(2**20) for _ in range(50))
    connection.request("POST", "/v1/predict", pieces, {"Content-Type": "application/json"}, encode_chunked=True)
    reply = connection.getresponse()
    assert (reply.status, b"body_too_large" in reply.read()) == (413, True)
    connection.close()
    assert is_counted(served, "body_too_large")
    assert served.post("v1/features", {"user_id": 1}).status == 200


def test_a_body_that_comes_too_slowly_is_refused(service: Service, access: Access) -> None:
    with answered(service, Access(replace(access.gate, body_s=0.2), None)) as served:
        host, _, port = served.url.partition("//")[2].rstrip("/").partition(":")
        with socket.create_connection((host, int(port)), timeout=60) as client:
            client.sendall(
                b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                b"Content-Length: 40\r\n\r\n{"
            )
            answer = b"".join(iter(lambda: client.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 408") and b'"reason":"slow_client"' in answer
        assert is_counted(served, "slow_client")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/json, text/html"])
def test_another_content_type_is_refused(served: Served, kind: str) -> None:
    assert refusal(served.ask("v1/features", b'{"user_id": 1}', Content_Type=kind)) == (415, "wrong_content_type")
    assert is_counted(served, "wrong_content_type")


DOUBLED = {
    "two origins, one of them ours": ("Origin: http://127.0.0.1\nOrigin: https://evil.example\n", b"foreign_origin"),
    "two empty origins": ("Origin:\nOrigin:\n", b"foreign_origin"),
    "an origin of no page": ("Origin: null\n", b"foreign_origin"),
    "two hosts": ("Host: evil.example\n", b"unknown_host"),
    "two content types": ("Content-Type: text/plain\n", b"wrong_content_type"),
}


@pytest.mark.parametrize("case", DOUBLED)
def test_a_header_that_says_two_things_is_refused(served: Served, case: str) -> None:
    more, reason = DOUBLED[case]
    head = f"POST /v1/features HTTP/1.1\nHost: 127.0.0.1\nContent-Type: application/json\n{more}Content-Length: 14"
    answer = raw(served, head, b'{"user_id": 1}')
    assert answer.startswith(b"HTTP/1.1 4") and b'"reason":"' + reason in answer


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1", 200), ("LOCALHOST:8900", 200), ("[::1]", 200), ("[::1]:8900", 200), ("[::2]:8900", 421), ("::1", 421)],
)
def test_this_machine_is_known_by_each_of_its_names(served: Served, host: str, status: int) -> None:
    assert raw(served, f"GET /metrics HTTP/1.1\nHost: {host}").startswith(f"HTTP/1.1 {status} ".encode())


def test_a_client_that_asks_too_often_is_told_when_to_come_back(
    running: tuple[Settings, Service], tmp_path: Path, access: Access
) -> None:
    settings, service = running
    tokens = BearerTokens(tmp_path / "tokens.json")
    slow, other = ({"Authorization": f"Bearer {tokens.add(name)}"} for name in ("slow", "other"))
    limited = access_to(settings.having({"serve_rate": 0.01}), "127.0.0.1").gate
    gate = replace(limited, needs_token=lambda: True, token_name=tokens.name_of)
    with answered(service, Access(gate, None)) as served:
        assert served.post("v1/features", {"user_id": 1}, **slow).status == 200
        again = served.post("v1/features", {"user_id": 1}, **slow)
        assert refusal(again) == (429, "too_many_requests")
        assert 1 < int(again.headers["retry-after"]) <= 100
        assert refusal(served.post("v1/features", {"user_id": 1})) == (401, "no_valid_token")
        text = served.ask("metrics", **other).body.decode()
        assert 'refused_total{reason="too_many_requests"} 1' in text and 'refused_total{reason="no_valid_token"} 1' in text


def test_a_certificate_by_settings_makes_it_https(running: tuple[Settings, Service], tmp_path: Path) -> None:
    settings, service = running
    identity = make_identity("test")
    for name, text in (("authority", identity.authority), ("certificate", identity.certificate), ("key", identity.key)):
        (tmp_path / name).write_text(text)
    secure = settings.having({"serve_certificate": tmp_path / "certificate", "serve_key": tmp_path / "key"})
    with pytest.raises(InsecureEndpoint, match="a token"):
        access_to(secure, "0.0.0.0")  # noqa: S104
    with pytest.raises(InsecureEndpoint, match="DARKROOM_SERVE_CERTIFICATE"):
        access_to(settings, "0.0.0.0")  # noqa: S104
    trust = ssl.create_default_context(cafile=str(tmp_path / "authority"))
    with answered(service, access_to(secure, "127.0.0.1"), trust) as served:
        assert served.url.startswith("https://")
        assert served.predict(PHOTO, user_id=1).status == 200
        assert refusal(served.post("v1/features", {"user_id": 99})) == (404, "unknown_user")
        assert is_counted(served, "unknown_user")
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            replace(served, trust=ssl.create_default_context()).ask("healthz")
        with pytest.raises((urllib.error.URLError, ConnectionError, http.client.HTTPException)):
            replace(served, url=served.url.replace("https", "http")).ask("healthz")


def test_a_clock_that_is_set_back_makes_no_answer_older(service: Service, access: Access) -> None:
    usual, noon = service.clock, T0 + timedelta(hours=2)
    now = [noon]
    service.clock = Clock(lambda: now[0])
    try:
        with answered(service, access) as served:

            def asked() -> datetime:
                return datetime.fromisoformat(served.post("v1/features", {"user_id": 1}).json["as_of"])

            assert asked() == noon
            now[0] = noon - timedelta(hours=1)
            assert asked() == noon
            assert b"\ndarkroom_serve_clock_set_back_seconds 3600\n" in served.ask("metrics").body
            later = (noon + timedelta(seconds=1)).isoformat()
            assert refusal(served.post("v1/features", {"user_id": 1, "posted_at": later})) == (422, "future_time")
            now[0] = noon + timedelta(seconds=5)
            assert asked() == now[0]
            assert b"\ndarkroom_serve_clock_set_back_seconds 0\n" in served.ask("metrics").body
    finally:
        service.clock = usual


def test_a_model_of_another_classifier_answers_nothing_and_features_go_on(tmp_path: Path) -> None:
    made = world(tmp_path / "w")
    made.add_model(T0.date(), seed=2, classifier="another-classifier")
    with service_here(made) as (settings, service), answered(service, access_to(settings, "127.0.0.1")) as served:
        answer = served.predict(PHOTO, user_id=1)
        assert refusal(answer) == (503, "wrong_classifier") and "DARKROOM_MODEL" in answer.json["detail"]
        assert is_counted(served, "wrong_classifier")
        assert served.post("v1/features", {"user_id": 1}).status == 200
        ready = served.ask("readyz")
        assert (ready.status, ready.json["lacking"]) == (503, ["model"])


def test_whoever_asks_for_readiness_reads_the_store_once_a_second(
    service: Service, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, current = [], service.store.current
    monkeypatch.setattr(service.store, "current", lambda: looks.append(1) or current())
    began_s = time.monotonic()
    with answered(service, access) as served:
        assert {served.ask("readyz").status for _ in range(200)} == {200}
    assert 1 <= len(looks) <= 1 + math.ceil(time.monotonic() - began_s)

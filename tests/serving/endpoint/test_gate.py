"""The parts of the gate: rates, tokens, metrics, the clock and the log's files."""

import gzip
import json
import resource
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline_assets.serving.endpoint.asked_log import AskedLog, is_sampled
from pipeline_assets.serving.endpoint.http.metrics import Metrics
from pipeline_assets.serving.endpoint.http.rates import CLIENTS, Rates
from pipeline_assets.serving.endpoint.service import Clock
from resources.errors import HomeNotOurs, NotFound
from resources.servers.bearer_tokens import BearerTokens

NOON = datetime(2026, 2, 1, 12, tzinfo=UTC)


def test_a_rate_allows_a_burst_and_then_its_pace() -> None:
    rates = Rates(10)
    assert [rates.wait_s("a", 0) for _ in range(20)] == [0] * 20
    assert rates.wait_s("a", 0) == pytest.approx(0.1)
    assert rates.wait_s("b", 0) == 0
    assert rates.wait_s("a", 0.1) == 0 and rates.wait_s("a", 0.1) > 0
    assert rates.wait_s("a", -50) > 0, "a clock that falls gives nothing"


def test_forgotten_clients_bound_the_memory() -> None:
    rates = Rates(1)
    for client in range(CLIENTS + 50):
        rates.wait_s(str(client), 0)
    assert len(rates._buckets) == CLIENTS


def test_tokens_are_kept_as_hashes_and_can_be_rotated(tmp_path: Path) -> None:
    tokens, server = BearerTokens(tmp_path / "s" / "tokens.json"), BearerTokens(tmp_path / "s" / "tokens.json")
    assert server.all() == [] and server.name_of("anything") is None
    former, later = tokens.add("web"), tokens.add("web-2")
    text = (tmp_path / "s" / "tokens.json").read_text()
    assert former not in text and later not in text
    assert (tmp_path / "s" / "tokens.json").stat().st_mode & 0o777 == 0o600
    assert [server.name_of(former), server.name_of(later), server.name_of(former + "x")] == ["web", "web-2", None]
    tokens.revoke("web")
    assert server.name_of(former) is None and server.name_of(later) == "web-2"
    with pytest.raises(NotFound):
        tokens.revoke("web")
    with pytest.raises(ValueError, match="taken"):
        tokens.add("web-2")


def test_a_file_of_tokens_that_others_can_read_is_refused(tmp_path: Path) -> None:
    tokens = BearerTokens(tmp_path / "tokens.json")
    tokens.add("a")
    (tmp_path / "tokens.json").chmod(0o644)
    with pytest.raises(HomeNotOurs):
        BearerTokens(tmp_path / "tokens.json").all()


def test_metrics_are_prometheus_text() -> None:
    metrics = Metrics()
    metrics.count("requests_total", "requests", route='a"b\\c\n', status="200")
    metrics.observe("/v1/predict", 0.02)
    metrics.observe("/v1/predict", 99)
    metrics.gauge("in_flight", "now", lambda: {(): 3.0})
    lines = metrics.text().splitlines()
    assert 'darkroom_serve_requests_total{route="a\\"b\\\\c\\n",status="200"} 1' in lines
    assert 'darkroom_serve_request_seconds_bucket{route="/v1/predict",le="0.025"} 1' in lines
    assert 'darkroom_serve_request_seconds_bucket{route="/v1/predict",le="+Inf"} 2' in lines
    assert 'darkroom_serve_request_seconds_count{route="/v1/predict"} 2' in lines
    assert lines[-1] == "darkroom_serve_in_flight 3"
    assert metrics.quantiles("/v1/predict") == {"requests": 2, "p50_ms": 99_000, "p99_ms": 99_000}


def test_a_clock_that_is_set_back_stands_still() -> None:
    moments = iter([NOON, NOON - timedelta(hours=2), NOON + timedelta(seconds=1)])
    clock = Clock(lambda: next(moments))
    assert clock.now() == NOON
    assert clock.now() == NOON and clock.set_back_s == 7200
    assert clock.now() == NOON + timedelta(seconds=1) and clock.set_back_s == 0


class Bucket(dict):
    """An object store in memory that can be away."""

    is_away = False

    def put(self, key: str, data: bytes) -> None:
        if self.is_away:
            raise OSError("away")
        self[key] = data


def test_lines_of_a_killed_process_reach_the_lake_once(tmp_path: Path) -> None:
    bucket = Bucket()
    killed = AskedLog(tmp_path, bucket.put)
    killed.append({"n": 1}, NOON)
    killed.append({"n": 2}, NOON)
    (path,) = tmp_path.glob("*.jsonl")
    assert AskedLog(tmp_path, bucket.put).flush() == 0, "a living process writes it"
    killed._file.close()  # what its end does
    killed._file = None
    with path.open("ab") as file:
        file.write(b'{"n": 3')  # cut by the kill
    bucket.is_away = True
    with pytest.raises(OSError, match="away"):
        AskedLog(tmp_path, bucket.put).flush()
    bucket.is_away = False
    copy = path.read_bytes()
    assert AskedLog(tmp_path, bucket.put).flush() == 1
    path.write_bytes(copy)  # killed between the put and the deletion
    assert AskedLog(tmp_path, bucket.put).flush() == 1
    (key,) = bucket
    assert key.startswith("serving/2026-02-01/")
    assert [json.loads(line)["n"] for line in gzip.decompress(bucket[key]).splitlines()] == [1, 2]


def test_a_full_disk_cuts_no_line_and_ends_no_answer(tmp_path: Path) -> None:
    bucket = Bucket()
    log = AskedLog(tmp_path, bucket.put)
    log.append({"n": 0}, NOON)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for more in (5, 5, 0):
            size = next(tmp_path.glob("*.jsonl")).stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + more, usual[1]))
            log.append({"n": 1}, NOON)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    log.append({"n": 2}, NOON)
    assert log.dropped == 3
    log.flush()
    (data,) = bucket.values()
    assert [json.loads(line)["n"] for line in gzip.decompress(data).splitlines()] == [0, 2]


def test_a_day_has_segments_of_its_own(tmp_path: Path) -> None:
    bucket = Bucket()
    log = AskedLog(tmp_path, bucket.put)
    for hours in (0, 11, 13):
        log.append({"h": hours}, NOON + timedelta(hours=hours))
    assert log.flush() == 2
    assert sorted(key[8:18] for key in bucket) == ["2026-02-01", "2026-02-02"]


def test_a_share_of_asks_is_logged() -> None:
    ids = [f"{n * 2**52:016x}" for n in range(4096)]
    assert sum(is_sampled(one, 0.25) for one in ids) == 1024
    assert all(is_sampled(one, 1) for one in ids) and not any(is_sampled(one, 0) for one in ids)

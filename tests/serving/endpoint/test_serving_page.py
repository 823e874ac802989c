"""The requests of docs/serving.md, as the page has them, to a real endpoint: each is answered, with the keys that it shows."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from page_blocks import ROOT, blocks
from serving.endpoint.served_world import T0, Served, answered, service_here, world

from pipeline_assets.features.user_features import FEATURES
from pipeline_assets.sample.photos import shipped_file
from pipeline_assets.serving.endpoint.http.access import access_to

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "serving.md"
SERVER = "darkroom serve  "
"""The line that starts what the requests ask; here it runs already."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = world(tmp_path_factory.mktemp("page"))
    with service_here(made) as (settings, service), answered(service, access_to(settings, "127.0.0.1")) as server:
        yield server


def code(beginning: str) -> str:
    """The block of the page that begins so."""
    [found] = [block.code for block in blocks(PAGE) if block.code.startswith(beginning)]
    return found


def printed(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def here(text: str, served: Served) -> str:
    """The page's address, user and moment as those of the test."""
    moment = (T0 + timedelta(seconds=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    stand_ins = {"http://127.0.0.1:8900": served.url.rstrip("/"), "1002": "1", "2026-01-31T12:00:00Z": moment}
    for theirs, ours in stand_ins.items():
        assert theirs in text or theirs.startswith("2026")
        text = text.replace(theirs, ours)
    return text


def keys(value: Any) -> Any:
    """The names of a JSON value's fields, at every depth."""
    return {name: keys(inner) for name, inner in value.items()} if isinstance(value, Mapping) else None


def test_the_pages_requests_are_answered_with_the_keys_that_it_shows(served: Served, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(shipped_file("rocket.jpg"))
    lines = code(SERVER).splitlines()
    requests = [line for line in lines if line.startswith("curl ")]
    assert len(requests) == len(lines) - 1 == 2
    prediction, features = (
        json.loads(printed(["bash", "-euc", here(line, served).replace("curl ", "curl -sf ")], tmp_path))
        for line in requests
    )
    shown = json.loads(code('{\n  "popularity"'))
    assert keys(prediction) == keys(shown)
    assert prediction["interval"].keys() == {"low", "high", "coverage", "measured_coverage"}
    assert keys(features) == keys({name: shown[name] for name in ("features", "as_of", "t0", "generation", "request_id")})
    assert tuple(features["features"]) == tuple(shown["features"]) == tuple(FEATURES)


def test_the_pages_python_prints_a_popularity(served: Served, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(shipped_file("rocket.jpg"))
    text = here(code("import base64, json, urllib.request"), served)
    assert float(printed([sys.executable, "-c", text], tmp_path)) >= 0


def test_every_status_and_reason_of_the_page_is_of_the_document(served: Served) -> None:
    answers = served.ask("openapi.json").json["paths"]["/v1/predict"]["post"]["responses"]
    section = PAGE.read_text().partition("**Errors**")[2].partition("###")[0]
    statuses = {status for line in section.splitlines() for status in line.partition("|")[2].partition("|")[0].split(", ")}
    assert {status.strip() for status in statuses if status.strip().isdigit()} == answers.keys() - {"200"}

"""`darkroom explore notebook`: the ready-made notebook run by marimo on a lake, and its server."""

import json
import re
import sys
import time
import urllib.error
import urllib.request
from html import unescape
from pathlib import Path

import polars as pl
import pytest

from tests.commands.explore.test_near_and_duplicates import NAMES, VECTORS, command
from tests.exploration.map.map_world import FIRST, SCHEMA, MapWorld, after
from tests.in_process import outer_environment
from tests.ports import free_port
from tests.processes import started

pytest.importorskip("marimo", reason="marimo is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world whose lake has six photos and their map."""
    folder = tmp_path_factory.mktemp("notebook")
    world = MapWorld(folder)
    rows = [(name, vector.tolist(), "m", None) for name, vector in zip(NAMES, VECTORS, strict=True)]
    world.bring(FIRST, pl.DataFrame(rows, schema=SCHEMA, orient="row"))
    world.night(after(1))
    return folder


def outputs(page: str) -> list[dict]:
    """What the cells of an exported notebook show."""
    start = re.search(r'"session": ', page).end()
    session, _ = json.JSONDecoder().raw_decode(page, start)
    return [output for cell in session["cells"] for output in cell["outputs"]]


def test_an_export_has_the_tables_and_the_map_of_the_lake(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "lake.html"
    result = command(folder)("notebook", "--export", str(path))
    assert result.exit_code == 0, result.output
    shown = outputs(path.read_text())
    assert {output["type"] for output in shown} == {"data"}
    text = unescape(unescape(json.dumps(shown))).replace("\\", "")
    assert f'"table":"embedding_map","days":1,"first_day":"{after(1)}"' in text
    assert "vega" in text
    assert "No profiles yet" in text
    assert "No label is suspect" in text
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["lake.html"]


def test_a_notebook_that_fails_writes_nothing_and_says_why(folder: Path, tmp_path: Path) -> None:
    broken, path = tmp_path / "broken.py", tmp_path / "lake.html"
    broken.write_text("import marimo\napp = marimo.App()\n\n\n@app.cell\ndef _():\n    1 / 0\n    return\n")
    path.write_text("the old one")
    result = command(folder)("notebook", str(broken), "--export", str(path))
    assert result.exit_code == 1
    assert "ZeroDivisionError" in result.output or "division by zero" in result.output
    assert path.read_text() == "the old one"


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError:
        return 0


def test_the_server_listens_to_this_machine_and_wants_its_token(folder: Path, tmp_path: Path) -> None:
    port = free_port()
    environment = outer_environment() | {
        "DARKROOM_HOME": str(folder / "home"),
        "DARKROOM_DATABASE_URL": f"sqlite:///{folder / 'darkroom.db'}",
        "DARKROOM_UPLOADS_URL": (folder / "uploads").as_uri(),
        "DARKROOM_LAKE_URL": (folder / "lake").as_uri(),
    }
    words = ["-m", "pipeline_assets.cli", "explore", "notebook", "--headless", "--port", str(port)]
    with started([sys.executable, *words], cwd=tmp_path, env=environment) as process:
        url = next(match[0] for line in process.stdout if (match := re.search(r"http://\S+access_token=\S+", line)))
        while process.poll() is None and not status_of(url):
            time.sleep(0.1)
        assert status_of(f"http://127.0.0.1:{port}/api/status") == 401
        assert status_of(url) == 200
        assert "frames.tables()" in (tmp_path / "lake.py").read_text()
        process.terminate()
        process.wait()
    assert status_of(url) == 0

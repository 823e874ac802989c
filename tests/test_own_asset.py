"""The page on a classifier and an asset of one's own, followed word for word in a copy of the project."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from served_ui import photo

from tests.in_process import outer_environment

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "bring-your-own.md"
ASSET = "class_brightness"
INIT = '"""Tables of our own."""'
TESTS = (
    "test_definitions.py",
    "test_document.py",
    "nightly/test_current_check.py",
    "framework/test_automation.py::test_a_new_upload_sets_its_own_day_in_motion_down_to_the_training_table_even_if_it_is_an_old_day",
    "sensors/test_schedules.py",
)
"""Those that look at all assets."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Copy:
    """The project with the asset of the page, and a world of folders and SQLite beside it."""

    def __init__(self, folder: Path) -> None:
        self.code, self.world = folder / "code", folder / "world"
        self.world.mkdir()
        for name in ("pipeline_assets", "resources", "sensors", "tests", "docs"):
            shutil.copytree(ROOT / name, self.code / name, ignore=shutil.ignore_patterns("__pycache__"))
        for path in (ROOT / "pyproject.toml", ROOT / "Makefile", *ROOT.glob("*.md")):
            shutil.copy(path, self.code)
        self._follow(PAGE.read_text())

    def _follow(self, page: str) -> None:
        asset, edit = re.search(
            r"## Your own asset\n.*?^```python\n(.*?)^```.*?^```python\n(.*?)^```", page, re.M | re.S
        ).groups()  # type: ignore[union-attr]
        assert INIT in page
        package = self.code / "pipeline_assets" / "extras"
        package.mkdir()
        (package / "__init__.py").write_text(INIT + "\n")
        (package / "assets.py").write_text(asset)
        imported, modules = edit.strip().split("\n\n")
        catalog = self.code / "pipeline_assets" / "catalog.py"
        text = catalog.read_text().replace("from pipeline_assets.features", f"{imported}\nfrom pipeline_assets.features", 1)
        catalog.write_text(re.sub(r"^MODULES = \([^)]*\)", modules, text, flags=re.M))
        self._follow_classifier(page)

    def _follow_classifier(self, page: str) -> None:
        module, line = re.search(
            r"## A second classifier\n.*?^```python\n(.*?)^```.*?^```python\n(.*?)^```", page, re.M | re.S
        ).groups()  # type: ignore[union-attr]
        package = self.code / "pipeline_assets" / "classify"
        (package / "tints.py").write_text(module)
        registry = package / "registry.py"
        registry.write_text(re.sub(r"^MODULES = .*$", line.strip(), registry.read_text(), flags=re.M))

    def python(self, *words: str, folder: Path | None = None) -> str:
        """What a Python says that has the copy's code, in this folder or, with its settings, in the world. It must succeed."""
        settings = {
            "DARKROOM_HOME": str(self.world / ".darkroom"),
            "DARKROOM_DATABASE_URL": f"sqlite:///{self.world / 'darkroom.db'}",
            "DARKROOM_UPLOADS_URL": (self.world / "uploads").as_uri(),
            "DARKROOM_LAKE_URL": (self.world / "lake").as_uri(),
            "DARKROOM_VARIANTS": json.dumps({kind: {"children": 0} for kind in ("photos", "text", "tables", "receipts")}),
            "COLUMNS": "200",
        }
        env = outer_environment() | {"PYTHONPATH": str(self.code)} | (settings if folder is None else {})
        command = [sys.executable, "-W", "ignore", *words]
        done = subprocess.run(
            command, env=env, cwd=folder or self.world, capture_output=True, text=True, timeout=400, check=False
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
        return done.stdout

    def darkroom(self, *words: str) -> str:
        return self.python("-m", "pipeline_assets.cli", *words)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """With three photos imported."""
    made = Copy(tmp_path_factory.mktemp("own"))
    photos = made.world / "photos"
    photos.mkdir()
    for number in range(3):
        (photos / f"{number}.jpg").write_bytes(photo(number))
    made.darkroom("import", str(photos), "--days", "1")
    return made


def test_run_status_refresh_and_show_know_it(copy: Copy) -> None:
    assert "holds uploads: `darkroom run`" in copy.darkroom("status", "--asset", ASSET)
    said = copy.darkroom("refresh", "--asset", ASSET, "--yes")
    assert ASSET in said
    assert "Done." in said
    told = json.loads(copy.darkroom("status", "--asset", ASSET, "--json"))["assets"][ASSET]
    assert told["not_current"] == []
    assert told["rows"] > 0
    shown = copy.darkroom("show", ASSET, "--format", "json")
    assert "top_class" in shown
    assert ASSET in copy.darkroom("run")


def test_a_second_classifier_is_one_file_and_one_line(copy: Copy) -> None:
    copy.darkroom("refresh", "--asset", "photo_tints", "--yes")
    rows = [json.loads(line) for line in copy.darkroom("show", "photo_tints", "--format", "json").splitlines()]
    assert len(rows) == 3
    assert {row["tints_id"] for row in rows} == {"tints-1"}
    assert {row["tint"] for row in rows} <= {"red", "green", "blue"}
    assert all(1 / 3 <= row["share"] <= 1 for row in rows)
    told = json.loads(copy.darkroom("status", "--asset", "photo_tints", "--json"))["assets"]["photo_tints"]
    assert told["not_current"] == []


def test_the_projects_own_tests_and_style_hold_with_it(copy: Copy) -> None:
    copy.darkroom("document", str(copy.code / "docs" / "tables.md"))
    copy.python("-m", "ruff", "check", "pipeline_assets", folder=copy.code)
    copy.python("-m", "ruff", "format", "--check", "pipeline_assets", folder=copy.code)
    tests = [f"tests/{name}" for name in TESTS]
    copy.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not exports_one_that_loads", *tests, folder=copy.code)

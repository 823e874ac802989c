"""The pages in docs/ say what the code says."""

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import pipeline_assets.definitions
import pipeline_assets.errors
import resources.errors
from pipeline_assets.features.user_features import LOOKBACK_DAYS
from pipeline_assets.framework.declaration import DECLARATIONS
from pipeline_assets.ingestion.schemas import EVENT_KINDS
from pipeline_assets.ingestion.verdicts import VERDICTS
from pipeline_assets.sample import truth
from resources.settings import Settings

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
UNSAID = {"BadUpload", "DarkroomError", "ObjectError", "ResourceError"}
"""Bases that are never raised themselves."""
REASON = re.compile(r'(?:_Refused|Damage|reject\([\w+ ]+,|pl\.lit)\(?\s*"([a-z_]+)"(?=[,)])')
"""A reject reason where the code gives it."""
LOG_MODULES = ("event_lines", "events", "log_files", "log_days")
LINK = re.compile(r"\]\((?!https?://)([^)#]*)(?:#([^)]+))?\)")


def python(arguments: list[str], folder: Path) -> str:
    """What a Python of its own prints: this project's code, no settings, in this folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DARKROOM_")}
    environment |= {"DARKROOM_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, check=True, timeout=240, capture_output=True, text=True
    ).stdout


def example(name: str, beginning: str) -> str:
    """The Python example of a page that begins with this text."""
    [code] = [code for code in re.findall(r"^```python\n(.*?)^```", page(name), re.M | re.S) if code.startswith(beginning)]
    return code


def page(name: str) -> str:
    return (DOCS / name).read_text()


def rows(text: str, first_heading: str) -> dict[str, list[str]]:
    """The Markdown table whose first column has this heading: its other cells by the first one's code."""
    found: dict[str, list[str]] = {}
    in_table = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")] if line.startswith("|") else []
        if not cells:
            in_table = False
        elif cells[0] == first_heading:
            in_table = True
        elif in_table and not cells[0].startswith("---"):
            found[cells[0].strip("`")] = cells[1:]
    return found


@pytest.mark.slow
def test_the_committed_page_of_tables_is_what_the_code_declares(tmp_path: Path) -> None:
    written = tmp_path / "tables.md"
    python(["-m", "pipeline_assets.cli", "document", str(written)], tmp_path)
    assert page("tables.md") == written.read_text(), "docs/tables.md is old: run `darkroom document docs/tables.md`"


def test_every_setting_is_documented_with_its_default() -> None:
    told = {name: cells[0].strip("`") for name, cells in rows(page("operations.md"), "setting").items()}
    defaults = {
        f"DARKROOM_{name.upper()}": "" if field.default in (None, False) else str(field.default)
        for name, field in Settings.model_fields.items()
    }
    assert told == defaults


def test_every_error_says_in_the_troubleshooting_table_what_to_do() -> None:
    raised = {
        name
        for module in (pipeline_assets.errors, resources.errors)
        for name, thing in vars(module).items()
        if isinstance(thing, type) and issubclass(thing, Exception) and thing.__module__ == module.__name__
    }
    told = rows(page("operations.md"), "error")
    assert set(told) == raised - UNSAID
    assert all(len(cells) == 2 and all(cells) for cells in told.values())


def test_every_verdict_is_documented_with_its_meaning() -> None:
    told = {name: cells[0] for name, cells in rows(page("ingestion.md"), "verdict").items()}
    assert told == VERDICTS


def test_every_reason_to_reject_a_log_line_is_documented() -> None:
    modules = [ROOT / "pipeline_assets" / "ingestion" / "logs" / f"{name}.py" for name in LOG_MODULES]
    source = "".join(module.read_text() for module in modules)
    given = set(REASON.findall(source))
    assert {"bad_json", "damaged_gzip", "too_many_bad_lines", "duplicate_event"} <= given, "the pattern finds no reasons"
    logs = page("ingestion.md").split("\n## Event logs\n")[1]
    assert set(rows(logs, "reason")) == given | {"schema"}


def test_the_event_kinds_of_the_contract_are_documented() -> None:
    [told] = re.findall(r"^\| `kind` \| .*$", page("ingestion.md"), re.MULTILINE)
    assert set(EVENT_KINDS) <= set(re.findall(r"`(\w+)`", told))


def test_the_simulators_page_states_the_constants_of_its_truth() -> None:
    told = {name: float(cells[0]) for name, cells in rows(page("simulator.md"), "constant").items()}
    assert told == {name: float(getattr(truth, name)) for name in told}
    assert {name for name, value in vars(truth).items() if name.isupper() and isinstance(value, int | float)} <= {
        *told,
        "SHARE_7D",
        "DAY_US",
    }


def test_the_architecture_pages_graph_is_the_graph() -> None:
    drawn = set()
    for chain in re.findall(r"^  (\w+(?: -->.*)+)$", page("architecture.md"), re.MULTILINE):
        for sources, targets in pairwise(part.split("&") for part in chain.split("-->")):
            drawn |= {(source.strip(), target.strip()) for source in sources for target in targets}
    declared = {(upstream, name) for name, asset in DECLARATIONS.items() for upstream in asset.inputs}
    nodes = {name for edge in drawn for name in edge}
    assert drawn == {edge for edge in declared if nodes.issuperset(edge)}  # an asset of yours may stay out of the picture


def test_the_architecture_page_names_the_look_back_that_features_have() -> None:
    assert f"{LOOKBACK_DAYS} days" in page("architecture.md")


@pytest.mark.parametrize("name", sorted(path.name for path in DOCS.glob("*.md")))
def test_every_link_of_a_page_leads_somewhere(name: str) -> None:
    for target, anchor in LINK.findall(page(name)):
        file = DOCS / target if target else DOCS / name
        assert file.exists(), f"{name} links to {target}, which is not there"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", sorted(path.name for path in DOCS.glob("*.md")))
def test_every_python_example_of_a_page_compiles(name: str) -> None:
    for code in re.findall(r"^```python\n(.*?)^```", page(name), re.MULTILINE | re.DOTALL):
        compile(code, name, "exec")


@pytest.mark.slow
def test_the_example_of_a_classifier_exports_one_that_loads(tmp_path: Path) -> None:
    (tmp_path / "export_model.py").write_text(example("bring-your-own.md", '"""Export a classifier'))
    assert re.fullmatch(r"my-classifier-[0-9a-f]{12}\n", python(["export_model.py"], tmp_path))

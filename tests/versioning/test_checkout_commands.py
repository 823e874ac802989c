"""`darkroom pin`, `checkout`, `verify` and `cache` as they are typed, in a repository of their own, on folders and PostgreSQL."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result
from data_sets import content, write

from pipeline_assets.commands.main import main
from resources.objects.store import ObjectStore, content_key

FILES = {"a.txt": b"a", "deep/b.bin": b"b" * 2000}
Invoke = Callable[..., Result]


@pytest.fixture
def darkroom(tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Invoke]:
    """The command, in a repository with a pinned folder `scans`. What it exports is taken back."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("DARKROOM_", "AWS_", "DAGSTER")):
            del os.environ[name]
    os.environ |= {
        "DARKROOM_HOME": str(tmp_path / "home"),
        "DARKROOM_DATABASE_URL": postgres_url,
        "DARKROOM_DAGSTER_POSTGRES_URL": postgres_url,
        "DARKROOM_LAKE_URL": (tmp_path / "lake").as_uri(),
        "DARKROOM_UPLOADS_URL": (tmp_path / "uploads").as_uri(),
    }
    repository = tmp_path / "repository"
    repository.mkdir()
    monkeypatch.chdir(repository)
    subprocess.run(["git", "init", "--quiet"], check=True)

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(main, list(words))

    try:
        pinned = invoke("pin", "scans", "--folder", str(write(tmp_path / "scans", FILES)), "--allow-dirty")
        assert pinned.exit_code == 0, pinned.output
        yield invoke
    finally:
        os.environ.clear()
        os.environ.update(before)


def test_a_pinned_folder_is_checked_out_verified_and_found_damaged(darkroom: Invoke, tmp_path: Path) -> None:
    said = darkroom("checkout", "scans", "out", "--dry-run")
    assert "Would write 2 files" in said.output
    assert not Path("out").exists()
    said = darkroom("checkout", "scans", "out")
    assert said.exit_code == 0, said.output
    assert "2 files written" in said.output
    assert content(Path("out")) == FILES
    assert "2 kept" in darkroom("checkout", "scans", "out").output
    assert "The cache holds 2 contents" in darkroom("cache").output
    said = darkroom("verify", "scans")
    assert said.exit_code == 0, said.output
    assert "Complete and intact" in said.output

    store = ObjectStore.open(f"{(tmp_path / 'lake').as_uri()}/objects")
    manifest = json.loads(Path("datasets/scans.json").read_text())["manifest"]
    (pack,) = set(pl.read_parquet(store.get(content_key(manifest["sha256"])))["key"])
    store.delete(pack)
    said = darkroom("verify", "scans")
    assert said.exit_code == 1
    assert "2 faults" in said.output
    assert "Restore the object" in said.output
    quick = darkroom("verify", "scans", "--quick", "--json")
    assert quick.exit_code == 1
    assert [fault["what"] for fault in json.loads(quick.stdout)["faults"]] == ["a.txt"]
    said = darkroom("checkout", "scans", "elsewhere", "--no-cache")
    assert said.exit_code == 1
    assert "CheckoutIncomplete: 2 of 2 files could not be fetched" in said.output
    assert darkroom("checkout", "scans", "elsewhere").exit_code == 0
    assert content(Path("elsewhere")) == FILES


def test_what_can_not_be_is_told_in_one_line(darkroom: Invoke) -> None:
    told = {
        ("checkout", "nothing", "out"): "ReferenceUnreadable",
        ("checkout", "scans", "out", "--where", "likes > 1"): "BadSelection",
        ("checkout", "scans", "out", "--columns", "likes"): "BadSelection",
        ("checkout", "v9:scans", "out"): "ReferenceUnreadable",
    }
    for words, error in told.items():
        said = darkroom(*words)
        assert said.exit_code == 1
        assert said.output.startswith(f"Error: {error}: ")
    path = Path("datasets/scans.json")
    path.write_text(path.read_text().replace('"files": 2', '"files": 3'))
    said = darkroom("checkout", "scans", "out")
    assert said.output.startswith("Error: ManifestBroken: ")
    path.write_text(path.read_text()[:-20])
    assert darkroom("checkout", "scans", "out").output.startswith("Error: ReferenceUnreadable: ")
    assert not Path("out").exists()

"""Stock DVC, in an environment of its own: its pull brings what was exported, and what it added is imported.

Making that environment takes about as long as the rest of this folder's tests, so they run where it is there already;
`test_dvc` holds our files against DVC's byte for byte anywhere.
"""

import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.rivals.environments import is_made, python_of
from pipeline_assets.versioning.formats.dvc import dvc
from pipeline_assets.versioning.pin.pins import NO_FILES
from resources.objects.store import ObjectStore
from tests.versioning.formats.pinned_folders import (
    CONTENTS,
    committed,
    contents_of,
    git,
    opened,
    pinned_folder,
    read,
    written,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not is_made("dvc"), reason="DVC is not installed beside us: `python -m benchmarks.rivals.environments dvc` does it"
    ),
]


@pytest.fixture
def program() -> Path:
    """The `dvc` command."""
    return python_of("dvc").with_name("dvc")


@pytest.mark.parametrize("where", ["folder", "s3"])
def test_a_clone_gets_the_bytes_by_stock_dvc_pull_and_checkout(
    tmp_path: Path,
    program: Path,
    where: str,
    s3_url: str,
    s3_options: dict[str, str],
) -> None:
    store = ObjectStore.open((tmp_path / "objects").as_uri())
    remote = str(tmp_path / "remote") if where == "folder" else f"{s3_url}/remote"
    dvc.export(pinned_folder(tmp_path / "root", store, CONTENTS), tmp_path / "tree", remote, s3_options)
    committed(tmp_path / "tree")
    git(tmp_path, "clone", "-q", "tree", "clone")
    clone = tmp_path / "clone"
    run(program, clone, s3_options, "pull", "--quiet")
    assert contents_of(clone / "set") == CONTENTS
    (clone / "set" / "a-b").unlink()
    run(program, clone, s3_options, "checkout", "--quiet")
    assert contents_of(clone / "set") == CONTENTS
    assert "up to date" in run(program, clone, s3_options, "status")


def test_what_stock_dvc_added_is_imported_from_its_cache(tmp_path: Path, program: Path, s3_options: dict[str, str]) -> None:
    tree, store = tmp_path / "tree", ObjectStore.open((tmp_path / "objects").as_uri())
    written(tree / "set", CONTENTS)
    written(tree, {"one.csv": b"a,b\n"})
    git(tree, "init", "-q")
    run(program, tree, s3_options, "init", "--quiet")
    run(program, tree, s3_options, "add", "--quiet", "set", "one.csv")
    found = dvc.import_(tree, store, NO_FILES, tmp_path / "md5.parquet")
    assert read(opened(found, store)) == {f"set/{path}": data for path, data in CONTENTS.items()} | {"one.csv": b"a,b\n"}


def run(program: Path, folder: Path, s3: dict[str, str], *words: str) -> str:
    """A command of DVC's, with the keys of our S3 in its environment."""
    keys = {"AWS_ACCESS_KEY_ID": s3["access_key"], "AWS_SECRET_ACCESS_KEY": s3["secret_key"]}
    env = {**os.environ, **keys, "AWS_DEFAULT_REGION": s3["region"], "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run([program, *words], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout

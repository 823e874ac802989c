"""Small pinned folders for tests of formats: real contents in a real store."""

import shutil
import subprocess
from pathlib import Path

from pipeline_assets.runtime.transfer import digests_of_bytes
from pipeline_assets.versioning.formats.intake import Intake
from pipeline_assets.versioning.pin.contents import Pinned
from pipeline_assets.versioning.pin.pins import NO_FILES, Label, PinnedFolder, reference, store_folder
from pipeline_assets.versioning.pin.reference import Code
from resources.lake.lake import Lake
from resources.objects.packs import PACKED_BELOW
from resources.objects.store import ObjectStore

CONTENTS = {
    "a-b": b"sorts before a/",
    "a/one.txt": b"one\n",
    "a/same as one.txt": b"one\n",
    "a/b/lines.txt": b"with\r\nreturns\r\n",
    "empty": b"",
    "large.bin": b"l" * (PACKED_BELOW + 7),
    "ümlaut/日本 q.txt": b"unicode",
}


def written(root: Path, contents: dict[str, bytes]) -> Path:
    """A folder with these files."""
    for path, data in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def contents_of(root: Path) -> dict[str, bytes]:
    """What a folder holds, without git's own."""
    files = (path for path in root.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def opened(stored: PinnedFolder, store: ObjectStore, name: str = "set") -> Pinned:
    """A manifest as a data set."""
    label = Label(name, Code(commit="a" * 40, clean=True), "tests")
    made = reference(label, stored.files, store, {"objects": store.url})
    return Pinned(made, Lake(url="file:///nowhere"), {"objects": store, "uploads": store})


def pinned_folder(root: Path, store: ObjectStore, contents: dict[str, bytes]) -> Pinned:
    """These contents, stored and pinned."""
    shutil.rmtree(root, ignore_errors=True)
    return opened(store_folder(written(root, contents), store, NO_FILES, root.parent / "memory.parquet"), store)


def pinned_as(store: ObjectStore, path: str, data: bytes) -> Pinned:
    """One content under a path that a scan of a folder might leave out."""
    intake, digests = Intake(store, NO_FILES), digests_of_bytes(data)
    intake.take(digests, data)
    return opened(intake.close([(path, digests.sha256, len(data))]), store)


def read(pinned: Pinned) -> dict[str, object]:
    """What is got back of each file, by path."""
    return {row["path"]: data for row, data in pinned.read(pinned.files)}


def git(folder: Path, *words: str) -> str:
    """A git command with a committer; what it printed."""
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "protocol.file.allow=always"]
    done = subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def committed(tree: Path) -> Path:
    """A work tree, all of it committed."""
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "data")
    return tree

"""A full disk: nothing half-written is taken for whole, the message says what to do, and the next command finishes.

Real filesystems of a few megabytes, which are made larger for the next try. Staged shards and checkouts have theirs in
`tests/faults/test_disk_full.py` and `tests/versioning/test_checkout_kills.py`.
"""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from on_folders import OnFolders, on_folders

FILES = {"a.bin": os.urandom(700_000), "b.bin": os.urandom(1_500_000), "c.bin": os.urandom(900_000)}


@dataclass(frozen=True)
class Disk:
    """A mounted filesystem."""

    folder: Path

    def fill(self) -> None:
        """Take all of its room."""
        filler = self.folder / "of-someone-else"
        with filler.open("wb") as file:
            free = os.statvfs(self.folder)
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)

    def free(self) -> None:
        """Give it back, and more."""
        (self.folder / "of-someone-else").unlink(missing_ok=True)
        subprocess.run(["mount", "-o", "remount,size=256m", str(self.folder)], check=True)


def disk(folder: Path, size: str) -> Disk:
    """A filesystem of its own. Mounting takes rights that not every place gives."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no tmpfs can be mounted here: run as root")
    return Disk(folder)


@pytest.fixture
def darkroom(tmp_path: Path) -> Iterator[OnFolders]:
    """With files to pin. What is mounted below it is unmounted afterwards."""
    made = on_folders(tmp_path)
    (tmp_path / "scans").mkdir()
    for name, data in FILES.items():
        (tmp_path / "scans" / name).write_bytes(data)
    yield made
    for line in Path("/proc/mounts").read_text().splitlines():
        if line.split()[1].startswith(f"{tmp_path}/"):
            subprocess.run(["umount", "--lazy", line.split()[1]], check=True)


def told(darkroom: OnFolders, *words: str) -> str:
    """What a command says that fails, in a line and not as a traceback."""
    said = darkroom.run(*words)
    assert said.returncode == 1, said.stdout
    assert "Traceback" not in said.stdout, said.stdout
    assert "is full" in said.stdout, said.stdout
    return said.stdout


@pytest.mark.slow
@pytest.mark.parametrize("where", ["lake", "repository/.darkroom", "repository/datasets"])
def test_a_pin_on_a_full_disk_is_no_pin_and_the_next_one_is(darkroom: OnFolders, where: str) -> None:
    full = disk(darkroom.root / where, "2m" if where == "lake" else "64k")
    if where != "lake":
        full.fill()
    pin = ("pin", "scans", "--folder", str(darkroom.root / "scans"), "--allow-dirty")
    told(darkroom, *pin)
    assert not list((darkroom.repository / "datasets").glob("*.json"))
    full.free()
    darkroom.ran(*pin)
    assert "Complete and intact" in darkroom.ran("verify", "scans")


@pytest.mark.slow
def test_a_database_on_a_full_disk_is_told_and_goes_on_when_there_is_room(darkroom: OnFolders) -> None:
    full = disk(darkroom.root / "database", "8m")
    darkroom.ran("up")
    full.fill()
    told(darkroom, "import", str(darkroom.root / "scans"), "--days", "1")
    full.free()
    darkroom.ran("import", str(darkroom.root / "scans"), "--days", "1")

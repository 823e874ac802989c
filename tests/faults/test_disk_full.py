"""The disk for training shards is full: a real, small filesystem that something else fills while shards are written."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fault_proxy import Fault, FaultProxy, Wait
from polars.testing import assert_frame_equal
from world import TIMEOUT_S, World

from pipeline_assets.errors import StagingCorrupt
from pipeline_assets.training.shards.staging import MANIFEST, MARKER, read_manifest, verify
from resources.errors import NoSpace
from resources.filesystem import Filesystem

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated"),
    pytest.mark.filterwarnings("ignore:Asset job .* materializes assets with varying BackfillPolicies"),
]

DISK_BYTES = 640 * 1024**2
"""More than the reserve of 512 MiB that is left free; a tmpfs takes memory only for what is written."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of its own. Mounting takes rights that not every place gives."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no tmpfs can be mounted here: run as root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def on_disk(world: World, disk: Path) -> World:
    """A copy of the computed world whose stagings lie on that filesystem, and the night's is to be made."""
    moved = replace(world, settings={**world.settings, "DARKROOM_STAGING_DIR": str(disk)})
    moved.uncompute("staged_training_set")
    return moved


def fill(disk: Path, leave_bytes: int) -> Path:
    """A file that takes the room of the disk, but for so many bytes."""
    file = disk / "of-someone-else"
    free = Filesystem(root=str(disk), reserve_bytes=0).free_bytes()
    subprocess.run(["fallocate", "-l", str(free - leave_bytes), str(file)], check=True)
    return file


def test_too_little_room_is_told_before_anything_is_written(on_disk: World, computed: World, disk: Path) -> None:
    filler = fill(disk, leave_bytes=400 * 1024**2)
    failed = on_disk.execute("staged_training_set")
    assert failed["staged_training_set"].startswith("NoSpace: ")
    assert "are missing. Free some" in failed["staged_training_set"]
    assert not list(disk.rglob("*.arrow"))
    filler.unlink()
    assert on_disk.execute("staged_training_set") == {}
    assert_frame_equal(on_disk.rows("staged_training_set"), computed.rows("staged_training_set"))


def test_a_disk_that_fills_up_while_shards_are_written_leaves_no_staging_that_counts_as_one(
    on_disk: World, computed: World, disk: Path, proxy: FaultProxy
) -> None:
    """The reads of the rows are slowed, so that the run can be stopped between the check for room and the first shard."""
    with proxy.faulty(Fault(Wait(0.4), "/tables/training_table/day", "GET", times=None)), on_disk.started() as process:
        while not list(disk.rglob(MARKER)):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.01)
        process.send_signal(signal.SIGSTOP)
        filler = fill(disk, leave_bytes=8192)
        process.send_signal(signal.SIGCONT)
        output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1, output
    assert "staged_training_set failed: NoSpace: " in output
    assert "is full (No space left on device)" in output
    (staging,) = (marker.parent for marker in disk.rglob(MARKER))
    assert not (staging / MANIFEST).exists()
    with pytest.raises(StagingCorrupt, match="incomplete"):
        read_manifest(staging)
    assert "staged_training_set" not in {name for name, days in on_disk.current().items() if days}
    filler.unlink()
    assert on_disk.execute("staged_training_set") == {}
    assert len(verify(staging)) == 3
    assert_frame_equal(on_disk.rows("staged_training_set"), computed.rows("staged_training_set"))


def test_a_limit_on_files_is_told_as_no_space(tmp_path: Path) -> None:
    """In a process of its own, for the limit stays."""
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from resources.filesystem import Filesystem\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "with Filesystem(root=sys.argv[1]).writing():\n"
        "    Path(sys.argv[1], 'large').write_bytes(bytes(10_000))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert f"{NoSpace.__module__}.{NoSpace.__name__}: {tmp_path} is full (File too large)" in done.stderr

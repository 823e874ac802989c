"""Files that could exhaust a decoder are inspected in processes with limits: one that dies costs its file, nothing else."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path

import clip_bombs
import pytest
from bombs import noise, saved

from pipeline_assets.errors import InspectionUnavailable
from pipeline_assets.ingestion import uploads
from pipeline_assets.ingestion.media.coded_sizes import av1_pixels, hevc_pixels
from pipeline_assets.ingestion.media.inspection import inspect
from pipeline_assets.ingestion.media.limited import APART, MOST_PROCESSES, inspecting
from pipeline_assets.ingestion.media.media_types import sniff
from pipeline_assets.runtime.cores import core_count

HEIC = Path(__file__).parents[1] / "ingestion" / "media" / "heic" / "turned.heic"
linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are listed as Linux does")


def children() -> list[int]:
    """Processes that inspect for this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"limited_process" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def test_a_process_apart_says_of_a_file_what_this_one_says(tmp_path: Path) -> None:
    files = [saved(noise(64), kind) for kind in ("AVIF", "TIFF", "JPEG2000", "JPEG", "PNG")]
    files += [HEIC.read_bytes(), clip_bombs.wav(), clip_bombs.mp4_of(1, 700), b"RIFF\0\0\0\0WAVE", b""]
    on_disk = tmp_path / "sound"
    on_disk.write_bytes(clip_bombs.wav())
    with inspecting(1) as inspect_apart:
        assert [inspect_apart(data, "a.wav") for data in files] == [inspect(data, "a.wav") for data in files]
        assert inspect_apart(on_disk, "a.wav") == inspect(on_disk, "a.wav")


@linux
@pytest.mark.parametrize("by", [signal.SIGXCPU, signal.SIGSEGV])
def test_a_process_that_dies_of_its_file_costs_that_file_alone(by: signal.Signals) -> None:
    sound = clip_bombs.wav()
    with inspecting(1) as inspect_apart:
        inspect_apart(sound, "a.wav")
        os.kill(children()[0], by)
        found = inspect_apart(sound, "a.wav")
        assert (found.verdict, found.media_type) == ("too_costly", "audio/wav")
        assert found.sha256 is not None
        assert inspect_apart(sound, "a.wav").verdict == "ok"
    assert children() == []


@linux
def test_a_process_that_something_else_killed_is_replaced_and_its_file_read() -> None:
    with inspecting(1) as inspect_apart:
        assert inspect_apart(clip_bombs.wav(), "a.wav").verdict == "ok"
        os.kill(children()[0], signal.SIGKILL)
        assert inspect_apart(clip_bombs.wav(), "a.wav").verdict == "ok"


@linux
def test_a_process_apart_has_no_credentials_in_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    with inspecting(1) as inspect_apart:
        inspect_apart(clip_bombs.wav(), "a.wav")
        assert b"a-secret" not in Path(f"/proc/{children()[0]}/environ").read_bytes()


@linux
def test_where_no_process_can_be_started_no_upload_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    with inspecting(1) as inspect_apart:
        with monkeypatch.context() as without:
            without.setattr(sys, "executable", "/bin/false")
            with pytest.raises(InspectionUnavailable, match="No upload was judged"):
                inspect_apart(clip_bombs.wav(), "a.wav")
            without.setattr(sys, "executable", "/nowhere/python")
            with pytest.raises(InspectionUnavailable, match="No such file"):
                inspect_apart(clip_bombs.wav(), "a.wav")
        assert inspect_apart(clip_bombs.wav(), "a.wav").verdict == "ok"


@linux
def test_what_lies_in_the_current_folder_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("soundfile", "resource", "PIL"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    with inspecting(1) as inspect_apart:
        assert inspect_apart(clip_bombs.wav(), "a.wav").verdict == "ok"


@linux
@pytest.mark.parametrize(("mebibytes", "status"), [(200, 0), (700, 1)])
def test_a_small_file_gets_no_more_memory_than_one_of_its_kind_needs(mebibytes: int, status: int) -> None:
    code = "from pipeline_assets.ingestion.media.limited_process import limit; limit(b'II*' + bytes(1), 'image/tiff'); "
    done = subprocess.run(
        [sys.executable, "-c", code + f"bytearray({mebibytes} * 2**20)"], capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    assert ("MemoryError" in done.stderr) == bool(status)


@linux
@pytest.mark.slow
def test_a_hundred_thousand_tiny_uploads_cost_as_much_each_as_ten_thousand_and_few_processes() -> None:
    sound, most = clip_bombs.wav(), 0

    def cpu_s(count: int) -> float:
        nonlocal most
        start = time.process_time()
        with inspecting() as inspect_any:
            items = (
                ({**item, "key": f"uploads/2026-01-01/1/{n}.bin"}, sound if n % 1_000 == 0 else b"%d" % n)
                for n in range(count)
            )
            rows = sum(1 for _ in uploads.inspect_all(items, inspect_any))
            most = max(most, len(children()))
        assert rows == count
        return time.process_time() - start

    now = datetime(2026, 1, 1, tzinfo=UTC)
    item = {"day": date(2026, 1, 1), "bucket": "b", "version_id": "v", "last_modified": now, "size_bytes": 5}
    cpu_s(1_000)
    small, large = cpu_s(10_000), cpu_s(100_000)
    assert large < 20 * small
    assert 1 <= most <= min(MOST_PROCESSES, core_count())


def _bits(*numbers: tuple[int, int]) -> bytes:
    """Numbers of so many bits one after the other."""
    text = "".join(f"{value:0{count}b}" for value, count in numbers)
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


def _exp_golomb(value: int) -> tuple[int, int]:
    return value + 1, 2 * (value + 1).bit_length() - 1


def test_sizes_are_read_where_the_decoders_read_them() -> None:
    sps = b"\x42\x01" + _bits(
        (0, 4), (0, 3), (1, 1), (1, 96), _exp_golomb(0), _exp_golomb(1), *map(_exp_golomb, (12_000, 9_000))
    )
    assert hevc_pixels(iter([sps.replace(b"\0\0\0", b"\0\0\3\0")])) == 12_000 * 9_000
    full = _bits((0, 5), (0, 1), (0, 1), (0, 5), (0, 12), (8, 5), (0, 1), (15, 4), (15, 4), (11_999, 16), (8_999, 16))
    assert av1_pixels(bytes([0x0A, len(full)]) + full) == 12_000 * 9_000
    assert av1_pixels(b"") == 0


def test_what_goes_apart_is_what_files_tell_how_much_to_allocate() -> None:
    kinds = {sniff(saved(noise(64), kind)) for kind in ("AVIF", "TIFF", "JPEG2000")} | {sniff(HEIC.read_bytes())}
    assert kinds | {sniff(clip_bombs.wav()), sniff(clip_bombs.mp4_of(1))} <= APART

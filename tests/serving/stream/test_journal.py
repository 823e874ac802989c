"""The journal: whatever was acknowledged is there after any kill, once and unchanged; a torn end is cut, damage is not."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline_assets.errors import JournalDamaged
from pipeline_assets.serving.stream import journal as journals
from pipeline_assets.serving.stream.journal import FIRST_OFFSET, Journal, Position
from resources.errors import AlreadyRunning

START = Position(1, FIRST_OFFSET)


def lines_of(journal: Journal, start: Position = START) -> list[bytes]:
    return [block.lines for block in journal.blocks(start)]


def segment(folder: Path, number: int) -> Path:
    return folder / f"{number:010d}.journal"


@pytest.mark.slow
@given(
    blocks=st.lists(st.one_of(st.none(), st.binary(min_size=1, max_size=40)), max_size=12),
    cut=st.integers(0, 10_000),
    garbage=st.binary(max_size=30),
)
@example(blocks=[None, b"\x00"], cut=1255, garbage=b"\x00\x00\x00")
def test_a_journal_cut_at_any_byte_has_the_blocks_before_it_and_goes_on(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[bytes | None], cut: int, garbage: bytes
) -> None:
    """None: a segment ends there. What a power failure leaves of the newest block is a part of it, zeros, or garbage."""
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder)
    ends = [(journal.end, 0)]
    written: list[bytes] = []
    for block in blocks:
        if block is None:
            journal.rotate()
            ends.append((journal.end, len(written)))
        else:
            written.append(block)
            ends.append((journal.append(block, len(written)), len(written)))
    newest = journal.end.segment
    journal.close()
    ends = [(end, count) for end, count in ends if end.segment == newest]
    before, count = ends[cut % len(ends)]
    following = ends[(cut % len(ends)) + 1][0].offset if cut % len(ends) + 1 < len(ends) else before.offset
    data = segment(folder, newest).read_bytes()
    torn_at = before.offset + (cut % (following - before.offset) if following > before.offset else 0)
    segment(folder, newest).write_bytes(data[:torn_at] + (garbage if torn_at > before.offset else b""))
    if torn_at > before.offset and garbage.startswith(data[torn_at:following]):
        before, count = ends[cut % len(ends) + 1]  # the garbage begins with the very bytes that were cut: nothing is torn

    again = Journal(folder)
    assert again.lineage == journal.lineage
    assert lines_of(again) == written[:count]
    end = again.append(b"next", 99)
    assert again.end == end
    assert lines_of(again) == [*written[:count], b"next"]
    assert lines_of(again, before) == [b"next"]
    again.close()


def test_a_block_that_others_follow_is_damage_and_nothing_is_cut(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(b"one", 1)
    journal.append(b"two", 2)
    journal.close()
    data = segment(tmp_path, 1).read_bytes()
    damaged = data.replace(b"one", b"0ne")
    segment(tmp_path, 1).write_bytes(damaged)
    with pytest.raises(JournalDamaged, match="is damaged at byte 20"):
        Journal(tmp_path)
    assert segment(tmp_path, 1).read_bytes() == damaged


@pytest.mark.parametrize("spoil", [lambda data: data[:-1], lambda data: data[:-1] + b"?", lambda data: data + b"\0"])
def test_a_segment_that_has_ended_is_read_whole_or_not_at_all(tmp_path: Path, spoil: object) -> None:
    journal = Journal(tmp_path)
    journal.append(b"one", 1)
    journal.rotate()
    journal.append(b"two", 2)
    segment(tmp_path, 1).write_bytes(spoil(segment(tmp_path, 1).read_bytes()))  # type: ignore[operator]
    with pytest.raises(JournalDamaged):
        lines_of(journal)
    segment(tmp_path, 1).unlink()
    with pytest.raises(JournalDamaged, match="is missing"):
        lines_of(journal)
    journal.close()


def test_a_journal_is_open_in_one_process_at_a_time(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(AlreadyRunning):
        Journal(tmp_path)
    journal.close()
    Journal(tmp_path).close()


def test_a_segment_without_blocks_is_not_ended_and_numbers_never_repeat(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.rotate()
    assert journal.segments() == [1]
    journal.append(b"one", 1)
    journal.rotate()
    journal.remove(1)
    journal.close()
    again = Journal(tmp_path)
    assert (again.segments(), again.end) == ([2], Position(2, FIRST_OFFSET))
    with pytest.raises(ValueError, match="has not ended"):
        again.remove(2)
    assert again.bytes_from(again.end) == 0
    again.close()


def test_a_block_is_bounded(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for lines in (b"", bytes(journals.MAX_BLOCK_BYTES + 1)):
        with pytest.raises(ValueError, match="A block has"):
            journal.append(lines, 1)
    assert journal.end == START
    journal.close()


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "stream")
    journal.append(b"one", 1)
    journal.close()
    assert [oct(path.stat().st_mode & 0o777) for path in (tmp_path / "stream").iterdir()] == [oct(0o600)] * 2
    assert (tmp_path / "stream").stat().st_mode & 0o777 == 0o700


def test_a_disk_without_room_leaves_the_journal_as_it_was(tmp_path: Path) -> None:
    """In a process of its own, for the limit on files stays. A block that does not fit is not begun."""
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from pipeline_assets.serving.stream.journal import Journal\n"
        "from resources.errors import NoSpace\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "journal.append(b'one', 1)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))\n"
        "end = journal.end\n"
        "try:\n"
        "    journal.append(bytes(5_000), 2)\n"
        "except NoSpace as error:\n"
        "    print(error, journal.end == end, Path(sys.argv[1], '0000000001.journal').stat().st_size == end.offset)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "journal.append(b'two', 3)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert (
        done.stdout
        == f"The disk of {tmp_path} is full (File too large). Free space: until then no event is taken. True True\n"
    )
    journal = Journal(tmp_path)
    assert lines_of(journal) == [b"one", b"two"]
    journal.close()

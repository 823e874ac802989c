"""What long work tells where there is no terminal."""

import threading
import time
from collections.abc import Iterator

import pytest

from pipeline_assets.runtime import progress
from pipeline_assets.runtime.progress import track


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REPORT_EVERY_S", 0.01)
    monkeypatch.setattr(progress, "REPORT_ITEM_AFTER_S", 0.02)


def threads() -> int:
    return sum(thread.name == "progress" for thread in threading.enumerate())


def test_an_item_that_takes_long_is_told_of_before_it_is_done() -> None:
    lines: list[str] = []
    told_meanwhile = threading.Event()

    def tell(line: str) -> None:
        lines.append(line)
        told_meanwhile.set()

    def work() -> Iterator[int]:
        yield 1
        told_meanwhile.clear()
        assert told_meanwhile.wait(30)
        yield 2

    assert list(track(work(), 2, "video_variants", "variants", tell)) == [1, 2]
    assert "video_variants: 1 of 2 variants, 0.0 min into the next" in lines
    assert lines[-1].startswith("video_variants: 2 of 2 variants, ")
    assert threads() == 0


def test_quick_work_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REPORT_EVERY_S", 60.0)
    monkeypatch.setattr(progress, "REPORT_ITEM_AFTER_S", 60.0)
    lines: list[str] = []
    assert sum(track(range(1000), 1000, "photos", "photos", lines.append)) == 499_500
    assert lines == []


def test_work_that_is_broken_off_tells_nothing_more() -> None:
    lines: list[str] = []
    going = track(iter(range(10)), 10, "photos", "photos", lines.append)
    next(going)
    going.close()
    assert threads() == 0

    def fails() -> Iterator[int]:
        yield 1
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        list(track(fails(), 2, "photos", "photos", lines.append))
    assert threads() == 0
    told = len(lines)
    time.sleep(0.1)
    assert len(lines) == told

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.objects.concurrency import Handover, completed, event_loop, run


async def doubled(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


def test_every_item_comes_once_with_its_result() -> None:
    assert sorted(completed(range(1000), doubled, 16)) == [(number, 2 * number) for number in range(1000)]


@pytest.mark.slow
def test_results_come_as_they_are_done_not_as_they_were_asked_for() -> None:
    async def work(delay_s: float) -> float:
        await asyncio.sleep(delay_s)
        return delay_s

    assert [delay for delay, _ in completed([2.0, 0.0, 0.5], work, 3)] == [0.0, 0.5, 2.0]


def test_items_are_read_no_further_ahead_than_asked() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        while taken < 100:
            taken += 1
            yield taken

    for given, _ in enumerate(completed(items(), doubled, 4), start=1):
        assert taken <= given + 3


def test_an_error_of_the_work_is_raised_and_ends_it() -> None:
    async def work(number: int) -> int:
        if number == 3:
            raise LookupError("three")
        return number

    with pytest.raises(LookupError, match="three"):
        list(completed(range(100), work, 4))


def test_an_error_of_the_items_is_raised_and_ends_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(completed(items(), doubled, 4))


def test_closing_early_cancels_what_is_under_way() -> None:
    begun: list[str] = []
    ended: list[str] = []

    async def work(name: str) -> str:
        begun.append(name)
        try:
            if name == "slow":
                await asyncio.sleep(600)
            await until(begun, 3)
        finally:
            ended.append(name)
        return name

    async def until(names: list[str], count: int) -> None:
        while len(names) < count:
            await asyncio.sleep(0.001)

    iterator = completed(["quick", "slow", "slow"], work, 3)
    assert next(iterator) == ("quick", "quick")
    iterator.close()
    run(asyncio.wait_for(until(ended, 3), 30))
    assert ended == ["quick", "slow", "slow"]


def test_a_handover_keeps_the_order_and_loses_nothing() -> None:
    received: list[int] = []
    done = threading.Event()

    def take(number: int) -> None:
        received.append(number)
        if number == 9_999:
            done.set()

    handover = Handover(take)
    for number in range(10_000):
        handover.send(number)
    assert done.wait(10)
    assert received == list(range(10_000))


def test_what_is_handed_over_runs_on_the_loop() -> None:
    loops: list[asyncio.AbstractEventLoop] = []
    done = threading.Event()
    handover: Handover[int] = Handover(lambda _: (loops.append(asyncio.get_running_loop()), done.set()))
    handover.send(1)
    assert done.wait(10)
    assert loops == [event_loop()]


def test_the_interpreter_ends_only_when_foreign_threads_have_left_python(tmp_path: Path) -> None:
    """As one of obstore's, which wakes the loop with a result that the main thread may have before it is back."""
    left = tmp_path / "left"
    script = f"""
import _thread, time
from pathlib import Path
from resources.objects.concurrency import event_loop

def work():
    time.sleep(0.3)
    Path({str(left)!r}).touch()

event_loop()
_thread.start_new_thread(work, ())
time.sleep(0.05)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60, cwd=Path(__file__).parents[3])
    assert left.exists()

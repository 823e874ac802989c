"""How long work tells how far it is: a bar on a terminal, a line every few seconds elsewhere. Counting lives here too."""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")

TELL_EVERY_S = 5.0
TELL_OF_ONE_S = 30.0
"""An item that takes longer is told of while it is worked on, this often."""


def track(items: Iterable[T], total: int, what: str, unit: str, tell: Callable[[str], object]) -> Iterator[T]:
    """Pass items on unchanged, telling how many of `total` are through and how fast.

    On a terminal a bar is drawn on stderr; elsewhere `tell` gets a line every few seconds, and none for quick work. While
    one item takes long, it gets lines from another thread.
    """
    if sys.stderr.isatty() and total:
        yield from _bar(items, total, what, unit)
        return
    started, told, done = time.monotonic(), 0.0, 0

    def waited(seconds: float) -> None:
        tell(f"{what}: {done:,} of {total:,} {unit}, {seconds / 60:,.1f} min into the next")

    with _pulse(waited) as begin_anew:
        for done, item in enumerate(items, start=1):
            yield item
            begin_anew()
            elapsed = time.monotonic() - started
            if elapsed - told > TELL_EVERY_S or (done == total and told):
                told = elapsed
                pace = f"{done / elapsed:,.0f}/s" if done >= elapsed else f"{elapsed / done:,.1f} s each"
                tell(f"{what}: {done:,} of {total:,} {unit}, {pace}")


@contextmanager
def _pulse(tell: Callable[[float], None]) -> Iterator[Callable[[], None]]:
    """Calls `tell` every TELL_OF_ONE_S with the seconds since the last beginning anew, where they are as many."""
    began, ended = time.monotonic(), threading.Event()

    def begin_anew() -> None:
        nonlocal began
        began = time.monotonic()

    def beat() -> None:
        with suppress(Exception):  # what can't be told, such as to a database that went away, the work itself will meet
            while not ended.wait(TELL_OF_ONE_S):
                if (seconds := time.monotonic() - began) >= TELL_OF_ONE_S:
                    tell(seconds)

    thread = threading.Thread(target=beat, name="progress", daemon=True)
    thread.start()
    try:
        yield begin_anew
    finally:
        ended.set()
        thread.join()


def _bar(items: Iterable[T], total: int, what: str, unit: str) -> Iterator[T]:
    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield from bar.track(items, total=total, description=what)

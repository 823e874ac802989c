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
    started = since = time.monotonic()
    told, done = 0.0, 0

    def tell_of_one() -> None:
        if (seconds := time.monotonic() - since) >= TELL_OF_ONE_S:
            tell(f"{what}: {done:,} of {total:,} {unit}, {seconds / 60:,.1f} min into the next")

    with _repeated(tell_of_one, TELL_OF_ONE_S):
        for done, item in enumerate(items, start=1):
            yield item
            since = time.monotonic()
            elapsed = since - started
            if elapsed - told > TELL_EVERY_S or (done == total and told):
                told = elapsed
                pace = f"{done / elapsed:,.0f}/s" if done >= elapsed else f"{elapsed / done:,.1f} s each"
                tell(f"{what}: {done:,} of {total:,} {unit}, {pace}")


@contextmanager
def _repeated(call: Callable[[], object], every_s: float) -> Iterator[None]:
    """Call it again and again beside a block, from another thread."""
    ended = threading.Event()

    def repeat() -> None:
        with suppress(Exception):  # what can't be told, such as to a database that went away, the work itself will meet
            while not ended.wait(every_s):
                call()

    thread = threading.Thread(target=repeat, name="progress", daemon=True)
    thread.start()
    try:
        yield
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

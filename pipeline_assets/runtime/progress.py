"""Progress of long work: a bar on a terminal, otherwise a line every few seconds."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pipeline_assets.runtime.terminal import Terminal

T = TypeVar("T")

REPORT_EVERY_S = 5.0
REPORT_ITEM_AFTER_S = 30.0
"""An item that takes longer is reported while it is in progress, at this interval."""


def track(items: Iterable[T], total: int, what: str, unit: str, tell: Callable[[str], object]) -> Iterator[T]:
    """Yield the items unchanged, and report how many of `total` are done and how fast.

    On a terminal a bar is drawn on stderr; otherwise `tell` gets a line every few seconds, and none for quick work. While
    one item takes long, another thread calls it.
    """
    if total and Terminal(stderr=True).is_terminal:
        yield from _bar(items, total, what, unit)
        return
    started = item_started = time.monotonic()
    reported_at, done = 0.0, 0

    def report_item() -> None:
        if (seconds := time.monotonic() - item_started) >= REPORT_ITEM_AFTER_S:
            tell(f"{what}: {done:,} of {total:,} {unit}, {seconds / 60:,.1f} min into the next")

    with _repeated(report_item, REPORT_ITEM_AFTER_S):
        for done, item in enumerate(items, start=1):
            yield item
            item_started = time.monotonic()
            elapsed = item_started - started
            if elapsed - reported_at > REPORT_EVERY_S or (done == total and reported_at):
                reported_at = elapsed
                pace = f"{done / elapsed:,.0f}/s" if done >= elapsed else f"{elapsed / done:,.1f} s each"
                tell(f"{what}: {done:,} of {total:,} {unit}, {pace}")


@contextmanager
def _repeated(call: Callable[[], object], every_s: float) -> Iterator[None]:
    """Call a function periodically from another thread while the block runs."""
    ended = threading.Event()

    def repeat() -> None:
        with suppress(Exception):  # such as a database that went away: the work itself will raise it
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
        TextColumn("{task.description:<22}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit, markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    )
    with Progress(*columns, console=Terminal(stderr=True), redirect_stdout=False, redirect_stderr=False) as bar:
        yield from bar.track(items, total=total, description=what)
